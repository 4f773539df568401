//! Questions about a log that need more than its offsets: times, epochs, transactions.
//!
//! Owns: what ListOffsets, OffsetForLeaderEpoch and read-committed fetches ask. Never: appends.

use std::ops::ControlFlow;

use ottla_protocol::model::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::{Batch, BatchHeader};

use super::PartitionLog;
use super::append::marker_of;
use crate::error::LogError;
use crate::index::AbortedTxn;
use crate::producer_state::snapshot::Expiry;
use crate::producer_state::{ProducerState, StagedBatch, TxnOutcome};
use crate::segment::scan::{Frame, ScanError, read_frame, verify_crc};
use crate::segment::{Segment, Trust};

/// What ListOffsets answers for a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampedOffset {
    pub offset: Offset,
    pub timestamp: Timestamp,
    /// Of the batch the record is in.
    pub leader_epoch: LeaderEpoch,
}

/// A batch that expands beyond this is not looked into for a timestamp.
const EXPANDED_MAX: usize = 256 << 20;

impl PartitionLog {
    /// The first record at or after the log start whose timestamp is `timestamp` or later.
    ///
    /// # Errors
    ///
    /// The files are damaged or unreadable.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        for segment in &self.segments[self.segment_index(self.log_start)..] {
            // Gaps of compaction, or a batch cut off by the log start, may hide the found batch's
            // records: then the next batch answers.
            let mut from = self.log_start;
            while let Some(frame) = segment.locate_time(&self.folder, timestamp, from)? {
                let found = self.find_record(segment, &frame, |record_time, offset| {
                    record_time >= timestamp && offset >= self.log_start
                })?;
                if found.is_some() {
                    return Ok(found);
                }
                from = frame.header.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all (ListOffsets -3, KIP-734).
    ///
    /// # Errors
    ///
    /// The files are damaged or unreadable.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        let mut best: Option<(usize, Timestamp)> = None;
        for index in self.segment_index(self.log_start)..self.segments.len() {
            let max = self.segments[index].max_timestamp(&self.folder)?;
            if max.timestamp > best.map_or(Timestamp::NONE, |(_, timestamp)| timestamp) {
                best = Some((index, max.timestamp));
            }
        }
        let Some((index, timestamp)) = best else { return Ok(None) };
        let segment = &self.segments[index];
        match segment.locate_time(&self.folder, timestamp, self.log_start)? {
            Some(frame) => {
                self.find_record(segment, &frame, |record_time, _| record_time >= timestamp)
            }
            None => Ok(None),
        }
    }

    fn find_record(
        &self,
        segment: &Segment,
        frame: &Frame,
        wanted: impl Fn(Timestamp, Offset) -> bool,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        let read = segment.io("read", &self.folder);
        let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
        let bytes = read_frame(&*file, frame).map_err(read)?;
        let leader_epoch = frame.header.leader_epoch;
        let records = Batch::parse(&bytes).ok().and_then(|b| b.records(EXPANDED_MAX).ok());
        let Some(records) = records else {
            // Records that cannot be read cannot be told apart: the batch answers as a whole.
            let offset = frame.header.base_offset.max(self.log_start);
            let timestamp = frame.header.max_timestamp;
            return Ok(Some(TimestampedOffset { offset, timestamp, leader_epoch }));
        };
        let found = records.iter().map_while(Result::ok).find(|r| wanted(r.timestamp, r.offset));
        Ok(found.map(|record| TimestampedOffset {
            offset: record.offset,
            timestamp: record.timestamp,
            leader_epoch,
        }))
    }

    /// The end of `epoch` in this log, as OffsetForLeaderEpoch answers it (KIP-101, KIP-279).
    #[must_use]
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset(epoch, self.log_end)
    }

    /// Notes that a leader of `epoch` begins at `start`, before it appends anything.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.change_epochs(start, |epochs| epochs.assign(epoch, start));
    }

    /// The aborted transactions that a read-committed reader of `from..upto` has to skip.
    ///
    /// # Errors
    ///
    /// The files are damaged or unreadable.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        for index in self.segment_index(from)..self.segments.len() {
            self.trust_transactions(index)?;
            let segment = &self.segments[index];
            let indexes = segment.indexes();
            if indexes.transactions.len() == 0 {
                continue;
            }
            let read = |source| segment.io("read the transaction index of", &self.folder)(source);
            let first = indexes
                .transactions
                .partition_point(&self.folder, |txn| txn.last_offset < from)
                .map_err(read)?;
            for txn in indexes.transactions.tail(&self.folder, first).map_err(read)? {
                if txn.first_offset < upto {
                    found.push(txn);
                }
                if txn.last_stable >= upto {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Checks a segment's transaction index, and rebuilds it where it is in doubt.
    pub(super) fn trust_transactions(&self, index: usize) -> Result<(), LogError> {
        let segment = &self.segments[index];
        {
            let mut indexes = segment.indexes();
            indexes
                .check(&self.folder)
                .map_err(segment.io("check the indexes of", &self.folder))?;
            if indexes.transaction_trust == Trust::Trusted {
                return Ok(());
            }
        }
        let aborted = self.aborted_in(index)?;
        let mut indexes = segment.indexes();
        let rebuild = segment.io("rebuild the transaction index of", &self.folder);
        if indexes.transactions.len() > 0 {
            indexes.transactions.cut(&self.folder, 0).map_err(rebuild)?;
        }
        for txn in aborted {
            if let Err(error) = indexes.transactions.push(&self.folder, txn) {
                tracing::debug!(%error, "rebuilt transaction index entries wait to be written");
            }
        }
        indexes.transaction_trust = Trust::Trusted;
        Ok(())
    }

    /// The aborted transactions whose markers a segment has, found by reading its headers and,
    /// where it has markers at all, by replaying producers up to it.
    fn aborted_in(&self, index: usize) -> Result<Vec<AbortedTxn>, LogError> {
        let segment = &self.segments[index];
        let mut has_marker = false;
        self.walk(index, segment.base(), |frame, _| {
            has_marker |= frame.header.attributes.is_control();
            Ok(())
        })?;
        let mut aborted = Vec::new();
        if has_marker {
            let mut state = self.producers_at(segment.base(), index)?;
            self.replay(index, segment.base(), &mut state, |txn| aborted.push(txn))?;
        }
        Ok(aborted)
    }

    /// Producer state as of `offset`, where segment `index` begins: from the newest snapshot before
    /// it and the batches since.
    pub(super) fn producers_at(
        &self,
        offset: Offset,
        index: usize,
    ) -> Result<ProducerState, LogError> {
        let (mut state, at, _) = self.load_snapshot(offset, Expiry::Never)?;
        for before in self.segment_index(at)..index {
            let from = at.max(self.segments[before].base());
            self.replay(before, from, &mut state, |_| {})?;
        }
        state.set_end(offset);
        Ok(state)
    }

    /// Takes the batches of a segment from `from` on into `state`; `on_abort` hears of aborts.
    pub(super) fn replay(
        &self,
        index: usize,
        from: Offset,
        state: &mut ProducerState,
        on_abort: impl FnMut(AbortedTxn),
    ) -> Result<(), LogError> {
        self.replay_while(index, from, state, |_| true, on_abort)
    }

    fn replay_while(
        &self,
        index: usize,
        from: Offset,
        state: &mut ProducerState,
        within: impl Fn(&BatchHeader) -> bool,
        mut on_abort: impl FnMut(AbortedTxn),
    ) -> Result<(), LogError> {
        self.walk(index, from, |frame, file| {
            let header = &frame.header;
            if !header.has_producer_id() || !within(header) {
                return Ok(());
            }
            let marker = if header.attributes.is_control() {
                let bytes = read_frame(file, frame)?;
                marker_of(header, bytes.get(ottla_protocol::records::HEADER..).unwrap_or_default())
            } else {
                None
            };
            for (txn, last_stable) in
                state.replay(StagedBatch { header, first_offset: header.base_offset, marker })
            {
                if txn.outcome == TxnOutcome::Aborted {
                    on_abort(AbortedTxn {
                        producer_id: txn.producer_id,
                        first_offset: txn.first_offset,
                        last_offset: txn.last_offset,
                        last_stable,
                    });
                }
            }
            Ok(())
        })
    }

    /// As [`Self::replay`], of the batches below `bound`.
    pub(super) fn replay_below(
        &self,
        index: usize,
        from: Offset,
        bound: Offset,
        state: &mut ProducerState,
    ) -> Result<(), LogError> {
        self.replay_while(index, from, state, |header| header.base_offset < bound, |_| {})
    }

    /// Shows the header of every batch from the one that contains `from` on, up to the log's end or
    /// until `see` says stop.
    ///
    /// # Errors
    ///
    /// The files are damaged or unreadable.
    pub fn headers(
        &self,
        from: Offset,
        mut see: impl FnMut(&BatchHeader) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let mut stopped = false;
        for index in self.segment_index(from)..self.segments.len() {
            let segment = &self.segments[index];
            let path = segment.log_path(&self.folder);
            let Some(first) = segment.locate(&self.folder, from)? else { continue };
            let mut scan =
                segment.scan(&self.folder, first.position).map_err(LogError::io("read", &path))?;
            while !stopped {
                let expected = scan.expected();
                let next =
                    scan.advance().map_err(|error| LogError::scan(error, path.clone(), expected));
                let Some(frame) = next? else { break };
                stopped = see(&frame.header).is_break();
            }
        }
        Ok(())
    }

    /// Reads every batch from `from` on, and answers where the first one that is not as it was written
    /// begins.
    ///
    /// # Errors
    ///
    /// The files cannot be read.
    pub fn first_damage(&self, from: Offset) -> Result<Option<Offset>, LogError> {
        let mut bad = None;
        let mut at = from;
        for index in self.segment_index(from)..self.segments.len() {
            let walked =
                self.walk(
                    index,
                    at.max(self.segments[index].base()),
                    |frame, file| match verify_crc(file, frame) {
                        Ok(()) => {
                            at = frame.header.next_offset();
                            Ok(())
                        }
                        Err(ScanError::Fault { .. }) => {
                            bad = Some(frame.header.base_offset);
                            Err(std::io::ErrorKind::InvalidData.into())
                        }
                        Err(ScanError::Io(error)) => Err(error),
                    },
                );
            match walked {
                Ok(()) => {}
                Err(_) if bad.is_some() => return Ok(bad),
                Err(LogError::Damaged(damage)) => return Ok(Some(damage.from)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Shows every batch of a segment that ends at or after `from`.
    pub(super) fn walk(
        &self,
        index: usize,
        from: Offset,
        mut see: impl FnMut(&Frame, &dyn crate::fs::File) -> std::io::Result<()>,
    ) -> Result<(), LogError> {
        let segment = &self.segments[index];
        let path = segment.log_path(&self.folder);
        let Some(first) = segment.locate(&self.folder, from)? else { return Ok(()) };
        let file = segment.file(&self.folder).map_err(LogError::io("open", &path))?;
        let mut scan =
            segment.scan(&self.folder, first.position).map_err(LogError::io("read", &path))?;
        loop {
            let expected = scan.expected();
            let next =
                scan.advance().map_err(|error| LogError::scan(error, path.clone(), expected));
            let Some(frame) = next? else { return Ok(()) };
            see(&frame, &*file).map_err(LogError::io("read", &path))?;
        }
    }
}
