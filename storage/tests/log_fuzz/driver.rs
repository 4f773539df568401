//! One random history: takes steps, keeps the model in step, compares.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, Compression, ControlType, EndTxnMarker, HEADER, NewRecord,
    increment_sequence,
};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{
    DiskError, FailedSyncReads, Op, OpMatcher, SimFileSystem, SimOptions, SimRandom,
};
use ottla_storage::{
    AfterRecoveryPoint, AppendError, AppendOrigin, LeaderAppend, LeaderBatch, LogError, LogHealth,
    LogResources, LogSettings, MinOneBatch, OpenContext, PartitionLog, RecoveryReport, Shutdown,
};

use crate::model::{Model, ModelBatch};

const DIR: &str = "/data/topic-0";
const PRODUCERS: i64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Process,
    Machine,
}

/// A change that was begun when the power went: it may have happened in part.
#[derive(Debug, Default)]
struct InDoubt {
    appended: Vec<ModelBatch>,
    truncated: Option<Offset>,
    restarted: Option<Offset>,
    deleted: bool,
}

pub(crate) struct History {
    pub(crate) fs: SimFileSystem,
    pub(crate) model: Model,
    pub(crate) log: Option<PartitionLog>,
    pub(crate) random: SimRandom,
    settings: LogSettings,
    resources: Arc<LogResources>,
    clock: i64,
    epoch: LeaderEpoch,
    /// What a checkpoint file has, durably.
    pub(crate) recovery_point: Offset,
    log_start: Offset,
    /// The largest offset that a complete flush has covered.
    synced: Offset,
    doubt: InDoubt,
    crashed: bool,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
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

    fn try_open(
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
    fn say(&self, what: &dyn std::fmt::Display) {
        if replayed() {
            for line in self.fs.take_trace() {
                eprintln!("  {line}");
            }
            eprintln!("{what}");
        }
    }

    fn log(&mut self) -> &mut PartitionLog {
        self.log.as_mut().unwrap()
    }

    pub(crate) fn step(&mut self) {
        self.clock += self.random.below(100) as i64;
        self.crashed = false;
        if self.random.chance(40_000) {
            let call = self.fs.calls() + self.random.below(40);
            self.fs.power_off_at(call);
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

    /// An operation failed: only because the power went, or the log went offline before.
    fn failed(&mut self, error: &dyn std::fmt::Display) {
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

    fn data(&mut self, mut builder: BatchBuilder) -> LeaderBatch {
        for _ in 0..=self.random.below(4) {
            let len = match self.random.below(20) {
                0 => self.random.below(1_200),
                _ => self.random.below(120),
            };
            let value: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
            let time = self.clock - self.random.below(200) as i64;
            let record = NewRecord {
                timestamp: Timestamp(time),
                key: None,
                value: Some(&value),
                headers: &[],
            };
            builder.push(record).unwrap();
        }
        split(builder.build().unwrap())
    }

    fn append(&mut self) {
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

    fn flush(&mut self) {
        match self.log().flush_now() {
            Ok(()) => self.on_flushed(),
            Err(error) => self.failed(&error),
        }
    }

    fn on_flushed(&mut self) {
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

    fn roll(&mut self) {
        let now = self.now();
        if let Err(error) = self.log().roll(now) {
            self.failed(&error);
        }
    }

    fn truncate(&mut self) {
        let span = self.model.end.since(self.model.start).max(0) as u64;
        let back = self.random.below(1 + span.min(30)) as i64;
        let target = self.model.end.plus(-back);
        let end = self.model.boundary(target);
        let now = self.now();
        // Who cuts below the checkpointed log start writes the checkpoint first: otherwise opening
        // goes on there, as Kafka does.
        self.log_start = self.log_start.min(end);
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

    fn retention(&mut self) {
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

    fn delete_records(&mut self) {
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

    fn failing_sync(&mut self) {
        self.append();
        if self.crashed || !self.log().needs_flush() {
            return;
        }
        let synced = self.synced;
        self.fs.fail_next(OpMatcher::op(Op::SyncData), DiskError::Io);
        let result = self.log().flush_now();
        self.fs.clear_faults();
        if let Err(error) = result {
            if matches!(self.log().health(), LogHealth::Offline(_)) {
                let start = self.model.start;
                let log = self.log.as_ref().unwrap();
                assert!(!log.is_writable());
                // What was synced is still there to be read.
                if start < synced && self.fs.exists(Path::new(DIR)).is_ok() {
                    let _ = log.read(start, 100, synced, MinOneBatch::Yes);
                }
                if self.fs.exists(Path::new(DIR)).is_ok() && self.random.chance(700_000) {
                    // A new process on the same machine: the page cache holds, as clean, what the
                    // disk does not. What it accepts it must be able to keep.
                    self.power_stays();
                    self.log = None;
                    self.fs.kill_process();
                    return self.recover(synced, Stop::Process);
                }
            }
            self.failed(&error);
        } else {
            self.on_flushed();
        }
    }

    /// The machine loses power.
    pub(crate) fn crash(&mut self) {
        self.log = None;
        self.fs.crash();
        self.fs.clear_faults();
        self.recover(self.synced, Stop::Machine);
    }

    /// The process dies; what it wrote stays.
    fn kill(&mut self) {
        self.power_stays();
        if self.fs.exists(Path::new(DIR)).is_err() {
            // It went already, in a write whose failure costs nothing.
            return self.crash();
        }
        self.log = None;
        self.fs.kill_process();
        let all = self.model.end;
        self.recover(all, Stop::Process);
    }

    fn close(&mut self) {
        let now = self.now();
        match self.log().close_clean(now) {
            Err(error) => self.failed(&error),
            Ok(()) => {
                let before = self.log().producers().clone();
                self.recovery_point = self.log().recovery_point();
                assert_eq!(self.recovery_point, self.model.end);
                self.log_start = self.model.start;
                self.synced = self.model.end;
                self.log = None;
                self.power_stays();
                if self.random.chance(500_000) {
                    self.fs.crash();
                }
                let (log, report) = self.open(Shutdown::Clean, AfterRecoveryPoint::Report);
                assert_eq!(report.damage, None);
                assert_eq!(report.torn, None);
                assert_eq!(report.scanned_bytes, 0);
                let known = |state: &ottla_storage::producer_state::ProducerState| {
                    state.iter().map(|(id, entry)| (id, entry.clone())).collect::<Vec<_>>()
                };
                assert_eq!(known(log.producers()), known(&before));
                assert_eq!(log.log_start(), self.model.start);
                self.log = Some(log);
                self.compare();
            }
        }
    }

    /// Opens after a stop in the middle of whatever, and brings the model to what was recovered.
    fn recover(&mut self, at_least: Offset, stop: Stop) {
        self.crashed = true;
        let after = match self.random.chance(500_000) {
            true => AfterRecoveryPoint::Cut,
            false => AfterRecoveryPoint::Report,
        };
        if stop == Stop::Machine && self.random.chance(200_000) {
            // The power goes again while the log is being opened.
            self.fs.power_off_at(self.fs.calls() + self.random.below(60));
            match self.try_open(Shutdown::Unclean, after) {
                Ok((log, _)) => drop(log),
                Err(LogError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            self.fs.crash();
        }
        let (mut log, report) = self.open(Shutdown::Unclean, after);
        let doubt = std::mem::take(&mut self.doubt);
        let mut at_least = at_least;
        if let Some(end) = doubt.truncated {
            at_least = at_least.min(end);
        }
        if let Some(start) = doubt.restarted {
            at_least = Offset::ZERO;
            if log.log_end() == start && log.log_start() == start {
                self.model.restart(start);
            }
        }
        if let Some(damage) = &report.damage {
            // Holes in what was never synced may be reported, and healed by cutting.
            assert_eq!(after, AfterRecoveryPoint::Report, "{damage}; {}", self.recovery_point);
            assert!(damage.from >= at_least, "{damage}; synced {at_least}");
            assert!(!log.is_writable());
            log.truncate_to(damage.from, self.now()).unwrap();
            assert!(log.is_writable());
        }
        let end = log.log_end();
        assert!(
            end >= at_least,
            "lost what was synced: ends at {end}, synced {at_least}, {report:?}",
        );
        let (doubt_deleted, doubt_restarted) = (doubt.deleted, doubt.restarted);
        for batch in doubt.appended {
            if batch.base() == self.model.end && batch.next() <= end {
                self.model.push(batch);
            }
        }
        assert!(
            end <= self.model.end,
            "{end} > {}: {report:?}; {doubt_restarted:?}",
            self.model.end,
        );
        self.model.truncate(end);
        // Deletions below the checkpointed start are for good, later ones may have been undone.
        let start = log.log_start();
        assert!(
            doubt_deleted || start <= self.model.start.max(self.log_start),
            "starts at {start} and not {}; {doubt_restarted:?}",
            self.model.start,
        );
        self.model.start = start;
        self.synced = log.flushed();
        self.log = Some(log);
        self.compare();
        // As a broker does after an unclean start.
        self.flush();
    }

    fn spot_check(&mut self) {
        let log = self.log.as_ref().unwrap();
        log.validate().unwrap();
        assert_eq!(log.log_end(), self.model.end);
        assert_eq!(log.log_start(), self.model.start);
        let ids = (0..PRODUCERS).map(ProducerId);
        if self.model.start == Offset::ZERO {
            assert_eq!(log.last_stable(log.log_end()), self.model.last_stable(ids));
        }
        if self.fs.calls().is_multiple_of(3) {
            self.read_some();
        }
    }

    fn read_some(&mut self) {
        let span = self.model.end.since(self.model.start) as u64;
        let from = self.model.start.plus(self.random.below(span + 1) as i64);
        let bound = from.plus(self.random.below(40) as i64).min(self.model.end);
        let max = self.random.below(3_000) as u32;
        let log = self.log.as_ref().unwrap();
        let Ok(read) = log.read(from, max, bound, MinOneBatch::Yes) else {
            return self.failed(&"a read");
        };
        let Ok(bytes) = read.to_bytes() else { return self.failed(&"a read") };
        let mut wanted = Vec::new();
        for batch in self.model.batches.iter().filter(|batch| batch.next() > from) {
            let fits = wanted.len() + batch.bytes.len() <= max as usize || wanted.is_empty();
            if !fits || batch.next() > bound {
                break;
            }
            wanted.extend_from_slice(&batch.bytes);
        }
        assert!(wanted.starts_with(&bytes), "a read from {from} answers other bytes");
        assert_eq!(wanted.is_empty(), bytes.is_empty(), "from {from} below {bound}");
    }

    /// Compares everything.
    pub(crate) fn compare(&mut self) {
        if let Err(difference) = self.difference() {
            if self.fs.exists(Path::new(DIR)).is_err() {
                return self.failed(&difference);
            }
            panic!("{difference}\n{:?}", self.log);
        }
        let log = self.log.as_ref().unwrap();
        let known: Vec<_> = log.producers().iter().map(|(id, entry)| (id, entry.clone())).collect();
        assert_eq!(known, self.model.producers());
    }

    pub(crate) fn difference(&self) -> Result<(), String> {
        let log = self.log.as_ref().unwrap();
        log.validate()?;
        let differ = |what: &str, ours: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (ours, wanted) = (format!("{ours:?}"), format!("{wanted:?}"));
            if ours == wanted { Ok(()) } else { Err(format!("{what}: {ours} and not {wanted}")) }
        };
        differ("log end", &log.log_end(), &self.model.end)?;
        differ("log start", &log.log_start(), &self.model.start)?;
        let mut at = log.log_start();
        let mut bytes = Vec::new();
        while at < log.log_end() {
            let read = log
                .read(at, 700, log.log_end(), MinOneBatch::Yes)
                .map_err(|error| error.to_string())?;
            if read.next_offset <= at {
                return Err(format!("nothing to read at {at}"));
            }
            bytes.extend_from_slice(&read.to_bytes().map_err(|error| error.to_string())?);
            at = read.next_offset;
        }
        let bases = |bytes: &[u8]| -> Vec<i64> {
            BatchIter::new(bytes).map(|b| b.unwrap().header().base_offset.get()).collect()
        };
        let wanted: Vec<u8> = self.model.readable().flat_map(|b| b.bytes.to_vec()).collect();
        if bytes != wanted {
            return Err(format!("read {:?} and not {:?}", bases(&bytes), bases(&wanted)));
        }
        for batch in self.model.readable() {
            let epoch = log.epochs().epoch_at(batch.base().max(self.model.start));
            differ("epoch", &epoch, &self.model.epoch_at(batch.base()))?;
        }
        let latest = self.clock - 400;
        for timestamp in (latest..self.clock + 50).step_by(37) {
            let found = log
                .offset_for_timestamp(Timestamp(timestamp))
                .map_err(|error| error.to_string())?
                .map(|found| (found.offset, found.timestamp));
            differ("timestamp", &found, &self.model.find_time(Timestamp(timestamp)))?;
        }
        let found = log
            .aborted_transactions(self.model.start, self.model.end)
            .map_err(|error| error.to_string())?;
        let mut wanted: Vec<_> =
            self.model.aborted().into_iter().filter(|t| t.2 >= self.model.start).collect();
        for txn in &found {
            let known = wanted
                .iter()
                .position(|wanted| (wanted.0, wanted.2) == (txn.producer_id, txn.last_offset));
            let Some(known) = known else { return Err(format!("{txn:?} was not aborted")) };
            let (id, first, last) = wanted.remove(known);
            // Its first batches may be gone, and with them all that told of them.
            let data = self.model.first_data(id, first.max(self.model.start), last);
            if txn.first_offset < first || data.is_some_and(|data| data < txn.first_offset) {
                return Err(format!("{txn:?} began at {first}"));
            }
        }
        let missing = wanted.into_iter().find(|(id, first, last)| {
            self.model.first_data(*id, (*first).max(self.model.start), *last).is_some()
        });
        missing.map_or(Ok(()), |txn| Err(format!("{txn:?} is not listed as aborted")))
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

fn split(bytes: Bytes) -> LeaderBatch {
    let header = *Batch::parse(&bytes).unwrap().header();
    LeaderBatch { header, payload: bytes.slice(HEADER..) }
}
