//! Compaction: keeps the last record of every key, and with it everything that readers,
//! producers and transactions still need (Kafka's `LogCleaner`, KIP-58, KIP-354, KIP-534).
//!
//! Owns: what is cleanable, what survives, the new segments' files. Never: a thread, the time, the
//! log's lock while it reads and writes.
//!
//! # Drawing
//!
//! ```text
//!   lock:    CleanPlan of the log                    swap the group in ──┐ (again for each group)
//!   no lock:      └─> CleanRun::start ─> next_group ──────┘              └─> checkpoint
//!                     (dirty keys)       .cleaned files      .swap, old ones .deleted, live
//! ```
//!
//! Invariants: no offset is used again, so batches keep their base and last offsets; the last batch
//! of every replaced group stays, empty if need be; nothing past the last stable offset is
//! touched; damage stops a cleaning and changes nothing; a crash at any point leaves the old
//! segments or the new one.

mod filter;
mod group;
mod offset_map;
pub mod range;
mod reader;
mod run;
#[cfg(test)]
mod tests;
mod transactions;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::model::{Offset, ProducerId};
use ottla_protocol::records::control::MalformedControl;
use ottla_protocol::records::decompress::DecompressError;
use ottla_protocol::records::{BatchError, BuildError, MalformedRecord};
use thiserror::Error;

use crate::file_name::{FileKind, FileStage, SegmentFileName};
use crate::fs::{File, FileSystem};
use crate::index::AbortedTxn;
use crate::seal::Seal;

pub use filter::LastRecord;
pub use offset_map::{OffsetMap, SLOT_BYTES};
pub use run::CleanRun;

/// What pays for reading and writing, and says when to stop.
pub trait CleanBudget {
    /// Is asked before so many bytes are read or written, and may wait until they fit the rate.
    /// `Break` ends the cleaning without a trace.
    fn spend(&mut self, bytes: u64) -> ControlFlow<()>;
}

impl<F: FnMut(u64) -> ControlFlow<()>> CleanBudget for F {
    fn spend(&mut self, bytes: u64) -> ControlFlow<()> {
        self(bytes)
    }
}

/// A budget without a limit.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl CleanBudget for Unlimited {
    fn spend(&mut self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn spend(budget: &mut dyn CleanBudget, bytes: u64) -> Result<(), CleanError> {
    match budget.spend(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(CleanError::Stopped),
    }
}

/// What the map of keys may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapMemory {
    /// `log.cleaner.dedupe.buffer.size`, for this cleaning.
    pub bytes: usize,
    /// Random, so that nobody can make keys that collide.
    pub seeds: [u64; 2],
}

/// A closed segment to be read.
#[derive(Clone, Debug)]
pub struct SourceSegment {
    pub base: Offset,
    /// Base of the segment after it.
    pub next_base: Offset,
    pub log: Arc<dyn File>,
    pub log_bytes: u64,
    pub offset_index_bytes: u64,
    pub time_index_bytes: u64,
}

/// Everything a cleaning needs of a log, taken under its lock.
#[derive(Clone, Debug)]
pub struct CleanPlan {
    pub fs: Arc<dyn FileSystem>,
    pub dir: PathBuf,
    /// How often the log had been truncated.
    pub truncations: u64,
    /// All closed segments below `first_uncleanable`, clean ones as well, in order.
    pub segments: Vec<SourceSegment>,
    pub first_dirty: Offset,
    pub first_uncleanable: Offset,
    /// Aborted transactions of these segments.
    pub aborted: Vec<AbortedTxn>,
    /// The producers that the log remembers.
    pub producers: BTreeMap<ProducerId, LastRecord>,
    pub delete_retention_millis: i64,
    pub segment_bytes: u64,
    pub index_bytes_max: u64,
    pub index_interval_bytes: u32,
}

/// A new segment whose files are durable under `.cleaned` names.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "swap it into the log or discard it"]
pub struct CleanedGroup {
    pub dir: PathBuf,
    /// The segments it stands for, with their bytes when they were read: the swap is refused when
    /// the log has other ones by now.
    pub replaced: Vec<(Offset, u64)>,
    /// How often the log had been truncated when the cleaning began.
    pub truncations: u64,
    /// The files that there are.
    pub kinds: Vec<FileKind>,
    pub seal: Seal,
}

impl CleanedGroup {
    /// The new segment's base, which is that of the first it replaces.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.seal.base
    }

    /// Removes the files instead of swapping them in.
    pub fn discard(self, fs: &dyn FileSystem) {
        remove_cleaned(fs, &self.dir, self.seal.base);
    }
}

/// Removes whatever a cleaning has begun at `base`. What stays is removed when the log is opened.
fn remove_cleaned(fs: &dyn FileSystem, dir: &Path, base: Offset) {
    for kind in FileKind::ALL {
        let name = SegmentFileName { base, kind, stage: FileStage::Cleaned };
        let path = dir.join(name.text());
        match fs.remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "left behind"),
        }
    }
}

/// What a cleaning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleanReport {
    /// For the cleaner checkpoint, once all groups are swapped in.
    pub cleaned_up_to: Offset,
    pub keys: u64,
    /// The map was too small for the whole dirty part: another cleaning is due.
    pub map_full: bool,
    pub bytes_mapped: u64,
    pub bytes_read: u64,
    pub bytes_kept: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// Records without a key, which a compacted log cannot keep.
    pub records_invalid: u64,
}

/// What is wrong with a batch.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum BatchFault {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Record(#[from] MalformedRecord),
    #[error(transparent)]
    Control(#[from] MalformedControl),
    #[error("the records cannot be expanded: {0}")]
    Compression(#[from] DecompressError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the batch needs {needed} bytes and the segment ends before")]
    Cut { needed: usize },
    #[error("offset {found} is out of order")]
    OffsetOrder { found: Offset },
}

/// Why a log was not cleaned. It is as it was, up to the groups that were swapped in before.
#[derive(Debug, Error)]
pub enum CleanError {
    #[error("cleaning the segment at {base}: {source}")]
    Io { base: Offset, source: io::Error },
    #[error(
        "the segment at {base} is damaged at byte {position}: {fault}; this log is not compacted \
         until the segment is repaired"
    )]
    Damaged { base: Offset, position: u64, fault: BatchFault },
    #[error("the log's segments changed while they were cleaned")]
    Changed,
    #[error("the cleaning was stopped")]
    Stopped,
}
