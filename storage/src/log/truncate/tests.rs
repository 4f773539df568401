//! Logs that are cut on disks that are full or fail on the way.

use std::path::Path;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, MonoTime, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{BatchBuilder, Compression, NewRecord};

use super::*;
use crate::fs::sim::{DiskError, Op, OpMatcher, SimFileSystem, SimOptions};
use crate::fs::{FileSystem, OpenMode};
use crate::log::append::is_full;
use crate::log::{LogResources, MinOneBatch, OpenContext};
use crate::settings::LogSettings;

const LIVE: &str = "/data/topic-0";
const RECORDS: i64 = 20;

fn now() -> Now {
    let wall = Timestamp(1_700_000_000_000);
    Now { mono: MonoTime::from_start(std::time::Duration::ZERO), wall }
}

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed, SimOptions::default());
    fs.create_dir_all(Path::new("/data")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn open(fs: &SimFileSystem, recovery_point: Offset) -> PartitionLog {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let resources = LogResources::new(16, 1 << 20);
    let context = OpenContext { recovery_point, ..OpenContext::new(now(), resources) };
    let settings = LogSettings { segment_bytes: 500, ..LogSettings::default() };
    PartitionLog::open(fs, LIVE.into(), settings, &context).unwrap().0
}

fn batch(base: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::NONE)
        .with_base_offset(Offset(base))
        .with_leader_epoch(LeaderEpoch(1))
        .with_producer(ProducerId(7), ProducerEpoch(0), base as i32);
    let value = format!("value at {base}");
    let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::at(now().wall) };
    builder.push(record).unwrap();
    builder.build().unwrap()
}

fn append(log: &mut PartitionLog, base: i64) {
    log.append_as_follower(&batch(base), now()).unwrap();
}

/// A log of several segments, all of it durable.
fn filled(fs: &SimFileSystem) -> PartitionLog {
    let mut log = open(fs, Offset::ZERO);
    (0..RECORDS).for_each(|base| append(&mut log, base));
    log.flush_now().unwrap();
    fs.sync_dir(Path::new("/data")).unwrap();
    assert!(log.segment_count() > 3);
    log
}

fn all(log: &PartitionLog) -> Bytes {
    log.read(Offset::ZERO, u32::MAX, log.log_end(), MinOneBatch::Yes).unwrap().to_bytes().unwrap()
}

fn last_sequence(log: &PartitionLog) -> i32 {
    log.producers().get(ProducerId(7)).unwrap().last_sequence()
}

fn full(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if is_full(source))
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was_and_in_service() {
    for seed in 0..20 {
        let fs = disk(seed);
        let mut log = filled(&fs);
        let before = all(&log);
        fs.fail_always(OpMatcher::op(Op::Write).on("segment-seals"), DiskError::NoSpace);
        let cut = log.truncate_to(Offset(5), now()).unwrap_err();
        let restarted = log.truncate_fully_and_start_at(Offset(9), now()).unwrap_err();
        assert!(full(&cut) && full(&restarted), "{cut}, {restarted}");
        assert_eq!((log.health(), all(&log) == before), (&LogHealth::Healthy, true));
        assert_eq!(log.cut_at(), None);
        fs.clear_faults();
        append(&mut log, RECORDS);
        log.flush_now().unwrap();
        let point = log.recovery_point();
        assert_eq!(point, Offset(RECORDS + 1));
        drop(log);
        // What was to be cut was not: its loss is damage.
        let fs = fs.fork(seed);
        let log = open(&fs, point);
        assert_eq!((log.cut_at(), log.log_end()), (None, point), "seed {seed}");
        drop(log);
        let mut last = fs.list(Path::new(LIVE)).unwrap().into_iter();
        let last = last.rfind(|file| file.name.ends_with(".log") && file.len > 0).unwrap();
        let path = Path::new(LIVE).join(last.name);
        fs.open(&path, OpenMode::ReadWrite).unwrap().set_len(0).unwrap();
        assert!(matches!(open(&fs, point).health(), LogHealth::Damaged(_)), "seed {seed}");
    }
}

#[test]
fn there_is_room_again_and_the_log_is_cut() {
    let fs = disk(1);
    let mut log = filled(&fs);
    fs.fail_next(OpMatcher::op(Op::Write).on("segment-seals"), DiskError::NoSpace);
    assert!(full(&log.truncate_to(Offset(5), now()).unwrap_err()));
    assert_eq!(log.truncate_to(Offset(5), now()).unwrap(), Offset(5));
    assert_eq!((log.cut_at(), last_sequence(&log)), (Some(Offset(5)), 4));
    fs.crash();
    let log = open(&fs, Offset(RECORDS));
    assert_eq!((log.health(), log.log_end()), (&LogHealth::Healthy, Offset(5)));
}

#[test]
fn a_log_that_is_not_fully_cut_is_offline() {
    for op in [Op::RemoveFile, Op::SyncDir, Op::SetLen] {
        let fs = disk(2);
        let mut log = filled(&fs);
        fs.fail_next(OpMatcher::op(op), DiskError::NoSpace);
        log.truncate_to(Offset(5), now()).unwrap_err();
        assert!(matches!(log.health(), LogHealth::Offline(_)), "{op:?}");
    }
}

#[test]
fn a_damaged_log_is_healthy_only_once_its_producers_are_known() {
    let fs = disk(3);
    let mut log = filled(&fs);
    log.close_clean(now()).unwrap();
    drop(log);
    let mut last = fs.list(Path::new(LIVE)).unwrap().into_iter();
    let last = last.rfind(|file| file.name.ends_with(".log") && file.len > 0).unwrap();
    fs.flip_bit(&Path::new(LIVE).join(last.name), (last.len - 3) * 8).unwrap();
    let mut log = open(&fs, Offset(RECORDS));
    let LogHealth::Damaged(damage) = log.health().clone() else { panic!("{:?}", log.health()) };
    fs.fail_always(OpMatcher::op(Op::Open).on(".snapshot"), DiskError::Io);
    log.truncate_to(damage.from, now()).unwrap_err();
    assert_ne!(log.health(), &LogHealth::Healthy, "it would take batches twice");
    fs.clear_faults();
    assert_eq!(log.truncate_to(damage.from, now()).unwrap(), damage.from);
    assert_eq!(log.health(), &LogHealth::Healthy);
    assert_eq!(last_sequence(&log), damage.from.get() as i32 - 1);
}

#[test]
fn a_log_whose_producers_cannot_be_read_after_a_cut_takes_no_more() {
    let fs = disk(4);
    let mut log = filled(&fs);
    fs.fail_always(OpMatcher::op(Op::Open).on(".snapshot"), DiskError::Io);
    log.truncate_to(Offset(RECORDS - 1), now()).unwrap_err();
    let stale = log.append_as_follower(&batch(RECORDS - 1), now());
    assert!(stale.is_err(), "its producers are as of a longer log: {stale:?}");
}
