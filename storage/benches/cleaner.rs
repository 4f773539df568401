//! How fast compaction reads, decides and writes: MB of log per second, by record size and codec.
//!
//! Owns: the measurement, beside the raw cost of reading and writing the same bytes in the same run.
//! `cargo bench -p ottla-storage --bench cleaner`; in memory, so that the disk is not what is
//! measured. Rates are by processor time of this thread, the best of three rounds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::{Offset, Timestamp};
use ottla_protocol::records::{BatchBuilder, Codec, Compression, NewRecord};
use ottla_storage::cleaner::{CleanPlan, CleanRun, MapMemory, SourceSegment, Unlimited};
use ottla_storage::fs::{FileSystem, MemoryFileSystem, OpenMode};

const LOG_BYTES: usize = 128 << 20;
const SEGMENT_BYTES: usize = 32 << 20;

/// Segments of batches of about 16 KiB, with `duplicates` records for each key.
fn fill(fs: &Arc<dyn FileSystem>, record: usize, codec: Codec, duplicates: u64) -> CleanPlan {
    fs.create_dir_all(Path::new("/bench-0")).unwrap();
    let keys = (LOG_BYTES / record) as u64 / duplicates;
    let value: Vec<u8> = (0..record).map(|at| (at * 31 % 97) as u8).collect();
    let (mut offset, mut segments, mut total) = (0i64, Vec::new(), 0);
    while total < LOG_BYTES {
        let base = offset;
        let path = format!("/bench-0/{base:020}.source");
        let log = fs.open(Path::new(&path), OpenMode::CreateNew).unwrap();
        let mut bytes = 0;
        while bytes < SEGMENT_BYTES {
            let mut builder =
                BatchBuilder::new(Compression::new(codec, None)).with_base_offset(Offset(offset));
            let count = (16_384 / record).max(1) as i64;
            for at in offset..offset + count {
                // Spread, so that every batch loses some of its records.
                let key = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                let key = format!("user-{:012}", key % keys.max(1));
                let new = NewRecord {
                    key: Some(key.as_bytes()),
                    value: Some(&value),
                    ..NewRecord::at(Timestamp(at))
                };
                builder.push(new).unwrap();
            }
            let batch = builder.build().unwrap();
            log.write_all_at(&[IoSlice::new(&batch)], bytes as u64).unwrap();
            bytes += batch.len();
            offset += count;
            total += record * count as usize;
            if total >= LOG_BYTES {
                break;
            }
        }
        let next_base = Offset(offset);
        segments.push(SourceSegment {
            base: Offset(base),
            next_base,
            log,
            log_bytes: bytes as u64,
            offset_index_bytes: 0,
            time_index_bytes: 0,
        });
    }
    CleanPlan {
        fs: Arc::clone(fs),
        dir: "/bench-0".into(),
        segments,
        truncations: 0,
        first_dirty: Offset(0),
        first_uncleanable: Offset(offset),
        aborted: Vec::new(),
        producers: BTreeMap::new(),
        delete_retention_millis: 1,
        segment_bytes: 1 << 30,
        index_bytes_max: 10 << 20,
        index_interval_bytes: 4096,
    }
}

/// Processor time of this thread so far.
fn cpu() -> Duration {
    // Or the kernel tells what it was at the last tick, up to 4 ms ago.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn copy_cost(plan: &CleanPlan) -> f64 {
    let start = cpu();
    for segment in &plan.segments {
        let to = plan.fs.open(Path::new("/bench-0/copy"), OpenMode::Create).unwrap();
        let mut at = 0;
        while at < segment.log_bytes {
            let bytes = segment.log.read_bytes_at(at, 1 << 20).unwrap();
            to.write_all_at(&[IoSlice::new(&bytes)], at).unwrap();
            at += bytes.len() as u64;
        }
        plan.fs.remove_file(Path::new("/bench-0/copy")).unwrap();
    }
    (cpu() - start).as_secs_f64()
}

/// Seconds for the copy, the map and the cleaning, and the bytes of the log.
fn round(record: usize, codec: Codec) -> ([f64; 3], u64) {
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let plan = fill(&fs, record, codec, 4);
    let bytes = plan.segments.iter().map(|segment| segment.log_bytes).sum();
    let copied = copy_cost(&plan);
    let start = cpu();
    let memory = MapMemory { bytes: 128 << 20, seeds: [3, 4] };
    let mut run = CleanRun::start(plan, memory, Timestamp(1), &mut Unlimited).unwrap();
    let mapped = (cpu() - start).as_secs_f64();
    while let Some(group) = run.next_group(&mut Unlimited).unwrap() {
        group.discard(&*fs);
    }
    let cleaned = (cpu() - start).as_secs_f64() - mapped;
    assert!(run.report().records_kept * 2 < run.report().records_read);
    ([copied, mapped, cleaned], bytes)
}

fn main() {
    println!("{} MiB of records, four records for each key", LOG_BYTES >> 20);
    println!(
        "{:>8} {:>7} {:>9} {:>9} {:>10} {:>10} {:>11}",
        "record", "codec", "MB log", "map MB/s", "clean MB/s", "both MB/s", "copy MB/s"
    );
    for (record, codec) in [
        (100, Codec::None),
        (1_000, Codec::None),
        (16_000, Codec::None),
        (1_000_000, Codec::None),
        (100, Codec::Lz4),
        (1_000, Codec::Zstd),
    ] {
        let rounds = [(); 3].map(|()| round(record, codec));
        let best = |part: usize| {
            rounds.iter().map(|(seconds, _)| seconds[part]).fold(f64::INFINITY, f64::min)
        };
        let megabytes = rounds[0].1 as f64 / 1e6;
        println!(
            "{record:>8} {:>7} {megabytes:>9.0} {:>9.0} {:>10.0} {:>10.0} {:>11.0}",
            codec.name(),
            megabytes / best(1),
            megabytes / best(2),
            megabytes / (best(1) + best(2)),
            megabytes / best(0)
        );
    }
}
