//! DescribeProducers (key 61), version 0.
//!
//! Behaviour: the idempotent and transactional producers that a partition remembers, with their
//! epoch, last sequence and time, and where an open transaction began (KIP-664).
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId,
};
use ottla_coordinator::metadata::topic_name;
use ottla_protocol::error_code::ErrorCode;
use ottla_storage::producer_state::ProducerEntry;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct DescribeProducers;

impl ApiHandler for DescribeProducers {
    type Request = DescribeProducersRequest;
    const NAME: &'static str = "DescribeProducers";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &RequestContext,
        request: DescribeProducersRequest,
    ) -> Reply<DescribeProducersResponse> {
        let topics = request
            .topics
            .into_iter()
            .map(|topic| {
                let partitions = topic
                    .partition_indexes
                    .iter()
                    .map(|index| result(*index, producers(ctx, &topic.name, *index)))
                    .collect();
                TopicResponse::default().with_name(topic.name).with_partitions(partitions)
            })
            .collect();
        Reply::message(DescribeProducersResponse::default().with_topics(topics))
    }
}

type Refusal = (ErrorCode, Option<String>);

fn producers(ctx: &RequestContext, topic: &str, index: i32) -> Result<Vec<ProducerState>, Refusal> {
    let code = ErrorCode::UnknownTopicOrPartition;
    let Some(entry) = ctx.services.topics.by_name(topic) else {
        return Err(match topic_name::check(topic) {
            Ok(()) => (code, Some(wire::UNKNOWN_TOPIC.to_owned())),
            Err(error) => (ErrorCode::InvalidTopicException, Some(error.to_string())),
        });
    };
    let partition = entry.led(index).map_err(|none| (none.code(), None))?;
    partition
        .inspect(|log, _| log.producers().iter().map(|(id, entry)| active(id.0, entry)).collect())
        .map_err(|error| (error.code(), None))
}

fn active(id: i64, entry: &ProducerEntry) -> ProducerState {
    ProducerState::default()
        .with_producer_id(WireProducerId(id))
        .with_producer_epoch(i32::from(entry.epoch.0))
        .with_last_sequence(entry.last_sequence())
        .with_last_timestamp(entry.last_timestamp.0)
        .with_coordinator_epoch(entry.coordinator_epoch)
        .with_current_txn_start_offset(entry.txn_first.map_or(-1, |offset| offset.0))
}

fn result(index: i32, producers: Result<Vec<ProducerState>, Refusal>) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    match producers {
        Ok(producers) => response.with_active_producers(producers),
        Err((code, message)) => {
            response.with_error_code(code.code()).with_error_message(wire::message(message))
        }
    }
}
