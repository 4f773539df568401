//! OffsetDelete (key 47), version 0.
//!
//! Behaviour: see `coordinator::group`. Partitions that do not exist get UNKNOWN_TOPIC_OR_PARTITION;
//! the group is asked in any case, so that its own errors show.
//! Differences from Apache Kafka: none known.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_coordinator::group::{
    DeleteOffsetsRequest, DeleteTopic, GroupError, Input, Reply as GroupReply,
};
use ottla_protocol::error_code::ErrorCode;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct OffsetDelete;

impl ApiHandler for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const NAME: &'static str = "OffsetDelete";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn handle(ctx: &RequestContext, request: OffsetDeleteRequest) -> Reply<OffsetDeleteResponse> {
        if request.group_id.0.is_empty() {
            return Reply::message(refused(GroupError::InvalidGroupId));
        }
        let mut outcomes = Outcomes::default();
        let group_id = wire::shared(&request.group_id.0);
        let topics = existing(ctx, &request, &mut outcomes);
        let request = DeleteOffsetsRequest { group_id: Arc::clone(&group_id), topics };
        let answer = ctx.services.groups.submit(&ctx.services, &group_id, ctx.now, |token| {
            Input::DeleteOffsets(token, request)
        });
        wire::group_reply(answer, move |result| match result {
            Ok(GroupReply::DeleteOffsets(Ok(topics))) => {
                for topic in &topics {
                    for partition in &topic.partitions {
                        let code = partition.error.map_or(ErrorCode::None, |error| error.code());
                        outcomes.add(&topic.topic, partition.partition, code);
                    }
                }
                OffsetDeleteResponse::default().with_topics(outcomes.0)
            }
            Ok(GroupReply::DeleteOffsets(Err(error))) | Err(error) => refused(error),
            Ok(_) => refused(GroupError::CoordinatorNotAvailable),
        })
    }
}

fn existing(
    ctx: &RequestContext,
    request: &OffsetDeleteRequest,
    outcomes: &mut Outcomes,
) -> Vec<DeleteTopic> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let entry = ctx.services.topics.by_name(&topic.name.0);
        let exists = |index| entry.as_ref().is_some_and(|entry| entry.has(index));
        let name = wire::shared(&topic.name.0);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            if exists(partition.partition_index) {
                partitions.push(partition.partition_index);
            } else {
                let code = ErrorCode::UnknownTopicOrPartition;
                outcomes.add(&name, partition.partition_index, code);
            }
        }
        if !partitions.is_empty() {
            topics.push(DeleteTopic { topic: name, partitions });
        }
    }
    topics
}

fn refused(error: GroupError) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(error.code().code())
}

/// Topics in the order in which they got their first outcome, as Kafka has them.
#[derive(Default)]
struct Outcomes(Vec<OffsetDeleteResponseTopic>);

impl Outcomes {
    fn add(&mut self, name: &Arc<str>, partition: i32, code: ErrorCode) {
        let outcome = OffsetDeleteResponsePartition::default()
            .with_partition_index(partition)
            .with_error_code(code.code());
        match self.0.iter_mut().rev().find(|topic| *topic.name.0 == **name) {
            Some(topic) => topic.partitions.push(outcome),
            None => self.0.push(
                OffsetDeleteResponseTopic::default()
                    .with_name(wire::topic_name(name))
                    .with_partitions(vec![outcome]),
            ),
        }
    }
}
