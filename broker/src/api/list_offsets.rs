//! ListOffsets (key 2), versions 1-11.
//!
//! Behaviour: -1 is the end (high watermark, or last stable offset for read_committed), -2 the log
//! start, -3 the record with the largest timestamp (KIP-734), -4 the local log start (KIP-405), -5 and
//! -6 are about tiered storage and answer -1 without it; a time answers the first record at or after
//! it below the end. A partition named twice is INVALID_REQUEST, as in Kafka. A new leader does not say
//! where the end is before its high watermark has come to where its epoch begins (KIP-207): it could
//! be less than another leader has said.
//! Differences from Apache Kafka: a leader that others may have replaced, as it has not heard a majority
//! for a lease's time, asks them before it says where the end is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
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
use ottla_replication::raft::{Group, GroupId};
use ottla_storage::{LogError, PartitionLog, TimestampedOffset};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};

/// From this version on an answer has the leader epoch.
const EPOCHS_FROM: i16 = 4;
/// From this version on OFFSET_NOT_AVAILABLE may be answered.
const NOT_AVAILABLE_FROM: i16 = 5;

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

/// The end is not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lagging;

impl Lagging {
    const fn code(self, version: i16) -> ErrorCode {
        match version {
            NOT_AVAILABLE_FROM.. => ErrorCode::OffsetNotAvailable,
            _ => ErrorCode::LeaderNotAvailable,
        }
    }
}

impl ApiHandler for ListOffsets {
    type Request = ListOffsetsRequest;
    const NAME: &'static str = "ListOffsets";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=11;

    fn handle(ctx: &RequestContext, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let isolation = match request.isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let groups = unconfirmed(ctx, &request);
        if groups.is_empty() {
            return Reply::message(respond(ctx, &request, isolation, &BTreeSet::new()));
        }
        let ctx = ctx.clone();
        Reply::staged(async move {
            let asked = groups.into_iter().map(|group| async move {
                let confirmed = group.confirm().await;
                (group.id(), confirmed)
            });
            let deposed = join_all(asked).await.into_iter().filter(|(_, it)| it.is_err());
            let deposed = deposed.map(|(id, _)| id).collect();
            respond(&ctx, &request, isolation, &deposed)
        })
    }
}

/// The groups of partitions that this broker leads, as far as it knows, and whose end is asked for.
fn unconfirmed(ctx: &RequestContext, request: &ListOffsetsRequest) -> Vec<Arc<Group>> {
    let mut groups = BTreeMap::new();
    for topic in &request.topics {
        let Some(entry) = ctx.services.topics.by_name(&topic.name) else { continue };
        let asked = topic.partitions.iter().filter(|asked| is_about_the_end(asked.timestamp));
        let led = asked.filter_map(|asked| entry.led(asked.partition_index).ok()?.group());
        groups.extend(led.map(|group| (group.id(), group)));
    }
    groups.into_values().collect()
}

/// Whether an answer follows from how far the log goes.
const fn is_about_the_end(timestamp: i64) -> bool {
    matches!(timestamp, 0..|LATEST| MAX_TIMESTAMP)
}

/// Answers for each partition; those of `deposed` groups others may lead by now.
fn respond(
    ctx: &RequestContext,
    request: &ListOffsetsRequest,
    isolation: Isolation,
    deposed: &BTreeSet<GroupId>,
) -> ListOffsetsResponse {
    let topics = asked_once(request)
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, asked)| {
                let found = match asked {
                    Some(asked) => look_up(ctx, &name.0, asked, isolation, deposed),
                    None => Err(ErrorCode::InvalidRequest),
                };
                answer(index, found, ctx.version)
            });
            ListOffsetsTopicResponse::default()
                .with_name(name.clone())
                .with_partitions(partitions.collect())
        })
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
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
    deposed: &BTreeSet<GroupId>,
) -> Result<Found, ErrorCode> {
    if !is_served(asked.timestamp, ctx.version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let entry = ctx.services.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = entry.led(asked.partition_index).map_err(|none| none.code())?;
    let group = partition.group().map(|group| group.id());
    if group.is_some_and(|id| deposed.contains(&id)) && is_about_the_end(asked.timestamp) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let found = find(&partition, asked, isolation).map_err(|error| error.code())?;
    found.map_err(|lagging| lagging.code(ctx.version))
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
) -> Result<Result<Found, Lagging>, PartitionError> {
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    let current = partition.leader_epoch();
    partition
        .inspect(|log, marks| look(log, marks, (asked.timestamp, current), isolation))?
        .inspect_err(|error| partition.note(error))
        .map_err(PartitionError::Log)
}

fn look(
    log: &PartitionLog,
    marks: Watermarks,
    (timestamp, current): (i64, LeaderEpoch),
    isolation: Isolation,
) -> Result<Result<Found, Lagging>, LogError> {
    let bound = marks.bound(isolation);
    // A leader whose epoch has not begun in its log has won, and its vote is not on its disk yet.
    let lagging = log.epochs().entries().last().is_some_and(|last| {
        last.epoch < current || last.epoch == current && last.start > marks.high_watermark
    });
    let at_edge = |offset: Offset, epoch| Found { offset, timestamp: Timestamp::NONE, epoch };
    let found = match timestamp {
        LATEST if lagging => return Ok(Err(Lagging)),
        LATEST => return Ok(Ok(at_edge(bound, current))),
        EARLIEST | EARLIEST_LOCAL => {
            return Ok(Ok(at_edge(marks.log_start, first_epoch(log, marks))));
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(Ok(NOTHING)),
        MAX_TIMESTAMP => log.offset_of_max_timestamp()?,
        time => log.offset_for_timestamp(Timestamp(time))?,
    };
    Ok(match below(found, bound) {
        found if lagging && found == NOTHING => Err(Lagging),
        found => Ok(found),
    })
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
    use ottla_protocol::model::{MonoTime, Now};
    use ottla_protocol::records::{BatchBuilder, BatchHeader, Compression, HEADER, NewRecord};
    use ottla_storage::fs::MemoryFileSystem;
    use ottla_storage::{
        AppendOrigin, LeaderAppend, LeaderBatch, LogResources, LogSettings, OpenContext,
    };

    use super::*;

    #[test]
    fn special_times_have_a_first_version() {
        assert!(is_served(0, 1));
        assert!(is_served(EARLIEST, 1));
        assert!(!is_served(MAX_TIMESTAMP, 6));
        assert!(is_served(MAX_TIMESTAMP, 7));
        assert!(!is_served(-7, 11));
    }

    const NOW: Now =
        Now { mono: MonoTime::from_start(std::time::Duration::ZERO), wall: Timestamp(5_000) };

    /// Offsets 0 and 1 of epoch 3, at the times 100 and 200.
    fn log() -> PartitionLog {
        let context = OpenContext::new(NOW, LogResources::new(64, 1 << 20));
        let fs = Arc::new(MemoryFileSystem::new());
        let mut log =
            PartitionLog::create(fs, "/log".into(), LogSettings::default(), &context).unwrap();
        for time in [100, 200] {
            let mut builder = BatchBuilder::new(Compression::NONE);
            builder.push(NewRecord::at(Timestamp(time))).unwrap();
            let bytes = builder.build().unwrap();
            let header = BatchHeader::parse(&bytes).unwrap();
            let batch = LeaderBatch { header, payload: bytes.slice(HEADER..) };
            let append = LeaderAppend {
                batches: &[batch],
                origin: AppendOrigin::Client,
                frame_bytes: bytes.len(),
            };
            log.append_as_leader(&append, LeaderEpoch(3), NOW).unwrap();
        }
        log
    }

    #[test]
    fn a_new_leader_knows_its_end_once_its_high_watermark_has_come_to_its_epoch() {
        let mut log = log();
        let ask = |log: &PartitionLog, timestamp, high_watermark| {
            let marks = Watermarks {
                log_start: Offset(0),
                last_stable: high_watermark,
                high_watermark,
                log_end: Offset(2),
            };
            look(log, marks, (timestamp, LeaderEpoch(4)), Isolation::ReadUncommitted)
                .unwrap()
                .map(|found| found.offset.get())
        };
        let behind = Offset(1);
        assert_eq!(ask(&log, LATEST, behind), Err(Lagging), "its epoch has not begun");
        assert_eq!(
            ask(&log, LATEST, Offset(2)),
            Err(Lagging),
            "nor does it know that nothing follows"
        );
        log.assign_epoch(LeaderEpoch(4), Offset(2));
        let ask = |timestamp, high_watermark| ask(&log, timestamp, high_watermark);
        assert_eq!(ask(LATEST, behind), Err(Lagging), "the leader before may have said 2");
        assert_eq!(ask(150, behind), Err(Lagging));
        assert_eq!(ask(MAX_TIMESTAMP, behind), Err(Lagging));
        assert_eq!(ask(100, behind), Ok(0), "nobody takes that back");
        assert_eq!(ask(EARLIEST, behind), Ok(0));
        assert_eq!(ask(LATEST, Offset(2)), Ok(2));
        assert_eq!(ask(150, Offset(2)), Ok(1));
        assert_eq!(ask(300, Offset(2)), Ok(-1));
        assert_eq!(Lagging.code(5), ErrorCode::OffsetNotAvailable);
        assert_eq!(Lagging.code(4), ErrorCode::LeaderNotAvailable);
    }
}
