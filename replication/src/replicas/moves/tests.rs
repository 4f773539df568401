//! Replicas that move between directories of a simulated disk, with a crash at every call.

mod groups;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, NodeId, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
    TopicPartition, Uuid,
};
use ottla_protocol::records::{Batch, BatchBuilder, BatchIter, Compression, HEADER, NewRecord};
use ottla_storage::flush::FlushOptions;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimFileSystem, SimOptions};
use ottla_storage::fs::{EntryKind, FileSystem, OpenMode};
use ottla_storage::{
    AppendOrigin, CleanupPolicy, LeaderAppend, LeaderBatch, LogSettings, MinOneBatch,
};

use crate::partition::{Copies, Isolation, Partition, ReadPlan};
use crate::raft::journal::GroupFate;
use crate::replicas::{
    AlterDirectoryError, History, MoveStep, NewPartition, NodeIdentity, Replicas,
};

const STEP: u32 = 4_096;
const MOVE: Uuid = Uuid::from_u128(0xabc);

fn now(millis: i64) -> Now {
    let mono = MonoTime::from_start(Duration::from_millis(millis as u64));
    Now { mono, wall: Timestamp(millis) }
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn new(epoch: i32, history: History) -> NewPartition {
    NewPartition {
        name: name(),
        topic_id: Uuid::from_u128(7),
        settings: LogSettings {
            segment_bytes: 3_000,
            cleanup: CleanupPolicy::Delete,
            ..LogSettings::default()
        },
        durability: Durability::Fsync,
        epoch: LeaderEpoch(epoch),
        copies: Copies::One,
        directory: Uuid::nil(),
        history,
    }
}

fn open(sim: &SimFileSystem) -> Replicas {
    let fs: Arc<dyn FileSystem> = Arc::new(sim.clone());
    let identity =
        NodeIdentity { node: NodeId(1), cluster_id: None, new_cluster_id: Uuid::from_u128(1) };
    let mut ids = 2..;
    let new_id = || Uuid::from_u128(ids.next().unwrap() << 64);
    let paths = [PathBuf::from("/d1"), PathBuf::from("/d2")];
    Replicas::open(fs, &identity, &paths, FlushOptions::default(), new_id).unwrap()
}

/// Appends a batch of an idempotent producer; gives its base offset.
fn append(partition: &Arc<Partition>, sequence: i32) -> Offset {
    let builder = BatchBuilder::new(Compression::NONE).with_producer(
        ProducerId(9),
        ProducerEpoch(0),
        sequence,
    );
    let mut builder = builder;
    let record = NewRecord {
        key: Some(b"k"),
        value: Some(&[sequence as u8; 300]),
        ..NewRecord::at(Timestamp(1_000))
    };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *Batch::parse(&bytes).unwrap().header();
    let batch = LeaderBatch { header, payload: bytes.slice(HEADER..) };
    let append = LeaderAppend { batches: &[batch], origin: AppendOrigin::Client, frame_bytes: 0 };
    partition.append(&append, now(1_000), None).unwrap().info.first_offset
}

/// Waits for the flush thread, which every append asks.
fn await_commit(partition: &Partition) {
    for _ in 0..1_000_000_000_u64 {
        if partition.high_watermark() == partition.log_end() {
            return;
        }
        assert!(!partition.is_offline(), "the flush failed");
        std::thread::yield_now();
    }
    panic!("nothing is committed");
}

/// Offset, leader epoch and checksum of every batch.
fn contents(partition: &Partition) -> Vec<(i64, i32, u32)> {
    let mut all = Vec::new();
    let mut from = partition.watermarks().log_start;
    loop {
        let plan = ReadPlan {
            from,
            bytes_max: 1 << 20,
            isolation: Isolation::LogEnd,
            min_one: MinOneBatch::Yes,
        };
        let read = partition.read(plan).unwrap().read;
        if read.is_empty() {
            return all;
        }
        for batch in BatchIter::new(&read.to_bytes().unwrap()) {
            let header = *batch.unwrap().header();
            all.push((header.base_offset.get(), header.leader_epoch.0, header.crc));
        }
        from = read.next_offset;
    }
}

fn directory(replicas: &Replicas) -> PathBuf {
    let id = replicas.directory_of(&name()).unwrap();
    replicas.directories().into_iter().find(|dir| dir.id == id).unwrap().path
}

fn other(path: &Path) -> &'static Path {
    Path::new(if path == Path::new("/d1") { "/d2" } else { "/d1" })
}

/// Advances the move to its end.
fn advance(replicas: &Replicas) -> MoveStep {
    for _ in 0..10_000 {
        match replicas.advance_move(&name(), STEP, now(3_000)) {
            MoveStep::Copied(_) => {}
            step => return step,
        }
    }
    panic!("the move never ends");
}

fn folders(sim: &SimFileSystem) -> Vec<String> {
    let dirs = ["/d1", "/d2"].map(|dir| sim.list(Path::new(dir)).unwrap());
    let entries = dirs.into_iter().flatten().filter(|entry| entry.kind == EntryKind::Directory);
    entries.map(|entry| entry.name).collect()
}

/// A partition with twenty batches, the first three of which are deleted.
fn prepared(sim: &SimFileSystem) -> Replicas {
    let replicas = open(sim);
    let partition = replicas.open_partition(new(0, History::New), now(0)).unwrap();
    for sequence in 0..20 {
        assert_eq!(append(&partition, sequence), Offset(i64::from(sequence)));
    }
    await_commit(&partition);
    partition.delete_records(Offset(3)).unwrap();
    replicas
}

#[test]
fn a_moved_replica_has_its_records_its_producers_and_its_start() {
    let sim = SimFileSystem::new(1, SimOptions::default());
    let replicas = prepared(&sim);
    let partition = replicas.partition(&name()).unwrap();
    let before = contents(&partition);
    let from = directory(&replicas);
    let to = other(&from);
    replicas.alter_directory(&name(), to, MOVE).unwrap();
    replicas.alter_directory(&name(), to, Uuid::from_u128(5)).unwrap();
    assert_eq!(replicas.next_move(), Some(name()));
    assert!(matches!(replicas.advance_move(&name(), 500, now(3_000)), MoveStep::Copied(_)));
    let futures: Vec<_> =
        replicas.directories().into_iter().filter(|dir| !dir.futures.is_empty()).collect();
    assert_eq!(futures.len(), 1);
    assert_eq!(futures[0].path, to);
    let future = &futures[0].futures[0];
    assert!(future.lag > 0 && future.lag < 20 && future.bytes > 0, "{future:?}");
    append(&partition, 20);
    assert!(matches!(advance(&replicas), MoveStep::Moved { .. }));

    assert_eq!(directory(&replicas), to);
    assert_eq!(partition.high_watermark(), Offset(21), "what waited for a flush is committed");
    assert_eq!(partition.watermarks().log_start, Offset(3));
    assert!(contents(&partition).starts_with(&before));
    assert_eq!(append(&partition, 20), Offset(20), "a duplicate is known");
    assert_eq!(append(&partition, 21), Offset(21));
    await_commit(&partition);
    replicas.remove_deleted(now(100_000));
    assert_eq!(folders(&sim), ["t-0"]);

    replicas.close(now(4_000));
    drop(replicas);
    let replicas = open(&sim);
    let partition = replicas.open_partition(new(1, History::Existing), now(0)).unwrap();
    assert_eq!(directory(&replicas), to);
    assert_eq!(partition.watermarks().log_start, Offset(3));
    assert_eq!(append(&partition, 22), Offset(22));
}

#[test]
fn a_move_survives_a_power_cut_at_every_call() {
    let base = SimFileSystem::new(2, SimOptions::default());
    let replicas = prepared(&base);
    let partition = replicas.partition(&name()).unwrap();
    let from = directory(&replicas);
    let to = other(&from);
    // Everything is durable, so that every fork begins alike.
    replicas.close(now(2_000));
    let before = contents(&partition);
    drop((partition, replicas));

    let mut moved_in = 0;
    for call in 0..10_000 {
        let sim = base.fork(call);
        let replicas = open(&sim);
        let partition = replicas.open_partition(new(1, History::Existing), now(0)).unwrap();
        replicas.resume_moves();
        sim.power_off_at(sim.calls() + call);
        let asked = replicas.alter_directory(&name(), to, MOVE);
        assert_eq!(asked, Ok(()));
        let done = matches!(advance(&replicas), MoveStep::Moved { .. });
        drop((partition, replicas));
        sim.crash();

        let replicas = open(&sim);
        let partition = replicas.open_partition(new(2, History::Existing), now(0)).unwrap();
        replicas.resume_moves();
        let context = format!("power off at call {call}, done {done}: {:?}", folders(&sim));
        assert_eq!(contents(&partition), before, "{context}");
        assert_eq!(append(&partition, 19), Offset(19), "{context}");
        assert_eq!(append(&partition, 20), Offset(20), "{context}");
        await_commit(&partition);
        moved_in += u64::from(!done && directory(&replicas) == to);
        if replicas.next_move().is_some() {
            assert!(matches!(advance(&replicas), MoveStep::Moved { .. }), "{context}");
            assert_eq!(directory(&replicas), to, "{context}");
        }
        assert!(contents(&partition).starts_with(&before), "{context}");
        assert_eq!(append(&partition, 20), Offset(20), "{context}");
        replicas.remove_deleted(now(100_000));
        assert_eq!(folders(&sim), ["t-0"], "{context}");
        if done {
            assert_eq!(directory(&replicas), to, "{context}");
            assert!(call > 30, "a move has more calls");
            assert!(moved_in > 0, "some cuts come between the renames");
            return;
        }
    }
    panic!("the move never ends");
}

#[test]
fn a_copy_that_says_something_else_is_cut_to_what_both_say() {
    let sim = SimFileSystem::new(3, SimOptions::default());
    let replicas = prepared(&sim);
    let to = other(&directory(&replicas));
    replicas.alter_directory(&name(), to, MOVE).unwrap();
    assert!(matches!(replicas.advance_move(&name(), 2_000, now(3_000)), MoveStep::Copied(_)));
    drop(replicas);
    // The process dies; the first log loses its tail, and gets another one in the next epoch.
    sim.kill_process();
    let replicas = open(&sim);
    let partition = replicas.open_partition(new(1, History::Existing), now(0)).unwrap();
    partition.maintain(|log, _| log.truncate_to(Offset(5), now(0))).unwrap().unwrap();
    partition.maintain(|log, _| log.assign_epoch(LeaderEpoch(2), Offset(5))).unwrap();
    drop(partition);
    drop(replicas);
    sim.kill_process();
    let replicas = open(&sim);
    let partition = replicas.open_partition(new(3, History::Existing), now(0)).unwrap();
    for sequence in 5..30 {
        append(&partition, sequence);
    }
    await_commit(&partition);
    let before = contents(&partition);
    replicas.resume_moves();
    assert!(matches!(advance(&replicas), MoveStep::Moved { .. }));
    assert_eq!(contents(&partition), before);
}

#[test]
fn a_move_ends_when_it_is_sent_back_or_its_topic_goes() {
    let sim = SimFileSystem::new(4, SimOptions::default());
    let replicas = prepared(&sim);
    let from = directory(&replicas);
    let to = other(&from);
    for end in ["back", "deleted"] {
        replicas.alter_directory(&name(), to, MOVE).unwrap();
        assert!(matches!(replicas.advance_move(&name(), 500, now(3_000)), MoveStep::Copied(_)));
        assert!(folders(&sim).iter().any(|name| name.ends_with("-future")));
        match end {
            "back" => replicas.alter_directory(&name(), &from, MOVE).unwrap(),
            _ => {
                replicas.delete_partition(&replicas.partition(&name()).unwrap(), GroupFate::GoesOn)
            }
        }
        assert_eq!(replicas.advance_move(&name(), STEP, now(3_000)), MoveStep::Ended);
        assert_eq!(replicas.next_move(), None);
        replicas.remove_deleted(now(100_000));
        let left: &[&str] = if end == "back" { &["t-0"] } else { &[] };
        assert_eq!(folders(&sim), left);
    }
}

#[test]
fn errors_are_kafkas() {
    let sim = SimFileSystem::new(5, SimOptions::default());
    let replicas = prepared(&sim);
    let to = other(&directory(&replicas));
    let nowhere = Path::new("/nowhere");
    let alter = |name: &TopicPartition, path: &Path| replicas.alter_directory(name, path, MOVE);
    assert_eq!(
        alter(&name(), nowhere),
        Err(AlterDirectoryError::NotALogDirectory(nowhere.to_owned()))
    );
    let unknown = TopicPartition::new("new", 0);
    assert_eq!(alter(&unknown, to), Err(AlterDirectoryError::NoReplica(unknown.clone())));
    let there = NewPartition { name: unknown.clone(), ..new(0, History::New) };
    replicas.open_partition(there, now(0)).unwrap();
    let at = replicas.directory_of(&unknown).unwrap();
    let wanted = replicas.directories().into_iter().find(|dir| dir.path == to).unwrap().id;
    assert_eq!(at, wanted, "it was remembered");
    let long = TopicPartition::new("x".repeat(230).as_str(), 0);
    assert_eq!(alter(&long, to), Err(AlterDirectoryError::NameTooLong));
}

#[test]
fn a_destination_that_fails_leaves_the_replica_where_it_was() {
    let sim = SimFileSystem::new(6, SimOptions::default());
    let replicas = prepared(&sim);
    let partition = replicas.partition(&name()).unwrap();
    let from = directory(&replicas);
    let to = other(&from);
    replicas.alter_directory(&name(), to, MOVE).unwrap();
    assert!(matches!(replicas.advance_move(&name(), 500, now(3_000)), MoveStep::Copied(_)));
    let part = format!("{}/", to.display());
    sim.fail_always(OpMatcher::op(Op::Write).on(part), DiskError::Io);
    assert_eq!(advance(&replicas), MoveStep::Ended);
    assert_eq!(directory(&replicas), from);
    assert_eq!(replicas.offline_directories(), [to]);
    assert_eq!(append(&partition, 20), Offset(20));
    await_commit(&partition);
    assert_eq!(
        replicas.alter_directory(&name(), to, MOVE),
        Err(AlterDirectoryError::DirectoryOffline(to.to_owned()))
    );
}

#[test]
fn a_log_without_its_last_records_keeps_its_end() {
    let sim = SimFileSystem::new(7, SimOptions::default());
    let replicas = open(&sim);
    let partition = replicas.open_partition(new(0, History::New), now(0)).unwrap();
    for sequence in 0..3 {
        append(&partition, sequence);
    }
    await_commit(&partition);
    replicas.close(now(0));
    let from = directory(&replicas);
    drop((partition, replicas));
    // As Kafka's cleaner leaves a log whose last segment it emptied.
    let segment = from.join("t-0/00000000000000000010.log");
    sim.open(&segment, OpenMode::CreateNew).unwrap();
    let replicas = open(&sim);
    let compacted = || NewPartition {
        settings: LogSettings { cleanup: CleanupPolicy::Compact, ..new(0, History::New).settings },
        ..new(1, History::Existing)
    };
    let partition = replicas.open_partition(compacted(), now(0)).unwrap();
    assert_eq!(partition.log_end(), Offset(10));
    replicas.alter_directory(&name(), other(&from), MOVE).unwrap();
    assert!(matches!(advance(&replicas), MoveStep::Moved { .. }));
    assert_eq!(partition.log_end(), Offset(10));
    assert_eq!(append(&partition, 3), Offset(10));
    await_commit(&partition);
    drop((partition, replicas));
    sim.kill_process();
    let replicas = open(&sim);
    let partition = replicas.open_partition(compacted(), now(0)).unwrap();
    let offsets: Vec<i64> = contents(&partition).into_iter().map(|batch| batch.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 10], "the fourth batch is empty");
}
