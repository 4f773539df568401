//! What a path is: one file of a log, a partition's folder, or a data directory.
//!
//! Owns: telling them apart by name and content of folders. Never: opens a file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::model::{Offset, TopicPartition};

use super::OfflineError;
use crate::checkpoint::{CLEAN_SHUTDOWN_FILE, CheckpointKind, META_PROPERTIES_FILE};
use crate::file_name::{
    FileKind, FileStage, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SEGMENT_SEALS,
    SegmentFileName,
};
use crate::fs::{EntryKind, FileSystem};
use crate::log_dir::{FolderName, is_directory_file};

/// Files of Kafka's `__cluster_metadata` (its `FileQuorumStateStore` and `Snapshots`).
const QUORUM_STATE: &str = "quorum-state";
const QUORUM_SNAPSHOT: &str = ".checkpoint";

/// What there is to examine at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A file of a segment, in whatever stage.
    SegmentFile(SegmentFileName),
    LeaderEpochs,
    PartitionMetadata,
    SegmentSeals,
    Checkpoint(CheckpointKind),
    MetaProperties,
    CleanShutdown,
    Partition,
    DataDirectory,
}

/// Says what is at `path`.
///
/// # Errors
/// `Unknown` for what is nothing of a log, and the disk's.
pub fn classify(fs: &dyn FileSystem, path: &Path) -> Result<Subject, OfflineError> {
    let unknown = || OfflineError::Unknown { path: path.to_owned() };
    match fs.list(path) {
        Ok(entries) => {
            let is = |name: &str| SegmentFileName::parse(name).is_some() || is_partition_file(name);
            if entries.iter().any(|entry| entry.kind == EntryKind::File && is(&entry.name)) {
                return Ok(Subject::Partition);
            }
            let holds = entries.iter().any(|entry| match entry.kind {
                EntryKind::Directory => FolderName::parse(&entry.name).is_some(),
                EntryKind::File => is_directory_file(&entry.name),
            });
            if holds { Ok(Subject::DataDirectory) } else { Err(unknown()) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unknown)?;
            classify_file(name).ok_or_else(unknown)
        }
        Err(error) => Err(OfflineError::io(path)(error)),
    }
}

fn is_partition_file(name: &str) -> bool {
    matches!(name, LEADER_EPOCH_CHECKPOINT | PARTITION_METADATA | SEGMENT_SEALS)
}

fn classify_file(name: &str) -> Option<Subject> {
    if let Some(file) = SegmentFileName::parse(name) {
        return Some(Subject::SegmentFile(file));
    }
    Some(match name {
        LEADER_EPOCH_CHECKPOINT => Subject::LeaderEpochs,
        PARTITION_METADATA => Subject::PartitionMetadata,
        SEGMENT_SEALS => Subject::SegmentSeals,
        META_PROPERTIES_FILE => Subject::MetaProperties,
        CLEAN_SHUTDOWN_FILE => Subject::CleanShutdown,
        _ => Subject::Checkpoint(CheckpointKind::of(name)?),
    })
}

/// The partition that a folder, or the folder of a file, is named after.
#[must_use]
pub fn partition_of(path: &Path) -> Option<TopicPartition> {
    let parse = |path: &Path| FolderName::parse(path.file_name()?.to_str()?);
    let name = parse(path).or_else(|| parse(path.parent()?))?;
    Some(name.partition)
}

/// The folders of partitions in a data directory, in order.
///
/// # Errors
/// The disk's.
pub fn partitions_of(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<PathBuf>, OfflineError> {
    let entries = fs.list(dir).map_err(OfflineError::io(dir))?;
    let mut found: Vec<(FolderName, PathBuf)> = entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
        .filter_map(|entry| Some((FolderName::parse(&entry.name)?, dir.join(&entry.name))))
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The files in a partition's folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartitionFiles {
    pub dir: PathBuf,
    /// Live files with their lengths, by segment.
    pub segments: BTreeMap<Offset, BTreeMap<FileKind, u64>>,
    /// Files on their way in or out.
    pub left_over: Vec<String>,
    pub foreign: Vec<String>,
    pub has_epochs: bool,
    pub has_metadata: bool,
    pub has_seals: bool,
}

impl PartitionFiles {
    /// Lists a partition's folder.
    ///
    /// # Errors
    /// The disk's.
    pub fn list(fs: &dyn FileSystem, dir: &Path) -> Result<Self, OfflineError> {
        let mut files = Self { dir: dir.to_owned(), ..Self::default() };
        for entry in fs.list(dir).map_err(OfflineError::io(dir))? {
            match SegmentFileName::parse(&entry.name) {
                Some(name) if name.stage == FileStage::Live => {
                    files.segments.entry(name.base).or_default().insert(name.kind, entry.len);
                }
                Some(_) => files.left_over.push(entry.name),
                None => match &*entry.name {
                    LEADER_EPOCH_CHECKPOINT => files.has_epochs = true,
                    PARTITION_METADATA => files.has_metadata = true,
                    SEGMENT_SEALS => files.has_seals = true,
                    // What Kafka's quorum keeps beside its log: votes and snapshots.
                    QUORUM_STATE => {}
                    name if name.ends_with(QUORUM_SNAPSHOT) => {}
                    _ => files.foreign.push(entry.name),
                },
            }
        }
        Ok(files)
    }

    #[must_use]
    pub fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(SegmentFileName::live(base, kind).text())
    }

    /// The bases of segments that have a log, in order.
    pub fn logs(&self) -> impl DoubleEndedIterator<Item = (Offset, u64)> {
        self.segments.iter().filter_map(|(base, kinds)| Some((*base, *kinds.get(&FileKind::Log)?)))
    }
}

/// Bytes of the `.log` files at or below a path, by which progress is told.
///
/// # Errors
/// The disk's.
pub fn total_bytes(fs: &dyn FileSystem, path: &Path) -> Result<u64, OfflineError> {
    let partition = |dir: &Path| -> Result<u64, OfflineError> {
        Ok(PartitionFiles::list(fs, dir)?.logs().map(|(_, bytes)| bytes).sum())
    };
    match classify(fs, path)? {
        Subject::Partition => partition(path),
        Subject::DataDirectory => partitions_of(fs, path)?.iter().map(|dir| partition(dir)).sum(),
        _ => {
            let file = fs.open(path, crate::fs::OpenMode::Read).map_err(OfflineError::io(path))?;
            file.len().map_err(OfflineError::io(path))
        }
    }
}
