//! One random history: takes steps, keeps the model in step, compares.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{
    Batch, BatchBuilder, Compression, ControlType, EndTxnMarker, HEADER, NewRecord,
    increment_sequence,
};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{
    DiskError, FailedSyncReads, Op, OpMatcher, SimFileSystem, SimOptions, SimRandom,
};
use ottla_storage::{
    AfterRecoveryPoint, AppendError, AppendOrigin, CleanupPolicy, LeaderAppend, LeaderBatch,
    LogError, LogHealth, LogResources, LogSettings, OpenContext, PartitionLog, RecoveryReport,
    Shutdown,
};

use crate::model::{Model, ModelBatch};

pub(crate) const DIR: &str = "/data/topic-0";
pub(crate) const PRODUCERS: i64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Process,
    Machine,
}

/// A change that was begun when the power went: it may have happened in part.
#[derive(Debug, Default)]
pub(crate) struct InDoubt {
    pub(crate) appended: Vec<ModelBatch>,
    pub(crate) truncated: Option<Offset>,
    pub(crate) restarted: Option<Offset>,
    pub(crate) deleted: bool,
}

pub(crate) struct History {
    pub(crate) fs: SimFileSystem,
    pub(crate) model: Model,
    pub(crate) log: Option<PartitionLog>,
    pub(crate) random: SimRandom,
    pub(crate) settings: LogSettings,
    pub(crate) resources: Arc<LogResources>,
    pub(crate) clock: i64,
    pub(crate) epoch: LeaderEpoch,
    /// What a checkpoint file has, durably.
    pub(crate) recovery_point: Offset,
    pub(crate) log_start: Offset,
    /// The largest offset that a complete flush has covered.
    pub(crate) synced: Offset,
    pub(crate) doubt: InDoubt,
    pub(crate) crashed: bool,
    /// The cleaner's checkpoint.
    pub(crate) cleaned: Offset,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_cleanup(seed, CleanupPolicy::Delete)
    }

    /// One in which the log is compacted, too, or only.
    pub(crate) fn compacted(seed: u64) -> Self {
        let both = SimRandom::new(!seed).chance(400_000);
        let cleanup = if both { CleanupPolicy::CompactAndDelete } else { CleanupPolicy::Compact };
        Self::with_cleanup(seed, cleanup)
    }

    fn with_cleanup(seed: u64, cleanup: CleanupPolicy) -> Self {
        let mut random = SimRandom::new(seed);
        let fs = SimFileSystem::new(
            random.next(),
            SimOptions {
                block_bytes: if random.chance(500_000) { 512 } else { 4096 },
                failed_sync_reads: [FailedSyncReads::AsWritten, FailedSyncReads::AsOnDisk]
                    [random.below(2) as usize],
                trace_lines: if replayed() { 1 << 20 } else { 0 },
                ..SimOptions::default()
            },
        );
        fs.create_dir_all(Path::new(DIR)).unwrap();
        for dir in ["/", "/data", DIR] {
            fs.sync_dir(Path::new(dir)).unwrap();
        }
        let settings = LogSettings {
            segment_bytes: 1_500 + random.below(6_000) as u32,
            index_interval_bytes: random.below(600) as u32,
            segment_age: Duration::from_millis(3_000),
            retention_age: Some(Duration::from_millis(2_000)),
            retention_bytes: Some(10_000),
            producer_id_expiration: Duration::from_secs(1 << 30),
            file_delete_delay: Duration::from_millis(50),
            cleanup,
            ..LogSettings::default()
        };
        let resources = LogResources::new(16, random.below(3) * 8_000);
        let mut history = Self {
            fs,
            model: Model::default(),
            log: None,
            random,
            settings,
            resources,
            clock: 1_000_000,
            epoch: LeaderEpoch(0),
            recovery_point: Offset::ZERO,
            log_start: Offset::ZERO,
            synced: Offset::ZERO,
            doubt: InDoubt::default(),
            crashed: false,
            cleaned: Offset::ZERO,
        };
        history.log = Some(history.open(Shutdown::Unclean, AfterRecoveryPoint::Report).0);
        history
    }

    pub(crate) fn run(&mut self, steps: u64) {
        let steps = 10 + self.random.below(steps);
        for _ in 0..steps {
            self.step();
        }
        self.crash();
        self.compare();
    }

    pub(crate) fn now(&self) -> Now {
        let mono = MonoTime::from_start(Duration::from_millis(self.clock as u64));
        Now { mono, wall: Timestamp(self.clock) }
    }

    pub(crate) fn context(&self, shutdown: Shutdown, after: AfterRecoveryPoint) -> OpenContext {
        OpenContext {
            recovery_point: self.recovery_point,
            log_start: Some(self.log_start),
            shutdown,
            after_recovery_point: after,
            ..OpenContext::new(self.now(), Arc::clone(&self.resources))
        }
    }

    pub(crate) fn open(
        &self,
        shutdown: Shutdown,
        after: AfterRecoveryPoint,
    ) -> (PartitionLog, RecoveryReport) {
        self.try_open(shutdown, after).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_open(
        &self,
        shutdown: Shutdown,
        after: AfterRecoveryPoint,
    ) -> Result<(PartitionLog, RecoveryReport), LogError> {
        let fs: Arc<dyn FileSystem> = Arc::new(self.fs.clone());
        let ctx = self.context(shutdown, after);
        PartitionLog::open(fs, PathBuf::from(DIR), self.settings.clone(), &ctx)
    }

    /// No power cut is ordered any more.
    pub(crate) fn power_stays(&self) {
        self.fs.power_off_at(u64::MAX);
    }

    /// Says in a replay what is done; the disk's calls go between.
    pub(crate) fn say(&self, what: &dyn std::fmt::Display) {
        if replayed() {
            for line in self.fs.take_trace() {
                eprintln!("  {line}");
            }
            eprintln!("{what}");
        }
    }

    pub(crate) fn log(&mut self) -> &mut PartitionLog {
        self.log.as_mut().unwrap()
    }

    pub(crate) fn step(&mut self) {
        self.clock += self.random.below(100) as i64;
        self.crashed = false;
        if self.random.chance(40_000) {
            let call = self.fs.calls() + self.random.below(40);
            self.fs.power_off_at(call);
        }
        if self.compacts() && self.random.chance(100_000) {
            self.clean();
            if self.crashed {
                return;
            }
        }
        let kind = self.random.below(100);
        self.say(&format_args!(
            "step {kind}: model {}..{}, synced {}, recovery point {}",
            self.model.start, self.model.end, self.synced, self.recovery_point
        ));
        match kind {
            0..45 => self.append(),
            45..50 => self.append_duplicate(),
            50..58 => self.flush(),
            58..61 => self.flush_around_others(),
            61..64 => self.roll(),
            64..68 => self.truncate(),
            68..69 => self.restart(),
            69..74 => self.retention(),
            74..77 => self.delete_records(),
            77..80 => self.new_epoch(),
            80..83 => self.snapshot(),
            83..85 => self.full_disk(),
            85..86 => self.failing_sync(),
            86..90 => self.crash(),
            90..93 => self.kill(),
            93..96 => self.close(),
            _ => self.compare(),
        }
        if !self.crashed {
            self.spot_check();
        }
    }

    pub(crate) fn compacts(&self) -> bool {
        self.settings.cleanup.compacts()
    }

    /// An operation failed: only because the power went, or the log went offline before.
    pub(crate) fn failed(&mut self, error: &dyn std::fmt::Display) {
        self.say(&format_args!("failed: {error}"));
        self.crash();
    }

    pub(crate) fn random_batch(&mut self) -> LeaderBatch {
        let id = self.random.below(2 * PRODUCERS as u64) as i64;
        if id >= PRODUCERS {
            return self.data(BatchBuilder::new(Compression::NONE));
        }
        let id = ProducerId(id);
        let entry = self.log().producers().get(id).cloned();
        let open = entry.as_ref().and_then(|entry| entry.txn_first);
        let epoch = entry.as_ref().map_or(ProducerEpoch(0), |entry| entry.epoch);
        if open.is_some() && self.random.chance(400_000) {
            let kind =
                if self.random.chance(500_000) { ControlType::Abort } else { ControlType::Commit };
            let marker = EndTxnMarker { kind, coordinator_epoch: 0 };
            return split(marker.batch(id, epoch, Timestamp(self.clock)).unwrap());
        }
        let fresh = entry.is_some() && open.is_none() && self.random.chance(50_000);
        let (epoch, sequence) = match entry {
            Some(_) if fresh => (ProducerEpoch(epoch.get() + 1), 0),
            Some(entry) => (epoch, increment_sequence(entry.last_sequence(), 1)),
            None => (epoch, 0),
        };
        let mut builder = BatchBuilder::new(Compression::NONE).with_producer(id, epoch, sequence);
        if open.is_some() || (id.get() % 2 == 1 && self.random.chance(500_000)) {
            builder = builder.with_transactional();
        }
        self.data(builder)
    }

    pub(crate) fn data(&mut self, mut builder: BatchBuilder) -> LeaderBatch {
        for _ in 0..=self.random.below(4) {
            let len = match self.random.below(20) {
                0 => self.random.below(1_200),
                _ => self.random.below(120),
            };
            let value: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
            let time = self.clock - self.random.below(200) as i64;
            let (mut key, mut tombstone) = (None, false);
            if self.compacts() {
                key = Some(format!("key-{}", self.random.below(8)));
                tombstone = self.random.chance(200_000);
            }
            let record = NewRecord {
                timestamp: Timestamp(time),
                key: key.as_ref().map(|key| key.as_bytes()),
                value: Some(&value[..]).filter(|_| !tombstone),
                headers: &[],
            };
            builder.push(record).unwrap();
        }
        split(builder.build().unwrap())
    }

    pub(crate) fn append(&mut self) {
        let batch = self.random_batch();
        let mut batches = vec![batch];
        while self.random.chance(150_000) {
            batches.push(self.data(BatchBuilder::new(Compression::NONE)));
        }
        let mut placed = Vec::new();
        let mut next = self.model.end;
        for batch in &batches {
            let mut bytes = batch.header.assign(next, self.epoch).to_vec();
            bytes.extend_from_slice(&batch.payload);
            placed.push(ModelBatch::of(bytes.into()));
            next = placed[placed.len() - 1].next();
        }
        let origin = match batches[0].header.attributes.is_control() {
            true => AppendOrigin::Coordinator,
            false => AppendOrigin::Client,
        };
        let (epoch, now) = (self.epoch, self.now());
        let request = LeaderAppend { batches: &batches, origin, frame_bytes: 1_000 };
        match self.log().append_as_leader(&request, epoch, now) {
            Ok(info) => {
                assert!(!info.duplicate);
                assert_eq!(info.first_offset, self.model.end);
                placed.into_iter().for_each(|batch| self.model.push(batch));
                assert_eq!(info.last_offset.next(), self.model.end);
            }
            Err(AppendError::AppendTooLarge { .. }) => {}
            Err(error) => {
                self.doubt.appended = placed;
                self.failed(&error);
            }
        }
    }

    fn append_duplicate(&mut self) {
        let id = ProducerId(self.random.below(PRODUCERS as u64) as i64);
        let recent = self.model.recent(id);
        if recent.is_empty() {
            return;
        }
        let pick = self.random.below(recent.len() as u64) as usize;
        let known = recent[pick].clone();
        // What was deleted may be forgotten with it; what can be read is known.
        if known.base() < self.model.start {
            return;
        }
        let batch = split(known.bytes.clone());
        let request =
            LeaderAppend { batches: &[batch], origin: AppendOrigin::Client, frame_bytes: 0 };
        let (epoch, now) = (self.epoch, self.now());
        let info = self.log().append_as_leader(&request, epoch, now).unwrap();
        assert!(info.duplicate);
        assert_eq!(info.first_offset, known.base());
        assert_eq!(info.last_offset.next(), known.next());
        assert_eq!(info.log_append_time, known.header.max_timestamp);
    }

    pub(crate) fn flush(&mut self) {
        match self.log().flush_now() {
            Ok(()) => self.on_flushed(),
            Err(error) => self.failed(&error),
        }
    }

    pub(crate) fn on_flushed(&mut self) {
        self.doubt = InDoubt::default();
        let log = self.log.as_ref().unwrap();
        self.synced = log.flushed();
        if self.random.chance(500_000) {
            // The checkpoint files of the driver.
            let log = self.log.as_ref().unwrap();
            self.recovery_point = log.recovery_point();
            self.log_start = log.log_start();
        }
    }

    fn flush_around_others(&mut self) {
        let job = match self.log().begin_flush() {
            Ok(job) => job,
            Err(error) => return self.failed(&error),
        };
        self.append();
        if !self.crashed && self.random.chance(300_000) {
            self.truncate();
        }
        if !self.crashed && self.random.chance(300_000) {
            self.roll();
        }
        if self.crashed {
            return;
        }
        let fs = self.fs.clone();
        let synced = job
            .files
            .iter()
            .try_for_each(|file| file.sync_data())
            .and_then(|()| job.dirs.iter().try_for_each(|dir| fs.sync_dir(dir)));
        match synced {
            Err(error) => {
                self.log().fail_flush(&error);
                self.failed(&error);
            }
            Ok(()) => match self.log().complete_flush(job.up_to) {
                Ok(()) => self.on_flushed(),
                Err(error) => self.failed(&error),
            },
        }
    }

    pub(crate) fn roll(&mut self) {
        let now = self.now();
        if let Err(error) = self.log().roll(now) {
            self.failed(&error);
        }
    }

    pub(crate) fn truncate(&mut self) {
        let span = self.model.end.since(self.model.start).max(0) as u64;
        let back = self.random.below(1 + span.min(30)) as i64;
        let mut target = self.model.end.plus(-back);
        if self.compacts() {
            // What was committed is never cut, and nothing else is cleaned.
            target = target.max(self.model.untouched).max(self.synced.min(self.model.end));
        }
        let end = self.model.boundary(target);
        let now = self.now();
        // Who cuts below the checkpointed log start writes the checkpoint first: otherwise opening
        // goes on there, as Kafka does.
        self.log_start = self.log_start.min(end);
        self.say(&format_args!("truncate to {target}, {end}; untouched {}", self.model.untouched));
        match self.log().truncate_to(target, now) {
            Ok(answer) => {
                assert_eq!(answer, end);
                self.model.truncate(end);
                self.synced = self.synced.min(end);
            }
            Err(error) => {
                self.doubt.truncated = Some(end);
                self.failed(&error);
            }
        }
    }

    fn restart(&mut self) {
        let start = self.model.end.plus(self.random.below(50) as i64 - 10).max(Offset::ZERO);
        let now = self.now();
        match self.log().truncate_fully_and_start_at(start, now) {
            Ok(()) => {
                self.model.restart(start);
                self.synced = Offset::ZERO;
                self.recovery_point = Offset::ZERO;
                self.log_start = Offset::ZERO;
                self.flush();
            }
            Err(error) => {
                self.doubt.restarted = Some(start);
                self.recovery_point = Offset::ZERO;
                self.log_start = Offset::ZERO;
                self.failed(&error);
            }
        }
    }

    pub(crate) fn retention(&mut self) {
        let (now, bound) = (self.now(), self.model.end);
        match self.log().delete_old_segments(now, bound) {
            Ok(deleted) => {
                if !deleted.is_empty() {
                    let first = self.log().segments().next().unwrap().0;
                    let start = self.model.start.max(first);
                    assert_eq!(self.log().log_start(), start);
                    self.model.start = start;
                }
                let mono = self.now().mono;
                if let Err(error) = self.log().remove_deleted(mono) {
                    self.failed(&error);
                }
            }
            Err(error) => {
                self.doubt.deleted = true;
                self.failed(&error);
            }
        }
    }

    pub(crate) fn delete_records(&mut self) {
        let span = self.model.end.since(self.model.start) as u64;
        let start = self.model.start.plus(self.random.below(span / 2 + 1) as i64);
        // Kafka deletes below the high watermark only.
        let start = start.min(self.synced.max(self.model.start));
        self.log().advance_log_start(start).unwrap();
        self.model.start = start;
    }

    fn new_epoch(&mut self) {
        self.epoch = LeaderEpoch(self.epoch.get() + 1);
        let (epoch, end) = (self.epoch, self.model.end);
        self.log().assign_epoch(epoch, end);
    }

    fn snapshot(&mut self) {
        if let Err(error) = self.log().take_producer_snapshot() {
            self.failed(&error);
        }
    }

    /// A write finds no room: it is undone, reads go on, and later there is room again.
    fn full_disk(&mut self) {
        let before = self.model.end;
        let skip = self.random.below(3);
        let matcher = OpMatcher::op(Op::Write).on(".log").after(skip);
        self.fs.fail_next(matcher, DiskError::NoSpace);
        for _ in 0..=skip {
            let batch = self.data(BatchBuilder::new(Compression::NONE));
            let request = LeaderAppend {
                batches: std::slice::from_ref(&batch),
                origin: AppendOrigin::Client,
                frame_bytes: 0,
            };
            let (epoch, now) = (self.epoch, self.now());
            match self.log().append_as_leader(&request, epoch, now) {
                Ok(_) => {
                    let mut bytes = batch.header.assign(self.model.end, self.epoch).to_vec();
                    bytes.extend_from_slice(&batch.payload);
                    self.model.push(ModelBatch::of(bytes.into()));
                }
                Err(AppendError::DiskFull(_)) => {
                    // It was cut back, and a crash may undo the cut: a refused batch may be there,
                    // as after any other error.
                    let mut bytes = batch.header.assign(self.model.end, self.epoch).to_vec();
                    bytes.extend_from_slice(&batch.payload);
                    self.doubt.appended = vec![ModelBatch::of(bytes.into())];
                }
                Err(error) => {
                    let mut bytes = batch.header.assign(self.model.end, self.epoch).to_vec();
                    bytes.extend_from_slice(&batch.payload);
                    self.doubt.appended = vec![ModelBatch::of(bytes.into())];
                    self.fs.clear_faults();
                    return self.failed(&error);
                }
            }
        }
        self.fs.clear_faults();
        assert!(self.model.end >= before);
        assert_eq!(self.log().health(), &LogHealth::Healthy);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.say(&format_args!("{:?}", self.log));
        }
    }
}

/// Whether one history is looked at, so that it may tell of itself.
fn replayed() -> bool {
    std::env::var_os("LOG_FUZZ_SEED").is_some()
}

pub(crate) fn split(bytes: Bytes) -> LeaderBatch {
    let header = *Batch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}
