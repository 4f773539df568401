//! One partition on this node: its log, its high watermark, and those who wait for it.
//!
//! Owns: the lock around the log, the moment at which an append is committed where there is one
//! replica, the queues of waiting producers and fetchers. Never: what is committed among several
//! replicas (their Raft group says so, through `partition/group.rs`), file formats, the wire.
//!
//! Invariant: log start <= last stable <= high watermark <= log end. With one replica and
//! `ottla.durability=fsync` the high watermark is what was flushed, so nothing that a power loss can
//! take is ever visible; with `page-cache` it is the log end. A waiter is told after the lock was
//! released. An error of the disk ends the service of the partition and is reported to its directory.

mod exchange;
mod flushing;
pub(crate) mod group;
pub(crate) mod relocation;
mod submission;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ottla_config::topic::Durability;
use ottla_protocol::model::{LeaderEpoch, MonoTime, NodeId, Now, Offset, TopicPartition, Uuid};
use ottla_protocol::records::HEADER;
use ottla_storage::flush::FlushTarget;
use ottla_storage::known_bugs::KnownBug;
use ottla_storage::{
    AbortedTxn, AppendError, AppendInfo, AppendOrigin, LeaderAppend, LeaderBatch, LogError,
    LogHealth, LogRead, LogSettings, LogSlice, MinOneBatch, PartitionLog, ReadError,
};
use parking_lot::{Mutex, MutexGuard, RwLock};

pub use submission::{Outcome, Submission, Until};

use self::flushing::LogFlush;
use crate::home::Home;
use crate::raft::{Group, Proposal};
use crate::wait::{Countdown, Watch};
use group::Rule;

/// Up to where a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    /// Up to the log end: replication and loading of internal topics.
    LogEnd,
}

/// The offsets of a partition at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermarks {
    pub log_start: Offset,
    pub last_stable: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

/// What an append came to.
#[derive(Clone, Debug)]
pub struct Appended {
    pub info: AppendInfo,
    /// The high watermark that makes this append committed.
    pub committed_at: Offset,
}

/// A validated batch that is given to a partition.
#[derive(Clone, Debug)]
pub struct SubmittedBatch {
    pub batch: LeaderBatch,
    pub origin: AppendOrigin,
    /// How many bytes of memory a slice of the payload keeps alive: the request frame's length.
    pub frame_bytes: usize,
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub struct ReadPlan {
    pub from: Offset,
    pub bytes_max: u32,
    pub isolation: Isolation,
    pub min_one: MinOneBatch,
}

/// What a read found, with the marks it was bounded by.
#[derive(Debug)]
pub struct PartitionRead {
    pub marks: Watermarks,
    pub read: LogRead,
    /// Set for `ReadCommitted` only.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// Whom to tell when a file cannot be read; set where the read has any.
    pub home: Option<Home>,
}

/// Why a partition does not serve a request.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("{0} is deleted")]
    Deleted(TopicPartition),
    #[error(
        "{0} is offline, because its log directory failed; that disk must be checked and the broker \
         restarted"
    )]
    Offline(TopicPartition),
    /// `NOT_LEADER_OR_FOLLOWER` (6).
    #[error("this broker does not lead {0}")]
    NotLeader(TopicPartition),
    #[error("leader epoch {asked} is older than {current}")]
    FencedEpoch { asked: LeaderEpoch, current: LeaderEpoch },
    #[error("leader epoch {asked} is newer than {current}")]
    UnknownEpoch { asked: LeaderEpoch, current: LeaderEpoch },
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Log(#[from] LogError),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Serving {
    Yes,
    /// Its directory failed.
    Offline,
    /// The broker stops.
    Closed,
    Deleted,
}

struct State {
    log: PartitionLog,
    epoch: LeaderEpoch,
    high_watermark: Offset,
    serving: Serving,
    home: Home,
    /// What the flush thread of `home` knows this log by.
    flush: Arc<LogFlush>,
    durability: Durability,
    /// Since when appended records may have been waiting for `flush.ms`.
    flush_checked: MonoTime,
    /// Bytes appended and bytes committed, ever, for the watches.
    bytes_appended: u64,
    bytes_flushing: u64,
    bytes_committed: u64,
    /// Producers that wait for the high watermark, in offset order.
    acks: VecDeque<(Offset, Arc<Countdown>)>,
    /// The same, by batch.
    submissions: VecDeque<(Offset, Arc<Submission>)>,
    rule: Rule,
    /// Who leads, as far as is known here.
    leader: Option<NodeId>,
    watches: BTreeMap<u64, Arc<Watch>>,
    next_watch: u64,
}

/// A partition of which this node has a replica.
pub struct Partition {
    name: TopicPartition,
    topic_id: Uuid,
    node: NodeId,
    state: Mutex<State>,
    /// Copies for readers that need no lock: metrics and quick checks.
    high_watermark: AtomicI64,
    log_end: AtomicI64,
    flush_is_free: bool,
    offline: AtomicBool,
    /// The log was exchanged for one that came from a peer.
    exchanged: AtomicBool,
    group: RwLock<Option<std::sync::Weak<Group>>>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("name", &self.name)
            .field("high_watermark", &self.high_watermark)
            .field("log_end", &self.log_end)
            .finish_non_exhaustive()
    }
}

/// How many replicas a partition has, which says who decides what is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// This one: what is durable here is committed.
    One,
    /// A Raft group decides. Until it runs here, and when it has stopped, nobody leads and nothing is
    /// appended.
    Several,
}

/// What a new [`Partition`] is made of.
#[derive(Debug)]
pub struct PartitionParts {
    pub name: TopicPartition,
    pub topic_id: Uuid,
    pub node: NodeId,
    pub log: PartitionLog,
    pub epoch: LeaderEpoch,
    pub copies: Copies,
    pub durability: Durability,
    pub home: Home,
    /// The file system is volatile, so that flushing changes nothing.
    pub flush_is_free: bool,
}

impl Partition {
    #[must_use]
    pub fn new(mut parts: PartitionParts) -> Arc<Self> {
        let log_end = parts.log.log_end();
        let (rule, leader, high_watermark) = match parts.copies {
            Copies::One => {
                // A leader's epoch begins where it found the log, with or without a record of its own.
                parts.log.assign_epoch(parts.epoch, log_end);
                // What recovery kept is what the disk has: all of it is committed.
                (Rule::Solo, Some(parts.node), log_end)
            }
            Copies::Several => (Rule::nobody(), None, parts.log.log_start()),
        };
        Arc::new_cyclic(|this| Self {
            name: parts.name,
            topic_id: parts.topic_id,
            node: parts.node,
            high_watermark: AtomicI64::new(high_watermark.get()),
            log_end: AtomicI64::new(log_end.get()),
            state: Mutex::new(State {
                log: parts.log,
                epoch: parts.epoch,
                high_watermark,
                serving: Serving::Yes,
                home: parts.home,
                flush: Arc::new(LogFlush::new(this.clone())),
                durability: parts.durability,
                flush_checked: MonoTime::default(),
                bytes_appended: 0,
                bytes_flushing: 0,
                bytes_committed: 0,
                acks: VecDeque::new(),
                submissions: VecDeque::new(),
                rule,
                leader,
                watches: BTreeMap::new(),
                next_watch: 0,
            }),
            flush_is_free: parts.flush_is_free || KnownBug::AckBeforeFsync.is_back(),
            offline: AtomicBool::new(false),
            exchanged: AtomicBool::new(false),
            group: RwLock::new(None),
        })
    }

    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    #[must_use]
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The node that leads this partition, if one does and this one knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.state.lock().leader
    }

    /// This node leads: it may append, and its high watermark is the partition's.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.state.lock().epoch
    }

    /// Other nodes have replicas of this partition, too.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        !matches!(self.state.lock().rule, Rule::Solo)
    }

    /// Without the lock; may be a moment old.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Without the lock; may be a moment old.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// The partition's directory has failed.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.state.lock().marks()
    }

    /// Appends a validated batch. When it is not committed at once and `wait` is given, it is
    /// told once it is, or once it never will be: compare [`Self::high_watermark`] with
    /// [`Appended::committed_at`] then.
    ///
    /// # Errors
    /// A producer's fault, a full disk, or a partition that is offline or deleted.
    pub fn append(
        self: &Arc<Self>,
        append: &LeaderAppend<'_>,
        now: Now,
        wait: Option<&Arc<Countdown>>,
    ) -> Result<Appended, PartitionError> {
        let mut state = self.state.lock();
        self.check_writable(&state)?;
        self.check_solo(&state)?;
        let epoch = state.epoch;
        let before = state.log.log_end();
        let info = match state.log.append_as_leader(append, epoch, now) {
            Ok(info) => info,
            Err(error) => return Err(self.failed(state, error.into())),
        };
        let end = state.log.log_end();
        self.log_end.store(end.get(), Ordering::Release);
        if end > before {
            state.bytes_appended += bytes_of(append);
        }
        let committed_at = info.last_offset.next();
        let mut woken = Woken::default();
        let request_flush;
        if self.flush_is_free || state.durability == Durability::PageCache {
            let bytes = state.bytes_appended;
            woken = self.advance(&mut state, end, bytes);
            // As Kafka after each roll: else a kill would have recovery read the whole log.
            request_flush = !self.flush_is_free && state.log.closed_needs_flush();
        } else {
            if let Some(wait) = wait.filter(|_| committed_at > state.high_watermark) {
                wait.add();
                state.acks.push_back((committed_at, Arc::clone(wait)));
            }
            request_flush = end > state.high_watermark;
        }
        let flush = request_flush.then(|| state.flush_request());
        drop(state);
        woken.tell();
        if let Some(flush) = flush {
            flush.send();
        }
        Ok(Appended { info, committed_at })
    }

    /// Gives a validated batch to the partition, whether it has one replica or more. What becomes of
    /// it the submission says; `wait` is told once it has come as far as `until`, or no further.
    /// Batches are appended in the order in which they are given.
    #[must_use]
    pub fn submit(
        self: &Arc<Self>,
        batch: SubmittedBatch,
        now: Now,
        until: Until,
        wait: Option<&Arc<Countdown>>,
    ) -> Arc<Submission> {
        let submission = Submission::new(until, wait);
        self.give(batch, now, &submission, None);
        submission
    }

    /// Appends where this replica is the only one.
    fn submit_alone(self: &Arc<Self>, proposal: &Proposal) {
        let state = self.state.lock();
        if let Err(error) = self.check_solo(&state) {
            return proposal.submission.refused(error);
        }
        let (epoch, before) = (state.epoch, state.log.log_end());
        // Under the same lock: a group may be given the log as it is then.
        match self.append_under(state, proposal, epoch) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) | Err(error) => return proposal.submission.refused(error),
        }
        let mut state = self.state.lock();
        if self.check_solo(&state).is_err() {
            // What is committed is the group's to say by now.
            return;
        }
        let end = state.log.log_end();
        if self.flush_is_free || state.durability == Durability::PageCache {
            let bytes = state.bytes_appended;
            let woken = self.advance(&mut state, end, bytes);
            drop(state);
            woken.tell();
            self.flush_closed();
        } else {
            let request = end > state.high_watermark && end > before;
            drop(state);
            if request {
                self.request_flush();
            }
        }
    }

    /// Reads whole batches below the bound that `plan.isolation` names.
    ///
    /// # Errors
    /// An offset outside the log, a deleted partition, or a failing disk.
    pub fn read(&self, plan: ReadPlan) -> Result<PartitionRead, PartitionError> {
        let state = self.state.lock();
        self.check_readable(&state)?;
        let marks = state.marks();
        let bound = marks.bound(plan.isolation);
        let read = || {
            let read = state.log.read(plan.from, plan.bytes_max, bound, plan.min_one)?;
            let aborted = (plan.isolation == Isolation::ReadCommitted)
                .then(|| state.log.aborted_transactions(plan.from, read.next_offset))
                .transpose()?;
            let in_file = read.slices.iter().any(|slice| matches!(slice, LogSlice::File { .. }));
            let home = in_file.then(|| state.home.clone());
            Ok(PartitionRead { marks, read, aborted, home })
        };
        read().map_err(|error| self.failed(state, error))
    }

    /// Runs `look` on the log under its lock: lookups by time or epoch, producer states.
    ///
    /// # Errors
    /// When the partition is deleted.
    pub fn inspect<T>(
        &self,
        look: impl FnOnce(&PartitionLog, Watermarks) -> T,
    ) -> Result<T, PartitionError> {
        let state = self.state.lock();
        self.check_readable(&state)?;
        Ok(look(&state.log, state.marks()))
    }

    /// Runs `change` on the log under its lock, then moves what follows from it. For retention,
    /// rolling and cleaning steps, never for appends.
    ///
    /// # Errors
    /// When the partition is deleted.
    pub fn maintain<T>(
        &self,
        change: impl FnOnce(&mut PartitionLog, Watermarks) -> T,
    ) -> Result<T, PartitionError> {
        let mut state = self.state.lock();
        self.check_readable(&state)?;
        let marks = state.marks();
        Ok(change(&mut state.log, marks))
    }

    /// DeleteRecords where there is one replica: moves the log start to `offset`, which may not pass
    /// the high watermark. With a group, [`Group::delete_records`] does.
    ///
    /// # Errors
    /// `OffsetOutOfRange` beyond the high watermark.
    pub fn delete_records(&self, offset: Offset) -> Result<Offset, PartitionError> {
        let mut state = self.state.lock();
        self.check_writable(&state)?;
        self.check_solo(&state)?;
        let marks = state.marks();
        if offset > marks.high_watermark || offset < Offset::ZERO {
            let (start, end) = (marks.log_start, marks.high_watermark);
            return Err(ReadError::OutOfRange { offset, start, end }.into());
        }
        if offset > marks.log_start
            && let Err(error) = state.log.advance_log_start(offset)
        {
            return Err(self.failed(state, error.into()));
        }
        Ok(state.log.log_start())
    }

    /// Checks the leader epoch that a client believes in; `NONE` is not checked (KIP-320).
    ///
    /// # Errors
    /// `FencedEpoch` when the client is behind, `UnknownEpoch` when we are.
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), PartitionError> {
        let current = self.state.lock().epoch;
        match asked {
            LeaderEpoch::NONE => Ok(()),
            asked if asked < current => Err(PartitionError::FencedEpoch { asked, current }),
            asked if asked > current => Err(PartitionError::UnknownEpoch { asked, current }),
            _ => Ok(()),
        }
    }

    /// Tells `watch` of what becomes readable beyond `seen`, the bound of the caller's last read.
    /// Fires at once when there is already more.
    #[must_use]
    pub fn watch(
        self: &Arc<Self>,
        watch: &Arc<Watch>,
        isolation: Isolation,
        seen: Offset,
    ) -> Option<WatchGuard> {
        let mut state = self.state.lock();
        let is_more = state.marks().bound(isolation) > seen;
        if state.serving == Serving::Offline && !is_more {
            // Nothing will ever come: who is told of that would ask again at once, for ever.
            return None;
        }
        if state.serving != Serving::Yes || is_more {
            drop(state);
            watch.fire();
            return None;
        }
        let key = state.next_watch;
        state.next_watch += 1;
        state.watches.insert(key, Arc::clone(watch));
        Some(WatchGuard { partition: Arc::clone(self), key })
    }

    /// Applies changed topic settings, and the leader epoch that the metadata has by now.
    pub fn reconfigure(
        self: &Arc<Self>,
        settings: LogSettings,
        durability: Durability,
        epoch: LeaderEpoch,
    ) {
        let mut state = self.state.lock();
        let solo = matches!(state.rule, Rule::Solo);
        if epoch > state.epoch && solo {
            state.epoch = epoch;
            let log_end = state.log.log_end();
            state.log.assign_epoch(epoch, log_end);
        }
        state.log.update_settings(settings);
        let relaxed = durability == Durability::PageCache && state.durability != durability;
        state.durability = durability;
        let mut woken = Woken::default();
        if relaxed && solo && state.serving == Serving::Yes {
            let (end, bytes) = (state.log.log_end(), state.bytes_appended);
            woken = self.advance(&mut state, end, bytes);
        }
        drop(state);
        woken.tell();
    }

    /// Makes everything durable and closes the log; nothing can be appended afterwards.
    ///
    /// # Errors
    /// The disk's.
    pub fn close(&self, now: Now) -> Result<(), PartitionError> {
        let mut state = self.state.lock();
        self.check_writable(&state)?;
        let closed = state.log.close_clean(now);
        // Under the same lock: nothing is appended to a log that counts as closed.
        self.stop_serving_under(state, Serving::Closed);
        Ok(closed?)
    }

    /// Ends service because the directory failed: every waiter is told, later calls answer
    /// `Offline`.
    pub fn take_offline(&self) {
        self.offline.store(true, Ordering::Release);
        self.stop_serving(Serving::Offline);
        let rule = self.state.lock().rule.clone();
        if let Rule::Group(events) = rule
            && let Some(events) = events.upgrade()
        {
            events.failed();
        }
    }

    /// Reports what a caller of [`Self::inspect`] or [`Self::maintain`] met: when it was the disk's
    /// failure, the partition and its directory go offline.
    pub fn note(&self, error: &LogError) {
        self.after(self.state.lock(), error);
    }

    /// Ends service: every waiter is told, later calls answer `Deleted`. The log's files are the
    /// caller's to remove.
    pub fn mark_deleted(&self) {
        self.stop_serving(Serving::Deleted);
    }

    /// Asks for a flush when `flush.ms` or `flush.messages` want one, or when somebody still waits for
    /// one: the disk was full when it was to begin.
    pub fn flush_if_due(self: &Arc<Self>, now: MonoTime) {
        // Before the lock: the group looks at the log under its own.
        let group = match &self.state.lock().rule {
            Rule::Solo => None,
            Rule::Group(events) => Some(events.clone()),
        };
        let awaited =
            group.map(|events| events.upgrade().is_some_and(|events| events.awaits_flush()));
        let mut state = self.state.lock();
        let since = now.since(state.flush_checked);
        let awaited =
            awaited.unwrap_or_else(|| !(state.acks.is_empty() && state.submissions.is_empty()));
        let due = state.serving == Serving::Yes && (awaited || state.log.flush_due(since));
        if due || !state.log.needs_flush() {
            state.flush_checked = now;
        }
        let flush = due.then(|| state.flush_request());
        drop(state);
        if let Some(flush) = flush {
            flush.send();
        }
    }

    /// Asks for a flush of everything appended so far, whatever the durability says.
    pub fn request_flush(self: &Arc<Self>) {
        let flush = self.state.lock().flush_request();
        flush.send();
    }

    /// What an operation on the log came to: a disk's failure ends the partition's service.
    fn failed(&self, state: MutexGuard<'_, State>, error: PartitionError) -> PartitionError {
        if let PartitionError::Append(AppendError::Log(log))
        | PartitionError::Read(ReadError::Log(log))
        | PartitionError::Log(log) = &error
        {
            self.after(state, log);
        }
        error
    }

    fn after(&self, state: MutexGuard<'_, State>, error: &LogError) {
        let reason = match state.log.health() {
            LogHealth::Offline(reason) => reason.to_string(),
            _ if error.is_disk_fault() => error.to_string(),
            _ => return,
        };
        if state.serving != Serving::Yes {
            return;
        }
        state.home.fail(&reason);
        drop(state);
        self.take_offline();
    }

    fn stop_serving(&self, serving: Serving) {
        self.stop_serving_under(self.state.lock(), serving);
    }

    fn stop_serving_under(&self, mut state: MutexGuard<'_, State>, serving: Serving) {
        if state.serving == Serving::Deleted {
            return;
        }
        state.serving = serving;
        let woken = Woken {
            acks: state.acks.drain(..).map(|(_, wait)| wait).collect(),
            committed: Vec::new(),
            lost: state.submissions.drain(..).map(|(_, submission)| submission).collect(),
            watches: std::mem::take(&mut state.watches).into_values().collect(),
        };
        drop(state);
        woken.tell();
    }

    fn check_readable(&self, state: &State) -> Result<(), PartitionError> {
        match state.serving {
            // The directory's other partitions learn of its failure a moment later than this.
            _ if state.home.health.is_offline() => Err(PartitionError::Offline(self.name.clone())),
            Serving::Yes | Serving::Closed => Ok(()),
            Serving::Offline => Err(PartitionError::Offline(self.name.clone())),
            Serving::Deleted => Err(PartitionError::Deleted(self.name.clone())),
        }
    }

    fn check_writable(&self, state: &State) -> Result<(), PartitionError> {
        match state.serving {
            Serving::Closed => Err(PartitionError::Offline(self.name.clone())),
            _ => self.check_readable(state),
        }
    }

    fn check_solo(&self, state: &MutexGuard<'_, State>) -> Result<(), PartitionError> {
        match state.rule {
            Rule::Solo => Ok(()),
            Rule::Group(_) => Err(PartitionError::NotLeader(self.name.clone())),
        }
    }

    /// Moves the high watermark and collects who has to be told.
    fn advance(&self, state: &mut State, to: Offset, bytes_committed: u64) -> Woken {
        if to <= state.high_watermark {
            return Woken::default();
        }
        state.high_watermark = to;
        state.log.on_high_watermark(to);
        self.high_watermark.store(to.get(), Ordering::Release);
        let mut woken = Woken::default();
        while state.acks.front().is_some_and(|(offset, _)| *offset <= to) {
            woken.acks.extend(state.acks.pop_front().map(|(_, wait)| wait));
        }
        while state.submissions.front().is_some_and(|(offset, _)| *offset <= to) {
            let front = state.submissions.pop_front();
            woken.committed.extend(front.map(|(_, submission)| submission));
        }
        let fresh = bytes_committed.saturating_sub(state.bytes_committed);
        state.bytes_committed = bytes_committed;
        if !state.watches.is_empty() {
            // Credit happens under the lock, the wake-up inside it only marks a task as runnable.
            state.watches.retain(|_, watch| !watch.credit(fresh));
        }
        woken
    }
}

/// A flush to be asked for once the lock is released.
struct FlushRequest {
    home: Home,
    target: Arc<dyn FlushTarget>,
}

impl FlushRequest {
    fn send(self) {
        self.home.flusher.request(&self.target);
    }
}

impl State {
    fn flush_request(&self) -> FlushRequest {
        let target: Arc<dyn FlushTarget> = Arc::<LogFlush>::clone(&self.flush);
        FlushRequest { home: self.home.clone(), target }
    }

    fn marks(&self) -> Watermarks {
        Watermarks {
            log_start: self.log.log_start(),
            last_stable: self.log.last_stable(self.high_watermark),
            high_watermark: self.high_watermark,
            log_end: self.log.log_end(),
        }
    }
}

impl Watermarks {
    /// The exclusive bound of a read.
    #[must_use]
    pub const fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
            Isolation::LogEnd => self.log_end,
        }
    }
}

fn bytes_of(append: &LeaderAppend<'_>) -> u64 {
    append.batches.iter().map(|batch| (HEADER + batch.payload.len()) as u64).sum()
}

/// Who is told once the lock is released.
#[derive(Default)]
struct Woken {
    acks: Vec<Arc<Countdown>>,
    committed: Vec<Arc<Submission>>,
    lost: Vec<Arc<Submission>>,
    watches: Vec<Arc<Watch>>,
}

impl Woken {
    fn tell(self) {
        for wait in self.acks {
            wait.done();
        }
        self.committed.iter().for_each(|submission| submission.committed());
        Partition::lose(self.lost);
        for watch in self.watches {
            watch.fire();
        }
    }
}

/// Takes a watch off its partition on drop.
#[derive(Debug)]
pub struct WatchGuard {
    partition: Arc<Partition>,
    key: u64,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.partition.state.lock().watches.remove(&self.key);
    }
}
