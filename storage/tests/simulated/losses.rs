//! What a power cut takes of a log that nobody has vouched for yet: the end, and nothing else.
//!
//! Owns: cuts before the first flush and right after a deletion, over many seeds of the disk.

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimOptions};
use ottla_storage::{CleanupPolicy, LogHealth, LogSettings, PartitionLog, Shutdown};

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
