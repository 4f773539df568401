//! Compaction with the power cut at every single call: the old segments or the new one, never less.

use ottla_protocol::model::Offset;
use ottla_storage::checkpoint::CheckpointKind;
use ottla_storage::fs::sim::SimOptions;
use ottla_storage::{CleanupPolicy, LogHealth, LogSettings, PartitionLog, Shutdown};

use super::model::{Model, Record, read_all};
use super::world::{World, plain};

fn compacted() -> LogSettings {
    LogSettings {
        segment_bytes: 600,
        index_interval_bytes: 100,
        cleanup: CleanupPolicy::Compact,
        ..LogSettings::default()
    }
}

/// A log with five segments of twelve keys, flushed, the recovery point at its end.
fn filled(seed: u64) -> (World, PartitionLog, Model) {
    let mut world = World::new(seed, SimOptions::default(), compacted());
    let mut log = world.create();
    let mut model = Model::default();
    for round in 0..40i64 {
        let record = Record {
            timestamp: world.millis,
            key: format!("key-{}", round * 7 % 12).into_bytes(),
            value: (round % 9 != 4).then(|| format!("value-{round}").into_bytes()),
        };
        let info = world.append(&mut log, plain(), std::slice::from_ref(&record)).expect("append");
        model.append(info.first_offset.0, vec![record]);
        world.millis += 10;
    }
    log.flush_now().expect("flush");
    world.checkpoint(CheckpointKind::RecoveryPoint, log.recovery_point()).expect("checkpoint");
    model.durable = model.end;
    // Two of the old segments fit a new one.
    world.settings.segment_bytes = 1300;
    log.update_settings(world.settings.clone());
    (world, log, model)
}

#[test]
fn a_cleaned_log_reads_and_reopens_the_same() {
    let (world, mut log, mut model) = filled(1);
    let before = (log.size_bytes(), log.segment_count());
    let cleaned = world.clean(&mut log, Offset::ZERO).expect("clean").expect("dirty");
    assert!(log.size_bytes() < before.0 && log.segment_count() < before.1);
    model.cleaned = cleaned.0;
    model.check(&log);
    // Readers at the tail are served the batches that were appended.
    log.shed_tail();
    model.check(&log);
    let found = read_all(&log);
    let superseded = found.iter().filter(|(offset, record)| {
        let later = **offset + 1..cleaned.0.max(**offset + 1);
        model.records.range(later).any(|(_, later)| later.key == record.key)
    });
    assert_eq!(superseded.count(), 0, "compaction did its work");
    log.flush_now().expect("flush");
    for shutdown in [Shutdown::Unclean, Shutdown::Clean] {
        if shutdown == Shutdown::Clean {
            log.close_clean(world.now()).expect("close");
        }
        drop(log);
        world.sim.crash();
        let (reopened, report) = world.open(shutdown).expect("open");
        assert_eq!(report.damage, None);
        assert_eq!(read_all(&reopened), found);
        log = reopened;
    }
}

#[test]
fn the_power_may_go_at_any_call_of_a_cleaning() {
    let (world, mut log, _) = filled(2);
    let first = world.sim.calls();
    world.clean(&mut log, Offset::ZERO).expect("clean");
    let calls = world.sim.calls() - first;
    assert!(calls > 30, "{calls}");
    for call in 0..=calls {
        let seed = call + 1000;
        let (world, mut log, mut model) = filled(seed);
        world.sim.power_off_at(world.sim.calls() + call);
        let cleaned = world.clean(&mut log, Offset::ZERO);
        drop(log);
        world.sim.crash();
        let (mut log, report) = world.open(Shutdown::Unclean).expect("open");
        let place = format!("seed {seed}, call {call} of {calls}: {report:?}");
        assert_eq!(report.damage, None, "{place}");
        assert_eq!(log.health(), &LogHealth::Healthy, "{place}");
        model.cleaned = log.log_end().0;
        model.check(&log);
        // And it can be cleaned again, whatever was left behind.
        let again = world.clean(&mut log, Offset::ZERO).expect("clean");
        assert!(again.is_some() || cleaned.is_ok(), "{place}");
        model.check(&log);
        log.flush_now().expect("flush");
        world.sim.crash();
        let (log, report) = world.open(Shutdown::Unclean).expect("open");
        assert_eq!(report.damage, None, "{place}");
        model.check(&log);
    }
}

#[test]
fn an_error_at_any_call_of_a_cleaning_loses_nothing() {
    use ottla_storage::fs::sim::{DiskError, OpMatcher};
    for call in 0..120 {
        for error in [DiskError::Io, DiskError::NoSpace] {
            let (world, mut log, mut model) = filled(3);
            world.sim.fail_next(OpMatcher::any().after(call), error);
            let failed = world.clean(&mut log, Offset::ZERO).is_err();
            world.sim.clear_faults();
            model.cleaned = log.log_end().0;
            if log.health() == &LogHealth::Healthy {
                model.check(&log);
                let flushed = log.flush_now();
                assert!(flushed.is_ok(), "call {call} {error:?}: {flushed:?}");
            } else {
                assert!(failed, "call {call} {error:?}");
            }
            drop(log);
            world.sim.kill_process();
            let (log, report) = world.open(Shutdown::Unclean).expect("open");
            assert_eq!(report.damage, None, "call {call} {error:?}");
            model.check(&log);
        }
    }
}

#[test]
fn a_log_that_changed_meanwhile_refuses_the_swap() {
    use ottla_storage::cleaner::{CleanError, CleanRun, MapMemory, Unlimited};
    let (world, mut log, mut model) = filled(4);
    let now = world.now();
    let range = log.cleanable(None, log.log_end(), &world.compaction, now.wall).expect("range");
    let plan = log.clean_plan(&range, &world.compaction).expect("plan");
    let memory = MapMemory { bytes: 1 << 12, seeds: [1, 2] };
    let mut run = CleanRun::start(plan, memory, now.wall, &mut Unlimited).expect("start");
    let group = run.next_group(&mut Unlimited).expect("clean").expect("a group");
    let end = log.truncate_to(Offset(5), now).expect("truncate");
    model.truncate(end.0);
    assert!(matches!(log.swap_in(group, now), Err(CleanError::Changed)));
    model.check(&log);
    let names = ottla_storage::fs::FileSystem::list(&world.sim, &World::dir()).expect("list");
    assert!(names.iter().all(|entry| !entry.name.ends_with(".cleaned")), "{names:?}");
}
