//! Reading logs without a broker: what `ottla log dump|stat|verify|find|export` stands on.
//!
//! Owns: what a path is, decoding every file of a partition or data directory, ours or Apache
//! Kafka's, finding damage. Never: writes, locks, repairs, or prints.
//!
//! Invariants: nothing on disk makes it panic or allocate more than a small multiple of what it
//! read; damage is an item among the others and the walk goes on behind it; a running broker may
//! append to what is read.

mod batches;
pub mod dump;
mod indexes;
pub mod internal;
pub mod records;
pub mod stat;
mod subject;
#[cfg(test)]
mod tests;
pub mod verify;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ottla_protocol::model::Offset;
use ottla_protocol::records::MalformedRecord;
use ottla_protocol::records::decompress::DecompressError;
use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::leader_epoch::EpochFileError;
use crate::producer_state::snapshot::SnapshotError;
use crate::segment::scan::FrameFault;

pub use batches::{SegmentBatch, SegmentWalk, Walked};
pub use indexes::read_index;
pub use subject::{PartitionFiles, Subject, classify, partition_of, partitions_of, total_bytes};

/// Why a path cannot be examined at all.
#[derive(Debug, Error)]
pub enum OfflineError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} is no file of a log; name a segment, an index, a snapshot, a checkpoint, a \
         partition's folder or a data directory"
    )]
    Unknown { path: PathBuf },
    #[error(
        "{path} holds no records; name a segment (.log), a partition's folder or a data directory"
    )]
    NoRecords { path: PathBuf },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

impl OfflineError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing is wrong, but it is worth knowing.
    Notice,
    /// The broker puts it right by itself, without losing an acknowledged record.
    Repairable,
    /// Records are lost or cannot be trusted.
    Damage,
}

/// Something that is not as it should be.
#[derive(Debug, Error)]
#[error("{}: {kind}", path.display())]
pub struct Finding {
    pub path: PathBuf,
    pub kind: FindingKind,
}

impl Finding {
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

/// What is wrong.
#[derive(Debug, Error)]
pub enum FindingKind {
    #[error(
        "damaged from byte {position} to {}: {fault}; offsets from {from} up to {} are lost",
        shown(resumes),
        shown(to)
    )]
    Frame {
        position: u64,
        fault: FrameFault,
        /// Where the next good batch begins, `None` when there is none.
        resumes: Option<u64>,
        from: Offset,
        to: Option<Offset>,
    },
    #[error(
        "{bytes} bytes behind the last whole batch, at byte {position}: a write that a crash \
         cut short"
    )]
    TornTail { position: u64, bytes: u64 },
    #[error("the batch at byte {position}, offset {offset}, does not match its CRC")]
    Crc { position: u64, offset: Offset },
    #[error("the batch at byte {position}, offset {offset}, cannot be expanded: {fault}")]
    Compression { position: u64, offset: Offset, fault: DecompressError },
    #[error("the batch at byte {position}, offset {offset}, has damaged records: {fault}")]
    Records { position: u64, offset: Offset, fault: RecordFault },
    #[error("leader epoch {found} at offset {offset} follows {before}")]
    EpochOrder { offset: Offset, found: i32, before: i32 },
    #[error("offsets from {from} up to {to} are in no segment")]
    SegmentGap { from: Offset, to: Offset },
    #[error("it begins at {base} and the segment before ends at {end}")]
    SegmentOverlap { base: Offset, end: Offset },
    #[error("entry {entry} (offset {offset}) does not lead to its batch")]
    IndexEntry { entry: u64, offset: Offset },
    #[error("entry {entry} claims {claimed} ms, and offset {offset} has {found} ms already")]
    TimeEntry { entry: u64, claimed: i64, offset: Offset, found: i64 },
    #[error("entries do not ascend at entry {entry}")]
    IndexOrder { entry: u64 },
    #[error("entry {entry} names no abort marker of producer {producer} at offset {offset}")]
    TransactionEntry { entry: u64, producer: i64, offset: Offset },
    #[error("{bytes} bytes behind the last whole entry")]
    IndexTail { bytes: u64 },
    #[error("it is missing")]
    Missing,
    #[error("{0}")]
    Snapshot(SnapshotError),
    #[error("{0}")]
    Epochs(EpochFileError),
    #[error("it cannot be read as text")]
    NotText,
    #[error("the topic id cannot be read")]
    TopicId,
    #[error("{0}")]
    Checkpoint(CheckpointError),
    #[error("left over from an interrupted deletion, cleaning or swap")]
    LeftOver,
    #[error("no file that a broker writes")]
    Foreign,
    #[error("{0}")]
    Unreadable(io::Error),
}

impl FindingKind {
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Frame { .. }
            | Self::Crc { .. }
            | Self::Compression { .. }
            | Self::Records { .. }
            | Self::EpochOrder { .. }
            | Self::SegmentOverlap { .. }
            | Self::TopicId
            | Self::Checkpoint(_)
            | Self::Unreadable(_) => Severity::Damage,
            Self::TornTail { .. }
            | Self::IndexEntry { .. }
            | Self::TimeEntry { .. }
            | Self::IndexOrder { .. }
            | Self::TransactionEntry { .. }
            | Self::IndexTail { .. }
            | Self::Missing
            | Self::Snapshot(_)
            | Self::Epochs(_)
            | Self::NotText => Severity::Repairable,
            // Kafka's compaction may leave a gap where nothing of a segment's end was kept.
            Self::SegmentGap { .. } | Self::LeftOver | Self::Foreign => Severity::Notice,
        }
    }
}

/// What is wrong with the records within a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecordFault {
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    #[error("offset delta {delta} is outside 0 to {last} or does not ascend")]
    Delta { delta: i32, last: i32 },
}

fn shown<T: std::fmt::Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "the end".to_owned(), ToString::to_string)
}

/// Is told how many bytes were read since the last call, and may stop the walk.
pub type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

pub(crate) fn advance(progress: Progress<'_>, bytes: u64) -> Result<(), OfflineError> {
    match progress(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(OfflineError::Stopped),
    }
}
