//! The groups of this broker, as the peers' transport and the election driver see them.
//!
//! Owns: which groups run here, and what is asked of each. Never: how a group works.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::raft_codec::SnapshotMeta;
use crate::raft::{GroupId, ReplicaId, TypeConfig, Vote};

/// Who leads a group, as its local replica knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupLeadership {
    /// The term.
    pub epoch: LeaderEpoch,
    pub leader: Option<ReplicaId>,
    /// This replica leads, and the first entry of its term is committed.
    pub here: bool,
}

/// Why a group does not answer: it has stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct GroupFault(pub String);

/// The future of an answer of a group.
pub type GroupAnswer<T> = BoxFuture<'static, Result<T, GroupFault>>;

/// A local replica of a group.
pub trait GroupRpc: Send + Sync + 'static {
    fn replica(&self) -> ReplicaId;
    fn leadership(&self) -> GroupLeadership;
    /// The nodes that hold replicas, the preferred leader first.
    fn preference(&self) -> Vec<NodeId>;
    /// Only asked of a leader: the nodes whose replicas are in sync, this one among them.
    fn isr(&self) -> Vec<NodeId>;

    /// The first poll hands the request to the group. Requests of one connection are polled first in the
    /// order in which they came and then waited for side by side: so they keep their order, without a
    /// task for each group.
    fn append_entries(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> GroupAnswer<AppendEntriesResponse<TypeConfig>>;
    fn vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>>;
    fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>>;
    fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> GroupAnswer<TransferLeaderResponse<TypeConfig>>;

    /// The batches from `base` up to and without `end`, as they stand in the log, in one piece or in
    /// several.
    ///
    /// # Errors
    /// The disk's.
    fn batches(&self, base: Offset, end: Offset) -> io::Result<Vec<Bytes>>;

    /// Takes in a snapshot of which `head` has come and `bytes` bytes are to come.
    ///
    /// # Errors
    /// The disk's, or the head is none.
    fn snapshot_sink(&self, snapshot: IncomingSnapshot) -> io::Result<Box<dyn SnapshotSink>>;

    /// For how long a leader's word still keeps this replica from standing for election.
    fn lease_left(&self) -> Duration {
        Duration::ZERO
    }

    /// The nodes of replicas that vote.
    fn voters(&self) -> Vec<NodeId> {
        self.preference()
    }

    /// Asks for an election, with pre-vote. A no-op where this replica leads or has no vote.
    fn elect(&self) -> BoxFuture<'static, ()>;
    /// A node can be reached again: what waits to retry may retry now.
    fn peer_up(&self, node: NodeId) -> BoxFuture<'static, ()>;
    /// A node is silent: its replicas count as in sync only once they have everything again.
    fn peer_down(&self, node: NodeId);
}

/// The announcement of a snapshot.
#[derive(Clone, Debug)]
pub struct IncomingSnapshot {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    /// [`SnapshotSource::head`] of the sender.
    pub head: Bytes,
    /// How many bytes follow.
    pub bytes: u64,
}

/// What a snapshot is written to.
pub trait SnapshotSink: Send {
    /// The next bytes, in order.
    ///
    /// # Errors
    /// The disk's.
    fn write(&mut self, bytes: Bytes) -> io::Result<()>;
    /// All has come: installs the snapshot. Dropping the sink instead discards it.
    fn finish(self: Box<Self>) -> GroupAnswer<SnapshotResponse<TypeConfig>>;
}

/// A snapshot to be sent: a small head, and a stream of bytes that may be empty.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Called before anything else, once it is to be sent.
    ///
    /// # Errors
    /// The disk's.
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn head(&self) -> Bytes;
    fn bytes(&self) -> u64;
    /// At most `bytes_max` bytes from position `at`; none only at the end.
    ///
    /// # Errors
    /// The disk's.
    fn read(&mut self, at: u64, bytes_max: usize) -> io::Result<Bytes>;
}

/// Starts groups again that have stopped, e.g. for want of space.
pub trait GroupStarter: Send + Sync {
    /// Tries to start `group`; success is its [`Groups::insert`].
    fn restart(&self, group: GroupId) -> BoxFuture<'static, ()>;
}

struct Entry {
    group: Option<Arc<dyn GroupRpc>>,
    stopped: Option<Arc<str>>,
}

/// The registry.
pub struct Groups {
    entries: RwLock<BTreeMap<GroupId, Entry>>,
    changes: watch::Sender<u64>,
    /// How many groups that are not new have begun to run here since the start.
    begun: AtomicU64,
}

impl Default for Groups {
    fn default() -> Self {
        let (entries, begun) = (RwLock::default(), AtomicU64::new(0));
        Self { entries, changes: watch::Sender::new(0), begun }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("len", &self.entries.read().len()).finish_non_exhaustive()
    }
}

impl Groups {
    /// A group that runs, in the place of what was known of it.
    pub fn insert(&self, id: GroupId, group: Arc<dyn GroupRpc>) {
        // A new one was sent nothing yet.
        let comes_back = group.leadership().epoch > LeaderEpoch::ZERO;
        self.entries.write().insert(id, Entry { group: Some(group), stopped: None });
        self.begun.fetch_add(u64::from(comes_back), Ordering::Relaxed);
        self.changed();
    }

    /// A group that should run and could not be started. It is tried again as one that stopped.
    pub fn insert_stopped(&self, id: GroupId, reason: &str) {
        self.entries.write().insert(id, Entry { group: None, stopped: Some(Arc::from(reason)) });
        self.changed();
    }

    /// The group is no longer this broker's.
    pub fn remove(&self, id: &GroupId) {
        self.entries.write().remove(id);
        self.changed();
    }

    /// The group has stopped by itself. It is started again after a while, if there is a
    /// [`GroupStarter`].
    pub fn stopped(&self, id: &GroupId, reason: &str) {
        if let Some(entry) = self.entries.write().get_mut(id) {
            *entry = Entry { group: None, stopped: Some(Arc::from(reason)) };
        }
        self.changed();
    }

    #[must_use]
    pub fn get(&self, id: &GroupId) -> Option<Arc<dyn GroupRpc>> {
        self.entries.read().get(id)?.group.clone()
    }

    /// Why the group does not run, if it should.
    #[must_use]
    pub fn stop_reason(&self, id: &GroupId) -> Option<Arc<str>> {
        self.entries.read().get(id)?.stopped.clone()
    }

    /// How many groups that are not new have begun to run since the start. Peers are told, as what they
    /// sent to a group before it ran was lost.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// All groups that run, in order.
    #[must_use]
    pub fn running(&self) -> Vec<(GroupId, Arc<dyn GroupRpc>)> {
        let entries = self.entries.read();
        entries.iter().filter_map(|(id, entry)| Some((*id, entry.group.clone()?))).collect()
    }

    /// All groups that have stopped by themselves.
    #[must_use]
    pub fn all_stopped(&self) -> Vec<GroupId> {
        let entries = self.entries.read();
        entries.iter().filter(|(_, entry)| entry.stopped.is_some()).map(|(id, _)| *id).collect()
    }

    /// Changes when a group comes, goes, or changes its leader.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells the driver that something about a group's leadership is new. Cheap; never blocks.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
