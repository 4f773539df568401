//! The answer to OffsetFetch, in the three shapes that its versions have.
//!
//! Owns: topics by name in one group (v1-7), by name in several (v8-9), by id (v10). Never: asks a
//! group.

use std::sync::Arc;

use kafka_protocol::messages::OffsetFetchResponse;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_coordinator::group::{
    FetchTopic, FetchedOffset, FetchedTopic, GroupError, Reply as GroupReply,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Uuid;

use super::super::error::KafkaError;
use super::super::wire;
use super::{GROUPS_FROM, IDS_FROM};
use crate::services::Services;

/// From this version on an error of the group is one of the response; before, of every partition.
const TOP_LEVEL_ERROR_FROM: i16 = 2;

pub(super) struct AnsweredGroup {
    id: Arc<str>,
    /// Topics by ids that do not exist.
    unknown: Vec<OffsetFetchRequestTopics>,
    result: Result<Vec<FetchedTopic>, Refused>,
}

struct Refused {
    error: GroupError,
    asked: Vec<FetchTopic>,
}

impl AnsweredGroup {
    pub(super) fn new(
        id: Arc<str>,
        asked: Option<Vec<FetchTopic>>,
        unknown: Vec<OffsetFetchRequestTopics>,
        result: Result<GroupReply, GroupError>,
    ) -> Self {
        let result = match result {
            Ok(GroupReply::FetchOffsets(topics)) => Ok(topics),
            Ok(_) => Err(GroupError::CoordinatorNotAvailable),
            Err(error) => Err(error),
        };
        let refused = |error| Refused { error, asked: asked.unwrap_or_default() };
        Self { id, unknown, result: result.map_err(refused) }
    }

    fn code(&self) -> ErrorCode {
        self.result.as_ref().err().map_or(ErrorCode::None, |refused| refused.error.code())
    }

    fn into_group(self, version: i16, services: &Services) -> OffsetFetchResponseGroup {
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(wire::text(&self.id).into())
            .with_error_code(self.code().code());
        let Ok(fetched) = self.result else { return group };
        let by_id = version >= IDS_FROM;
        let mut topics: Vec<OffsetFetchResponseTopics> = fetched
            .iter()
            .filter_map(|topic| {
                let id = match (by_id, topic.topic_id.is_nil()) {
                    (false, _) => Uuid::nil(),
                    (true, false) => topic.topic_id,
                    // All topics were asked for; what has no id any more cannot be named.
                    (true, true) => services.topics.by_name(&topic.topic)?.id,
                };
                Some(named_topic(&topic.topic, id, by_id, &topic.partitions))
            })
            .collect();
        topics.extend(self.unknown.iter().map(unknown_topic));
        group.with_topics(topics)
    }
}

pub(super) fn respond(
    version: i16,
    services: &Services,
    mut groups: Vec<AnsweredGroup>,
) -> OffsetFetchResponse {
    if version >= GROUPS_FROM {
        let groups = groups.into_iter().map(|group| group.into_group(version, services));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let code = group.code();
    let topics = match &group.result {
        Ok(topics) => topics.iter().map(|topic| old_topic(topic, None)).collect(),
        Err(refused) if version < TOP_LEVEL_ERROR_FROM => {
            refused.asked.iter().map(|topic| refused_topic(topic, code)).collect()
        }
        Err(_) => Vec::new(),
    };
    OffsetFetchResponse::default().with_topics(topics).with_error_code(code.code())
}

fn named_topic(
    name: &Arc<str>,
    id: Uuid,
    by_id: bool,
    partitions: &[FetchedOffset],
) -> OffsetFetchResponseTopics {
    let partition = |offset: &FetchedOffset| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_metadata(Some(wire::text(&offset.metadata)))
            .with_error_code(offset.error.map_or(0, |error| error.code().code()))
    };
    let topic = OffsetFetchResponseTopics::default()
        .with_partitions(partitions.iter().map(partition).collect());
    if by_id { topic.with_topic_id(id) } else { topic.with_name(wire::topic_name(name)) }
}

fn unknown_topic(topic: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(*index)
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(wire::text("")))
            .with_error_code(ErrorCode::UnknownTopicId.code())
    };
    OffsetFetchResponseTopics::default()
        .with_topic_id(topic.topic_id)
        .with_partitions(topic.partition_indexes.iter().map(partition).collect())
}

fn old_topic(topic: &FetchedTopic, error: Option<ErrorCode>) -> OffsetFetchResponseTopic {
    let partition = |offset: &FetchedOffset| {
        let code = error.or_else(|| offset.error.map(|error| error.code()));
        OffsetFetchResponsePartition::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_metadata(Some(wire::text(&offset.metadata)))
            .with_error_code(code.map_or(0, ErrorCode::code))
    };
    OffsetFetchResponseTopic::default()
        .with_name(wire::topic_name(&topic.topic))
        .with_partitions(topic.partitions.iter().map(partition).collect())
}

fn refused_topic(topic: &FetchTopic, code: ErrorCode) -> OffsetFetchResponseTopic {
    let nothing = |partition: &i32| FetchedOffset {
        partition: *partition,
        offset: -1,
        leader_epoch: -1,
        metadata: "".into(),
        error: None,
    };
    let partitions = topic.partitions.iter().map(nothing).collect();
    let fetched =
        FetchedTopic { topic: Arc::clone(&topic.topic), topic_id: topic.topic_id, partitions };
    old_topic(&fetched, Some(code))
}
