//! What of a log is durable: flush jobs, the recovery point, the epoch checkpoint's file.
//!
//! Owns: which files and names are not synced yet. Never: syncs by itself; the FlushCoordinator
//! does, outside the partition's lock, between `begin_flush` and `complete_flush`.
//!
//! The epoch checkpoint is replaced in two steps, so that no sync is needed under the lock: a job
//! carries the new text under another name, the completion renames it, the next job carries the
//! folder. Until then the recovery point stays where the unsaved epoch begins: recovery would find
//! it in the batches again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::model::Offset;

use super::{LogHealth, PartitionLog};
use crate::error::LogError;
use crate::file_name::LEADER_EPOCH_CHECKPOINT;
use crate::flush::FlushJob;
use crate::fs::File;
use crate::leader_epoch::LeaderEpochCache;

/// What the epoch checkpoint's file holds, compared with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum EpochFile {
    Saved,
    /// Memory has epochs from this offset on that the file has not.
    Stale(Offset),
    /// They are in the new file, which the running flush makes durable.
    Written(Offset),
    /// The new file has its name; the name is not durable yet.
    Renamed(Offset),
}

#[derive(Debug)]
pub(super) struct Durability {
    flushed: Offset,
    /// The largest recovery point that may have been given out.
    promised: Offset,
    /// Files besides the active segment's `.log` with unsynced bytes.
    dirty: Vec<Arc<dyn File>>,
    dirty_dirs: Vec<PathBuf>,
    in_flight: Option<FlushJob>,
    /// The running job makes nothing from here on durable: the log was cut here since it began.
    in_flight_bound: Offset,
    epoch_file: EpochFile,
}

impl Durability {
    pub(super) const fn new(flushed: Offset) -> Self {
        Self {
            flushed,
            promised: flushed,
            dirty: Vec::new(),
            dirty_dirs: Vec::new(),
            in_flight: None,
            in_flight_bound: Offset(i64::MAX),
            epoch_file: EpochFile::Saved,
        }
    }

    pub(super) const fn flushed(&self) -> Offset {
        self.flushed
    }

    pub(super) const fn promised(&self) -> Offset {
        self.promised
    }

    /// A recovery point that was given out by a process before this one.
    pub(super) fn promise(&mut self, recovery_point: Offset) {
        self.promised = self.promised.max(recovery_point);
    }

    /// The log was cut at `end`, durably.
    pub(super) fn cut(&mut self, end: Offset) {
        self.flushed = self.flushed.min(end);
        self.in_flight_bound = self.in_flight_bound.min(end);
    }

    /// The log is empty and goes on at `start`.
    pub(super) fn restart(&mut self, start: Offset) {
        self.cut(Offset::ZERO);
        self.flushed = start;
    }

    pub(super) fn file(&mut self, file: Arc<dyn File>) {
        self.dirty.push(file);
    }

    pub(super) fn dir(&mut self, dir: PathBuf) {
        if !self.dirty_dirs.contains(&dir) {
            self.dirty_dirs.push(dir);
        }
    }

    /// Whether names of this folder may have changed since it was last known to be synced.
    pub(super) fn names_unsynced(&self, dir: &Path) -> bool {
        let in_flight = self.in_flight.iter().flat_map(|job| &job.dirs);
        self.dirty_dirs.iter().chain(in_flight).any(|dirty| dirty == dir)
    }

    /// Epochs changed in memory, from `start` on.
    pub(super) fn epochs_changed(&mut self, start: Offset) {
        self.epoch_file = EpochFile::Stale(match self.epoch_file {
            EpochFile::Saved => start,
            EpochFile::Stale(older) | EpochFile::Written(older) | EpochFile::Renamed(older) => {
                older.min(start)
            }
        });
    }
}

impl PartitionLog {
    /// What has to be synced for everything up to `log_end` to be durable. The job stays open until
    /// [`complete_flush`](Self::complete_flush) or [`fail_flush`](Self::fail_flush); beginning
    /// again before that gives a job that includes it.
    ///
    /// # Errors
    ///
    /// The log is offline, or the epoch checkpoint could not be written.
    pub fn begin_flush(&mut self) -> Result<FlushJob, LogError> {
        if let LogHealth::Offline(_) = self.health {
            self.writable()?;
        }
        self.write_epochs()?;
        let mut job = match self.durability.in_flight.take() {
            Some(job) => job,
            None => {
                self.durability.in_flight_bound = Offset(i64::MAX);
                FlushJob::default()
            }
        };
        job.up_to = self.log_end;
        job.files.append(&mut self.durability.dirty);
        job.dirs.append(&mut self.durability.dirty_dirs);
        if let Some(file) = self.active().pinned()
            && self.durability.flushed < self.log_end
        {
            job.files.push(Arc::clone(file));
        }
        // Sealed files come with their segment's roll, so that only the active one is looked at.
        self.durability.in_flight = Some(job.clone());
        Ok(job)
    }

    /// The job that was begun for `up_to` is durable.
    ///
    /// # Errors
    ///
    /// The epoch checkpoint could not be renamed; flushed is what was flushed all the same.
    pub fn complete_flush(&mut self, up_to: Offset) -> Result<(), LogError> {
        if matches!(self.health, LogHealth::Offline(_)) {
            return Ok(());
        }
        if self.durability.in_flight.as_ref().is_some_and(|job| job.up_to <= up_to) {
            self.durability.in_flight = None;
        }
        let durable = up_to.min(self.log_end).min(self.durability.in_flight_bound);
        self.durability.flushed = self.durability.flushed.max(durable);
        self.durability.promise(self.durability.flushed);
        if self.durability.flushed == self.log_end {
            self.active_mut().unpin();
        }
        match self.durability.epoch_file {
            EpochFile::Written(start) => {
                let path = self.path_of(LEADER_EPOCH_CHECKPOINT);
                let fresh = self.path_of(EPOCHS_FRESH);
                self.folder.fs.rename(&fresh, &path).map_err(LogError::io("replace", &path))?;
                self.durability.epoch_file = EpochFile::Renamed(start);
                self.durability.dir(self.folder.dir.to_path_buf());
            }
            EpochFile::Renamed(_) if self.durability.dirty_dirs.is_empty() => {
                self.durability.epoch_file = EpochFile::Saved;
            }
            _ => {}
        }
        // With the epochs: those of the file may be from before a cut.
        match self.seals.on_flushed(&self.folder, self.recovery_point()) {
            Ok(None) => {}
            Ok(Some(file)) => self.durability.file(file),
            Err(error) => tracing::debug!(%error, "recovery will examine more than it needs to"),
        }
        Ok(())
    }

    /// Syncing a job failed: what lies past `flushed` is unknown, on disk and in the page cache.
    /// The log is offline until it is opened again.
    pub fn fail_flush(&mut self, error: &io::Error) {
        self.durability.in_flight = None;
        self.go_offline(format!("a sync failed: {error}"));
    }

    /// Whether a flush would make anything durable that is not.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        self.durability.flushed < self.log_end
            || !self.durability.dirty.is_empty()
            || !self.durability.dirty_dirs.is_empty()
            || self.durability.epoch_file != EpochFile::Saved
    }

    /// Whether a closed segment waits for a flush: until then it is not compacted, and recovery
    /// reads it again. Whoever does not flush by itself (`page-cache`) flushes then, as Kafka does
    /// after each roll (`UnifiedLog.roll`).
    #[must_use]
    pub fn closed_needs_flush(&self) -> bool {
        self.durability.flushed < self.active().base()
    }

    /// What may be written to `recovery-point-offset-checkpoint`: recovery begins there.
    /// At most [`flushed`](Self::flushed).
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        match self.durability.epoch_file {
            EpochFile::Saved => self.durability.flushed,
            EpochFile::Stale(start) | EpochFile::Written(start) | EpochFile::Renamed(start) => {
                self.durability.flushed.min(start)
            }
        }
    }

    /// Whether `flush.messages` or `flush.ms` ask for a flush, with the time since the last one.
    #[must_use]
    pub fn flush_due(&self, since_last: std::time::Duration) -> bool {
        let unflushed = self.log_end.since(self.durability.flushed);
        let by_count = self
            .settings
            .flush_messages
            .is_some_and(|limit| u64::try_from(unflushed).is_ok_and(|count| count >= limit));
        let by_age = self.settings.flush_age.is_some_and(|limit| since_last >= limit);
        unflushed > 0 && (by_count || by_age)
    }

    /// Flushes on the caller's thread; for opening, closing and tests.
    ///
    /// # Errors
    ///
    /// A sync failed: the log is offline.
    pub fn flush_now(&mut self) -> Result<(), LogError> {
        // Twice at most: the second round makes the epoch checkpoint's new name durable.
        for _ in 0..2 {
            let job = self.begin_flush()?;
            let synced =
                job.files.iter().try_for_each(|file| file.sync_data()).and_then(|()| {
                    job.dirs.iter().try_for_each(|dir| self.folder.fs.sync_dir(dir))
                });
            if let Err(error) = synced {
                self.fail_flush(&error);
                return Err(LogError::io("sync", &self.folder.dir)(error));
            }
            self.complete_flush(job.up_to)?;
            if !self.needs_flush() {
                break;
            }
        }
        Ok(())
    }

    /// Puts the epochs into the file that replaces the checkpoint, if they changed.
    fn write_epochs(&mut self) -> Result<(), LogError> {
        let start = match self.durability.epoch_file {
            EpochFile::Stale(start) => start,
            EpochFile::Written(start) => {
                // Begun and not completed: the file is part of the job that is begun again.
                self.durability.epoch_file = EpochFile::Stale(start);
                start
            }
            EpochFile::Saved | EpochFile::Renamed(_) => return Ok(()),
        };
        let path = self.path_of(EPOCHS_FRESH);
        let text = self.epochs.to_text();
        let file = self
            .folder
            .write_small(&path, text.as_bytes())
            .map_err(LogError::io("write", &path))?;
        self.durability.file(file);
        let record = crate::seal::encode_epochs(crc32c::crc32c(text.as_bytes()), start);
        let seals = self
            .seals
            .append(&self.folder, &record)
            .map_err(LogError::io("write the seals of", &self.folder.dir))?;
        self.durability.file(seals);
        self.durability.epoch_file = EpochFile::Written(start);
        Ok(())
    }

    /// Changes the epochs; `from` is the first offset whose epoch may be another now.
    pub(super) fn change_epochs(
        &mut self,
        from: Offset,
        change: impl FnOnce(&mut LeaderEpochCache) -> bool,
    ) {
        if change(&mut self.epochs) {
            self.durability.epochs_changed(from);
        }
    }
}

/// The epoch checkpoint before it gets its name; Kafka's suffix for such files.
pub(super) const EPOCHS_FRESH: &str = "leader-epoch-checkpoint.tmp";
