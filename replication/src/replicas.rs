//! The partitions that live on this node, and on which of its disks.
//!
//! Owns: log directories and their flush threads; opening, creating and removing partition logs; the
//! periodic steps over all of them. Never: decides which partitions should exist. Invariants: a
//! partition's folder is in exactly one log directory; a failed directory takes its own partitions
//! offline and no others.

mod compaction;
mod directories;
mod failures;
mod moves;
mod opened;
mod upkeep;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, NodeId, Now, Offset, TopicPartition, Uuid, kafka_uuid_text,
};
use ottla_storage::flush::FlushOptions;
use ottla_storage::fs::FileSystem;
use ottla_storage::log_dir::{FolderName, FolderStage, LogDirError};
use ottla_storage::{
    AfterRecoveryPoint, LogError, LogResources, LogSettings, OpenContext, PartitionLog, Shutdown,
};
use parking_lot::RwLock;

use self::directories::{Directories, Directory};
pub use self::failures::FailedDirectory;
use self::moves::Moves;
pub use self::moves::{AlterDirectoryError, FutureReplica, MoveStep};
use self::opened::Opened;
use crate::partition::{Copies, Partition, PartitionParts};
use crate::raft::journal::{GroupFate, Journal, JournalError};
use crate::raft::{GroupId, succession};

/// Open files that all logs share; beyond it the least recently used are closed.
const OPEN_FILES_MAX: usize = 4_096;
/// Memory for readers at the tail of all logs.
const TAIL_BYTES_MAX: u64 = 64 << 20;

/// Why the node's storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Directory(#[from] LogDirError),
    #[error("no log directory can be used: {0}")]
    NoDirectory(String),
    #[error("{partition} is offline: {reason}. Mend or mount that disk and restart the broker")]
    Offline { partition: TopicPartition, reason: String },
    #[error(
        "{partition} lies in two log directories, {} and {}: a disk may have been away while it \
         moved. Delete the folder in the directory that had failed, then start again",
        first.display(), second.display()
    )]
    Doubled { partition: TopicPartition, first: PathBuf, second: PathBuf },
    #[error(
        "{} and {} are the same log directory by their meta.properties (directory.id {id}): one is a \
         copy of the other. Take the copy out of log.dirs, or empty it to have it as a directory of its own",
        first.display(), second.display(), id = kafka_uuid_text(*id)
    )]
    SameDirectory { id: Uuid, first: PathBuf, second: PathBuf },
    #[error("the flush thread of {path} did not start: {error}")]
    FlushThread { path: PathBuf, error: io::Error },
    #[error("partition {partition}: {error}")]
    Log { partition: TopicPartition, error: LogError },
}

/// A partition to be opened, or created where it is not there.
#[derive(Clone, Debug)]
pub struct NewPartition {
    pub name: TopicPartition,
    pub topic_id: Uuid,
    pub settings: LogSettings,
    pub durability: Durability,
    /// As the metadata says.
    pub epoch: LeaderEpoch,
    /// As the metadata says: a log that had a group once has one.
    pub copies: Copies,
    /// The directory that the metadata names; nil where it leaves the choice to the broker.
    pub directory: Uuid,
    pub history: History,
}

/// Whether a partition may have a log already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum History {
    /// It was created just now.
    New,
    /// Its log is somewhere, if not with a disk that is away.
    Existing,
}

/// Who the node is, and the ids that fresh directories get.
#[derive(Debug)]
pub struct NodeIdentity {
    pub node: NodeId,
    /// The cluster that the node is of, where that is known before its directories are read.
    pub cluster_id: Option<String>,
    /// Marks empty directories where no directory knows its cluster.
    pub new_cluster_id: Uuid,
}

/// One log directory, as DescribeLogDirs answers it.
#[derive(Clone, Debug)]
pub struct DirectoryReport {
    pub path: PathBuf,
    pub id: Uuid,
    /// Why it is out of use.
    pub offline: Option<String>,
    pub space: Option<ottla_storage::fs::DiskSpace>,
    pub partitions: Vec<Arc<Partition>>,
    /// Replicas that are being moved here.
    pub futures: Vec<FutureReplica>,
}

/// All partitions of this node.
#[derive(Debug)]
pub struct Replicas {
    fs: Arc<dyn FileSystem>,
    node: NodeId,
    directories: Directories,
    resources: Arc<LogResources>,
    partitions: RwLock<BTreeMap<TopicPartition, Placed>>,
    moves: Moves,
    opened: Opened,
}

/// A partition with the directory that holds it.
#[derive(Clone, Debug)]
struct Placed {
    partition: Arc<Partition>,
    directory: Arc<Directory>,
}

impl Replicas {
    /// Locks and checks every directory, and marks empty ones as this node's. Each disk gets a flush
    /// thread with the options `flush`.
    ///
    /// # Errors
    /// A directory of another node or cluster, one that is in use, or none that can be used. A single
    /// directory whose disk fails among several is left out, offline.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        identity: &NodeIdentity,
        paths: &[PathBuf],
        flush: FlushOptions,
        new_id: impl FnMut() -> Uuid,
    ) -> Result<Self, OpenError> {
        let directories = Directories::open(&fs, identity, paths, flush, new_id)?;
        let node = identity.node;
        let resources = LogResources::new(OPEN_FILES_MAX, TAIL_BYTES_MAX);
        Ok(Self {
            fs,
            node,
            directories,
            resources,
            partitions: RwLock::default(),
            moves: Moves::default(),
            opened: Opened::default(),
        })
    }

    /// The cluster that the directories belong to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.directories.cluster_id()
    }

    /// The ids of the directories that are in use.
    #[must_use]
    pub fn directory_ids(&self) -> Vec<Uuid> {
        let online = self.directories.all().iter().filter(|directory| directory.is_online());
        online.map(|directory| directory.id()).collect()
    }

    /// No directory was used before this start.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.directories.all().iter().all(|directory| directory.log_dir().was_new())
    }

    /// Nothing here outlives the process.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.fs.is_volatile()
    }

    /// Opens a partition's log where it lies, or creates it in the directory with the most room.
    /// A folder of an older topic of the same name is put aside.
    ///
    /// # Errors
    /// When the log is damaged or its disk fails.
    pub fn open_partition(&self, new: NewPartition, now: Now) -> Result<Arc<Partition>, OpenError> {
        let partition = self.open_unflushed(new, now)?;
        self.flush_opened();
        Ok(partition)
    }

    /// As [`Self::open_partition`], for many: nothing of what they give may be read before
    /// [`Self::flush_opened`].
    ///
    /// # Errors
    /// As [`Self::open_partition`].
    pub fn open_unflushed(
        &self,
        mut new: NewPartition,
        now: Now,
    ) -> Result<Arc<Partition>, OpenError> {
        if let Some(placed) = self.partitions.read().get(&new.name)
            && placed.partition.topic_id() == new.topic_id
        {
            return Ok(Arc::clone(&placed.partition));
        }
        let name = new.name.clone();
        let failed = |error| OpenError::Log { partition: name.clone(), error };
        let holding = self.directories.holding(&new.name);
        let recovered = holding.is_some();
        if holding.as_ref().is_some_and(|directory| self.has_group(directory, &new)) {
            new.copies = Copies::Several;
        }
        let (directory, mut log) = match holding {
            Some(directory) if !directory.is_online() => {
                let reason = directory.log_dir().health().reason().unwrap_or_default().to_owned();
                return Err(OpenError::Offline { partition: new.name, reason });
            }
            Some(directory) => {
                let log = self
                    .open_log(&directory, &new, now)
                    .inspect_err(|error| directory.note(error))
                    .map_err(failed)?;
                (directory, log)
            }
            None => {
                let directory = self.place(&new)?;
                let log = self
                    .create_log(&directory, &new, now)
                    .inspect_err(|error| directory.note(error))
                    .map_err(failed)?;
                directory.note_folder(&new.name);
                self.moves.forget_preference(&new.name);
                (directory, log)
            }
        };
        if matches!(log.passage(), Ok(Some(_))) {
            // The journal does not know of it yet.
            new.copies = Copies::Several;
        }
        // What a crash left in the page cache counts as committed only once it is synced.
        let job = (recovered && log.needs_flush()).then(|| log.begin_flush());
        let job = job.transpose().map_err(failed)?;
        let partition = Partition::new(PartitionParts {
            name: new.name.clone(),
            topic_id: new.topic_id,
            node: self.node,
            epoch: log.latest_epoch().map_or(new.epoch, |latest| latest.max(new.epoch)),
            log,
            copies: new.copies,
            durability: new.durability,
            home: directory.home().clone(),
            flush_is_free: self.fs.is_volatile(),
        });
        let placed = Placed { partition: Arc::clone(&partition), directory };
        if let Some(job) = job {
            self.opened.add(placed.clone(), job);
        }
        self.partitions.write().insert(new.name, placed);
        Ok(partition)
    }

    /// Whether the log in a directory is a group's, as the journal says: a group of which one replica is left
    /// remains one, or else its epochs would go back, and the batches behind be none of a group that grows
    /// again.
    fn has_group(&self, directory: &Directory, new: &NewPartition) -> bool {
        let id = GroupId { topic: new.topic_id, partition: new.name.partition };
        let journal = directory.journal_if_any(&self.fs);
        let known = journal.and_then(|journal| journal.group(id));
        known.is_some_and(|known| !known.is_bare() && !known.away)
    }

    /// The directory of a partition that has no folder.
    fn place(&self, new: &NewPartition) -> Result<Arc<Directory>, OpenError> {
        if new.history == History::Existing
            && let Some(reason) = self.out_of_sight(new.directory)
        {
            return Err(OpenError::Offline { partition: new.name.clone(), reason });
        }
        let wanted = self.moves.preferred(&new.name).unwrap_or(new.directory);
        match self.directories.by_id(wanted).filter(|directory| directory.is_online()) {
            Some(assigned) => Ok(assigned),
            None => self.directories.with_most_room(&self.counts()),
        }
    }

    /// Why the log of a partition that has been created may be where it cannot be seen now. A new
    /// one in its place would be taken for all there is.
    fn out_of_sight(&self, assigned: Uuid) -> Option<String> {
        let away = self.offline_directories();
        if !away.is_empty() {
            let away: Vec<String> = away.iter().map(|dir| dir.display().to_string()).collect();
            return Some(format!("its log may be in {}, which failed", away.join(" or ")));
        }
        let known = assigned.is_nil() || self.directories.by_id(assigned).is_some();
        let id = kafka_uuid_text(assigned);
        (!known).then(|| format!("its log directory, of the id {id}, is none of log.dirs"))
    }

    fn open_log(
        &self,
        directory: &Directory,
        new: &NewPartition,
        now: Now,
    ) -> Result<PartitionLog, LogError> {
        let path = directory.log_dir().partition_path(&new.name);
        let mut recovery_point = directory.recovery_point(&new.name);
        let mut after_recovery_point = AfterRecoveryPoint::Report;
        if directory.machine_restarted() {
            // Blocks that no flush covered are there or not, in any order: no flush, no promise.
            after_recovery_point = AfterRecoveryPoint::Cut;
        }
        if new.copies == Copies::Several {
            // What lies behind it was never acknowledged, or only moments ago; peers have the rest.
            after_recovery_point = AfterRecoveryPoint::Cut;
            let group = GroupId { topic: new.topic_id, partition: new.name.partition };
            let known = directory.journal(&self.fs).ok().and_then(|journal| journal.group(group));
            recovery_point = recovery_point.max(known.map_or(Offset::ZERO, |group| group.synced));
        }
        let context = OpenContext {
            recovery_point,
            after_recovery_point,
            log_start: directory.log_start(&new.name),
            shutdown: if directory.was_clean() { Shutdown::Clean } else { Shutdown::Unclean },
            topic_id: new.topic_id,
            ..OpenContext::new(now, Arc::clone(&self.resources))
        };
        match PartitionLog::open(Arc::clone(&self.fs), path, new.settings.clone(), &context) {
            Ok((log, report)) => {
                if let Some(damage) = &report.damage {
                    tracing::error!(partition = %new.name, %damage, "log is damaged");
                } else if report.torn.is_some() {
                    tracing::warn!(partition = %new.name, ?report, "log recovered");
                }
                Ok(log)
            }
            Err(LogError::TopicId { found, .. }) => {
                tracing::warn!(partition = %new.name, %found, expected = %new.topic_id,
                    "folder of an older topic of this name is put aside");
                self.put_aside(directory, &new.name, FolderStage::Stray)?;
                self.create_log(directory, new, now)
            }
            Err(error) => Err(error),
        }
    }

    fn create_log(
        &self,
        directory: &Directory,
        new: &NewPartition,
        now: Now,
    ) -> Result<PartitionLog, LogError> {
        let path = directory.log_dir().partition_path(&new.name);
        let context = OpenContext {
            topic_id: new.topic_id,
            ..OpenContext::new(now, Arc::clone(&self.resources))
        };
        PartitionLog::create(Arc::clone(&self.fs), path, new.settings.clone(), &context)
    }

    fn counts(&self) -> BTreeMap<Uuid, usize> {
        let mut counts = BTreeMap::new();
        for placed in self.partitions.read().values() {
            *counts.entry(placed.directory.id()).or_default() += 1;
        }
        counts
    }

    /// The journal of the log directory that holds a partition; `None` where none does. It is opened
    /// when it is first asked for: a node without groups has none.
    ///
    /// # Errors
    /// It is damaged, or its disk fails: no group of that directory may start.
    pub fn journal_of(&self, name: &TopicPartition) -> Option<Result<Arc<Journal>, JournalError>> {
        let directory = Arc::clone(&self.partitions.read().get(name)?.directory);
        Some(directory.journal(&self.fs))
    }

    /// Ends a partition's service and puts its folder aside for removal. Its group, if it has one, has
    /// ended here; `fate` says whether it goes on elsewhere.
    pub fn delete_partition(&self, partition: &Arc<Partition>, fate: GroupFate) {
        self.leave_journal(partition, fate);
        partition.mark_deleted();
        self.cancel_move(partition.name());
        let Some(placed) = self.partitions.write().remove(partition.name()) else { return };
        placed.directory.forget_folder(partition.name());
        let aside = self.put_aside(&placed.directory, partition.name(), FolderStage::Deleting);
        if let Err(error) = aside {
            tracing::warn!(partition = %partition.name(), %error,
                "the folder of a deleted partition stays until the next start");
        }
    }

    fn leave_journal(&self, partition: &Partition, fate: GroupFate) {
        if !partition.is_replicated() {
            return;
        }
        let id = GroupId { topic: partition.topic_id(), partition: partition.name().partition };
        let last = partition.inspect(|log, _| {
            let term =
                log.latest_epoch().map_or(0, |epoch| u64::try_from(epoch.get()).unwrap_or(0));
            (term, log.log_end())
        });
        let (Ok(last), Some(Ok(journal))) = (last, self.journal_of(partition.name())) else {
            return;
        };
        if let Err(error) = journal.leave(id, fate, last) {
            tracing::warn!(group = %id, %error, "the journal goes on to speak of a replica that left");
        }
    }

    /// Renames a folder so that its name is free.
    fn put_aside(
        &self,
        directory: &Directory,
        partition: &TopicPartition,
        stage: FolderStage,
    ) -> Result<(), LogError> {
        let from = directory.log_dir().partition_path(partition);
        let name = FolderName::in_stage(partition.clone(), stage, directory.next_unique());
        let to = directory.log_dir().path().join(name.text());
        let io = |source| LogError::Io { action: "rename", path: from.clone(), source };
        self.fs.rename(&from, &to).map_err(io)?;
        self.fs.sync_dir(directory.log_dir().path()).map_err(io)?;
        if stage == FolderStage::Deleting {
            directory.note_removal(to);
        }
        Ok(())
    }

    #[must_use]
    pub fn partition(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.read().get(name).map(|placed| Arc::clone(&placed.partition))
    }

    /// Every partition, in the order of names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().map(|placed| Arc::clone(&placed.partition)).collect()
    }

    /// The directory that holds a partition.
    #[must_use]
    pub fn directory_of(&self, name: &TopicPartition) -> Option<Uuid> {
        self.partitions.read().get(name).map(|placed| placed.directory.id())
    }

    /// What the replica of a partition goes by in its group, and of how many formations it knows; `None`
    /// where it has no group, or that cannot be read.
    #[must_use]
    pub fn identity_of(&self, name: &TopicPartition) -> Option<(Uuid, u32)> {
        let Placed { partition, directory } = self.partitions.read().get(name).cloned()?;
        if !partition.is_replicated() {
            return None;
        }
        let id = GroupId { topic: partition.topic_id(), partition: name.partition };
        if !matches!(partition.inspect(|log, _| log.passage()), Ok(Ok(None))) {
            // It has not been taken up yet.
            return None;
        }
        let journal = directory.journal(&self.fs).ok()?;
        Some(succession::identity_of(&journal, id, directory.id()))
    }

    /// What DescribeLogDirs answers.
    #[must_use]
    pub fn directories(&self) -> Vec<DirectoryReport> {
        let partitions = self.partitions.read();
        let of = |id| {
            let here = partitions.values().filter(|placed| placed.directory.id() == id);
            here.map(|placed| Arc::clone(&placed.partition)).collect()
        };
        let mut reports: Vec<DirectoryReport> = self
            .directories
            .all()
            .iter()
            .map(|directory| DirectoryReport {
                path: directory.log_dir().path().to_path_buf(),
                id: directory.id(),
                offline: directory.log_dir().health().reason().map(str::to_owned),
                space: directory.log_dir().space().ok(),
                partitions: of(directory.id()),
                futures: self.moves.to(directory.id()),
            })
            .collect();
        reports.extend(self.directories.failed().iter().map(|(path, reason)| DirectoryReport {
            path: path.clone(),
            id: Uuid::nil(),
            offline: Some(reason.clone()),
            space: None,
            partitions: Vec::new(),
            futures: Vec::new(),
        }));
        reports
    }

    /// Directories that are out of use.
    #[must_use]
    pub fn offline_directories(&self) -> Vec<PathBuf> {
        let offline = self.directories.all().iter().filter_map(|directory| {
            let path = directory.log_dir().path().to_path_buf();
            (!directory.is_online()).then_some(path)
        });
        let failed = self.directories.failed().iter().map(|(path, _)| path.clone());
        offline.chain(failed).collect()
    }
}
