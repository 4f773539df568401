//! What a flush costs by number of dirty files and by way of syncing, and what a single waiter waits.
//!
//! Owns: the measurements behind `SyncPolicy` and `FlushOptions`. Run on the disk in question:
//! `cargo bench -p ottla-storage --bench flush -- /path/on/that/disk [--dirty] [--ping] [--load]`. The raw calls are measured in
//! the same run, because only ratios carry over between machines.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ottla_protocol::model::Offset;
use ottla_storage::flush::{
    FlushCoordinator, FlushJob, FlushOptions, FlushTarget, FlushThread, FlushTicket, SyncPolicy,
};
use ottla_storage::fs::{File, FileSystem, OpenMode, OsFileSystem};

const APPEND_BYTES: usize = 16 << 10;

#[derive(Debug)]
struct Log {
    ticket: FlushTicket,
    file: Arc<dyn File>,
    end: AtomicU64,
    done: Sender<Offset>,
}

impl Log {
    fn append(&self, bytes: &[u8]) {
        let at = self.end.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        self.file.write_all_at(&[IoSlice::new(bytes)], at).unwrap();
    }
}

impl FlushTarget for Log {
    fn ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    fn begin(&self) -> FlushJob {
        let up_to = Offset(self.end.load(Ordering::SeqCst) as i64);
        FlushJob { up_to, files: vec![Arc::clone(&self.file)], dirs: Vec::new() }
    }

    fn complete(&self, job: FlushJob, result: io::Result<()>) {
        result.unwrap();
        let _ = self.done.send(job.up_to);
    }
}

fn logs(fs: &dyn FileSystem, root: &Path, count: usize) -> (Vec<Arc<Log>>, Receiver<Offset>) {
    fs.create_dir_all(root).unwrap();
    let (done, receiver) = channel();
    let logs = (0..count).map(|n| {
        let file = fs.open(&root.join(format!("{n}.log")), OpenMode::Create).unwrap();
        let end = AtomicU64::new(0);
        Arc::new(Log { ticket: FlushTicket::new(), file, end, done: done.clone() })
    });
    (logs.collect(), receiver)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:8.3} ms   p90 {:8.3}   p99 {:8.3}", at(0.5), at(0.9), at(0.99))
}

fn measure(rounds: usize, mut round: impl FnMut()) -> String {
    percentiles(
        (0..rounds)
            .map(|_| {
                let start = Instant::now();
                round();
                start.elapsed()
            })
            .collect(),
    )
}

fn dirty_files(fs: &Arc<dyn FileSystem>, root: &Path) {
    let bytes = vec![7; APPEND_BYTES];
    println!("16 KiB appended to each of N files, then made durable (appends included):");
    for count in [1, 2, 3, 4, 8, 16, 64, 256, 1024] {
        let rounds = (4000 / count).clamp(8, 200);
        let folder = root.join(format!("dirty-{count}"));
        let (logs, done) = logs(&**fs, &folder, count);
        let append = || logs.iter().for_each(|log| log.append(&bytes));
        fs.sync_disk(&folder).unwrap();
        let singly = measure(rounds.min(60), || {
            append();
            logs.iter().for_each(|log| log.file.sync_data().unwrap());
        });
        let disk = measure(rounds, || {
            append();
            fs.sync_disk(&folder).unwrap();
        });
        let thread =
            FlushThread::spawn(Arc::clone(fs), folder.clone(), FlushOptions::default()).unwrap();
        let flush = thread.coordinator();
        let coordinated = measure(rounds, || {
            for log in &logs {
                log.append(&bytes);
                flush.request(&(Arc::clone(log) as Arc<dyn FlushTarget>));
            }
            for _ in &logs {
                done.recv().unwrap();
            }
        });
        drop(thread);
        while done.try_recv().is_ok() {}
        println!("N {count:5}  fdatasync each  {singly}");
        println!("         syncfs          {disk}");
        println!("         coordinator     {coordinated}");
        drop(logs);
        fs.remove_dir_all(&folder).unwrap();
    }
}

/// One waiter, one record at a time, with the pause that a network round trip leaves.
fn ping(fs: &Arc<dyn FileSystem>, root: &Path) {
    let record = [7; 170];
    println!("one record of 100 B at a time (170 B batch), append to durable:");
    let folder = root.join("ping");
    let (logs, done) = logs(&**fs, &folder, 1);
    let log = &logs[0];
    let target = Arc::clone(log) as Arc<dyn FlushTarget>;
    for pause in [Duration::ZERO, Duration::from_micros(60), Duration::from_millis(2)] {
        let run = |round: &mut dyn FnMut()| {
            let times = (0..500).map(|_| {
                let wait = Instant::now();
                while wait.elapsed() < pause {
                    if pause > Duration::from_millis(1) {
                        std::thread::sleep(pause);
                    }
                    std::hint::spin_loop();
                }
                let start = Instant::now();
                round();
                start.elapsed()
            });
            percentiles(times.collect())
        };
        println!("pause {pause:?}");
        let raw = run(&mut || {
            log.append(&record);
            log.file.sync_data().unwrap();
        });
        println!("  write + fdatasync         {raw}");
        let here = FlushCoordinator::manual(Arc::clone(fs), folder.clone(), SyncPolicy::default());
        let own = run(&mut || {
            log.append(&record);
            here.request(&target);
            here.flush_pending();
            done.recv().unwrap();
        });
        println!("  caller flushes            {own}");
        for spins in [0, 100, 1_000, 10_000] {
            let options = FlushOptions { spins, ..FlushOptions::default() };
            let thread = FlushThread::spawn(Arc::clone(fs), folder.clone(), options).unwrap();
            let flush = thread.coordinator();
            let times = run(&mut || {
                log.append(&record);
                flush.request(&target);
                done.recv().unwrap();
            });
            println!("  thread, spins {spins:6}      {times}");
        }
    }
}

/// Appends of 1 KiB from several threads, each waiting for its own: how much one flush carries.
fn throughput(fs: &Arc<dyn FileSystem>, root: &Path) {
    println!("waiters on own logs, 1 KiB each, closed loop, 2 s:");
    for waiters in [1, 4, 16, 64] {
        let folder = root.join(format!("load-{waiters}"));
        let thread =
            FlushThread::spawn(Arc::clone(fs), root.to_owned(), FlushOptions::default()).unwrap();
        let flush = thread.coordinator();
        let total = AtomicU64::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for waiter in 0..waiters {
                let (flush, total, folder) = (flush.clone(), &total, folder.clone());
                scope.spawn(move || {
                    let (logs, done) = logs(&**fs, &folder.join(waiter.to_string()), 1);
                    let target = Arc::clone(&logs[0]) as Arc<dyn FlushTarget>;
                    while start.elapsed() < Duration::from_secs(2) {
                        logs[0].append(&[7; 1024]);
                        flush.request(&target);
                        done.recv().unwrap();
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let per_second = total.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        println!("  {waiters:4} waiters  {per_second:9.0} acknowledged appends/s");
    }
}

fn main() {
    let base = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    let root = base.join(format!("ottla-bench-flush-{}", std::process::id()));
    let fs: Arc<dyn FileSystem> = Arc::new(OsFileSystem::new());
    fs.create_dir_all(&root).unwrap();
    println!("on {}", root.display());
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| a.starts_with("--")).collect();
    let runs =
        |part: &str| wanted.iter().all(|a| a == "--bench") || wanted.iter().any(|a| a == part);
    if runs("--dirty") {
        dirty_files(&fs, &root);
    }
    if runs("--ping") {
        ping(&fs, &root);
    }
    if runs("--load") {
        throughput(&fs, &root);
    }
    fs.remove_dir_all(&root).unwrap();
}
