//! DescribeTopicPartitions (key 75), version 0.
//!
//! Behaviour: topics by name, in the order of their names, or all of them, a page at a time
//! (KIP-966): at most the client's limit of partitions and `max.request.partition.size.limit`, with a
//! cursor where it goes on.
//! Differences from Apache Kafka: the answer to an empty topic name is the same, its cause is not a
//! failure of ours.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use ottla_coordinator::metadata::{MetadataImage, PartitionImage, TopicImage, topic_name};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::PartitionId;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::cluster::{PartitionView, view};
use crate::services::Services;

#[derive(Debug)]
pub(crate) struct DescribeTopicPartitions;

impl ApiHandler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const NAME: &'static str = "DescribeTopicPartitions";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &RequestContext,
        request: DescribeTopicPartitionsRequest,
    ) -> Reply<DescribeTopicPartitionsResponse> {
        let image = ctx.services.metadata.image();
        let most = ctx.services.configuration().broker.fetch.described_partitions_max;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Reply::message(describe(&ctx.services, &image, &request, most))
    }
}

fn describe(
    services: &Services,
    image: &MetadataImage,
    request: &DescribeTopicPartitionsRequest,
    most: usize,
) -> DescribeTopicPartitionsResponse {
    let asked: BTreeSet<&str> = request.topics.iter().map(|topic| &**topic.name).collect();
    if asked.contains("") {
        return refused(request, ErrorCode::UnknownServerError);
    }
    let all = asked.is_empty();
    let (from, first) = match &request.cursor {
        None => ("", 0),
        Some(cursor) if cursor.partition_index < 0 => {
            return refused(request, ErrorCode::InvalidRequest);
        }
        Some(cursor) => (&**cursor.topic_name, cursor.partition_index),
    };
    let names: Vec<&str> = if all {
        image.topics_from(from).map(|topic| &*topic.name).collect()
    } else {
        asked.range(from..).copied().collect()
    };
    if !all && names.is_empty() {
        return refused(request, ErrorCode::InvalidRequest);
    }
    let limit =
        usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, most.max(1));
    let mut page = Page { topics: Vec::new(), room: limit, next: None };
    for name in names {
        let first = if name == from { first } else { 0 };
        if page.room == 0 {
            page.next = Some(cursor(name, 0));
        } else {
            page.add(services, image, name, first);
        }
        if page.next.is_some() {
            break;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(TopicName(wire::text(topic))).with_partition_index(partition)
}

/// What fits into one answer.
struct Page {
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    room: usize,
    next: Option<Cursor>,
}

impl Page {
    fn add(&mut self, services: &Services, image: &MetadataImage, name: &str, first: i32) {
        let Some(topic) = image.topic(name) else {
            let code = match topic_name::check(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            self.topics.push(
                described(name)
                    .with_error_code(code.code())
                    .with_topic_authorized_operations(wire::TOPIC_OPERATIONS),
            );
            return;
        };
        let rest = topic.iter().skip_while(|(index, _)| index.0 < first);
        let partitions: Vec<_> = rest
            .take(self.room)
            .map(|(index, state)| {
                let now = view(services, topic.id, index, state);
                partition(image, index, state, now)
            })
            .collect();
        self.room -= partitions.len();
        self.continue_at(topic, first, partitions.len());
        self.topics.push(
            described(name)
                .with_topic_id(topic.id)
                .with_is_internal(topic_name::is_internal(name))
                .with_partitions(partitions)
                .with_topic_authorized_operations(wire::TOPIC_OPERATIONS),
        );
    }

    fn continue_at(&mut self, topic: &TopicImage, first: i32, taken: usize) {
        let next = first.saturating_add(i32::try_from(taken).unwrap_or(i32::MAX));
        if topic.partition(PartitionId(next)).is_some() {
            self.next = Some(cursor(&topic.name, next));
        }
    }
}

fn described(name: &str) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default().with_name(Some(TopicName(wire::text(name))))
}

fn partition(
    image: &MetadataImage,
    index: PartitionId,
    state: &PartitionImage,
    now: PartitionView,
) -> DescribeTopicPartitionsResponsePartition {
    let code = match now.leader {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    };
    let offline = image.offline_replicas(state);
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(index.0)
        .with_leader_id(BrokerId(now.leader.map_or(-1, |leader| leader.0)))
        .with_leader_epoch(now.epoch.0)
        .with_replica_nodes(wire::broker_ids(&state.replicas))
        .with_isr_nodes(wire::broker_ids(&now.isr))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(wire::broker_ids(&offline))
}

/// One code for every topic that was asked for.
fn refused(
    request: &DescribeTopicPartitionsRequest,
    code: ErrorCode,
) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic.name.clone()))
                .with_error_code(code.code())
                .with_topic_authorized_operations(wire::OPERATIONS_NOT_ASKED)
        })
        .collect();
    DescribeTopicPartitionsResponse::default().with_topics(topics)
}
