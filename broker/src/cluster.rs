//! This broker as one of several.
//!
//! ```text
//!   forming ──> identity ──> metadata group ──> image ──> groups of partitions here
//!      │ cards                    │ leader                        │ leaderships
//!      └────────── Peers ─────────┴─── orders, forwarded requests ┴──> who leads what
//! ```
//!
//! Owns: the links to the other brokers, who the active controller is, the way of an order to it, the
//! groups of the partitions that are here. Never: what an order decides (`coordinator::metadata`), or how
//! a group works (`replication::raft`).

pub(crate) mod addresses;
pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod controller;
pub(crate) mod forming;
pub(crate) mod groups;
pub(crate) mod identity;
pub(crate) mod membership;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod start;
pub(crate) mod succession;
pub(crate) mod throttle;
pub(crate) mod unclean;
pub(crate) mod voters;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::metadata::{MetadataImage, NO_LEADER, PartitionImage};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, PartitionId, Uuid};
use ottla_replication::leadership::Claim;
use ottla_replication::liveness::Liveness;
use ottla_replication::peer::{ControlKind, PeerError, Peers};
use ottla_replication::raft::{Group, GroupId};
use tokio::sync::watch;

use self::addresses::Addresses;
use self::command::{Done, Order, OrderAnswer};
use crate::services::Services;

/// Requests of clients, passed on.
pub(crate) const FORWARD: ControlKind = ControlKind(1);
/// [`Order`]s.
pub(crate) const ORDER: ControlKind = ControlKind(2);
/// Leadership of partitions is to be moved by their leader.
pub(crate) const MOVE: ControlKind = ControlKind(3);
/// What replicas have is asked, before an unclean election.
pub(crate) const STANDING: ControlKind = ControlKind(4);

/// How long one call to the controller may take before it is made again.
const CALL_MAX: Duration = Duration::from_secs(5);
/// Between two attempts where there is no controller.
const ATTEMPT_EVERY: Duration = Duration::from_millis(20);

/// Who keeps the metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Controller {
    pub(crate) node: Option<NodeId>,
    pub(crate) epoch: LeaderEpoch,
    /// This node, and all that was decided before is known here.
    pub(crate) here: bool,
}

/// The handle of everything between brokers.
pub(crate) struct Cluster {
    pub(crate) me: NodeId,
    pub(crate) peers: Arc<Peers>,
    pub(crate) metadata: Arc<Group>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) groups: Arc<groups::LocalGroups>,
    /// Held while the metadata's voters change.
    pub(crate) voter_change: Arc<tokio::sync::Mutex<()>>,
    controller: watch::Receiver<Controller>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("me", &self.me).finish_non_exhaustive()
    }
}

/// What a cluster's handle is made of.
pub(crate) struct ClusterParts {
    pub(crate) me: NodeId,
    pub(crate) peers: Arc<Peers>,
    pub(crate) metadata: Arc<Group>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) groups: Arc<groups::LocalGroups>,
}

impl Cluster {
    pub(crate) fn new(parts: ClusterParts) -> Arc<Self> {
        let (tell, controller) = watch::channel(Controller::default());
        parts.metadata.on_leadership(Arc::new(move |_, leadership| {
            tell.send_replace(Controller {
                node: leadership.leader.map(|replica| replica.node),
                epoch: leadership.epoch,
                here: leadership.here,
            });
        }));
        let ClusterParts { me, peers, metadata, addresses, groups } = parts;
        let voter_change = Arc::default();
        Arc::new(Self { me, peers, metadata, addresses, groups, voter_change, controller })
    }

    /// The active controller as it is known here: from the log, or from what others say of themselves,
    /// because a quiet leader sends nothing to a node that has just come.
    pub(crate) fn controller(&self) -> Controller {
        let local = *self.controller.borrow();
        let claim = self.peers.leaderships().leader(&start::METADATA_GROUP);
        match claim.filter(|claim| claim.leader != self.me) {
            Some(claim) if local.node.is_none() || claim.epoch > local.epoch => {
                Controller { node: Some(claim.leader), epoch: claim.epoch, here: false }
            }
            _ => local,
        }
    }

    pub(crate) fn controller_changes(&self) -> watch::Receiver<Controller> {
        self.controller.clone()
    }

    /// Has an order carried out by the active controller, wherever it is, and waits until the metadata
    /// here shows it. An order may be carried out twice, if an answer is lost.
    ///
    /// # Errors
    /// `NotController` when there is none before the deadline.
    pub(crate) async fn order(
        &self,
        services: &Arc<Services>,
        order: &Order,
        within: Duration,
    ) -> Result<OrderAnswer, ErrorCode> {
        let Done { offset, answer } = self.pass_on(services, order, within).await?;
        // What is refused changes nothing that could be waited for.
        if !matches!(answer, OrderAnswer::Refused { .. }) {
            services.metadata.applied(Offset(offset)).await;
        }
        Ok(answer)
    }

    /// As [`Self::order`], without the wait: this broker may have much to apply, and lives meanwhile.
    ///
    /// # Errors
    /// As [`Self::order`].
    pub(crate) async fn pass_on(
        &self,
        services: &Arc<Services>,
        order: &Order,
        within: Duration,
    ) -> Result<Done, ErrorCode> {
        let deadline = services.clock.now().mono.plus(within);
        let body = Bytes::from(serde_json::to_vec(order).unwrap_or_default());
        loop {
            let controller = self.controller();
            let done = match controller.node {
                Some(node) if node == self.me && controller.here => {
                    let done = controller::carry_out(services, self.me, order.clone());
                    // Without a majority nothing is ever committed.
                    let done = tokio::time::timeout(CALL_MAX, done).await;
                    done.unwrap_or(Err(ErrorCode::NotController))
                }
                Some(node) if node != self.me => {
                    let called = self.peers.call(node, ORDER, body.clone(), CALL_MAX).await;
                    called.map_err(|error| self.reported(node, &error)).and_then(|bytes| {
                        serde_json::from_slice(&bytes).map_err(|_| ErrorCode::UnknownServerError)
                    })
                }
                _ => Err(ErrorCode::NotController),
            };
            let error = match done {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let now = services.clock.now().mono;
            if now >= deadline || services.is_draining() {
                return Err(error);
            }
            services.clock.sleep_until(now.plus(ATTEMPT_EVERY)).await;
        }
    }

    fn reported(&self, node: NodeId, error: &PeerError) -> ErrorCode {
        tracing::debug!(%node, %error, "the controller did not answer");
        ErrorCode::NotController
    }

    /// Whether a partition's leader says for itself what it leads: it has several replicas, or had once. What
    /// the metadata has of its leader and epoch does not count then.
    pub(crate) fn has_group(&self, group: &GroupId, image: &PartitionImage) -> bool {
        image.replicas.len() > 1 || self.peers.leaderships().look(group, |claim| claim.is_some())
    }

    /// Who leads a partition with several replicas, as far as is known here.
    pub(crate) fn leadership(&self, group: &GroupId) -> Option<Claim> {
        let table = self.peers.leaderships();
        let local = self.groups.get(group).map(|group| {
            let voters = group.membership().voter_ids().map(|replica| replica.node).collect();
            (group.leadership(), voters)
        });
        let suspected = |node| matches!(self.peers.liveness(node), Liveness::Suspected { .. });
        let said = (table.leader(group), table.last_claim(group));
        succession::newest(said, local, self.me, |node| !suspected(node))
    }
}

/// Has an order carried out by the active controller: of the cluster, or this node where it is alone.
///
/// # Errors
/// As [`Cluster::order`].
pub(crate) async fn order(
    services: &Arc<Services>,
    order: &Order,
    within: Duration,
) -> Result<OrderAnswer, ErrorCode> {
    match services.cluster() {
        Some(cluster) => cluster.order(services, order, within).await,
        None => {
            let done = controller::carry_out(services, services.node_id, order.clone()).await?;
            Ok(done.answer)
        }
    }
}

/// A partition as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionView {
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) isr: Vec<NodeId>,
}

/// Who leads a partition now, with its in-sync replicas: from the metadata where it has one replica, from
/// what leaders say of themselves where it has several.
pub(crate) fn view(
    services: &Services,
    topic: Uuid,
    partition: PartitionId,
    image: &PartitionImage,
) -> PartitionView {
    let led = (image.leader != NO_LEADER).then_some(image.leader);
    let from_image =
        PartitionView { leader: led, epoch: image.leader_epoch, isr: image.isr.clone() };
    let Some(cluster) = services.cluster() else { return from_image };
    let group = GroupId { topic, partition };
    if !cluster.has_group(&group, image) {
        return from_image;
    }
    match cluster.leadership(&group) {
        Some(claim) => {
            let brokers = services.metadata.image();
            let isr = in_sync_of(&claim, &brokers).collect();
            PartitionView { leader: Some(claim.leader), epoch: claim.epoch, isr }
        }
        None => {
            let last = cluster.peers.leaderships().last_claim(&group);
            let epoch = last.as_ref().map_or(LeaderEpoch::ZERO, |claim| claim.epoch);
            let isr = last.map_or_else(|| image.isr.clone(), |claim| claim.isr);
            PartitionView { leader: None, epoch, isr }
        }
    }
}

/// The leader of a partition that a client asked the wrong broker for, as answers carry it (KIP-951).
pub(crate) fn current_leader(
    services: &Services,
    topic: Uuid,
    partition: i32,
) -> Option<PartitionView> {
    services.cluster()?;
    let image = services.metadata.image();
    let index = PartitionId(partition);
    let state = image.topic_by_id(topic)?.partition(index)?;
    Some(view(services, topic, index, state))
}

/// How many replicas of a partition are in sync, as [`view`] has them; without a copy, for every batch asks.
pub(crate) fn in_sync(services: &Services, topic: Uuid, partition: i32) -> Option<usize> {
    let cluster = services.cluster()?;
    let image = services.metadata.image();
    let partition = PartitionId(partition);
    let state = image.topic_by_id(topic)?.partition(partition)?;
    let group = GroupId { topic, partition };
    if !cluster.has_group(&group, state) {
        return Some(state.isr.len());
    }
    let counted = |claim: Option<&Claim>| Some(in_sync_of(claim?, &image).count());
    Some(cluster.peers.leaderships().look(&group, counted).unwrap_or(state.isr.len()))
}

/// The replicas that a leader has in sync, without those whose broker is fenced: it may not have noticed
/// their end yet. The leader itself speaks, so it is there.
fn in_sync_of<'a>(
    claim: &'a Claim,
    brokers: &'a MetadataImage,
) -> impl Iterator<Item = NodeId> + 'a {
    let lives = |node: &NodeId| brokers.broker(*node).is_some_and(|broker| !broker.fenced);
    claim.isr.iter().copied().filter(move |node| *node == claim.leader || lives(node))
}
