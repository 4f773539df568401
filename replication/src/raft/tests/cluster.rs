//! A cluster of replicas of one group, and what a broker does for them: flush, heartbeat, elect.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, NodeId, Now, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp,
    TopicPartition, Uuid,
};
use ottla_protocol::records::{Batch as RecordBatch, BatchBuilder, Compression, HEADER, NewRecord};
use ottla_storage::flush::{FlushCoordinator, SyncPolicy};
use ottla_storage::fs::sim::{SimFileSystem, SimOptions};
use ottla_storage::fs::{FileSystem, OpenMode};
use ottla_storage::log_dir::{DirHealth, FolderName, FolderStage};
use ottla_storage::{
    AfterRecoveryPoint, AppendOrigin, LeaderBatch, LogResources, LogSettings, OpenContext,
    PartitionLog,
};
use tokio::task::JoinHandle;

use super::network::{Dice, Factory, Net};
use crate::home::Home;
use crate::partition::{
    Copies, Outcome, Partition, PartitionParts, Submission, SubmittedBatch, Until,
};
use crate::raft::journal::Journal;
use crate::raft::{Group, GroupError, GroupId, GroupParts, GroupSettings, ReplicaId};
use crate::wait::{Countdown, Waiting};

pub(super) const GROUP: GroupId = GroupId { topic: Uuid::from_u128(77), partition: PartitionId(0) };

pub(super) fn replica(node: i32) -> ReplicaId {
    ReplicaId { node: NodeId(node), directory: Uuid::from_u128(1000 + node as u128) }
}

/// What runs on a node that is up.
pub(super) struct Running {
    pub(super) group: Arc<Group>,
    pub(super) partition: Arc<Partition>,
    tasks: Vec<JoinHandle<()>>,
}

/// A node between its opening and its group's start.
pub(super) struct Prepared {
    parts: GroupParts,
    flusher: FlushCoordinator,
    net: Net,
    seed: u64,
}

impl Prepared {
    pub(super) async fn run(self) -> Result<Running, GroupError> {
        let Self { parts, flusher, net, seed } = self;
        let flushing = tokio::spawn(flush(flusher, Dice::new(seed)));
        let factory = Factory { net: net.clone(), me: parts.replica };
        let partition = Arc::clone(&parts.partition);
        let group = match Group::start_over(parts, factory).await {
            Ok(group) => group,
            Err(error) => {
                flushing.abort();
                return Err(error);
            }
        };
        net.attach(&group);
        let driving = tokio::spawn(drive(Arc::clone(&group), net, Dice::new(!seed)));
        Ok(Running { group, partition, tasks: vec![flushing, driving] })
    }
}

pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) fs: SimFileSystem,
    pub(super) running: Option<Running>,
}

pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) net: Net,
    pub(super) dice: Dice,
    pub(super) settings: LogSettings,
    start: tokio::time::Instant,
    alone: Option<GroupParts>,
}

pub(super) fn home(flusher: &FlushCoordinator) -> Home {
    Home {
        flusher: flusher.clone(),
        health: Arc::new(DirHealth::new(dir().into())),
        alarm: Arc::new(tokio::sync::Notify::new()),
    }
}

/// What a start does with the folders of logs that came from peers, as `Replicas` does.
pub(super) fn finish_exchange(fs: &dyn FileSystem) -> std::io::Result<()> {
    let names = fs.list(dir())?.into_iter().filter_map(|entry| FolderName::parse(&entry.name));
    let (others, live): (Vec<_>, Vec<_>) = names.partition(|name| name.stage != FolderStage::Live);
    for name in &others {
        let aside = FolderName { stage: FolderStage::Deleting, ..name.clone() };
        if live.is_empty() && name.stage == FolderStage::Future && others.contains(&aside) {
            fs.rename(&dir().join(name.text()), &dir().join(name.partition.to_string()))?;
        }
    }
    fs.sync_dir(dir())?;
    for name in others {
        match fs.remove_dir_all(&dir().join(name.text())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn dir() -> &'static Path {
    Path::new("/data")
}

impl Cluster {
    pub(super) fn new(seed: u64, nodes: i32) -> Self {
        let options = SimOptions::default();
        let nodes = (1..=nodes).map(|node| {
            let fs = SimFileSystem::new(seed ^ (node as u64) << 32, options);
            fs.create_dir_all(dir()).unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
            Node { id: replica(node), fs, running: None }
        });
        Self {
            nodes: nodes.collect(),
            net: Net::new(seed ^ 0xfeed),
            dice: Dice::new(seed ^ 0xbeef),
            settings: LogSettings { segment_bytes: 4096, ..LogSettings::default() },
            start: tokio::time::Instant::now(),
            alone: None,
        }
    }

    /// Three voters that are up and have a leader.
    pub(super) async fn formed(seed: u64) -> Self {
        Self::formed_of(seed, 3).await
    }

    /// The same, with more nodes that are not up yet.
    pub(super) async fn formed_of(seed: u64, nodes: i32) -> Self {
        let mut cluster = Self::new(seed, nodes);
        cluster.form().await;
        cluster
    }

    /// Starts the first three nodes as voters, and waits for a leader.
    pub(super) async fn form(&mut self) {
        for node in 0..3 {
            self.start(node).await.unwrap();
        }
        let voters: BTreeSet<ReplicaId> = self.nodes.iter().take(3).map(|node| node.id).collect();
        for node in 0..3 {
            self.group(node).initialize(voters.clone()).await.unwrap();
        }
        self.leader().await;
    }

    pub(super) fn now(&self) -> Now {
        now_since(self.start)
    }

    /// Starts a node from what its disk holds.
    pub(super) async fn start(&mut self, node: usize) -> Result<(), GroupError> {
        let running = self.prepare(node)?.run().await?;
        self.nodes[node].running = Some(running);
        Ok(())
    }

    /// A start up to where it takes time.
    pub(super) fn prepare(&mut self, node: usize) -> Result<Prepared, GroupError> {
        let seed = self.dice.next();
        let (parts, flusher) = self.open(node, Copies::Several)?;
        Ok(Prepared { parts, flusher, net: self.net.clone(), seed })
    }

    /// The drivers rest: no heartbeats, no elections.
    pub(super) fn quiet(&self) {
        for running in self.nodes.iter().filter_map(|node| node.running.as_ref()) {
            running.tasks[1].abort();
        }
    }

    /// Starts a node's partition as the only replica.
    pub(super) async fn start_alone(&mut self, node: usize) {
        let seed = self.dice.next();
        let (parts, flusher) = self.open(node, Copies::One).unwrap();
        tokio::spawn(flush(flusher, Dice::new(seed)));
        self.alone = Some(parts);
        tokio::task::yield_now().await;
    }

    pub(super) fn alone(&self, _: usize) -> &Arc<Partition> {
        &self.alone.as_ref().expect("it runs alone").partition
    }

    /// Makes the lonely partition a group.
    pub(super) async fn adopt(&mut self, node: usize) {
        let parts = self.alone.take().expect("it runs alone");
        Group::adopt(&parts).await.unwrap();
        let id = self.nodes[node].id;
        let partition = Arc::clone(&parts.partition);
        let factory = Factory { net: self.net.clone(), me: id };
        let group = Group::start_over(parts, factory).await.unwrap();
        self.net.attach(&group);
        let driving = drive(Arc::clone(&group), self.net.clone(), Dice::new(1));
        let nothing = tokio::spawn(async {});
        let tasks = vec![nothing, tokio::spawn(driving)];
        self.nodes[node].running = Some(Running { group, partition, tasks });
    }

    fn open(
        &mut self,
        node: usize,
        copies: Copies,
    ) -> Result<(GroupParts, FlushCoordinator), GroupError> {
        let settings = self.settings.clone();
        let start = self.start;
        let Node { id, fs, running } = &mut self.nodes[node];
        assert!(running.is_none(), "{id} runs");
        let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
        finish_exchange(&*fs)?;
        let flusher =
            FlushCoordinator::manual(Arc::clone(&fs), dir().into(), SyncPolicy::default());
        let here = home(&flusher);
        let journal = Journal::open(Arc::clone(&fs), dir(), here.clone())
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let path: PathBuf = dir().join("topic-0");
        // As `Replicas` does: of a log that is not there nothing is asked.
        let known = journal.group(GROUP).filter(|_| fs.exists(&path).unwrap_or(false));
        let context = OpenContext {
            recovery_point: known.map_or(Offset::ZERO, |records| records.synced),
            after_recovery_point: AfterRecoveryPoint::Cut,
            topic_id: GROUP.topic,
            ..OpenContext::new(now_since(start), LogResources::new(64, 1 << 20))
        };
        fs.create_dir_all(&path)?;
        let io = |error: ottla_storage::LogError| std::io::Error::other(error.to_string());
        let (mut log, _) =
            PartitionLog::open(Arc::clone(&fs), path, settings, &context).map_err(io)?;
        log.flush_now().map_err(io)?;
        fs.sync_dir(dir())?;
        let partition = Partition::new(PartitionParts {
            name: TopicPartition::new("topic", 0),
            topic_id: GROUP.topic,
            node: id.node,
            log,
            epoch: LeaderEpoch(0),
            copies,
            durability: Durability::Fsync,
            home: here,
            flush_is_free: false,
        });
        let parts = GroupParts {
            id: GROUP,
            replica: *id,
            partition: Arc::clone(&partition),
            journal,
            settings: GroupSettings::new(Arc::new(move || now_since(start))),
        };
        Ok((parts, flusher))
    }

    /// A bit of what is known to have been durable turns over while the node is down; false where there is
    /// nothing yet. What was synced in the second before a crash is not known: rot there is taken for what
    /// the crash took.
    pub(super) fn rot(&mut self, node: usize) -> bool {
        let draw = self.dice.next();
        let disk = &self.nodes[node].fs;
        let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
        let flusher =
            FlushCoordinator::manual(Arc::clone(&fs), dir().into(), SyncPolicy::default());
        let journal = Journal::open(Arc::clone(&fs), dir(), home(&flusher)).unwrap();
        let synced = journal.group(GROUP).map_or(Offset::ZERO, |records| records.synced);
        let path = dir().join("topic-0");
        let Ok(entries) = fs.list(&path) else { return false };
        let mut known = Vec::new();
        for entry in entries.iter().filter(|entry| entry.name.ends_with(".log")) {
            let file = fs.open(&path.join(&entry.name), OpenMode::Read).unwrap();
            let bytes = file.read_bytes_at(0, entry.len as usize).unwrap();
            let mut end = 0;
            while let Ok(batch) = RecordBatch::parse(&bytes[end..])
                && batch.header().next_offset() <= synced
            {
                end += batch.header().size();
            }
            known.push((path.join(&entry.name), end as u64));
        }
        known.retain(|(_, len)| *len > 0);
        let Some((path, len)) = known.get((draw % known.len().max(1) as u64) as usize) else {
            return false;
        };
        disk.flip_bit(path, (draw >> 8) % (len * 8)).is_ok()
    }

    /// The node loses power, and with it whatever was not synced.
    pub(super) fn crash(&mut self, node: usize) {
        let Node { id, fs, running } = &mut self.nodes[node];
        self.net.detach(*id);
        fs.crash();
        if let Some(running) = running.take() {
            running.tasks.iter().for_each(JoinHandle::abort);
            tokio::spawn(async move { running.group.stop().await });
        }
    }

    pub(super) async fn stop(&mut self, node: usize) {
        let Some(running) = self.nodes[node].running.take() else { return };
        self.net.detach(self.nodes[node].id);
        running.group.stop().await;
        running.partition.close(self.now()).unwrap();
        running.tasks.iter().for_each(JoinHandle::abort);
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].running.is_some()
    }

    pub(super) fn group(&self, node: usize) -> &Arc<Group> {
        &self.nodes[node].running.as_ref().expect("the node is up").group
    }

    pub(super) fn partition(&self, node: usize) -> &Arc<Partition> {
        &self.nodes[node].running.as_ref().expect("the node is up").partition
    }

    /// The node that leads now, if one says so.
    pub(super) fn leader_now(&self) -> Option<usize> {
        let leads = |node: &usize| {
            self.is_up(*node) && {
                let leadership = self.group(*node).leadership();
                leadership.here && leadership.leader == Some(self.nodes[*node].id)
            }
        };
        let leaders = (0..self.nodes.len()).filter(leads);
        leaders.max_by_key(|node| self.group(*node).leadership().epoch)
    }

    /// Waits for a leader.
    pub(super) async fn leader(&self) -> usize {
        for _ in 0..60_000 {
            if let Some(leader) = self.leader_now() {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no leader within a minute: {:?}", self.state());
    }

    pub(super) fn state(&self) -> Vec<String> {
        let up = self.nodes.iter().filter_map(|node| node.running.as_ref());
        up.map(|running| {
            let metrics = running.group.raft().metrics();
            let metrics = metrics.borrow_watched().to_string();
            let marks = running.partition.watermarks();
            format!("\n{:?} {marks:?} {metrics}", running.group.leadership())
        })
        .collect()
    }

    /// Waits until every node that is up has everything that the leader has.
    pub(super) async fn converge(&self) {
        for _ in 0..60_000 {
            if let Some(leader) = self.leader_now() {
                let end = self.partition(leader).log_end();
                let same = |node: usize| {
                    let marks = self.partition(node).watermarks();
                    marks.high_watermark == end && marks.log_end == end
                };
                if (0..self.nodes.len()).filter(|node| self.is_up(*node)).all(same) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no convergence within a minute: {:?}", self.state());
    }

    /// Appends and waits until it is committed; panics where it is not.
    pub(super) async fn produce(&self, node: usize, value: &str) -> Offset {
        let submission =
            submit(self.partition(node), self.now(), batch(None, value), Until::Committed);
        match submission.await {
            Outcome::Committed(info) => info.first_offset,
            other => panic!("{value} was not committed: {other:?}"),
        }
    }

    /// All values up to the high watermark, with their offsets.
    pub(super) fn values(&self, node: usize) -> Vec<(Offset, String)> {
        values(&self.committed_bytes(node))
    }

    pub(super) fn committed_bytes(&self, node: usize) -> Bytes {
        let partition = self.partition(node);
        let marks = partition.watermarks();
        let read = partition.inspect(|log, _| {
            log.read(
                marks.log_start,
                u32::MAX,
                marks.high_watermark,
                ottla_storage::MinOneBatch::Yes,
            )
        });
        read.unwrap().unwrap().to_bytes().unwrap()
    }
}

pub(super) fn values(mut bytes: &[u8]) -> Vec<(Offset, String)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let batch = RecordBatch::parse(bytes).unwrap();
        batch.check_crc().unwrap();
        for record in batch.records(1 << 20).unwrap().iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
            found.push((record.offset, value));
        }
        bytes = &bytes[batch.header().size()..];
    }
    found
}

fn now_since(start: tokio::time::Instant) -> Now {
    let since = start.elapsed();
    let millis = 1_700_000_000_000 + i64::try_from(since.as_millis()).unwrap();
    Now { mono: MonoTime::from_start(since), wall: Timestamp(millis) }
}

/// A batch of one record; of a producer and its next sequence, if it has any.
pub(super) fn batch(producer: Option<(i64, i32)>, value: &str) -> LeaderBatch {
    let mut builder = BatchBuilder::new(Compression::NONE);
    if let Some((id, sequence)) = producer {
        builder = builder.with_producer(ProducerId(id), ProducerEpoch(0), sequence);
    }
    let record =
        NewRecord { value: Some(value.as_bytes()), ..NewRecord::at(Timestamp(1_700_000_000_000)) };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *RecordBatch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}

/// Submits and waits; what is not decided within a few seconds is `Pending` or `Appended`.
pub(super) async fn submit(
    partition: &Arc<Partition>,
    now: Now,
    batch: LeaderBatch,
    until: Until,
) -> Outcome {
    let wait = Countdown::held();
    let batch = SubmittedBatch { batch, origin: AppendOrigin::Client, frame_bytes: 200 };
    let submission: Arc<Submission> = partition.submit(batch, now, until, Some(&wait));
    wait.done();
    let _late = tokio::time::timeout(Duration::from_secs(3), Waiting(wait)).await;
    submission.outcome()
}

/// The flush thread: it takes its time.
async fn flush(flusher: FlushCoordinator, mut dice: Dice) {
    loop {
        tokio::time::sleep(Duration::from_micros(200 + dice.below(4000))).await;
        flusher.flush_pending();
    }
}

/// The broker's driver: a leader renews its lease, and who hears of none holds an election.
async fn drive(group: Arc<Group>, net: Net, mut dice: Dice) {
    let me = group.replica();
    let mut patience = Duration::from_millis(1100 + dice.below(600));
    let mut since = tokio::time::Instant::now();
    // The first one must not wait for a lease that nobody has.
    let mut first = true;
    loop {
        tokio::time::sleep(Duration::from_millis(50 + dice.below(50))).await;
        if group.leadership().leader == Some(me) {
            group.heartbeat().await;
            since = tokio::time::Instant::now();
            continue;
        }
        since = since.max(net.heard(me).unwrap_or(since));
        if since.elapsed() > patience || (first && group.leadership().epoch == LeaderEpoch(0)) {
            group.elect().await;
            patience = Duration::from_millis(1100 + dice.below(600));
            since = tokio::time::Instant::now();
        }
        first = false;
    }
}

/// Runs on one thread, in simulated time.
pub(super) fn simulate<F: Future>(run: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(run)
}
