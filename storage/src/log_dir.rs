//! A log directory: one of the folders in `log.dirs` that hold partitions' folders.
//!
//! Owns: who may use it (lock, `meta.properties`), what partitions it holds, its checkpoints, the
//! clean-shutdown marker, whether it is online, and which of several takes a new partition.
//! Never: opens logs, or removes a folder that it does not recognise.
//!
//! Invariants: a directory of another cluster or node is refused before anything in it is changed;
//! an offline directory stays offline until it is opened anew.

mod boot;
mod folder_name;
mod health;
mod placement;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_protocol::model::{NodeId, TopicPartition, Uuid};
use parking_lot::Mutex;
use thiserror::Error;

use crate::checkpoint::{
    self, CLEAN_SHUTDOWN_FILE, CheckpointError, CheckpointKind, META_PROPERTIES_FILE,
    MetaProperties, PartitionOffsets,
};
use crate::fs::{DiskSpace, EntryKind, FileSystem, LockGuard};

pub use folder_name::{FolderName, FolderStage};
pub use health::{DirHealth, is_disk_fault};
pub use placement::{Candidate, place};

/// The file whose lock says that a process uses the directory, as Kafka's `LogManager` names it.
pub const LOCK_FILE: &str = ".lock";

/// Who opens a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirIdentity {
    /// `None` while the node does not know its cluster: it then takes the directory's word.
    pub cluster_id: Option<String>,
    pub node_id: NodeId,
    /// What a directory without an id gets: a value that no other directory has.
    pub new_directory_id: Uuid,
    /// The cluster id that an empty directory is marked with where `cluster_id` is `None`.
    pub new_cluster_id: String,
}

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum LogDirError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "log directory {path} is in use by another process; stop that one or set log.dirs to \
         another folder"
    )]
    InUse { path: PathBuf },
    #[error(
        "log directory {path} belongs to cluster {found}, and this node is of cluster {wanted}; \
         set log.dirs to this cluster's folder"
    )]
    OtherCluster { path: PathBuf, found: String, wanted: String },
    #[error(
        "log directory {path} belongs to node {found}, and this is node {wanted}; set node.id or \
         log.dirs"
    )]
    OtherNode { path: PathBuf, found: NodeId, wanted: NodeId },
    #[error(
        "log directory {path} holds partitions ({example}) but no meta.properties, so nobody \
         knows whose they are; restore that file from a copy or choose an empty folder"
    )]
    NoIdentity { path: PathBuf, example: String },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("log directory {path} is offline: {reason}")]
    Offline { path: PathBuf, reason: String },
}

impl LogDirError {
    /// Whether the directory's disk failed, as opposed to a directory that is not this node's.
    #[must_use]
    pub fn is_disk_fault(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Checkpoint(CheckpointError::Io { source, .. }) => {
                is_disk_fault(source)
            }
            Self::Offline { .. } => true,
            _ => false,
        }
    }
}

/// A folder of a partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionFolder {
    pub name: FolderName,
    pub path: PathBuf,
}

/// What lies in a log directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DirContents {
    pub folders: Vec<PartitionFolder>,
    /// Folders that are no partition's; left alone.
    pub unknown: Vec<String>,
}

/// An open, locked log directory.
#[derive(Debug)]
pub struct LogDir {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    meta: MetaProperties,
    directory_id: Uuid,
    was_clean: Option<CleanShutdown>,
    was_new: bool,
    machine_restarted: bool,
    /// Said once after such a restart.
    recovered: AtomicBool,
    health: Arc<DirHealth>,
    /// One writer of checkpoints at a time: they share their temporary files.
    checkpoints: Mutex<()>,
    _lock: Box<dyn LockGuard>,
}

/// The last process that used the directory flushed everything before it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanShutdown {
    /// Its broker epoch, where it said so (KIP-966).
    pub broker_epoch: Option<i64>,
}

impl LogDir {
    /// Locks the directory, checks whose it is, and marks it as `identity`'s when it is empty.
    /// The clean-shutdown marker is taken away: until [`Self::mark_clean_shutdown`] a crash counts
    /// as one.
    ///
    /// # Errors
    /// See [`LogDirError`]; nothing was changed in a directory that is refused.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        path: PathBuf,
        identity: &DirIdentity,
    ) -> Result<Self, LogDirError> {
        let io = |source| LogDirError::Io { path: path.clone(), source };
        fs.create_dir_all(&path).map_err(io)?;
        let lock = fs.lock(&path.join(LOCK_FILE)).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => LogDirError::InUse { path: path.clone() },
            _ => io(source),
        })?;
        let was_new = MetaProperties::read(&*fs, &path)?.is_none();
        let (meta, directory_id) = identify(&*fs, &path, identity)?;
        let machine_restarted = boot::is_another(&*fs, &path).map_err(io)?;
        let was_clean = take_clean_shutdown(&*fs, &path)?;
        if was_clean.is_none() {
            // Folders that a killed process made: their names may be in the cache only, and logs
            // sync no more than what is in their own.
            fs.sync_dir(&path).map_err(io)?;
        }
        Ok(Self {
            health: Arc::new(DirHealth::noting(path.clone(), Arc::clone(&fs))),
            fs,
            path,
            meta,
            directory_id,
            was_clean,
            was_new,
            machine_restarted,
            recovered: AtomicBool::new(false),
            checkpoints: Mutex::new(()),
            _lock: lock,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    #[must_use]
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    #[must_use]
    pub fn directory_id(&self) -> Uuid {
        self.directory_id
    }

    /// How the process before this one ended; `None` after a crash.
    #[must_use]
    pub fn was_clean(&self) -> Option<CleanShutdown> {
        self.was_clean
    }

    /// The machine was off, or restarted, since the directory was last in use, or a sync failed: blocks
    /// that no flush covered may be missing from its logs, in any order.
    #[must_use]
    pub fn machine_restarted(&self) -> bool {
        self.machine_restarted
    }

    /// The logs here are recovered, and their recovery points are on the disk: from now on only another
    /// restart of the machine counts.
    ///
    /// # Errors
    /// The disk's.
    pub fn note_recovered(&self) -> Result<(), LogDirError> {
        if !self.machine_restarted || self.recovered.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let noted = boot::note(&*self.fs, &self.path);
        noted.map_err(|source| LogDirError::Io { path: self.path.clone(), source })
    }

    /// The folder of a partition that lives here.
    #[must_use]
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// The folders in here.
    ///
    /// # Errors
    /// The disk's.
    pub fn scan(&self) -> Result<DirContents, LogDirError> {
        scan(&*self.fs, &self.path)
    }

    /// Room on the directory's disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn space(&self) -> Result<DiskSpace, LogDirError> {
        let io = |source| LogDirError::Io { path: self.path.clone(), source };
        self.fs.space(&self.path).map_err(io)
    }

    /// Whether this process was the first to use the directory.
    #[must_use]
    pub fn was_new(&self) -> bool {
        self.was_new
    }

    /// Whether the directory is in use.
    #[must_use]
    pub fn health(&self) -> &Arc<DirHealth> {
        &self.health
    }

    /// Looks whether the directory is there and answers, for faults that no log meets: a folder
    /// that was removed keeps its open files.
    ///
    /// # Errors
    /// The disk's; `NotFound` when the directory is gone.
    pub fn probe(&self) -> io::Result<()> {
        match self.fs.exists(&self.path.join(META_PROPERTIES_FILE))? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{META_PROPERTIES_FILE} is gone from the directory"),
            )),
        }
    }

    fn check_online(&self) -> Result<(), LogDirError> {
        match self.health.reason() {
            None => Ok(()),
            Some(reason) => {
                Err(LogDirError::Offline { path: self.path.clone(), reason: reason.to_owned() })
            }
        }
    }

    /// # Errors
    /// The disk's, and a damaged file's. A checkpoint that cannot be read may be treated as empty:
    /// recovery then scans more than it had to.
    pub fn read_checkpoint(&self, kind: CheckpointKind) -> Result<PartitionOffsets, LogDirError> {
        Ok(checkpoint::read_offsets(&*self.fs, &self.path, kind)?)
    }

    /// # Errors
    /// The disk's; an offline directory refuses.
    pub fn write_checkpoint(
        &self,
        kind: CheckpointKind,
        offsets: &PartitionOffsets,
    ) -> Result<(), LogDirError> {
        self.check_online()?;
        let _one_writer = self.checkpoints.lock();
        Ok(checkpoint::write_offsets(&*self.fs, &self.path, kind, offsets)?)
    }

    /// Says that everything in here is flushed and closed. Nothing is written afterwards.
    ///
    /// # Errors
    /// The disk's; an offline directory refuses, because what it holds is unknown.
    pub fn mark_clean_shutdown(&self, broker_epoch: i64) -> Result<(), LogDirError> {
        self.check_online()?;
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        let text = checkpoint::clean_shutdown_text(broker_epoch);
        checkpoint::replace_file(&*self.fs, &path, text.as_bytes())
            .map_err(|source| LogDirError::Io { path, source })
    }
}

/// The folders in a log directory that need not be open.
///
/// # Errors
/// The disk's.
pub fn scan(fs: &dyn FileSystem, path: &Path) -> Result<DirContents, LogDirError> {
    let entries =
        fs.list(path).map_err(|source| LogDirError::Io { path: path.to_owned(), source })?;
    let mut contents = DirContents::default();
    for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        match FolderName::parse(&entry.name) {
            Some(name) => {
                contents.folders.push(PartitionFolder { name, path: path.join(&entry.name) });
            }
            None => contents.unknown.push(entry.name),
        }
    }
    Ok(contents)
}

/// Finds or gives the directory its identity.
fn identify(
    fs: &dyn FileSystem,
    path: &Path,
    identity: &DirIdentity,
) -> Result<(MetaProperties, Uuid), LogDirError> {
    let Some(mut meta) = MetaProperties::read(fs, path)? else {
        if let Some(folder) = scan(fs, path)?.folders.first() {
            let example = folder.name.text();
            return Err(LogDirError::NoIdentity { path: path.to_owned(), example });
        }
        let cluster_id = identity.cluster_id.as_ref().unwrap_or(&identity.new_cluster_id).clone();
        let directory_id = identity.new_directory_id;
        let meta = MetaProperties {
            cluster_id,
            node_id: identity.node_id,
            directory_id: Some(directory_id),
        };
        create_durably(fs, path)?;
        meta.write(fs, path)?;
        return Ok((meta, directory_id));
    };
    if let Some(wanted) = &identity.cluster_id
        && *wanted != meta.cluster_id
    {
        let (found, wanted) = (meta.cluster_id, wanted.clone());
        return Err(LogDirError::OtherCluster { path: path.to_owned(), found, wanted });
    }
    if meta.node_id != identity.node_id {
        let (found, wanted) = (meta.node_id, identity.node_id);
        return Err(LogDirError::OtherNode { path: path.to_owned(), found, wanted });
    }
    let directory_id = match meta.directory_id {
        Some(id) => id,
        None => {
            meta.directory_id = Some(identity.new_directory_id);
            meta.write(fs, path)?;
            identity.new_directory_id
        }
    };
    Ok((meta, directory_id))
}

/// Makes the directory's own name durable, and the names of folders that were made on the way.
fn create_durably(fs: &dyn FileSystem, path: &Path) -> Result<(), LogDirError> {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        match fs.sync_dir(above) {
            Ok(()) => {}
            // Folders of others, up to the root: what we may not open we did not make.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            Err(source) => return Err(LogDirError::Io { path: above.to_owned(), source }),
        }
    }
    Ok(())
}

fn take_clean_shutdown(
    fs: &dyn FileSystem,
    dir: &Path,
) -> Result<Option<CleanShutdown>, LogDirError> {
    let path = dir.join(CLEAN_SHUTDOWN_FILE);
    let Some(text) = checkpoint::read_text(fs, &path)? else { return Ok(None) };
    let broker_epoch = checkpoint::parse_clean_shutdown(&text);
    let io = |source| LogDirError::Io { path: path.clone(), source };
    fs.remove_file(&path).map_err(io)?;
    // Or a crash brings the marker back, and the next start believes it.
    fs.sync_dir(dir).map_err(io)?;
    Ok(Some(CleanShutdown { broker_epoch }))
}

/// Whether a name in a log directory is a file of the directory itself.
#[must_use]
pub fn is_directory_file(name: &str) -> bool {
    name == META_PROPERTIES_FILE
        || name == LOCK_FILE
        || name == CLEAN_SHUTDOWN_FILE
        || name == boot::BOOT_FILE
        || CheckpointKind::of(name).is_some()
}
