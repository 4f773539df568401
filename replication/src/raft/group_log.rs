//! The log of one replica of a group: the partition's log and the journal as one sequence of entries.
//!
//! Owns: the order of both, what is durable, who leads as seen from votes and entries. Never: decides
//! anything that Raft decides.
//!
//! Invariants: an entry without a batch is durable in the journal before a later batch is appended to
//! the log, so that walking the log's batches and the journal's entries finds every index again after
//! a crash at any byte; Raft hears of flushes in the order of entries.

mod recovery;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::storage::IOFlushed;
use openraft::type_config::TypeConfigExt;
use ottla_protocol::model::{LeaderEpoch, MonoTime, Now, Offset};
use ottla_storage::AppendError;
use parking_lot::Mutex;

use super::defects::Defect;
use super::entry_map::EntryMap;
use super::journal::{GroupRecords, Journal, Place, Point, Record, Recordless, RecordlessKind};
use super::{
    Batch, Entry, GroupId, LogId, Payload, ReplicaId, StoredMembership, Turn, TypeConfig, Vote,
};
use crate::partition::group::GroupLogEvents;
use crate::partition::{Partition, PartitionError};
use recovery::Returning;

/// Who leads a group, as one replica knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The term of the last vote; the leader's epoch where there is one.
    pub epoch: LeaderEpoch,
    pub leader: Option<ReplicaId>,
    /// This replica leads, and an entry of its term is committed: it knows all that is.
    pub here: bool,
}

/// Told of every change of a group's leadership, on the thread that made it: it returns at once.
pub type LeadershipListener = Arc<dyn Fn(GroupId, Leadership) + Send + Sync>;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// How often it is noted how far the log is durable.
const SYNCED_EVERY: Duration = Duration::from_secs(1);
/// Bytes of records between two anchors.
const ANCHOR_BYTES: u64 = 1 << 20;

/// Something that Raft waits for: it is durable once both are.
struct PendingIo {
    offset: Offset,
    place: Place,
    callback: IOFlushed<TypeConfig>,
}

#[derive(Default)]
struct Flushes {
    pending: VecDeque<PendingIo>,
    /// Below it the log is durable.
    flushed: Offset,
    failed: bool,
    /// When it was noted last, and how far.
    noted: (MonoTime, Offset),
}

struct Role {
    vote: Option<Vote>,
    /// The term in which this replica leads.
    leads: Option<u64>,
    told: Leadership,
}

/// What a replica has applied.
pub(super) struct Applied {
    pub(super) last: Option<Point>,
    pub(super) membership: StoredMembership,
    /// Bytes applied since the last anchor.
    bytes: u64,
}

/// The log of one replica of a group.
pub(crate) struct GroupLog {
    pub(super) id: GroupId,
    pub(super) me: ReplicaId,
    pub(super) partition: Arc<Partition>,
    pub(super) journal: Arc<Journal>,
    clock: Clock,
    map: Mutex<EntryMap>,
    flushes: Mutex<Flushes>,
    role: Mutex<Role>,
    pub(super) applied: Mutex<Applied>,
    listeners: Mutex<Vec<LeadershipListener>>,
    /// Held while the partition and the listeners are told.
    telling: Mutex<()>,
    /// Where retention wants the next snapshot to end.
    pub(super) snapshot_target: Mutex<Option<Point>>,
    /// The snapshot that was built last.
    pub(super) built: Mutex<Option<(Point, StoredMembership)>>,
    /// Entries of terms up to this one may have been acknowledged here and be lost.
    suspect: Option<u64>,
    /// All up to here was acknowledged here before the replica was removed and came back.
    left: Option<Point>,
    /// The newest entry without a batch, in the journal.
    recordless: Mutex<Place>,
    /// Why the instance ended by itself.
    failure: Mutex<Option<String>>,
    /// How many snapshots began to come in.
    incoming: AtomicU64,
    /// When the leader was last heard, in microseconds; zero is never.
    heard: AtomicU64,
}

/// Which replica it is, and what it stands on.
pub(crate) struct Seat {
    pub(crate) id: GroupId,
    pub(crate) me: ReplicaId,
    pub(crate) partition: Arc<Partition>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) clock: Clock,
}

/// Why a replica's log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("log and journal do not fit together: {0}")]
    Broken(String),
    #[error("the log begins at {start}, beyond the purge point's {purged}")]
    StartsLate { start: Offset, purged: Offset },
    #[error(transparent)]
    Partition(#[from] crate::partition::PartitionError),
    #[error(transparent)]
    Log(#[from] ottla_storage::LogError),
    #[error("the replica journal failed: {0}")]
    Journal(#[from] io::Error),
    #[error(
        "there is a log and nothing is known of what this replica voted: it must be made anew from \
         its peers"
    )]
    NoJournal,
}

impl GroupLog {
    /// Puts together what log and journal hold, and makes it durable.
    pub(crate) async fn recover(seat: Seat) -> Result<Arc<Self>, RecoverError> {
        let Seat { id, partition, journal, .. } = &seat;
        if partition.is_offline() {
            // What a failed sync left behind is known only after the process ends.
            return Err(PartitionError::Offline(partition.name().clone()).into());
        }
        super::installing::resume(*id, partition, journal).await?;
        let records = match journal.group(*id) {
            Some(records) if !records.is_bare() => records,
            _ if partition.log_end() > Offset::ZERO => return Err(RecoverError::NoJournal),
            known => known.unwrap_or_default(),
        };
        let (map, records) = Returning { seat: &seat, records }.agree().await?;
        let log = Self::assemble(seat, map, &records);
        log.partition.trim(records.log_start)?;
        Ok(log)
    }

    fn assemble(seat: Seat, map: EntryMap, records: &GroupRecords) -> Arc<Self> {
        let Seat { id, me, partition, journal, clock } = seat;
        let applied = records.applied();
        let membership = membership_at(&map, records.purged.as_ref(), applied.map(|p| p.index));
        let term = records.vote.map_or(0, |vote| vote.leader_id.term);
        // A replica that led before it ended leads no more.
        let restored = Defect::LeaderRestore.is_active();
        let leader = records
            .vote
            .filter(|vote| vote.committed && (restored || vote.leader_id.voted_for != me));
        let leader = leader.map(|vote| vote.leader_id.voted_for);
        let here = leader == Some(me);
        let told = Leadership { epoch: epoch_of(term), leader, here };
        let flushed = partition.inspect(|log, _| log.flushed()).unwrap_or(Offset::ZERO);
        let noted = (MonoTime::default(), records.synced);
        let log = Arc::new(Self {
            id,
            me,
            partition,
            journal,
            clock,
            map: Mutex::new(map),
            flushes: Mutex::new(Flushes { flushed, noted, ..Flushes::default() }),
            role: Mutex::new(Role { vote: records.vote, leads: here.then_some(term), told }),
            applied: Mutex::new(Applied { last: applied, membership, bytes: 0 }),
            listeners: Mutex::default(),
            telling: Mutex::default(),
            snapshot_target: Mutex::new(None),
            built: Mutex::new(None),
            suspect: records.suspect,
            left: records.left,
            recordless: Mutex::default(),
            failure: Mutex::new(None),
            incoming: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        });
        let events: Weak<dyn GroupLogEvents> = Arc::downgrade(&log) as _;
        let committed = applied.map_or(Offset::ZERO, |point| point.end);
        log.partition.join_group(events, committed, Some(epoch_of(term)));
        log.partition.set_leader(told.leader.map(|leader| leader.node), Some(told.epoch));
        log
    }

    pub(super) fn now(&self) -> Now {
        (self.clock)()
    }

    pub(crate) fn with_map<T>(&self, look: impl FnOnce(&EntryMap) -> T) -> T {
        look(&self.map.lock())
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.role.lock().vote
    }

    pub(super) fn leadership(&self) -> Leadership {
        self.role.lock().told
    }

    /// What the leader sent came at `at`, and was taken.
    pub(super) fn note_heard(&self, at: MonoTime) {
        let micros = u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX).max(1);
        self.heard.fetch_max(micros, Ordering::Relaxed);
    }

    /// When the leader was last heard.
    pub(super) fn heard(&self) -> Option<MonoTime> {
        match self.heard.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(MonoTime::from_start(Duration::from_micros(micros))),
        }
    }

    pub(super) fn listen(&self, listener: LeadershipListener) {
        let _turn = self.telling.lock();
        self.listeners.lock().push(Arc::clone(&listener));
        listener(self.id, self.leadership());
    }

    /// Makes a vote durable, and all entries before it. Whoever waits on this replica as another
    /// term's leader is told first.
    pub(super) async fn save_vote(self: &Arc<Self>, vote: &Vote) -> io::Result<()> {
        let leader = vote.committed.then_some(vote.leader_id.voted_for);
        let changed = {
            let mut role = self.role.lock();
            let mine = vote.leader_id.voted_for == self.me;
            if !mine || role.leads != Some(vote.leader_id.term) {
                role.leads = None;
            }
            let here = role.leads.is_some() && role.told.here;
            let told = Leadership { epoch: epoch_of(vote.leader_id.term), leader, here };
            std::mem::replace(&mut role.told, told) != told
        };
        if changed {
            self.tell();
        }
        let place = self.journal.write(&[Record::Vote(self.id, *vote)])?;
        if Defect::VoteOvertakes.is_active() {
            self.journal.durable(place).await?;
        } else if !Defect::VoteNotSynced.is_active() {
            // openraft has one mark for what is flushed, ordered by votes first: once it has this vote,
            // it answers for every entry before it.
            let (sender, saved) = TypeConfig::oneshot();
            self.complete_when_durable(place, Offset::ZERO, IOFlushed::signal(sender));
            saved.await.map_err(io::Error::other)??;
        }
        self.role.lock().vote = Some(*vote);
        Ok(())
    }

    /// An entry of `term` is appended: if this replica voted for itself in that term, it leads.
    fn note_appended(&self, term: u64) {
        {
            let mut role = self.role.lock();
            let elected = role.vote.is_some_and(|vote| {
                vote.leader_id.term == term && vote.leader_id.voted_for == self.me
            });
            if !elected || role.leads == Some(term) {
                return;
            }
            role.leads = Some(term);
            role.told = Leadership { epoch: epoch_of(term), leader: Some(self.me), here: false };
        }
        self.partition.begin_epoch(epoch_of(term));
        self.tell();
    }

    /// An entry of `term` is committed here.
    pub(super) fn note_applied(&self, term: u64) {
        {
            let mut role = self.role.lock();
            if role.leads != Some(term) || role.told.here {
                return;
            }
            role.told.here = true;
        }
        self.tell();
    }

    /// Why the instance ended by itself, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Ends the instance where a batch was found damaged; what Raft asks next is refused.
    pub(super) fn check_sound(&self) -> io::Result<()> {
        match &*self.failure.lock() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(reason.clone())),
        }
    }

    /// Raft is given this error and ends: nobody here leads any more.
    pub(super) fn note_failure(&self, reason: &str) {
        {
            let mut failure = self.failure.lock();
            if failure.is_some() {
                return;
            }
            *failure = Some(reason.to_owned());
        }
        tracing::error!(group = %self.id, reason, "the replica stops");
        self.note_stopped();
    }

    /// The error that Raft is given instead of a result, after [`Self::note_failure`].
    pub(super) fn fatal(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> io::Error {
        let error = io::Error::other(error);
        self.note_failure(&error.to_string());
        error
    }

    /// The instance is gone: whatever waits here waits for nothing.
    pub(super) fn note_stopped(&self) {
        {
            let mut role = self.role.lock();
            role.leads = None;
            role.told = Leadership { leader: None, here: false, ..role.told };
        }
        self.tell();
    }

    /// Tells everyone who leads. Whoever noted it is not always the first to come here: each tells what
    /// holds by then, so that the last word is the newest.
    fn tell(&self) {
        let _turn = self.telling.lock();
        let told = self.leadership();
        let leader = told.leader.map(|leader| leader.node);
        self.partition.set_leader(leader, Some(told.epoch));
        let listeners = self.listeners.lock().clone();
        listeners.iter().for_each(|listener| listener(self.id, told));
    }

    /// Appends entries in order; `callback` is told once they and all before them are durable.
    pub(super) async fn append(
        self: &Arc<Self>,
        entries: impl Iterator<Item = Entry>,
        callback: IOFlushed<TypeConfig>,
    ) -> io::Result<()> {
        let mut place = Place::default();
        for entry in entries {
            let term = entry.term.term;
            self.check_next(&entry)?;
            self.note_appended(term);
            match entry.payload {
                Payload::Batch(Batch::Received(bytes)) => {
                    self.durable_before_batch().await?;
                    self.append_received(term, &bytes)?;
                }
                Payload::Batch(Batch::Proposed(turn)) => {
                    self.durable_before_batch().await?;
                    if let Standing::Recordless = self.append_proposed(term, &turn)? {
                        place = self.append_recordless(term, RecordlessKind::Blank)?;
                    }
                }
                Payload::Batch(Batch::LogStart(offset)) => {
                    place = self.append_recordless(term, RecordlessKind::LogStart(offset))?;
                }
                Payload::Blank => place = self.append_recordless(term, RecordlessKind::Blank)?,
                Payload::Membership(members) => {
                    place = self.append_recordless(term, RecordlessKind::Membership(members))?;
                }
                Payload::Batch(Batch::Stored { .. }) => {
                    return Err(io::Error::other("an entry of another log cannot be appended"));
                }
            }
        }
        let relaxed = self.partition.flushes_are_free() || Defect::AckBeforeSync.is_active();
        let offset = if relaxed { Offset::ZERO } else { self.map.lock().end() };
        self.complete_when_durable(place, offset, callback);
        if relaxed {
            self.partition.flush_closed();
        }
        Ok(())
    }

    /// What stands in the journal before a batch has to be durable before it.
    async fn durable_before_batch(&self) -> io::Result<()> {
        if Defect::RecordlessNotSynced.is_active() {
            return Ok(());
        }
        let place = *self.recordless.lock();
        self.journal.durable(place).await
    }

    fn check_next(&self, entry: &Entry) -> io::Result<()> {
        #[cfg(test)]
        self.map.lock().start_at(entry.index);
        let map = self.map.lock();
        if entry.index == map.next() {
            return Ok(());
        }
        let (index, next) = (entry.index, map.next());
        Err(io::Error::other(format!("entry {index} does not follow; the log goes on at {next}")))
    }

    fn append_received(&self, term: u64, bytes: &bytes::Bytes) -> io::Result<()> {
        let header = super::check_batch(bytes, term)?;
        if let Err(error) = self.partition.append_received(bytes, self.now()) {
            if let PartitionError::Append(AppendError::OffsetMismatch { .. }) = &error {
                // The leader knows where the log ends: what says otherwise here is rot.
                self.damaged(header.base_offset);
            }
            return Err(io::Error::other(error));
        }
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.map.lock().push_batch(term, header.base_offset, header.next_offset(), size);
        Ok(())
    }

    /// Appends what a producer gave, or says that the entry remains without records.
    fn append_proposed(&self, term: u64, turn: &Turn) -> io::Result<Standing> {
        let proposal = &turn.proposal;
        match self.partition.append_proposed(proposal, epoch_of(term)) {
            Ok(Ok(info)) if !info.duplicate => {
                let bytes = ottla_protocol::records::HEADER + proposal.batch.payload.len();
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                let end = info.last_offset.next();
                self.map.lock().push_batch(term, info.first_offset, end, bytes);
                Ok(Standing::Batch)
            }
            Ok(Ok(_)) => Ok(Standing::Recordless),
            Ok(Err(refusal)) => {
                proposal.submission.refused(refusal);
                Ok(Standing::Recordless)
            }
            Err(error) => {
                let text = error.to_string();
                proposal.submission.refused(error);
                Err(io::Error::other(text))
            }
        }
    }

    fn append_recordless(&self, term: u64, kind: RecordlessKind) -> io::Result<Place> {
        let (index, follows) = {
            let map = self.map.lock();
            (map.next(), map.end())
        };
        let entry = Recordless { term, follows, kind: kind.clone() };
        let place = self.journal.write(&[Record::Recordless(self.id, index, entry)])?;
        *self.recordless.lock() = place;
        self.map.lock().push_recordless(term, kind);
        Ok(place)
    }

    fn complete_when_durable(
        self: &Arc<Self>,
        place: Place,
        offset: Offset,
        callback: IOFlushed<TypeConfig>,
    ) {
        let behind = {
            let mut flushes = self.flushes.lock();
            // Nothing overtakes what came before it.
            let offset = flushes.pending.back().map_or(offset, |before| before.offset.max(offset));
            flushes.pending.push_back(PendingIo { offset, place, callback });
            offset > flushes.flushed
        };
        self.settle();
        if place > Place::default() {
            let log = Arc::downgrade(self);
            self.journal.when_durable(place, move |_| {
                if let Some(log) = log.upgrade() {
                    log.settle();
                }
            });
        }
        // Whatever it is that is not flushed: nobody else may have asked.
        if behind {
            self.partition.request_flush();
        }
    }

    /// Tells Raft of what is durable by now.
    fn settle(&self) {
        let mut ready = Vec::new();
        {
            let mut flushes = self.flushes.lock();
            loop {
                let flushed = flushes.flushed;
                let Some(front) = flushes.pending.front() else { break };
                let journal = self.journal.durable_now(front.place);
                let result = match journal {
                    _ if flushes.failed => Err(io::Error::other("the log could not be flushed")),
                    Some(Err(error)) => Err(error),
                    Some(Ok(())) if front.offset <= flushed => Ok(()),
                    _ => break,
                };
                let Some(done) = flushes.pending.pop_front() else { break };
                ready.push((done.callback, result));
            }
        }
        if let Some(error) = ready.iter().find_map(|(_, result)| result.as_ref().err()) {
            // Raft ends with it.
            self.note_failure(&error.to_string());
        }
        for (callback, result) in ready {
            callback.io_completed(result);
        }
    }

    /// Notes now and then how far the log is durable: after a crash, damage below is told from what was
    /// never promised.
    fn note_synced(&self) {
        let now = self.now().mono;
        {
            let flushes = self.flushes.lock();
            let (at, offset) = flushes.noted;
            // The first time at once: a folder that is lost later must not pass for a new one.
            let early = offset > Offset::ZERO && now.since(at) < SYNCED_EVERY;
            if flushes.flushed <= offset || early {
                return;
            }
        }
        // Written under the log's lock: a truncation comes before the look, or has its own word behind.
        let noted = self.partition.inspect(|log, _| {
            let point = log.recovery_point();
            (point, self.journal.write_lazily(&[Record::Synced(self.id, point)]))
        });
        let Ok((point, written)) = noted else { return };
        self.flushes.lock().noted = (now, point);
        match written {
            Ok(_) => self.journal.request_flush(),
            Err(error) => {
                tracing::debug!(group = %self.id, %error, "the recovery point is not noted");
            }
        }
    }

    /// Whether this replica remembers all that it ever acknowledged.
    pub(super) fn may_vote(&self) -> bool {
        let last = self.map.lock().last();
        let later = |term| last.is_some_and(|last| last.term > term);
        let all_of = |left: Point| {
            last.is_some_and(|last| {
                last.term == left.term && last.index >= left.index && last.end >= left.end
            })
        };
        self.suspect.is_none_or(later)
            && self.left.is_none_or(|left| later(left.term) || all_of(left))
    }

    /// Removes the entries from `first` on. Durable on return.
    pub(super) async fn truncate(&self, first: u64) -> io::Result<()> {
        let offset = {
            let map = self.map.lock();
            match map.slot(first) {
                Some(slot) => slot.base,
                None => return Ok(()),
            }
        };
        self.role.lock().leads = None;
        self.map.lock().truncate(first);
        // The log before the journal: recordless entries that are left over then still follow what
        // is left of the log, or lie beyond its end and are dropped.
        self.partition.cut(offset, self.now()).map_err(io::Error::other)?;
        // Of what was known to be durable the rest still is: rot there must not pass for a torn end.
        let noted = self.journal.group(self.id).map_or(Offset::ZERO, |records| records.synced);
        let synced = Record::Synced(self.id, noted.min(offset));
        self.journal.commit(&[Record::Truncate(self.id, first), synced]).await?;
        {
            let mut flushes = self.flushes.lock();
            flushes.flushed = flushes.flushed.min(offset);
            flushes.noted.1 = flushes.noted.1.min(offset);
            flushes.pending.iter_mut().for_each(|io| io.offset = io.offset.min(offset));
            let flushed = self.partition.inspect(|log, _| log.flushed());
            flushes.flushed = flushes.flushed.max(flushed.unwrap_or(Offset::ZERO));
        }
        self.settle();
        Ok(())
    }

    /// Forgets the entries up to and including `index`. Durable on return.
    pub(super) async fn purge(&self, upto: &LogId) -> io::Result<()> {
        let purged = self.map.lock().purged();
        if purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        let known = self.map.lock().point(upto.index);
        let point = match known {
            Some(point) => point,
            // They come with a snapshot, whose installation notes it: until then nothing is known of
            // offsets, and a crash leaves the log as it was.
            None if self.applied.lock().last.is_none_or(|last| last.index < upto.index) => {
                let end = purged.map_or(Offset::ZERO, |purged| purged.end);
                let point = Point { index: upto.index, term: upto.leader_id.term, end };
                self.map.lock().purge(point);
                return Ok(());
            }
            // A hole before the entries to come, as openraft makes it where the state machine is ahead.
            None => {
                let end = self.map.lock().end();
                Point { index: upto.index, term: upto.leader_id.term, end }
            }
        };
        let members = self.membership_at(point.index);
        self.journal.commit(&[Record::Purge(self.id, point, members)]).await?;
        self.map.lock().purge(point);
        // What retention waited for.
        if let Err(error) = self.partition.apply_retention(self.now()) {
            tracing::error!(group = %self.id, %error, "retention failed");
        }
        Ok(())
    }

    /// The log was exchanged for one that is durable up to `end`.
    pub(super) fn replace_map(&self, map: EntryMap, end: Offset) {
        *self.map.lock() = map;
        let mut flushes = self.flushes.lock();
        flushes.flushed = end;
        flushes.noted.1 = end;
        flushes.pending.iter_mut().for_each(|io| io.offset = io.offset.min(end));
        drop(flushes);
        self.settle();
    }

    /// How many snapshots began to come in before.
    pub(super) fn count_incoming(&self) -> u64 {
        self.incoming.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes down that records below `offset` are deleted. It stands in the journal before any record
    /// by which a start does not apply that again.
    pub(super) fn note_log_start(&self, offset: Offset) -> io::Result<()> {
        if offset > Offset::ZERO {
            self.journal.write_lazily(&[Record::LogStart(self.id, offset)])?;
        }
        Ok(())
    }

    /// Notes how far was applied, so that a start need not begin from the purge point.
    pub(super) fn note_progress(&self, applied: &mut Applied, bytes: u64) {
        applied.bytes += bytes;
        if applied.bytes >= ANCHOR_BYTES {
            self.anchor(applied);
        }
    }

    /// Writes the applied point down; it becomes durable whenever the journal is flushed next.
    pub(super) fn anchor(&self, applied: &mut Applied) {
        let Some(point) = applied.last else { return };
        applied.bytes = 0;
        if let Err(error) = self.journal.write_lazily(&[Record::Anchor(self.id, point)]) {
            tracing::warn!(group = %self.id, %error, "the applied point is not noted");
        }
    }

    /// The newest membership at or before `index`.
    pub(super) fn membership_at(&self, index: u64) -> StoredMembership {
        let before = self.journal.group(self.id).and_then(|records| records.purged);
        membership_at(&self.map.lock(), before.as_ref(), Some(index))
    }
}

/// Where an entry that was proposed stands.
enum Standing {
    Batch,
    Recordless,
}

impl GroupLogEvents for GroupLog {
    fn flushed(&self, flushed: Offset) {
        {
            let mut flushes = self.flushes.lock();
            flushes.flushed = flushes.flushed.max(flushed);
        }
        self.settle();
        self.note_synced();
    }

    fn awaits_flush(&self) -> bool {
        let flushes = self.flushes.lock();
        flushes.pending.back().is_some_and(|last| last.offset > flushes.flushed)
    }

    fn purged(&self) -> Offset {
        self.map.lock().purged().map_or(Offset::ZERO, |point| point.end)
    }

    fn damaged(&self, base: Offset) {
        if self.failure().is_some() {
            return;
        }
        if let Err(error) = self.journal.write(&[Record::Verify(self.id)]) {
            tracing::error!(group = %self.id, %error, "the damage is not noted");
        }
        self.note_failure(&format!("the batch at offset {base} is damaged"));
    }

    fn failed(&self) {
        self.note_failure("the log could not be flushed");
        self.flushes.lock().failed = true;
        self.settle();
    }
}

/// A term as Kafka's leader epoch.
pub(super) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(term).unwrap_or(i32::MAX))
}

/// The newest membership at or before `index`.
fn membership_at(
    map: &EntryMap,
    purged: Option<&(Point, StoredMembership)>,
    index: Option<u64>,
) -> StoredMembership {
    let Some(index) = index else { return StoredMembership::default() };
    let found = map.recordless_upto(index).find_map(|(index, kind)| match kind {
        RecordlessKind::Membership(members) => {
            Some(StoredMembership::new(map.log_id(index), members.clone()))
        }
        RecordlessKind::Blank | RecordlessKind::LogStart(_) => None,
    });
    found.or_else(|| purged.map(|(_, members)| members.clone())).unwrap_or_default()
}

impl Drop for GroupLog {
    fn drop(&mut self) {
        self.anchor(&mut self.applied.lock());
    }
}
