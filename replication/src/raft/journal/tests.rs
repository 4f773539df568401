//! The journal through crashes: at every call to the disk, and damaged at every byte.

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::model::{NodeId, Offset, PartitionId, Uuid};
use ottla_storage::flush::{FlushCoordinator, SyncPolicy};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimFileSystem, SimOptions};
use ottla_storage::log_dir::DirHealth;

use super::state::State;
use super::*;
use crate::raft::{Membership, ReplicaId, StoredMembership, Vote};

const GROUPS: i32 = 2;

fn group(partition: i32) -> GroupId {
    GroupId { topic: Uuid::from_u128(5), partition: PartitionId(partition) }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed, SimOptions::default());
    fs.create_dir_all(dir()).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn home(flusher: &FlushCoordinator) -> Home {
    let health = Arc::new(DirHealth::new(dir().into()));
    Home { flusher: flusher.clone(), health, alarm: Arc::default() }
}

fn open(fs: &SimFileSystem) -> Result<(Arc<Journal>, FlushCoordinator), JournalError> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let flusher = FlushCoordinator::manual(Arc::clone(&fs), dir().into(), SyncPolicy::default());
    Ok((Journal::open(fs, dir(), home(&flusher))?, flusher))
}

/// Everything that a group may have to remember, in an order that makes sense.
fn record(step: u64) -> Record {
    let id = group((step % GROUPS as u64) as i32);
    let replica = ReplicaId { node: NodeId(1), directory: Uuid::from_u128(9) };
    let members = Membership::new_with_defaults(vec![[replica].into()], []);
    let point = Point { index: step, term: step / 10, end: Offset(step as i64 * 3) };
    let stored = StoredMembership::new(Some(point.log_id()), members.clone());
    match step % 11 {
        0 | 1 => Record::Vote(id, Vote::new(step, replica)),
        2 | 3 => {
            let kind = RecordlessKind::Membership(members);
            Record::Recordless(id, step, Recordless { term: 1, follows: point.end, kind })
        }
        4 => {
            let kind = RecordlessKind::LogStart(Offset(3));
            Record::Recordless(id, step, Recordless { term: 1, follows: point.end, kind })
        }
        5 => Record::Anchor(id, point),
        6 => Record::Truncate(id, step.saturating_sub(4)),
        7 if step.is_multiple_of(2) => Record::LogStart(id, point.end),
        7 => Record::Synced(id, point.end),
        8 => Record::Purge(id, point, stored),
        9 if step.is_multiple_of(3) => Record::Installed(id, point, stored),
        9 if step.is_multiple_of(2) => Record::Emptied(id),
        9 => Record::Suspect(id, step),
        10 if step % 4 == 2 => Record::Left(id, point),
        _ => Record::Verify(id),
    }
}

/// What the groups are after each number of records.
fn states(steps: u64) -> Vec<Vec<Option<GroupRecords>>> {
    let mut state = State::default();
    let look = |state: &State| (0..GROUPS).map(|p| state.group(group(p)).cloned()).collect();
    let mut states: Vec<Vec<_>> = vec![look(&state)];
    for step in 0..steps {
        state.apply(&record(step));
        states.push(look(&state));
    }
    states
}

/// Writes until the power fails; how many records were durable, and how many written.
fn write(fs: &SimFileSystem, steps: u64) -> (usize, usize) {
    let Ok((journal, flusher)) = open(fs) else { return (0, 0) };
    let (mut durable, mut written) = (0, 0);
    let mut places = Vec::new();
    for step in 0..steps {
        let Ok(place) = journal.write(&[record(step)]) else { break };
        written += 1;
        places.push(place);
        if step % 4 == 3 {
            flusher.flush_pending();
        }
        let known =
            places.iter().filter(|place| matches!(journal.durable_now(**place), Some(Ok(()))));
        durable = known.count();
    }
    (durable, written)
}

#[test]
fn what_was_durable_is_there_after_a_crash_at_every_call() {
    const STEPS: u64 = 90;
    let states = states(STEPS);
    let calls = {
        let fs = disk(0);
        let before = fs.calls();
        assert_eq!(write(&fs, STEPS), (88, 90), "the script runs to its end");
        fs.calls() - before
    };
    let mut rewritten = false;
    for call in 0..calls {
        for seed in 0..4 {
            let fs = disk(seed ^ call << 8);
            fs.power_off_at(fs.calls() + call);
            let (durable, written) = write(&fs, STEPS);
            fs.crash();
            let (journal, _) =
                open(&fs).unwrap_or_else(|error| panic!("call {call}, seed {seed}: {error}"));
            let found: Vec<_> = (0..GROUPS).map(|p| journal.group(group(p))).collect();
            // One more may have come to the disk whole, though its write was answered with an error.
            let upto = (written + 1).min(STEPS as usize);
            let at = (durable..=upto).find(|count| states[*count] == found);
            assert!(
                at.is_some(),
                "call {call}, seed {seed}: {durable} durable of {written}, found {found:?}"
            );
            rewritten |=
                fs.open(&dir().join(FILE_NAME), OpenMode::Read).unwrap().len().unwrap() < 3000;
        }
    }
    assert!(rewritten, "the file was rewritten on the way");
}

#[test]
fn a_bit_that_turned_in_what_was_durable_is_refused_and_never_read_as_less() {
    let fs = disk(1);
    let (journal, flusher) = open(&fs).unwrap();
    for step in 0..12 {
        journal.write(&[record(step)]).unwrap();
        flusher.flush_pending();
    }
    drop(journal);
    let expected: Vec<_> = {
        let (journal, _) = open(&fs).unwrap();
        (0..GROUPS).map(|p| journal.group(group(p))).collect()
    };
    let path = dir().join(FILE_NAME);
    let len = fs.open(&path, OpenMode::Read).unwrap().len().unwrap();
    let (mut refused, mut whole) = (0, 0);
    for bit in (0..len * 8).step_by(5) {
        let fs = fs.fork(bit);
        fs.flip_bit(&path, bit).unwrap();
        match open(&fs) {
            Err(JournalError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("bit {bit}: {error}"),
            Ok((journal, _)) => {
                let found: Vec<_> = (0..GROUPS).map(|p| journal.group(group(p))).collect();
                // Only the padding, and the last frame, which vouches for the others.
                assert_eq!(found, expected, "bit {bit}");
                whole += 1;
            }
        }
    }
    assert!(refused > whole, "{refused} refused, {whole} read");
}

#[test]
fn a_failed_sync_ends_the_journal() {
    let fs = disk(2);
    let (journal, flusher) = open(&fs).unwrap();
    let place = journal.write(&[record(0)]).unwrap();
    fs.power_off_at(fs.calls());
    flusher.flush_pending();
    assert!(matches!(journal.durable_now(place), Some(Err(_))));
    assert!(journal.write(&[record(1)]).is_err(), "nothing is written after it");
    assert!(journal.home.health.is_offline(), "nothing else of the directory is relied on");
}

#[test]
fn a_forgotten_group_is_gone() {
    let fs = disk(3);
    let (journal, flusher) = open(&fs).unwrap();
    journal.write(&[record(0), record(1)]).unwrap();
    journal.write(&[Record::Forget(group(0))]).unwrap();
    flusher.flush_pending();
    fs.crash();
    let (journal, _) = open(&fs).unwrap();
    assert_eq!(journal.groups(), [group(1)]);
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_not_believed() {
    let fs = disk(4);
    let (journal, flusher) = open(&fs).unwrap();
    journal.write(&[record(0)]).unwrap();
    flusher.flush_pending();
    let place = journal.write(&[record(1)]).unwrap();
    fs.fail_next(OpMatcher::op(Op::SyncData), DiskError::Io);
    flusher.flush_pending();
    assert!(matches!(journal.durable_now(place), Some(Err(_))));
    drop(journal);
    fs.kill_process();
    let believed = open(&fs).unwrap().0.groups();
    fs.crash();
    let found = open(&fs).unwrap().0.groups();
    assert_eq!(found, believed, "a start relied on what the disk never got");
}

#[test]
fn a_full_disk_puts_the_rewriting_off() {
    const STEPS: u64 = 400;
    let fs = disk(5);
    let (journal, flusher) = open(&fs).unwrap();
    let fresh = dir().join(FRESH_NAME);
    let len = || fs.open(&dir().join(FILE_NAME), OpenMode::Read).unwrap().len().unwrap();
    fs.fail_always(OpMatcher::op(Op::Write).on(FRESH_NAME), DiskError::NoSpace);
    for step in 0..STEPS {
        let place = journal.write(&[record(step)]).unwrap();
        flusher.flush_pending();
        assert!(matches!(journal.durable_now(place), Some(Ok(()))), "step {step}");
        assert!(!fs.exists(&fresh).unwrap(), "it takes room that there is not");
    }
    assert!(len() > 2 * REWRITE_BYTES);
    fs.clear_faults();
    let before = len();
    for step in STEPS..STEPS + 40 {
        journal.write(&[record(step)]).unwrap();
        flusher.flush_pending();
    }
    assert!(len() < before, "it is made up for when there is room");
    fs.crash();
    let (journal, _) = open(&fs).unwrap();
    let found: Vec<_> = (0..GROUPS).map(|p| journal.group(group(p))).collect();
    assert_eq!(states(STEPS + 40).pop(), Some(found));
}

#[test]
fn records_that_were_written_together_come_back_together() {
    const STEPS: u64 = 45;
    let states = states(STEPS);
    let write = |fs: &SimFileSystem| -> usize {
        let Ok((journal, flusher)) = open(fs) else { return 0 };
        let mut durable = 0;
        for step in (0..STEPS).step_by(3) {
            let records: Vec<_> = (step..step + 3).map(record).collect();
            let Ok(place) = journal.write(&records) else { break };
            flusher.flush_pending();
            if let Some(Ok(())) = journal.durable_now(place) {
                durable = step as usize + 3;
            }
        }
        durable
    };
    let torn = |seed| {
        let options = SimOptions {
            keep_block_per_million: 900_000,
            torn_block_per_million: 900_000,
            ..SimOptions::default()
        };
        let fs = SimFileSystem::new(seed, options);
        fs.create_dir_all(dir()).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        fs
    };
    let calls = {
        let fs = torn(0);
        let before = fs.calls();
        assert_eq!(write(&fs), STEPS as usize);
        fs.calls() - before
    };
    for call in 0..calls {
        for seed in 0..8 {
            let fs = torn(seed ^ call << 8);
            fs.power_off_at(fs.calls() + call);
            let durable = write(&fs);
            fs.crash();
            let (journal, _) = open(&fs).unwrap();
            let found: Vec<_> = (0..GROUPS).map(|p| journal.group(group(p))).collect();
            let at = (durable..=durable + 3).step_by(3).find(|at| states.get(*at) == Some(&found));
            assert!(at.is_some(), "call {call}, seed {seed}: {durable} durable, found {found:?}");
        }
    }
}
