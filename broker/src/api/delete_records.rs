//! DeleteRecords (key 21), versions 0-2.
//!
//! Behaviour: the log start of each partition moves to an offset, -1 being the high watermark
//! (KIP-107); records below it are gone for readers at once and from the disk with their segment.
//! Answers the low watermark: the log start, with one replica.
//! Differences from Apache Kafka: none intended.

use std::collections::BTreeMap;

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Offset;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};

/// "Everything that is committed."
const HIGH_WATERMARK: i64 = -1;
const NO_LOW_WATERMARK: i64 = -1;

#[derive(Debug)]
pub(crate) struct DeleteRecords;

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
        let topics = asked
            .into_iter()
            .map(|(name, offsets)| {
                let partitions = offsets
                    .into_iter()
                    .map(|(index, offset)| result(index, delete(ctx, &name, index, offset)))
                    .collect();
                DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions)
            })
            .collect();
        Reply::message(DeleteRecordsResponse::default().with_topics(topics))
    }
}

fn delete(
    ctx: &RequestContext,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Offset, ErrorCode> {
    let topics = &ctx.services.topics;
    let entry = topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if entry.is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = entry.led(partition).map_err(|none| none.code())?;
    if !entry.config.cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let to = match offset {
        HIGH_WATERMARK => partition.high_watermark(),
        offset => Offset(offset),
    };
    partition.delete_records(to).map_err(|error| error.code())
}

fn result(index: i32, deleted: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let (low, code) = match deleted {
        Ok(start) => (start.0, ErrorCode::None),
        Err(code) => (NO_LOW_WATERMARK, code),
    };
    DeleteRecordsPartitionResult::default()
        .with_partition_index(index)
        .with_low_watermark(low)
        .with_error_code(code.code())
}
