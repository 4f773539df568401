//! Log directories that fail while the broker runs.
//!
//! Owns: noticing those that no log meets, taking a failed directory's partitions offline and no
//! others (Kafka's `ReplicaManager.handleLogDirFailure`). Never: tells the cluster, or ends the
//! process; who waits for [`Replicas::failure`] does.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::model::{TopicPartition, Uuid};
use ottla_storage::log_dir::is_disk_fault;

use super::Replicas;
use crate::partition::Partition;

/// A log directory that has just failed. Its partitions answer nothing any more.
#[derive(Clone, Debug)]
pub struct FailedDirectory {
    pub path: PathBuf,
    pub id: Uuid,
    pub reason: String,
    pub partitions: Vec<TopicPartition>,
}

impl Replicas {
    /// Completes after a directory failed; [`Self::settle_failures`] says which.
    pub async fn failure(&self) {
        self.directories.alarm().notified().await;
    }

    /// Takes the partitions of every directory that failed since the last call offline.
    #[must_use]
    pub fn settle_failures(&self) -> Vec<FailedDirectory> {
        let mut failed = Vec::new();
        for directory in self.directories.all() {
            let Some(reason) = directory.take_failure() else { continue };
            let here: Vec<Arc<Partition>> = {
                let partitions = self.partitions.read();
                let here = partitions.values().filter(|it| it.directory.id() == directory.id());
                here.map(|placed| Arc::clone(&placed.partition)).collect()
            };
            for partition in &here {
                partition.take_offline();
            }
            failed.push(FailedDirectory {
                path: directory.log_dir().path().to_path_buf(),
                id: directory.id(),
                reason,
                partitions: here.iter().map(|partition| partition.name().clone()).collect(),
            });
        }
        failed
    }

    /// Looks whether every directory is there and answers: a folder that was removed under a broker
    /// keeps its open files, so that appends go on working.
    pub fn probe_directories(&self) {
        for directory in self.directories.all().iter().filter(|dir| dir.is_online()) {
            if let Err(error) = directory.log_dir().probe()
                && is_disk_fault(&error)
            {
                directory.home().fail(&error.to_string());
            }
        }
    }

    /// Whether any directory is in use.
    #[must_use]
    pub fn any_online(&self) -> bool {
        self.directories.all().iter().any(|directory| directory.is_online())
    }
}
