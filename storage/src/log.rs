//! The log of one partition: segments in order, and everything derived from them.
//!
//! Owns: the order of offsets, which segment is active, health, the public operations (one file
//! each under `log/`). Never: locks itself, asks the time, syncs on the append path (but for a
//! roll whose segment no flush has seen), or knows the high watermark: callers pass bounds.
//!
//! # Drawing
//!
//! ```text
//!   log start          flushed (durable)      log end
//!      |                    |                    |
//!   ---[ segment ][ segment ][ active segment    ]
//!         sealed: files are never written again  tail cache
//! ```
//!
//! Invariants ([`PartitionLog::validate`]): log start <= log end, flushed <= log end; segments
//! ascend and the last one is active; producer state and epochs end where the log ends.
//! A failed sync kills the log: appends are refused for good, reads go on below `flushed`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, Offset, Timestamp, Uuid};

use crate::error::{Damage, LogError};
use crate::fs::File;
use crate::handles::{Folder, HandleCache};
use crate::leader_epoch::LeaderEpochCache;
use crate::producer_state::ProducerState;
use crate::segment::Segment;
use crate::settings::LogSettings;
use crate::tail_cache::{TailBudget, TailCache};

mod append;
mod close;
mod compact;
mod durability;
mod lookup;
mod open;
mod orphans;
mod read;
mod recovery;
mod retention;
mod seals;
pub mod shipping;
mod truncate;

#[cfg(test)]
mod tests;

pub use append::{AppendInfo, LeaderAppend, LeaderBatch};
pub use lookup::TimestampedOffset;
pub use open::{AfterRecoveryPoint, OpenContext, Shutdown};
pub use recovery::{RecoveryReport, TornTail};
pub use retention::{DeletedSegment, DeletionReason};

use durability::Durability;
use retention::Doomed;
use seals::SealFile;

/// What logs share: open files and the memory for readers at the tail.
#[derive(Debug)]
pub struct LogResources {
    pub(crate) handles: Arc<HandleCache>,
    pub(crate) tail: Arc<TailBudget>,
}

impl LogResources {
    /// Keeps about `open_files` files open and `tail_bytes` of recent batches in memory, at most
    /// 1 MiB of them per log.
    #[must_use]
    pub fn new(open_files: usize, tail_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            handles: Arc::new(HandleCache::new(open_files)),
            tail: Arc::new(TailBudget::new(tail_bytes, 1 << 20)),
        })
    }

    #[must_use]
    pub fn handles(&self) -> &HandleCache {
        &self.handles
    }

    #[must_use]
    pub fn tail(&self) -> &TailBudget {
        &self.tail
    }
}

/// What may be done with a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogHealth {
    Healthy,
    /// Damage was found: reads go up to it, nothing can be appended. `truncate_to` below it, by
    /// whoever has the records elsewhere or accepts their loss, makes the log healthy.
    Damaged(Box<Damage>),
    /// Writing or syncing failed: what lies past `flushed` is unknown. Only reopening helps.
    Offline(Arc<str>),
}

/// Whether a read answers at least one batch, even one above its byte limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MinOneBatch {
    Yes,
    No,
}

/// A part of what was read; in order they are whole batches.
#[derive(Clone, Debug)]
pub enum LogSlice {
    /// From the tail cache.
    Memory(Bytes),
    /// To be read from the file, by whom and when it suits: the file stays readable through this
    /// handle even when the segment is deleted.
    File { file: Arc<dyn File>, position: u64, len: u32 },
}

impl LogSlice {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len as usize,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, read from the file if need be.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn to_bytes(&self) -> std::io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File { file, position, len } => {
                let mut bytes = vec![0; *len as usize];
                file.read_exact_at(&mut bytes, *position)?;
                Ok(Bytes::from(bytes))
            }
        }
    }
}

/// Whole batches, the first of which contains the offset that was asked for.
#[derive(Clone, Debug)]
pub struct LogRead {
    pub slices: Vec<LogSlice>,
    /// Base offset of the first batch, or the offset asked for when nothing was read.
    pub first_offset: Offset,
    /// Where to go on reading.
    pub next_offset: Offset,
    /// The sum of the slices' lengths.
    pub bytes: u32,
}

impl LogRead {
    pub(crate) const fn empty(at: Offset) -> Self {
        Self { slices: Vec::new(), first_offset: at, next_offset: at, bytes: 0 }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// All bytes in one buffer; for tests and tools.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn to_bytes(&self) -> std::io::Result<Bytes> {
        let mut out = Vec::with_capacity(self.bytes as usize);
        for slice in &self.slices {
            out.extend_from_slice(&slice.to_bytes()?);
        }
        Ok(Bytes::from(out))
    }
}

/// One partition's log. Its owner serialises access: `&mut` to change, `&` to read.
pub struct PartitionLog {
    folder: Folder,
    settings: LogSettings,
    topic_id: Uuid,
    /// Ascending, never empty; the last one is active.
    segments: Vec<Segment>,
    /// Segments behind damage: left as they are, and not part of the log.
    stranded: Vec<Segment>,
    log_start: Offset,
    log_end: Offset,
    epochs: LeaderEpochCache,
    producers: ProducerState,
    /// Offsets of the `.snapshot` files.
    snapshots: BTreeSet<Offset>,
    tail: TailCache,
    durability: Durability,
    seals: SealFile,
    doomed: Vec<Doomed>,
    /// How often this process cut the log's end.
    truncations: u64,
    health: LogHealth,
}

impl fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionLog")
            .field("dir", &self.folder.dir)
            .field("log_start", &self.log_start)
            .field("flushed", &self.flushed())
            .field("log_end", &self.log_end)
            .field("segments", &self.segments().collect::<Vec<_>>())
            .field("epochs", &self.epochs.entries())
            .field("producers", &self.producers.len())
            .field("producers_end", &self.producers.end())
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl PartitionLog {
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// The topic's id, nil where none was ever given.
    #[must_use]
    pub const fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    #[must_use]
    pub const fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Takes effect with the next append, roll or retention check.
    pub fn update_settings(&mut self, settings: LogSettings) {
        self.settings = settings;
    }

    #[must_use]
    pub const fn health(&self) -> &LogHealth {
        &self.health
    }

    /// The first offset that can be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset of the next record.
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Below this offset everything is durable.
    #[must_use]
    pub const fn flushed(&self) -> Offset {
        self.durability.flushed()
    }

    /// The last stable offset for this high watermark: records of transactions that are open, or
    /// whose end is not yet committed, lie at or above it (KIP-98).
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.producers.last_stable(high_watermark)
    }

    /// Lets go of what was kept for transactions decided below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// The newest leader epoch in the log.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    #[must_use]
    pub const fn epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    /// The producers this log knows, for DescribeProducers and deduplication.
    #[must_use]
    pub const fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Forgets producers that wrote nothing for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(now, self.settings.producer_id_expiration);
    }

    /// Bytes in all `.log` files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset and bytes of every segment, oldest first; the last one is active.
    pub fn segments(&self) -> impl Iterator<Item = (Offset, u64)> {
        self.segments.iter().map(|segment| (segment.base(), segment.size()))
    }

    /// Gives back the memory held for readers at the tail; they read files until the next append.
    pub fn shed_tail(&self) {
        self.tail.clear();
    }

    /// Checks the invariants.
    ///
    /// # Errors
    ///
    /// The sentence that is not true.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| {
            if holds { Ok(()) } else { Err(format!("not true that {sentence}: {self:?}")) }
        };
        let first = self.segments.first().map(Segment::base);
        check(first.is_some(), "there is a segment")?;
        check(self.log_start >= Offset::ZERO, "the log start is an offset")?;
        check(first <= Some(self.log_start), "the first segment begins at or before log start")?;
        check(self.log_start <= self.log_end, "log start <= log end")?;
        check(self.flushed() <= self.log_end, "flushed <= log end")?;
        let stable = self.last_stable(self.log_end);
        check(stable <= self.log_end, "last stable offset <= log end")?;
        check(self.producers.end() == self.log_end, "producer state ends where the log ends")?;
        let ascends = self.segments.windows(2).all(|pair| pair[0].base() < pair[1].base());
        check(ascends, "segments ascend")?;
        let active = self.segments.last().map(Segment::base);
        check(active <= Some(self.log_end), "the active segment begins at or before log end")?;
        let last_epoch = self.epochs.entries().last().map(|entry| entry.start);
        check(last_epoch <= Some(self.log_end), "epochs begin at or before log end")
    }

    fn check_step(&self) {
        if cfg!(debug_assertions)
            && let Err(sentence) = self.validate()
        {
            // Our own fault, and in debug builds only: an invariant that callers rely on.
            unreachable!("{sentence}");
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.dir.join(name)
    }

    /// The index of the segment that contains `offset`, or of the first one.
    fn segment_index(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }

    /// The offset after the last of a segment, at the most: where the next one begins.
    fn segment_end(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.log_end, Segment::base)
    }

    fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Refuses what changes a log that must not be changed.
    fn writable(&self) -> Result<(), LogError> {
        match &self.health {
            LogHealth::Healthy => Ok(()),
            LogHealth::Damaged(damage) => Err(LogError::Damaged(damage.clone())),
            LogHealth::Offline(reason) => Err(LogError::Offline {
                dir: self.folder.dir.to_path_buf(),
                reason: Arc::clone(reason),
            }),
        }
    }

    /// From now on nothing is written.
    fn go_offline(&mut self, reason: String) {
        if !matches!(self.health, LogHealth::Offline(_)) {
            tracing::error!(dir = %self.folder.dir.display(), %reason, "the log is offline");
            self.health = LogHealth::Offline(reason.into());
        }
        // What was appended and not synced is not to be served any more.
        self.tail.clear();
    }
}
