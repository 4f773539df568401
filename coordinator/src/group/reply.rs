//! What a group coordinator answers, free of wire versions.
//!
//! Owns: the replies and the reasons for refusing. Never: knows an error code's number; the
//! broker maps [`GroupError`] once.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::{TopicName, Uuid};
use thiserror::Error;

use super::classic::GroupState;

/// Why a group coordinator refuses. Each is the error code of Kafka of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum GroupError {
    #[error("the member is not in the group; it must rejoin with an empty member id")]
    UnknownMemberId,
    #[error("the member must rejoin with the member id that it was just given")]
    MemberIdRequired,
    #[error("another consumer with the same group.instance.id has taken this one's place")]
    FencedInstanceId,
    #[error("the generation is not the group's current one; the member must rejoin")]
    IllegalGeneration,
    #[error("the group rebalances; the member must rejoin")]
    RebalanceInProgress,
    #[error("the member shares no protocol type and name with the rest of the group")]
    InconsistentGroupProtocol,
    #[error("the group has group.max.size members already")]
    GroupMaxSizeReached,
    #[error("the group id must not be empty")]
    InvalidGroupId,
    #[error("the session timeout is outside group.min/max.session.timeout.ms")]
    InvalidSessionTimeout,
    #[error("the group does not exist")]
    GroupIdNotFound,
    #[error("the group still has members")]
    NonEmptyGroup,
    #[error("the group still subscribes to the topic")]
    GroupSubscribedToTopic,
    #[error("the metadata of the offset exceeds offset.metadata.max.bytes")]
    OffsetMetadataTooLarge,
    #[error("a transaction that is still open is about to change the offset")]
    UnstableOffsetCommit,
    #[error("a name in the request is too long to be stored")]
    InvalidRequest,
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    #[error("the coordinator cannot answer now")]
    CoordinatorNotAvailable,
    #[error("the coordinator still reads the group from the log")]
    CoordinatorLoadInProgress,
    #[error("the group's record exceeds max.message.bytes of __consumer_offsets")]
    RecordTooLarge,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(Result<(), GroupError>),
    /// One result per member of the request, in its order.
    Leave(Vec<LeftMember>),
    CommitOffsets(Result<Vec<TopicOutcome>, GroupError>),
    /// A group that does not exist has no offsets, which is no error.
    FetchOffsets(Vec<FetchedTopic>),
    DeleteOffsets(Result<Vec<TopicOutcome>, GroupError>),
    ListGroups(Vec<ListedGroup>),
    DescribeGroups(Vec<DescribedGroup>),
    DeleteGroups(Vec<DeletedGroup>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinReply {
    pub error: Option<GroupError>,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Empty with an error.
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// Everyone, for the leader; nobody, for the others.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    pub(crate) fn refused(member_id: Arc<str>, error: GroupError) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncReply {
    pub error: Option<GroupError>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Bytes,
}

impl SyncReply {
    pub(crate) fn refused(error: GroupError) -> Self {
        Self {
            error: Some(error),
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub error: Option<GroupError>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicOutcome {
    pub topic: TopicName,
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionOutcome>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOutcome {
    pub partition: i32,
    pub error: Option<GroupError>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedTopic {
    pub topic: TopicName,
    /// As in the request; nil when everything was asked for.
    pub topic_id: Uuid,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    pub partition: i32,
    /// -1 where nothing is committed.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub error: Option<GroupError>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    pub group_id: Arc<str>,
    /// Empty for groups that only hold offsets.
    pub protocol_type: Arc<str>,
    pub state: GroupState,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    pub group_id: Arc<str>,
    /// `None`: there is no such group (Kafka says `Dead`, and from v6 on GROUP_ID_NOT_FOUND).
    pub state: Option<GroupState>,
    pub protocol_type: Arc<str>,
    /// The protocol's name, in a stable group; empty otherwise.
    pub protocol_name: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// Empty unless the group is stable.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedGroup {
    pub group_id: Arc<str>,
    pub error: Option<GroupError>,
}
