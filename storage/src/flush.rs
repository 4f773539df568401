//! Group commit for all logs of one disk: gather, sync once, complete everyone.
//!
//! Owns: which logs wait to be flushed, whether a flush syncs file by file, and the thread that does
//! it. Never: knows what an offset means, asks the time (a clock may be given), retries a sync.
//!
//! # Drawing
//!
//! ```text
//!   append ─ request(log) ──┐             ┌─ fdatasync each   (few files)
//!   append ─ request(log) ──┼─> queue ──> batch ─ begin() ─┤                         ├─> complete()
//!   append ─ request(log) ──┘   while the batch before    └─ one syncfs (many files)
//!                               is being synced
//! ```
//!
//! The queue fills for exactly as long as the flush before it takes, so there is no timer, and the
//! busier the disk the larger the batch. `begin` is asked at the latest moment: all that was
//! appended by then rides along.
//!
//! Invariants: a log is in at most one batch at a time and waits in the queue at most once; what
//! was requested before a `begin` is covered by its job or requested again; every job that was
//! begun is completed exactly once; a handle whose sync failed is never synced again from here.

mod batch;
mod choice;
mod queue;
#[cfg(test)]
mod tests;
mod thread;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_protocol::model::Offset;

use crate::fs::{File, FileSystem};

pub use batch::SyncReport;
pub use choice::SyncPolicy;
pub use queue::FlushQueue;
pub use thread::{FlushOptions, FlushThread};

/// A log that can be flushed.
pub trait FlushTarget: Send + Sync + fmt::Debug {
    /// The mark by which the queue knows that this log waits already. One per log, made with it.
    fn ticket(&self) -> &FlushTicket;
    /// What is to be synced now. Called by the thread that flushes, once per batch that the log is
    /// in. A log with nothing to sync returns an empty job and is completed at once.
    fn begin(&self) -> FlushJob;
    /// The job is durable, or its sync failed: then everything past the last flushed offset is
    /// unknown and the log is dead.
    fn complete(&self, job: FlushJob, result: io::Result<()>);
}

/// Whether a log waits in a queue.
#[derive(Debug, Default)]
pub struct FlushTicket(AtomicBool);

impl FlushTicket {
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Marks the log as waiting; false when it did already.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// From now on a request queues the log again.
    fn give_back(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What one log needs to have synced.
#[derive(Clone, Debug, Default)]
pub struct FlushJob {
    /// Everything below this offset is durable once the job is.
    pub up_to: Offset,
    /// Files with unsynced bytes, through the handles they were written with.
    pub files: Vec<Arc<dyn File>>,
    /// Folders with names that are not durable yet: new segments, renames, removals.
    pub dirs: Vec<PathBuf>,
}

impl FlushJob {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }
}

/// Where logs ask to be flushed. One per disk; clones are the same.
///
/// `request` may run `begin` and `complete` of the log before it returns (see
/// [`FlushCoordinator::inline`]): a caller holds no lock that those take.
#[derive(Clone, Debug)]
pub struct FlushCoordinator {
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Mode {
    Inline(Arc<queue::Runner>),
    Manual(Arc<queue::Runner>),
    Thread(Arc<thread::Shared>),
}

impl FlushCoordinator {
    /// Flushes on the caller's thread, within `request`: for file systems on which a sync costs
    /// nothing, and for simulations, where it makes the order of calls the caller's.
    #[must_use]
    pub fn inline(fs: Arc<dyn FileSystem>, disk: PathBuf) -> Self {
        let runner = queue::Runner::new(fs, disk, SyncPolicy::default());
        Self { mode: Mode::Inline(Arc::new(runner)) }
    }

    /// Flushes only in [`Self::flush_pending`], for tests that choose the moment.
    #[must_use]
    pub fn manual(fs: Arc<dyn FileSystem>, disk: PathBuf, policy: SyncPolicy) -> Self {
        Self { mode: Mode::Manual(Arc::new(queue::Runner::new(fs, disk, policy))) }
    }

    fn threaded(shared: Arc<thread::Shared>) -> Self {
        Self { mode: Mode::Thread(shared) }
    }

    /// Asks for a flush of everything that the log holds by now. Cheap while the log waits already.
    pub fn request(&self, target: &Arc<dyn FlushTarget>) {
        if !target.ticket().take() {
            return;
        }
        match &self.mode {
            Mode::Inline(runner) => {
                runner.enqueue(Arc::clone(target));
                runner.run();
            }
            Mode::Manual(runner) => runner.enqueue(Arc::clone(target)),
            Mode::Thread(shared) => shared.enqueue(Arc::clone(target)),
        }
    }

    /// Flushes whatever waits on the caller's thread, unless another thread is at it; says whether
    /// anything was flushed here. For a caller that may block and wants no change of thread.
    pub fn flush_pending(&self) -> bool {
        match &self.mode {
            Mode::Inline(runner) | Mode::Manual(runner) => runner.run(),
            Mode::Thread(shared) => shared.flush_here(),
        }
    }

    /// How many logs wait for a batch now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.mode {
            Mode::Inline(runner) | Mode::Manual(runner) => runner.waiting(),
            Mode::Thread(shared) => shared.waiting(),
        }
    }
}
