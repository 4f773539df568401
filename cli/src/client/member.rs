//! Membership in a classic consumer group, for `consume --group`.
//!
//! Owns: JoinGroup, SyncGroup with the range assignor, Heartbeat, LeaveGroup and the commits of one
//! member. Never: fetches. Invariant: commits carry the generation that owns the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla_protocol::error_code::ErrorCode;

use super::error::ClientError;
use super::groups::{self, Committed, Committer, assigned_partitions};
use super::metadata::ClusterView;
use super::offsets::Partition;
use super::{Client, Lane, text};

const PROTOCOL: &str = "range";

#[derive(Clone, Debug)]
pub(crate) struct MemberSettings {
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    pub(crate) instance: Option<String>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
}

/// What the coordinator says to a heartbeat or a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Stable,
    /// The group is being divided anew, or has forgotten this member: join again.
    Rejoin,
}

#[derive(Debug)]
pub(crate) struct Member {
    client: Arc<Client>,
    settings: MemberSettings,
    coordinator: i32,
    member_id: String,
    generation: i32,
}

impl Member {
    pub(crate) fn new(client: Arc<Client>, settings: MemberSettings) -> Self {
        Self { client, settings, coordinator: -1, member_id: String::new(), generation: -1 }
    }

    /// Joins, or joins again, and answers the partitions that are this member's.
    pub(crate) async fn join(&mut self) -> Result<Vec<Partition>, ClientError> {
        loop {
            self.coordinator = self.client.coordinator(&self.settings.group).await?;
            let joined = self.join_once().await?;
            let code = ErrorCode::from_code(joined.error_code);
            match code {
                ErrorCode::None => {}
                ErrorCode::MemberIdRequired => {
                    self.member_id = joined.member_id.to_string();
                    continue;
                }
                ErrorCode::UnknownMemberId => {
                    self.member_id.clear();
                    continue;
                }
                _ if code.retriable() || code == ErrorCode::RebalanceInProgress => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                _ => return Err(self.refused(code)),
            }
            self.member_id = joined.member_id.to_string();
            self.generation = joined.generation_id;
            let leads = joined.leader == joined.member_id && !joined.skip_assignment;
            let assignments = if leads { self.assign(&joined).await? } else { Vec::new() };
            if let Some(assignment) = self.sync(assignments).await? {
                return Ok(assigned_partitions(assignment));
            }
        }
    }

    async fn join_once(&self) -> Result<JoinGroupResponse, ClientError> {
        let settings = &self.settings;
        let millis = |span: Duration| i32::try_from(span.as_millis()).unwrap_or(i32::MAX);
        let mut metadata = BytesMut::new();
        metadata.put_i16(0);
        let subscription = ConsumerProtocolSubscription::default()
            .with_topics(settings.topics.iter().map(|topic| text(topic)).collect());
        subscription.encode(&mut metadata, 0).map_err(|error| ClientError::Malformed {
            address: "this client".to_owned(),
            api: "JoinGroup".to_owned(),
            cause: error.to_string(),
        })?;
        let metadata = metadata.freeze();
        let build = |version: i16| {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text(PROTOCOL))
                .with_metadata(metadata.clone());
            let mut request = JoinGroupRequest::default()
                .with_group_id(GroupId(text(&settings.group)))
                .with_session_timeout_ms(millis(settings.session_timeout))
                .with_member_id(text(&self.member_id))
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            if version >= 1 {
                request.rebalance_timeout_ms = millis(settings.rebalance_timeout);
            }
            if version >= 5 {
                request.group_instance_id = settings.instance.as_deref().map(text);
            }
            request
        };
        let patience = settings.rebalance_timeout + Duration::from_secs(5);
        self.client.broker_in(Lane::Group, self.coordinator, build, patience).await
    }

    async fn assign(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut subscriptions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in &joined.members {
            let topics = subscribed_topics(member.metadata.clone());
            subscriptions.insert(member.member_id.to_string(), topics);
        }
        let mut names: Vec<&str> = subscriptions.values().flatten().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let view = self.client.metadata(Some(&names)).await?;
        Ok(range(&subscriptions, &view)
            .into_iter()
            .map(|(member, partitions)| {
                SyncGroupRequestAssignment::default()
                    .with_member_id(text(&member))
                    .with_assignment(encode_assignment(&partitions))
            })
            .collect())
    }

    /// The assignment, or `None` when the group changed meanwhile.
    async fn sync(
        &self,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> Result<Option<Bytes>, ClientError> {
        let build = |version: i16| {
            let mut request = SyncGroupRequest::default()
                .with_group_id(GroupId(text(&self.settings.group)))
                .with_generation_id(self.generation)
                .with_member_id(text(&self.member_id))
                .with_assignments(assignments.clone());
            if version >= 3 {
                request.group_instance_id = self.settings.instance.as_deref().map(text);
            }
            if version >= 5 {
                request.protocol_type = Some(text("consumer"));
                request.protocol_name = Some(text(PROTOCOL));
            }
            request
        };
        let patience = self.settings.rebalance_timeout + Duration::from_secs(5);
        let response =
            self.client.broker_in(Lane::Group, self.coordinator, build, patience).await?;
        let code = ErrorCode::from_code(response.error_code);
        match standing(code) {
            Some(Standing::Stable) => Ok(Some(response.assignment)),
            Some(Standing::Rejoin) => Ok(None),
            None => Err(self.refused(code)),
        }
    }

    /// Tells the coordinator that this member is alive.
    pub(crate) async fn heartbeat(&mut self) -> Result<Standing, ClientError> {
        let build = |version: i16| {
            let mut request = HeartbeatRequest::default()
                .with_group_id(GroupId(text(&self.settings.group)))
                .with_generation_id(self.generation)
                .with_member_id(text(&self.member_id));
            if version >= 3 {
                request.group_instance_id = self.settings.instance.as_deref().map(text);
            }
            request
        };
        let patience = self.client.options().patience;
        let answer = self.client.broker_in(Lane::Group, self.coordinator, build, patience).await;
        let code = match answer {
            Ok(response) => ErrorCode::from_code(response.error_code),
            Err(error) if error.retriable() => return Ok(Standing::Rejoin),
            Err(error) => return Err(error),
        };
        if code == ErrorCode::UnknownMemberId {
            self.member_id.clear();
        }
        standing(code).ok_or_else(|| self.refused(code))
    }

    /// Commits the offsets to read next.
    pub(crate) async fn commit(
        &self,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<Standing, ClientError> {
        if positions.is_empty() {
            return Ok(Standing::Stable);
        }
        let offsets = positions
            .iter()
            .map(|(partition, offset)| {
                (partition.clone(), Committed { offset: *offset, metadata: String::new() })
            })
            .collect();
        let committer =
            Committer { member_id: self.member_id.clone(), generation: self.generation };
        let group = (self.settings.group.as_str(), self.coordinator);
        let answers = match groups::commit(&self.client, group, &committer, &offsets).await {
            Ok(answers) => answers,
            Err(error) if error.retriable() => return Ok(Standing::Rejoin),
            Err(error) => return Err(error),
        };
        for code in answers.into_values() {
            match standing(code) {
                Some(Standing::Stable) => {}
                Some(Standing::Rejoin) => return Ok(Standing::Rejoin),
                None => return Err(self.refused(code)),
            }
        }
        Ok(Standing::Stable)
    }

    /// The group's committed offsets.
    pub(crate) async fn committed(&self) -> Result<BTreeMap<Partition, Committed>, ClientError> {
        groups::committed(&self.client, &self.settings.group, self.coordinator).await
    }

    /// Leaves, so that the others need not wait for the session to end.
    pub(crate) async fn leave(&self) -> Result<(), ClientError> {
        // A static member keeps its place.
        if self.settings.instance.is_some() || self.member_id.is_empty() {
            return Ok(());
        }
        let build = |version: i16| {
            let request =
                LeaveGroupRequest::default().with_group_id(GroupId(text(&self.settings.group)));
            if version >= 3 {
                let identity = MemberIdentity::default().with_member_id(text(&self.member_id));
                request.with_members(vec![identity])
            } else {
                request.with_member_id(text(&self.member_id))
            }
        };
        let patience = self.client.options().patience;
        self.client
            .broker_in::<LeaveGroupRequest>(Lane::Group, self.coordinator, build, patience)
            .await?;
        Ok(())
    }

    fn refused(&self, code: ErrorCode) -> ClientError {
        ClientError::refused(format!("group {}", self.settings.group), code)
    }
}

/// `None`: the error ends the membership.
fn standing(code: ErrorCode) -> Option<Standing> {
    match code {
        ErrorCode::None => Some(Standing::Stable),
        ErrorCode::RebalanceInProgress
        | ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId
        | ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => Some(Standing::Rejoin),
        _ => None,
    }
}

fn subscribed_topics(mut metadata: Bytes) -> Vec<String> {
    if metadata.len() < 2 {
        return Vec::new();
    }
    let version = metadata.get_i16().clamp(0, 3);
    ConsumerProtocolSubscription::decode(&mut metadata, version)
        .map(|subscription| subscription.topics.iter().map(ToString::to_string).collect())
        .unwrap_or_default()
}

/// Kafka's RangeAssignor: per topic, members in order of their id take consecutive partitions.
fn range(
    subscriptions: &BTreeMap<String, Vec<String>>,
    view: &ClusterView,
) -> BTreeMap<String, Vec<Partition>> {
    let mut assignment: BTreeMap<String, Vec<Partition>> =
        subscriptions.keys().map(|member| (member.clone(), Vec::new())).collect();
    for topic in &view.topics {
        let members: Vec<&String> = subscriptions
            .iter()
            .filter(|(_, topics)| topics.contains(&topic.name))
            .map(|(member, _)| member)
            .collect();
        if members.is_empty() {
            continue;
        }
        let (each, extra) =
            (topic.partitions.len() / members.len(), topic.partitions.len() % members.len());
        let mut rest = topic.partitions.iter();
        for (place, member) in members.into_iter().enumerate() {
            let share = each + usize::from(place < extra);
            let taken = rest.by_ref().take(share);
            let taken = taken.map(|partition| (topic.name.clone(), partition.index));
            assignment.entry(member.clone()).or_default().extend(taken);
        }
    }
    assignment
}

fn encode_assignment(partitions: &[Partition]) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        TopicPartition::default().with_topic(TopicName(text(name))).with_partitions(partitions)
    });
    let assignment =
        ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect());
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    // Version 0 has no field that could be refused.
    if assignment.encode(&mut bytes, 0).is_err() {
        return Bytes::new();
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::metadata::{PartitionView, TopicView};

    fn view(topics: &[(&str, i32)]) -> ClusterView {
        let topics = topics
            .iter()
            .map(|(name, count)| TopicView {
                name: (*name).to_owned(),
                partitions: (0..*count)
                    .map(|index| PartitionView { index, ..PartitionView::default() })
                    .collect(),
                ..TopicView::default()
            })
            .collect();
        ClusterView { topics, ..ClusterView::default() }
    }

    #[test]
    fn range_is_kafkas() {
        let both = vec!["a".to_owned(), "b".to_owned()];
        let subscriptions = BTreeMap::from([
            ("m1".to_owned(), both.clone()),
            ("m2".to_owned(), both),
            ("m3".to_owned(), vec!["a".to_owned()]),
        ]);
        let assignment = range(&subscriptions, &view(&[("a", 4), ("b", 3)]));
        let of = |member: &str| {
            assignment[member].iter().map(|(t, p)| format!("{t}{p}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("m1"), "a0 a1 b0 b1");
        assert_eq!(of("m2"), "a2 b2");
        assert_eq!(of("m3"), "a3");
    }

    #[test]
    fn assignment_survives_its_encoding() {
        let partitions = vec![("a".to_owned(), 0), ("a".to_owned(), 3), ("b".to_owned(), 1)];
        assert_eq!(assigned_partitions(encode_assignment(&partitions)), partitions);
        assert!(assigned_partitions(Bytes::new()).is_empty());
    }
}
