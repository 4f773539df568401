//! Compaction of this log, the parts that need its lock: what can be cleaned, and swapping the new
//! segments in.
//!
//! Owns: the order of the swap. Never: reads or writes records, which `cleaner` does unlocked.
//!
//! # The swap
//!
//! ```text
//!   .cleaned synced ─> (seal) ─> .swap, synced ─> old .deleted, synced ─> live ─> (seal)
//!   crash before: the old segments          crash behind: opening finishes the swap
//! ```
//!
//! A seal that tells of more bytes than the file has would pass for damage; one that tells of fewer
//! is only not believed. So where the new segment is the smaller one its seal goes first, and last
//! where it is the larger one (several became one, or tombstones got their horizon).

use std::collections::BTreeMap;

use ottla_protocol::model::{Now, Offset, Timestamp};

use super::PartitionLog;
use super::retention::Doomed;
use crate::cleaner::range::{CleanableRange, CompactionSettings, RangeInput, SegmentAge};
use crate::cleaner::{CleanError, CleanPlan, CleanedGroup, LastRecord, SourceSegment};
use crate::error::LogError;
use crate::file_name::{FileKind, FileStage, SegmentFileName};
use crate::segment::{FileLengths, Segment};

/// When a cleaned segment's seal is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SealOrder {
    First,
    Last,
}

/// Why a swap was not begun.
#[derive(Debug)]
enum Unprepared {
    /// Everything is as it was once the new files are gone.
    Unwritten(std::io::Error),
    /// What is on the disk is unknown, as after every failed sync.
    Unsynced(std::io::Error),
}

impl PartitionLog {
    /// What of this log can be cleaned, with the cleaner checkpoint's offset and the last stable
    /// offset. Cheap unless a compaction lag is set: then timestamps are looked up.
    ///
    /// Only what is flushed: a record that a power cut may take must not have superseded one that
    /// was acknowledged. What lies below the log start counts as clean: before it is cleaned the
    /// log start is to be on the disk, or a power cut may bring back half of it. Where
    /// [`closed_needs_flush`](Self::closed_needs_flush) there may be more once it is.
    ///
    /// # Errors
    ///
    /// Segments cannot be read, or the log is damaged or offline.
    pub fn cleanable(
        &self,
        cleaned_up_to: Option<Offset>,
        last_stable: Offset,
        settings: &CompactionSettings,
        now: Timestamp,
    ) -> Result<CleanableRange, LogError> {
        self.writable()?;
        let closed: Vec<SegmentAge> = self
            .closed()
            .map(|segment| {
                let first_timestamp = match settings.lag_max {
                    Some(_) => segment.first_timestamp(&self.folder)?,
                    None => None,
                };
                let max_timestamp = match settings.lag_min.is_zero() {
                    true => None,
                    false => Some(segment.max_timestamp(&self.folder)?.timestamp),
                };
                let (base, bytes) = (segment.base(), segment.size());
                Ok(SegmentAge { base, bytes, first_timestamp, max_timestamp })
            })
            .collect::<Result<_, LogError>>()?;
        let input = RangeInput {
            log_start: self.log_start,
            log_end: self.log_end,
            last_stable: last_stable.min(self.flushed()),
            active_base: self.active().base(),
            cleaned_up_to,
            closed: &closed,
            now,
        };
        Ok(CleanableRange::of(input, settings))
    }

    /// Everything that a cleaning of this range needs, so that it can go on without the log.
    ///
    /// # Errors
    ///
    /// Segments cannot be opened, or the log is damaged or offline.
    pub fn clean_plan(
        &self,
        range: &CleanableRange,
        settings: &CompactionSettings,
    ) -> Result<CleanPlan, LogError> {
        self.writable()?;
        let mut segments = Vec::new();
        for (index, segment) in self.closed().enumerate() {
            let nothing = range.first_uncleanable <= range.first_dirty;
            if nothing || segment.base() >= range.first_uncleanable {
                break;
            }
            let log = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
            let indexes = segment.indexes();
            segments.push(SourceSegment {
                base: segment.base(),
                next_base: self.segment_end(index),
                log,
                log_bytes: segment.size(),
                offset_index_bytes: indexes.offsets.bytes(),
                time_index_bytes: indexes.times.bytes(),
            });
        }
        let first = segments.first().map_or(self.log_start, |segment| segment.base);
        let end = segments.last().map_or(first, |segment| segment.next_base);
        let producers: BTreeMap<_, _> = self
            .producers
            .iter()
            .map(|(id, entry)| {
                let last_data_offset = entry.last_batch().map(|batch| batch.last_offset);
                (id, LastRecord { last_data_offset, epoch: entry.epoch })
            })
            .collect();
        Ok(CleanPlan {
            fs: std::sync::Arc::clone(&self.folder.fs),
            dir: self.folder.dir.to_path_buf(),
            segments,
            truncations: self.truncations,
            first_dirty: range.first_dirty,
            first_uncleanable: range.first_uncleanable,
            aborted: self.aborted_transactions(first, end)?,
            producers,
            delete_retention_millis: i64::try_from(settings.delete_retention.as_millis())
                .unwrap_or(i64::MAX),
            segment_bytes: self.settings.segment_bytes.into(),
            index_bytes_max: self.settings.index_bytes_max.into(),
            index_interval_bytes: self.settings.index_interval_bytes,
        })
    }

    /// Puts a cleaned segment in the place of those it was made from. Readers of those finish on
    /// them; their files go after `file.delete.delay.ms`.
    ///
    /// # Errors
    ///
    /// `Changed` when the log's segments are not those any more, or it was truncated anywhere (as
    /// Kafka aborts a cleaning then): the group is discarded. `Io`: the
    /// log is as it was, or offline where that is not known.
    pub fn swap_in(&mut self, group: CleanedGroup, now: Now) -> Result<(), CleanError> {
        let base = group.base();
        let Some(first) = self.place_of(&group) else {
            group.discard(&*self.folder.fs);
            return Err(CleanError::Changed);
        };
        let count = group.replaced.len();
        // What is left says less about producers than what was there.
        if let Err(error) = self.keep_producers_at(first + count) {
            let source = match error {
                LogError::Io { source, .. } => source,
                error => std::io::Error::other(error.to_string()),
            };
            group.discard(&*self.folder.fs);
            return Err(CleanError::Io { base, source });
        }
        let shrinks = group.seal.log_bytes < self.segments[first].size();
        let order = if shrinks { SealOrder::First } else { SealOrder::Last };
        match self.prepare_swap(&group, order) {
            Ok(()) => {}
            Err(Unprepared::Unwritten(source)) if self.undo_swap(&group) => {
                return Err(CleanError::Io { base, source });
            }
            Err(Unprepared::Unwritten(source) | Unprepared::Unsynced(source)) => {
                self.go_offline(format!("swapping in a cleaned segment failed: {source}"));
                return Err(CleanError::Io { base, source });
            }
        }
        if let Err(source) = self.exchange_files(&group, first, now) {
            // Opening finishes what the folder says; in memory it cannot be told half done.
            self.go_offline(format!("swapping in a cleaned segment failed: {source}"));
            return Err(CleanError::Io { base, source });
        }
        let lengths = lengths_of(&group);
        let fresh = Segment::load(&self.folder, base, lengths, Some(group.seal), now.wall);
        for mut old in self.segments.splice(first..first + count, [fresh]) {
            old.forget_handles(&self.folder);
        }
        if order == SealOrder::Last {
            // Without it the indexes are rebuilt when they are first used after a restart.
            match self.seals.append(&self.folder, &crate::seal::encode(&group.seal)) {
                Ok(file) => self.durability.file(file),
                Err(error) => tracing::warn!(%error, "a cleaned segment stays unsealed"),
            }
        }
        // A reader sees the same whether it reads memory or files.
        self.tail.clear();
        let dir = self.folder.dir.to_path_buf();
        self.durability.dir(dir);
        self.check_step();
        Ok(())
    }

    /// All but the active segment.
    fn closed(&self) -> impl Iterator<Item = &Segment> {
        self.segments[..self.segments.len() - 1].iter()
    }

    /// Where the segments that a group replaces stand, if they are as they were.
    fn place_of(&self, group: &CleanedGroup) -> Option<usize> {
        self.writable().ok()?;
        if group.truncations != self.truncations {
            // What superseded the records that are gone from it may have been cut.
            return None;
        }
        let first = self.closed().position(|segment| segment.base() == group.base())?;
        let same = self
            .closed()
            .skip(first)
            .map(|segment| (segment.base(), segment.size()))
            .take(group.replaced.len())
            .eq(group.replaced.iter().copied());
        same.then_some(first)
    }

    /// From here on a crash ends with the new segment.
    fn prepare_swap(&mut self, group: &CleanedGroup, order: SealOrder) -> Result<(), Unprepared> {
        if order == SealOrder::First {
            let record = crate::seal::encode(&group.seal);
            let file = self.seals.append(&self.folder, &record).map_err(Unprepared::Unwritten)?;
            file.sync_data().map_err(Unprepared::Unsynced)?;
        }
        for kind in &group.kinds {
            self.rename(group.base(), *kind, FileStage::Cleaned, FileStage::Swap)
                .map_err(Unprepared::Unwritten)?;
        }
        self.folder.fs.sync_dir(&self.folder.dir).map_err(Unprepared::Unsynced)
    }

    /// Takes back what `prepare_swap` did; false when that is not known to have worked.
    fn undo_swap(&self, group: &CleanedGroup) -> bool {
        let removed = group.kinds.iter().all(|kind| {
            [FileStage::Swap, FileStage::Cleaned].into_iter().all(|stage| {
                let name = SegmentFileName { base: group.base(), kind: *kind, stage };
                self.folder.remove(&self.folder.path(name)).is_ok()
            })
        });
        removed && self.folder.fs.sync_dir(&self.folder.dir).is_ok()
    }

    fn exchange_files(
        &mut self,
        group: &CleanedGroup,
        first: usize,
        now: Now,
    ) -> std::io::Result<()> {
        let mut doomed = Doomed::new(now.mono.plus(self.settings.file_delete_delay));
        for index in first..first + group.replaced.len() {
            let base = self.segments[index].base();
            for kind in [
                FileKind::Log,
                FileKind::OffsetIndex,
                FileKind::TimeIndex,
                FileKind::TransactionIndex,
            ] {
                match self.rename(base, kind, FileStage::Live, FileStage::Deleted) {
                    Ok(path) => doomed.add(path),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // An old segment that comes back beside the finished new one would be one too many; beside
        // a `.swap` it is removed again.
        self.folder.fs.sync_dir(&self.folder.dir)?;
        // Indexes first: a log whose name is final has its indexes.
        for kind in group.kinds.iter().rev() {
            self.rename(group.base(), *kind, FileStage::Swap, FileStage::Live)?;
        }
        self.doomed.push(doomed);
        Ok(())
    }

    fn rename(
        &self,
        base: Offset,
        kind: FileKind,
        from: FileStage,
        to: FileStage,
    ) -> std::io::Result<std::path::PathBuf> {
        let name = |stage| self.folder.path(SegmentFileName { base, kind, stage });
        let to = name(to);
        self.folder.fs.rename(&name(from), &to)?;
        Ok(to)
    }
}

fn lengths_of(group: &CleanedGroup) -> FileLengths {
    let seal = &group.seal;
    let transactions = u64::from(seal.transaction_index.entries) * 34;
    FileLengths {
        log: Some(seal.log_bytes),
        offset_index: Some(u64::from(seal.offset_index.entries) * 8),
        time_index: Some(u64::from(seal.time_index.entries) * 12),
        transaction_index: (transactions > 0).then_some(transactions),
    }
}
