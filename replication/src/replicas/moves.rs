//! Replicas on their way from one log directory to another (AlterReplicaLogDirs, KIP-113).
//!
//! Owns: which replica goes where, where replicas that do not exist yet are to be made, what a move is
//! asked by name. Never: copies (`moves/copying.rs` does), or decides when.
//!
//! A move is a second log of the partition in a folder `topic-0.<id>-future` of the other directory.
//! When it has everything, the folder of the first becomes `topic-0.<id>-delete` and the second gets
//! its name. A start that finds both ends of this, and no live folder, finishes it; any other start
//! goes on copying. Invariant: a partition has one live folder at most.
//!
//! A replica of a Raft group copies what is committed while its instance runs; the end is made while it is
//! stopped, by whoever stops it (`Replicas::finish_group_move`), and takes along what the journal knows
//! (`raft::succession`).

mod copying;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ottla_protocol::model::{Offset, TopicPartition, Uuid};
use ottla_storage::PartitionLog;
use ottla_storage::log_dir::{FolderName, FolderStage};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::directories::Directory;
use super::{Placed, Replicas};
use crate::partition::Partition;

pub use self::copying::MoveStep;

/// Folder names have to end with an id, and file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 255;
/// `.<32 digits>-future`
const SUFFIX_BYTES: usize = 1 + 32 + 7;

/// Why a replica is not sent to another directory.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AlterDirectoryError {
    #[error("{} is not in log.dirs", .0.display())]
    NotALogDirectory(PathBuf),
    #[error("log directory {} is offline", .0.display())]
    DirectoryOffline(PathBuf),
    #[error("the topic's name is too long for the folder of a moving replica")]
    NameTooLong,
    #[error("{0} is offline")]
    PartitionOffline(TopicPartition),
    /// It will be made in that directory once it is to be made.
    #[error("{0} is not on this broker")]
    NoReplica(TopicPartition),
}

/// A second log of a partition, as DescribeLogDirs tells of it.
#[derive(Clone, Debug)]
pub struct FutureReplica {
    pub name: TopicPartition,
    pub bytes: u64,
    /// Records that it lacks.
    pub lag: i64,
}

/// One replica on its way.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) partition: Arc<Partition>,
    pub(super) to: Arc<Directory>,
    pub(super) folder: FolderName,
    /// How far the first log was compacted when the move began: no cleaning after that counts.
    cleaned: Option<Offset>,
    cancelled: AtomicBool,
    end: AtomicI64,
    bytes: AtomicU64,
    /// Opened by the first step.
    log: Mutex<Option<PartitionLog>>,
}

impl Move {
    fn path(&self) -> PathBuf {
        self.to.log_dir().path().join(self.folder.text())
    }

    fn report(&self) -> FutureReplica {
        let end = Offset(self.end.load(Ordering::Acquire));
        FutureReplica {
            name: self.partition.name().clone(),
            bytes: self.bytes.load(Ordering::Acquire),
            lag: self.partition.log_end().since(end).max(0),
        }
    }
}

/// All moves of the node.
#[derive(Debug, Default)]
pub(super) struct Moves {
    running: Mutex<BTreeMap<TopicPartition, Arc<Move>>>,
    /// Where replicas that are not there yet are to be made.
    preferred: Mutex<BTreeMap<TopicPartition, Uuid>>,
    changed: Notify,
}

impl Moves {
    pub(super) fn preferred(&self, name: &TopicPartition) -> Option<Uuid> {
        self.preferred.lock().get(name).copied()
    }

    pub(super) fn forget_preference(&self, name: &TopicPartition) {
        self.preferred.lock().remove(name);
    }

    pub(super) fn is_moving(&self, name: &TopicPartition) -> bool {
        self.running.lock().contains_key(name)
    }

    pub(super) fn to(&self, directory: Uuid) -> Vec<FutureReplica> {
        let running = self.running.lock();
        running.values().filter(|it| it.to.id() == directory).map(|it| it.report()).collect()
    }
}

impl Replicas {
    /// Sends a replica to the log directory at `path`, or remembers that it belongs there. The copy
    /// is made by [`Self::advance_move`]; a move that was under way to elsewhere ends.
    ///
    /// # Errors
    /// As Kafka's `ReplicaManager.alterReplicaLogDirs`.
    pub fn alter_directory(
        &self,
        name: &TopicPartition,
        path: &Path,
        unique: Uuid,
    ) -> Result<(), AlterDirectoryError> {
        let to = self.usable(path)?;
        if name.to_string().len() + SUFFIX_BYTES > NAME_BYTES_MAX {
            return Err(AlterDirectoryError::NameTooLong);
        }
        let Some(placed) = self.partitions.read().get(name).cloned() else {
            self.moves.preferred.lock().insert(name.clone(), to.id());
            return Err(AlterDirectoryError::NoReplica(name.clone()));
        };
        if placed.partition.is_offline() || !placed.directory.is_online() {
            return Err(AlterDirectoryError::PartitionOffline(name.clone()));
        }
        let under_way = self.moves.running.lock().get(name).map(|it| it.to.id());
        if under_way == Some(to.id()) {
            return Ok(());
        }
        if under_way.is_some() {
            self.cancel_move(name);
        }
        if placed.directory.id() == to.id() {
            return Ok(());
        }
        let folder = FolderName::in_stage(name.clone(), FolderStage::Future, unique);
        self.begin_move(&placed, to, folder);
        Ok(())
    }

    fn usable(&self, path: &Path) -> Result<Arc<Directory>, AlterDirectoryError> {
        let known = self.directories.all().iter().find(|dir| dir.log_dir().path() == path);
        match known {
            Some(directory) if directory.is_online() => Ok(Arc::clone(directory)),
            Some(_) => Err(AlterDirectoryError::DirectoryOffline(path.to_owned())),
            None if self.directories.failed().iter().any(|(failed, _)| failed == path) => {
                Err(AlterDirectoryError::DirectoryOffline(path.to_owned()))
            }
            None => Err(AlterDirectoryError::NotALogDirectory(path.to_owned())),
        }
    }

    fn begin_move(&self, placed: &Placed, to: Arc<Directory>, folder: FolderName) {
        let name = placed.partition.name().clone();
        tracing::info!(partition = %name, to = %to.log_dir().path().display(), "moving a replica");
        let it = Move {
            partition: Arc::clone(&placed.partition),
            cleaned: placed.directory.cleaned(&name),
            to,
            folder,
            cancelled: AtomicBool::new(false),
            end: AtomicI64::new(0),
            bytes: AtomicU64::new(0),
            log: Mutex::new(None),
        };
        self.moves.running.lock().insert(name, Arc::new(it));
        self.moves.changed.notify_one();
    }

    /// Ends a move; what was copied is removed.
    pub(super) fn cancel_move(&self, name: &TopicPartition) {
        let Some(it) = self.moves.running.lock().remove(name) else { return };
        it.cancelled.store(true, Ordering::Release);
        // Waits for the step that is under way.
        let mut log = it.log.lock();
        log.take();
        self.discard_future(&it.to, &it.folder);
    }

    /// Removes the folder of a second log; where that fails, the next start does it.
    fn discard_future(&self, directory: &Directory, folder: &FolderName) {
        let root = directory.log_dir().path();
        let from = root.join(folder.text());
        if !matches!(self.fs.exists(&from), Ok(true)) {
            return;
        }
        let aside = FolderName { stage: FolderStage::Deleting, ..folder.clone() };
        let to = root.join(aside.text());
        match self.fs.rename(&from, &to) {
            Ok(()) => directory.note_removal(to),
            Err(error) => {
                tracing::warn!(path = %from.display(), %error, "half a replica stays behind");
            }
        }
    }

    /// Completes when there may be a move to advance.
    pub async fn move_requested(&self) {
        self.moves.changed.notified().await;
    }

    /// A replica that is on its way; `None` when none is.
    #[must_use]
    pub fn next_move(&self) -> Option<TopicPartition> {
        self.moves.running.lock().keys().next().cloned()
    }

    /// Takes up the moves that were under way when the process ended. To be called once the partitions
    /// are open, before anything is compacted.
    pub fn resume_moves(&self) {
        let complete = self.offline_directories().is_empty();
        for directory in self.directories.all() {
            for folder in directory.take_futures() {
                let placed = self.partitions.read().get(&folder.partition).cloned();
                match placed {
                    Some(placed)
                        if placed.directory.id() != directory.id()
                            && !self.moves.is_moving(&folder.partition) =>
                    {
                        self.begin_move(&placed, Arc::clone(directory), folder);
                    }
                    // Its partition may be in a directory that is away.
                    None if !complete => {}
                    _ => self.discard_future(directory, &folder),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
