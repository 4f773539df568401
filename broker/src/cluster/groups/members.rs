//! Who belongs to the groups that are led here.
//!
//! Owns: the way from the members a group has to those the metadata wants: let new replicas in, wait until
//! they have everything, make them vote, let old ones go, tell the controller. Never: decides what is
//! wanted. Invariant: one change of a group at a time, and none while a new replica lags.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::metadata::{MetadataImage, PartitionImage, TopicImage};
use ottla_protocol::model::{NodeId, PartitionId, Uuid};
use ottla_replication::raft::{Group, GroupError, ReplicaId};

use crate::cluster::command::Order;
use crate::services::Services;
use crate::stop::Stopping;

/// Between two looks while something is under way, and otherwise.
const BUSY_EVERY: Duration = Duration::from_millis(100);
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// A replica that had everything this recently may vote.
const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(1_000);
const ORDER_WITHIN: Duration = Duration::from_secs(5);

/// Looks after the groups until the broker stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    loop {
        let busy = look(&services).await;
        let pause = if busy { BUSY_EVERY } else { IDLE_EVERY };
        let next = services.clock.now().mono.plus(pause);
        tokio::select! {
            biased;
            () = stopping.stopped() => return,
            () = services.clock.sleep_until(next) => {}
        }
    }
}

/// One look at every partition whose members differ from what is wanted; whether there was one.
async fn look(services: &Arc<Services>) -> bool {
    let Some(cluster) = services.cluster() else { return false };
    let image = services.metadata.image();
    let mut busy = false;
    for group in cluster.groups.led() {
        let id = group.id();
        let Some(topic) = image.topic_by_id(id.topic) else { continue };
        let Some(state) = topic.partition(id.partition) else { continue };
        let Some(step) = next_step(&group, state) else { continue };
        busy = true;
        if let Err(error) = take(services, &group, (topic, id.partition, state), step).await {
            tracing::debug!(group = %id, %error, "its members stay as they are for now");
        }
    }
    busy
}

/// What comes next on a group's way to its wanted members.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    LetIn(ReplicaId),
    /// New replicas do not have everything yet.
    Wait,
    Vote(BTreeSet<ReplicaId>),
    /// This replica is to go: another one leads the last step.
    HandOver(ReplicaId),
    Report,
}

/// The replicas that a partition shall have in the end; `None` while a directory is not known.
fn target(me: ReplicaId, state: &PartitionImage) -> Option<BTreeSet<ReplicaId>> {
    let stays = state.replicas.iter().filter(|node| !state.removing.contains(node));
    stays
        .map(|node| {
            if *node == me.node {
                return Some(me);
            }
            let directory = state.directory_of(*node).filter(|id| *id != Uuid::nil())?;
            Some(ReplicaId { node: *node, directory })
        })
        .collect()
}

fn next_step(group: &Group, state: &PartitionImage) -> Option<Step> {
    let membership = group.membership();
    let voters: BTreeSet<ReplicaId> = membership.voter_ids().collect();
    let me = group.replica();
    let target = target(me, state)?;
    if voters.is_empty() {
        return None;
    }
    if voters == target {
        return state.is_reassigning().then_some(Step::Report);
    }
    let known: BTreeSet<ReplicaId> = membership.nodes().map(|(id, _)| *id).collect();
    if let Some(new) = target.iter().find(|replica| !known.contains(replica)) {
        return Some(Step::LetIn(*new));
    }
    let now = group.now().mono;
    let progress = group.followers();
    let has_all = |replica: &ReplicaId| {
        *replica == me
            || progress.iter().any(|of| {
                of.replica == *replica
                    && of.caught_up.is_some_and(|at| now.since(at) < CAUGHT_UP_WITHIN)
            })
    };
    let new: Vec<&ReplicaId> = target.difference(&voters).collect();
    if new.iter().any(|replica| !has_all(replica)) {
        return Some(Step::Wait);
    }
    if target.contains(&me) {
        return Some(Step::Vote(target));
    }
    // The one that goes leads until the others vote, and then hands over.
    let with_me: BTreeSet<ReplicaId> = target.iter().copied().chain([me]).collect();
    if voters != with_me {
        return Some(Step::Vote(with_me));
    }
    let order = |node: NodeId| state.replicas.iter().position(|of| *of == node);
    let heir = target.iter().copied().filter(|of| has_all(of)).min_by_key(|of| order(of.node));
    Some(heir.map_or(Step::Wait, Step::HandOver))
}

async fn take(
    services: &Arc<Services>,
    group: &Arc<Group>,
    (topic, partition, state): (&Arc<TopicImage>, PartitionId, &PartitionImage),
    step: Step,
) -> Result<(), GroupError> {
    match step {
        Step::Wait => Ok(()),
        Step::LetIn(replica) => {
            tracing::info!(topic = %topic.name, %partition, %replica, "a replica is let in");
            group.add_learner(replica).await
        }
        Step::Vote(voters) => {
            tracing::info!(topic = %topic.name, %partition, voters = voters.len(), "new voters");
            group.change_voters(voters).await
        }
        Step::HandOver(to) => group.transfer(to).await,
        Step::Report => {
            let Some(cluster) = services.cluster() else { return Ok(()) };
            let order = Order::Reassigned {
                topic: topic.name.to_string(),
                partition: partition.get(),
                partition_epoch: state.partition_epoch,
            };
            if let Err(code) = cluster.order(services, &order, ORDER_WITHIN).await {
                tracing::debug!(%code, "the controller is not told yet");
            }
            Ok(())
        }
    }
}

/// Whether every partition that is led here has the members it should have.
#[allow(dead_code, reason = "asked by health checks of the cluster")]
pub(crate) fn settled(services: &Services, image: &MetadataImage) -> bool {
    let Some(cluster) = services.cluster() else { return true };
    cluster.groups.led().iter().all(|group| {
        let id = group.id();
        let state = image.topic_by_id(id.topic).and_then(|topic| topic.partition(id.partition));
        state.is_none_or(|state| next_step(group, state).is_none())
    })
}
