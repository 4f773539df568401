//! DeleteRecords (key 21), versions 0-2.
//!
//! Behaviour: the log start of each partition moves to an offset, -1 being the high watermark
//! (KIP-107); records below it are gone for readers at once and from the disk with their segment.
//! Answers the low watermark: the log start. With several replicas the new log start is an entry of
//! their group, and the answer comes once that is committed.
//! Differences from Apache Kafka: it waits for every live replica to have moved its log start; here a
//! majority knows of it for good, and the others hear of it before any later record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Offset;
use ottla_replication::partition::Partition;
use ottla_replication::raft::Group;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};

/// "Everything that is committed."
const HIGH_WATERMARK: i64 = -1;
const NO_LOW_WATERMARK: i64 = -1;

#[derive(Debug)]
pub(crate) struct DeleteRecords;

type Deleted = Result<Offset, ErrorCode>;

/// What becomes of a partition.
enum Deletion {
    Done(Deleted),
    /// Its group has to agree.
    Asked(Arc<Partition>, Arc<Group>, Offset),
}

impl ApiHandler for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const NAME: &'static str = "DeleteRecords";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &RequestContext, request: DeleteRecordsRequest) -> Reply<DeleteRecordsResponse> {
        // A partition that is named twice is answered once, for its last offset.
        let mut asked: BTreeMap<TopicName, BTreeMap<i32, i64>> = BTreeMap::new();
        for topic in request.topics {
            let offsets = topic.partitions.iter().map(|of| (of.partition_index, of.offset));
            asked.entry(topic.name).or_default().extend(offsets);
        }
        let mut topics: Vec<DeleteRecordsTopicResult> = Vec::with_capacity(asked.len());
        let mut later = Vec::new();
        for (name, offsets) in asked {
            let mut partitions = Vec::with_capacity(offsets.len());
            for (index, offset) in offsets {
                let place = (topics.len(), partitions.len());
                partitions.push(match delete(ctx, &name, index, offset) {
                    Deletion::Done(deleted) => result(index, deleted),
                    Deletion::Asked(partition, group, to) => {
                        later.push((place, partition, group, to));
                        // In case that nobody agrees in time.
                        result(index, Err(ErrorCode::RequestTimedOut))
                    }
                });
            }
            topics.push(
                DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions),
            );
        }
        let response = DeleteRecordsResponse::default().with_topics(topics);
        if later.is_empty() {
            return Reply::message(response);
        }
        let clock = Arc::clone(&ctx.services.clock);
        let timeout = u64::try_from(request.timeout_ms).unwrap_or(0);
        let deadline = ctx.now.mono.plus(Duration::from_millis(timeout));
        Reply::staged(async move {
            let mut response = response;
            let asked = later.into_iter().map(|(place, partition, group, to)| {
                let late = clock.sleep_until(deadline);
                async move {
                    tokio::select! {
                        biased;
                        deleted = delete_everywhere(&partition, &group, to) => (place, deleted),
                        () = late => (place, Err(ErrorCode::RequestTimedOut)),
                    }
                }
            });
            for ((topic, partition), deleted) in join_all(asked).await {
                let topic = response.topics.get_mut(topic);
                if let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(partition)) {
                    *answer = result(answer.partition_index, deleted);
                }
            }
            response
        })
    }
}

fn delete(ctx: &RequestContext, topic: &str, index: i32, offset: i64) -> Deletion {
    let partition = match deletable(ctx, topic, index) {
        Ok(partition) => partition,
        Err(code) => return Deletion::Done(Err(code)),
    };
    let high_watermark = partition.high_watermark();
    let to = if offset == HIGH_WATERMARK { high_watermark } else { Offset(offset) };
    match partition.group() {
        Some(_) if to > high_watermark || to < Offset::ZERO => {
            Deletion::Done(Err(ErrorCode::OffsetOutOfRange))
        }
        Some(group) => Deletion::Asked(partition, group, to),
        None => Deletion::Done(partition.delete_records(to).map_err(|error| error.code())),
    }
}

fn deletable(ctx: &RequestContext, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
    let topics = &ctx.services.topics;
    let entry = topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if entry.is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = entry.led(index).map_err(|none| none.code())?;
    if !entry.config.cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    Ok(partition)
}

async fn delete_everywhere(partition: &Partition, group: &Group, to: Offset) -> Deleted {
    group.delete_records(to).await.map_err(|error| {
        tracing::debug!(partition = %partition.name(), %error, "records are not deleted");
        if partition.is_offline() {
            ErrorCode::KafkaStorageError
        } else if partition.is_leader() {
            // A majority does not answer.
            ErrorCode::RequestTimedOut
        } else {
            ErrorCode::NotLeaderOrFollower
        }
    })
}

fn result(index: i32, deleted: Deleted) -> DeleteRecordsPartitionResult {
    let (low, code) = match deleted {
        Ok(start) => (start.0, ErrorCode::None),
        Err(code) => (NO_LOW_WATERMARK, code),
    };
    DeleteRecordsPartitionResult::default()
        .with_partition_index(index)
        .with_low_watermark(low)
        .with_error_code(code.code())
}
