//! The network between replicas: delays, losses, repetitions, one-way cuts, from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ottla_protocol::records::BatchHeader;
use parking_lot::Mutex;

use crate::peer::{GroupFault, GroupRpc, IncomingSnapshot, SnapshotSource};
use crate::raft::group_log::epoch_of;
use crate::raft::{
    Batch, Entry, Group, Payload, ReplicaId, Snapshot, SnapshotContent, TypeConfig, Vote,
};

/// A generator for the decisions of a run.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(super) struct Links {
    groups: BTreeMap<ReplicaId, Arc<Group>>,
    /// One-way: from, to.
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
    dice: Dice,
    /// Replicas that hear nothing of what leaders want to hand over.
    pub(super) deaf_to_transfers: BTreeSet<ReplicaId>,
    pub(super) loss_percent: u64,
    pub(super) repeat_percent: u64,
    pub(super) delay_max_ms: u64,
    /// When a leader's request last arrived, in simulated time.
    heard: BTreeMap<ReplicaId, tokio::time::Instant>,
    pub(super) snapshots: u64,
    pub(super) snapshot_bytes: u64,
    pub(super) appends: u64,
}

#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<Links>>);

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Links {
            groups: BTreeMap::new(),
            cut: BTreeSet::new(),
            deaf_to_transfers: BTreeSet::new(),
            dice: Dice::new(seed),
            loss_percent: 0,
            repeat_percent: 0,
            delay_max_ms: 1,
            heard: BTreeMap::new(),
            snapshots: 0,
            snapshot_bytes: 0,
            appends: 0,
        })))
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        change(&mut self.0.lock())
    }

    pub(super) fn attach(&self, group: &Arc<Group>) {
        self.0.lock().groups.insert(group.replica(), Arc::clone(group));
    }

    pub(super) fn detach(&self, replica: ReplicaId) {
        self.0.lock().groups.remove(&replica);
    }

    pub(super) fn cut(&self, from: ReplicaId, to: ReplicaId) {
        self.0.lock().cut.insert((from, to));
    }

    pub(super) fn heal(&self) {
        let mut links = self.0.lock();
        links.cut.clear();
        links.loss_percent = 0;
        links.repeat_percent = 0;
        links.delay_max_ms = 1;
    }

    pub(super) fn heard(&self, replica: ReplicaId) -> Option<tokio::time::Instant> {
        self.0.lock().heard.get(&replica).copied()
    }

    /// One way of one message.
    async fn carry(&self, from: ReplicaId, to: ReplicaId) -> io::Result<()> {
        let (delay, lost) = {
            let mut links = self.0.lock();
            let bound = links.delay_max_ms * 1000 + 1;
            let delay = Duration::from_micros(links.dice.below(bound));
            let loss = links.loss_percent;
            (delay, links.dice.chance(loss) || links.cut.contains(&(from, to)))
        };
        tokio::time::sleep(delay).await;
        match lost {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    fn at(&self, to: ReplicaId) -> io::Result<Arc<Group>> {
        self.0
            .lock()
            .groups
            .get(&to)
            .cloned()
            .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    fn repeats(&self) -> bool {
        let mut links = self.0.lock();
        let percent = links.repeat_percent;
        links.dice.chance(percent)
    }
}

/// A leader's way to one follower.
pub(super) struct Link {
    net: Net,
    from: ReplicaId,
    to: ReplicaId,
}

pub(super) struct Factory {
    pub(super) net: Net,
    pub(super) me: ReplicaId,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Link;

    async fn new_client(&mut self, to: ReplicaId, _: &EmptyNode) -> Link {
        Link { net: self.net.clone(), from: self.me, to }
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl Link {
    /// What is sent in place of references to the leader's log.
    fn pack(&self, mut entries: Vec<Entry>) -> io::Result<Vec<Entry>> {
        let group = self.net.at(self.from)?;
        for entry in &mut entries {
            if let Payload::Batch(Batch::Stored { base, end, .. }) = entry.payload {
                let bytes = group.partition().batch_bytes(base, end)?;
                let header = BatchHeader::parse(&bytes).map_err(io::Error::other)?;
                if header.leader_epoch != epoch_of(entry.term.term) {
                    return Err(io::Error::other("the log changed under the entry"));
                }
                entry.payload = Payload::Batch(Batch::Received(bytes));
            }
        }
        Ok(entries)
    }

    async fn call<T, F>(&self, act: impl Fn(Arc<Group>) -> F) -> Result<T, RPCError<TypeConfig>>
    where
        F: Future<Output = Result<T, GroupFault>>,
    {
        self.net.carry(self.from, self.to).await.map_err(|error| unreachable(&error))?;
        let group = self.net.at(self.to).map_err(|error| unreachable(&error))?;
        let answer = act(Arc::clone(&group)).await.map_err(|error| unreachable(&error))?;
        if self.net.repeats() {
            let _again = act(group).await;
        }
        self.net.carry(self.to, self.from).await.map_err(|error| unreachable(&error))?;
        Ok(answer)
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotContent;

    async fn append_entries(
        &mut self,
        mut request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        request.entries = self.pack(request.entries).map_err(|error| unreachable(&error))?;
        let net = self.net.clone();
        let to = self.to;
        let call = self.call(|group| {
            net.with(|links| {
                links.heard.insert(to, tokio::time::Instant::now());
                links.appends += 1;
            });
            let request = request.clone();
            async move { group.append_entries(request).await }
        });
        match tokio::time::timeout(option.hard_ttl(), call).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(&io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(|group| {
            let request = request.clone();
            async move { group.vote(request).await }
        })
        .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(|group| {
            let request = request.clone();
            async move { group.pre_vote(request).await }
        })
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| {
            StreamingError::Unreachable(Unreachable::from_string(error.to_string()))
        };
        let Snapshot { meta, snapshot: mut content } = snapshot;
        self.net.carry(self.from, self.to).await.map_err(|error| unreachable(&error))?;
        let group = self.net.at(self.to).map_err(|error| unreachable(&error))?;
        content.open().map_err(|error| unreachable(&error))?;
        let (head, bytes) = (content.head(), content.bytes());
        self.net.with(|links| {
            links.snapshots += 1;
            links.snapshot_bytes += bytes;
        });
        let incoming = IncomingSnapshot { vote, meta, head, bytes };
        let mut sink = group.snapshot_sink(incoming).map_err(|error| unreachable(&error))?;
        let mut at = 0;
        while at < bytes {
            let chunk = content.read(at, 700).map_err(|error| unreachable(&error))?;
            at += chunk.len() as u64;
            sink.write(chunk).map_err(|error| unreachable(&error))?;
            if at % 5 == 0 {
                self.net.carry(self.from, self.to).await.map_err(|error| unreachable(&error))?;
            }
        }
        let answer = sink.finish().await;
        let answer = answer.map_err(|fault| unreachable(&io::Error::other(fault.0)))?;
        self.net.carry(self.to, self.from).await.map_err(|error| unreachable(&error))?;
        Ok(answer)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        if self.net.with(|links| links.deaf_to_transfers.contains(&self.to)) {
            return Err(unreachable(&io::Error::from(io::ErrorKind::TimedOut)));
        }
        self.call(|group| {
            let request = request.clone();
            async move { group.transfer_leader(request).await }
        })
        .await
    }
}
