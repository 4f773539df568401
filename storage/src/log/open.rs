//! Creating a log and opening one that is there.
//!
//! Owns: the order of opening: tidy the folder, find the end, then everything derived from it.
//! Never: reads what the recovery point vouches for: opening costs the same for a megabyte and a
//! terabyte.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::model::{Now, Offset, Uuid};

use super::durability::Durability;
use super::orphans::{self, Listing};
use super::recovery::{Lost, RecoveryReport};
use super::seals::SealFile;
use super::{LogHealth, LogResources, PartitionLog};
use crate::error::LogError;
use crate::file_name::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::fs::FileSystem;
use crate::handles::{CacheTrust, Folder};
use crate::leader_epoch::LeaderEpochCache;
use crate::partition_metadata;
use crate::producer_state::ProducerState;
use crate::seal::Seals;
use crate::segment::Segment;
use crate::settings::LogSettings;
use crate::tail_cache::TailCache;

/// How the process that had the log before ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Through [`PartitionLog::close_clean`] (or Kafka's `.kafka_cleanshutdown`): all is synced.
    Clean,
    /// In any other way: what lies past the recovery point is examined.
    Unclean,
}

/// What happens to a bad place past the recovery point that is followed by good batches. It may be
/// damage in what was acknowledged, or blocks that a power cut kept from a batch that never was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AfterRecoveryPoint {
    /// Nothing is cut: the log opens as damaged, readable up to the place.
    #[default]
    Report,
    /// The log is cut there, and the report says so; what is cut is kept in a file of its own. For
    /// those who know better: an operator, a replica that gets the records from others, or a start
    /// after a power cut, which keeps unsynced blocks in any order.
    Cut,
}

/// What opening needs to know besides the files.
#[derive(Clone, Debug)]
pub struct OpenContext {
    pub now: Now,
    /// From `recovery-point-offset-checkpoint`; zero when unknown.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`.
    pub log_start: Option<Offset>,
    pub shutdown: Shutdown,
    /// Nil when unknown: then whatever the folder says is taken.
    pub topic_id: Uuid,
    pub after_recovery_point: AfterRecoveryPoint,
    pub resources: Arc<LogResources>,
}

impl OpenContext {
    /// For a log about which nothing is known: it is examined from its beginning.
    #[must_use]
    pub fn new(now: Now, resources: Arc<LogResources>) -> Self {
        Self {
            now,
            recovery_point: Offset::ZERO,
            log_start: None,
            shutdown: Shutdown::Unclean,
            topic_id: Uuid::nil(),
            after_recovery_point: AfterRecoveryPoint::Report,
            resources,
        }
    }
}

impl PartitionLog {
    /// Creates the log of a new partition. Nothing is durable before the first flush.
    ///
    /// # Errors
    ///
    /// There is a log in the folder already, or it cannot be written.
    pub fn create(
        fs: Arc<dyn FileSystem>,
        dir: PathBuf,
        settings: LogSettings,
        ctx: &OpenContext,
    ) -> Result<Self, LogError> {
        fs.create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        let entries = fs.list(&dir).map_err(LogError::io("list", &dir))?;
        if entries.iter().any(|entry| entry.name.ends_with(".log")) {
            let exists = std::io::ErrorKind::AlreadyExists.into();
            return Err(LogError::io("create a log in", &dir)(exists));
        }
        let (mut log, _) = Self::open(fs, dir, settings, ctx)?;
        if let Some(parent) = log.folder.dir.parent() {
            log.durability.dir(parent.to_path_buf());
        }
        Ok(log)
    }

    /// Opens the log in a folder, ours or Kafka's; an empty folder becomes an empty log.
    /// Damage does not fail the opening: the report and [`health`](Self::health) tell of it.
    /// After an unclean shutdown the log may need a flush before all of it is durable.
    ///
    /// # Errors
    ///
    /// The files cannot be read or written, or belong to another topic.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        dir: PathBuf,
        settings: LogSettings,
        ctx: &OpenContext,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let handles = Arc::clone(&ctx.resources.handles);
        let cache = match ctx.shutdown {
            Shutdown::Clean => CacheTrust::Trusted,
            Shutdown::Unclean => CacheTrust::Doubtful,
        };
        let folder = Folder { cache, fs, dir: dir.into(), handles };
        let mut report = RecoveryReport::default();
        let (mut seal_file, seals) =
            SealFile::load(&folder).map_err(LogError::io("read the seals of", &folder.dir))?;
        // A recovery point that was given out before the log was cut says too much.
        let recovery_point = seals.cut.map_or(ctx.recovery_point, |cut| {
            seal_file.note_cut(cut, ctx.recovery_point);
            cut.min(ctx.recovery_point)
        });
        let vouched = match ctx.shutdown {
            Shutdown::Clean => Offset(i64::MAX),
            Shutdown::Unclean => recovery_point,
        };
        let listing = orphans::tidy(&folder, vouched, &mut report)?;
        let (segments, created) = load_segments(&folder, &listing, &seals, ctx)?;
        let mut log = Self {
            settings,
            topic_id: Uuid::nil(),
            segments,
            stranded: Vec::new(),
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            epochs: LeaderEpochCache::default(),
            producers: ProducerState::default(),
            snapshots: listing.snapshots,
            tail: TailCache::new(Arc::clone(&ctx.resources.tail)),
            durability: Durability::new(Offset::ZERO),
            seals: seal_file,
            doomed: Vec::new(),
            truncations: 0,
            health: LogHealth::Healthy,
            folder,
        };
        log.check_topic_id(ctx.topic_id)?;
        let epochs_lost = log.load_epochs(&seals, recovery_point)?;
        log.durability.promise(ctx.recovery_point);
        let ctx = &OpenContext { recovery_point, ..ctx.clone() };
        log.find_end(ctx, &seals, &mut report)?;
        log.settle_start(ctx)?;
        if epochs_lost == Lost::Yes || log.epochs_begin_late() {
            log.rebuild_epochs(&mut report)?;
        }
        log.load_producers(ctx, &mut report)?;
        log.settle_epochs();
        // What a process before this one created or renamed it may not have synced.
        if created || report.changed_names() || ctx.shutdown == Shutdown::Unclean {
            let dir = log.folder.dir.to_path_buf();
            log.durability.dir(dir);
        }
        report.segments = log.segments.len();
        log.check_step();
        Ok((log, report))
    }

    /// Compares the folder's topic id with the expected one, and writes it where there is none.
    fn check_topic_id(&mut self, expected: Uuid) -> Result<(), LogError> {
        let path = self.path_of(PARTITION_METADATA);
        let bytes = self.folder.read_small(&path, 4096).map_err(LogError::io("read", &path))?;
        let found = bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| partition_metadata::parse(&text));
        self.topic_id = match found {
            Some(found) if expected.is_nil() || found == expected => found,
            Some(found) => {
                let dir = self.folder.dir.to_path_buf();
                return Err(LogError::TopicId { dir, found, expected });
            }
            None => {
                if !expected.is_nil() {
                    let text = partition_metadata::to_text(expected);
                    let file = self
                        .folder
                        .write_small(&path, text.as_bytes())
                        .map_err(LogError::io("write", &path))?;
                    self.durability.file(file);
                    let dir = self.folder.dir.to_path_buf();
                    self.durability.dir(dir);
                }
                expected
            }
        };
        Ok(())
    }

    /// Reads the epoch checkpoint. Answers whether it was lost.
    fn load_epochs(&mut self, seals: &Seals, recovery_point: Offset) -> Result<Lost, LogError> {
        let path = self.path_of(LEADER_EPOCH_CHECKPOINT);
        let bytes = self.folder.read_small(&path, 64 << 20).map_err(LogError::io("read", &path))?;
        let Some(bytes) = bytes else { return Ok(Lost::Yes) };
        let crc = crc32c::crc32c(&bytes);
        let known = seals.knows_epochs(crc, recovery_point);
        let text = String::from_utf8(bytes).ok().filter(|_| known);
        match text.map(|text| LeaderEpochCache::parse(&text)) {
            Some(Ok(epochs)) => {
                self.epochs = epochs;
                Ok(Lost::No)
            }
            _ => {
                tracing::warn!(file = %path.display(), "damaged; rebuilding it from the log");
                Ok(Lost::Yes)
            }
        }
    }

    /// Whether the log has batches before its first epoch: a segment that retention had let go came
    /// back after a crash, and the epochs did not.
    fn epochs_begin_late(&self) -> bool {
        let first = self.epochs.entries().first().map_or(self.log_end, |entry| entry.start);
        first > self.log_start
    }

    /// Drops epochs that lie outside the log.
    fn settle_epochs(&mut self) {
        let (start, end) = (self.log_start, self.log_end);
        self.change_epochs(start, |epochs| {
            // An epoch that begins at the end was assigned and has no records yet.
            let cut = epochs.truncate_from_end(end.next());
            epochs.truncate_from_start(start) || cut
        });
    }

    /// Where the log starts: as the checkpoint says, not before the first segment.
    fn settle_start(&mut self, ctx: &OpenContext) -> Result<(), LogError> {
        let first = self.segments.first().map_or(Offset::ZERO, Segment::base);
        self.log_start = ctx.log_start.map_or(first, |start| start.max(first));
        if self.log_start > self.log_end && self.health == LogHealth::Healthy {
            // As Kafka: records up to there were deleted, and what was kept is gone, too.
            let start = self.log_start;
            self.log_start = first;
            self.restart_at(start, ctx.now)?;
        }
        self.log_start = self.log_start.min(self.log_end);
        Ok(())
    }
}

/// The segments that the listing has, or a first one. Answers whether one was created.
fn load_segments(
    folder: &Folder,
    listing: &Listing,
    seals: &Seals,
    ctx: &OpenContext,
) -> Result<(Vec<Segment>, bool), LogError> {
    let now = ctx.now.wall;
    if listing.segments.is_empty() {
        let base = ctx.log_start.unwrap_or(Offset::ZERO);
        let segment = Segment::create(folder, base, now)
            .map_err(LogError::io("create a segment in", &folder.dir))?;
        return Ok((vec![segment], true));
    }
    let segments = listing.segments.iter().map(|(base, lengths)| {
        Segment::load(folder, *base, *lengths, seals.by_base.get(base).copied(), now)
    });
    Ok((segments.collect(), false))
}

/// The snapshots of a listing that can be used at or below `end`.
pub(super) fn latest_below(snapshots: &BTreeSet<Offset>, end: Offset) -> Option<Offset> {
    snapshots.range(..=end).next_back().copied()
}
