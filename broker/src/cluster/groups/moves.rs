//! Moving leadership between living replicas.
//!
//! Owns: what a move is on the wire, carrying it out where the leader is, handing over before a stop, and
//! going back to preferred replicas. Never: an election without a leader's consent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, PartitionId, Uuid};
use ottla_replication::peer::ControlError;
use ottla_replication::raft::{Group, GroupId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::cluster::control::refused;
use crate::cluster::{MOVE, view};
use crate::services::Services;
use crate::stop::Stopping;

/// For all moves of one call.
const WITHIN: Duration = Duration::from_secs(10);
/// Leaderships that are handed over side by side.
const AT_ONCE: usize = 32;

/// A partition whose leadership shall go to a replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) topic: u128,
    pub(crate) partition: i32,
    pub(crate) to: i32,
}

/// What became of it: a code of Kafka's.
pub(crate) type MoveResult = (Move, i16);

impl Move {
    fn group(&self) -> GroupId {
        GroupId { topic: Uuid::from_u128(self.topic), partition: PartitionId(self.partition) }
    }
}

/// Moves that another broker asks for, of groups that are led here.
pub(crate) async fn serve(services: &Arc<Services>, body: &[u8]) -> Result<Bytes, ControlError> {
    let moves: Vec<Move> = serde_json::from_slice(body)
        .map_err(|error| refused(ErrorCode::InvalidRequest, error.to_string()))?;
    let results = carry_out(services, moves).await;
    Ok(serde_json::to_vec(&results).unwrap_or_default().into())
}

async fn carry_out(services: &Arc<Services>, moves: Vec<Move>) -> Vec<MoveResult> {
    let mut results = Vec::with_capacity(moves.len());
    for chunk in moves.chunks(AT_ONCE) {
        let one = |of: Move| async move { (of, move_one(services, of).await.code()) };
        results.extend(join_all(chunk.iter().copied().map(one)).await);
    }
    results
}

async fn move_one(services: &Services, of: Move) -> ErrorCode {
    let group = services.cluster().and_then(|cluster| cluster.groups.get(&of.group()));
    let Some(group) = group else { return ErrorCode::NotLeaderOrFollower };
    let to = NodeId(of.to);
    if to == group.replica().node {
        return ErrorCode::ElectionNotNeeded;
    }
    let Some(replica) = in_sync(&group, |node| node == to) else {
        return ErrorCode::PreferredLeaderNotAvailable;
    };
    match group.transfer(replica).await {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::debug!(group = %group.id(), %error, "leadership stays");
            ErrorCode::PreferredLeaderNotAvailable
        }
    }
}

/// The follower that is wanted and furthest, if it votes.
fn in_sync(group: &Group, wanted: impl Fn(NodeId) -> bool) -> Option<ReplicaId> {
    let followers = group.followers();
    let fit = followers.iter().filter(|of| of.voter && wanted(of.replica.node));
    fit.max_by_key(|of| of.matched).map(|of| of.replica)
}

/// Asks each partition's leader to hand over; one result for each move.
pub(crate) async fn request_moves(services: &Arc<Services>, moves: Vec<Move>) -> Vec<MoveResult> {
    let Some(cluster) = services.cluster() else { return Vec::new() };
    let mut by_leader: BTreeMap<NodeId, Vec<Move>> = BTreeMap::new();
    let mut results = Vec::new();
    for of in moves {
        match cluster.leadership(&of.group()) {
            Some(claim) => by_leader.entry(claim.leader).or_default().push(of),
            None => results.push((of, ErrorCode::PreferredLeaderNotAvailable.code())),
        }
    }
    let asked = by_leader.into_iter().map(|(leader, moves)| async move {
        if leader == cluster.me {
            return carry_out(services, moves).await;
        }
        let body = Bytes::from(serde_json::to_vec(&moves).unwrap_or_default());
        let answer = cluster.peers.call(leader, MOVE, body, WITHIN).await.ok();
        answer.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(|| {
            let failed = ErrorCode::RequestTimedOut.code();
            moves.into_iter().map(|of| (of, failed)).collect()
        })
    });
    results.extend(join_all(asked).await.into_iter().flatten());
    results
}

/// Hands over everything that is led here, before the broker stops.
pub(crate) async fn leave_all(services: &Arc<Services>) {
    let Some(cluster) = services.cluster() else { return };
    let mut led = cluster.groups.led();
    led.push(Arc::clone(&cluster.metadata));
    let alive = |node: NodeId| node != cluster.me && cluster.peers.is_connected(node);
    for chunk in led.chunks(AT_ONCE) {
        join_all(chunk.iter().map(|group| async move {
            if group.leadership().leader != Some(group.replica()) {
                return;
            }
            let Some(heir) = in_sync(group, alive) else { return };
            if let Err(error) = group.transfer(heir).await {
                tracing::debug!(group = %group.id(), %error, "leadership ends with the broker");
            }
        }))
        .await;
    }
}

/// Gives leadership of what is led here back to preferred replicas, every `every`.
pub(crate) async fn prefer(services: Arc<Services>, every: Duration, mut stopping: Stopping) {
    while stopping.pause(&services.clock, every).await.is_continue() {
        let Some(cluster) = services.cluster() else { return };
        let image = services.metadata.image();
        let mut moves = Vec::new();
        for group in cluster.groups.led() {
            let id = group.id();
            let topic = image.topic_by_id(id.topic);
            let Some(state) = topic.and_then(|topic| topic.partition(id.partition)) else {
                continue;
            };
            let Some(preferred) = state.preferred_leader() else { continue };
            let now = view(&services, id.topic, id.partition, state);
            let fit = image.is_active(preferred) && now.isr.contains(&preferred);
            if fit && preferred != cluster.me && !state.is_reassigning() {
                let (topic, partition) = (id.topic.as_u128(), id.partition.get());
                moves.push(Move { topic, partition, to: preferred.0 });
            }
        }
        if !moves.is_empty() {
            tracing::info!(partitions = moves.len(), "leadership goes back to preferred replicas");
            carry_out(&services, moves).await;
        }
    }
}
