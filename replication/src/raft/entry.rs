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
use ottla_protocol::model::{Now, Offset};
use ottla_storage::{AppendError, AppendInfo, AppendOrigin, LeaderBatch};
use parking_lot::Mutex;

use super::{Committed, LogId, Membership, ReplicaId};
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
    Proposed(Arc<Proposal>),
    /// In the local log, from `base` up to and without `end`; `bytes` long.
    Stored { base: Offset, end: Offset, bytes: u32 },
    /// From the leader, with its offsets, as it stands in the leader's log.
    Received(Bytes),
}

/// Batches of one produce request for one partition. Each proposal is one batch.
#[derive(Debug)]
pub struct Proposal {
    pub batch: LeaderBatch,
    pub origin: AppendOrigin,
    pub frame_bytes: usize,
    pub now: Now,
    result: Mutex<Option<ProposalResult>>,
    /// Told when the result is there.
    appended: Option<Arc<Countdown>>,
}

/// What became of a proposal when its turn came.
#[derive(Debug)]
pub enum ProposalResult {
    /// It stands in the leader's log. It is committed once the high watermark has passed it, if the
    /// leader is still the same then.
    Appended(AppendInfo),
    /// The log refused it: a producer's fault, or no room.
    Refused(AppendError),
    /// This node is not, or is no longer, the leader; nothing was appended.
    NotLeader,
}

impl Proposal {
    /// `appended` is added to here and told once [`Self::take_result`] has something to give.
    #[must_use]
    pub fn new(
        batch: LeaderBatch,
        origin: AppendOrigin,
        frame_bytes: usize,
        now: Now,
        appended: Option<Arc<Countdown>>,
    ) -> Arc<Self> {
        if let Some(wait) = &appended {
            wait.add();
        }
        Arc::new(Self { batch, origin, frame_bytes, now, result: Mutex::new(None), appended })
    }

    /// Says what became of it. Only the first answer counts.
    pub fn resolve(&self, result: ProposalResult) {
        let mut slot = self.result.lock();
        if slot.is_some() {
            return;
        }
        *slot = Some(result);
        drop(slot);
        if let Some(wait) = &self.appended {
            wait.done();
        }
    }

    /// The result, once.
    #[must_use]
    pub fn take_result(&self) -> Option<ProposalResult> {
        self.result.lock().take()
    }
}

/// A proposal that is dropped unanswered never reached the log.
impl Drop for Proposal {
    fn drop(&mut self) {
        self.resolve(ProposalResult::NotLeader);
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposed(proposal) => {
                write!(f, "proposed {} bytes", proposal.batch.payload.len())
            }
            Self::Stored { base, end, .. } => write!(f, "stored {base}..{end}"),
            Self::Received(bytes) => write!(f, "received {} bytes", bytes.len()),
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
