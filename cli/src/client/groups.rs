//! Groups from outside: list, describe, committed offsets, delete.
//!
//! Owns: these requests, classic and KIP-848 groups in one shape. Never: joins a group (`member`).
//! Invariant: offsets are asked and changed at the group's coordinator.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest,
    DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use ottla_protocol::error_code::ErrorCode;

use super::error::ClientError;
use super::offsets::Partition;
use super::{Client, text};

#[derive(Clone, Debug)]
pub(crate) struct ListedGroup {
    pub(crate) id: String,
    pub(crate) protocol_type: String,
    pub(crate) state: String,
    pub(crate) kind: String,
    pub(crate) coordinator: i32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct GroupView {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) assignor: String,
    pub(crate) coordinator: i32,
    pub(crate) members: Vec<GroupMemberView>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct GroupMemberView {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) partitions: Vec<Partition>,
}

/// Offset and metadata of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// Every group of every broker, sorted by name.
pub(crate) async fn list(client: &Client) -> Result<Vec<ListedGroup>, ClientError> {
    let view = client.metadata(Some(&[])).await?;
    let mut groups = Vec::new();
    for broker in &view.brokers {
        let response =
            client.broker::<ListGroupsRequest>(broker.id, |_| ListGroupsRequest::default()).await?;
        let code = ErrorCode::from_code(response.error_code);
        if !code.is_none() {
            return Err(ClientError::refused(format!("groups of broker {}", broker.id), code));
        }
        groups.extend(response.groups.into_iter().map(|group| ListedGroup {
            id: group.group_id.0.to_string(),
            protocol_type: group.protocol_type.to_string(),
            state: group.group_state.to_string(),
            kind: group.group_type.to_string().to_lowercase(),
            coordinator: broker.id,
        }));
    }
    groups.sort_by(|left, right| left.id.cmp(&right.id));
    groups.dedup_by(|left, right| left.id == right.id);
    Ok(groups)
}

/// One group, whichever protocol it uses. A group that does not exist is GROUP_ID_NOT_FOUND.
pub(crate) async fn describe(client: &Client, group: &str) -> Result<GroupView, ClientError> {
    let coordinator = client.coordinator(group).await?;
    match describe_consumer(client, group, coordinator).await {
        Ok(Some(view)) => return Ok(view),
        // Classic groups, and brokers without KIP-848.
        Ok(None) | Err(ClientError::Unsupported { .. }) => {}
        Err(error) => return Err(error),
    }
    let response = client
        .broker::<DescribeGroupsRequest>(coordinator, |_| {
            DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))])
        })
        .await?;
    let Some(found) = response.groups.into_iter().next() else {
        return Err(ClientError::refused(group, ErrorCode::GroupIdNotFound));
    };
    let code = ErrorCode::from_code(found.error_code);
    // Before version 6 a group that does not exist is described as dead.
    if code == ErrorCode::GroupIdNotFound || (code.is_none() && &*found.group_state == "Dead") {
        return Err(ClientError::refused(
            format!("group {group} does not exist"),
            ErrorCode::GroupIdNotFound,
        ));
    }
    if !code.is_none() {
        return Err(ClientError::refused(format!("group {group}"), code));
    }
    let members = found.members.into_iter().map(|member| GroupMemberView {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        partitions: assigned_partitions(member.member_assignment),
    });
    Ok(GroupView {
        id: group.to_owned(),
        kind: "classic".to_owned(),
        state: found.group_state.to_string(),
        assignor: found.protocol_data.to_string(),
        coordinator,
        members: sorted(members.collect()),
    })
}

fn sorted(mut members: Vec<GroupMemberView>) -> Vec<GroupMemberView> {
    members.sort_by(|left, right| left.member_id.cmp(&right.member_id));
    members
}

async fn describe_consumer(
    client: &Client,
    group: &str,
    coordinator: i32,
) -> Result<Option<GroupView>, ClientError> {
    let response = client
        .broker::<ConsumerGroupDescribeRequest>(coordinator, |_| {
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))])
        })
        .await?;
    let Some(found) = response.groups.into_iter().next() else { return Ok(None) };
    if !ErrorCode::from_code(found.error_code).is_none() {
        return Ok(None);
    }
    let members = found.members.into_iter().map(|member| GroupMemberView {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        partitions: member
            .assignment
            .topic_partitions
            .into_iter()
            .flat_map(|topic| {
                let name = topic.topic_name.0.to_string();
                topic.partitions.into_iter().map(move |index| (name.clone(), index))
            })
            .collect(),
    });
    Ok(Some(GroupView {
        id: group.to_owned(),
        kind: "consumer".to_owned(),
        state: found.group_state.to_string(),
        assignor: found.assignor_name.to_string(),
        coordinator,
        members: sorted(members.collect()),
    }))
}

/// The partitions in a classic consumer's assignment; none when it is of another protocol.
pub(crate) fn assigned_partitions(mut assignment: Bytes) -> Vec<Partition> {
    if assignment.len() < 2 {
        return Vec::new();
    }
    let version = assignment.get_i16().clamp(0, 3);
    let Ok(decoded) = ConsumerProtocolAssignment::decode(&mut assignment, version) else {
        return Vec::new();
    };
    let mut partitions: Vec<Partition> = decoded
        .assigned_partitions
        .into_iter()
        .flat_map(|topic| {
            let name = topic.topic.0.to_string();
            topic.partitions.into_iter().map(move |index| (name.clone(), index))
        })
        .collect();
    partitions.sort();
    partitions
}

/// Every committed offset of a group.
pub(crate) async fn committed(
    client: &Client,
    group: &str,
    coordinator: i32,
) -> Result<BTreeMap<Partition, Committed>, ClientError> {
    let response = client
        .broker::<OffsetFetchRequest>(coordinator, |version| {
            let request = OffsetFetchRequest::default();
            if version >= 8 {
                let asked = OffsetFetchRequestGroup::default()
                    .with_group_id(GroupId(text(group)))
                    .with_topics(None);
                request.with_groups(vec![asked])
            } else {
                request.with_group_id(GroupId(text(group))).with_topics(None)
            }
        })
        .await?;
    let mut offsets = BTreeMap::new();
    let mut keep = |topic: &str, index: i32, offset: i64, metadata: Option<StrBytes>| {
        if offset >= 0 {
            let metadata = metadata.map(|text| text.to_string()).unwrap_or_default();
            offsets.insert((topic.to_owned(), index), Committed { offset, metadata });
        }
    };
    let mut code = ErrorCode::from_code(response.error_code);
    for topic in response.topics {
        for found in topic.partitions {
            keep(&topic.name.0, found.partition_index, found.committed_offset, found.metadata);
        }
    }
    for answer in response.groups {
        code = ErrorCode::from_code(answer.error_code);
        for topic in answer.topics {
            for found in topic.partitions {
                keep(&topic.name.0, found.partition_index, found.committed_offset, found.metadata);
            }
        }
    }
    if !code.is_none() {
        return Err(ClientError::refused(format!("offsets of group {group}"), code));
    }
    Ok(offsets)
}

/// Who commits: a member of the group, or an administrator of an empty one.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
}

impl Committer {
    pub(crate) fn administrator() -> Self {
        Self { member_id: String::new(), generation: -1 }
    }
}

/// Commits offsets; answers each partition's error.
pub(crate) async fn commit(
    client: &Client,
    (group, coordinator): (&str, i32),
    committer: &Committer,
    offsets: &BTreeMap<Partition, Committed>,
) -> Result<BTreeMap<Partition, ErrorCode>, ClientError> {
    let response = client
        .broker::<OffsetCommitRequest>(coordinator, |_| {
            let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
            for ((topic, index), committed) in offsets {
                topics.entry(topic).or_default().push(
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(*index)
                        .with_committed_offset(committed.offset)
                        .with_committed_metadata(Some(text(&committed.metadata))),
                );
            }
            let topics = topics.into_iter().map(|(name, partitions)| {
                OffsetCommitRequestTopic::default()
                    .with_name(TopicName(text(name)))
                    .with_partitions(partitions)
            });
            OffsetCommitRequest::default()
                .with_group_id(GroupId(text(group)))
                .with_generation_id_or_member_epoch(committer.generation)
                .with_member_id(text(&committer.member_id))
                .with_topics(topics.collect())
        })
        .await?;
    let mut answers = BTreeMap::new();
    for topic in response.topics {
        for found in topic.partitions {
            answers.insert(
                (topic.name.0.to_string(), found.partition_index),
                ErrorCode::from_code(found.error_code),
            );
        }
    }
    Ok(answers)
}

/// Deletes a group with its offsets.
pub(crate) async fn delete(client: &Client, group: &str) -> Result<ErrorCode, ClientError> {
    let coordinator = client.coordinator(group).await?;
    let response = client
        .broker::<DeleteGroupsRequest>(coordinator, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))])
        })
        .await?;
    let code = response.results.first().map_or(-1, |result| result.error_code);
    Ok(ErrorCode::from_code(code))
}

/// Deletes a group's offsets of the given partitions.
pub(crate) async fn delete_offsets(
    client: &Client,
    group: &str,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, ErrorCode>, ClientError> {
    let coordinator = client.coordinator(group).await?;
    let response = client
        .broker::<OffsetDeleteRequest>(coordinator, |_| {
            let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
            for (topic, index) in partitions {
                topics
                    .entry(topic)
                    .or_default()
                    .push(OffsetDeleteRequestPartition::default().with_partition_index(*index));
            }
            let topics = topics.into_iter().map(|(name, partitions)| {
                OffsetDeleteRequestTopic::default()
                    .with_name(TopicName(text(name)))
                    .with_partitions(partitions)
            });
            OffsetDeleteRequest::default()
                .with_group_id(GroupId(text(group)))
                .with_topics(topics.collect())
        })
        .await?;
    let code = ErrorCode::from_code(response.error_code);
    if !code.is_none() {
        return Err(ClientError::refused(format!("group {group}"), code));
    }
    let mut answers = BTreeMap::new();
    for topic in response.topics {
        for found in topic.partitions {
            answers.insert(
                (topic.name.0.to_string(), found.partition_index),
                ErrorCode::from_code(found.error_code),
            );
        }
    }
    Ok(answers)
}
