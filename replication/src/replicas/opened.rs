//! What recovery leaves unsynced, for many logs at once.
//!
//! Owns: the flush of logs that were just opened. A thousand of them after a crash are one sync of the
//! disk instead of thousands of files'. Never: opens. Invariant: nobody reads a log from before a
//! crash before what the crash left in the page cache is synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ottla_protocol::model::Uuid;
use ottla_storage::LogError;
use ottla_storage::flush::FlushJob;
use parking_lot::Mutex;

use super::directories::Directory;
use super::{Placed, Replicas};
use crate::partition::Partition;

/// From this many logs on the whole disk is synced.
const WHOLE_DISK_FROM: usize = 4;

/// Flushes that were begun when a log was opened.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<Vec<(Placed, FlushJob)>>);

impl Opened {
    pub(super) fn add(&self, placed: Placed, job: FlushJob) {
        self.0.lock().push((placed, job));
    }
}

impl Replicas {
    /// Syncs what opening logs left to be synced. A disk that fails takes its directory offline.
    pub fn flush_opened(&self) {
        let mut by_directory: BTreeMap<Uuid, Vec<(Placed, FlushJob)>> = BTreeMap::new();
        for (placed, job) in std::mem::take(&mut *self.opened.0.lock()) {
            by_directory.entry(placed.directory.id()).or_default().push((placed, job));
        }
        for jobs in by_directory.into_values() {
            let Some((Placed { directory, .. }, _)) = jobs.first() else { continue };
            let whole = self.sync_whole(directory, jobs.len());
            for (Placed { partition, .. }, job) in &jobs {
                let synced = match &whole {
                    Some(Ok(())) => Ok(()),
                    Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
                    None => self.sync_one(job),
                };
                finish(partition, job, synced);
            }
        }
    }

    fn sync_whole(&self, directory: &Arc<Directory>, logs: usize) -> Option<io::Result<()>> {
        if logs < WHOLE_DISK_FROM {
            return None;
        }
        match self.fs.sync_disk(directory.log_dir().path()) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            result => Some(result),
        }
    }

    fn sync_one(&self, job: &FlushJob) -> io::Result<()> {
        job.files.iter().try_for_each(|file| file.sync_data())?;
        job.dirs.iter().try_for_each(|dir| self.fs.sync_dir(dir))
    }
}

fn finish(partition: &Partition, job: &FlushJob, synced: io::Result<()>) {
    let finished = partition.maintain(|log, _| match synced {
        Ok(()) => log.complete_flush(job.up_to),
        Err(source) => {
            log.fail_flush(&source);
            Err(LogError::Io { action: "sync", path: log.dir().to_path_buf(), source })
        }
    });
    if let Ok(Err(error)) = finished {
        tracing::error!(partition = %partition.name(), %error, "a recovered log is not durable");
        partition.note(&error);
    }
}
