//! A partition whose commit rule is a Raft group.
//!
//! Owns: what the group does to the log and the marks, under the partition's lock. Never: decides what
//! is committed, or speaks with Raft.
//!
//! Invariant: nothing below the high watermark is ever truncated.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_config::topic::Durability;
use ottla_protocol::model::{LeaderEpoch, NodeId, Now, Offset};
use ottla_protocol::records::{Batch, HEADER};
use ottla_storage::{
    AppendError, AppendInfo, DeletedSegment, LeaderAppend, LogError, LogSlice, MinOneBatch,
};
use parking_lot::MutexGuard;

use super::submission::{Submission, Until};
use super::{Partition, PartitionError, Serving, State, SubmittedBatch, Woken};
use crate::raft::defects::Defect;
use crate::raft::{Group, GroupLog, Proposal};
use crate::wait::Countdown;

/// What a group hears from its partition.
pub(crate) trait GroupLogEvents: Send + Sync {
    /// Everything below is durable.
    fn flushed(&self, flushed: Offset);
    /// Somebody waits for more of the log to be durable.
    fn awaits_flush(&self) -> bool;
    /// A flush failed: nothing more becomes durable in this process.
    fn failed(&self);
    /// A batch in this range was read and is not as it was written.
    fn damaged(&self, base: Offset);
    /// The end of the last entry that is purged.
    fn purged(&self) -> Offset;
}

/// Who decides what is committed.
#[derive(Clone)]
pub(super) enum Rule {
    /// One replica: what is flushed is committed.
    Solo,
    Group(std::sync::Weak<dyn GroupLogEvents>),
}

impl Rule {
    /// Of a group that does not run.
    pub(super) fn nobody() -> Self {
        Self::Group(std::sync::Weak::<GroupLog>::new())
    }
}

/// Why a group may not cut the log there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    #[error("the log of {name} would be cut at {at}, below its high watermark {high_watermark}")]
    Committed { name: String, at: Offset, high_watermark: Offset },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Partition {
    /// From now on the group decides. The high watermark is what the replica knows to be committed.
    pub(crate) fn join_group(
        &self,
        events: std::sync::Weak<dyn GroupLogEvents>,
        committed: Offset,
        epoch: Option<LeaderEpoch>,
    ) {
        let mut state = self.state.lock();
        state.rule = Rule::Group(events);
        state.leader = None;
        state.epoch = epoch.or_else(|| state.log.latest_epoch()).unwrap_or(state.epoch);
        let committed = committed.max(state.log.log_start()).min(state.log.log_end());
        state.high_watermark = committed;
        self.high_watermark.store(committed.get(), Ordering::Release);
    }

    /// Ends the time of a single replica: from now on nobody leads until a group runs.
    pub(crate) fn suspend(&self) {
        self.state.lock().rule = Rule::nobody();
        self.set_leader(None, None);
    }

    pub(crate) fn set_group(&self, group: &Arc<Group>) {
        *self.group.write() = Some(Arc::downgrade(group));
    }

    /// The group has ended: nobody leads, and nobody may append.
    pub(crate) fn leave_group(&self) {
        *self.group.write() = None;
        self.set_leader(None, None);
    }

    /// The group of this partition, unless it has one replica.
    #[must_use]
    pub fn group(&self) -> Option<Arc<Group>> {
        self.group.read().as_ref()?.upgrade()
    }

    /// Who leads now, as far as this replica knows. Producers that wait here for another are told.
    pub(crate) fn set_leader(&self, leader: Option<NodeId>, epoch: Option<LeaderEpoch>) {
        let mut state = self.state.lock();
        state.leader = leader;
        state.epoch = epoch.unwrap_or(state.epoch);
        let mut woken = Woken::default();
        if leader != Some(self.node) {
            woken.lost = state.submissions.drain(..).map(|(_, submission)| submission).collect();
            woken.acks = state.acks.drain(..).map(|(_, wait)| wait).collect();
            woken.watches = std::mem::take(&mut state.watches).into_values().collect();
        }
        drop(state);
        woken.tell();
    }

    /// Appends what was proposed, as the leader of `epoch`. Refusals that leave the log as it was are
    /// in the inner result; the outer one is an unusable log.
    pub(crate) fn append_proposed(
        &self,
        proposal: &Proposal,
        epoch: LeaderEpoch,
    ) -> Result<Result<AppendInfo, PartitionError>, PartitionError> {
        self.append_under(self.state.lock(), proposal, epoch)
    }

    /// The same for whoever holds the lock.
    pub(super) fn append_under(
        &self,
        mut state: MutexGuard<'_, State>,
        proposal: &Proposal,
        epoch: LeaderEpoch,
    ) -> Result<Result<AppendInfo, PartitionError>, PartitionError> {
        if proposal.epoch.is_some_and(|wanted| wanted != epoch) {
            return Ok(Err(PartitionError::NotLeader(self.name.clone())));
        }
        self.check_writable(&state)?;
        let append = LeaderAppend {
            batches: std::slice::from_ref(&proposal.batch),
            origin: match Defect::NoDedup.is_active() {
                true => ottla_storage::AppendOrigin::Replication,
                false => proposal.origin,
            },
            frame_bytes: proposal.frame_bytes,
        };
        let info = match state.log.append_as_leader(&append, epoch, proposal.now) {
            Ok(info) => info,
            Err(error @ AppendError::Log(_)) => return Err(self.failed(state, error.into())),
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        self.log_end.store(state.log.log_end().get(), Ordering::Release);
        if !info.duplicate {
            state.bytes_appended += (HEADER + proposal.batch.payload.len()) as u64;
        }
        // Appended before it can be committed: the high watermark moves under this lock.
        proposal.submission.appended(info);
        if proposal.submission.until() == Until::Committed {
            let at = info.last_offset.next();
            if at <= state.high_watermark {
                drop(state);
                proposal.submission.committed();
            } else {
                let place = state.submissions.partition_point(|(offset, _)| *offset <= at);
                state.submissions.insert(place, (at, Arc::clone(&proposal.submission)));
            }
        }
        Ok(Ok(info))
    }

    /// Appends a batch as the leader has it.
    pub(crate) fn append_received(&self, batch: &Bytes, now: Now) -> Result<(), PartitionError> {
        let mut state = self.state.lock();
        self.check_writable(&state)?;
        if let Err(error) = state.log.append_as_follower(batch, now) {
            return Err(self.failed(state, error.into()));
        }
        state.bytes_appended += batch.len() as u64;
        self.log_end.store(state.log.log_end().get(), Ordering::Release);
        Ok(())
    }

    /// Whether an append counts as durable at once.
    pub(crate) fn flushes_are_free(&self) -> bool {
        self.flush_is_free || self.state.lock().durability == Durability::PageCache
    }

    /// Asks for a flush of closed segments that wait for one, where appends ask for none. As Kafka after
    /// each roll: else a kill would have recovery read the whole log, and every closed file stay open.
    pub(crate) fn flush_closed(&self) {
        let state = self.state.lock();
        let wanted = !self.flush_is_free && state.log.closed_needs_flush();
        let flush = wanted.then(|| state.flush_request());
        drop(state);
        if let Some(flush) = flush {
            flush.send();
        }
    }

    /// A leader of `epoch` begins at the log's end.
    pub(crate) fn begin_epoch(&self, epoch: LeaderEpoch) {
        let mut state = self.state.lock();
        if state.log.latest_epoch() < Some(epoch) {
            let end = state.log.log_end();
            state.log.assign_epoch(epoch, end);
        }
    }

    /// Removes what lies at or behind `offset`. Durable on return.
    pub(crate) fn cut(&self, offset: Offset, now: Now) -> Result<(), CutError> {
        let mut state = self.state.lock();
        if offset < state.high_watermark {
            return Err(CutError::Committed {
                name: self.name.to_string(),
                at: offset,
                high_watermark: state.high_watermark,
            });
        }
        if let Err(error) = state.log.truncate_to(offset, now) {
            self.after(state, &error);
            return Err(error.into());
        }
        self.log_end.store(state.log.log_end().get(), Ordering::Release);
        Ok(())
    }

    /// Makes a damaged log whole again by cutting it at `offset`, before a group runs on it.
    pub(crate) fn cut_damage(&self, offset: Offset, now: Now) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let end = match state.log.truncate_to(offset, now) {
            Ok(end) => end,
            Err(error) => {
                self.after(state, &error);
                return Err(error);
            }
        };
        self.log_end.store(end.get(), Ordering::Release);
        state.high_watermark = state.high_watermark.min(end).max(state.log.log_start());
        self.high_watermark.store(state.high_watermark.get(), Ordering::Release);
        Ok(())
    }

    /// What retention and compaction may touch: below it no follower is sent entries.
    #[must_use]
    pub fn settled(&self) -> Offset {
        let state = self.state.lock();
        match &state.rule {
            Rule::Solo => state.high_watermark,
            Rule::Group(events) => {
                let purged = events.upgrade().map_or(Offset::ZERO, |events| events.purged());
                purged.min(state.high_watermark)
            }
        }
    }

    /// Lets go of what retention says. A group has to let go of the entries first: the segments follow
    /// when it has.
    ///
    /// # Errors
    /// The log's; or the partition is deleted.
    pub fn apply_retention(&self, now: Now) -> Result<Vec<DeletedSegment>, PartitionError> {
        let settled = self.settled();
        let (deleted, wanted) = self.maintain(|log, marks| {
            let deleted = log.delete_old_segments(now, settled)?;
            Ok::<_, LogError>((deleted, log.retention_end(now, marks.high_watermark)?))
        })??;
        if wanted > settled
            && let Some(group) = self.group()
        {
            group.settle(wanted);
        }
        Ok(deleted)
    }

    /// Lets a group let go of the entries in the closed segments of a compacted topic, which can then be
    /// compacted. They follow when it has.
    pub(crate) fn settle_closed(&self) {
        let Some(group) = self.group() else { return };
        let wanted = self.inspect(|log, marks| {
            let closed = log.segments().last().map_or(Offset::ZERO, |(active, _)| active);
            (log.settings().cleanup.compacts() && closed <= marks.high_watermark.min(log.flushed()))
                .then_some(closed)
        });
        if let Ok(Some(wanted)) = wanted
            && wanted > self.settled()
        {
            group.settle_when_passed(wanted);
        }
    }

    /// Empties the log, which goes on at `start`, of which everything below is committed elsewhere.
    pub(crate) fn restart_log(&self, start: Offset, now: Now) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if let Err(error) = state.log.truncate_fully_and_start_at(start, now) {
            self.after(state, &error);
            return Err(error);
        }
        self.log_end.store(start.get(), Ordering::Release);
        state.high_watermark = start;
        state.log.on_high_watermark(start);
        self.high_watermark.store(start.get(), Ordering::Release);
        Ok(())
    }

    /// Moves the high watermark: `bytes` more are committed.
    pub(crate) fn commit(&self, to: Offset, bytes: u64) {
        let mut state = self.state.lock();
        let to = to.min(state.log.log_end());
        let total = state.bytes_committed + bytes;
        let woken = self.advance(&mut state, to, total);
        drop(state);
        woken.tell();
    }

    /// Records below `offset` are deleted, because the group said so.
    pub(crate) fn trim(&self, offset: Offset) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let offset = offset.min(state.high_watermark);
        if offset > state.log.log_start() && state.serving == Serving::Yes {
            let advanced = state.log.advance_log_start(offset).map_err(|error| match error {
                ottla_storage::ReadError::Log(error) => error,
                other @ ottla_storage::ReadError::OutOfRange { .. } => LogError::Io {
                    action: "advance the start of",
                    path: state.log.dir().to_path_buf(),
                    source: io::Error::other(other.to_string()),
                },
            });
            if let Err(error) = advanced {
                self.after(state, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The batches of `base..end` as they stand in the log, in order: the parts of what a follower
    /// gets. Whoever asked by an entry compares the batches' leader epoch with the entry's term: the
    /// log may have been cut and written anew since.
    ///
    /// # Errors
    /// The range is not, or no longer, there as whole batches.
    pub fn batches(&self, base: Offset, end: Offset) -> io::Result<Vec<Bytes>> {
        let read = {
            let state = self.state.lock();
            // A new leader sends from before the log's start, too, until it knows what a follower has.
            let read = state.log.read_stored(base, u32::MAX, end, MinOneBatch::Yes);
            read.map_err(|error| {
                let text = error.to_string();
                self.failed(state, error.into());
                io::Error::other(text)
            })?
        };
        if read.first_offset != base || read.next_offset != end {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} has no batches {base}..{end} any more", self.name),
            ));
        }
        read.slices.iter().map(|slice| self.checked(slice, base)).collect()
    }

    /// The bytes of a slice. What comes from the disk is checked, lest rot travels, or stops a group
    /// whose followers refuse it.
    fn checked(&self, slice: &LogSlice, base: Offset) -> io::Result<Bytes> {
        let bytes = slice.to_bytes().inspect_err(|error| {
            let home = self.state.lock().home.clone();
            home.unreadable(error);
        })?;
        if matches!(slice, LogSlice::Memory(_)) {
            return Ok(bytes);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let batch = Batch::parse(rest).ok().filter(|batch| batch.check_crc().is_ok());
            let Some(batch) = batch else {
                let rule = self.state.lock().rule.clone();
                if let Rule::Group(events) = rule
                    && let Some(events) = events.upgrade()
                {
                    events.damaged(base);
                }
                let text = format!("{} is damaged at or after offset {base}", self.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            rest = rest.get(batch.header().size()..).unwrap_or_default();
        }
        Ok(bytes)
    }

    /// One batch in one piece, as [`Self::batches`].
    ///
    /// # Errors
    /// As [`Self::batches`].
    pub fn batch_bytes(&self, base: Offset, end: Offset) -> io::Result<Bytes> {
        let mut parts = self.batches(base, end)?;
        if let [one] = parts.as_mut_slice() {
            return Ok(std::mem::take(one));
        }
        let mut whole = Vec::with_capacity(parts.iter().map(Bytes::len).sum());
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        Ok(whole.into())
    }

    /// Whether this node leads, and has led without a break since `epoch` began.
    #[must_use]
    pub fn leads_in(&self, epoch: LeaderEpoch) -> bool {
        let state = self.state.lock();
        state.leader == Some(self.node) && state.epoch == epoch
    }

    /// As [`Self::submit`] until it is committed, for what follows from everything that was in the log
    /// in `epoch`: it is refused where another epoch has begun by the time of its turn.
    #[must_use]
    pub fn submit_in(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        batch: SubmittedBatch,
        now: Now,
        wait: &Arc<Countdown>,
    ) -> Arc<Submission> {
        let submission = Submission::new(Until::Committed, Some(wait));
        self.give(batch, now, &submission, Some(epoch));
        submission
    }

    pub(super) fn give(
        self: &Arc<Self>,
        batch: SubmittedBatch,
        now: Now,
        submission: &Arc<Submission>,
        epoch: Option<LeaderEpoch>,
    ) {
        let SubmittedBatch { batch, origin, frame_bytes } = batch;
        let submission = Arc::clone(submission);
        let proposal = Arc::new(Proposal { batch, origin, frame_bytes, now, epoch, submission });
        if self.group.read().is_some() {
            self.propose(proposal);
        } else {
            self.submit_alone(&proposal);
        }
    }

    pub(super) fn propose(&self, proposal: Arc<Proposal>) {
        match self.group() {
            Some(group) => group.propose(proposal),
            None => proposal.submission.not_leader(),
        }
    }

    pub(super) fn lose(submissions: Vec<Arc<Submission>>) {
        submissions.iter().for_each(|submission| submission.lost());
    }
}
