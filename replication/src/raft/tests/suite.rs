//! openraft's own tests of a storage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use ottla_config::topic::Durability;
use ottla_protocol::model::{LeaderEpoch, MonoTime, NodeId, Now, Timestamp, TopicPartition, Uuid};
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::{FileSystem, MemoryFileSystem};
use ottla_storage::{LogResources, LogSettings, OpenContext, PartitionLog};

use super::cluster::{GROUP, home, replica};
use crate::partition::{Copies, Partition, PartitionParts};
use crate::raft::group_log::{GroupLog, Seat};
use crate::raft::journal::Journal;
use crate::raft::log_store::LogStore;
use crate::raft::{GroupParts, GroupSettings, ReplicaId, StateMachine, TypeConfig};

impl From<u64> for ReplicaId {
    fn from(number: u64) -> Self {
        Self { node: NodeId(number as i32), directory: Uuid::from_u128(number.into()) }
    }
}

struct Builder;

/// A replica on a disk in memory.
pub(super) fn parts() -> GroupParts {
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::default());
    let dir = Path::new("/data");
    fs.create_dir_all(dir).unwrap();
    let flusher = FlushCoordinator::inline(Arc::clone(&fs), dir.into());
    let journal = Journal::open(Arc::clone(&fs), dir, home(&flusher)).unwrap();
    let now =
        Now { mono: MonoTime::from_start(Duration::ZERO), wall: Timestamp(1_700_000_000_000) };
    let context = OpenContext::new(now, LogResources::new(8, 1 << 20));
    let settings = LogSettings::default();
    let log = PartitionLog::create(Arc::clone(&fs), dir.join("topic-0"), settings, &context);
    let partition = Partition::new(PartitionParts {
        name: TopicPartition::new("topic", 0),
        topic_id: GROUP.topic,
        node: NodeId(1),
        log: log.unwrap(),
        epoch: LeaderEpoch(0),
        copies: Copies::Several,
        durability: Durability::Fsync,
        home: home(&flusher),
        flush_is_free: true,
    });
    let settings = GroupSettings::new(Arc::new(move || now));
    GroupParts { id: GROUP, replica: replica(1), partition, journal, settings }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine> for Builder {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let GroupParts { id, replica, partition, journal, settings } = parts();
        let log =
            GroupLog::recover(Seat { id, me: replica, partition, journal, clock: settings.clock });
        let log = log.await.unwrap();
        Ok(((), LogStore::new(Arc::clone(&log), 1 << 20), StateMachine::new(log)))
    }
}

#[tokio::test]
async fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
