//! What the active controller does beside deciding: it carries out orders of brokers, fences those that
//! fall silent, and lets new nodes follow its log.
//!
//! Owns: sessions of brokers while this node is the controller. Never: a rule of a command.
//! Invariant: sessions begin anew with each term, so that nobody is fenced for silence towards another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::metadata::{
    AllocateProducerIds, AssignDirectories, BrokerRecord, BrokerSessions, BrokerState,
    ChangeBrokerState, CompleteReassignment, ControllerError, DirectoryAssignment, FormAnew,
    FormCluster, Heartbeat, Intent, RegisterBroker, TakeDirectoriesOffline,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, PartitionId, Uuid};
use ottla_replication::peer::ControlError;
use ottla_replication::raft::{Group, ReplicaId};
use parking_lot::Mutex;

use super::command::{Beat, Done, Follower, Going, Order, OrderAnswer, Whereabouts};
use super::control::refused;
use crate::metadata_service::MetadataService;
use crate::services::Services;
use crate::stop::Stopping;

/// Between two looks at the sessions.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A process of the same id that was heard within this time is alive: it beats several times in it.
const ALIVE_WITHIN: Duration = Duration::from_millis(2_000);

/// The state of a term.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    current: Mutex<Option<(LeaderEpoch, BrokerSessions)>>,
}

/// Does the controller's duties whenever this node is the one.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    let Some(cluster) = services.cluster() else { return };
    let mut changes = cluster.controller_changes();
    loop {
        let controller = *changes.borrow_and_update();
        // Whoever votes may stand, in this order.
        let voters = cluster.metadata.membership().voter_ids().map(|voter| voter.node).collect();
        cluster.metadata.set_preference(voters);
        if controller.here {
            begin(&services, controller.epoch).await;
            fence_silent(&services).await;
        } else {
            *services.terms.current.lock() = None;
        }
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return },
            flow = stopping.pause(&services.clock, LOOK_EVERY) => if flow.is_break() { return },
        }
    }
}

/// Takes over: a cluster without an id gets the one it was formed with.
async fn begin(services: &Arc<Services>, epoch: LeaderEpoch) {
    let known = services.terms.current.lock().as_ref().map(|(epoch, _)| *epoch);
    if known == Some(epoch) {
        return;
    }
    let cluster_id = Some(services.replicas.cluster_id().to_owned());
    if let Err(code) = MetadataService::submit(services, FormCluster { cluster_id }).await {
        tracing::warn!(%code, "the new controller cannot write");
        return;
    }
    let (image, now) = (services.metadata.image(), services.clock.now().mono);
    let timeout = services.configuration().broker.node.session_timeout;
    let sessions = BrokerSessions::begin(timeout, &image, now);
    tracing::info!(%epoch, "this node is the active controller");
    *services.terms.current.lock() = Some((epoch, sessions));
}

async fn fence_silent(services: &Arc<Services>) {
    let now = services.clock.now().mono;
    let me = services.node_id;
    let expired = {
        let mut current = services.terms.current.lock();
        let Some((_, sessions)) = current.as_mut() else { return };
        sessions.expired(&services.metadata.image(), now)
    };
    for change in expired.into_iter().filter(|change| change.id != me) {
        tracing::warn!(node = %change.id, "broker is silent and is fenced");
        if let Err(code) = MetadataService::submit(services, change).await {
            tracing::warn!(%code, "the broker is not fenced");
        }
    }
}

/// An order that came over a link.
pub(crate) async fn serve(
    services: &Arc<Services>,
    from: NodeId,
    body: &[u8],
) -> Result<Bytes, ControlError> {
    let order: Order = serde_json::from_slice(body)
        .map_err(|error| refused(ErrorCode::InvalidRequest, error.to_string()))?;
    match carry_out(services, from, order).await {
        Ok(done) => Ok(serde_json::to_vec(&done).unwrap_or_default().into()),
        Err(code) => Err(refused(code, code.message())),
    }
}

/// Carries an order out, if this node is the active controller.
///
/// # Errors
/// `NotController`, or what the log has.
pub(crate) async fn carry_out(
    services: &Arc<Services>,
    from: NodeId,
    order: Order,
) -> Result<Done, ErrorCode> {
    let answer = match order {
        Order::Register(record) => register(services, record).await?,
        Order::Beat(beat) => beaten(services, beat).await?,
        Order::Follow(follower) => follow(services, follower).await?,
        Order::CreateMissing { names } => {
            let failed = MetadataService::create_here(services, names).await?;
            let failed = failed.into_iter().map(|(name, code)| (name, code.code())).collect();
            OrderAnswer::Created { failed }
        }
        Order::ProducerIds => {
            let block = MetadataService::submit(services, AllocateProducerIds).await?;
            let block = block.ok_or(ErrorCode::UnknownServerError)?;
            OrderAnswer::ProducerIds { first: block.first.get(), count: block.size }
        }
        Order::Reassigned { topic, partition, partition_epoch } => {
            let image = services.metadata.image();
            if let Some(topic) = image.topic(&topic) {
                let (topic_id, partition) = (topic.id, PartitionId(partition));
                let command = CompleteReassignment { topic_id, partition, partition_epoch };
                let complete = MetadataService::submit(services, command).await?;
                tracing::info!(topic = %topic.name, %partition, complete, %from, "reassignment");
            }
            OrderAnswer::Accepted
        }
        Order::AssignDirectories { replicas } => {
            let assignment = |of: Whereabouts| DirectoryAssignment {
                topic: Uuid::from_u128(of.topic),
                partition: PartitionId(of.partition),
                directory: Uuid::from_u128(of.directory),
                key: of.key.map(Uuid::from_u128),
                formation: of.formation,
            };
            let assignments = replicas.into_iter().map(assignment).collect();
            let command = AssignDirectories { broker: from, assignments };
            MetadataService::submit(services, command).await?;
            OrderAnswer::Accepted
        }
        Order::FormAnew { topic, partition, partition_epoch, leader, epoch } => {
            let command = FormAnew {
                topic_id: Uuid::from_u128(topic),
                partition: PartitionId(partition),
                partition_epoch,
                leader: NodeId(leader),
                epoch: LeaderEpoch(epoch),
            };
            match MetadataService::submit(services, command).await? {
                Ok(formation) => {
                    tracing::error!(topic = %command.topic_id, partition, leader, asked_by = %from,
                        number = formation.number, "UNCLEAN ELECTION: a partition's group begins anew");
                    OrderAnswer::Accepted
                }
                Err(error) => refusal(&error),
            }
        }
        Order::DirectoriesFailed { directories } => {
            let directories = directories.into_iter().map(Uuid::from_u128).collect();
            let command = TakeDirectoriesOffline { broker: from, directories };
            match MetadataService::submit(services, command).await? {
                Ok(()) => OrderAnswer::Accepted,
                Err(error) => refusal(&error),
            }
        }
    };
    Ok(Done { offset: services.metadata.image().end().0, answer })
}

fn refusal(error: &ControllerError) -> OrderAnswer {
    OrderAnswer::Refused { code: error.code().code(), message: error.to_string() }
}

async fn register(
    services: &Arc<Services>,
    record: BrokerRecord,
) -> Result<OrderAnswer, ErrorCode> {
    let id = record.id;
    let known = services.metadata.image().broker(id).cloned();
    let other = known.filter(|of| !of.fenced && of.registration.incarnation != record.incarnation);
    if let Some(other) = other {
        let now = services.clock.now().mono;
        let own = id == services.node_id;
        let silence = {
            let current = services.terms.current.lock();
            current.as_ref().and_then(|(_, sessions)| sessions.silence(id, now))
        };
        // This node's other process cannot live beside this one, which leads with its disk.
        if !own && silence.is_none_or(|silence| silence < ALIVE_WITHIN) {
            return Ok(refusal(&ControllerError::DuplicateBrokerRegistration));
        }
        let epoch = other.registration.epoch;
        let fence = ChangeBrokerState { id, epoch, state: BrokerState::Fenced };
        if let Err(error) = MetadataService::submit(services, fence).await? {
            return Ok(refusal(&error));
        }
    }
    let BrokerRecord { incarnation, rack, endpoints, directories, .. } = record;
    let command = RegisterBroker { id, incarnation, rack, endpoints, directories };
    Ok(match MetadataService::submit(services, command).await? {
        Ok(epoch) => {
            hear(services, id, epoch);
            OrderAnswer::Registered { epoch }
        }
        Err(error) => refusal(&error),
    })
}

fn hear(services: &Services, node: NodeId, epoch: i64) {
    let now = services.clock.now().mono;
    if let Some((_, sessions)) = services.terms.current.lock().as_mut() {
        sessions.hear(node, epoch, now);
    }
}

async fn beaten(services: &Arc<Services>, beat: Beat) -> Result<OrderAnswer, ErrorCode> {
    if !services.cluster().is_some_and(|cluster| cluster.controller().here) {
        return Err(ErrorCode::NotController);
    }
    let Beat { node, epoch, applied, intent } = beat;
    let (id, applied) = (NodeId(node), Offset(applied));
    let intent = match intent {
        Going::On => Intent::Stay,
        Going::Away => Intent::Leave,
        Going::Gone => Intent::Stop,
    };
    let image = services.metadata.image();
    let change = match (Heartbeat { id, epoch, applied, intent }).decide(&image) {
        Ok(change) => change,
        Err(error) => return Ok(refusal(&error)),
    };
    hear(services, id, epoch);
    let Some(change) = change else {
        let fenced = image.broker(id).is_none_or(|broker| broker.fenced);
        return Ok(OrderAnswer::Beaten { fenced });
    };
    Ok(match MetadataService::submit(services, change).await? {
        Ok(()) => OrderAnswer::Beaten { fenced: change.state == BrokerState::Fenced },
        Err(error) => refusal(&error),
    })
}

/// A node that does not vote gets the log all the same.
async fn follow(services: &Arc<Services>, follower: Follower) -> Result<OrderAnswer, ErrorCode> {
    let cluster = services.cluster().ok_or(ErrorCode::NotController)?;
    if !cluster.controller().here {
        return Err(ErrorCode::NotController);
    }
    let node = NodeId(follower.node);
    let replica = ReplicaId { node, directory: Uuid::from_u128(follower.directory) };
    cluster.addresses.introduce(node, follower.address);
    cluster.peers.addresses_changed();
    let membership = cluster.metadata.membership();
    if membership.get_node(&replica).is_some() {
        return Ok(OrderAnswer::Accepted);
    }
    tracing::info!(%node, "a node follows the metadata log");
    match cluster.metadata.add_learner(replica).await {
        Ok(()) => {
            forget_former(&cluster.metadata, replica).await;
            Ok(OrderAnswer::Accepted)
        }
        Err(error) => {
            tracing::warn!(%node, %error, "the node cannot follow yet");
            Err(ErrorCode::NotController)
        }
    }
}

/// What the node's directory was before it was emptied gets the log no more. (A voter stays one until it is
/// removed: its vote counts for what the majority is.)
async fn forget_former(group: &Group, now: ReplicaId) {
    let membership = group.membership();
    let former = |id: &ReplicaId| id.node == now.node && *id != now;
    let former = membership.learner_ids().filter(former).collect::<BTreeSet<_>>();
    if former.is_empty() {
        return;
    }
    if let Err(error) = group.remove_learners(former).await {
        tracing::debug!(%error, "a former replica of the metadata stays for now");
    }
}
