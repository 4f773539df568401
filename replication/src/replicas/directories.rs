//! The log directories of a node, with what was read of them at start.
//!
//! Owns: their locks, checkpoints as of the start, flush threads (one per disk), folders that wait for
//! removal; which of them failed. Never: opens a partition's log. Invariant: a directory that fails
//! stays offline until the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_protocol::model::{MonoTime, Offset, TopicPartition, Uuid, kafka_uuid_text};
use ottla_storage::LogError;
use ottla_storage::checkpoint::{CheckpointKind, PartitionOffsets};
use ottla_storage::flush::{FlushCoordinator, FlushOptions, FlushThread};
use ottla_storage::fs::{DiskId, FileSystem};
use ottla_storage::log_dir::{
    Candidate, DirIdentity, FolderName, FolderStage, LogDir, LogDirError, place,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{NodeIdentity, OpenError};
use crate::home::Home;
use crate::raft::journal::{FILE_NAME as JOURNAL_FILE, Journal, JournalError};

/// An open log directory.
#[derive(Debug)]
pub(super) struct Directory {
    log_dir: LogDir,
    home: Home,
    /// Its failure was dealt with.
    settled: AtomicBool,
    recovery_points: PartitionOffsets,
    log_starts: PartitionOffsets,
    /// How far logs were compacted.
    cleaned: Mutex<PartitionOffsets>,
    /// Logs whose compaction failed, and until when they are left alone: until the next start, as Kafka
    /// does, but for what passes by itself.
    uncleanable: Mutex<BTreeMap<TopicPartition, Option<MonoTime>>>,
    /// Live partition folders.
    folders: Mutex<BTreeSet<TopicPartition>>,
    /// Folders of replicas that were on their way here when the process ended.
    futures: Mutex<Vec<FolderName>>,
    /// Folders of deleted partitions.
    removals: Mutex<Vec<PathBuf>>,
    unique: AtomicU64,
    /// Opened with the first group.
    journal: Mutex<Option<Arc<Journal>>>,
}

impl Directory {
    pub(super) fn log_dir(&self) -> &LogDir {
        &self.log_dir
    }

    pub(super) fn id(&self) -> Uuid {
        self.log_dir.directory_id()
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn is_online(&self) -> bool {
        !self.log_dir.health().is_offline()
    }

    /// Whether something failed that nobody acted on yet; says so once.
    pub(super) fn take_failure(&self) -> Option<String> {
        let reason = self.log_dir.health().reason()?;
        (!self.settled.swap(true, Ordering::AcqRel)).then(|| reason.to_owned())
    }

    /// Notes an error that was met in this directory.
    pub(super) fn note(&self, error: &LogError) {
        if error.is_disk_fault() {
            self.home.fail(&error.to_string());
        }
    }

    pub(super) fn journal(&self, fs: &Arc<dyn FileSystem>) -> Result<Arc<Journal>, JournalError> {
        let mut slot = self.journal.lock();
        if let Some(journal) = &*slot {
            return Ok(Arc::clone(journal));
        }
        let journal = Journal::open(Arc::clone(fs), self.log_dir.path(), self.home.clone())?;
        *slot = Some(Arc::clone(&journal));
        Ok(journal)
    }

    /// The same where there is one: a node without groups has none.
    pub(super) fn journal_if_any(&self, fs: &Arc<dyn FileSystem>) -> Option<Arc<Journal>> {
        let known = self.journal.lock().clone();
        known.or_else(|| {
            let path = self.log_dir.path().join(JOURNAL_FILE);
            // One that cannot be opened is met again by whoever needs it.
            matches!(fs.exists(&path), Ok(true)).then(|| self.journal(fs).ok()).flatten()
        })
    }

    pub(super) fn was_clean(&self) -> bool {
        self.log_dir.was_clean().is_some()
    }

    pub(super) fn machine_restarted(&self) -> bool {
        self.log_dir.machine_restarted()
    }

    pub(super) fn recovery_point(&self, partition: &TopicPartition) -> Offset {
        self.recovery_points.get(partition).copied().unwrap_or(Offset::ZERO)
    }

    pub(super) fn log_start(&self, partition: &TopicPartition) -> Option<Offset> {
        self.log_starts.get(partition).copied()
    }

    pub(super) fn note_folder(&self, partition: &TopicPartition) {
        self.folders.lock().insert(partition.clone());
    }

    pub(super) fn forget_folder(&self, partition: &TopicPartition) {
        self.folders.lock().remove(partition);
        self.note_cleaned(partition, None);
        self.uncleanable.lock().remove(partition);
    }

    pub(super) fn cleaned(&self, partition: &TopicPartition) -> Option<Offset> {
        self.cleaned.lock().get(partition).copied()
    }

    pub(super) fn all_cleaned(&self) -> PartitionOffsets {
        self.cleaned.lock().clone()
    }

    pub(super) fn note_cleaned(&self, partition: &TopicPartition, up_to: Option<Offset>) {
        let mut cleaned = self.cleaned.lock();
        match up_to {
            Some(offset) => cleaned.insert(partition.clone(), offset),
            None => cleaned.remove(partition),
        };
    }

    pub(super) fn is_uncleanable(&self, partition: &TopicPartition, now: MonoTime) -> bool {
        let until = self.uncleanable.lock().get(partition).copied();
        until.is_some_and(|until| until.is_none_or(|until| now < until))
    }

    pub(super) fn note_uncleanable(&self, partition: &TopicPartition, until: Option<MonoTime>) {
        self.uncleanable.lock().insert(partition.clone(), until);
    }

    pub(super) fn note_cleanable(&self, partition: &TopicPartition) {
        self.uncleanable.lock().remove(partition);
    }

    pub(super) fn note_removal(&self, path: PathBuf) {
        self.removals.lock().push(path);
    }

    pub(super) fn take_futures(&self) -> Vec<FolderName> {
        std::mem::take(&mut self.futures.lock())
    }

    pub(super) fn take_removals(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.removals.lock())
    }

    /// An id for a folder that is put aside: unlike any other of this directory.
    pub(super) fn next_unique(&self) -> Uuid {
        let count = self.unique.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(self.id().as_u128().wrapping_add(u128::from(count) << 16))
    }
}

/// All directories of the node.
#[derive(Debug)]
pub(super) struct Directories {
    all: Vec<Arc<Directory>>,
    failed: Vec<(PathBuf, String)>,
    cluster_id: String,
    alarm: Arc<Notify>,
    /// Last, so that it ends after everything that asks it to flush.
    _threads: Vec<FlushThread>,
}

impl Directories {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        identity: &NodeIdentity,
        paths: &[PathBuf],
        flush: FlushOptions,
        mut new_id: impl FnMut() -> Uuid,
    ) -> Result<Self, OpenError> {
        let mut opened: Vec<LogDir> = Vec::new();
        let mut failed = Vec::new();
        let mut cluster_id = identity.cluster_id.clone();
        for path in paths {
            let who = DirIdentity {
                cluster_id: cluster_id.clone(),
                node_id: identity.node,
                new_directory_id: new_id(),
                new_cluster_id: kafka_uuid_text(identity.new_cluster_id),
            };
            match LogDir::open(Arc::clone(fs), path.clone(), &who) {
                Ok(dir) => {
                    cluster_id.get_or_insert_with(|| dir.meta().cluster_id.clone());
                    opened.push(dir);
                }
                // A disk that fails among several is left out; a directory that is not ours is a
                // mistake that must be seen.
                Err(error)
                    if (error.is_disk_fault() || matches!(error, LogDirError::Io { .. }))
                        && paths.len() > 1 =>
                {
                    tracing::error!(path = %path.display(), %error, "log directory is offline");
                    failed.push((path.clone(), error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(cluster_id) = cluster_id else {
            let reasons: Vec<_> = failed.iter().map(|(_, reason)| reason.as_str()).collect();
            return Err(OpenError::NoDirectory(reasons.join("; ")));
        };
        refuse_copies(&opened)?;
        let alarm = Arc::new(Notify::new());
        let mut flushers = Flushers { options: flush, ..Flushers::default() };
        let mut all = Vec::with_capacity(opened.len());
        for dir in opened {
            let path = dir.path().to_path_buf();
            match directory(dir, fs, &mut flushers, &alarm) {
                Ok(directory) => all.push(Arc::new(directory)),
                Err(OpenError::Directory(error)) if error.is_disk_fault() && paths.len() > 1 => {
                    tracing::error!(path = %path.display(), %error, "log directory is offline");
                    failed.push((path, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        finish_moves(&**fs, &all)?;
        refuse_doubles(&all)?;
        Ok(Self { all, failed, cluster_id, alarm, _threads: flushers.threads })
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub(super) fn all(&self) -> &[Arc<Directory>] {
        &self.all
    }

    pub(super) fn failed(&self) -> &[(PathBuf, String)] {
        &self.failed
    }

    pub(super) fn alarm(&self) -> &Arc<Notify> {
        &self.alarm
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<Arc<Directory>> {
        self.all.iter().find(|directory| directory.id() == id).cloned()
    }

    pub(super) fn holding(&self, partition: &TopicPartition) -> Option<Arc<Directory>> {
        self.all.iter().find(|directory| directory.folders.lock().contains(partition)).cloned()
    }

    pub(super) fn with_most_room(
        &self,
        partitions: &BTreeMap<Uuid, usize>,
    ) -> Result<Arc<Directory>, OpenError> {
        let usable: Vec<&Arc<Directory>> = self.all.iter().filter(|dir| dir.is_online()).collect();
        let candidates: Vec<Candidate> = usable
            .iter()
            .map(|directory| Candidate {
                available: directory.log_dir.space().map_or(0, |space| space.available),
                partitions: partitions.get(&directory.id()).copied().unwrap_or_default(),
            })
            .collect();
        place(&candidates)
            .and_then(|index| usable.get(index).map(|directory| Arc::clone(directory)))
            .ok_or_else(|| OpenError::NoDirectory("all of them are offline".to_owned()))
    }
}

/// One flush coordinator per disk.
#[derive(Default)]
struct Flushers {
    options: FlushOptions,
    by_disk: Vec<(DiskId, FlushCoordinator)>,
    threads: Vec<FlushThread>,
}

impl Flushers {
    fn of(
        &mut self,
        fs: &Arc<dyn FileSystem>,
        dir: &LogDir,
    ) -> Result<FlushCoordinator, OpenError> {
        let path = dir.path().to_path_buf();
        if fs.is_volatile() {
            return Ok(FlushCoordinator::inline(Arc::clone(fs), path));
        }
        if let Some(flusher) = fs.flusher(&path) {
            return Ok(flusher);
        }
        let io = |error| OpenError::FlushThread { path: path.clone(), error };
        let disk = fs.disk_id(&path).map_err(io)?;
        if let Some((_, flusher)) = self.by_disk.iter().find(|(known, _)| *known == disk) {
            return Ok(flusher.clone());
        }
        let thread = FlushThread::spawn(Arc::clone(fs), path.clone(), self.options.clone());
        let thread = thread.map_err(io)?;
        let flusher = thread.coordinator();
        self.by_disk.push((disk, flusher.clone()));
        self.threads.push(thread);
        Ok(flusher)
    }
}

fn directory(
    dir: LogDir,
    fs: &Arc<dyn FileSystem>,
    flushers: &mut Flushers,
    alarm: &Arc<Notify>,
) -> Result<Directory, OpenError> {
    let contents = dir.scan()?;
    let mut folders = BTreeSet::new();
    let mut removals = Vec::new();
    let mut futures = Vec::new();
    for folder in contents.folders {
        match folder.name.stage {
            FolderStage::Live => {
                folders.insert(folder.name.partition);
            }
            FolderStage::Deleting => removals.push(folder.path),
            FolderStage::Future => futures.push(folder.name),
            FolderStage::Stray => {}
        }
    }
    let home = Home {
        flusher: flushers.of(fs, &dir)?,
        health: Arc::clone(dir.health()),
        alarm: Arc::clone(alarm),
    };
    Ok(Directory {
        recovery_points: checkpoint(&dir, CheckpointKind::RecoveryPoint),
        log_starts: checkpoint(&dir, CheckpointKind::LogStart),
        cleaned: Mutex::new(checkpoint(&dir, CheckpointKind::Cleaner)),
        uncleanable: Mutex::default(),
        log_dir: dir,
        home,
        settled: AtomicBool::new(false),
        folders: Mutex::new(folders),
        futures: Mutex::new(futures),
        removals: Mutex::new(removals),
        unique: AtomicU64::new(1),
        journal: Mutex::new(None),
    })
}

/// A process ended between the two renames that end a move: the first log's folder is put aside under
/// the id of the second, which is complete and has not got its name yet.
fn finish_moves(fs: &dyn FileSystem, all: &[Arc<Directory>]) -> Result<(), OpenError> {
    for directory in all {
        let root = directory.log_dir.path();
        let futures = directory.take_futures();
        for future in futures {
            let aside = FolderName { stage: FolderStage::Deleting, ..future.clone() }.text();
            let put_aside = |path: &PathBuf| path.file_name().is_some_and(|name| *name == *aside);
            let live = |it: &Arc<Directory>| it.folders.lock().contains(&future.partition);
            if all.iter().any(live)
                || !all.iter().any(|it| it.removals.lock().iter().any(put_aside))
            {
                directory.futures.lock().push(future);
                continue;
            }
            let (from, to) = (root.join(future.text()), root.join(future.partition.to_string()));
            let renamed = fs.rename(&from, &to).and_then(|()| fs.sync_dir(root));
            renamed.map_err(|source| LogDirError::Io { path: from, source })?;
            directory.note_folder(&future.partition);
        }
    }
    Ok(())
}

/// A directory is known by its id, in the metadata and as a Raft replica: two of one id would be taken
/// for each other (KIP-858; Kafka's `MetaPropertiesEnsemble` refuses it, too).
fn refuse_copies(opened: &[LogDir]) -> Result<(), OpenError> {
    let mut seen: BTreeMap<Uuid, &LogDir> = BTreeMap::new();
    for second in opened {
        let id = second.directory_id();
        if let Some(first) = seen.insert(id, second) {
            let (first, second) = (first.path().to_path_buf(), second.path().to_path_buf());
            return Err(OpenError::SameDirectory { id, first, second });
        }
    }
    Ok(())
}

/// A partition in two directories cannot be opened: nothing says which one is right.
fn refuse_doubles(all: &[Arc<Directory>]) -> Result<(), OpenError> {
    let mut seen: BTreeMap<TopicPartition, PathBuf> = BTreeMap::new();
    for directory in all {
        let path = directory.log_dir.path();
        for partition in directory.folders.lock().iter() {
            if let Some(first) = seen.insert(partition.clone(), path.to_path_buf()) {
                let (partition, second) = (partition.clone(), path.to_path_buf());
                return Err(OpenError::Doubled { partition, first, second });
            }
        }
    }
    Ok(())
}

/// A checkpoint that cannot be read only makes recovery scan more.
fn checkpoint(dir: &LogDir, kind: CheckpointKind) -> PartitionOffsets {
    dir.read_checkpoint(kind).unwrap_or_else(|error| {
        tracing::warn!(path = %dir.path().display(), %error, "checkpoint ignored");
        PartitionOffsets::default()
    })
}

#[cfg(test)]
mod tests {
    use ottla_protocol::model::NodeId;
    use ottla_storage::fs::sim::{SimFileSystem, SimOptions};

    use super::*;

    fn open(fs: &Arc<dyn FileSystem>, ids: [u128; 2]) -> Result<Directories, OpenError> {
        let identity =
            NodeIdentity { node: NodeId(1), cluster_id: None, new_cluster_id: Uuid::from_u128(1) };
        let mut ids = ids.into_iter().map(Uuid::from_u128);
        let paths = [PathBuf::from("/d1"), PathBuf::from("/d2")];
        Directories::open(fs, &identity, &paths, FlushOptions::default(), || ids.next().unwrap())
    }

    #[test]
    fn a_copied_directory_is_refused_by_both_paths() {
        let fs: Arc<dyn FileSystem> = Arc::new(SimFileSystem::new(1, SimOptions::default()));
        let error = open(&fs, [2, 2]).unwrap_err();
        let OpenError::SameDirectory { id, first, second } = &error else {
            panic!("{error}");
        };
        assert_eq!(
            (*id, first.to_str(), second.to_str()),
            (Uuid::from_u128(2), Some("/d1"), Some("/d2"))
        );
        assert!(error.to_string().contains("Take the copy out of log.dirs"), "{error}");
    }

    #[test]
    fn directories_of_different_ids_are_opened() {
        let fs: Arc<dyn FileSystem> = Arc::new(SimFileSystem::new(1, SimOptions::default()));
        assert_eq!(open(&fs, [2, 3]).unwrap().all().len(), 2);
    }
}
