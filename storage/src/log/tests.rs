//! The log's behaviour on the memory file system. Crashes and faults are in `tests/`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, Now, Offset, ProducerEpoch, ProducerId, Timestamp, Uuid,
};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, Compression, ControlType, EndTxnMarker, HEADER, NewRecord,
};

use super::*;
use crate::error::{AppendError, ReadError};
use crate::fs::FileSystem;
use crate::fs::memory::MemoryFileSystem;
use crate::producer_state::{AppendOrigin, ProducerError};
use crate::settings::CleanupPolicy;

mod lookups;
mod producers;
mod reopening;

pub(super) const DIR: &str = "/data/topic-0";

pub(super) fn now(wall: i64) -> Now {
    Now { mono: MonoTime::from_start(Duration::from_millis(wall as u64)), wall: Timestamp(wall) }
}

/// A log on a memory file system, that can be closed or dropped and opened again.
pub(super) struct Fixture {
    pub(super) fs: Arc<MemoryFileSystem>,
    pub(super) settings: LogSettings,
    pub(super) resources: Arc<LogResources>,
}

impl Fixture {
    pub(super) fn new(settings: LogSettings) -> Self {
        Self {
            fs: Arc::new(MemoryFileSystem::new()),
            settings,
            resources: LogResources::new(64, 8 << 20),
        }
    }

    pub(super) fn small_segments() -> Self {
        Self::new(LogSettings {
            segment_bytes: 1000,
            index_interval_bytes: 100,
            ..LogSettings::default()
        })
    }

    pub(super) fn context(&self) -> OpenContext {
        OpenContext::new(now(1_000), Arc::clone(&self.resources))
    }

    pub(super) fn create(&self) -> PartitionLog {
        let fs: Arc<dyn FileSystem> = self.fs.clone();
        PartitionLog::create(fs, DIR.into(), self.settings.clone(), &self.context()).unwrap()
    }

    pub(super) fn open(&self, ctx: &OpenContext) -> (PartitionLog, RecoveryReport) {
        let fs: Arc<dyn FileSystem> = self.fs.clone();
        PartitionLog::open(fs, DIR.into(), self.settings.clone(), ctx).unwrap()
    }

    pub(super) fn open_clean(&self) -> PartitionLog {
        let ctx = OpenContext { shutdown: Shutdown::Clean, ..self.context() };
        let (log, report) = self.open(&ctx);
        assert_eq!(report.damage, None);
        log
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    pub(super) fn path(name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }
}

/// A batch of `values`, the first record of which has `timestamp` and the others one more each.
pub(super) fn batch(timestamp: i64, values: &[&[u8]]) -> LeaderBatch {
    leader_batch(build(BatchBuilder::new(Compression::NONE), timestamp, values))
}

pub(super) fn build(mut builder: BatchBuilder, timestamp: i64, values: &[&[u8]]) -> Bytes {
    for (index, value) in values.iter().enumerate() {
        let record = NewRecord {
            timestamp: Timestamp(timestamp + index as i64),
            key: Some(b"k"),
            value: Some(value),
            headers: &[],
        };
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

pub(super) fn leader_batch(bytes: Bytes) -> LeaderBatch {
    let header = *Batch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}

pub(super) fn append(log: &mut PartitionLog, batch: LeaderBatch) -> AppendInfo {
    try_append(log, batch, AppendOrigin::Client).unwrap()
}

pub(super) fn try_append(
    log: &mut PartitionLog,
    batch: LeaderBatch,
    origin: AppendOrigin,
) -> Result<AppendInfo, AppendError> {
    let frame_bytes = HEADER + batch.payload.len();
    let append = LeaderAppend { batches: &[batch], origin, frame_bytes };
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
    log.append_as_leader(&append, epoch, now(2_000))
}

/// The base offsets and first values of what a read answers.
pub(super) fn contents(read: &LogRead) -> Vec<(i64, Vec<u8>)> {
    let bytes = read.to_bytes().unwrap();
    assert_eq!(bytes.len(), read.bytes as usize);
    BatchIter::new(&bytes)
        .map(|batch| {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let records = batch.records(1 << 20).unwrap();
            let value = records.iter().next().unwrap().unwrap().value.unwrap().to_vec();
            (batch.header().base_offset.get(), value)
        })
        .collect()
}

pub(super) fn read_all(log: &PartitionLog, from: i64) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut at = Offset(from);
    while at < log.log_end() {
        let read = log.read(at, 300, log.log_end(), MinOneBatch::Yes).unwrap();
        assert!(!read.is_empty(), "nothing at {at} in {log:?}");
        all.extend(contents(&read));
        assert!(read.next_offset > at);
        at = read.next_offset;
    }
    all
}

fn value(index: i64) -> Vec<u8> {
    format!("value-{index:04}").into_bytes()
}

/// Appends `count` batches of one record.
pub(super) fn fill(log: &mut PartitionLog, count: i64) {
    for _ in 0..count {
        let end = log.log_end().get();
        append(log, batch(end * 10, &[&value(end)]));
    }
}

pub(super) fn expected(from: i64, to: i64) -> Vec<(i64, Vec<u8>)> {
    (from..to).map(|offset| (offset, value(offset))).collect()
}

#[test]
fn what_is_appended_can_be_read() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 100);
    assert_eq!(log.log_end(), Offset(100));
    assert!(log.segment_count() > 5);
    assert_eq!(read_all(&log, 0), expected(0, 100));
    log.shed_tail();
    assert_eq!(read_all(&log, 0), expected(0, 100), "from the files");
    for from in 0..100 {
        assert_eq!(read_all(&log, from), expected(from, 100));
    }
    let nothing = log.read(Offset(100), 10, Offset(100), MinOneBatch::Yes).unwrap();
    assert!(nothing.is_empty());
    let beyond = log.read(Offset(101), 10, Offset(100), MinOneBatch::Yes);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
}

#[test]
fn reads_answer_whole_batches_within_their_limits() {
    for from_files in [false, true] {
        let mut log = Fixture::small_segments().create();
        append(&mut log, batch(0, &[b"a", b"b", b"c"]));
        append(&mut log, batch(0, &[&[b'x'; 200]]));
        append(&mut log, batch(0, &[b"d"]));
        if from_files {
            log.shed_tail();
        }
        let read = |from, max, bound, min_one| {
            let read = log.read(Offset(from), max, Offset(bound), min_one).unwrap();
            (read.first_offset.get(), read.next_offset.get(), read.bytes > 0)
        };
        let end = 5;
        assert_eq!(read(1, 10, end, MinOneBatch::Yes), (0, 3, true), "starts with its batch");
        assert!(!read(1, 10, end, MinOneBatch::No).2);
        assert_eq!(read(0, 150, end, MinOneBatch::Yes), (0, 3, true), "the second does not fit");
        assert_eq!(read(3, 1, end, MinOneBatch::Yes), (3, 4, true));
        assert_eq!(read(0, 10_000, end, MinOneBatch::No), (0, 5, true));
        assert_eq!(read(0, 10_000, 4, MinOneBatch::Yes), (0, 4, true), "ends at the bound");
        assert!(!read(0, 10_000, 2, MinOneBatch::Yes).2, "the bound cuts no batch");
        assert!(!read(4, 10_000, 4, MinOneBatch::Yes).2);
    }
}

#[test]
fn several_batches_are_one_append() {
    let mut log = Fixture::small_segments().create();
    let batches = [batch(5, &[b"a", b"b"]), batch(9, &[b"c"])];
    let request =
        LeaderAppend { batches: &batches, origin: AppendOrigin::Coordinator, frame_bytes: 500 };
    let info = log.append_as_leader(&request, LeaderEpoch(3), now(0)).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (Offset(0), Offset(2)));
    assert_eq!(info.log_append_time, Timestamp::NONE);
    let bytes = log.read(Offset(0), 1000, Offset(3), MinOneBatch::Yes).unwrap().to_bytes().unwrap();
    let epochs: Vec<_> =
        BatchIter::new(&bytes).map(|batch| batch.unwrap().header().leader_epoch).collect();
    assert_eq!(epochs, [LeaderEpoch(3); 2]);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
    let fenced = log.append_as_leader(&request, LeaderEpoch(2), now(0));
    assert!(matches!(fenced, Err(AppendError::FencedEpoch { .. })));
}

#[test]
fn sizes_are_limited() {
    let fixture = Fixture::new(LogSettings {
        max_message_bytes: 200,
        segment_bytes: 300,
        ..LogSettings::default()
    });
    let mut log = fixture.create();
    let large = try_append(&mut log, batch(0, &[&[0; 200]]), AppendOrigin::Client);
    assert!(matches!(large, Err(AppendError::BatchTooLarge { max: 200, .. })));
    let batches = [batch(0, &[&[0; 100]]), batch(0, &[&[0; 100]])];
    let request = LeaderAppend { batches: &batches, origin: AppendOrigin::Client, frame_bytes: 0 };
    let both = log.append_as_leader(&request, LeaderEpoch(0), now(0));
    assert!(matches!(both, Err(AppendError::AppendTooLarge { max: 300, .. })));
    assert_eq!(log.log_end(), Offset(0));
}

/// The leader's topic had larger segments when it was appended.
#[test]
fn a_follower_takes_a_batch_larger_than_its_segments() {
    let fixture = Fixture::new(LogSettings { segment_bytes: 300, ..LogSettings::default() });
    let mut log = fixture.create();
    fill(&mut log, 1);
    let small = log.size_bytes();
    let large = build(BatchBuilder::new(Compression::NONE), 0, &[&[0; 1000]]);
    let mut header = *Batch::parse(&large).unwrap().header();
    header.base_offset = Offset(1);
    let large: Bytes = [&header.encode()[..], &large[HEADER..]].concat().into();
    log.append_as_follower(&large, now(0)).unwrap();
    fill(&mut log, 1);
    let sizes: Vec<u64> = log.segments().map(|(_, size)| size).collect();
    assert_eq!(sizes, [small, large.len() as u64, small], "it has a segment of its own");
    let read = log.read(Offset(1), u32::MAX, Offset(2), MinOneBatch::Yes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), large);
}

#[test]
fn a_follower_has_the_leaders_bytes() {
    let leader_fixture = Fixture::small_segments();
    let mut leader = leader_fixture.create();
    fill(&mut leader, 20);
    leader.assign_epoch(LeaderEpoch(4), Offset(20));
    fill(&mut leader, 5);
    let follower_fixture = Fixture::small_segments();
    let mut follower = follower_fixture.create();
    while follower.log_end() < leader.log_end() {
        let read =
            leader.read(follower.log_end(), 500, leader.log_end(), MinOneBatch::Yes).unwrap();
        follower.append_as_follower(&read.to_bytes().unwrap(), now(0)).unwrap();
    }
    assert_eq!(read_all(&follower, 0), expected(0, 25));
    assert_eq!(follower.epochs(), leader.epochs());
    assert_eq!(follower.epoch_end_offset(LeaderEpoch(0)), (LeaderEpoch(0), Offset(20)));
    let again = leader.read(Offset(3), 500, Offset(25), MinOneBatch::Yes).unwrap();
    let again = follower.append_as_follower(&again.to_bytes().unwrap(), now(0));
    assert!(matches!(again, Err(AppendError::OffsetMismatch { .. })));
    let torn = leader.read(Offset(24), 500, Offset(25), MinOneBatch::Yes).unwrap();
    let torn = torn.to_bytes().unwrap();
    follower.truncate_to(Offset(24), now(0)).unwrap();
    for cut in 1..torn.len() {
        let result = follower.append_as_follower(&torn.slice(..cut), now(0));
        assert!(matches!(result, Err(AppendError::Malformed { .. })), "cut at {cut}");
    }
    follower.append_as_follower(&torn, now(0)).unwrap();
    follower.validate().unwrap();
}

#[test]
fn truncation_takes_whole_batches_and_everything_behind() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 40);
    log.assign_epoch(LeaderEpoch(2), Offset(40));
    append(&mut log, batch(1, &[b"a", b"b", b"c"]));
    assert_eq!(log.truncate_to(Offset(41), now(0)).unwrap(), Offset(40), "within a batch");
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    let segments = log.segment_count();
    assert_eq!(log.truncate_to(Offset(15), now(0)).unwrap(), Offset(15));
    assert!(log.segment_count() < segments);
    assert_eq!(read_all(&log, 0), expected(0, 15));
    fill(&mut log, 10);
    assert_eq!(read_all(&log, 0), expected(0, 25));
    log.truncate_fully_and_start_at(Offset(100), now(0)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(100), Offset(100)));
    fill(&mut log, 3);
    assert_eq!(read_all(&log, 100), expected(100, 103));
    log.truncate_to(Offset(50), now(0)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(50), Offset(50)));
    log.validate().unwrap();
}

#[test]
fn deleted_records_go_with_their_segments() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 50);
    assert_eq!(log.advance_log_start(Offset(25)).unwrap(), Offset(25));
    assert_eq!(log.advance_log_start(Offset(7)).unwrap(), Offset(25), "never backwards");
    assert!(log.advance_log_start(Offset(51)).is_err());
    let below = log.read(Offset(24), 10, Offset(50), MinOneBatch::Yes);
    assert!(matches!(below, Err(ReadError::OutOfRange { .. })));
    let old_reader = log.read(Offset(25), 100, Offset(50), MinOneBatch::Yes).unwrap();
    let deleted = log.delete_old_segments(now(500), Offset(50)).unwrap();
    assert!(!deleted.is_empty());
    assert!(deleted.iter().all(|segment| segment.reason == DeletionReason::LogStart));
    assert_eq!(log.log_start(), Offset(25));
    assert_eq!(read_all(&log, 25), expected(25, 50));
    let due = log.remove_deleted(now(500).mono).unwrap().unwrap();
    assert!(fixture.names().iter().any(|name| name.ends_with(".log.deleted")));
    assert_eq!(log.remove_deleted(due).unwrap(), None);
    assert!(!fixture.names().iter().any(|name| name.ends_with(".deleted")));
    assert_eq!(contents(&old_reader)[0].0, 25, "old readers finish");
}

#[test]
fn retention_goes_by_size_and_by_the_records_own_time() {
    let mut fixture = Fixture::small_segments();
    fixture.settings.retention_bytes = Some(2_000);
    let mut log = fixture.create();
    fill(&mut log, 60);
    assert!(log.delete_old_segments(now(600), Offset(0)).unwrap().is_empty(), "above the bound");
    let deleted = log.delete_old_segments(now(600), Offset(60)).unwrap();
    assert!(deleted.iter().all(|segment| segment.reason == DeletionReason::Size));
    assert!(log.size_bytes() >= 2_000 && log.size_bytes() < 3_000, "{}", log.size_bytes());
    assert_eq!(log.log_start(), log.segments().next().unwrap().0);

    let age = Duration::from_millis(100);
    log.update_settings(LogSettings {
        retention_age: Some(age),
        retention_bytes: None,
        ..log.settings().clone()
    });
    // Record n has time 10 n: at 600 those before 500 are too old.
    let deleted = log.delete_old_segments(now(600), Offset(60)).unwrap();
    assert!(deleted.iter().all(|segment| segment.reason == DeletionReason::Age));
    let start = log.log_start().get();
    assert!((40..=50).contains(&start), "{start}");
    // Everything is old, the active segment too.
    log.delete_old_segments(now(100_000), Offset(60)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(60), Offset(60)));
    assert_eq!(log.segment_count(), 1);
    fill(&mut log, 1);
    assert_eq!(read_all(&log, 60), expected(60, 61));
}

#[test]
fn compacted_topics_keep_what_retention_would_delete() {
    let mut fixture = Fixture::small_segments();
    fixture.settings.retention_bytes = Some(0);
    fixture.settings.cleanup = CleanupPolicy::Compact;
    let mut log = fixture.create();
    fill(&mut log, 60);
    assert!(log.delete_old_segments(now(i64::MAX / 2), Offset(60)).unwrap().is_empty());
}

#[test]
fn segments_roll_by_the_records_time() {
    let mut fixture = Fixture::small_segments();
    fixture.settings.segment_age = Duration::from_millis(50);
    let mut log = fixture.create();
    append(&mut log, batch(100, &[b"a"]));
    append(&mut log, batch(150, &[b"b"]));
    assert_eq!(log.segment_count(), 1);
    append(&mut log, batch(151, &[b"c"]));
    assert_eq!(log.segment_count(), 2);
    log.roll(now(0)).unwrap();
    assert_eq!(log.segment_count(), 3);
    log.roll(now(0)).unwrap();
    assert_eq!(log.segment_count(), 3, "an empty segment is not rolled");
}

#[test]
fn full_indexes_roll() {
    let mut fixture = Fixture::small_segments();
    fixture.settings.segment_bytes = 1 << 20;
    fixture.settings.index_bytes_max = 80;
    let mut log = fixture.create();
    fill(&mut log, 60);
    assert!(log.segment_count() > 3);
    assert_eq!(read_all(&log, 0), expected(0, 60));
}

#[test]
fn files_of_other_topics_are_refused() {
    let fixture = Fixture::small_segments();
    let ctx = OpenContext { topic_id: Uuid::from_u128(7), ..fixture.context() };
    let (log, _) = fixture.open(&ctx);
    assert_eq!(log.topic_id(), Uuid::from_u128(7));
    drop(log);
    let other = OpenContext { topic_id: Uuid::from_u128(8), ..fixture.context() };
    let fs: Arc<dyn FileSystem> = fixture.fs.clone();
    let refused = PartitionLog::open(fs, DIR.into(), LogSettings::default(), &other);
    assert!(matches!(refused, Err(LogError::TopicId { .. })));
    let (log, _) = fixture.open(&fixture.context());
    assert_eq!(log.topic_id(), Uuid::from_u128(7));
}

#[test]
fn only_a_flush_makes_durable() {
    let mut log = Fixture::small_segments().create();
    fill(&mut log, 30);
    assert_eq!(log.flushed(), Offset(0));
    let job = log.begin_flush().unwrap();
    assert_eq!(job.up_to, Offset(30));
    fill(&mut log, 5);
    log.complete_flush(job.up_to).unwrap();
    assert_eq!(log.flushed(), Offset(30));
    // Cut while a flush runs: what is written since is not covered by it.
    let job = log.begin_flush().unwrap();
    log.truncate_to(Offset(20), now(0)).unwrap();
    fill(&mut log, 20);
    log.complete_flush(job.up_to).unwrap();
    assert_eq!(log.flushed(), Offset(20));
    log.flush_now().unwrap();
    assert_eq!(log.flushed(), Offset(40));
    assert_eq!(log.recovery_point(), Offset(40));
    assert!(!log.needs_flush());
}

#[test]
fn a_failed_sync_kills_the_log_and_not_the_data() {
    let mut log = Fixture::small_segments().create();
    fill(&mut log, 30);
    log.flush_now().unwrap();
    fill(&mut log, 3);
    log.begin_flush().unwrap();
    log.fail_flush(&std::io::ErrorKind::Other.into());
    let refused = try_append(&mut log, batch(0, &[b"x"]), AppendOrigin::Client);
    assert!(matches!(refused, Err(AppendError::Log(LogError::Offline { .. }))));
    assert!(log.begin_flush().is_err());
    let read = log.read(Offset(29), 1000, log.log_end(), MinOneBatch::Yes).unwrap();
    assert_eq!(contents(&read), expected(29, 30), "what was synced can be read");
    assert!(log.read(Offset(31), 1000, log.log_end(), MinOneBatch::Yes).unwrap().is_empty());
    assert!(log.close_clean(now(0)).is_err());
}

#[test]
fn memory_for_the_tail_is_bounded() {
    let fixture = Fixture {
        resources: LogResources::new(64, 64 * 1024),
        ..Fixture::new(LogSettings::default())
    };
    let mut logs: Vec<PartitionLog> = (0..4)
        .map(|index| {
            let fs: Arc<dyn FileSystem> = fixture.fs.clone();
            let dir = PathBuf::from(format!("/data/topic-{index}"));
            PartitionLog::create(fs, dir, fixture.settings.clone(), &fixture.context()).unwrap()
        })
        .collect();
    for round in 0..40 {
        for (index, log) in logs.iter_mut().enumerate() {
            // Small ones are copied, large ones are kept as they are.
            let size = if round % 2 == 0 { 700 } else { 6_000 + index };
            append(log, batch(0, &[&vec![b'a' + index as u8; size]]));
            assert!(fixture.resources.tail().used() <= 64 * 1024 + 20_000);
        }
    }
    for (index, log) in logs.iter().enumerate() {
        let read = log.read(Offset(0), 10 << 20, log.log_end(), MinOneBatch::Yes).unwrap();
        let values = contents(&read);
        assert_eq!(values.len(), 40);
        assert!(values.iter().all(|(_, value)| value.iter().all(|b| *b == b'a' + index as u8)));
    }
    drop(logs);
    assert_eq!(fixture.resources.tail().used(), 0);
}

#[test]
fn open_files_are_bounded() {
    let fixture = Fixture { resources: LogResources::new(16, 0), ..Fixture::small_segments() };
    let mut log = fixture.create();
    fill(&mut log, 500);
    log.flush_now().unwrap();
    assert!(log.segment_count() > 30);
    assert_eq!(read_all(&log, 0), expected(0, 500));
    assert!(fixture.resources.handles().open_files() <= 16);
}
