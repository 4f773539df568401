//! The requests a group coordinator decides on, free of wire versions.
//!
//! Owns: one struct per request; what a version changes is a named choice in it. Never: decodes.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::{TopicName, Uuid};

use super::effects::ReplyToken;

/// One thing that happens to a shard. Requests carry the token of the reply they expect.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    Join(ReplyToken, JoinRequest),
    Sync(ReplyToken, SyncRequest),
    Heartbeat(ReplyToken, HeartbeatRequest),
    Leave(ReplyToken, LeaveRequest),
    CommitOffsets(ReplyToken, OffsetCommitRequest),
    FetchOffsets(ReplyToken, FetchOffsetsRequest),
    DeleteOffsets(ReplyToken, DeleteOffsetsRequest),
    ListGroups(ReplyToken, ListGroupsRequest),
    DescribeGroups(ReplyToken, Vec<Arc<str>>),
    DeleteGroups(ReplyToken, Vec<Arc<str>>),
    /// These topics are gone from the cluster: their offsets go too.
    TopicsDeleted(Vec<DeletedTopic>),
    /// [`super::GroupShard::deadline`] has come.
    Tick,
}

/// A topic that is gone; another may have its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedTopic {
    pub name: TopicName,
    pub id: Uuid,
}

/// A rebalance protocol that a member supports, with its metadata for the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

/// What happens to a dynamic member that joins without an id (KIP-394).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberIdRule {
    /// v4 and later: it is given an id and must come back with it.
    Required,
    /// v0-3: it is given an id and joins at once.
    Assigned,
}

/// Whether a leader that comes back as a static member may be told to skip the assignment
/// (KIP-814, v9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipAssignment {
    Supported,
    Unsupported,
}

#[derive(Clone, PartialEq, Debug)]
pub struct JoinRequest {
    pub group_id: Arc<str>,
    /// Empty when the member has none yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    /// As Java writes an address: `/127.0.0.1`.
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    /// v0 has none: the session timeout stands here.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    pub member_id_rule: MemberIdRule,
    pub skip_assignment: SkipAssignment,
    /// The random part of the member id that is made if one is needed.
    pub fresh_uuid: Uuid,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncRequest {
    pub group_id: Arc<str>,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub generation: i32,
    /// Checked when given (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Empty but from the leader.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatRequest {
    pub group_id: Arc<str>,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub generation: i32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveRequest {
    pub group_id: Arc<str>,
    pub members: Vec<LeavingMember>,
}

/// A member by its id, or a static one by its instance id alone (then the id is empty).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavingMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

/// What a commit with a generation into a group that does not exist is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingGroup {
    /// v2-8.
    IllegalGeneration,
    /// v9 and later (KIP-848).
    GroupIdNotFound,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitRequest {
    pub group_id: Arc<str>,
    /// Empty, with generation -1, when the consumer has no membership.
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub generation: i32,
    /// `RetentionTimeMs` of v2-4, which fixes when the offset expires.
    pub retention_ms: Option<i64>,
    pub missing_group: MissingGroup,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitTopic {
    pub topic: TopicName,
    /// Nil when it is not known.
    pub topic_id: Uuid,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// -1 when it is not known.
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
}

/// Whether offsets that an open transaction is about to replace may be read (KIP-447).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stability {
    Any,
    Required,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchOffsetsRequest {
    pub group_id: Arc<str>,
    /// `None` asks for everything the group has committed.
    pub topics: Option<Vec<FetchTopic>>,
    pub stability: Stability,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchTopic {
    pub topic: TopicName,
    /// Nil before v10: then offsets of any topic of that name are answered.
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteOffsetsRequest {
    pub group_id: Arc<str>,
    pub topics: Vec<DeleteTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopic {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}

/// Empty filters match everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListGroupsRequest {
    pub states: Vec<Arc<str>>,
    pub types: Vec<Arc<str>>,
}
