//! Replicas that lack what was purged: they get the log as another one has it, and are replicas like any
//! other then, whatever crash comes between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::model::{Offset, Timestamp};
use ottla_protocol::records::{Batch as RecordBatch, BatchBuilder, Compression, HEADER, NewRecord};
use ottla_storage::cleaner::range::CompactionSettings;
use ottla_storage::cleaner::{CleanRun, MapMemory, Unlimited};
use ottla_storage::fs::FileSystem;
use ottla_storage::{CleanupPolicy, LeaderBatch, LogSettings};

use super::cluster::{Cluster, replica, simulate, submit};
use crate::partition::{Outcome, Until};

fn keyed(key: &str, value: &str) -> LeaderBatch {
    let mut builder = BatchBuilder::new(Compression::NONE);
    let record = NewRecord {
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        ..NewRecord::at(Timestamp(1_700_000_000_000))
    };
    builder.push(record).unwrap();
    let bytes = builder.build().unwrap();
    let header = *RecordBatch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}

async fn put(cluster: &Cluster, node: usize, key: &str, value: &str) {
    let put = submit(cluster.partition(node), cluster.now(), keyed(key, value), Until::Committed);
    let outcome = put.await;
    assert!(matches!(outcome, Outcome::Committed(_)), "{key} = {value}: {outcome:?}");
}

/// What each key is last said to be, and how many records there are.
fn latest(cluster: &Cluster, node: usize) -> (BTreeMap<String, String>, usize) {
    let bytes = cluster.committed_bytes(node);
    let mut rest = &bytes[..];
    let (mut latest, mut records) = (BTreeMap::new(), 0);
    while !rest.is_empty() {
        let batch = RecordBatch::parse(rest).unwrap();
        batch.check_crc().unwrap();
        for record in batch.records(1 << 20).unwrap().iter() {
            let record = record.unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            latest.insert(text(record.key), text(record.value));
            records += 1;
        }
        rest = &rest[batch.header().size()..];
    }
    (latest, records)
}

/// Compacts what may be compacted of a node's log, as `Replicas` does.
fn compact(cluster: &Cluster, node: usize) {
    let (partition, now) = (cluster.partition(node), cluster.now());
    let settings = CompactionSettings { dirty_ratio_min: 0.0, ..CompactionSettings::default() };
    let settled = partition.settled();
    let plan = partition.maintain(|log, _| {
        let range = log.cleanable(None, settled, &settings, now.wall).unwrap();
        log.clean_plan(&range, &settings).unwrap()
    });
    let mut budget = Unlimited;
    let memory = MapMemory { bytes: 1 << 16, seeds: [1, 2] };
    let mut run = CleanRun::start(plan.unwrap(), memory, now.wall, &mut budget).unwrap();
    while let Some(group) = run.next_group(&mut budget).unwrap() {
        partition.maintain(|log, _| log.swap_in(group, now)).unwrap().unwrap();
    }
}

async fn settle(cluster: &Cluster) {
    for node in (0..cluster.nodes.len()).filter(|node| cluster.is_up(*node)) {
        cluster.partition(node).settle_closed();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn compacted(seed: u64, nodes: i32) -> Cluster {
    let mut cluster = Cluster::new(seed, nodes);
    cluster.settings = LogSettings {
        cleanup: CleanupPolicy::Compact,
        segment_bytes: 1000,
        ..LogSettings::default()
    };
    cluster.form().await;
    cluster
}

async fn fill(cluster: &Cluster, leader: usize, count: usize) {
    for index in 0..count {
        put(cluster, leader, &format!("key {}", index % 7), &format!("value {index}")).await;
    }
}

#[test]
fn a_compacted_log_is_compacted_on_every_replica_and_says_the_same() {
    simulate(async {
        let mut cluster = compacted(1, 3).await;
        let leader = cluster.leader().await;
        fill(&cluster, leader, 100).await;
        cluster.converge().await;
        settle(&cluster).await;
        for node in 0..3 {
            compact(&cluster, node);
        }
        fill(&cluster, leader, 9).await;
        cluster.converge().await;
        let (expected, _) = latest(&cluster, leader);
        for node in 0..3 {
            let (found, records) = latest(&cluster, node);
            assert_eq!(found, expected, "node {node}");
            assert!(records < 50, "{records} records on {node}");
        }
        for node in 0..3 {
            cluster.crash(node);
            cluster.start(node).await.unwrap();
        }
        let leader = cluster.leader().await;
        cluster.converge().await;
        for node in 0..3 {
            assert_eq!(latest(&cluster, node).0, expected, "node {node} after a crash");
        }
        fill(&cluster, leader, 3).await;
    });
}

#[test]
fn a_replica_that_was_away_gets_a_compacted_log_by_its_segments() {
    simulate(async {
        let mut cluster = compacted(2, 3).await;
        let leader = cluster.leader().await;
        let away = (leader + 1) % 3;
        fill(&cluster, leader, 10).await;
        cluster.converge().await;
        // As the broker does all the time, for the replicas in sync.
        assert_eq!(cluster.group(leader).followers().len(), 2);
        cluster.crash(away);
        fill(&cluster, leader, 100).await;
        // One that keeps up is waited for, one that is away is not.
        settle(&cluster).await;
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(cluster.partition(leader).settled(), Offset::ZERO);
        tokio::time::sleep(Duration::from_secs(19)).await;
        fill(&cluster, leader, 1).await;
        settle(&cluster).await;
        let settled = cluster.partition(leader).settled();
        assert!(settled > Offset(50), "settled up to {settled}");
        compact(&cluster, leader);
        cluster.start(away).await.unwrap();
        cluster.converge().await;
        let (snapshots, bytes) = cluster.net.with(|links| (links.snapshots, links.snapshot_bytes));
        assert!(snapshots > 0 && bytes > 500, "{snapshots} snapshots of {bytes} bytes");
        let expected = latest(&cluster, leader);
        assert_eq!(latest(&cluster, away), expected);
        cluster.crash(away);
        cluster.start(away).await.unwrap();
        cluster.converge().await;
        assert_eq!(latest(&cluster, away), expected);
        // It may lead.
        let leader = cluster.leader().await;
        if leader != away {
            cluster.group(leader).transfer(cluster.nodes[away].id).await.unwrap();
        }
        let leader = cluster.leader().await;
        fill(&cluster, leader, 5).await;
        cluster.converge().await;
    });
}

#[test]
fn an_empty_directory_gets_a_compacted_log_and_votes() {
    simulate(async {
        let mut cluster = compacted(3, 4).await;
        let leader = cluster.leader().await;
        fill(&cluster, leader, 100).await;
        cluster.converge().await;
        settle(&cluster).await;
        for node in 0..3 {
            compact(&cluster, node);
        }
        let group = cluster.group(leader).clone();
        cluster.start(3).await.unwrap();
        group.add_learner(replica(4)).await.unwrap();
        cluster.converge().await;
        assert_eq!(latest(&cluster, 3), latest(&cluster, leader));
        let leaves = (leader + 1) % 3;
        let stay = (0..4).filter(|node| *node != leaves).map(|node| replica(node as i32 + 1));
        group.change_voters(stay.collect::<BTreeSet<_>>()).await.unwrap();
        cluster.crash(leaves);
        fill(&cluster, leader, 5).await;
        cluster.converge().await;
        assert_eq!(latest(&cluster, 3), latest(&cluster, leader));
    });
}

#[test]
fn a_compacted_log_of_one_replica_becomes_a_group() {
    simulate(async {
        let mut cluster = Cluster::new(4, 2);
        cluster.settings.cleanup = CleanupPolicy::Compact;
        cluster.settings.segment_bytes = 1000;
        cluster.start_alone(0).await;
        for index in 0..60 {
            let batch = keyed(&format!("key {}", index % 7), &format!("value {index}"));
            let put = submit(cluster.alone(0), cluster.now(), batch, Until::Committed).await;
            assert!(matches!(put, Outcome::Committed(_)), "{put:?}");
        }
        cluster.adopt(0).await;
        compact(&cluster, 0);
        cluster.leader().await;
        cluster.start(1).await.unwrap();
        cluster.group(0).add_learner(replica(2)).await.unwrap();
        fill(&cluster, 0, 3).await;
        cluster.converge().await;
        let (values, records) = latest(&cluster, 1);
        assert_eq!((&values, records), (&latest(&cluster, 0).0, latest(&cluster, 0).1));
        assert!(values.len() == 7 && records < 40, "{records} records");
    });
}

/// Retention deletes nearly all, or DeleteRecords does, while a replica is away.
async fn away_while(delete_records: bool) {
    let mut cluster = Cluster::formed(5).await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    cluster.produce(leader, "first").await;
    cluster.converge().await;
    cluster.crash(away);
    for index in 0..200 {
        cluster.produce(leader, &format!("value-{index:04}")).await;
    }
    if delete_records {
        cluster.group(leader).delete_records(Offset(150)).await.unwrap();
    }
    for _ in 0..40 {
        for node in (0..3).filter(|node| cluster.is_up(*node)) {
            let partition = cluster.partition(node);
            let keep = (!delete_records).then_some(6_000);
            partition
                .maintain(|log, _| {
                    let settings = log.settings().clone();
                    log.update_settings(LogSettings { retention_bytes: keep, ..settings });
                })
                .unwrap();
            partition.apply_retention(cluster.now()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let settled = cluster.partition(leader).settled();
    assert!(settled > Offset(50), "the purge waits for the one that is away: {settled}");
    let start = cluster.partition(leader).watermarks().log_start;
    cluster.start(away).await.unwrap();
    cluster.converge().await;
    assert!(cluster.net.with(|links| links.snapshots) > 0, "by a snapshot");
    assert_eq!(cluster.partition(away).watermarks().log_start, start);
    assert_eq!(cluster.committed_bytes(away), cluster.committed_bytes(leader));
    cluster.crash(away);
    cluster.start(away).await.unwrap();
    cluster.produce(leader, "more").await;
    cluster.converge().await;
    assert_eq!(cluster.committed_bytes(away), cluster.committed_bytes(leader));
}

#[test]
fn retention_does_not_wait_for_a_replica_that_is_away_which_then_begins_at_the_log_start() {
    simulate(away_while(false));
}

#[test]
fn records_deleted_while_a_replica_was_away_are_deleted_there_too() {
    simulate(away_while(true));
}

/// A replica loses power at the `call`th call to its disk after it came back to get a snapshot; whether that
/// was before it had everything.
async fn power_cut_at(call: u64) -> bool {
    let mut cluster = compacted(6, 3).await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    fill(&cluster, leader, 20).await;
    cluster.converge().await;
    cluster.crash(away);
    fill(&cluster, leader, 60).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    fill(&cluster, leader, 1).await;
    settle(&cluster).await;
    compact(&cluster, leader);
    let settled = cluster.partition(leader).settled();
    assert!(settled > Offset(40), "settled up to {settled}");
    let fs = cluster.nodes[away].fs.clone();
    fs.power_off_at(fs.calls() + call);
    let mut early = cluster.start(away).await.is_err();
    if !early {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        early = cluster.partition(away).log_end() < settled || fs.list("/data".as_ref()).is_err();
    }
    cluster.crash(away);
    cluster.start(away).await.unwrap_or_else(|error| panic!("call {call}: {error}"));
    assert!(cluster.group(away).may_lead(), "call {call}: it takes the log for a damaged one");
    let leader = cluster.leader().await;
    fill(&cluster, leader, 1).await;
    cluster.converge().await;
    assert_eq!(latest(&cluster, away).0, latest(&cluster, leader).0, "call {call}");
    early
}

#[test]
fn a_power_cut_at_any_call_of_an_installation_leaves_a_replica_that_can_go_on() {
    let mut early = 0;
    for call in (0..240).step_by(4) {
        early += u32::from(simulate(power_cut_at(call)));
    }
    assert!((20..60).contains(&early), "{early} of 60 cuts came before its end");
}

#[test]
fn a_replica_whose_compacted_log_is_damaged_gets_it_anew() {
    simulate(async {
        let mut cluster = compacted(7, 3).await;
        let leader = cluster.leader().await;
        fill(&cluster, leader, 100).await;
        cluster.converge().await;
        settle(&cluster).await;
        for node in 0..3 {
            compact(&cluster, node);
        }
        fill(&cluster, leader, 3).await;
        cluster.converge().await;
        let bad = (leader + 1) % 3;
        let group = cluster.group(bad).clone();
        group.verify_at_next_start().await.unwrap();
        cluster.crash(bad);
        let fs = cluster.nodes[bad].fs.clone();
        let folder = std::path::Path::new("/data/topic-0");
        let mut names = fs.list(folder).unwrap().into_iter();
        let first = names.find(|file| file.name.ends_with(".log") && file.len > 0).unwrap();
        assert!(first.name.starts_with("00000000000000000000"));
        fs.flip_bit(&folder.join(first.name), (first.len - 3) * 8).unwrap();
        cluster.start(bad).await.unwrap();
        let leader = cluster.leader().await;
        fill(&cluster, leader, 1).await;
        cluster.converge().await;
        assert!(cluster.net.with(|links| links.snapshots) > 0, "nothing was sent");
        assert_eq!(latest(&cluster, bad).0, latest(&cluster, leader).0);
    });
}
