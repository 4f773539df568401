//! What groups cost: three brokers of groups over TCP of one machine, idle and under load.
//!
//! Owns: the measurement: time until all are led, memory a replica, CPU when idle, and bytes and CPU of an
//! append on the wire. In memory, so that no disk is measured.
//! `cargo bench -p ottla-replication --bench groups -- [groups] [idle seconds] [appends]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, NodeId, Now, PartitionId, Timestamp, TopicPartition, Uuid,
};
use ottla_protocol::records::{Batch, BatchBuilder, Compression, HEADER, NewRecord};
use ottla_replication::home::Home;
use ottla_replication::partition::{
    Copies, Outcome, Partition, PartitionParts, SubmittedBatch, Until,
};
use ottla_replication::peer::{
    AddressBook, ControlError, ControlKind, ControlService, Dial, Groups, PeerParts, PeerSettings,
    PeerStream, Peers, TcpDial,
};
use ottla_replication::raft::journal::Journal;
use ottla_replication::raft::{
    Group, GroupId, GroupParts, GroupSettings, ReplicaId, SnapshotContent, tell_driver,
};
use ottla_replication::wait::{Countdown, Waiting};
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::{FileSystem, MemoryFileSystem};
use ottla_storage::log_dir::DirHealth;
use ottla_storage::{
    AppendOrigin, LeaderBatch, LogResources, LogSettings, OpenContext, PartitionLog,
};
use tokio::io::AsyncReadExt;

struct Book(BTreeMap<NodeId, String>);

impl AddressBook for Book {
    fn nodes(&self) -> Vec<NodeId> {
        self.0.keys().copied().collect()
    }

    fn address(&self, node: NodeId) -> Option<String> {
        self.0.get(&node).cloned()
    }
}

struct NoControl;

impl ControlService for NoControl {
    fn card(&self) -> Bytes {
        Bytes::new()
    }

    fn handle(
        &self,
        _from: NodeId,
        _kind: ControlKind,
        _body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, ControlError>> {
        let error = ControlError { code: 0, message: "nothing is controlled here".to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Counts what is written.
struct CountingDial(Arc<AtomicU64>);

impl Dial for CountingDial {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, std::io::Result<Box<dyn PeerStream>>> {
        Box::pin(async move {
            let inner = TcpDial.dial(address).await?;
            Ok(Box::new(Counting { inner, written: Arc::clone(&self.0) }) as Box<dyn PeerStream>)
        })
    }
}

struct Counting {
    inner: Box<dyn PeerStream>,
    written: Arc<AtomicU64>,
}

mod counting {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, ready};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Counting;

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
            self.written.fetch_add(written as u64, Ordering::Relaxed);
            Poll::Ready(Ok(written))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
            self.written.fetch_add(written as u64, Ordering::Relaxed);
            Poll::Ready(Ok(written))
        }

        fn is_write_vectored(&self) -> bool {
            self.inner.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_shutdown(cx)
        }
    }
}

fn replica(node: i32) -> ReplicaId {
    ReplicaId { node: NodeId(node), directory: Uuid::from_u128(1_000 + node as u128) }
}

fn group_id(n: i32) -> GroupId {
    GroupId { topic: Uuid::from_u128(5), partition: PartitionId(n) }
}

struct Broker {
    peers: Arc<Peers>,
    groups: Vec<Arc<Group>>,
}

fn clock(start: Instant) -> Now {
    let passed = start.elapsed();
    Now {
        mono: MonoTime::from_start(passed),
        wall: Timestamp(1_790_000_000_000 + passed.as_millis() as i64),
    }
}

/// Process CPU so far, in seconds, of user and system.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of the line, in ticks of 10 ms.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn brokers(start: Instant, written: &Arc<AtomicU64>) -> Vec<Broker> {
    let mut listeners = BTreeMap::new();
    let mut book = BTreeMap::new();
    for node in 1..=3 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        book.insert(NodeId(node), listener.local_addr().unwrap().to_string());
        listeners.insert(node, listener);
    }
    let mut brokers = Vec::new();
    for (node, listener) in listeners {
        let peers = Peers::start(PeerParts {
            me: NodeId(node),
            cluster: Some("bench".to_owned()),
            directories: vec![replica(node).directory],
            incarnation: 1,
            seed: node as u64,
            dial: Arc::new(CountingDial(Arc::clone(written))),
            addresses: Arc::new(Book(book.clone())),
            groups: Arc::new(Groups::default()),
            control: Arc::new(NoControl),
            starter: None,
            wall: Arc::new(move || clock(start).wall),
            settings: PeerSettings::default(),
        });
        let serving = Arc::clone(&peers);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let peers = Arc::clone(&serving);
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    let mut magic = [0; 8];
                    stream.read_exact(&mut magic).await.unwrap();
                    peers.accept(stream).await;
                });
            }
        });
        brokers.push(Broker { peers, groups: Vec::new() });
    }
    brokers
}

async fn fill(broker: &mut Broker, count: i32, start: Instant) {
    let node = broker.peers.me();
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::default());
    let dir = Path::new("/data");
    fs.create_dir_all(dir).unwrap();
    let flusher = FlushCoordinator::inline(Arc::clone(&fs), dir.into());
    let resources = LogResources::new(4_096, 64 << 20);
    let home =
        Home { flusher, health: Arc::new(DirHealth::new(dir.into())), alarm: Arc::default() };
    let journal = Journal::open(Arc::clone(&fs), dir, home.clone()).unwrap();
    for n in 0..count {
        let id = group_id(n);
        let context =
            OpenContext { topic_id: id.topic, ..OpenContext::new(clock(start), resources.clone()) };
        let path = dir.join(format!("bench-{n}"));
        let settings = LogSettings::default();
        let log = PartitionLog::create(Arc::clone(&fs), path, settings, &context).unwrap();
        let partition = Partition::new(PartitionParts {
            name: TopicPartition::new("bench", n),
            topic_id: id.topic,
            node,
            log,
            epoch: LeaderEpoch(0),
            copies: Copies::Several,
            durability: Durability::PageCache,
            home: home.clone(),
            flush_is_free: true,
        });
        let parts = GroupParts {
            id,
            replica: replica(node.get()),
            partition,
            journal: Arc::clone(&journal),
            settings: GroupSettings::new(Arc::new(move || clock(start))),
        };
        let network = broker.peers.network::<SnapshotContent>(id);
        let group = Group::start(parts, network).await.unwrap();
        group.set_preference((0..3).map(|at| NodeId((n + at) % 3 + 1)).collect());
        tell_driver(&group, broker.peers.groups());
        group.initialize((1..=3).map(replica).collect()).await.unwrap();
        broker.groups.push(group);
    }
    for group in &broker.groups {
        broker.peers.groups().insert(group.id(), Arc::<Group>::clone(group));
    }
}

fn batch(bytes: usize) -> LeaderBatch {
    let mut builder = BatchBuilder::new(Compression::NONE);
    let value = vec![7; bytes];
    let record = NewRecord { value: Some(&value), ..NewRecord::at(Timestamp(1_790_000_000_000)) };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *Batch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}

/// Appends `count` batches to each of some groups, one after another in each, at the leaders.
async fn load(brokers: &[Broker], groups: usize, count: usize, start: Instant) {
    let mut tasks = Vec::new();
    for n in 0..groups {
        let leading =
            brokers.iter().map(|broker| &broker.groups[n]).find(|it| it.leadership().here);
        let partition = Arc::clone(leading.unwrap().partition());
        tasks.push(tokio::spawn(async move {
            let batch = batch(1_000);
            for _ in 0..count {
                let wait = Countdown::held();
                let (origin, frame_bytes) = (AppendOrigin::Client, 1_100);
                let submitted = SubmittedBatch { batch: batch.clone(), origin, frame_bytes };
                let submission =
                    partition.submit(submitted, clock(start), Until::Committed, Some(&wait));
                wait.done();
                Waiting(wait).await;
                let outcome = submission.outcome();
                assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::main]
async fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, otherwise| numbers.get(at).copied().unwrap_or(otherwise);
    let (count, idle, appends) = (number(0, 1_000), number(1, 20), number(2, 20_000));
    let start = Instant::now();
    let written = Arc::new(AtomicU64::new(0));
    let mut brokers = brokers(start, &written).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, began, cpu_before) = (resident(), Instant::now(), cpu());
    for broker in &mut brokers {
        fill(broker, count as i32, start).await;
    }
    println!("{count} groups x 3 started in {:.2} s", began.elapsed().as_secs_f64());
    let led = |brokers: &[Broker]| {
        (0..count as usize)
            .filter(|n| brokers.iter().any(|broker| broker.groups[*n].leadership().here))
            .count()
    };
    while led(&brokers) < count as usize && began.elapsed() < Duration::from_secs(120) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let preferred = (0..count as usize).filter(|n| brokers[n % 3].groups[*n].leadership().here);
    println!(
        "{} of {count} led after {:.2} s and {:.2} s of CPU, {} by the preferred replica; {} KiB a \
         replica",
        led(&brokers),
        began.elapsed().as_secs_f64(),
        cpu() - cpu_before,
        preferred.count(),
        (resident() - before) / (count * 3)
    );
    tokio::time::sleep(Duration::from_secs(3)).await;

    let (cpu_idle, bytes_idle) = (cpu(), written.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let (spent, sent) = (cpu() - cpu_idle, written.load(Ordering::Relaxed) - bytes_idle);
    println!(
        "idle for {idle} s: {:.2} % of a core per broker, {} bytes/s on each of 6 connections",
        spent / idle as f64 / 3.0 * 100.0,
        sent / idle / 6
    );

    for groups in [1, 10, 100.min(count as usize)] {
        let each = appends as usize / groups;
        let (cpu_load, bytes_load, began) =
            (cpu(), written.load(Ordering::Relaxed), Instant::now());
        load(&brokers, groups, each, start).await;
        let total = (each * groups) as f64;
        let sent = (written.load(Ordering::Relaxed) - bytes_load) as f64;
        println!(
            "{groups} groups, batches of 1 kB one after another in each: {:.0} appends/s, {:.0} us of \
             CPU an append (3 brokers), {:.0} bytes on the wire per append and follower",
            total / began.elapsed().as_secs_f64(),
            (cpu() - cpu_load) / total * 1e6,
            sent / total / 2.0
        );
    }
}
