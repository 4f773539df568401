//! Moving leadership between living replicas.
//!
//! Owns: what a move is on the wire, carrying it out where the leader is, handing over before a stop, and
//! going back to preferred replicas. Never: an election without a leader's consent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, PartitionId, Uuid};
use ottla_replication::peer::ControlError;
use ottla_replication::raft::{Group, GroupId};
use serde::{Deserialize, Serialize};

use crate::cluster::control::refused;
use crate::cluster::{Cluster, MOVE, view};
use crate::services::Services;
use crate::stop::Stopping;

/// For all moves of one call, and for all of a stop.
const WITHIN: Duration = Duration::from_secs(10);
/// Leaderships that are handed over side by side. While one moves nothing is appended, and the more move at
/// once, the longer each takes.
const SIDE_BY_SIDE: usize = 16;
/// Looks at what is led here, before a stop.
const ROUNDS: usize = 3;

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
    let one = |of: Move| async move { (of, move_one(services, of).await.code()) };
    stream::iter(moves).map(one).buffered(SIDE_BY_SIDE).collect().await
}

async fn move_one(services: &Services, of: Move) -> ErrorCode {
    let group = services.cluster().and_then(|cluster| cluster.groups.get(&of.group()));
    let Some(group) = group else { return ErrorCode::NotLeaderOrFollower };
    let to = NodeId(of.to);
    if to == group.replica().node {
        return ErrorCode::ElectionNotNeeded;
    }
    let Some(replica) = group.heir(|node| node == to) else {
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

/// Hands over everything that is led here, before the broker stops: the metadata last, so that there is a
/// controller meanwhile. It takes some time at most, and what is led still ends with the broker.
pub(crate) async fn leave_all(services: &Arc<Services>) {
    let Some(cluster) = services.cluster() else { return };
    cluster.peers.retire();
    let leaving = async {
        // What a broker that stops as well had given to this one before it knew goes on with the next round.
        for _round in 0..ROUNDS {
            let led = cluster.groups.led();
            let leave = |group| leave(services, cluster, group);
            stream::iter(&led).for_each_concurrent(SIDE_BY_SIDE, leave).await;
        }
        leave(services, cluster, &cluster.metadata).await;
    };
    if tokio::time::timeout(WITHIN, leaving).await.is_err() {
        let left = cluster.groups.led().len();
        tracing::warn!(left, "not everything was handed over in time");
    }
}

/// Hands over one group, to another heir where the first one does not do.
async fn leave(services: &Services, cluster: &Cluster, group: &Arc<Group>) {
    let mut refused = Vec::new();
    while group.leadership().leader == Some(group.replica()) {
        let image = services.metadata.image();
        // A node that only votes on the metadata is no broker, and says nothing of leaving.
        let stays = |node| image.broker(node).is_none_or(|broker| broker.is_active());
        let fit =
            |node| cluster.peers.is_connected(node) && stays(node) && !refused.contains(&node);
        let Some(heir) = group.heir(fit) else { return };
        if let Err(error) = group.transfer(heir).await {
            tracing::debug!(group = %group.id(), %heir, %error, "leadership stays");
            refused.push(heir.node);
        }
    }
}

/// Hands one group over, before its instance here stops for a moment.
pub(crate) async fn hand_over(services: &Services, id: &GroupId) {
    let Some(cluster) = services.cluster() else { return };
    let Some(group) = cluster.groups.get(id) else { return };
    leave(services, cluster, &group).await;
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
