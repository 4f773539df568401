//! Compaction over all partitions: which log is next, and its cleaning from plan to checkpoint.
//!
//! Owns: the choice (the dirtiest of those that are due, as Kafka's `LogCleanerManager`), the cleaner
//! checkpoint. Never: what survives in a log, or when compaction runs. The partition's lock is held
//! while the plan is taken and while a group is swapped in, never while files are read or written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::{Now, Offset, TopicPartition};
use ottla_storage::checkpoint::CheckpointKind;
use ottla_storage::cleaner::range::{CleanableRange, CompactionSettings};
use ottla_storage::cleaner::{CleanBudget, CleanError, CleanReport, CleanRun, MapMemory};
use ottla_storage::{LogError, PartitionLog};

use super::{Placed, Replicas};
use crate::partition::PartitionError;

/// Why a cleaning ended early. The log is as before, or partly cleaned.
#[derive(Debug, thiserror::Error)]
enum CompactionError {
    #[error(transparent)]
    Clean(#[from] CleanError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// How long a log is left alone whose cleaning met what may have passed by then.
const RETRY_AFTER: Duration = Duration::from_mins(1);

impl CompactionError {
    /// Whether the log itself is well, so that another cleaning may succeed: retention or a truncation
    /// took its segments away, or there was no room.
    fn passes(&self) -> bool {
        let full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        match self {
            Self::Clean(CleanError::Io { source, .. }) | Self::Log(LogError::Io { source, .. }) => {
                full(source)
            }
            Self::Clean(CleanError::Changed | CleanError::Stopped) | Self::Partition(_) => true,
            Self::Clean(CleanError::Damaged { .. }) | Self::Log(_) => false,
        }
    }
}

/// A log that is due, with how much of it is dirty.
struct Due {
    placed: Placed,
    settings: CompactionSettings,
    range: CleanableRange,
}

impl Replicas {
    /// Cleans the dirtiest log that is due; false when there is none. `settings` gives those of a
    /// compacted topic and `None` for others.
    pub fn compact_one(
        &self,
        settings: impl Fn(&TopicPartition) -> Option<CompactionSettings>,
        memory: MapMemory,
        now: Now,
        budget: &mut dyn CleanBudget,
    ) -> bool {
        let Some(due) = self.dirtiest(settings, now) else { return false };
        let name = due.placed.partition.name().clone();
        match self.clean(&due, memory, now, budget) {
            Ok(report) => {
                tracing::info!(partition = %name, ?report, "log compacted");
                if self.directory_of(&name) == Some(due.placed.directory.id()) {
                    due.placed.directory.note_cleaned(&name, Some(report.cleaned_up_to));
                    self.checkpoint_cleaned(&due.placed);
                }
                report.cleaned_up_to > due.range.first_dirty
            }
            Err(
                CompactionError::Clean(CleanError::Stopped)
                | CompactionError::Partition(PartitionError::Deleted(_)),
            ) => false,
            Err(error) => {
                tracing::error!(partition = %name, %error, "compaction failed");
                if let CompactionError::Log(error) = &error {
                    due.placed.partition.note(error);
                }
                let until = error.passes().then(|| now.mono.plus(RETRY_AFTER));
                due.placed.directory.note_uncleanable(&name, until);
                false
            }
        }
    }

    fn dirtiest(
        &self,
        settings: impl Fn(&TopicPartition) -> Option<CompactionSettings>,
        now: Now,
    ) -> Option<Due> {
        let placed: Vec<Placed> = self.partitions.read().values().cloned().collect();
        let due = placed.into_iter().filter_map(|placed| {
            let name = placed.partition.name();
            let settings = settings(name)?;
            if placed.partition.take_exchanged() {
                // What was cleaned, or could not be, was another log.
                placed.directory.note_cleaned(name, None);
                placed.directory.note_cleanable(name);
            }
            if placed.directory.is_uncleanable(name, now.mono) || self.moves.is_moving(name) {
                return None;
            }
            let cleaned = placed.directory.cleaned(name);
            placed.partition.settle_closed();
            // A group's entries are the log's batches: those that it may still send must stay.
            let settled = placed.partition.settled();
            let (range, unflushed) = placed
                .partition
                .inspect(|log, marks| {
                    let range =
                        log.cleanable(cleaned, marks.last_stable.min(settled), &settings, now.wall);
                    (range, log.closed_needs_flush())
                })
                .ok()?;
            if unflushed {
                // Only what is flushed is cleaned: the next look finds it.
                placed.partition.request_flush();
            }
            let range = range.ok()?;
            range.is_due(&settings).then_some(Due { placed, settings, range })
        });
        due.max_by(|a, b| a.range.dirty_ratio().total_cmp(&b.range.dirty_ratio()))
    }

    fn clean(
        &self,
        due: &Due,
        memory: MapMemory,
        now: Now,
        budget: &mut dyn CleanBudget,
    ) -> Result<CleanReport, CompactionError> {
        let partition = &due.placed.partition;
        let cut_within = |log: &PartitionLog| {
            log.segments().next().map(|(base, _)| base) < Some(log.log_start())
        };
        if partition.inspect(|log, _| cut_within(log))? {
            // What DeleteRecords hid counts as clean, so it must not come back after a crash.
            self.checkpoint_log_starts();
        }
        let (dir, plan) = partition.maintain(|log, _| {
            let plan = log.clean_plan(&due.range, &due.settings);
            (log.dir().to_path_buf(), plan)
        })?;
        let plan = plan?;
        let mut run = CleanRun::start(plan, memory, now.wall, budget)?;
        while let Some(group) = run.next_group(budget)? {
            let swapped = partition.maintain(|log, _| match log.dir() == dir {
                true => log.swap_in(group.clone(), now),
                // It has moved to another directory since.
                false => Err(CleanError::Stopped),
            });
            match swapped {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    group.discard(&*self.fs);
                    return Err(error.into());
                }
                Err(error) => {
                    group.discard(&*self.fs);
                    return Err(error.into());
                }
            }
        }
        Ok(*run.report())
    }

    fn checkpoint_cleaned(&self, placed: &Placed) {
        let directory = &placed.directory;
        self.write(directory, CheckpointKind::Cleaner, &directory.all_cleaned());
    }

    /// How far a partition was compacted.
    #[must_use]
    pub fn cleaned_up_to(&self, name: &TopicPartition) -> Option<Offset> {
        let partitions = self.partitions.read();
        let directory = Arc::clone(&partitions.get(name)?.directory);
        directory.cleaned(name)
    }
}

#[cfg(test)]
mod tests;
