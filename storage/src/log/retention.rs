//! Rolling to a new segment, and letting old ones go.
//!
//! Owns: Kafka's conditions for both (`LogSegment.shouldRoll`, `UnifiedLog.deleteOldSegments`).
//! Never: a timer; a driver calls.
//! Both go by the records' own time where they have one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, Now, Offset, Timestamp};
use ottla_protocol::records::BatchHeader;

use super::PartitionLog;
use super::append::is_full;
use crate::error::{AppendError, LogError};
use crate::file_name::{FileKind, FileStage, SegmentFileName};
use crate::index::offset::relative;
use crate::segment::Segment;

/// Why a segment was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeletionReason {
    /// All its records lie below the log start.
    LogStart,
    /// `retention.bytes`
    Size,
    /// `retention.ms`
    Age,
}

/// A segment that is no longer part of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletedSegment {
    pub base: Offset,
    pub bytes: u64,
    pub reason: DeletionReason,
}

/// Files that wait for `file.delete.delay.ms`.
#[derive(Debug)]
pub(super) struct Doomed {
    due: MonoTime,
    paths: Vec<PathBuf>,
}

impl Doomed {
    pub(super) const fn new(due: MonoTime) -> Self {
        Self { due, paths: Vec::new() }
    }

    pub(super) fn add(&mut self, path: PathBuf) {
        self.paths.push(path);
    }
}

impl PartitionLog {
    /// Begins a new segment at the log's end, unless the active one is empty.
    ///
    /// # Errors
    ///
    /// The new segment's files cannot be created; the active one stays.
    pub fn roll(&mut self, now: Now) -> Result<(), LogError> {
        self.writable()?;
        if self.active().size() == 0 {
            return Ok(());
        }
        let dir = self.folder.dir.to_path_buf();
        let base = self.log_end;
        self.keep_name_of_active()?;
        // Without it, what transactions were open here could not be told once older segments go.
        self.take_producer_snapshot()?;
        let fresh = match Segment::create(&self.folder, base, now.wall) {
            Ok(fresh) => fresh,
            Err(source) => {
                self.abandon_files(base);
                return Err(LogError::io("create a segment in", &dir)(source));
            }
        };
        self.seal_active();
        self.segments.push(fresh);
        self.durability.dir(dir);
        Ok(())
    }

    /// Makes the active segment's name durable, where no flush has done so since it was created: a
    /// power cut that keeps the next segment's name and loses this one's would move the log's start.
    fn keep_name_of_active(&mut self) -> Result<(), LogError> {
        if !self.durability.names_unsynced(&self.folder.dir) {
            return Ok(());
        }
        self.sync_names()
    }

    /// Removes what a segment that could not be created left. What stays, opening removes.
    fn abandon_files(&self, base: Offset) {
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = self.folder.path(SegmentFileName::live(base, kind));
            if let Err(error) = self.folder.remove(&path) {
                tracing::warn!(file = %path.display(), %error, "left behind by a failed roll");
            }
        }
    }

    /// Completes the active segment's indexes and notes what is true of it. Errors cost a rebuild
    /// of the indexes later, and nothing else.
    pub(super) fn seal_active(&mut self) {
        let folder = self.folder.clone();
        let last = self.segments.len() - 1;
        let next_offset = self.log_end;
        if let Err(error) = self.trust_indexes(last) {
            tracing::warn!(%error, "closing a segment without its indexes");
        }
        let segment = &mut self.segments[last];
        if let Some(file) = segment.pinned() {
            self.durability.file(std::sync::Arc::clone(file));
        }
        segment.unpin();
        match segment.close_indexes(&folder, next_offset) {
            Ok(closed) => {
                closed.files.into_iter().for_each(|file| self.durability.file(file));
                if let Some(seal) = closed.seal {
                    match self.seals.append(&folder, &crate::seal::encode(&seal)) {
                        Ok(file) => self.durability.file(file),
                        Err(error) => tracing::warn!(%error, "a segment stays unsealed"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "index entries were not written"),
        }
    }

    /// Rebuilds a segment's indexes where they are in doubt.
    pub(super) fn trust_indexes(&self, index: usize) -> Result<(), LogError> {
        self.segments[index].max_timestamp(&self.folder)?;
        self.trust_transactions(index)
    }

    /// Rolls if these batches do not belong into the active segment any more.
    pub(super) fn roll_for<'a>(
        &mut self,
        headers: impl Iterator<Item = &'a BatchHeader>,
        bytes: u64,
        now: Now,
    ) -> Result<(), AppendError> {
        let (mut latest, mut last) = (Timestamp::NONE, Offset::ZERO);
        for header in headers {
            latest = latest.max(header.max_timestamp);
            last = last.max(header.last_offset());
        }
        if !self.should_roll(latest, last, bytes, now) {
            return Ok(());
        }
        match self.roll(now) {
            Err(LogError::Io { source, .. }) if is_full(&source) => {
                Err(AppendError::DiskFull(source))
            }
            result => Ok(result?),
        }
    }

    fn should_roll(&mut self, latest: Timestamp, last: Offset, bytes: u64, now: Now) -> bool {
        let size = self.active().size();
        let (max, index_max) = (self.settings.segment_bytes, self.settings.index_bytes_max);
        if size == 0 {
            return false;
        }
        let base = self.active().base();
        size + bytes > u64::from(max)
            || self.waited(latest, now) > self.segment_age(base)
            || relative(base, last).is_none()
            || self.active_mut().index_full(index_max)
    }

    /// How old the active segment is: by its records' time, or by the clock where they have none.
    fn waited(&self, latest: Timestamp, now: Now) -> i64 {
        match self.active().first_timestamp(&self.folder) {
            Ok(Some(first)) if first >= Timestamp(0) => latest.millis_since(first),
            _ => now.wall.millis_since(self.active().created()),
        }
    }

    /// `segment.ms` less this segment's share of `segment.jitter.ms`, which follows from its name:
    /// topics that are created together do not roll together.
    fn segment_age(&self, base: Offset) -> i64 {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let age = millis(self.settings.segment_age);
        let jitter = millis(self.settings.segment_jitter.min(self.settings.segment_age));
        if jitter == 0 {
            return age;
        }
        let mut hasher = DefaultHasher::new();
        (&*self.folder.dir, base).hash(&mut hasher);
        age - (hasher.finish() % jitter.unsigned_abs()) as i64
    }

    /// Lets go of the segments that lie below the log start, or that `retention.bytes` or
    /// `retention.ms` no longer keep, as long as they end at or below `bound`, the high watermark.
    /// Their files are renamed, and removed by [`remove_deleted`](Self::remove_deleted) later:
    /// readers finish on them.
    ///
    /// # Errors
    ///
    /// A segment's timestamps cannot be read, or its files not be renamed. What was answered as
    /// deleted before stays deleted.
    pub fn delete_old_segments(
        &mut self,
        now: Now,
        bound: Offset,
    ) -> Result<Vec<DeletedSegment>, LogError> {
        self.writable()?;
        let mut deleted = Vec::new();
        while let Some(reason) = self.first_is_old(now, bound)? {
            if self.segments.len() == 1 {
                self.roll(now)?;
            }
            let bytes = self.segments[0].size();
            let base = self.segments[0].base();
            self.delete_first(now)?;
            deleted.push(DeletedSegment { base, bytes, reason });
        }
        self.check_step();
        Ok(deleted)
    }

    /// The offset up to which [`delete_old_segments`](Self::delete_old_segments) would delete now; the
    /// log start where nothing is old.
    ///
    /// # Errors
    ///
    /// A segment's timestamps cannot be read.
    pub fn retention_end(&self, now: Now, bound: Offset) -> Result<Offset, LogError> {
        let mut end = self.log_start;
        let mut left = self.size_bytes();
        for index in 0..self.segments.len() {
            if self.is_old(index, left, now, bound)?.is_none() {
                break;
            }
            left = left.saturating_sub(self.segments[index].size());
            end = end.max(self.segment_end(index));
        }
        Ok(end)
    }

    fn first_is_old(&self, now: Now, bound: Offset) -> Result<Option<DeletionReason>, LogError> {
        self.is_old(0, self.size_bytes(), now, bound)
    }

    /// Why a segment is to go, if it is and those before it are gone. `total` counts the bytes from it
    /// on.
    fn is_old(
        &self,
        index: usize,
        total: u64,
        now: Now,
        bound: Offset,
    ) -> Result<Option<DeletionReason>, LogError> {
        let first = &self.segments[index];
        let only = self.segments.len() == index + 1;
        let end = self.segment_end(index);
        if end > bound || (only && first.size() == 0) {
            return Ok(None);
        }
        if !only && end <= self.log_start {
            return Ok(Some(DeletionReason::LogStart));
        }
        if !self.settings.cleanup.deletes() {
            return Ok(None);
        }
        if let Some(limit) = self.settings.retention_bytes
            && total.saturating_sub(first.size()) >= limit
            && first.size() > 0
        {
            return Ok(Some(DeletionReason::Size));
        }
        let Some(limit) = self.settings.retention_age else { return Ok(None) };
        let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        // Cheap first: nothing is younger than the segment itself is known to be.
        let known = first.known_max_timestamp().map(|max| max.timestamp);
        if known.is_some_and(|known| now.wall.millis_since(known) <= limit) {
            return Ok(None);
        }
        let latest = match first.max_timestamp(&self.folder)?.timestamp {
            Timestamp::NONE => first.created(),
            latest => latest,
        };
        Ok((now.wall.millis_since(latest) > limit).then_some(DeletionReason::Age))
    }

    /// Removes the snapshots of segments whose deletion is durable. Not with the segment: it may
    /// come back after a power cut, and then needs it.
    fn remove_snapshots_of_deleted(&mut self) {
        let kept = self.snapshots.split_off(&self.segments[0].base());
        for offset in std::mem::replace(&mut self.snapshots, kept) {
            let path = self.folder.path(SegmentFileName::live(offset, FileKind::ProducerSnapshot));
            if let Err(error) = self.folder.remove(&path) {
                tracing::warn!(file = %path.display(), %error, "left behind");
            }
        }
    }

    /// Takes the first segment out of the log; there is another one.
    fn delete_first(&mut self, now: Now) -> Result<(), LogError> {
        let next = self.segments[1].base();
        // Syncs the folder, so that segments go one at a time: if this one were gone after a crash
        // and the one before it were back, there would be a hole.
        self.keep_producers_at(1)?;
        self.remove_snapshots_of_deleted();
        let mut doomed =
            Doomed { due: now.mono.plus(self.settings.file_delete_delay), paths: vec![] };
        // The log's own name first: without it the rest are orphans.
        for kind in
            [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex]
        {
            let name = self.segments[0].name(kind);
            let (from, to) =
                (self.folder.path(name), self.folder.path(name.at(FileStage::Deleted)));
            match self.folder.fs.rename(&from, &to) {
                Ok(()) => doomed.paths.push(to),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if kind == FileKind::Log => {
                    return Err(LogError::io("rename", &from)(error));
                }
                // An orphan; the next opening removes it.
                Err(error) => tracing::warn!(file = %from.display(), %error, "not renamed"),
            }
        }
        let mut segment = self.segments.remove(0);
        segment.forget_handles(&self.folder);
        self.doomed.push(doomed);
        if self.log_start < next {
            self.log_start = next;
            self.change_epochs(next, |epochs| epochs.truncate_from_start(next));
            self.producers.on_log_start(next);
        }
        let dir = self.folder.dir.to_path_buf();
        self.durability.dir(dir);
        Ok(())
    }

    /// Removes the files of deleted segments whose `file.delete.delay.ms` is over. Answers when
    /// the next ones are due.
    ///
    /// # Errors
    ///
    /// A file cannot be removed; it is tried again with the next call.
    pub fn remove_deleted(&mut self, now: MonoTime) -> Result<Option<MonoTime>, LogError> {
        while let Some(doomed) = self.doomed.first_mut() {
            if doomed.due > now {
                return Ok(Some(doomed.due));
            }
            while let Some(path) = doomed.paths.last() {
                self.folder.remove(path).map_err(LogError::io("remove", path))?;
                doomed.paths.pop();
            }
            self.doomed.remove(0);
        }
        Ok(None)
    }
}
