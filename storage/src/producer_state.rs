//! What a log remembers of its idempotent and transactional producers (Kafka's
//! `ProducerStateManager`, KIP-98, KIP-360).
//!
//! Owns: the last five batches per producer, sequence and epoch rules, open transactions, expiry.
//! Never: I/O (the snapshot's bytes are in [`snapshot`]), or the transaction index.
//! Invariant: it follows from the batches of the log in order, so replaying them gives it again.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{BatchHeader, NO_SEQUENCE, decrement_sequence};
use thiserror::Error;

use crate::known_bugs::KnownBug;

pub mod snapshot;
mod stage;

pub use stage::Staged;

/// How many batches of one producer can be recognised when they come again (KIP-98).
pub const RECENT_BATCHES: usize = 5;

/// Who appends; it decides which rules hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOrigin {
    /// A produce request: epochs and sequences are checked.
    Client,
    /// A group or transaction coordinator of this broker: epochs are checked, sequences are not.
    Coordinator,
    /// Another replica's log, or this log at start: it was decided elsewhere and is taken as is.
    Replication,
}

/// One batch that a producer appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecentBatch {
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Last offset minus first.
    pub offset_delta: i32,
    pub timestamp: Timestamp,
}

impl RecentBatch {
    #[must_use]
    pub const fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    #[must_use]
    pub const fn first_offset(&self) -> Offset {
        self.last_offset.plus(-(self.offset_delta as i64))
    }
}

/// What is known of one producer id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// The coordinator epoch of the last marker, -1 before the first.
    pub coordinator_epoch: i32,
    pub last_timestamp: Timestamp,
    /// Where the open transaction began.
    pub txn_first: Option<Offset>,
    batches: [Option<RecentBatch>; RECENT_BATCHES],
}

impl ProducerEntry {
    const UNKNOWN: Self = Self {
        epoch: ProducerEpoch::NONE,
        coordinator_epoch: -1,
        last_timestamp: Timestamp::NONE,
        txn_first: None,
        batches: [None; RECENT_BATCHES],
    };

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> impl DoubleEndedIterator<Item = &RecentBatch> {
        self.batches.iter().flatten()
    }

    #[must_use]
    pub fn last_batch(&self) -> Option<&RecentBatch> {
        self.batches().next_back()
    }

    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = [None; RECENT_BATCHES];
        }
    }

    fn remember(&mut self, batch: RecentBatch) {
        if self.batches[RECENT_BATCHES - 1].is_some() {
            self.batches.rotate_left(1);
            self.batches[RECENT_BATCHES - 1] = Some(batch);
        } else if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        }
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<RecentBatch> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches()
            .find(|batch| batch.first_sequence() == first && batch.last_sequence == last)
            .copied()
    }
}

/// A transaction whose marker is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The marker's offset.
    pub last_offset: Offset,
    pub outcome: TxnOutcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnOutcome {
    Committed,
    Aborted,
}

/// The end of a transaction as a control batch says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndMarker {
    pub outcome: TxnOutcome,
    pub coordinator_epoch: i32,
    pub timestamp: Timestamp,
}

/// Why a producer's batch is refused. Each maps to one error code of Kafka.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProducerError {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER` (45), also for duplicates older than five batches.
    #[error(
        "producer {producer_id} sent sequence {sequence} after {expected_after}: a batch before it \
         was lost or the batch is an old duplicate"
    )]
    OutOfOrderSequence { producer_id: ProducerId, sequence: i32, expected_after: i32 },
    /// `INVALID_PRODUCER_EPOCH` (47).
    #[error(
        "producer {producer_id} has epoch {epoch} and this partition has seen {current}: a newer \
         instance has taken over"
    )]
    InvalidEpoch { producer_id: ProducerId, epoch: ProducerEpoch, current: ProducerEpoch },
    /// `TRANSACTION_COORDINATOR_FENCED` (52).
    #[error(
        "a marker for producer {producer_id} has coordinator epoch {epoch} and {current} was seen"
    )]
    CoordinatorFenced { producer_id: ProducerId, epoch: i32, current: i32 },
    /// `INVALID_TXN_STATE` (48).
    #[error("producer {producer_id} wrote outside its open transaction")]
    NotTransactional { producer_id: ProducerId },
}

/// The producers of one log, as of `end`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by where they began.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Completed ones whose marker may still lie at or above the high watermark, by first offset.
    undecided: BTreeMap<Offset, CompletedTxn>,
    end: Offset,
}

impl ProducerState {
    #[must_use]
    pub fn starting_at(end: Offset) -> Self {
        Self { end, ..Self::default() }
    }

    /// The offset up to which the log was taken into account.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// Says that the log goes on to `end`, with nothing in it for this state.
    pub fn set_end(&mut self, end: Offset) {
        self.end = end;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&id)
    }

    /// Checks one batch that is to stand at `offset` and stages what it changes.
    /// Nothing is changed before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// The batch breaks a rule; the staged changes are to be dropped.
    pub fn stage(
        &self,
        staged: &mut Staged,
        batch: StagedBatch<'_>,
        origin: AppendOrigin,
    ) -> Result<Verdict, ProducerError> {
        let header = batch.header;
        if !header.has_producer_id() {
            return Ok(Verdict::Append);
        }
        let known = self.producers.get(&header.producer_id);
        if KnownBug::NoDedup.is_back() {
            let known = known.unwrap_or(&ProducerEntry::UNKNOWN);
            staged.append(known, batch, AppendOrigin::Replication)?;
            return Ok(Verdict::Append);
        }
        if origin == AppendOrigin::Client
            && !header.attributes.is_control()
            && let Some(duplicate) = known.and_then(|entry| entry.find_duplicate(header))
        {
            return Ok(Verdict::Duplicate(duplicate));
        }
        staged.append(known.unwrap_or(&ProducerEntry::UNKNOWN), batch, origin)?;
        Ok(Verdict::Append)
    }

    /// Takes one batch that is in the log into account, as it is. Answers what it completed.
    pub fn replay(&mut self, batch: StagedBatch<'_>) -> Vec<(CompletedTxn, Offset)> {
        let mut staged = Staged::default();
        let end = batch.last_offset().next();
        // What was appended is taken as is: of this origin nothing is refused.
        match self.stage(&mut staged, batch, AppendOrigin::Replication) {
            Ok(_) => self.commit(staged, end),
            Err(_) => Vec::new(),
        }
    }

    /// Takes over what was staged, once the batches are in the log, which now ends at `end`.
    /// Answers the transactions that were completed and, for each, the last stable offset after it.
    pub fn commit(&mut self, staged: Staged, end: Offset) -> Vec<(CompletedTxn, Offset)> {
        let Staged { producers, started, completed } = staged;
        for (id, entry) in producers {
            self.producers.insert(id, entry);
        }
        for (first, id) in started {
            self.ongoing.insert(first, id);
        }
        self.end = end;
        completed.into_iter().map(|txn| (txn, self.complete(txn))).collect()
    }

    fn complete(&mut self, txn: CompletedTxn) -> Offset {
        self.ongoing.remove(&txn.first_offset);
        self.undecided.insert(txn.first_offset, txn);
        // As Kafka: of *open* transactions only; those complete but not replicated do not count.
        self.ongoing.keys().next().copied().unwrap_or_else(|| txn.last_offset.next())
    }

    /// The first offset that a read-committed reader may not see yet, at most `high_watermark`.
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        let open = self.ongoing.keys().next().copied();
        let undecided = self
            .undecided
            .values()
            .find(|txn| txn.last_offset >= high_watermark)
            .map(|txn| txn.first_offset);
        [open, undecided].into_iter().flatten().fold(high_watermark, Offset::min)
    }

    /// Forgets completed transactions whose marker lies below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.undecided.is_empty() {
            self.undecided.retain(|_, txn| txn.last_offset >= high_watermark);
        }
    }

    /// The log now begins at `start`.
    pub fn on_log_start(&mut self, start: Offset) {
        self.undecided.retain(|_, txn| txn.last_offset >= start);
        self.end = self.end.max(start);
    }

    /// Forgets producers that wrote nothing for `expiration` and have no open transaction.
    pub fn expire(&mut self, now: Timestamp, expiration: Duration) {
        self.producers.retain(|_, entry| !is_expired(entry, now, expiration));
    }

    /// When the oldest open transaction wrote last.
    #[must_use]
    pub fn oldest_open_transaction(&self) -> Option<(ProducerId, Offset)> {
        self.ongoing.iter().next().map(|(first, id)| (*id, *first))
    }

    fn load(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first {
            self.ongoing.insert(first, id);
        }
        self.producers.insert(id, entry);
    }
}

fn is_expired(entry: &ProducerEntry, now: Timestamp, expiration: Duration) -> bool {
    let limit = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
    entry.txn_first.is_none() && now.millis_since(entry.last_timestamp) >= limit
}

/// A batch to be staged.
#[derive(Clone, Copy, Debug)]
pub struct StagedBatch<'a> {
    pub header: &'a BatchHeader,
    /// Where it will stand; the header's own base offset may be the producer's.
    pub first_offset: Offset,
    /// For a control batch: what it ends. `None` where the cleaner emptied it, or it is not about
    /// a transaction.
    pub marker: Option<EndMarker>,
}

impl StagedBatch<'_> {
    fn last_offset(&self) -> Offset {
        self.first_offset.plus(i64::from(self.header.last_offset_delta))
    }
}

/// Whether a batch is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Append,
    /// It is in the log already; the answer is where.
    Duplicate(RecentBatch),
}
