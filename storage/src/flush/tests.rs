//! Batching, completion, errors and threads of the flush coordinator.

use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::*;
use crate::fs::sim::{DiskError, Op, OpMatcher, SimOptions};
use crate::fs::{MemoryFileSystem, OpenMode, OsFileSystem, SimFileSystem};

/// A log of numbered appends to one file.
#[derive(Debug)]
struct Log {
    ticket: FlushTicket,
    file: Arc<dyn File>,
    dirs: Mutex<Vec<PathBuf>>,
    end: AtomicU64,
    done: Sender<(i64, Option<io::ErrorKind>)>,
    begins: AtomicU64,
}

type Done = Receiver<(i64, Option<io::ErrorKind>)>;

impl Log {
    fn new(fs: &dyn FileSystem, path: &Path) -> (Arc<Self>, Done) {
        let file = fs.open(path, OpenMode::CreateNew).unwrap();
        let (done, receiver) = channel();
        let dirs = Mutex::new(vec![path.parent().unwrap().to_owned()]);
        let log = Self {
            ticket: FlushTicket::new(),
            file,
            dirs,
            end: AtomicU64::new(0),
            done,
            begins: AtomicU64::new(0),
        };
        (Arc::new(log), receiver)
    }

    fn append(&self) {
        let end = self.end.load(Ordering::SeqCst);
        self.file.write_all_at(&[IoSlice::new(&[1; 100])], end * 100).unwrap();
        self.end.store(end + 1, Ordering::SeqCst);
    }
}

impl FlushTarget for Log {
    fn ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    fn begin(&self) -> FlushJob {
        self.begins.fetch_add(1, Ordering::SeqCst);
        FlushJob {
            up_to: Offset(self.end.load(Ordering::SeqCst) as i64),
            files: vec![Arc::clone(&self.file)],
            dirs: std::mem::take(&mut *self.dirs.lock()),
        }
    }

    fn complete(&self, job: FlushJob, result: io::Result<()>) {
        self.done.send((job.up_to.0, result.err().map(|error| error.kind()))).unwrap();
    }
}

fn simulated(seed: u64) -> (SimFileSystem, Arc<dyn FileSystem>, PathBuf) {
    let sim = SimFileSystem::new(seed, SimOptions::default());
    let root = PathBuf::from("/data");
    sim.create_dir_all(&root).unwrap();
    sim.sync_disk(&root).unwrap();
    (sim.clone(), Arc::new(sim), root)
}

fn target(log: &Arc<Log>) -> Arc<dyn FlushTarget> {
    Arc::clone(log) as Arc<dyn FlushTarget>
}

#[test]
fn what_was_appended_before_the_batch_rides_along() {
    let (sim, fs, root) = simulated(1);
    let flush = FlushCoordinator::manual(Arc::clone(&fs), root.clone(), SyncPolicy::default());
    let (log, done) = Log::new(&*fs, &root.join("log"));
    for _ in 0..3 {
        log.append();
        flush.request(&target(&log));
    }
    assert_eq!(flush.waiting(), 1, "a log waits once");
    log.append();
    assert!(flush.flush_pending());
    assert_eq!(done.try_iter().collect::<Vec<_>>(), [(4, None)]);
    assert!(!flush.flush_pending(), "nothing waits");
    sim.crash();
    let file = fs.open(&root.join("log"), OpenMode::Read).unwrap();
    assert_eq!(file.len().unwrap(), 400, "data, length and name are durable");
}

#[test]
fn few_files_are_synced_singly_and_many_with_the_disk() {
    let (sim, fs, root) = simulated(2);
    let policy = SyncPolicy { single_max: 2, ..SyncPolicy::default() };
    let flush = FlushCoordinator::manual(Arc::clone(&fs), root.clone(), policy);
    let logs: Vec<_> = (0..3).map(|n| Log::new(&*fs, &root.join(format!("log-{n}")))).collect();
    for (log, _) in &logs {
        log.dirs.lock().clear();
        log.append();
    }
    let count = |op: &str| sim.trace().iter().filter(|line| line.contains(op)).count();
    let (singly, disk) = (count("SyncData"), count("SyncDisk"));
    for (log, _) in &logs[..2] {
        flush.request(&target(log));
    }
    flush.flush_pending();
    assert_eq!((count("SyncData"), count("SyncDisk")), (singly + 2, disk));
    for (log, _) in &logs {
        flush.request(&target(log));
    }
    flush.flush_pending();
    assert_eq!((count("SyncData"), count("SyncDisk")), (singly + 2, disk + 1));
    assert_eq!(logs[2].1.try_iter().collect::<Vec<_>>(), [(1, None)]);
}

#[test]
fn an_error_reaches_those_it_may_have_hit() {
    let (sim, fs, root) = simulated(3);
    let policy = SyncPolicy { single_max: 3, ..SyncPolicy::default() };
    let flush = FlushCoordinator::manual(Arc::clone(&fs), root.clone(), policy);
    let logs: Vec<_> = (0..4).map(|n| Log::new(&*fs, &root.join(format!("log-{n}")))).collect();
    for (log, _) in &logs {
        log.dirs.lock().clear();
        log.append();
    }
    let outcome = || -> Vec<Option<io::ErrorKind>> {
        logs.iter().filter_map(|(_, done)| done.try_recv().ok()).map(|done| done.1).collect()
    };
    let failed = Some(DiskError::Io.to_io().kind());
    sim.fail_next(OpMatcher::op(Op::SyncData).on("log-1"), DiskError::Io);
    for (log, _) in &logs[..3] {
        flush.request(&target(log));
    }
    flush.flush_pending();
    assert_eq!(outcome(), [None, failed, None], "a file's error is its log's");

    sim.fail_next(OpMatcher::op(Op::SyncDisk), DiskError::Io);
    let before = sim.calls();
    for (log, _) in &logs {
        flush.request(&target(log));
    }
    flush.flush_pending();
    assert_eq!(outcome(), [failed; 4], "a disk's error is everyone's");
    assert_eq!(sim.calls(), before + 1, "and nothing is tried again");

    logs[0].0.dirs.lock().push(root);
    sim.fail_next(OpMatcher::op(Op::SyncDir), DiskError::Io);
    for (log, _) in &logs[..2] {
        flush.request(&target(log));
    }
    flush.flush_pending();
    assert_eq!(outcome(), [failed, None], "a folder's error is whose name it holds");
}

#[test]
fn volatile_file_systems_flush_within_the_request() {
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    fs.create_dir_all(Path::new("/data")).unwrap();
    let flush = FlushCoordinator::inline(Arc::clone(&fs), "/data".into());
    let (log, done) = Log::new(&*fs, Path::new("/data/log"));
    for end in 1..4 {
        log.append();
        flush.request(&target(&log));
        assert_eq!(done.try_recv().unwrap(), (end, None));
    }
}

#[test]
fn a_request_from_within_a_completion_starts_the_next_batch() {
    #[derive(Debug)]
    struct Again {
        ticket: FlushTicket,
        flush: FlushCoordinator,
        me: Mutex<Option<Arc<dyn FlushTarget>>>,
        completions: AtomicU64,
    }
    impl FlushTarget for Again {
        fn ticket(&self) -> &FlushTicket {
            &self.ticket
        }
        fn begin(&self) -> FlushJob {
            FlushJob::default()
        }
        fn complete(&self, _: FlushJob, _: io::Result<()>) {
            if self.completions.fetch_add(1, Ordering::SeqCst) < 9 {
                let me = self.me.lock().clone();
                self.flush.request(&me.unwrap());
            }
        }
    }
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let flush = FlushCoordinator::inline(fs, "/".into());
    let again = Arc::new(Again {
        ticket: FlushTicket::new(),
        flush: flush.clone(),
        me: Mutex::new(None),
        completions: AtomicU64::new(0),
    });
    *again.me.lock() = Some(Arc::clone(&again) as Arc<dyn FlushTarget>);
    flush.request(&(Arc::clone(&again) as Arc<dyn FlushTarget>));
    assert_eq!(again.completions.load(Ordering::SeqCst), 10);
    again.me.lock().take();
}

#[test]
fn every_append_of_many_threads_becomes_durable() {
    let folder = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(OsFileSystem::new());
    for spins in [0, 1000] {
        let root = folder.path().join(spins.to_string());
        fs.create_dir_all(&root).unwrap();
        let batches = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&batches);
        let options = FlushOptions {
            spins,
            on_batch: Some(Arc::new(move |report| {
                assert!(report.logs > 0 && report.failed == 0, "{report:?}");
                seen.fetch_add(1, Ordering::SeqCst);
            })),
            clock: Some(Arc::new(ottla_protocol::model::MonoTime::default)),
            ..FlushOptions::default()
        };
        let thread = FlushThread::spawn(Arc::clone(&fs), root.clone(), options).unwrap();
        let flush = thread.coordinator();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (fs, flush, root) = (Arc::clone(&fs), flush.clone(), root.clone());
                scope.spawn(move || {
                    let (log, done) = Log::new(&*fs, &root.join(format!("log-{n}")));
                    for end in 1..=50 {
                        log.append();
                        flush.request(&target(&log));
                        if n == 3 {
                            // One of them lends its own thread.
                            flush.flush_pending();
                        }
                        while done.recv().unwrap().0 < end {}
                    }
                });
            }
        });
        assert!(batches.load(Ordering::SeqCst) > 0);
        drop(thread);
    }
}

#[test]
fn dropping_the_thread_flushes_what_waits() {
    let (_, fs, root) = simulated(4);
    let thread =
        FlushThread::spawn(Arc::clone(&fs), root.clone(), FlushOptions::default()).unwrap();
    let flush = thread.coordinator();
    let (log, done) = Log::new(&*fs, &root.join("log"));
    log.append();
    flush.request(&target(&log));
    drop(thread);
    assert_eq!(done.try_recv().unwrap(), (1, None));
    log.append();
    flush.request(&target(&log));
    assert!(flush.flush_pending(), "a caller can still flush by itself");
    assert_eq!(done.try_recv().unwrap(), (2, None));
}

#[test]
fn a_target_that_panics_stops_nobody_else() {
    #[derive(Debug, Default)]
    struct Broken(FlushTicket);
    impl FlushTarget for Broken {
        fn ticket(&self) -> &FlushTicket {
            &self.0
        }
        fn begin(&self) -> FlushJob {
            panic!("expected by this test")
        }
        fn complete(&self, _: FlushJob, _: io::Result<()>) {}
    }
    let (_, fs, root) = simulated(5);
    let flush = FlushCoordinator::manual(Arc::clone(&fs), root.clone(), SyncPolicy::default());
    let (log, done) = Log::new(&*fs, &root.join("log"));
    flush.request(&(Arc::new(Broken::default()) as Arc<dyn FlushTarget>));
    log.append();
    flush.request(&target(&log));
    flush.flush_pending();
    assert_eq!(done.try_recv().unwrap(), (1, None));
}
