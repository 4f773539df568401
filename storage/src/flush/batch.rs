//! One batch: begin every job, sync what they name in the cheapest way, complete every job.
//!
//! Owns: the calls, and who is told of which error. Never: queues, threads, the choice of the way.
//!
//! Invariant: with a sync per file an error is told to the logs that named the file or folder; a
//! failed sync of the disk is told to every log of the batch, because nothing says what was lost.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::choice::Way;
use super::{FlushJob, FlushTarget};
use crate::fs::FileSystem;

/// What one batch did, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncReport {
    pub logs: usize,
    pub files: usize,
    pub dirs: usize,
    /// One `syncfs` stood for all files and folders.
    pub whole_disk: bool,
    /// Logs that were told of an error.
    pub failed: usize,
}

/// Runs a batch to its end. A target that panics is reported and does not stop the others.
pub(super) fn run(
    fs: &dyn FileSystem,
    disk: &Path,
    choose: impl FnOnce(usize) -> Way,
    targets: Vec<Arc<dyn FlushTarget>>,
) -> SyncReport {
    let mut begun = Vec::with_capacity(targets.len());
    for target in targets {
        // Given back first: what is appended after `begin` looked must be able to queue again.
        target.ticket().give_back();
        match catch_unwind(AssertUnwindSafe(|| target.begin())) {
            Ok(job) => begun.push((target, job)),
            Err(_) => tracing::error!(?target, "a log panicked when its flush began"),
        }
    }
    let files = begun.iter().map(|(_, job)| job.files.len()).sum();
    let mut report = SyncReport { logs: begun.len(), files, ..SyncReport::default() };
    // Most batches of a busy broker have no new names; an empty map allocates nothing.
    let mut dirs: BTreeMap<PathBuf, Option<io::Error>> = BTreeMap::new();
    for (_, job) in &begun {
        dirs.extend(job.dirs.iter().map(|dir| (dir.clone(), None)));
    }
    report.dirs = dirs.len();
    let whole = match choose(files + dirs.len()) {
        Way::Singly => None,
        Way::WholeDisk => sync_disk(fs, disk),
    };
    report.whole_disk = whole.is_some();
    if let Some(result) = whole {
        for (target, job) in begun {
            report.failed += usize::from(result.is_err());
            complete(&*target, job, again(&result));
        }
        return report;
    }
    for (dir, error) in &mut dirs {
        *error = fs.sync_dir(dir).err();
    }
    for (target, job) in begun {
        let result = sync_singly(&job, &dirs);
        report.failed += usize::from(result.is_err());
        complete(&*target, job, result);
    }
    report
}

/// One sync for all; `None` where the file system has none.
fn sync_disk(fs: &dyn FileSystem, disk: &Path) -> Option<io::Result<()>> {
    match fs.sync_disk(disk) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        result => Some(result),
    }
}

/// Syncs the files of one job, each once whatever happens to the others.
fn sync_singly(job: &FlushJob, dirs: &BTreeMap<PathBuf, Option<io::Error>>) -> io::Result<()> {
    let mut result = Ok(());
    for file in &job.files {
        // Not only until the first error: the log is dead, but what can be saved is saved.
        if let Err(error) = file.sync_data() {
            result = Err(error);
        }
    }
    for dir in &job.dirs {
        if let Some(Some(error)) = dirs.get(dir) {
            result = Err(copy(error));
        }
    }
    result
}

fn complete(target: &dyn FlushTarget, job: FlushJob, result: io::Result<()>) {
    if let Err(error) = &result {
        tracing::error!(?target, up_to = %job.up_to, %error, "flush failed: the log is dead");
    }
    if catch_unwind(AssertUnwindSafe(|| target.complete(job, result))).is_err() {
        tracing::error!(?target, "a log panicked when its flush completed");
    }
}

fn again(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(copy(error)),
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
