//! One pass over the partitions of a fetch.
//!
//! Owns: routing to partitions, the byte limits, the shape of one partition's answer. Never: waits.

use std::sync::Arc;

use kafka_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset, PartitionData};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, Uuid};
use ottla_replication::partition::{
    Isolation, Partition, PartitionError, PartitionRead, ReadPlan, Watermarks,
};
use ottla_storage::{MinOneBatch, ReadError};

use super::preferred::RackOfReader;
use super::session::{PartitionKey, Telling, Wanted};
use crate::api::error::KafkaError;
use crate::net::response::Bulk;
use crate::services::Services;
use crate::topics::TopicEntry;

/// What bounds all reads of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    pub isolation: Isolation,
    pub bytes_max: u32,
    /// The request names topics by id.
    pub by_id: bool,
    pub reader: Reader,
    /// The client may be answered by a follower (KIP-392).
    pub replica: Replica,
}

/// Which replicas may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replica {
    Leader,
    Any,
}

/// Who fetches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reader {
    /// Negative replica ids are consumers, -2 a debugging one.
    Consumer,
    /// A broker. None of the partitions here has a follower that fetches.
    Replica,
}

impl Reader {
    pub(crate) fn of(replica_id: i32) -> Self {
        if replica_id < 0 { Self::Consumer } else { Self::Replica }
    }
}

/// What is answered for one partition.
#[derive(Debug)]
pub(crate) struct PartitionAnswer {
    pub key: PartitionKey,
    /// Set where waiting for more makes sense.
    pub partition: Option<Arc<Partition>>,
    topic: Option<Arc<TopicEntry>>,
    topic_id: Option<Uuid>,
    /// The bound of the read: more is readable once the bound passes it.
    pub seen: Offset,
    outcome: Result<Outcome, ErrorCode>,
}

#[derive(Debug)]
enum Outcome {
    Read(PartitionRead),
    Diverging {
        epoch: LeaderEpoch,
        end: Offset,
        read: PartitionRead,
    },
    /// The reader had better ask this replica.
    Preferred {
        node: NodeId,
        marks: Watermarks,
    },
}

/// Reads every wanted partition once.
pub(crate) fn all(
    services: &Services,
    wanted: &[Wanted],
    limits: ReadLimits,
    rack: Option<&RackOfReader>,
) -> Vec<PartitionAnswer> {
    let mut left = limits.bytes_max;
    let mut min_one = MinOneBatch::Yes;
    wanted
        .iter()
        .map(|wanted| {
            let bytes_max = left.min(wanted.bytes_max);
            let isolation = limits.isolation;
            let plan = ReadPlan { from: wanted.offset, bytes_max, isolation, min_one };
            let answer = one(services, wanted, limits, plan, rack);
            let bytes = answer.bytes();
            if bytes > 0 {
                min_one = MinOneBatch::No;
            }
            left = left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
            answer
        })
        .collect()
}

fn one(
    services: &Services,
    wanted: &Wanted,
    limits: ReadLimits,
    plan: ReadPlan,
    rack: Option<&RackOfReader>,
) -> PartitionAnswer {
    let found = find(services, &wanted.key, limits);
    let topic = found.as_ref().ok().map(|(topic, _)| Arc::clone(topic));
    let partition = found.as_ref().ok().map(|(_, partition)| Arc::clone(partition));
    let outcome = found.and_then(|(_, partition)| {
        partition.check_epoch(wanted.leader_epoch).map_err(|error| error.code())?;
        if limits.reader == Reader::Replica {
            return Err(not_a_follower(wanted.leader_epoch));
        }
        let other = rack.and_then(|rack| rack.choose(services, &partition, wanted.offset));
        if let Some(node) = other {
            return Ok(Outcome::Preferred { node, marks: partition.watermarks() });
        }
        read(&partition, wanted, plan).map_err(|error| code_of(&error, &partition))
    });
    let seen = match &outcome {
        Ok(Outcome::Read(read) | Outcome::Diverging { read, .. }) => {
            read.marks.bound(limits.isolation)
        }
        Ok(Outcome::Preferred { .. }) | Err(_) => Offset::NONE,
    };
    let partition = partition.filter(|_| outcome.is_ok());
    let topic_id = match &topic {
        Some(topic) => Some(topic.id),
        None if limits.by_id => Some(wanted.key.topic_id),
        None => services.topics.by_name(&wanted.key.topic).map(|topic| topic.id),
    };
    PartitionAnswer { key: wanted.key.clone(), partition, topic, topic_id, seen, outcome }
}

fn find(
    services: &Services,
    key: &PartitionKey,
    limits: ReadLimits,
) -> Result<(Arc<TopicEntry>, Arc<Partition>), ErrorCode> {
    let topic = if limits.by_id {
        services.topics.by_id(key.topic_id).ok_or(ErrorCode::UnknownTopicId)?
    } else {
        services.topics.by_name(&key.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    let partition = match limits.replica {
        Replica::Leader => topic.led(key.partition),
        Replica::Any => topic.partition(key.partition),
    }
    .map_err(|none| none.code())?;
    // A replica without a leader may be behind what was read before: who asks finds the next one.
    if partition.leader().is_none() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    Ok((topic, partition))
}

/// What a reader is told. A replica that does not lead may be behind what was read elsewhere: that is
/// no reason for a consumer to begin anew, as the code for an offset that is in no log would be.
fn code_of(error: &PartitionError, partition: &Partition) -> ErrorCode {
    match error {
        PartitionError::Read(ReadError::OutOfRange { offset, end, .. })
            if offset > end && !partition.is_leader() =>
        {
            ErrorCode::OffsetNotAvailable
        }
        error => error.code(),
    }
}

/// A follower that the leader does not know: one that says its epoch is told to come again, since the
/// leader may only not have heard yet (Kafka's `Partition.followerReplicaOrThrow`).
fn not_a_follower(epoch: LeaderEpoch) -> ErrorCode {
    match epoch {
        LeaderEpoch::NONE => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::UnknownLeaderEpoch,
    }
}

fn read(
    partition: &Arc<Partition>,
    wanted: &Wanted,
    plan: ReadPlan,
) -> Result<Outcome, PartitionError> {
    if wanted.last_fetched_epoch != LeaderEpoch::NONE {
        let (epoch, end) =
            partition.inspect(|log, _| log.epoch_end_offset(wanted.last_fetched_epoch))?;
        if epoch == LeaderEpoch::NONE || end == Offset::NONE {
            // Nobody can say where such a log parts from ours.
            let marks = partition.watermarks();
            let (start, end) = (marks.log_start, marks.log_end);
            return Err(ReadError::OutOfRange { offset: wanted.offset, start, end }.into());
        }
        if epoch < wanted.last_fetched_epoch || end < wanted.offset {
            let plan = ReadPlan { bytes_max: 0, min_one: MinOneBatch::No, ..plan };
            let from = plan.from.min(end).max(Offset::ZERO);
            let read = partition.read(ReadPlan { from, ..plan })?;
            return Ok(Outcome::Diverging { epoch, end, read });
        }
    }
    partition.read(plan).map(Outcome::Read)
}

impl PartitionAnswer {
    pub(crate) fn bytes(&self) -> u64 {
        match &self.outcome {
            Ok(Outcome::Read(read)) => u64::from(read.read.bytes),
            _ => 0,
        }
    }

    /// The topic's partition where the client has to look for its leader.
    pub(crate) fn misdirected(&self) -> Option<(Uuid, i32)> {
        let code = *self.outcome.as_ref().err()?;
        let elsewhere =
            matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        elsewhere.then_some((self.topic_id?, self.key.partition))
    }

    /// Answered at once instead of after a wait, and always named in an incremental answer.
    pub(crate) fn is_remarkable(&self) -> bool {
        !matches!(self.outcome, Ok(Outcome::Read(_)))
    }

    pub(crate) fn telling(&self) -> Telling {
        let marks = match &self.outcome {
            Ok(Outcome::Read(read) | Outcome::Diverging { read, .. }) => {
                (read.marks.high_watermark, read.marks.log_start)
            }
            Ok(Outcome::Preferred { marks, .. }) => (marks.high_watermark, marks.log_start),
            Err(_) => (Offset::NONE, Offset::NONE),
        };
        Telling {
            high_watermark: marks.0,
            log_start: marks.1,
            bytes: self.bytes(),
            remarkable: self.is_remarkable(),
        }
    }

    /// The wire form; stored bytes go to `bulk` and a stand-in into the message.
    pub(crate) fn into_message(self, bulk: &mut Bulk) -> PartitionData {
        let bytes = self.bytes();
        let mut data = PartitionData::default()
            .with_partition_index(self.key.partition)
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_log_start_offset(-1)
            .with_aborted_transactions(Some(Vec::new()))
            .with_records(Some(bytes::Bytes::new()));
        if let Some(topic) = &self.topic {
            topic.metrics.fetch_requests.inc();
            topic.metrics.bytes_out.inc_by(bytes);
            topic.metrics.fetch_failures.inc_by(u64::from(self.outcome.is_err()));
        }
        let read = match self.outcome {
            Err(code) => {
                // Kafka has no list where a log was read in vain, and an empty one where it found
                // no log to read.
                let no_log = matches!(
                    code,
                    ErrorCode::UnknownTopicOrPartition
                        | ErrorCode::UnknownTopicId
                        | ErrorCode::InconsistentTopicId
                );
                let aborted = no_log.then(Vec::new);
                return data.with_error_code(code.code()).with_aborted_transactions(aborted);
            }
            Ok(Outcome::Diverging { epoch, end, read }) => {
                data.diverging_epoch =
                    EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0);
                read
            }
            Ok(Outcome::Preferred { node, marks }) => {
                return data
                    .with_high_watermark(marks.high_watermark.0)
                    .with_last_stable_offset(marks.last_stable.0)
                    .with_log_start_offset(marks.log_start.0)
                    .with_aborted_transactions(None)
                    .with_preferred_read_replica(node.0.into());
            }
            Ok(Outcome::Read(read)) => read,
        };
        data.high_watermark = read.marks.high_watermark.0;
        data.last_stable_offset = read.marks.last_stable.0;
        data.log_start_offset = read.marks.log_start.0;
        data.aborted_transactions = read.aborted.map(|aborted| {
            aborted
                .iter()
                .map(|aborted| {
                    AbortedTransaction::default()
                        .with_producer_id(aborted.producer_id.0.into())
                        .with_first_offset(aborted.first_offset.0)
                })
                .collect()
        });
        if read.read.bytes > 0 {
            data.records = Some(bulk.keep(read.read.slices, read.home));
        }
        data
    }
}
