//! Compaction as the broker drives it, for topics that do not flush by themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, NodeId, Now, Offset, Timestamp, TopicPartition, Uuid,
};
use ottla_protocol::records::{Batch, BatchBuilder, Compression, HEADER, NewRecord};
use ottla_storage::cleaner::range::CompactionSettings;
use ottla_storage::cleaner::{MapMemory, Unlimited};
use ottla_storage::flush::FlushOptions;
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimFileSystem, SimOptions};
use ottla_storage::{AppendOrigin, CleanupPolicy, LeaderAppend, LeaderBatch, LogSettings};

use crate::partition::Partition;
use crate::replicas::{History, NewPartition, NodeIdentity, Replicas};

fn now(millis: i64) -> Now {
    let mono = MonoTime::from_start(Duration::from_millis(millis as u64));
    Now { mono, wall: Timestamp(millis) }
}

fn compacted() -> NewPartition {
    NewPartition {
        name: TopicPartition::new("compacted", 0),
        topic_id: Uuid::from_u128(7),
        settings: LogSettings {
            segment_bytes: 1_000,
            cleanup: CleanupPolicy::Compact,
            ..LogSettings::default()
        },
        durability: Durability::PageCache,
        epoch: LeaderEpoch(0),
        copies: crate::partition::Copies::One,
        directory: Uuid::nil(),
        history: History::New,
    }
}

fn append(partition: &Arc<Partition>, key: &str) {
    let mut builder = BatchBuilder::new(Compression::NONE);
    let record = NewRecord {
        key: Some(key.as_bytes()),
        value: Some(&[1; 200]),
        ..NewRecord::at(Timestamp(1_000))
    };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *Batch::parse(&bytes).unwrap().header();
    let batch = LeaderBatch { header, payload: bytes.slice(HEADER..) };
    let append = LeaderAppend { batches: &[batch], origin: AppendOrigin::Client, frame_bytes: 0 };
    partition.append(&append, now(1_000), None).unwrap();
}

/// Waits for the flush thread, which was asked already.
fn await_flush(partition: &Partition, wanted: impl Fn(&ottla_storage::PartitionLog) -> bool) {
    for _ in 0..100_000_000_u64 {
        if partition.inspect(|log, _| wanted(log)).unwrap() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("nobody asked for a flush");
}

#[test]
fn a_page_cache_topic_is_flushed_when_it_rolls_and_compacted() {
    let sim = SimFileSystem::new(1, SimOptions::default());
    let fs: Arc<dyn FileSystem> = Arc::new(sim.clone());
    let identity =
        NodeIdentity { node: NodeId(1), cluster_id: None, new_cluster_id: Uuid::from_u128(1) };
    let mut ids = 2..;
    let new_id = || Uuid::from_u128(ids.next().unwrap());
    let replicas =
        Replicas::open(fs, &identity, &[PathBuf::from("/data")], FlushOptions::default(), new_id)
            .unwrap();
    let partition = replicas.open_partition(compacted(), now(0)).unwrap();
    let mut end = 0;
    while partition.inspect(|log, _| log.segment_count()).unwrap() < 4 {
        append(&partition, ["a", "b"][end % 2]);
        end += 1;
        // Visible at once, before any flush.
        assert_eq!(partition.high_watermark(), Offset(end as i64));
    }
    let settings = |_: &TopicPartition| {
        Some(CompactionSettings { dirty_ratio_min: 0.1, ..CompactionSettings::default() })
    };
    let memory = MapMemory { bytes: 1 << 12, seeds: [1, 2] };
    // Nobody asked for a flush but the rolls.
    await_flush(&partition, |log| !log.closed_needs_flush());
    let before = partition.inspect(|log, _| log.size_bytes()).unwrap();
    // A full disk passes.
    sim.fail_next(OpMatcher::op(Op::Write).on(".cleaned"), DiskError::NoSpace);
    assert!(!replicas.compact_one(settings, memory, now(2_000), &mut Unlimited));
    assert!(!replicas.compact_one(settings, memory, now(2_001), &mut Unlimited), "not at once");
    assert!(
        replicas.compact_one(settings, memory, now(70_000), &mut Unlimited),
        "given up for good"
    );
    assert!(partition.inspect(|log, _| log.size_bytes()).unwrap() < before);

    // A roll without an append after it: compaction itself asks, and the next look cleans.
    append(&partition, "a");
    partition.maintain(|log, _| log.roll(now(73_000))).unwrap().unwrap();
    let cleaned = replicas.cleaned_up_to(partition.name());
    assert!(partition.inspect(|log, _| log.closed_needs_flush()).unwrap());
    replicas.compact_one(settings, memory, now(73_000), &mut Unlimited);
    await_flush(&partition, |log| !log.closed_needs_flush());
    replicas.compact_one(settings, memory, now(73_000), &mut Unlimited);
    assert!(replicas.cleaned_up_to(partition.name()) > cleaned);
}
