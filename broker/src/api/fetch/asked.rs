//! What a fetch asks for, out of its request.
//!
//! Owns: the reading of the request's fields by version, each partition once. Never: answers.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::{FetchRequest, FetchTopic};
use ottla_protocol::model::{LeaderEpoch, MonoTime, Offset};
use ottla_replication::partition::Isolation;

use super::session::{PartitionKey, Wanted};
use crate::api::handler::RequestContext;

/// From this version on a replica says its epoch, too, in a structure of its own (KIP-903).
const REPLICA_STATE_FROM: i16 = 15;

pub(super) fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::ReadUncommitted),
        1 => Some(Isolation::ReadCommitted),
        _ => None,
    }
}

pub(super) fn limit(asked: i32, ours: u32) -> u32 {
    u32::try_from(asked).unwrap_or(0).min(ours)
}

pub(super) fn deadline(ctx: &RequestContext, wait_ms: i32) -> Option<MonoTime> {
    let wait = u64::try_from(wait_ms).ok().filter(|wait| *wait > 0)?;
    Some(ctx.now.mono.plus(Duration::from_millis(wait)))
}

pub(super) fn replica_id(request: &FetchRequest, version: i16) -> i32 {
    if version >= REPLICA_STATE_FROM {
        request.replica_state.replica_id.0
    } else {
        request.replica_id.0
    }
}

/// What is asked for, each partition once: of several mentions the last counts, at the place of the
/// first.
pub(super) fn wanted(topics: &[FetchTopic], by_id: bool) -> Vec<Wanted> {
    let count = topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut all = Vec::with_capacity(count);
    for topic in topics {
        let name: Arc<str> = if by_id { Arc::from("") } else { Arc::from(&*topic.topic.0) };
        all.extend(topic.partitions.iter().map(|partition| Wanted {
            key: PartitionKey {
                topic_id: topic.topic_id,
                topic: Arc::clone(&name),
                partition: partition.partition,
            },
            offset: Offset(partition.fetch_offset),
            bytes_max: u32::try_from(partition.partition_max_bytes).unwrap_or(0),
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        }));
    }
    if all.len() < 2 {
        return all;
    }
    let unique: IndexMap<PartitionKey, Wanted> =
        all.into_iter().map(|wanted| (wanted.key.clone(), wanted)).collect();
    unique.into_values().collect()
}

pub(super) fn forgotten(request: &FetchRequest) -> Vec<PartitionKey> {
    let mut all = Vec::new();
    for topic in &request.forgotten_topics_data {
        let name: Arc<str> = Arc::from(&*topic.topic.0);
        all.extend(topic.partitions.iter().map(|partition| PartitionKey {
            topic_id: topic.topic_id,
            topic: Arc::clone(&name),
            partition: *partition,
        }));
    }
    all
}
