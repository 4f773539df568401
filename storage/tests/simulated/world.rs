//! One log on one simulated disk, with the driver's part: checkpoints, time, reopening.
//!
//! Owns: what a broker does around a log. Never: decides what to do next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, MonoTime, Now, Offset, Timestamp, TopicPartition};
use ottla_protocol::records::{Batch, BatchBuilder, Compression, HEADER, NewRecord};
use ottla_storage::checkpoint::{CheckpointKind, read_offsets, write_offsets};
use ottla_storage::cleaner::range::CompactionSettings;
use ottla_storage::cleaner::{CleanError, CleanRun, MapMemory, Unlimited};
use ottla_storage::fs::sim::SimOptions;
use ottla_storage::fs::{FileSystem, SimFileSystem};
use ottla_storage::log::LeaderBatch;
use ottla_storage::{
    AfterRecoveryPoint, AppendError, AppendInfo, AppendOrigin, LeaderAppend, LogError,
    LogResources, LogSettings, OpenContext, PartitionLog, RecoveryReport, Shutdown,
};

use super::model::Record;

pub(crate) const DISK: &str = "/data";

/// A disk, the settings of the one log on it, and the clock.
pub(crate) struct World {
    pub(crate) sim: SimFileSystem,
    pub(crate) settings: LogSettings,
    pub(crate) compaction: CompactionSettings,
    pub(crate) after: AfterRecoveryPoint,
    pub(crate) millis: i64,
}

impl World {
    pub(crate) fn new(seed: u64, options: SimOptions, settings: LogSettings) -> Self {
        let sim = SimFileSystem::new(seed, options);
        sim.create_dir_all(Path::new(DISK)).expect("create");
        sim.sync_disk(Path::new(DISK)).expect("sync");
        Self {
            sim,
            settings,
            compaction: CompactionSettings {
                delete_retention: Duration::from_millis(500),
                ..CompactionSettings::default()
            },
            after: AfterRecoveryPoint::Cut,
            millis: 1_000_000,
        }
    }

    pub(crate) fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.sim.clone())
    }

    pub(crate) fn dir() -> PathBuf {
        Path::new(DISK).join("topic-0")
    }

    pub(crate) fn now(&self) -> Now {
        let mono = MonoTime::from_start(Duration::from_millis(self.millis as u64));
        Now { mono, wall: Timestamp(self.millis) }
    }

    pub(crate) fn partition() -> TopicPartition {
        TopicPartition::new("topic", 0)
    }

    fn checkpointed(&self, kind: CheckpointKind) -> Option<Offset> {
        let offsets =
            read_offsets(&self.sim, Path::new(DISK), kind).expect("checkpoints are whole");
        offsets.get(&Self::partition()).copied()
    }

    /// The log of a new partition.
    pub(crate) fn create(&self) -> PartitionLog {
        let ctx = OpenContext::new(self.now(), LogResources::new(16, 1 << 16));
        PartitionLog::create(self.fs(), Self::dir(), self.settings.clone(), &ctx).expect("create")
    }

    /// Opens the log with what the checkpoints say.
    pub(crate) fn open(
        &self,
        shutdown: Shutdown,
    ) -> Result<(PartitionLog, RecoveryReport), LogError> {
        // As `LogDir::open` does: a process that was killed may have made the folder.
        self.sim.sync_dir(Path::new(DISK)).expect("sync");
        if !self.sim.exists(&Self::dir()).expect("exists") {
            // A crash took the folder before its first flush: it is made anew, as a driver does.
            return Ok((self.create(), RecoveryReport::default()));
        }
        let recovery_point = self.checkpointed(CheckpointKind::RecoveryPoint);
        let ctx = OpenContext {
            recovery_point: recovery_point.unwrap_or(Offset::ZERO),
            log_start: self.checkpointed(CheckpointKind::LogStart),
            shutdown,
            after_recovery_point: self.after,
            ..OpenContext::new(self.now(), LogResources::new(16, 1 << 16))
        };
        PartitionLog::open(self.fs(), Self::dir(), self.settings.clone(), &ctx)
    }

    pub(crate) fn checkpoint(
        &self,
        kind: CheckpointKind,
        offset: Offset,
    ) -> Result<(), ottla_storage::checkpoint::CheckpointError> {
        let offsets = [(Self::partition(), offset)].into();
        write_offsets(&self.sim, Path::new(DISK), kind, &offsets)
    }

    pub(crate) fn append(
        &self,
        log: &mut PartitionLog,
        builder: BatchBuilder,
        records: &[Record],
    ) -> Result<AppendInfo, AppendError> {
        let bytes = build(builder, records);
        let header = *Batch::parse(&bytes).expect("built").header();
        let batch = LeaderBatch { header, payload: bytes.slice(HEADER..) };
        let append = LeaderAppend {
            batches: &[batch],
            origin: AppendOrigin::Coordinator,
            frame_bytes: bytes.len(),
        };
        let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
        log.append_as_leader(&append, epoch, self.now())
    }

    /// One whole cleaning, with what is clean already; answers how far the log is clean now.
    pub(crate) fn clean(
        &self,
        log: &mut PartitionLog,
        from: Offset,
    ) -> Result<Option<Offset>, CleanError> {
        let failed = |error: LogError| match error {
            LogError::Io { source, .. } => CleanError::Io { base: Offset::ZERO, source },
            _ => CleanError::Changed,
        };
        let last_stable = log.last_stable(log.log_end());
        let now = self.now();
        let range =
            log.cleanable(Some(from), last_stable, &self.compaction, now.wall).map_err(failed)?;
        if range.dirty_bytes == 0 {
            return Ok(None);
        }
        let plan = log.clean_plan(&range, &self.compaction).map_err(failed)?;
        let memory = MapMemory { bytes: 1 << 12, seeds: [1, 2] };
        let mut run = CleanRun::start(plan, memory, now.wall, &mut Unlimited)?;
        while let Some(group) = run.next_group(&mut Unlimited)? {
            log.swap_in(group, now)?;
        }
        Ok(Some(run.report().cleaned_up_to))
    }
}

pub(crate) fn build(mut builder: BatchBuilder, records: &[Record]) -> Bytes {
    for record in records {
        let new = NewRecord {
            key: Some(&record.key),
            value: record.value.as_deref(),
            ..NewRecord::at(Timestamp(record.timestamp))
        };
        builder.push(new).expect("fits");
    }
    builder.build().expect("built")
}

pub(crate) fn plain() -> BatchBuilder {
    BatchBuilder::new(Compression::NONE)
}
