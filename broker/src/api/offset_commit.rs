//! OffsetCommit (key 8), versions 2-10.
//!
//! Behaviour: see `coordinator::group`. Partitions that do not exist get UNKNOWN_TOPIC_OR_PARTITION,
//! ids that do not exist (v10, KIP-848) UNKNOWN_TOPIC_ID; the others are committed. Up to v4 a client may
//! say how long its offsets live. The empty group id is one like any other here.
//! Differences from Apache Kafka: none known.

use std::sync::Arc;

use kafka_protocol::messages::OffsetCommitResponse;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_coordinator::group::{
    CommitPartition, CommitTopic, Input, MissingGroup, OffsetCommitRequest, Reply as GroupReply,
    TopicOutcome,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::messages::OffsetCommitRequest as WireRequest;
use ottla_protocol::model::Uuid;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::topics::TopicEntry;

const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
const IDS_FROM: i16 = 10;
/// `RetentionTimeMs` of a client that leaves it to the broker.
const NO_RETENTION: i64 = -1;

#[derive(Debug)]
pub(crate) struct OffsetCommit;

impl ApiHandler for OffsetCommit {
    type Request = WireRequest;
    const NAME: &'static str = "OffsetCommit";
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=10;

    fn handle(ctx: &RequestContext, mut request: WireRequest) -> Reply<OffsetCommitResponse> {
        let mut response = Outcomes { version: ctx.version, topics: Vec::new() };
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in std::mem::take(&mut request.topics) {
            topics.extend(existing(ctx, &topic, &mut response));
        }
        if topics.is_empty() {
            return Reply::message(response.into_message());
        }
        let request = OffsetCommitRequest {
            group_id: wire::shared(&request.group_id.0),
            member_id: wire::shared(&request.member_id),
            instance_id: request.group_instance_id.as_ref().map(wire::shared),
            generation: request.generation_id_or_member_epoch,
            retention_ms: Some(request.retention_time_ms).filter(|time| *time != NO_RETENTION),
            missing_group: match ctx.version {
                GROUP_ID_NOT_FOUND_FROM.. => MissingGroup::GroupIdNotFound,
                _ => MissingGroup::IllegalGeneration,
            },
            topics,
        };
        let asked: Vec<Asked> = request.topics.iter().map(Asked::of).collect();
        let group_id = Arc::clone(&request.group_id);
        let answer = ctx.services.groups.submit(&ctx.services, &group_id, ctx.now, |token| {
            Input::CommitOffsets(token, request)
        });
        wire::group_reply(answer, move |result| {
            match result {
                Ok(GroupReply::CommitOffsets(Ok(outcomes))) => response.add_outcomes(&outcomes),
                Ok(GroupReply::CommitOffsets(Err(error))) | Err(error) => {
                    response.add_refusal(&asked, error.code());
                }
                Ok(_) => response.add_refusal(&asked, ErrorCode::CoordinatorNotAvailable),
            }
            response.into_message()
        })
    }
}

/// What of a topic can be committed; the rest goes into the response.
fn existing(
    ctx: &RequestContext,
    topic: &OffsetCommitRequestTopic,
    response: &mut Outcomes,
) -> Option<CommitTopic> {
    let by_id = ctx.version >= IDS_FROM;
    let topics = &ctx.services.topics;
    let entry = if by_id { topics.by_id(topic.topic_id) } else { topics.by_name(&topic.name.0) };
    let (unknown, code) = match by_id {
        true => (("".into(), topic.topic_id), ErrorCode::UnknownTopicId),
        false => {
            let key = (wire::shared(&topic.name.0), Uuid::nil());
            (key, ErrorCode::UnknownTopicOrPartition)
        }
    };
    let Some(entry) = entry else {
        for partition in &topic.partitions {
            response.add(&unknown.0, unknown.1, partition.partition_index, code);
        }
        return None;
    };
    let exists = |index: i32| entry.has(index);
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let index = partition.partition_index;
        if exists(index) {
            partitions.push(CommitPartition {
                partition: index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(wire::shared),
            });
        } else {
            response.add(&entry.name, entry.id, index, ErrorCode::UnknownTopicOrPartition);
        }
    }
    (!partitions.is_empty()).then(|| committed_topic(&entry, partitions))
}

fn committed_topic(entry: &TopicEntry, partitions: Vec<CommitPartition>) -> CommitTopic {
    CommitTopic { topic: Arc::clone(&entry.name), topic_id: entry.id, partitions }
}

/// What was asked of a topic, for an error that concerns all of it.
struct Asked {
    name: Arc<str>,
    id: Uuid,
    partitions: Vec<i32>,
}

impl Asked {
    fn of(topic: &CommitTopic) -> Self {
        Self {
            name: Arc::clone(&topic.topic),
            id: topic.topic_id,
            partitions: topic.partitions.iter().map(|partition| partition.partition).collect(),
        }
    }
}

/// The response in the making: topics in the order in which they got their first outcome.
struct Outcomes {
    version: i16,
    topics: Vec<OffsetCommitResponseTopic>,
}

impl Outcomes {
    fn add(&mut self, name: &Arc<str>, id: Uuid, partition: i32, code: ErrorCode) {
        let by_id = self.version >= IDS_FROM;
        let same = |topic: &OffsetCommitResponseTopic| match by_id {
            true => topic.topic_id == id,
            false => *topic.name.0 == **name,
        };
        let outcome = OffsetCommitResponsePartition::default()
            .with_partition_index(partition)
            .with_error_code(code.code());
        // Requests come topic by topic, so the last one is nearly always it.
        if let Some(topic) = self.topics.iter_mut().rev().find(|topic| same(topic)) {
            topic.partitions.push(outcome);
            return;
        }
        let topic = OffsetCommitResponseTopic::default().with_partitions(vec![outcome]);
        self.topics.push(match by_id {
            true => topic.with_topic_id(id),
            false => topic.with_name(wire::topic_name(name)),
        });
    }

    fn add_outcomes(&mut self, outcomes: &[TopicOutcome]) {
        for topic in outcomes {
            for partition in &topic.partitions {
                let code = partition.error.map_or(ErrorCode::None, |error| error.code());
                self.add(&topic.topic, topic.topic_id, partition.partition, code);
            }
        }
    }

    fn add_refusal(&mut self, asked: &[Asked], code: ErrorCode) {
        for topic in asked {
            for partition in &topic.partitions {
                self.add(&topic.name, topic.id, *partition, code);
            }
        }
    }

    fn into_message(self) -> OffsetCommitResponse {
        OffsetCommitResponse::default().with_topics(self.topics)
    }
}
