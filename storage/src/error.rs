//! Why a log could not do what it was asked.
//!
//! Owns: the error enums of the log, each variant a fact with the data to answer a client.
//! Never: wire error codes (the broker maps them; each variant names its code).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::model::{LeaderEpoch, Offset, Uuid};
use thiserror::Error;

use crate::producer_state::ProducerError;
use crate::segment::scan::{FrameFault, ScanError};

/// A place in a log where a batch should be and is not. Nothing is cut there by itself.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "{} is damaged at byte {position}: {fault}; offsets from {from}{} are lost on this disk",
    file.display(),
    to.map(|to| format!(" up to {to}")).unwrap_or_default()
)]
pub struct Damage {
    pub file: PathBuf,
    pub position: u64,
    /// The first offset that cannot be read.
    pub from: Offset,
    /// The first offset that can be read again, where one was found.
    pub to: Option<Offset>,
    pub fault: DamageFault,
}

/// What shows the damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DamageFault {
    #[error(transparent)]
    Frame(#[from] FrameFault),
    #[error("the file has {found} bytes and had {sealed} when it was closed")]
    Shortened { sealed: u64, found: u64 },
    #[error("the segments end at {found} and were synced up to {synced}")]
    EndsEarly { synced: Offset, found: Offset },
}

/// Why the files of a log could not be used.
#[derive(Debug, Error)]
pub enum LogError {
    /// `KAFKA_STORAGE_ERROR` (56).
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// `KAFKA_STORAGE_ERROR` (56), or `CORRUPT_MESSAGE` (2) to a reader.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// `KAFKA_STORAGE_ERROR` (56).
    #[error("{} is offline: {reason}", dir.display())]
    Offline { dir: PathBuf, reason: Arc<str> },
    /// `INCONSISTENT_TOPIC_ID` (103).
    #[error(
        "{} belongs to topic id {found} and {expected} was expected: move the folder away",
        dir.display()
    )]
    TopicId { dir: PathBuf, found: Uuid, expected: Uuid },
}

impl LogError {
    /// Whether the log's disk failed, so that nothing in its directory can be relied on.
    #[must_use]
    pub fn is_disk_fault(&self) -> bool {
        match self {
            Self::Io { source, .. } => crate::log_dir::is_disk_fault(source),
            Self::Offline { .. } => true,
            Self::Damaged(_) | Self::TopicId { .. } => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn scan(error: ScanError, file: PathBuf, from: Offset) -> Self {
        match error {
            ScanError::Io(source) => Self::Io { action: "read", path: file, source },
            ScanError::Fault { position, fault } => Self::Damaged(Box::new(Damage {
                file,
                position,
                from,
                to: None,
                fault: fault.into(),
            })),
        }
    }
}

/// Why an append was refused. Nothing was appended.
#[derive(Debug, Error)]
pub enum AppendError {
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// `MESSAGE_TOO_LARGE` (10).
    #[error("a batch of {bytes} bytes is above max.message.bytes = {max}")]
    BatchTooLarge { bytes: usize, max: u32 },
    /// `RECORD_LIST_TOO_LARGE` (18).
    #[error("{bytes} bytes in one append are above segment.bytes = {max}")]
    AppendTooLarge { bytes: u64, max: u32 },
    /// `FENCED_LEADER_EPOCH` (74).
    #[error("leader epoch {epoch} is below {latest}, the latest in this log")]
    FencedEpoch { epoch: LeaderEpoch, latest: LeaderEpoch },
    /// From a replica: the batches do not continue this log.
    #[error("the batches begin at {first} and the log ends at {end}")]
    OffsetMismatch { first: Offset, end: Offset },
    /// From a replica: the bytes are no whole batches. `CORRUPT_MESSAGE` (2).
    #[error("the batches to append are damaged at byte {position}: {fault}")]
    Malformed { position: u64, fault: FrameFault },
    /// `KAFKA_STORAGE_ERROR` (56), retriable: there was no room, the partial write is undone, and
    /// reads go on. Appends work again once there is room.
    #[error("the disk is full: free space, or lower retention; {0}")]
    DiskFull(io::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl AppendError {
    /// Whether the same append may succeed later, on this broker.
    #[must_use]
    pub const fn retriable(&self) -> bool {
        matches!(
            self,
            Self::DiskFull(_) | Self::Log(LogError::Io { .. } | LogError::Offline { .. })
        )
    }
}

/// Why a read was refused.
#[derive(Debug, Error)]
pub enum ReadError {
    /// `OFFSET_OUT_OF_RANGE` (1).
    #[error("offset {offset} is not in the log, which has {start} up to {end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error(transparent)]
    Log(#[from] LogError),
}
