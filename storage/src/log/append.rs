//! Appending: as the leader, who assigns offsets, and as a follower, who takes them.
//!
//! Owns: the checks, the one vectored write, and what is updated after it. Never: validates
//! records (`ottla_protocol::records::validate` did), or syncs.
//! Invariant: after an error nothing was appended, and the file ends where the last batch ends.

use std::io::{self, IoSlice};

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, Now, Offset, Timestamp};
use ottla_protocol::records::{
    Batch, BatchError, BatchHeader, ControlRecord, ControlType, HEADER, TimestampType,
    ValidatedBatch,
};

use super::{LogHealth, PartitionLog};
use crate::error::{AppendError, LogError};
use crate::producer_state::{
    AppendOrigin, EndMarker, RecentBatch, Staged, StagedBatch, TxnOutcome, Verdict,
};
use crate::segment::scan::FrameFault;
use crate::settings::CleanupPolicy;
use crate::tail_cache::Appended;

/// A validated batch to append.
#[derive(Clone, Debug)]
pub struct LeaderBatch {
    /// As it is to be stored, but for base offset and leader epoch.
    pub header: BatchHeader,
    pub payload: Bytes,
}

impl From<ValidatedBatch> for LeaderBatch {
    fn from(batch: ValidatedBatch) -> Self {
        Self { header: batch.header, payload: batch.payload }
    }
}

/// What a leader appends in one go: all of it or nothing.
#[derive(Clone, Debug)]
pub struct LeaderAppend<'a> {
    pub batches: &'a [LeaderBatch],
    pub origin: AppendOrigin,
    /// How many bytes of memory a slice of a payload keeps alive: the request frame's length.
    pub frame_bytes: usize,
}

/// Where the batches are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// The time the broker gave the records, or -1 where they keep their own. For a duplicate: the
    /// batch's largest timestamp, as Kafka answers.
    pub log_append_time: Timestamp,
    /// The producer's batch was in the log already; the offsets are where.
    pub duplicate: bool,
    pub log_start: Offset,
}

/// One batch as it goes to the file.
struct Placed {
    header: BatchHeader,
    head: [u8; HEADER],
    payload: Bytes,
}

impl PartitionLog {
    /// Appends validated batches at the log's end, in `epoch`.
    ///
    /// # Errors
    ///
    /// Nothing was appended. Producer rules (KIP-98), sizes, a fenced epoch, a full disk
    /// (retriable), or a log that cannot be written.
    pub fn append_as_leader(
        &mut self,
        append: &LeaderAppend<'_>,
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        self.writable()?;
        if let Some(latest) = self.epochs.latest().filter(|latest| epoch < *latest) {
            return Err(AppendError::FencedEpoch { epoch, latest });
        }
        let mut placed = Vec::with_capacity(append.batches.len());
        let mut next = self.log_end;
        for batch in append.batches {
            self.check_size(batch)?;
            let head = batch.header.assign(next, epoch);
            let header = BatchHeader { base_offset: next, leader_epoch: epoch, ..batch.header };
            next = header.next_offset();
            placed.push(Placed { header, head, payload: batch.payload.clone() });
        }
        let staged = match self.stage(&placed, append.origin)? {
            Ok(staged) => staged,
            Err(duplicate) => return Ok(self.answer_duplicate(&duplicate)),
        };
        let info = AppendInfo {
            first_offset: self.log_end,
            last_offset: next.plus(-1),
            log_append_time: append_time(&placed),
            duplicate: false,
            log_start: self.log_start,
        };
        if !placed.is_empty() {
            self.check_fits(&placed)?;
            self.write(&placed, staged, append.frame_bytes, now)?;
        }
        Ok(info)
    }

    /// Appends batches whose offsets and epochs another replica has assigned. Offsets must go on
    /// where the log ends; gaps within are refused unless the topic is compacted. What is given in one go
    /// stands in one segment, however large.
    ///
    /// # Errors
    ///
    /// Nothing was appended: the bytes are no whole batches with good CRCs, do not continue the
    /// log, or cannot be written.
    pub fn append_as_follower(
        &mut self,
        batches: &Bytes,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        self.writable()?;
        let mut placed = Vec::new();
        let mut next = self.log_end;
        let mut position = 0;
        while position < batches.len() {
            let (one, after) = self.take_batch(batches, position, next)?;
            next = one.header.next_offset();
            position = after;
            placed.push(one);
        }
        let info = AppendInfo {
            first_offset: placed.first().map_or(self.log_end, |one| one.header.base_offset),
            last_offset: next.plus(-1),
            log_append_time: append_time(&placed),
            duplicate: false,
            log_start: self.log_start,
        };
        if !placed.is_empty() {
            // The origin makes a duplicate impossible.
            let staged = self.stage(&placed, AppendOrigin::Replication)?.unwrap_or_default();
            self.write(&placed, staged, batches.len(), now)?;
        }
        Ok(info)
    }

    fn take_batch(
        &self,
        batches: &Bytes,
        position: usize,
        next: Offset,
    ) -> Result<(Placed, usize), AppendError> {
        let rest = batches.get(position..).unwrap_or_default();
        let malformed = |fault| AppendError::Malformed { position: position as u64, fault };
        let batch = Batch::parse(rest).map_err(|error| malformed(error.into()))?;
        batch.check_crc().map_err(|error| malformed(error.into()))?;
        let header = *batch.header();
        if header.last_offset_delta < 0 {
            return Err(malformed(FrameFault::OffsetDelta(header.last_offset_delta)));
        }
        let gap = header.base_offset > next && !self.settings.cleanup.compacts();
        if header.base_offset < next || gap {
            return Err(AppendError::OffsetMismatch { first: header.base_offset, end: next });
        }
        let head = header.encode();
        let end = position + header.size();
        Ok((Placed { header, head, payload: batches.slice(position + HEADER..end) }, end))
    }

    fn check_size(&self, batch: &LeaderBatch) -> Result<(), AppendError> {
        let bytes = HEADER + batch.payload.len();
        if batch.header.size() != bytes || batch.header.last_offset_delta < 0 {
            let available = bytes;
            let needed = batch.header.size();
            let fault = FrameFault::Header(BatchError::Truncated { needed, available });
            return Err(AppendError::Malformed { position: 0, fault });
        }
        let max = self.settings.max_message_bytes;
        if bytes > max as usize {
            return Err(AppendError::BatchTooLarge { bytes, max });
        }
        Ok(())
    }

    /// What a client gives fits into a segment, as Kafka's `UnifiedLog.append` wants it. What a leader has
    /// is taken: its segments may have been larger.
    fn check_fits(&self, placed: &[Placed]) -> Result<(), AppendError> {
        let (bytes, max) = (bytes_of(placed), self.settings.segment_bytes);
        if bytes > u64::from(max) {
            return Err(AppendError::AppendTooLarge { bytes, max });
        }
        Ok(())
    }

    /// Checks producers; `Err` inside is a duplicate.
    fn stage(
        &self,
        placed: &[Placed],
        origin: AppendOrigin,
    ) -> Result<Result<Staged, RecentBatch>, AppendError> {
        let mut staged = Staged::default();
        for one in placed {
            if !one.header.has_producer_id() {
                continue;
            }
            let batch = StagedBatch {
                header: &one.header,
                first_offset: one.header.base_offset,
                marker: marker_of(&one.header, &one.payload),
            };
            match self.producers.stage(&mut staged, batch, origin)? {
                Verdict::Append => {}
                Verdict::Duplicate(known) => return Ok(Err(known)),
            }
        }
        Ok(Ok(staged))
    }

    fn answer_duplicate(&self, known: &RecentBatch) -> AppendInfo {
        AppendInfo {
            first_offset: known.first_offset(),
            last_offset: known.last_offset,
            log_append_time: known.timestamp,
            duplicate: true,
            log_start: self.log_start,
        }
    }

    /// Writes what was placed and takes it into account.
    fn write(
        &mut self,
        placed: &[Placed],
        staged: Staged,
        frame_bytes: usize,
        now: Now,
    ) -> Result<(), AppendError> {
        self.roll_for(placed.iter().map(|one| &one.header), bytes_of(placed), now)?;
        let headers: Vec<BatchHeader> = placed.iter().map(|one| one.header).collect();
        let mut parts = Vec::with_capacity(placed.len() * 2);
        for one in placed {
            parts.push(IoSlice::new(&one.head));
            parts.push(IoSlice::new(&one.payload));
        }
        self.write_parts(&headers, &parts)?;
        for one in placed {
            self.tail.push(&Appended {
                header: &one.header,
                head: &one.head,
                payload: &one.payload,
                pinned: frame_bytes.max(HEADER + one.payload.len()),
            });
            let (epoch, start) = (one.header.leader_epoch, one.header.base_offset);
            if self.epochs.latest() != Some(epoch) {
                self.change_epochs(start, |epochs| epochs.assign(epoch, start));
            }
        }
        let end = headers[headers.len() - 1].next_offset();
        self.log_end = end;
        self.commit_producers(staged, end);
        self.check_step();
        Ok(())
    }

    fn write_parts(
        &mut self,
        headers: &[BatchHeader],
        parts: &[IoSlice<'_>],
    ) -> Result<(), AppendError> {
        let interval = self.settings.index_interval_bytes;
        let folder = self.folder.clone();
        let Err(error) = self.active_mut().append(&folder, headers, parts, interval) else {
            return Ok(());
        };
        // What was written of the batches must not stay: the next append begins here.
        if let Err(undo) = self.active().undo(&folder) {
            self.go_offline(format!("a failed write could not be undone: {error}; {undo}"));
        } else if !is_full(&error) {
            self.go_offline(format!("a write failed: {error}"));
        } else {
            return Err(AppendError::DiskFull(error));
        }
        Err(LogError::io("append to", &self.active().log_path(&folder))(error).into())
    }

    fn commit_producers(&mut self, staged: Staged, end: Offset) {
        for (txn, last_stable) in self.producers.commit(staged, end) {
            if txn.outcome == TxnOutcome::Aborted {
                let folder = self.folder.clone();
                self.active_mut().push_aborted(&folder, &txn, last_stable);
            }
        }
    }

    /// Whether the topic's batches may leave gaps between offsets.
    pub(super) fn gaps(&self) -> crate::segment::scan::Gaps {
        match self.settings.cleanup {
            CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete => {
                crate::segment::scan::Gaps::Allowed
            }
            CleanupPolicy::Delete | CleanupPolicy::Nothing => crate::segment::scan::Gaps::Refused,
        }
    }

    /// Whether appending is possible.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.health == LogHealth::Healthy
    }
}

/// What a control batch ends; `None` where it ends nothing.
pub(super) fn marker_of(header: &BatchHeader, payload: &[u8]) -> Option<EndMarker> {
    if !header.attributes.is_control() {
        return None;
    }
    let record = ottla_protocol::records::RecordIter::new(header, payload).next()?.ok()?;
    match ControlRecord::decode(record.key, record.value) {
        Ok(ControlRecord::EndTxn(marker)) => Some(EndMarker {
            outcome: match marker.kind {
                ControlType::Commit => TxnOutcome::Committed,
                _ => TxnOutcome::Aborted,
            },
            coordinator_epoch: marker.coordinator_epoch,
            timestamp: record.timestamp,
        }),
        _ => None,
    }
}

fn bytes_of(placed: &[Placed]) -> u64 {
    placed.iter().map(|one| one.header.size() as u64).sum()
}

fn append_time(placed: &[Placed]) -> Timestamp {
    placed
        .last()
        .filter(|one| one.header.attributes.timestamp_type() == TimestampType::LogAppendTime)
        .map_or(Timestamp::NONE, |one| one.header.max_timestamp)
}

/// Whether there was no room: the disk's own, or a quota's.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
