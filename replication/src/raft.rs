//! A partition as a Raft group: openraft over the partition's own log.
//!
//! Owns: what a group, a replica and an entry are; the storage, the state machine and the handle of a
//! group. Never: sockets (those are `peer`), which groups should exist (the cluster's metadata).
//!
//! Invariant: an entry that carries records is one v2 batch in the partition's log and stands nowhere
//! else; an entry without records stands in the replica journal and takes no offset.

pub mod entry;
pub mod identity;

pub use entry::{Batch, Entry, Payload, Proposal, ProposalResult};
pub use identity::{GroupId, ReplicaId};

use openraft::impls::leader_id_std;

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
);

/// The leader of a term, as log ids carry it: the term alone.
pub type Committed = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
/// Term and index of an entry.
pub type LogId = openraft::LogId<Committed>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Membership = openraft::Membership<ReplicaId, openraft::impls::EmptyNode>;
