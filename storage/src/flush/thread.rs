//! The thread that flushes one disk.
//!
//! Owns: sleeping, waking, stopping. Never: what a batch does.
//!
//! Invariants: a request either finds the thread awake and is seen before it sleeps, or wakes it;
//! dropping the thread's owner flushes what waits and joins the thread.

use std::hint;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use ottla_protocol::model::MonoTime;
use parking_lot::{Condvar, Mutex};

use super::batch::{self, SyncReport};
use super::choice::{SyncChoice, SyncPolicy, Way};
use super::queue::FlushQueue;
use super::{FlushCoordinator, FlushTarget};
use crate::fs::FileSystem;

/// How a flush thread behaves.
#[derive(Clone, Default)]
pub struct FlushOptions {
    pub policy: SyncPolicy,
    /// How many times the thread looks for new work before it sleeps. Each look costs about as
    /// long as a `spin_loop` hint; 0 sleeps at once.
    pub spins: u32,
    /// Is told of every batch, on the flush thread.
    pub on_batch: Option<Arc<dyn Fn(SyncReport) + Send + Sync>>,
    /// With a clock the thread notices when other processes make a sync of the whole disk slow,
    /// and avoids it while few files are dirty.
    pub clock: Option<Arc<dyn Fn() -> MonoTime + Send + Sync>>,
}

impl std::fmt::Debug for FlushOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlushOptions")
            .field("policy", &self.policy)
            .field("spins", &self.spins)
            .finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    fs: Arc<dyn FileSystem>,
    disk: PathBuf,
    options: FlushOptions,
    choice: Mutex<SyncChoice>,
    state: Mutex<State>,
    /// Wakes the thread, and whoever waits for a batch that runs elsewhere.
    changed: Condvar,
    /// Equal to the queue's length; read without the lock by a thread that spins.
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlushThread").field("disk", &self.disk).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    queue: FlushQueue,
    asleep: bool,
    stopping: bool,
}

impl Shared {
    pub(super) fn enqueue(&self, target: Arc<dyn FlushTarget>) {
        let mut state = self.state.lock();
        state.queue.enqueue(target);
        self.waiting.store(state.queue.waiting(), Ordering::Release);
        // A thread that is awake looks at the queue before it sleeps: no system call for it.
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// One batch on the caller's thread; false when there is none or one is out.
    pub(super) fn flush_here(&self) -> bool {
        let batch = self.state.lock().queue.take_batch();
        let Some(targets) = batch else { return false };
        self.run(targets);
        let mut state = self.state.lock();
        state.queue.finish();
        // What was queued meanwhile is the thread's.
        let wake = state.queue.waiting() > 0 || state.stopping;
        state.asleep &= !wake;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        true
    }

    fn run(&self, targets: Vec<Arc<dyn FlushTarget>>) {
        self.waiting.store(0, Ordering::Release);
        let report = self.run_measured(targets);
        if let Some(on_batch) = &self.options.on_batch {
            on_batch(report);
        }
    }

    fn run_measured(&self, targets: Vec<Arc<dyn FlushTarget>>) -> SyncReport {
        let choose = |files| self.choice.lock().choose(files);
        let Some(clock) = &self.options.clock else {
            return batch::run(&*self.fs, &self.disk, choose, targets);
        };
        let start = clock();
        let report = batch::run(&*self.fs, &self.disk, choose, targets);
        let way = if report.whole_disk { Way::WholeDisk } else { Way::Singly };
        let took = clock().since(start);
        if report.failed == 0 && report.files + report.dirs > 0 {
            self.choice.lock().learn(way, report.files + report.dirs, took);
        }
        report
    }

    fn run_until_stopped(&self) {
        loop {
            for _ in 0..self.options.spins {
                if self.waiting() > 0 {
                    break;
                }
                hint::spin_loop();
            }
            let mut state = self.state.lock();
            let targets = loop {
                if let Some(targets) = state.queue.take_batch() {
                    break targets;
                }
                if state.stopping && !state.queue.is_running() {
                    return;
                }
                state.asleep = true;
                self.changed.wait(&mut state);
                state.asleep = false;
            };
            drop(state);
            self.run(targets);
            self.state.lock().queue.finish();
        }
    }
}

/// Owns the thread; dropping it flushes what waits and ends the thread.
#[derive(Debug)]
pub struct FlushThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FlushThread {
    /// Starts the flush thread of the disk that holds `disk`, a folder that exists.
    ///
    /// # Errors
    /// When the folder cannot be opened or the system gives no thread.
    pub fn spawn(
        fs: Arc<dyn FileSystem>,
        disk: PathBuf,
        options: FlushOptions,
    ) -> io::Result<Self> {
        // Opens the handle that later errors of write-back are reported to.
        fs.disk_id(&disk)?;
        let shared = Arc::new(Shared {
            fs,
            disk,
            choice: Mutex::new(SyncChoice::new(options.policy)),
            options,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        });
        let run = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("flush".to_owned())
            .spawn(move || run.run_until_stopped())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where logs of this disk ask to be flushed. Requests after the thread has ended are flushed
    /// only by `flush_pending`.
    #[must_use]
    pub fn coordinator(&self) -> FlushCoordinator {
        FlushCoordinator::threaded(Arc::clone(&self.shared))
    }
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flush thread panicked");
        }
    }
}
