//! Consumer groups of the classic protocol as a pure state machine.
//!
//! Owns: membership, rebalances, committed offsets and their expiry for the groups of one partition
//! of `__consumer_offsets` ([`GroupShard`]), in Kafka's record formats. The behaviour is that of
//! Kafka's `GroupMetadataManager`, `OffsetMetadataManager` and `ClassicGroup`.
//! Never: appends, waits, sends, or looks at a clock.
//!
//! ```text
//!            Input, Now                         records (append, then wait until committed)
//!   broker ------------->  GroupShard::step  ------------------------------------------> log
//!      ^                        |  deadline()                                              |
//!      |   replies              v                                                          |
//!      +----------------- held by the driver until every record so far is committed <------+
//! ```
//!
//! Rules for the driver:
//! - A reply of a step leaves when all records of this and of earlier steps are committed. (Kafka's
//!   `CoordinatorRuntime` does the same: what is read must not be undone.)
//! - The state runs ahead of the log. When an append fails, nobody can say which records made it:
//!   replies that still wait are answered with the error, [`GroupShard::unload`] answers what the
//!   shard itself holds back, and a new shard is replayed from the log.
//! - `step` with [`Input::Tick`] is called at [`GroupShard::deadline`].

mod classic;
mod cleanup;
mod effects;
mod join;
mod members;
mod offsets;
mod partition;
mod queries;
mod rebalance;
mod record;
mod reply;
mod request;
mod session;
mod settings;
mod shard;
mod subscription;
mod sync;
mod timers;

pub use classic::GroupState;
pub use effects::{Effects, GroupRecord, ReplyToken};
pub use offsets::CommittedOffset;
pub use partition::partition_for;
pub use record::{GroupValue, MemberValue, OffsetValue, RecordError, RecordKey};
pub use reply::{
    DeletedGroup, DescribedGroup, DescribedMember, FetchedOffset, FetchedTopic, GroupError,
    JoinReply, JoinedMember, LeftMember, ListedGroup, PartitionOutcome, Reply, SyncReply,
    TopicOutcome,
};
pub use request::{
    CommitPartition, CommitTopic, DeleteOffsetsRequest, DeleteTopic, DeletedTopic,
    FetchOffsetsRequest, FetchTopic, HeartbeatRequest, Input, JoinRequest, LeaveRequest,
    LeavingMember, ListGroupsRequest, MemberIdRule, MissingGroup, OffsetCommitRequest, Protocol,
    SkipAssignment, Stability, SyncRequest,
};
pub use settings::{BATCH_OVERHEAD, GroupSettings};
pub use shard::{GroupShard, ReplayRecord, TransactionResult};
