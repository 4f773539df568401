//! What the log costs per batch, beside the raw cost of the same writes and reads in the same run.
//!
//! Owns: append and read at four sizes, lookups, recovery per GB, and opening a thousand partitions.
//! `cargo bench -p ottla-storage --bench log -- /path/on/the/disk [append|read|recover|open]`.
//! Figures are processor time of this thread, the best of three rounds: on a busy machine the clock
//! on the wall says more about the neighbours. Only opening is timed by the wall as well.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::fs;
use std::hint::black_box;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_protocol::model::{
    LeaderEpoch, MonoTime, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{Batch, BatchBuilder, BatchHeader, Compression, HEADER, NewRecord};
use ottla_storage::fs::os::OsFileSystem;
use ottla_storage::fs::{FileSystem, OpenMode};
use ottla_storage::{
    AppendOrigin, LeaderAppend, LeaderBatch, LogResources, LogSettings, MinOneBatch, OpenContext,
    PartitionLog, Shutdown,
};

const SIZES: [usize; 4] = [100, 1 << 10, 16 << 10, 1 << 20];
const EPOCH: LeaderEpoch = LeaderEpoch(0);

fn now() -> Now {
    let wall = Timestamp(1_700_000_000_000);
    Now { mono: MonoTime::default(), wall }
}

fn batch(bytes: usize, producer: Option<ProducerId>) -> LeaderBatch {
    let mut builder = BatchBuilder::new(Compression::NONE);
    if let Some(id) = producer {
        builder = builder.with_producer(id, ProducerEpoch(0), 0);
    }
    let value = vec![b'x'; bytes.saturating_sub(HEADER + 12).max(1)];
    let record = NewRecord { timestamp: now().wall, key: None, value: Some(&value), headers: &[] };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *Batch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}

fn fresh(root: &Path, name: &str, tail_bytes: u64) -> PartitionLog {
    let dir = root.join(name);
    let _ = fs::remove_dir_all(&dir);
    let resources = LogResources::new(256, tail_bytes);
    let ctx = OpenContext::new(now(), resources);
    let settings = LogSettings { max_message_bytes: 8 << 20, ..LogSettings::default() };
    PartitionLog::create(Arc::new(OsFileSystem::new()), dir, settings, &ctx).unwrap()
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..3).map(|_| round()).min().unwrap()
}

/// Processor time of this thread so far.
fn cpu() -> Duration {
    // Or the kernel tells what it was at the last tick, up to 4 ms ago.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn per(total: Duration, count: usize) -> f64 {
    total.as_secs_f64() * 1e6 / count as f64
}

fn append_all(log: &mut PartitionLog, batch: &LeaderBatch, count: usize) {
    let producer = batch.header.has_producer_id();
    for sequence in 0..count {
        let mut batch = batch.clone();
        if producer {
            batch.header = BatchHeader { base_sequence: sequence as i32, ..batch.header };
        }
        let frame_bytes = HEADER + batch.payload.len();
        let append = LeaderAppend {
            batches: std::slice::from_ref(&batch),
            origin: AppendOrigin::Client,
            frame_bytes,
        };
        black_box(log.append_as_leader(&append, EPOCH, now()).unwrap());
    }
}

fn bench_append(root: &Path) {
    println!(
        "append, us per batch   raw pwritev   log   with producer   without tail cache   \
         per MB: raw   log"
    );
    for size in SIZES {
        let count = (64_usize << 20).div_ceil(size).min(40_000);
        let plain = batch(size, None);
        let raw = best(|| {
            let path = root.join("raw");
            let file = OsFileSystem::new().open(&path, OpenMode::Create).unwrap();
            file.set_len(0).unwrap();
            let start = cpu();
            let mut position = 0;
            for offset in 0..count {
                let head = plain.header.assign(Offset(offset as i64), EPOCH);
                let parts = [IoSlice::new(&head), IoSlice::new(&plain.payload)];
                file.write_all_at(&parts, position).unwrap();
                position += plain.header.size() as u64;
            }
            cpu() - start
        });
        let log = |batch: &LeaderBatch, tail| {
            best(|| {
                let mut log = fresh(root, "append", tail);
                let start = cpu();
                append_all(&mut log, batch, count);
                cpu() - start
            })
        };
        let plain_log = log(&plain, 32 << 20);
        println!(
            "{size:>8} B x {count:<8}   {:>8.2}   {:>8.2}   {:>8.2}   {:>8.2}   {:>8.0}   {:>8.0}",
            per(raw, count),
            per(plain_log, count),
            per(log(&batch(size, Some(ProducerId(1))), 32 << 20), count),
            per(log(&plain, 0), count),
            per(raw, count) * 1e6 / size as f64,
            per(plain_log, count) * 1e6 / size as f64,
        );
    }
}

fn bench_read(root: &Path) {
    println!("read of 1 MiB, us      raw pread   files   tail cache   one batch: files   tail");
    for size in SIZES {
        let count = (64_usize << 20).div_ceil(size).min(40_000);
        let mut log = fresh(root, "read", 4 << 20);
        append_all(&mut log, &batch(size, None), count);
        let end = log.log_end();
        let in_mib = (1_usize << 20).div_ceil(size).min(count / 2) as i64;
        let rounds = 200;
        let file = OsFileSystem::new()
            .open(&root.join("read/00000000000000000000.log"), OpenMode::Read)
            .unwrap();
        let mut buffer = vec![0; 1 << 20];
        let raw = best(|| {
            let start = cpu();
            for round in 0..rounds {
                let position = (round as u64 * 65_536) % (32 << 20);
                let _ = black_box(file.read_at(&mut buffer, position).unwrap());
            }
            cpu() - start
        });
        let read = |log: &PartitionLog, from: i64, max: u32| {
            let read = log.read(Offset(from), max, end, MinOneBatch::Yes).unwrap();
            black_box(read.next_offset)
        };
        let timed = |log: &PartitionLog, first: i64, span: i64, max: u32| {
            best(|| {
                let start = cpu();
                for round in 0..rounds as i64 {
                    read(log, first + round * 7919 % span.max(1), max);
                }
                cpu() - start
            })
        };
        let tail_from = end.get() - (in_mib / 2).max(1);
        let tail = timed(&log, tail_from, (in_mib / 4).max(1), 1 << 20);
        let tail_one = timed(&log, tail_from, (in_mib / 4).max(1), 1);
        log.shed_tail();
        let files = timed(&log, 0, count as i64 / 2, 1 << 20);
        let files_one = timed(&log, 0, count as i64 / 2, 1);
        println!(
            "{size:>8} B x {count:<8}   {:>8.2}   {:>8.2}   {:>8.2}   {:>8.2}   {:>8.2}",
            per(raw, rounds),
            per(files, rounds),
            per(tail, rounds),
            per(files_one, rounds),
            per(tail_one, rounds),
        );
    }
}

fn bench_recover(root: &Path) {
    let bytes = 256_usize << 20;
    let mut log = fresh(root, "recover", 0);
    append_all(&mut log, &batch(16 << 10, None), bytes / (16 << 10));
    let end = log.log_end();
    let lookups = 20_000;
    let start = cpu();
    for round in 0..lookups as i64 {
        let read = log.read(Offset(round * 7919 % end.get()), 1, end, MinOneBatch::Yes).unwrap();
        black_box(read.bytes);
    }
    println!("offset lookup with its batch's place: {:.2} us", per(cpu() - start, lookups));
    let start = cpu();
    for _ in 0..200 {
        black_box(log.offset_for_timestamp(now().wall).unwrap());
    }
    println!("timestamp lookup with its record: {:.2} us", per(cpu() - start, 200));
    log.close_clean(now()).unwrap();
    drop(log);
    let raw = best(|| {
        let segment = root.join("recover/00000000000000000000.log");
        let file = OsFileSystem::new().open(&segment, OpenMode::Read).unwrap();
        let mut chunk = vec![0; 16 << 10];
        let (start, mut sum) = (cpu(), 0);
        for at in (0..file.len().unwrap()).step_by(chunk.len()) {
            let read = file.read_at(&mut chunk, at).unwrap();
            sum ^= crc32c::crc32c(&chunk[..read]);
        }
        black_box(sum);
        cpu() - start
    });
    println!("raw read and CRC32C of 256 MiB: {:.2} ms", raw.as_secs_f64() * 1e3);
    for (name, shutdown, point) in [
        ("after a crash, nothing known", Shutdown::Unclean, Offset::ZERO),
        ("after a crash, all below the recovery point", Shutdown::Unclean, end),
        ("after a clean close", Shutdown::Clean, end),
    ] {
        let took = best(|| {
            let ctx = OpenContext {
                shutdown,
                recovery_point: point,
                ..OpenContext::new(now(), LogResources::new(256, 0))
            };
            let fs: Arc<dyn FileSystem> = Arc::new(OsFileSystem::new());
            let settings = LogSettings::default();
            let start = cpu();
            let opened = PartitionLog::open(fs, root.join("recover"), settings, &ctx).unwrap();
            assert_eq!(opened.0.log_end(), end);
            cpu() - start
        });
        let per_gb = took.as_secs_f64() * (1 << 30) as f64 / bytes as f64;
        println!("open 256 MiB {name}: {:.2} ms ({per_gb:.3} s/GiB)", took.as_secs_f64() * 1e3);
    }
}

fn resident_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    pages * 4
}

fn open_file_count() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// A thousand partitions, each with a sparse closed segment of 100 MB and a small active one.
fn bench_open(root: &Path) {
    let count = 1_000;
    let one = batch(1 << 10, Some(ProducerId(1)));
    let dirs: Vec<PathBuf> = (0..count).map(|index| root.join(format!("many/t-{index}"))).collect();
    for (index, dir) in dirs.iter().enumerate() {
        let mut log = fresh(root, &format!("many/t-{index}"), 0);
        append_all(&mut log, &one, 20);
        log.roll(now()).unwrap();
        let next = batch(1 << 10, None);
        let append =
            LeaderAppend { batches: &[next], origin: AppendOrigin::Client, frame_bytes: 0 };
        log.append_as_leader(&append, EPOCH, now()).unwrap();
        // As after a flush, but for the syncs: a thousand of them would measure the disk.
        for _ in 0..2 {
            let job = log.begin_flush().unwrap();
            log.complete_flush(job.up_to).unwrap();
        }
        drop(log);
        let closed = dir.join("00000000000000000000.log");
        fs::OpenOptions::new().write(true).open(closed).unwrap().set_len(100_000_000).unwrap();
    }
    for (name, shutdown) in [("crash", Shutdown::Unclean), ("clean", Shutdown::Clean)] {
        let resources = LogResources::new(512, 8 << 20);
        let before = resident_kib();
        let (wall, start) = (Instant::now(), cpu());
        let logs: Vec<PartitionLog> = dirs
            .iter()
            .map(|dir| {
                let ctx = OpenContext {
                    shutdown,
                    recovery_point: Offset(20),
                    ..OpenContext::new(now(), Arc::clone(&resources))
                };
                let fs: Arc<dyn FileSystem> = Arc::new(OsFileSystem::new());
                let opened =
                    PartitionLog::open(fs, dir.clone(), LogSettings::default(), &ctx).unwrap();
                assert_eq!((opened.1.damage, opened.0.log_end()), (None, Offset(21)));
                opened.0
            })
            .collect();
        println!(
            "open {count} partitions, 100 GB (sparse), after a {name}: {:.0} ms ({:.0} ms of \
             processor), {:.1} KiB and {:.2} open files each",
            wall.elapsed().as_secs_f64() * 1e3,
            (cpu() - start).as_secs_f64() * 1e3,
            (resident_kib() - before) as f64 / count as f64,
            open_file_count() as f64 / count as f64,
        );
        drop(logs);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let root = args.iter().find(|arg| arg.contains('/'));
    let root = root.map_or_else(std::env::temp_dir, PathBuf::from).join("ottla-bench-log");
    fs::create_dir_all(&root).unwrap();
    let wanted =
        |name: &str| args.iter().all(|arg| arg.contains('/')) || args.iter().any(|arg| arg == name);
    if wanted("append") {
        bench_append(&root);
    }
    if wanted("read") {
        bench_read(&root);
    }
    if wanted("recover") {
        bench_recover(&root);
    }
    if wanted("open") {
        bench_open(&root);
    }
    let _ = fs::remove_dir_all(&root);
}
