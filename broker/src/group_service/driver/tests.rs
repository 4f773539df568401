//! A driver over a real partition log on a simulated disk that fails when it is told to.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ottla_config::topic::Durability;
use ottla_coordinator::group::{
    CommitPartition, CommitTopic, FetchOffsetsRequest, GroupSettings, JoinRequest, MemberIdRule,
    MissingGroup, OffsetCommitRequest, Protocol, Reply, SkipAssignment, Stability,
};
use ottla_protocol::model::{LeaderEpoch, MonoTime, NodeId, Timestamp, Uuid};
use ottla_replication::partition::Copies;
use ottla_replication::replicas::{History, NewPartition, NodeIdentity, Replicas};
use ottla_storage::LogSettings;
use ottla_storage::flush::FlushOptions;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher};
use ottla_storage::fs::{SimFileSystem, SimOptions};

use super::super::load;
use super::*;
use crate::clock::{Clock, ManualClock};

mod replicated;

pub(in crate::group_service) struct Bench {
    fs: SimFileSystem,
    replicas: Replicas,
    pub(in crate::group_service) partition: Arc<Partition>,
    clock: Arc<ManualClock>,
}

impl Bench {
    pub(in crate::group_service) fn new() -> Self {
        Self::with(Copies::One)
    }

    pub(in crate::group_service) fn replicated() -> Self {
        Self::with(Copies::Several)
    }

    fn with(copies: Copies) -> Self {
        let fs = SimFileSystem::new(1, SimOptions::default());
        let identity =
            NodeIdentity { node: NodeId(0), cluster_id: None, new_cluster_id: Uuid::from_u128(1) };
        let mut id = 10;
        let (fs_arc, data) = (Arc::new(fs.clone()), [PathBuf::from("/data")]);
        let flush = FlushOptions::default();
        let replicas = Replicas::open(fs_arc, &identity, &data, flush, || {
            id += 1;
            Uuid::from_u128(id)
        })
        .expect("a fresh disk");
        let new = NewPartition {
            name: TopicPartition::new("__consumer_offsets", 0),
            topic_id: Uuid::from_u128(5),
            settings: LogSettings::default(),
            durability: Durability::Fsync,
            epoch: LeaderEpoch::ZERO,
            copies,
            directory: Uuid::nil(),
            history: History::New,
        };
        let partition = replicas.open_partition(new, now()).expect("a new partition");
        Self { fs, replicas, partition, clock: Arc::default() }
    }

    /// A driver whose shard knows what the log says.
    pub(in crate::group_service) fn driver(&self) -> Driver {
        let clock: Clock = Arc::<ManualClock>::clone(&self.clock);
        let patience = Patience { clock, timeout: TIMEOUT };
        let epoch = self.partition.leader_epoch();
        let driver = Driver::new(0, &self.partition, epoch, Arc::default(), patience);
        let settings = GroupSettings {
            initial_rebalance_delay: Duration::from_secs(3),
            ..GroupSettings::default()
        };
        driver.begin(load::shard(&self.partition, settings).expect("a sound log"), now());
        driver
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);

pub(in crate::group_service) fn now() -> Now {
    Now { mono: MonoTime::from_start(Duration::from_secs(1)), wall: Timestamp(1_000_000) }
}

fn commit(offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        missing_group: MissingGroup::GroupIdNotFound,
        topics: vec![CommitTopic {
            topic: "t".into(),
            topic_id: Uuid::nil(),
            partitions: vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: None,
            }],
        }],
    }
}

fn join(group: &str) -> JoinRequest {
    JoinRequest {
        group_id: group.into(),
        member_id: "".into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"m") }],
        member_id_rule: MemberIdRule::Assigned,
        skip_assignment: SkipAssignment::Unsupported,
        fresh_uuid: Uuid::from_u128(7),
    }
}

pub(in crate::group_service) async fn committed(
    driver: &Driver,
    offset: i64,
) -> Result<(), GroupError> {
    let answer = driver.submit(now(), |token| Input::CommitOffsets(token, commit(offset)))?;
    match answer.wait().await? {
        Reply::CommitOffsets(result) => result.map(drop),
        other => panic!("a commit was answered {other:?}"),
    }
}

pub(in crate::group_service) async fn fetched(driver: &Driver) -> Result<Vec<i64>, GroupError> {
    let (topics, stability) = (None, Stability::Any);
    let request = FetchOffsetsRequest { group_id: "g".into(), topics, stability };
    let answer = driver.submit(now(), |token| Input::FetchOffsets(token, request))?;
    match answer.wait().await? {
        Reply::FetchOffsets(topics) => {
            Ok(topics.iter().flat_map(|t| &t.partitions).map(|p| p.offset).collect())
        }
        other => panic!("a fetch was answered {other:?}"),
    }
}

#[tokio::test]
async fn a_reply_means_that_the_records_are_durable() {
    let bench = Bench::new();
    let driver = bench.driver();
    for offset in 0..20 {
        committed(&driver, offset).await.expect("a sound disk");
        assert_eq!(bench.partition.high_watermark(), bench.partition.log_end());
    }
    bench.replicas.close(now());
}

#[tokio::test]
async fn a_failed_flush_is_told_to_whoever_waits() {
    let bench = Bench::new();
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    let waiting = driver.submit(now(), |token| Input::Join(token, join("h"))).expect("a shard");
    // Whichever way the flush goes: it depends on how many files are dirty.
    for op in [Op::SyncData, Op::SyncDir, Op::SyncDisk] {
        bench.fs.fail_next(OpMatcher::op(op), DiskError::Io);
    }
    assert_eq!(committed(&driver, 2).await, Err(GroupError::NotCoordinator));
    assert_eq!(committed(&driver, 3).await, Err(GroupError::NotCoordinator));
    match waiting.wait().await {
        Ok(Reply::Join(reply)) => assert_eq!(reply.error, Some(GroupError::NotCoordinator)),
        other => panic!("a join that can never end was answered {other:?}"),
    }
    assert!(!driver.serves(&bench.partition));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let bench = Bench::new();
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    bench.fs.fail_next(OpMatcher::op(Op::Write).on("__consumer_offsets"), DiskError::NoSpace);
    assert_eq!(committed(&driver, 2).await, Err(GroupError::NotCoordinator));
    assert!(!driver.serves(&bench.partition), "its state is ahead of the log");
    let again = bench.driver();
    assert_eq!(fetched(&again).await, Ok(vec![1]));
    committed(&again, 3).await.expect("there is room again");
    assert_eq!(fetched(&bench.driver()).await, Ok(vec![3]));
}

#[test]
fn many_records_are_cut_into_batches() {
    let record = |size: usize| GroupRecord { key: Bytes::from(vec![0; size]), value: None };
    let sizes = |records: &[GroupRecord]| chunks(records).map(<[_]>::len).collect::<Vec<_>>();
    assert_eq!(sizes(&[]), Vec::<usize>::new());
    assert_eq!(sizes(&[record(10), record(10)]), [2]);
    let half = BATCH_BYTES / 2;
    assert_eq!(sizes(&[record(half), record(half), record(1)]), [2, 1]);
    assert_eq!(sizes(&[record(2 * BATCH_BYTES), record(1)]), [1, 1]);
}
