//! ListOffsets (key 2), versions 1-11.
//!
//! Behaviour: -1 is the end (high watermark, or last stable offset for read_committed), -2 the log
//! start, -3 the record with the largest timestamp (KIP-734), -4 the local log start (KIP-405), -5 and
//! -6 are about tiered storage and answer -1 without it; a time answers the first record at or after
//! it below the end. A partition named twice is INVALID_REQUEST, as in Kafka.
//! Differences from Apache Kafka: none intended.

use indexmap::IndexMap;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_protocol::model::{LeaderEpoch, Offset, Timestamp};
use ottla_replication::partition::{Isolation, Partition, PartitionError, Watermarks};
use ottla_storage::{PartitionLog, TimestampedOffset};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};

/// From this version on an answer has the leader epoch.
const EPOCHS_FROM: i16 = 4;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

#[derive(Debug)]
pub(crate) struct ListOffsets;

/// An offset with its record's time and epoch, as the response carries them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    offset: Offset,
    timestamp: Timestamp,
    epoch: LeaderEpoch,
}

const NOTHING: Found =
    Found { offset: Offset::NONE, timestamp: Timestamp::NONE, epoch: LeaderEpoch::NONE };

impl ApiHandler for ListOffsets {
    type Request = ListOffsetsRequest;
    const NAME: &'static str = "ListOffsets";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=11;

    fn handle(ctx: &RequestContext, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let isolation = match request.isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let topics = asked_once(&request)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(index, asked)| {
                    let found = match asked {
                        Some(asked) => look_up(ctx, &name.0, asked, isolation),
                        None => Err(ErrorCode::InvalidRequest),
                    };
                    answer(index, found, ctx.version)
                });
                ListOffsetsTopicResponse::default()
                    .with_name(name.clone())
                    .with_partitions(partitions.collect())
            })
            .collect();
        Reply::message(ListOffsetsResponse::default().with_topics(topics))
    }
}

/// What is asked of each partition; `None` where it is named twice. Each is answered once.
fn asked_once(
    request: &ListOffsetsRequest,
) -> IndexMap<&TopicName, IndexMap<i32, Option<&ListOffsetsPartition>>> {
    let mut topics: IndexMap<&TopicName, IndexMap<i32, Option<&ListOffsetsPartition>>> =
        IndexMap::new();
    for topic in &request.topics {
        let partitions = topics.entry(&topic.name).or_default();
        for asked in &topic.partitions {
            partitions
                .entry(asked.partition_index)
                .and_modify(|first| *first = None)
                .or_insert(Some(asked));
        }
    }
    topics
}

fn answer(
    index: i32,
    found: Result<Found, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let (code, found) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => (code, NOTHING),
    };
    let epoch = if version >= EPOCHS_FROM { found.epoch } else { LeaderEpoch::NONE };
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(code.code())
        .with_offset(found.offset.0)
        .with_timestamp(found.timestamp.0)
        .with_leader_epoch(epoch.0)
}

fn look_up(
    ctx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    if !is_served(asked.timestamp, ctx.version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let entry = ctx.services.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = entry.led(asked.partition_index).map_err(|none| none.code())?;
    find(&partition, asked, isolation).map_err(|error| error.code())
}

/// From which version on a special timestamp has its meaning.
fn is_served(timestamp: i64, version: i16) -> bool {
    match timestamp {
        0.. | LATEST | EARLIEST => true,
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        _ => false,
    }
}

fn find(
    partition: &Partition,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, PartitionError> {
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    let current = partition.leader_epoch();
    partition
        .inspect(|log, marks| {
            let bound = marks.bound(isolation);
            let at_edge =
                |offset: Offset, epoch| Found { offset, timestamp: Timestamp::NONE, epoch };
            Ok(match asked.timestamp {
                LATEST => at_edge(bound, current),
                EARLIEST | EARLIEST_LOCAL => at_edge(marks.log_start, first_epoch(log, marks)),
                LATEST_TIERED | EARLIEST_PENDING_UPLOAD => NOTHING,
                MAX_TIMESTAMP => below(log.offset_of_max_timestamp()?, bound),
                time => below(log.offset_for_timestamp(Timestamp(time))?, bound),
            })
        })?
        .inspect_err(|error| partition.note(error))
        .map_err(PartitionError::Log)
}

/// A record at or beyond the reader's bound is not there yet.
fn below(found: Option<TimestampedOffset>, bound: Offset) -> Found {
    match found {
        Some(found) if found.offset < bound => {
            Found { offset: found.offset, timestamp: found.timestamp, epoch: found.leader_epoch }
        }
        _ => NOTHING,
    }
}

fn first_epoch(log: &PartitionLog, marks: Watermarks) -> LeaderEpoch {
    log.epochs().epoch_at(marks.log_start).unwrap_or(LeaderEpoch::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_times_have_a_first_version() {
        assert!(is_served(0, 1));
        assert!(is_served(EARLIEST, 1));
        assert!(!is_served(MAX_TIMESTAMP, 6));
        assert!(is_served(MAX_TIMESTAMP, 7));
        assert!(!is_served(-7, 11));
    }
}
