//! Flushes of one partition's log.
//!
//! Owns: what a flush thread calls back, and the high watermark's move when it is done. Never:
//! syncs. Invariant: a flush of a log that the partition has left (it moved to another directory), or of
//! a partition that is deleted, changes nothing.

use std::io;
use std::sync::Weak;

use ottla_storage::LogError;
use ottla_storage::flush::{FlushJob, FlushTarget, FlushTicket};

use super::group::Rule;
use super::{Partition, Serving, State};

/// The log that a partition has now, to its flush thread.
#[derive(Debug)]
pub(super) struct LogFlush {
    partition: Weak<Partition>,
    ticket: FlushTicket,
}

impl LogFlush {
    pub(super) const fn new(partition: Weak<Partition>) -> Self {
        Self { partition, ticket: FlushTicket::new() }
    }

    /// Whether this is the partition's log still, and anybody cares: a deleted one has its folder under
    /// another name, or none.
    fn is_wanted(&self, state: &State) -> bool {
        let is_of = std::ptr::eq(&raw const *self, &raw const *state.flush);
        is_of && state.serving != Serving::Deleted
    }
}

impl FlushTarget for LogFlush {
    fn ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    fn begin(&self) -> FlushJob {
        let Some(partition) = self.partition.upgrade() else { return FlushJob::default() };
        let mut state = partition.state.lock();
        if !self.is_wanted(&state) {
            return FlushJob::default();
        }
        state.bytes_flushing = state.bytes_appended;
        match state.log.begin_flush() {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(partition = %partition.name, %error, "flush did not begin");
                let job = FlushJob { up_to: state.log.flushed(), ..FlushJob::default() };
                // A full disk is waited out: the next append asks for a flush again, or upkeep does.
                partition.after(state, &error);
                job
            }
        }
    }

    fn complete(&self, job: FlushJob, result: io::Result<()>) {
        let Some(partition) = self.partition.upgrade() else { return };
        let mut state = partition.state.lock();
        if !self.is_wanted(&state) {
            return;
        }
        let completed = match result {
            Ok(()) => state.log.complete_flush(job.up_to),
            Err(error) => {
                state.log.fail_flush(&error);
                Err(LogError::Io {
                    action: "sync",
                    path: state.log.dir().to_path_buf(),
                    source: error,
                })
            }
        };
        match completed {
            Ok(()) => match state.rule.clone() {
                Rule::Solo => {
                    let bytes = state.bytes_flushing;
                    let woken = partition.advance(&mut state, job.up_to, bytes);
                    drop(state);
                    woken.tell();
                }
                Rule::Group(events) => {
                    let flushed = state.log.flushed();
                    drop(state);
                    if let Some(events) = events.upgrade() {
                        events.flushed(flushed);
                    }
                }
            },
            Err(error) => {
                tracing::error!(partition = %partition.name, %error, "flush failed");
                // Whatever the error: what lies past the last good flush is unknown for good.
                state.home.sync_failed(&error.to_string());
                drop(state);
                partition.take_offline();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use ottla_config::topic::Durability;
    use ottla_protocol::model::{
        LeaderEpoch, MonoTime, NodeId, Now, Timestamp, TopicPartition, Uuid,
    };
    use ottla_protocol::records::{BatchBuilder, Compression, NewRecord};
    use ottla_storage::flush::{FlushCoordinator, SyncPolicy};
    use ottla_storage::fs::FileSystem;
    use ottla_storage::fs::sim::{SimFileSystem, SimOptions};
    use ottla_storage::log_dir::DirHealth;
    use ottla_storage::{LogResources, LogSettings, OpenContext, PartitionLog};

    use super::*;
    use crate::home::Home;
    use crate::partition::{Copies, PartitionParts};

    const FOLDER: &str = "/data/topic-0";

    fn now() -> Now {
        Now { mono: MonoTime::from_start(std::time::Duration::ZERO), wall: Timestamp(0) }
    }

    /// A new partition, of which nothing is durable yet.
    fn fresh(fs: &SimFileSystem) -> (Arc<Partition>, Home) {
        let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let dir = Path::new("/data");
        let policy = SyncPolicy { single_max: 100, single_limit: 100 };
        let home = Home {
            flusher: FlushCoordinator::manual(Arc::clone(&fs), dir.into(), policy),
            health: Arc::new(DirHealth::new(dir.into())),
            alarm: Arc::default(),
        };
        let now = Now { mono: MonoTime::from_start(std::time::Duration::ZERO), wall: Timestamp(0) };
        let context = OpenContext::new(now, LogResources::new(8, 1 << 20));
        let log =
            PartitionLog::create(fs, FOLDER.into(), LogSettings::default(), &context).unwrap();
        let partition = Partition::new(PartitionParts {
            name: TopicPartition::new("topic", 0),
            topic_id: Uuid::from_u128(1),
            node: NodeId(1),
            log,
            epoch: LeaderEpoch(0),
            copies: Copies::One,
            durability: Durability::Fsync,
            home: home.clone(),
            flush_is_free: false,
        });
        (partition, home)
    }

    fn roll(log: &mut PartitionLog) {
        let mut builder = BatchBuilder::new(Compression::NONE);
        builder.push(NewRecord::at(Timestamp(0))).unwrap();
        log.append_as_follower(&builder.build().unwrap(), now()).unwrap();
        log.roll(now()).unwrap();
    }

    /// As a partition's removal does: its folder gets another name.
    fn delete(fs: &SimFileSystem, partition: &Partition) {
        partition.mark_deleted();
        fs.rename(Path::new(FOLDER), Path::new("/data/topic-0.1-delete")).unwrap();
    }

    #[test]
    fn a_flush_of_a_deleted_partition_does_not_fail_its_directory() {
        let fs = SimFileSystem::new(1, SimOptions::default());
        let (partition, home) = fresh(&fs);
        partition.request_flush();
        while home.flusher.waiting() > 0 {
            home.flusher.flush_pending();
        }
        // The names of its new segment are not durable.
        partition.maintain(|log, _| roll(log)).unwrap();
        partition.request_flush();
        delete(&fs, &partition);
        home.flusher.flush_pending();
        assert_eq!(home.health.reason(), None, "it was to begin when the folder was gone");

        let fs = SimFileSystem::new(2, SimOptions::default());
        let (partition, home) = fresh(&fs);
        let flush = Arc::clone(&partition.state.lock().flush);
        let job = flush.begin();
        delete(&fs, &partition);
        let synced = job.dirs.iter().try_for_each(|dir| fs.sync_dir(dir));
        assert!(synced.is_err(), "the folder that it names is gone");
        flush.complete(job, synced);
        assert_eq!(home.health.reason(), None, "it was under way when the folder went");
    }
}
