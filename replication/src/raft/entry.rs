//! The entry of a group's log.
//!
//! Owns: what an entry is while it is proposed, stored and sent. Never: its encoding on the wire or on
//! the disk.
//!
//! An entry refers to its batch rather than carrying it: applying and counting entries then need no
//! read, and the bytes are fetched by whoever sends them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::impls::EmptyNode;
use ottla_protocol::model::{LeaderEpoch, Now, Offset};
use ottla_storage::{AppendOrigin, LeaderBatch};

use super::{Committed, LogId, Membership, ReplicaId};
use crate::partition::Submission;
use crate::wait::Countdown;

/// One entry: its place, and what it holds.
#[derive(Clone, Debug)]
pub struct Entry {
    pub term: Committed,
    pub index: u64,
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The first entry of a leader, or one whose proposal the log refused. Takes no offset.
    Blank,
    /// Who votes. Takes no offset.
    Membership(Membership),
    Batch(Batch),
}

/// A batch of records on its way.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Given to the leader; its offsets are decided when the entry is appended.
    Proposed(Arc<Turn>),
    /// In the local log, from `base` up to and without `end`; `bytes` long.
    Stored { base: Offset, end: Offset, bytes: u32 },
    /// From the leader, with its offsets, as it stands in the leader's log.
    Received(Bytes),
    /// No batch at all: records below this offset are deleted on every replica (DeleteRecords). It
    /// takes no offset.
    LogStart(Offset),
}

/// One batch that a producer gave to the leader.
#[derive(Debug)]
pub struct Proposal {
    pub batch: LeaderBatch,
    pub origin: AppendOrigin,
    /// How many bytes of memory the payload keeps alive: the request frame's length.
    pub frame_bytes: usize,
    pub now: Now,
    /// The only epoch in which it may be appended, if there is one.
    pub epoch: Option<LeaderEpoch>,
    /// Told what becomes of it.
    pub submission: Arc<Submission>,
}

impl Drop for Proposal {
    /// One that nobody looks at any more never reached the log.
    fn drop(&mut self) {
        self.submission.not_leader();
    }
}

/// A proposal on its way through Raft: when it is gone, Raft has appended it or refused it.
#[derive(Debug)]
pub struct Turn {
    pub proposal: Arc<Proposal>,
    pub(super) flight: Arc<Countdown>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.flight.done();
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposed(turn) => {
                write!(f, "proposed {} bytes", turn.proposal.batch.payload.len())
            }
            Self::Stored { base, end, .. } => write!(f, "stored {base}..{end}"),
            Self::Received(bytes) => write!(f, "received {} bytes", bytes.len()),
            Self::LogStart(offset) => write!(f, "log start {offset}"),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Membership(members) => write!(f, "membership {members}"),
            Self::Batch(batch) => batch.fmt(f),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.term, self.index, self.payload)
    }
}

impl RaftPayload for Payload {
    type D = Batch;
    type NodeId = ReplicaId;
    type Node = EmptyNode;

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Batch) -> Self {
        Self::Batch(data)
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self::Membership(membership)
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Self::Membership(membership) => Some(membership.clone()),
            Self::Blank | Self::Batch(_) => None,
        }
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = Committed;
    type Payload = Payload;

    fn new(log_id: LogId, payload: Payload) -> Self {
        Self { term: log_id.leader_id, index: log_id.index, payload }
    }

    fn log_id_parts(&self) -> (&Committed, u64) {
        (&self.term, self.index)
    }

    fn set_log_id(&mut self, new: LogId) {
        self.term = new.leader_id;
        self.index = new.index;
    }

    fn get_membership(&self) -> Option<Membership> {
        self.payload.get_membership()
    }
}
