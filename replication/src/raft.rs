//! A partition as a Raft group: openraft over the partition's own log.
//!
//! Owns: what a group, a replica and an entry are; the storage, the state machine and the handle of a
//! group. Never: sockets (those are `peer`), which groups should exist (the cluster's metadata).
//!
//! Invariant: an entry that carries records is one v2 batch in the partition's log and stands nowhere
//! else; an entry without records stands in the replica journal and takes no offset.

mod copies;
pub mod defects;
pub mod entry;
pub mod entry_map;
mod group;
mod group_log;
mod handover;
pub mod identity;
mod installing;
pub mod journal;
mod log_store;
mod pump;
mod rpc;
mod runtime;
mod snapshot;
mod state_machine;
pub mod succession;
#[cfg(test)]
mod tests;

pub use entry::{Batch, Entry, Payload, Proposal, Turn};
pub use group::{FollowerProgress, Group, GroupError, GroupParts, GroupSettings, Removed};
pub(crate) use group_log::GroupLog;
pub use group_log::{Clock, Leadership, LeadershipListener};
pub use identity::{GroupId, ReplicaId};
pub use journal::Journal;
pub use rpc::tell_driver;
pub(crate) use snapshot::Ships;
pub use snapshot::SnapshotContent;
pub use state_machine::StateMachine;
pub use succession::{Formed, LocalLog};

use openraft::impls::leader_id_std;
use ottla_protocol::records::{Batch as RecordBatch, BatchHeader};

openraft::declare_raft_types!(
    /// What openraft's type parameters are here. One leader per term, so that a term is a leader
    /// epoch.
    pub TypeConfig:
        D = Batch,
        R = (),
        NodeId = ReplicaId,
        Node = openraft::impls::EmptyNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, ReplicaId>,
        Vote = openraft::impls::Vote<leader_id_std::LeaderId<u64, ReplicaId>>,
        Payload = Payload,
        Entry = Entry,
        AsyncRuntime = runtime::SmallRuntime,
);

/// The leader of a term, as log ids carry it: the term alone.
pub type Committed = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
/// Term and index of an entry.
pub type LogId = openraft::LogId<Committed>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Membership = openraft::Membership<ReplicaId, openraft::impls::EmptyNode>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotContent>;
/// The instance of a group.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// The header of the one whole, undamaged batch in `bytes`, which a leader of `term` appended.
///
/// # Errors
/// It is none, or of another term.
pub(crate) fn check_batch(bytes: &[u8], term: u64) -> std::io::Result<BatchHeader> {
    let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    let batch = RecordBatch::parse(bytes).map_err(|error| invalid(error.to_string()))?;
    batch.check_crc().map_err(|error| invalid(error.to_string()))?;
    let header = *batch.header();
    if header.size() != bytes.len() || header.last_offset_delta < 0 {
        return Err(invalid(format!("{} bytes are not one batch", bytes.len())));
    }
    if header.leader_epoch != group_log::epoch_of(term) {
        let epoch = header.leader_epoch;
        return Err(invalid(format!("a batch of epoch {epoch} in an entry of term {term}")));
    }
    Ok(header)
}
