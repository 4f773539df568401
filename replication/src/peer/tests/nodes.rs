//! Brokers for tests, and a network between them that can be made to fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, Uuid};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::super::*;
use crate::raft::{ReplicaId, TypeConfig, Vote};

/// What happens to bytes on their way from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Weather {
    #[default]
    Fine,
    /// Bytes vanish, and the connection stays open: half-open, or one-way when the other way is fine.
    Eaten,
    /// Each write comes twice.
    Repeated,
    Late(Duration),
    /// Connections break, and new ones are refused.
    Cut,
    /// The machine lost its power: of connections that stand, neither bytes nor the end ever come, even
    /// when the weather is fine again.
    Dead,
}

/// A network in memory.
#[derive(Default)]
pub(super) struct Net {
    nodes: Mutex<BTreeMap<String, Weak<Peers>>>,
    weather: Mutex<BTreeMap<(NodeId, NodeId), Weather>>,
    changes: watch::Sender<u64>,
    pub(super) dialled: AtomicUsize,
}

impl Net {
    /// Sets the weather from `from` to `to`.
    pub(super) fn set(&self, from: i32, to: i32, weather: Weather) {
        self.weather.lock().insert((NodeId(from), NodeId(to)), weather);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn set_both(&self, a: i32, b: i32, weather: Weather) {
        self.set(a, b, weather);
        self.set(b, a, weather);
    }

    fn between(&self, from: NodeId, to: NodeId) -> Weather {
        self.weather.lock().get(&(from, to)).copied().unwrap_or_default()
    }

    /// Makes `peers` reachable at `address`.
    pub(super) fn listen(&self, address: &str, peers: &Arc<Peers>) {
        self.nodes.lock().insert(address.to_owned(), Arc::downgrade(peers));
    }
}

/// The network as one node sees it.
pub(super) struct NetDial {
    pub(super) net: Arc<Net>,
    pub(super) me: NodeId,
}

impl Dial for NetDial {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerStream>>> {
        Box::pin(async move {
            self.net.dialled.fetch_add(1, Ordering::Relaxed);
            let peers = self.net.nodes.lock().get(address).and_then(Weak::upgrade);
            let peers = peers.ok_or(io::ErrorKind::ConnectionRefused)?;
            let to = peers.me();
            if self.net.between(self.me, to) == Weather::Cut {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (mine, near) = tokio::io::duplex(64 << 10);
            let (far, theirs) = tokio::io::duplex(64 << 10);
            let (near_read, near_write) = tokio::io::split(near);
            let (far_read, far_write) = tokio::io::split(far);
            tokio::spawn(pump(Arc::clone(&self.net), (self.me, to), near_read, far_write));
            tokio::spawn(pump(Arc::clone(&self.net), (to, self.me), far_read, near_write));
            tokio::spawn(accept(peers, theirs));
            Ok(Box::new(mine) as Box<dyn PeerStream>)
        })
    }
}

pub(super) async fn accept(peers: Arc<Peers>, mut stream: impl PeerStream) {
    let mut magic = [0; 8];
    if stream.read_exact(&mut magic).await.is_ok() {
        assert_eq!(magic, MAGIC);
        peers.accept(stream).await;
    }
}

async fn pump(
    net: Arc<Net>,
    (from, to): (NodeId, NodeId),
    mut read: ReadHalf<DuplexStream>,
    mut write: WriteHalf<DuplexStream>,
) {
    let mut changes = net.changes.subscribe();
    let mut buffer = vec![0; 16 << 10];
    loop {
        if net.between(from, to) == Weather::Cut {
            break;
        }
        let len = tokio::select! {
            biased;
            _changed = changes.changed() => continue,
            read = read.read(&mut buffer) => read.unwrap_or(0),
        };
        if net.between(from, to) == Weather::Dead {
            return std::future::pending().await;
        }
        let bytes = &buffer[..len];
        let written = match net.between(from, to) {
            _ if len == 0 => break,
            Weather::Fine => write.write_all(bytes).await,
            Weather::Eaten => Ok(()),
            Weather::Repeated => write.write_all(&[bytes, bytes].concat()).await,
            Weather::Late(span) => {
                tokio::time::sleep(span).await;
                write.write_all(bytes).await
            }
            Weather::Cut | Weather::Dead => break,
        };
        if written.is_err() {
            break;
        }
    }
    let _closed = write.shutdown().await;
}

/// Addresses of nodes; changed by tests.
#[derive(Default)]
pub(super) struct Book(pub(super) Mutex<BTreeMap<NodeId, String>>);

impl AddressBook for Book {
    fn nodes(&self) -> Vec<NodeId> {
        self.0.lock().keys().copied().collect()
    }

    fn address(&self, node: NodeId) -> Option<String> {
        self.0.lock().get(&node).cloned()
    }
}

/// Answers control calls in ways that their kinds say.
pub(super) struct Control(pub(super) NodeId);

pub(super) const ECHO: ControlKind = ControlKind(1);
pub(super) const NEVER: ControlKind = ControlKind(2);
pub(super) const REFUSE: ControlKind = ControlKind(3);
pub(super) const PANIC: ControlKind = ControlKind(4);

impl ControlService for Control {
    fn card(&self) -> Bytes {
        format!("card of {}", self.0).into()
    }

    fn handle(
        &self,
        from: NodeId,
        kind: ControlKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, ControlError>> {
        let me = self.0;
        Box::pin(async move {
            match kind {
                ECHO => Ok([format!("{from} to {me}: ").as_bytes(), &body].concat().into()),
                NEVER => std::future::pending().await,
                PANIC => panic!("as asked"),
                _ => Err(ControlError { code: 41, message: "no controller here".to_owned() }),
            }
        })
    }
}

/// A broker.
pub(super) struct Node {
    pub(super) peers: Arc<Peers>,
    pub(super) groups: Arc<Groups>,
    pub(super) book: Arc<Book>,
    /// What its wall clock is off by.
    pub(super) clock_off: Arc<AtomicI64>,
}

/// How a broker differs from the others.
#[derive(Clone)]
pub(super) struct Make {
    pub(super) id: i32,
    pub(super) cluster: Option<&'static str>,
    pub(super) incarnation: u64,
    pub(super) settings: PeerSettings,
}

pub(super) fn make(id: i32) -> Make {
    let settings = PeerSettings::default();
    Make { id, cluster: Some("the-cluster"), incarnation: 1, settings }
}

/// A node's only directory.
pub(super) fn directory(node: i32) -> Uuid {
    Uuid::from_u128(node as u128 + 100)
}

pub(super) fn replica(node: i32) -> ReplicaId {
    ReplicaId { node: NodeId(node), directory: directory(node) }
}

pub(super) fn group_id(n: i32) -> GroupId {
    GroupId { topic: Uuid::from_u128(7), partition: PartitionId(n) }
}

pub(super) const WALL: i64 = 1_790_000_000_000;

pub(super) fn start(make: Make, dial: Arc<dyn Dial>) -> Node {
    let (groups, book) = (Arc::new(Groups::default()), Arc::new(Book::default()));
    let clock_off = Arc::new(AtomicI64::new(0));
    let (off, began) = (Arc::clone(&clock_off), tokio::time::Instant::now());
    let me = NodeId(make.id);
    let peers = Peers::start(PeerParts {
        me,
        cluster: make.cluster.map(str::to_owned),
        directories: vec![directory(make.id)],
        incarnation: make.incarnation,
        seed: make.id as u64,
        dial,
        addresses: Arc::<Book>::clone(&book),
        groups: Arc::clone(&groups),
        control: Arc::new(Control(me)),
        starter: None,
        wall: Arc::new(move || {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap();
            Timestamp(WALL + passed + off.load(Ordering::Relaxed))
        }),
        settings: make.settings,
    });
    Node { peers, groups, book, clock_off }
}

pub(super) fn address(node: i32) -> String {
    format!("node{node}:9093")
}

/// Brokers 1, 2 and 3 that know each other.
pub(super) fn three(net: &Arc<Net>) -> Vec<Node> {
    let nodes: Vec<_> = (1..=3).map(|id| start_in(net, make(id))).collect();
    for node in &nodes {
        introduce(node, &[1, 2, 3]);
    }
    nodes
}

pub(super) fn start_in(net: &Arc<Net>, make: Make) -> Node {
    let dial = NetDial { net: Arc::clone(net), me: NodeId(make.id) };
    let id = make.id;
    let node = start(make, Arc::new(dial));
    net.listen(&address(id), &node.peers);
    node
}

/// Gives `node` the addresses of `others`.
pub(super) fn introduce(node: &Node, others: &[i32]) {
    let book = others.iter().map(|id| (NodeId(*id), address(*id))).collect();
    *node.book.0.lock() = book;
    node.peers.addresses_changed();
}

/// Waits until `done`; the test's clock passes by itself when it is paused.
pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("in 20 seconds it did not come to this: {what}"));
}

/// Waits until all see all others alive and are connected to them.
pub(super) async fn all_met(nodes: &[Node]) {
    for (a, b) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b))) {
        let (a, b) = (&a.peers, b.peers.me());
        until("all have met", || {
            a.liveness(b) == Liveness::Alive && (a.me() == b || a.is_connected(b))
        })
        .await;
    }
}

/// A group that only notes what it is asked.
pub(super) struct FakeGroup {
    pub(super) me: ReplicaId,
    pub(super) leadership: Mutex<GroupLeadership>,
    pub(super) preference: Vec<NodeId>,
    /// The first index of each append, as they came.
    pub(super) appended: Arc<Mutex<Vec<u64>>>,
    /// Bytes of all batches that came.
    pub(super) bytes: Arc<AtomicUsize>,
    /// Appends are answered while this is true.
    pub(super) answering: watch::Sender<bool>,
    pub(super) elections: AtomicUsize,
    pub(super) ups: AtomicUsize,
    pub(super) snapshots: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(super) answer: AppendEntriesResponse<TypeConfig>,
}

pub(super) fn fake(node: i32, preference: &[i32]) -> FakeGroup {
    FakeGroup {
        me: replica(node),
        leadership: Mutex::default(),
        preference: preference.iter().map(|id| NodeId(*id)).collect(),
        appended: Arc::default(),
        bytes: Arc::default(),
        answering: watch::Sender::new(true),
        elections: AtomicUsize::new(0),
        ups: AtomicUsize::new(0),
        snapshots: Arc::default(),
        answer: AppendEntriesResponse::Success,
    }
}

pub(super) fn vote_of(node: i32, term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: replica(node) }, committed: true }
}

impl FakeGroup {
    /// This node's replica leads, or follows `leader`.
    pub(super) fn set_leader(&self, leader: i32, epoch: i32) {
        let here = leader == self.me.node.get();
        let leader = Some(replica(leader));
        *self.leadership.lock() = GroupLeadership { epoch: LeaderEpoch(epoch), leader, here };
    }
}

/// Bytes of a batch of [`content`].
pub(super) const BATCH_BYTES: u32 = 20;

/// The batch at an offset, of term 1.
pub(super) fn content(base: Offset) -> Bytes {
    let mut bytes = base.get().to_be_bytes().to_vec();
    bytes.extend_from_slice(&(BATCH_BYTES - 12).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, 9, 9, 9, 9]);
    bytes.into()
}

impl GroupRpc for FakeGroup {
    fn peer_down(&self, _node: NodeId) {}

    fn replica(&self) -> ReplicaId {
        self.me
    }

    fn leadership(&self) -> GroupLeadership {
        *self.leadership.lock()
    }

    fn preference(&self) -> Vec<NodeId> {
        self.preference.clone()
    }

    fn isr(&self) -> Vec<NodeId> {
        vec![self.me.node]
    }

    fn append_entries(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> GroupAnswer<AppendEntriesResponse<TypeConfig>> {
        let (appended, bytes) = (Arc::clone(&self.appended), Arc::clone(&self.bytes));
        let (mut answering, answer) = (self.answering.subscribe(), self.answer.clone());
        Box::pin(async move {
            appended.lock().push(request.entries.first().map_or(0, |entry| entry.index));
            for entry in &request.entries {
                if let crate::raft::Payload::Batch(crate::raft::Batch::Received(batch)) =
                    &entry.payload
                {
                    bytes.fetch_add(batch.len(), Ordering::Relaxed);
                }
            }
            answering.wait_for(|on| *on).await.map_err(|_| GroupFault("gone".to_owned()))?;
            Ok(answer)
        })
    }

    fn vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>> {
        let answer = VoteResponse { vote: request.vote, vote_granted: true, last_log_id: None };
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>> {
        let answer = VoteResponse { vote: request.vote, vote_granted: false, last_log_id: None };
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn transfer_leader(
        &self,
        _request: TransferLeaderRequest<TypeConfig>,
    ) -> GroupAnswer<TransferLeaderResponse<TypeConfig>> {
        Box::pin(std::future::ready(Err(GroupFault("the disk is full".to_owned()))))
    }

    fn batches(&self, base: Offset, end: Offset) -> io::Result<Vec<Bytes>> {
        Ok((base.get()..end.get()).map(|at| content(Offset(at))).collect())
    }

    fn snapshot_sink(&self, snapshot: IncomingSnapshot) -> io::Result<Box<dyn SnapshotSink>> {
        let mut bytes = snapshot.head.to_vec();
        bytes.push(b'|');
        Ok(Box::new(FakeSink { all: Arc::clone(&self.snapshots), bytes, vote: snapshot.vote }))
    }

    fn elect(&self) -> BoxFuture<'static, ()> {
        self.elections.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }

    fn peer_up(&self, _node: NodeId) -> BoxFuture<'static, ()> {
        self.ups.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

struct FakeSink {
    all: Arc<Mutex<Vec<Vec<u8>>>>,
    bytes: Vec<u8>,
    vote: Vote,
}

impl SnapshotSink for FakeSink {
    fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> GroupAnswer<SnapshotResponse<TypeConfig>> {
        self.all.lock().push(self.bytes);
        Box::pin(std::future::ready(Ok(SnapshotResponse::new(self.vote))))
    }
}

/// A snapshot of `len` bytes.
pub(super) struct FakeSource {
    pub(super) len: u64,
}

pub(super) fn snapshot_bytes(from: u64, upto: u64) -> Bytes {
    (from..upto).map(|at| (at % 251) as u8).collect()
}

impl SnapshotSource for FakeSource {
    fn head(&self) -> Bytes {
        Bytes::from_static(b"head")
    }

    fn bytes(&self) -> u64 {
        self.len
    }

    fn read(&mut self, at: u64, bytes_max: usize) -> io::Result<Bytes> {
        Ok(snapshot_bytes(at, (at + bytes_max as u64).min(self.len)))
    }
}
