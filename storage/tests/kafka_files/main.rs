//! Our log on files that a real Kafka wrote, and Kafka's tools on files that we wrote.
//!
//! The samples are in `tests/records`. Kafka and its dump tool come with the workshop's kit; where it
//! is not there, those tests say so and check nothing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test: what is not as it should be ends it"
)]

mod dump;
mod live;
mod replay;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::model::{LeaderEpoch, MonoTime, Now, Offset, Timestamp};
use ottla_protocol::records::BatchIter;
use ottla_storage::fs::memory::MemoryFileSystem;
use ottla_storage::fs::{FileSystem, OpenMode};
use ottla_storage::producer_state::snapshot::{self, Expiry};
use ottla_storage::{
    CleanupPolicy, LogResources, LogSettings, MinOneBatch, OpenContext, PartitionLog, Shutdown,
};

pub(crate) const DIR: &str = "/data/topic-0";

pub(crate) fn samples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    let mut samples: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("partition.metadata").exists())
        .collect();
    samples.sort();
    assert!(samples.len() >= 13);
    samples
}

pub(crate) fn now() -> Now {
    Now { mono: MonoTime::default(), wall: Timestamp(1_700_000_000_000) }
}

pub(crate) fn context() -> OpenContext {
    OpenContext::new(now(), LogResources::new(64, 1 << 20))
}

/// The sample's files on a memory file system, so that the sample stays as it is.
pub(crate) fn copy(sample: &Path) -> Arc<MemoryFileSystem> {
    let fs = Arc::new(MemoryFileSystem::new());
    fs.create_dir_all(Path::new(DIR)).unwrap();
    for entry in std::fs::read_dir(sample).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(DIR).join(entry.file_name());
        let file = fs.open(&path, OpenMode::CreateNew).unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        file.write_all_at(&[IoSlice::new(&bytes)], 0).unwrap();
    }
    fs
}

pub(crate) fn read(fs: &dyn FileSystem, name: &str) -> Vec<u8> {
    let file = fs.open(&Path::new(DIR).join(name), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub(crate) fn open(fs: &Arc<MemoryFileSystem>, ctx: &OpenContext) -> PartitionLog {
    let settings = LogSettings { cleanup: CleanupPolicy::Compact, ..LogSettings::default() };
    let fs: Arc<dyn FileSystem> = fs.clone();
    let (log, report) = PartitionLog::open(fs, DIR.into(), settings, ctx).unwrap();
    assert_eq!((report.damage, report.torn), (None, None));
    log
}

/// Base offset, last offset and largest timestamp of every batch, read through the log.
pub(crate) fn batches(log: &PartitionLog) -> Vec<(i64, i64, i64)> {
    let mut all = Vec::new();
    let mut at = log.log_start();
    while at < log.log_end() {
        let read = log.read(at, 200, log.log_end(), MinOneBatch::Yes).unwrap();
        let bytes = read.to_bytes().unwrap();
        for batch in BatchIter::new(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let header = batch.header();
            all.push((
                header.base_offset.get(),
                header.last_offset().get(),
                header.max_timestamp.get(),
            ));
        }
        assert!(read.next_offset > at);
        at = read.next_offset;
    }
    all
}

/// What Kafka's dump says of the batches.
fn dumped(sample: &Path) -> Vec<(i64, i64, i64)> {
    dumped_batches(&std::fs::read_to_string(sample.join("dump.txt")).unwrap())
}

pub(crate) fn dumped_batches(text: &str) -> Vec<(i64, i64, i64)> {
    let number = |line: &str, name: &str| -> i64 {
        let rest = line.split_once(&format!("{name}: ")).unwrap().1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    text.lines()
        .filter(|line| line.starts_with("baseOffset: "))
        .map(|line| {
            let time = if line.contains("CreateTime") { "CreateTime" } else { "LogAppendTime" };
            (number(line, "baseOffset"), number(line, "lastOffset"), number(line, time))
        })
        .collect()
}

#[test]
fn kafkas_folders_open_after_any_shutdown() {
    let dumped_samples = samples().into_iter().filter(|sample| sample.join("dump.txt").exists());
    let dumped_samples: Vec<PathBuf> = dumped_samples.collect();
    assert!(dumped_samples.len() >= 8, "{dumped_samples:?}");
    for sample in dumped_samples {
        let wanted = dumped(&sample);
        for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
            let fs = copy(&sample);
            let log = open(&fs, &OpenContext { shutdown, ..context() });
            assert_eq!(batches(&log), wanted, "{}", sample.display());
            assert_eq!(log.log_end(), Offset(wanted.last().unwrap().1 + 1));
            assert!(!log.topic_id().is_nil());
            log.validate().unwrap();
            let last_epoch = log.epochs().entries().last().unwrap().epoch;
            let sample_name = sample.file_name().unwrap().to_str().unwrap();
            let epoch = i32::from(sample_name == "__cluster_metadata-0");
            assert_eq!(last_epoch, LeaderEpoch(epoch));
        }
    }
}

#[test]
fn producers_are_those_of_kafkas_snapshot() {
    let mut with_producers = 0;
    for sample in samples() {
        let fs = copy(&sample);
        // The newest snapshot is at the log's end: what Kafka had in memory when it stopped.
        let names = fs.list(Path::new(DIR)).unwrap();
        let snapshots = names.iter().filter(|entry| entry.name.ends_with(".snapshot"));
        let newest = snapshots.map(|entry| entry.name.clone()).max().unwrap();
        let end = Offset(newest.split('.').next().unwrap().parse().unwrap());
        let kafkas = snapshot::decode(&read(&*fs, &newest), end, Expiry::Never).unwrap();
        for entry in names.iter().filter(|entry| entry.name.ends_with(".snapshot")) {
            fs.remove_file(&Path::new(DIR).join(&entry.name)).unwrap();
        }
        let ctx = OpenContext { shutdown: Shutdown::Clean, ..context() };
        let log = open(&fs, &ctx);
        if log.log_end() != end {
            continue;
        }
        let ours = log.producers();
        for (id, known) in kafkas.iter() {
            let rebuilt = ours.get(id).unwrap_or_else(|| panic!("{id} in {}", sample.display()));
            assert_eq!(rebuilt.epoch, known.epoch);
            assert_eq!(rebuilt.coordinator_epoch, known.coordinator_epoch);
            assert_eq!(rebuilt.txn_first, known.txn_first);
            assert_eq!(rebuilt.last_timestamp, known.last_timestamp);
            assert_eq!(rebuilt.last_batch(), known.last_batch(), "{}", sample.display());
            with_producers += 1;
        }
        assert_eq!(ours.len(), kafkas.len(), "{}", sample.display());
    }
    assert!(with_producers >= 8, "{with_producers}");
}
