//! What a power cut takes of a log that nobody has vouched for yet: the end, and nothing else.
//!
//! Owns: cuts before the first flush, right after a deletion, and while a hole is cut away, over many
//! seeds of the disk.

use std::path::Path;

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId};
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimOptions};
use ottla_storage::fs::{DirEntry, FileSystem, OpenMode, SimFileSystem};
use ottla_storage::log::TornTail;
use ottla_storage::{
    AfterRecoveryPoint, CleanupPolicy, LogError, LogHealth, LogResources, LogSettings, OpenContext,
    PartitionLog, RecoveryReport, Shutdown,
};

use super::model::{Record, read_all};
use super::world::{World, plain};

fn small_segments() -> LogSettings {
    LogSettings {
        segment_bytes: 600,
        index_interval_bytes: 100,
        cleanup: CleanupPolicy::Delete,
        ..LogSettings::default()
    }
}

fn append(world: &World, log: &mut PartitionLog, round: i64) -> Record {
    let record = Record {
        timestamp: world.millis + round,
        key: format!("key-{round}").into_bytes(),
        value: Some(vec![b'v'; 60]),
    };
    world.append(log, plain(), std::slice::from_ref(&record)).expect("append");
    record
}

#[test]
fn a_cut_before_the_first_flush_never_moves_the_log_start() {
    let mut kept = 0;
    for seed in 0..300 {
        let options = SimOptions { torn_block_per_million: 0, ..SimOptions::default() };
        let world = World::new(seed, options, small_segments());
        let mut log = world.create();
        let written: Vec<Record> = (0..20).map(|round| append(&world, &mut log, round)).collect();
        assert!(log.segment_count() >= 3);
        drop(log);
        world.sim.crash();
        let (log, report) = world.open(Shutdown::Unclean).expect("open");
        assert_eq!(log.health(), &LogHealth::Healthy, "seed {seed}: {report:?}");
        assert_eq!(log.log_start(), Offset::ZERO, "seed {seed}: {report:?}");
        let found = read_all(&log);
        assert_eq!(log.log_end(), Offset(found.len() as i64), "seed {seed}");
        for (offset, record) in &found {
            assert_eq!(record, &written[*offset as usize], "seed {seed}");
        }
        kept += usize::from(log.segment_count() > 1);
    }
    // Otherwise nothing was tried: some cuts keep more than one segment.
    assert!(kept > 10, "{kept}");
}

/// The roll's own snapshot is not flushed yet when the segment before it may go.
#[test]
fn producers_outlive_the_segment_they_wrote_to() {
    for seed in 0..100 {
        let world = World::new(seed, SimOptions::default(), small_segments());
        let mut log = world.create();
        let id = ProducerId(7);
        let open = plain().with_producer(id, ProducerEpoch(0), 0).with_transactional();
        let record = Record { timestamp: 1, key: b"k".to_vec(), value: None };
        world.append(&mut log, open, &[record]).expect("append");
        let job = log.begin_flush().expect("begin");
        log.roll(world.now()).expect("roll");
        job.files.iter().try_for_each(|file| file.sync_data()).expect("sync");
        job.dirs.iter().try_for_each(|dir| world.sim.sync_dir(dir)).expect("sync");
        log.complete_flush(job.up_to).expect("complete");
        assert_eq!(log.flushed(), Offset(1));
        log.advance_log_start(Offset(1)).expect("advance");
        let deleted = log.delete_old_segments(world.now(), log.flushed()).expect("delete");
        assert_eq!(deleted.len(), 1);
        let before = log.producers().get(id).cloned();
        assert_eq!(log.last_stable(Offset(1)), Offset::ZERO);
        drop(log);
        world.sim.crash();
        let (log, report) = world.open(Shutdown::Unclean).expect("open");
        assert_eq!(log.producers().get(id).cloned(), before, "seed {seed}: {report:?}");
    }
}

/// What the cache shows after a failed sync is not on the disk, and a later sync does not bring it
/// there. A process that begins anew on the same machine must not take it for the log's end.
#[test]
fn a_failed_sync_is_not_believed_by_the_next_process() {
    let mut lost = 0;
    for seed in 0..40 {
        let world = World::new(seed, SimOptions::default(), small_segments());
        let mut log = world.create();
        let synced = 1 + seed as i64 % 5;
        (0..synced).for_each(|round| drop(append(&world, &mut log, round)));
        log.flush_now().expect("flush");
        (synced..12).for_each(|round| drop(append(&world, &mut log, round)));
        world.sim.fail_always(OpMatcher::op(Op::SyncData).on(".log"), DiskError::Io);
        log.flush_now().expect_err("the sync fails");
        assert!(matches!(log.health(), LogHealth::Offline(_)));
        assert_eq!(log.flushed(), Offset(synced));
        drop(log);
        world.sim.clear_faults();
        world.sim.kill_process();
        let (mut log, report) = world.open(Shutdown::Unclean).expect("open");
        assert!(log.log_end() >= Offset(synced), "seed {seed}: {report:?}");
        lost += i64::from(log.log_end() < Offset(12));
        // From here on it is promised, and a power cut must not take it.
        log.flush_now().expect("flush");
        let (end, before) = (log.log_end(), read_all(&log));
        drop(log);
        world.sim.crash();
        let (log, report) = world.open(Shutdown::Unclean).expect("open");
        assert_eq!((log.log_end(), read_all(&log)), (end, before), "seed {seed}: {report:?}");
    }
    assert!(lost > 0, "the disk has lost nothing: nothing was tried");
}

fn contents(sim: &SimFileSystem, path: &Path) -> Vec<u8> {
    let Ok(file) = sim.open(path, OpenMode::Read) else { return Vec::new() };
    file.read_bytes_at(0, 1 << 20).expect("read").to_vec()
}

/// What stands behind a bad place: the rest of its segment, and the segments after it.
fn behind(sim: &SimFileSystem, torn: &TornTail) -> Vec<u8> {
    let logs = sim.list(&World::dir()).expect("list").into_iter();
    let logs = logs.map(|entry| World::dir().join(entry.name));
    let of = |path: &Path| contents(sim, path);
    let from = usize::try_from(torn.position).expect("small");
    let mut all = of(&torn.file).get(from..).unwrap_or_default().to_vec();
    let later = logs.filter(|path| path.extension().is_some_and(|of| of == "log"));
    later.filter(|path| *path > torn.file).for_each(|path| all.extend(of(&path)));
    all
}

/// Whether a file beside the log holds just this.
fn is_aside(sim: &SimFileSystem, bytes: &[u8]) -> bool {
    let entries = sim.list(&World::dir()).expect("list").into_iter();
    entries
        .filter(|entry| entry.name.ends_with(".aside"))
        .any(|entry| contents(sim, &World::dir().join(entry.name)) == bytes)
}

fn open_and_cut(
    world: &World,
    sim: &SimFileSystem,
    synced: Offset,
) -> Result<(PartitionLog, RecoveryReport), LogError> {
    let ctx = OpenContext {
        recovery_point: synced,
        shutdown: Shutdown::Unclean,
        after_recovery_point: AfterRecoveryPoint::Cut,
        ..OpenContext::new(world.now(), LogResources::new(16, 1 << 16))
    };
    let fs = std::sync::Arc::new(sim.clone());
    PartitionLog::open(fs, World::dir(), world.settings.clone(), &ctx)
}

/// Blocks that no flush covered survive in any order: what good batches stand behind a hole is cut,
/// and at no call of the recovery is it gone from the log before it is durable beside it.
#[test]
fn what_is_cut_at_a_hole_is_kept_whenever_the_power_goes() {
    let (mut holes, mut kept_early) = (0, 0);
    for seed in 0..40 {
        let options = SimOptions { torn_block_per_million: 0, ..SimOptions::default() };
        let settings = LogSettings { segment_bytes: 8 << 10, ..small_segments() };
        let world = World::new(seed, options, settings);
        let mut log = world.create();
        (0..4).for_each(|round| drop(append(&world, &mut log, round)));
        log.flush_now().expect("flush");
        (4..120).for_each(|round| drop(append(&world, &mut log, round)));
        drop(log);
        world.sim.crash();

        let whole = world.sim.fork(seed);
        let (log, report) = open_and_cut(&world, &whole, Offset(4)).expect("open");
        assert_eq!((log.health(), report.damage), (&LogHealth::Healthy, None), "seed {seed}");
        assert!(log.log_end() >= Offset(4), "seed {seed}: what was synced stays");
        let Some(torn) = report.torn else { continue };
        let bytes = behind(&world.sim, &torn);
        let name = |entry: DirEntry| entry.name.ends_with(".aside");
        if !whole.list(&World::dir()).expect("list").into_iter().any(name) {
            continue;
        }
        holes += 1;
        assert!(is_aside(&whole, &bytes), "seed {seed}");
        for call in 0..10_000 {
            let sim = world.sim.fork(call);
            sim.power_off_at(sim.calls() + call);
            let done = open_and_cut(&world, &sim, Offset(4)).is_ok();
            sim.crash();
            let kept = is_aside(&sim, &bytes);
            let context = format!("seed {seed}, power off at call {call}, done {done}");
            assert!(kept || !done && behind(&sim, &torn) == bytes, "{context}");
            kept_early += usize::from(kept && !done);
            drop(open_and_cut(&world, &sim, Offset(4)).expect("open"));
            assert!(is_aside(&sim, &bytes), "{context}: the next start leaves it as it is");
            if done {
                break;
            }
        }
    }
    // Otherwise nothing was tried: holes, and cuts between keeping and cutting.
    assert!(holes > 3 && kept_early > 3, "{holes} {kept_early}");
}
