//! Where a partition's log lies, as the partition needs to know it.
//!
//! Owns: the way to its disk's flushes, and the report of a disk's failure. Never: what follows from
//! a failure for other partitions (the replicas see to that).

use std::io;
use std::sync::Arc;

use ottla_storage::flush::FlushCoordinator;
use ottla_storage::log_dir::{DirHealth, is_disk_fault};
use tokio::sync::Notify;

/// A log directory and its disk. Clones are the same.
#[derive(Clone, Debug)]
pub struct Home {
    pub flusher: FlushCoordinator,
    pub health: Arc<DirHealth>,
    /// Told once per failure of any directory.
    pub alarm: Arc<Notify>,
}

impl Home {
    /// The directory has failed: everything in it goes offline.
    pub fn fail(&self, reason: &str) {
        if self.health.go_offline(reason) {
            self.alarm.notify_one();
        }
    }

    /// As [`Self::fail`], after a sync that failed.
    pub fn sync_failed(&self, reason: &str) {
        if self.health.sync_failed(reason) {
            self.alarm.notify_one();
        }
    }

    /// Bytes of a log could not be read, by whoever got them as a range of a file. What the disk is
    /// to blame for takes the directory offline.
    pub fn unreadable(&self, error: &io::Error) {
        if is_disk_fault(error) {
            self.fail(&format!("a log could not be read: {error}"));
        }
    }
}
