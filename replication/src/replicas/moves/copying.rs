//! The copy of a replica, a step at a time, and its taking the place of the first.
//!
//! Owns: what is copied next, what is left of a copy after a crash, the order of renames. Never: the
//! rate. Invariants: only committed batches are copied before the end; the copy is durable, with
//! every record, before the first log's folder changes its name, and that name is durable before
//! the copy's changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, Now, Offset, TopicPartition, Uuid};
use ottla_protocol::records::{BatchBuilder, Compression};
use ottla_storage::log_dir::{FolderName, FolderStage};
use ottla_storage::{
    AppendError, CleanupPolicy, LogError, LogRead, MinOneBatch, OpenContext, PartitionLog,
    ReadError, Shutdown,
};

use super::{Move, Replicas};
use crate::partition::relocation::{RelocateError, Replacement};
use crate::partition::{Isolation, Partition, PartitionError, ReadPlan};
use crate::raft::journal::JournalError;
use crate::raft::{GroupId, succession};
use crate::replicas::Placed;
use crate::replicas::directories::Directory;

/// How much is read at once while appends wait.
const STEP_BYTES: u32 = 4 << 20;

/// What a step came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveStep {
    /// This much was copied, and there is more.
    Copied(u64),
    /// Little is left of a replica that belongs to a group: [`Replicas::finish_group_move`] does it, once the
    /// group has stopped here.
    Ready,
    /// The replica is in this directory now.
    Moved { topic_id: Uuid, directory: Uuid },
    /// The move ended without success, or there is none.
    Ended,
}

#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error(transparent)]
    Source(#[from] PartitionError),
    #[error("the copy: {0}")]
    Copy(#[from] LogError),
    #[error("the copy: {0}")]
    Append(#[from] AppendError),
    #[error("what is copied cannot be read: {0}")]
    Read(std::io::Error),
    #[error("the journal: {0}")]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Relocate(#[from] RelocateError),
}

impl Replicas {
    /// Copies some more of a moving replica, about `most` bytes, or finishes the move where less than
    /// half of that is left: what remains then is copied while appends wait.
    pub fn advance_move(&self, name: &TopicPartition, most: u32, now: Now) -> MoveStep {
        let Some(it) = self.moves.running.lock().get(name).cloned() else {
            return MoveStep::Ended;
        };
        let mut slot = it.log.lock();
        if it.cancelled.load(Ordering::Acquire) {
            return MoveStep::Ended;
        }
        let step = self.step(&it, &mut slot, most, now);
        if let Some(log) = &*slot {
            it.end.store(log.log_end().get(), Ordering::Release);
            it.bytes.store(log.size_bytes(), Ordering::Release);
        }
        self.settled_step(&it, &mut slot, step)
    }

    /// Copies the rest of a replica whose group has stopped here, and puts the copy, with what the journal
    /// knows of the replica, in its place. Where it does not, the group goes on where it was.
    pub fn finish_group_move(&self, name: &TopicPartition, now: Now) -> MoveStep {
        let Some(it) = self.moves.running.lock().get(name).cloned() else {
            return MoveStep::Ended;
        };
        let mut slot = it.log.lock();
        if it.cancelled.load(Ordering::Acquire) || !it.to.is_online() {
            return MoveStep::Ended;
        }
        let step = self.finish(&it, &mut slot, now);
        self.settled_step(&it, &mut slot, step)
    }

    fn settled_step(
        &self,
        it: &Arc<Move>,
        slot: &mut Option<PartitionLog>,
        step: Result<MoveStep, MoveError>,
    ) -> MoveStep {
        let name = it.partition.name();
        match step {
            Ok(step @ (MoveStep::Copied(_) | MoveStep::Ready)) => step,
            Ok(step) => {
                self.moves.running.lock().remove(name);
                step
            }
            Err(error) => {
                tracing::error!(partition = %name, %error,
                    to = %it.to.log_dir().path().display(), "a replica does not move");
                self.moves.running.lock().remove(name);
                slot.take();
                self.blame(it, &error);
                MoveStep::Ended
            }
        }
    }

    /// A failing disk of the copy is reported. What was copied stays for the next start where that
    /// helps, and goes where it cannot.
    fn blame(&self, it: &Move, error: &MoveError) {
        match error {
            MoveError::Copy(log)
            | MoveError::Append(AppendError::Log(log))
            | MoveError::Relocate(RelocateError::Kept(log)) => it.to.note(log),
            MoveError::Relocate(RelocateError::HalfWay(_)) => return,
            MoveError::Source(PartitionError::Deleted(_)) => {}
            MoveError::Source(_) | MoveError::Relocate(_) => return,
            MoveError::Append(_) | MoveError::Read(_) | MoveError::Journal(_) => {}
        }
        if it.to.is_online() {
            self.discard_future(&it.to, &it.folder);
        }
    }

    fn step(
        &self,
        it: &Arc<Move>,
        slot: &mut Option<PartitionLog>,
        most: u32,
        now: Now,
    ) -> Result<MoveStep, MoveError> {
        if !it.to.is_online() {
            return Ok(MoveStep::Ended);
        }
        let log = match slot {
            Some(log) => log,
            None => slot.insert(self.open_copy(it, now)?),
        };
        let copied = copy_committed(it, log, most, now)?;
        // Not at the end, when appends wait for it.
        log.flush_now()?;
        if copied >= u64::from(most) / 2 {
            return Ok(MoveStep::Copied(copied));
        }
        if it.partition.is_replicated() {
            return Ok(MoveStep::Ready);
        }
        self.finish(it, slot, now)
    }

    /// Opens the copy, or begins one. What a crash left of it is used as far as it says what the
    /// first log says.
    fn open_copy(&self, it: &Move, now: Now) -> Result<PartitionLog, MoveError> {
        let path = it.path();
        let mut settings = it.partition.inspect(|log, _| log.settings().clone())?;
        // Where the topic was compacted once, there are gaps between batches.
        settings.cleanup = CleanupPolicy::CompactAndDelete;
        let context = OpenContext {
            topic_id: it.partition.topic_id(),
            ..OpenContext::new(now, Arc::clone(&self.resources))
        };
        let open =
            || PartitionLog::open(Arc::clone(&self.fs), path.clone(), settings.clone(), &context);
        let io = |source| LogError::Io { action: "create", path: path.clone(), source };
        self.fs.create_dir_all(&path).map_err(io)?;
        let opened = match open() {
            Ok((log, report)) if report.damage.is_none() && log.is_writable() => Some(log),
            Err(error) if error.is_disk_fault() => return Err(error.into()),
            _ => None,
        };
        if let Some(mut log) = opened
            && agree(it, &mut log, now)?
        {
            if log.passage()?.is_some() {
                // Of an end that a crash prevented.
                log.forget_passage()?;
            }
            self.fs.sync_dir(it.to.log_dir().path()).map_err(io)?;
            return Ok(log);
        }
        self.fs.remove_dir_all(&path).map_err(io)?;
        self.fs.create_dir_all(&path).map_err(io)?;
        let (mut log, _) = open()?;
        start_over(it, &mut log, now)?;
        // The folder's own name has to be there when the first log's changes.
        self.fs.sync_dir(it.to.log_dir().path()).map_err(io)?;
        Ok(log)
    }

    /// Copies the rest while appends wait, and puts the copy in the first log's place.
    fn finish(
        &self,
        it: &Arc<Move>,
        slot: &mut Option<PartitionLog>,
        now: Now,
    ) -> Result<MoveStep, MoveError> {
        let name = it.partition.name().clone();
        let Some(copy) = slot.take() else { return Ok(MoveStep::Ended) };
        let Some(Placed { directory: from, .. }) = self.partitions.read().get(&name).cloned()
        else {
            return Ok(MoveStep::Ended);
        };
        let aside = FolderName { stage: FolderStage::Deleting, ..it.folder.clone() };
        let aside = from.log_dir().path().join(aside.text());
        let passage = self.passage_of(it, &from)?;
        it.partition.relocate(|log| {
            let topic_id = log.topic_id();
            if let Some(passage) = &passage {
                copy.note_passage(passage).map_err(RelocateError::Kept)?;
            }
            complete(copy, log, now).map_err(RelocateError::Kept)?;
            let live = it.to.log_dir().partition_path(&name);
            let rename = |from: &std::path::Path, to: &std::path::Path| {
                let dir = to.parent().unwrap_or(to);
                self.fs.rename(from, to).and_then(|()| self.fs.sync_dir(dir)).map_err(|source| {
                    LogError::Io { action: "rename", path: from.to_path_buf(), source }
                })
            };
            if let Err(error) = rename(log.dir(), &aside) {
                from.note(&error);
                return Err(RelocateError::HalfWay(error));
            }
            rename(&it.path(), &live)
                .and_then(|()| {
                    let context = OpenContext {
                        recovery_point: log.log_end(),
                        log_start: Some(log.log_start()),
                        shutdown: Shutdown::Clean,
                        topic_id,
                        ..OpenContext::new(now, Arc::clone(&self.resources))
                    };
                    let fs = Arc::clone(&self.fs);
                    PartitionLog::open(fs, live.clone(), log.settings().clone(), &context)
                })
                .map(|(log, _)| Replacement { log, home: it.to.home().clone() })
                .map_err(|error| {
                    it.to.note(&error);
                    RelocateError::HalfWay(error)
                })
        })?;
        self.settle_move(it, &name, aside);
        Ok(MoveStep::Moved { topic_id: it.partition.topic_id(), directory: it.to.id() })
    }

    /// What a replica of a group takes along; `None` of one that has no group.
    fn passage_of(&self, it: &Move, from: &Directory) -> Result<Option<Vec<u8>>, MoveError> {
        if !it.partition.is_replicated() {
            return Ok(None);
        }
        let group = group_of(&it.partition);
        let journal = from.journal(&self.fs)?;
        // Each move has an id of its own: that of its folder, and of the directory it comes from.
        let passage = it.folder.unique.unwrap_or_default().as_u128() ^ from.id().as_u128();
        Ok(Some(succession::passage(&journal, group, from.id(), Uuid::from_u128(passage))))
    }

    /// Notes where the replica is now; what was known of its log goes with it.
    fn settle_move(&self, it: &Move, name: &TopicPartition, aside: std::path::PathBuf) {
        let from = {
            let mut partitions = self.partitions.write();
            let Some(placed) = partitions.get_mut(name) else { return };
            std::mem::replace(&mut placed.directory, Arc::clone(&it.to))
        };
        it.to.note_folder(name);
        it.to.note_cleaned(name, it.cleaned);
        from.forget_folder(name);
        self.checkpoint_moved(&from, &it.to);
        from.note_removal(aside);
        tracing::info!(partition = %name, from = %from.log_dir().path().display(),
            to = %it.to.log_dir().path().display(), "a replica has moved");
    }
}

/// Whether the copy says what the first log says, up to its end; what it has more is cut.
fn agree(it: &Move, copy: &mut PartitionLog, now: Now) -> Result<bool, MoveError> {
    let span = Span::of(it);
    let (start, end) = it.partition.inspect(|log, _| (span.first(log), log.log_end()))?;
    let empty = copy.log_end() == copy.log_start();
    // After a crash, deleted records may be back.
    if empty || copy.log_end() <= start || copy.log_start() > start {
        return Ok(false);
    }
    // As a follower does after an election (KIP-101): each start of the broker is an epoch.
    let Some(latest) = copy.latest_epoch() else { return Ok(false) };
    let (epoch, epoch_end) = it.partition.inspect(|log, _| log.epoch_end_offset(latest))?;
    if epoch != latest {
        return Ok(false);
    }
    copy.truncate_to(epoch_end.min(end), now)?;
    Ok(copy.log_end() > start)
}

/// Lets an empty copy begin where the first log does.
fn start_over(it: &Move, copy: &mut PartitionLog, now: Now) -> Result<(), MoveError> {
    let span = Span::of(it);
    let start = it.partition.inspect(|log, _| span.first(log))?;
    let first = read(it, start, 1)?.first_offset;
    copy.truncate_fully_and_start_at(first.min(start), now)?;
    Ok(())
}

/// What of a log is copied.
#[derive(Clone, Copy)]
enum Span {
    FromLogStart,
    /// A replica of a group needs what lies below the log's start, too, as far as it is there: its entries
    /// are counted from the purge point, which deleted records may have left behind.
    Stored,
}

impl Span {
    fn of(it: &Move) -> Self {
        if it.partition.is_replicated() { Self::Stored } else { Self::FromLogStart }
    }

    /// Where the copy begins.
    fn first(self, log: &PartitionLog) -> Offset {
        match (self, log.segments().next()) {
            (Self::Stored, Some((first, _))) => first.min(log.log_start()),
            _ => log.log_start(),
        }
    }
}

/// Committed batches from an offset on.
fn read(it: &Move, from: Offset, bytes_max: u32) -> Result<LogRead, PartitionError> {
    if it.partition.is_replicated() {
        let stored = it.partition.inspect(|log, marks| {
            log.read_stored(from, bytes_max, marks.high_watermark, MinOneBatch::Yes)
        })?;
        return Ok(stored?);
    }
    let isolation = Isolation::ReadUncommitted;
    let plan = ReadPlan { from, bytes_max, isolation, min_one: MinOneBatch::Yes };
    Ok(it.partition.read(plan)?.read)
}

fn group_of(partition: &Partition) -> GroupId {
    GroupId { topic: partition.topic_id(), partition: partition.name().partition }
}

/// Copies committed batches. Gives how many bytes.
fn copy_committed(
    it: &Move,
    copy: &mut PartitionLog,
    most: u32,
    now: Now,
) -> Result<u64, MoveError> {
    let most = most.min(copy.settings().segment_bytes);
    let read = match read(it, copy.log_end(), most) {
        Ok(found) => found,
        Err(PartitionError::Read(ReadError::OutOfRange { .. })) => {
            // Retention, or DeleteRecords, was faster.
            start_over(it, copy, now)?;
            let span = Span::of(it);
            let first = it.partition.inspect(|log, _| span.first(log))?;
            read(it, copy.log_end().max(first), most)?
        }
        Err(error) => return Err(error.into()),
    };
    if read.is_empty() {
        return Ok(0);
    }
    let bytes = read.to_bytes().map_err(MoveError::Read)?;
    append(copy, read.first_offset, &bytes, now)?;
    Ok(u64::from(read.bytes))
}

fn append(
    copy: &mut PartitionLog,
    first: Offset,
    bytes: &Bytes,
    now: Now,
) -> Result<(), MoveError> {
    if first < copy.log_end() && copy.log_end() == copy.log_start() {
        // The log start lies within a batch.
        copy.truncate_fully_and_start_at(first, now)?;
    }
    copy.append_as_follower(bytes, now)?;
    Ok(())
}

/// Gives the copy all that it lacks, and closes it so that it opens without being examined.
fn complete(mut copy: PartitionLog, log: &PartitionLog, now: Now) -> Result<(), LogError> {
    let io = |source| LogError::Io { action: "copy", path: log.dir().to_path_buf(), source };
    let other = |error: String| io(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
    let most = STEP_BYTES.min(log.settings().segment_bytes);
    loop {
        let first = log.segments().next().map_or_else(|| log.log_start(), |(first, _)| first);
        let from = copy.log_end().max(first.min(log.log_start()));
        let read = match log.read_stored(from, most, log.log_end(), MinOneBatch::Yes) {
            Ok(read) => read,
            Err(ReadError::Log(error)) => return Err(error),
            Err(error) => return Err(other(error.to_string())),
        };
        if read.is_empty() {
            break;
        }
        let bytes = read.to_bytes().map_err(io)?;
        match append(&mut copy, read.first_offset, &bytes, now) {
            Ok(()) => {}
            Err(MoveError::Copy(error) | MoveError::Append(AppendError::Log(error))) => {
                return Err(error);
            }
            Err(error) => return Err(other(error.to_string())),
        }
    }
    if copy.log_end() < log.log_end() {
        // What stood there was compacted away; as Kafka's cleaner, an empty batch keeps the offsets.
        let bytes = empty_batch(&copy, log).map_err(&other)?;
        match copy.append_as_follower(&bytes, now) {
            Ok(_) => {}
            Err(AppendError::Log(error)) => return Err(error),
            Err(error) => return Err(other(error.to_string())),
        }
    }
    copy.advance_log_start(log.log_start()).map_err(|error| other(error.to_string()))?;
    if let Some(latest) = log.latest_epoch()
        && copy.latest_epoch() != Some(latest)
    {
        copy.assign_epoch(latest, log.log_end());
    }
    copy.close_clean(now)
}

/// A batch without records from the copy's end up to the log's.
fn empty_batch(copy: &PartitionLog, log: &PartitionLog) -> Result<Bytes, String> {
    let from = copy.log_end();
    let last = i32::try_from(log.log_end().since(from) - 1).map_err(|error| error.to_string())?;
    let epoch = copy.latest_epoch().or_else(|| log.latest_epoch()).unwrap_or(LeaderEpoch::ZERO);
    let mut builder =
        BatchBuilder::new(Compression::NONE).with_base_offset(from).with_leader_epoch(epoch);
    builder.set_last_offset_delta(last);
    builder.build().map_err(|error| error.to_string())
}
