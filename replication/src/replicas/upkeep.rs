//! The periodic steps over all partitions, and the clean end.
//!
//! Owns: retention, removal of deleted files and folders, checkpoints, closing. Never: when they run.

use std::io;
use std::path::Path;

use ottla_protocol::model::{Now, Offset};
use ottla_storage::checkpoint::{CheckpointKind, PartitionOffsets};

use super::directories::Directory;
use super::{Placed, Replicas};
use crate::partition::PartitionError;

impl Replicas {
    /// Rolls and deletes what the topics' retention says.
    pub fn apply_retention(&self, now: Now) {
        for partition in self.all() {
            match partition.apply_retention(now) {
                Ok(deleted) if !deleted.is_empty() => {
                    tracing::info!(partition = %partition.name(), segments = deleted.len(),
                        "retention deleted segments");
                }
                Err(PartitionError::Deleted(_)) | Ok(_) => {}
                Err(error) => {
                    tracing::error!(partition = %partition.name(), %error, "retention failed");
                }
            }
        }
    }

    /// Forgets producers that wrote nothing for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now: Now) {
        for partition in self.all() {
            // Only a deleted partition refuses, and that has no producers any more.
            let _deleted = partition.maintain(|log, _| log.expire_producers(now.wall));
        }
    }

    /// Asks for the flushes that `flush.ms` and `flush.messages` want; with the durability `fsync`
    /// there is nothing left for them to do.
    pub fn flush_due(&self, now: Now) {
        for partition in self.all() {
            partition.flush_if_due(now.mono);
        }
    }

    /// Removes segment files and partition folders whose time has come.
    pub fn remove_deleted(&self, now: Now) {
        for partition in self.all() {
            if let Ok(Err(error)) = partition.maintain(|log, _| log.remove_deleted(now.mono)) {
                tracing::warn!(partition = %partition.name(), %error, "files not removed");
                partition.note(&error);
            }
        }
        for directory in self.directories.all().iter().filter(|dir| dir.is_online()) {
            for path in directory.take_removals() {
                match self.fs.remove_dir_all(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(path = %path.display(), %error, "folder not removed");
                        directory.note_removal(path);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Writes from where each log would have to be examined after a crash, with a snapshot of its
    /// producers, so that neither costs much.
    pub fn checkpoint_recovery_points(&self) {
        for partition in self.all() {
            let taken = partition.maintain(|log, _| match log.log_end() > log.log_start() {
                true => log.take_producer_snapshot(),
                false => Ok(()),
            });
            if let Ok(Err(error)) = taken {
                tracing::warn!(partition = %partition.name(), %error, "no producer snapshot");
                partition.note(&error);
            }
        }
        self.checkpoint(CheckpointKind::RecoveryPoint, |placed| {
            placed.partition.inspect(|log, _| log.recovery_point()).ok()
        });
        self.checkpoint(CheckpointKind::Replication, |placed| {
            Some(placed.partition.high_watermark())
        });
        for directory in self.directories.all().iter().filter(|dir| dir.is_online()) {
            if let Err(error) = directory.log_dir().note_recovered() {
                tracing::warn!(%error, "the boot is not noted");
            }
        }
    }

    /// Writes log starts that DeleteRecords moved beyond their segments.
    pub fn checkpoint_log_starts(&self) {
        self.checkpoint(CheckpointKind::LogStart, |placed| {
            let start = placed.partition.watermarks().log_start;
            (start > Offset::ZERO).then_some(start)
        });
    }

    fn checkpoint(&self, kind: CheckpointKind, value: impl Fn(&Placed) -> Option<Offset>) {
        for directory in self.directories.all().iter().filter(|dir| dir.is_online()) {
            let offsets: PartitionOffsets = self
                .partitions
                .read()
                .iter()
                .filter(|(_, placed)| placed.directory.id() == directory.id())
                .filter_map(|(name, placed)| Some((name.clone(), value(placed)?)))
                .collect();
            self.write(directory, kind, &offsets);
        }
    }

    /// What the checkpoints of two directories say after a replica moved from one to the other.
    pub(super) fn checkpoint_moved(&self, from: &Directory, to: &Directory) {
        // The new directory first: what stands twice is no harm.
        for directory in [to, from] {
            self.write(directory, CheckpointKind::Cleaner, &directory.all_cleaned());
        }
        self.checkpoint_log_starts();
        self.checkpoint_recovery_points();
    }

    pub(super) fn write(
        &self,
        directory: &Directory,
        kind: CheckpointKind,
        offsets: &PartitionOffsets,
    ) {
        if let Err(error) = directory.log_dir().write_checkpoint(kind, offsets) {
            let path: &Path = directory.log_dir().path();
            tracing::error!(path = %path.display(), %error, "checkpoint not written");
            if error.is_disk_fault() {
                directory.home().fail(&error.to_string());
            }
        }
    }

    /// Flushes and closes every log, then marks the directories as cleanly left. A log that cannot be
    /// closed keeps its directory from being marked, so that the next start recovers it.
    pub fn close(&self, now: Now) {
        let online = |placed: &&Placed| placed.directory.is_online();
        let placed: Vec<Placed> = self.partitions.read().values().filter(online).cloned().collect();
        let mut unclean = Vec::new();
        for placed in &placed {
            if let Err(error) = placed.partition.close(now) {
                tracing::error!(partition = %placed.partition.name(), %error, "not closed cleanly");
                unclean.push(placed.directory.id());
            }
        }
        self.checkpoint_recovery_points();
        self.checkpoint_log_starts();
        for directory in self.directories.all() {
            if unclean.contains(&directory.id()) || !directory.is_online() {
                continue;
            }
            if let Err(error) = directory.log_dir().mark_clean_shutdown(-1) {
                let path = directory.log_dir().path();
                tracing::error!(path = %path.display(), %error, "clean shutdown not marked");
            }
        }
    }
}
