//! OffsetForLeaderEpoch (key 23), versions 2-4.
//!
//! Behaviour: the end offset of the largest epoch at or below the asked one, so that a client finds
//! where its log and ours part (KIP-101, KIP-320). -1/-1 where nothing is known.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, Offset};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};

#[derive(Debug)]
pub(crate) struct OffsetForLeaderEpoch;

impl ApiHandler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const NAME: &'static str = "OffsetForLeaderEpoch";
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=4;

    fn handle(
        ctx: &RequestContext,
        request: OffsetForLeaderEpochRequest,
    ) -> Reply<OffsetForLeaderEpochResponse> {
        let topics = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().map(|asked| {
                    let (code, (epoch, end)) = match look_up(ctx, &topic.topic.0, asked) {
                        Ok(found) => (ErrorCode::None, found),
                        Err(code) => (code, (LeaderEpoch::NONE, Offset::NONE)),
                    };
                    EpochEndOffset::default()
                        .with_partition(asked.partition)
                        .with_error_code(code.code())
                        .with_leader_epoch(epoch.0)
                        .with_end_offset(end.0)
                });
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partitions(partitions.collect())
            })
            .collect();
        Reply::message(OffsetForLeaderEpochResponse::default().with_topics(topics))
    }
}

fn look_up(
    ctx: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let entry = ctx.services.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = entry.led(asked.partition).map_err(|none| none.code())?;
    partition
        .check_epoch(LeaderEpoch(asked.current_leader_epoch))
        .and_then(|()| {
            partition.inspect(|log, _| log.epoch_end_offset(LeaderEpoch(asked.leader_epoch)))
        })
        .map_err(|error| error.code())
}
