//! The queue of logs that wait, as a state machine, and its use without a thread.
//!
//! Owns: who waits and whether a batch is out. Never: files, threads, syncs of its own.
//!
//! Invariant: at most one batch is out at a time.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::FlushTarget;
use super::batch;
use super::choice::{SyncChoice, SyncPolicy};
use crate::fs::FileSystem;

/// Logs that wait for the next batch while one may be out.
#[derive(Debug, Default)]
pub struct FlushQueue {
    waiting: Vec<Arc<dyn FlushTarget>>,
    running: bool,
}

impl FlushQueue {
    /// Adds a log. The caller has its ticket, so it is in here once.
    pub fn enqueue(&mut self, target: Arc<dyn FlushTarget>) {
        self.waiting.push(target);
    }

    /// Everything that waits, unless a batch is out or nothing waits. The taker calls
    /// [`Self::finish`] when the batch is done.
    pub fn take_batch(&mut self) -> Option<Vec<Arc<dyn FlushTarget>>> {
        if self.running || self.waiting.is_empty() {
            return None;
        }
        self.running = true;
        Some(std::mem::take(&mut self.waiting))
    }

    /// The batch that was taken is done.
    pub fn finish(&mut self) {
        debug_assert!(self.running, "a batch that was never taken cannot be done");
        self.running = false;
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }
}

/// A queue that is emptied on the threads that call.
#[derive(Debug)]
pub(super) struct Runner {
    fs: Arc<dyn FileSystem>,
    disk: PathBuf,
    policy: SyncPolicy,
    queue: Mutex<FlushQueue>,
}

impl Runner {
    pub(super) fn new(fs: Arc<dyn FileSystem>, disk: PathBuf, policy: SyncPolicy) -> Self {
        Self { fs, disk, policy, queue: Mutex::new(FlushQueue::default()) }
    }

    pub(super) fn enqueue(&self, target: Arc<dyn FlushTarget>) {
        self.queue.lock().enqueue(target);
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().waiting()
    }

    /// Runs batches until nothing waits. A caller that finds a batch out returns at once: whoever
    /// runs that batch looks at the queue again when it is done.
    pub(super) fn run(&self) -> bool {
        let mut ran = false;
        loop {
            let Some(targets) = self.queue.lock().take_batch() else { return ran };
            let mut choice = SyncChoice::new(self.policy);
            batch::run(&*self.fs, &self.disk, |files| choice.choose(files), targets);
            self.queue.lock().finish();
            ran = true;
        }
    }
}
