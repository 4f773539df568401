//! The log below an offset, as it is given to a replica that lacks it, and as it comes in there.
//!
//! Owns: what such a replica needs (batches, producers, epochs), the folder in which it gathers, the
//! exchange of the folders. Never: transport, or when a replica is given a log.
//!
//! Batches travel as they stand in the segments; the receiver checks each and makes indexes of its own.
//! Producers and epochs travel beside them: of a compacted log the batches alone do not tell them.
//!
//! # The exchange
//!
//! ```text
//!   topic-0.<id>-future complete, synced ─> topic-0 becomes topic-0.<id>-delete, synced
//!     ─> topic-0.<id>-future becomes topic-0, synced
//!   crash before the first rename: the old log      behind it: a start finishes the exchange
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_protocol::model::{LeaderEpoch, Now, Offset};
use ottla_protocol::records::{BatchBuilder, BatchHeader, Compression, HEADER};
use thiserror::Error;

use super::open::{OpenContext, Shutdown};
use super::{LogHealth, LogResources, PartitionLog};
use crate::error::{AppendError, LogError};
use crate::fs::{File, FileSystem};
use crate::leader_epoch::LeaderEpochCache;
use crate::log_dir::is_disk_fault;
use crate::producer_state::ProducerState;
use crate::producer_state::snapshot::{self, Expiry};
use crate::settings::CleanupPolicy;

/// What the receiver of a log may have to keep in memory of it.
const SIDE_BYTES_MAX: u32 = 256 << 20;
/// No batch is longer: Kafka's default for a whole request is 100 MiB.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// A file of the receiver's choice in the folder of a log that came in.
const MARK: &str = "shipped-log";
/// Beside a log that moved to another directory with what its replica remembers.
const PASSAGE: &str = "moved-replica";
const MARK_BYTES_MAX: u64 = 1 << 20;
const PASSAGE_BYTES_MAX: u64 = 64 << 20;
/// How much of an incoming log waits to be synced at most.
const FLUSH_BYTES: u64 = 8 << 20;

/// What is told of a shipment before its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Where the first segment begins; [`Self::next`] where there is none.
    pub first: Offset,
    pub log_start: Offset,
    /// The log goes on here.
    pub next: Offset,
    pub producer_bytes: u32,
    pub epoch_bytes: u32,
    /// Of batches.
    pub log_bytes: u64,
}

/// A log below an offset. Its files stay readable, whatever becomes of the log.
#[derive(Clone, Debug)]
pub struct Shipment {
    manifest: Manifest,
    /// Producers, then epochs.
    side: Bytes,
    parts: Vec<Part>,
}

/// The beginning of a segment's file, which nobody changes any more.
#[derive(Clone, Debug)]
struct Part {
    file: Arc<dyn File>,
    bytes: u64,
}

impl Shipment {
    #[must_use]
    pub const fn manifest(&self) -> Manifest {
        self.manifest
    }

    /// The length of the stream that [`Self::read`] reads.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.side.len() as u64 + self.parts.iter().map(|part| part.bytes).sum::<u64>()
    }

    /// At most `bytes_max` bytes from position `at` on; none at the end only.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, at: u64, bytes_max: usize) -> io::Result<Bytes> {
        let side = self.side.len() as u64;
        if at < side {
            let from = usize::try_from(at).unwrap_or(usize::MAX);
            let to = from.saturating_add(bytes_max).min(self.side.len());
            return Ok(self.side.slice(from..to));
        }
        let mut at = at - side;
        for part in &self.parts {
            if at >= part.bytes {
                at -= part.bytes;
                continue;
            }
            let len = usize::try_from(part.bytes - at).unwrap_or(usize::MAX).min(bytes_max);
            let mut bytes = vec![0; len];
            part.file.read_exact_at(&mut bytes, at)?;
            return Ok(bytes.into());
        }
        Ok(Bytes::new())
    }
}

/// Why a log that comes in is not taken.
#[derive(Debug, Error)]
pub enum ShipError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("what comes in is no log: {0}")]
    Invalid(String),
}

/// Why a log was not exchanged.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The log is as it was.
    #[error(transparent)]
    Kept(LogError),
    /// The log is offline until it is opened again, which finds the other one.
    #[error("half way: {0}")]
    HalfWay(LogError),
}

/// The folder of a log that was exchanged; a start removes it, too.
#[derive(Debug)]
#[must_use]
pub struct Aside {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
}

impl Aside {
    /// Removes it. Readers that have its files open go on reading.
    pub fn remove(self) {
        if let Err(error) = self.fs.remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "left for the next start to remove");
        }
    }
}

/// A log that is gathering in a folder of its own, which is removed if nothing comes of it.
#[derive(Debug)]
pub struct IncomingLog {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    log: Option<PartitionLog>,
    manifest: Manifest,
    side: BytesMut,
    /// The beginning of a batch.
    rest: BytesMut,
    unflushed: u64,
    /// Bytes of batches.
    taken: u64,
    complete: bool,
}

impl PartitionLog {
    /// What a replica needs in order to go on at `next`: an offset between two batches, at most the
    /// log's end. Cheap where a segment begins there.
    ///
    /// # Errors
    /// The files cannot be read, or the log does not reach that far.
    pub fn shipment(&self, next: Offset) -> Result<Shipment, LogError> {
        self.writable()?;
        if next > self.log_end {
            let text = format!("the log ends at {}, before {next}", self.log_end);
            return Err(LogError::io("ship", &self.folder.dir)(io::Error::other(text)));
        }
        let mut parts = Vec::new();
        let mut first = next;
        for (index, segment) in self.segments.iter().enumerate() {
            let end = self.segment_end(index);
            if segment.base() >= next || end <= self.log_start || self.log_start >= next {
                continue;
            }
            let bytes = match end <= next {
                true => segment.size(),
                false => segment
                    .locate(&self.folder, next)?
                    .map_or_else(|| segment.size(), |frame| frame.position),
            };
            let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
            first = first.min(segment.base());
            parts.push(Part { file, bytes });
        }
        let producers = snapshot::encode(&self.producers_below(next)?);
        let mut epochs = self.epochs.clone();
        epochs.truncate_from_end(next);
        let epochs = epochs.to_text().into_bytes();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let manifest = Manifest {
            first,
            log_start: self.log_start,
            next,
            producer_bytes: length(&producers),
            epoch_bytes: length(&epochs),
            log_bytes: parts.iter().map(|part| part.bytes).sum(),
        };
        Ok(Shipment { manifest, side: [producers, epochs].concat().into(), parts })
    }

    /// Producer state as of `offset`, at which a batch begins.
    fn producers_below(&self, offset: Offset) -> Result<ProducerState, LogError> {
        let (mut state, at, _) = self.load_snapshot(offset, Expiry::Never)?;
        for index in self.segment_index(at)..=self.segment_index(offset) {
            let from = at.max(self.segments[index].base());
            if from < offset {
                self.replay_below(index, from, offset, &mut state)?;
            }
        }
        state.set_end(offset);
        Ok(state)
    }

    /// Begins to take in a log in the folder `dir`; what is in that is removed. This log stays as it
    /// is.
    ///
    /// # Errors
    /// The folder cannot be written, or the manifest makes no sense.
    pub fn incoming(
        &self,
        dir: PathBuf,
        manifest: Manifest,
        now: Now,
    ) -> Result<IncomingLog, ShipError> {
        let Manifest { first, log_start, next, producer_bytes, epoch_bytes, .. } = manifest;
        if first < Offset::ZERO || first > next || log_start < Offset::ZERO {
            return Err(ShipError::Invalid(format!("it goes from {first} to {next}")));
        }
        if producer_bytes > SIDE_BYTES_MAX || epoch_bytes > SIDE_BYTES_MAX {
            return Err(ShipError::Invalid(format!("{producer_bytes} bytes of producers")));
        }
        let fs = Arc::clone(&self.folder.fs);
        match fs.remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &dir)(error).into());
            }
            _ => {}
        }
        fs.create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        let mut incoming = IncomingLog {
            fs: Arc::clone(&fs),
            dir: dir.clone(),
            log: None,
            manifest,
            side: BytesMut::new(),
            rest: BytesMut::new(),
            unflushed: 0,
            taken: 0,
            complete: false,
        };
        let mut settings = self.settings.clone();
        // Where the topic was compacted once, there are gaps between batches.
        settings.cleanup = CleanupPolicy::CompactAndDelete;
        let context = OpenContext {
            topic_id: self.topic_id,
            ..OpenContext::new(now, Arc::clone(&self.resources()))
        };
        let (mut log, _) = Self::open(fs, dir, settings, &context)?;
        log.truncate_fully_and_start_at(first, now)?;
        incoming.log = Some(log);
        Ok(incoming)
    }

    fn resources(&self) -> Arc<LogResources> {
        let handles = Arc::clone(&self.folder.handles);
        Arc::new(LogResources { handles, tail: Arc::clone(self.tail.budget()) })
    }

    /// Puts a complete log in the place of this one, whose folder becomes `aside`; both are beside each
    /// other. Durable on return.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn exchange(
        &mut self,
        mut incoming: IncomingLog,
        aside: &Path,
        now: Now,
    ) -> Result<Aside, ExchangeError> {
        if let LogHealth::Offline(_) = self.health {
            self.writable().map_err(ExchangeError::Kept)?;
        }
        let live = self.folder.dir.to_path_buf();
        let (Some(mut log), true) = (incoming.log.take(), incoming.complete) else {
            let error = io::Error::other("it is not complete");
            return Err(ExchangeError::Kept(LogError::io("take in", &live)(error)));
        };
        let (end, promised) = (log.log_end, self.durability.promised());
        if promised > end {
            // A recovery point that was given out says too much of the log that takes this one's place.
            let base = log.active().base();
            let folder = log.folder.clone();
            log.seals
                .void(&folder, &[base], end, promised)
                .map_err(|error| ExchangeError::Kept(LogError::io("write", &folder.dir)(error)))?;
        }
        log.segments.iter_mut().for_each(|segment| segment.forget_handles(&log.folder));
        let root = live.parent().unwrap_or(&live).to_path_buf();
        let fs = Arc::clone(&self.folder.fs);
        let half_way = |log: &mut Self, error: LogError| {
            log.go_offline(format!("its files could not be exchanged: {error}"));
            ExchangeError::HalfWay(error)
        };
        let moved = match fs.rename(&live, aside) {
            // Nothing has happened.
            Err(error) if !is_disk_fault(&error) => {
                return Err(ExchangeError::Kept(LogError::io("rename", &live)(error)));
            }
            moved => moved.and_then(|()| fs.sync_dir(&root)),
        };
        // From here on it is the next start's to keep or to remove.
        let coming = std::mem::take(&mut incoming.dir);
        moved.map_err(|error| half_way(self, LogError::io("rename", &live)(error)))?;
        let renamed = fs.rename(&coming, &live).and_then(|()| fs.sync_dir(&root));
        let reopened = renamed.map_err(LogError::io("rename", &coming)).and_then(|()| {
            let context = OpenContext {
                recovery_point: end,
                log_start: Some(log.log_start),
                shutdown: Shutdown::Clean,
                topic_id: self.topic_id,
                ..OpenContext::new(now, self.resources())
            };
            Self::open(Arc::clone(&fs), live.clone(), self.settings.clone(), &context)
        });
        let (fresh, _) = reopened.map_err(|error| half_way(self, error))?;
        for segment in &mut self.segments {
            segment.forget_handles(&self.folder);
        }
        let truncations = self.truncations;
        *self = fresh;
        if promised > end {
            self.durability.promise(promised);
            self.seals.note_cut(end, promised);
        }
        // A cleaning that is under way is void.
        self.truncations = truncations + 1;
        self.check_step();
        Ok(Aside { fs, dir: aside.to_path_buf() })
    }

    /// What [`IncomingLog::finish`] was given, where this log came in and nobody has called
    /// [`Self::forget_mark`] since.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn mark(&self) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.path_of(MARK);
        self.folder.read_small(&path, MARK_BYTES_MAX).map_err(LogError::io("read", &path))
    }

    /// Removes the mark; after a crash it may be back.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_mark(&self) -> Result<(), LogError> {
        let path = self.path_of(MARK);
        self.folder.remove(&path).map_err(LogError::io("remove", &path))
    }

    /// Puts down what travels with this log to another directory. Durable on return.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_passage(&self, what: &[u8]) -> Result<(), LogError> {
        let path = self.path_of(PASSAGE);
        let written = self.folder.write_small(&path, what).and_then(|file| file.sync_data());
        written.map_err(LogError::io("write", &path))?;
        self.folder.fs.sync_dir(self.dir()).map_err(LogError::io("sync", self.dir()))
    }

    /// What [`Self::note_passage`] was given, until [`Self::forget_passage`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn passage(&self) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.path_of(PASSAGE);
        self.folder.read_small(&path, PASSAGE_BYTES_MAX).map_err(LogError::io("read", &path))
    }

    /// Removes it. Durable on return: what it says is of a moment that passes.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_passage(&self) -> Result<(), LogError> {
        let path = self.path_of(PASSAGE);
        let removed = self.folder.remove(&path).and_then(|()| self.folder.fs.sync_dir(self.dir()));
        removed.map_err(LogError::io("remove", &path))
    }
}

impl IncomingLog {
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub const fn manifest(&self) -> Manifest {
        self.manifest
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The disk's, or the bytes are not those of a log.
    pub fn write(&mut self, mut bytes: Bytes, now: Now) -> Result<(), ShipError> {
        let Manifest { producer_bytes, epoch_bytes, .. } = self.manifest;
        let side = producer_bytes as usize + epoch_bytes as usize;
        let missing = side.saturating_sub(self.side.len()).min(bytes.len());
        self.side.extend_from_slice(&bytes.split_to(missing));
        if bytes.is_empty() {
            return Ok(());
        }
        let whole = if self.rest.is_empty() { bytes } else { self.joined(&bytes) };
        let end = whole_batches(&whole, self.manifest.log_bytes - self.taken)?;
        self.rest = BytesMut::from(&whole[end..]);
        self.append(whole.slice(..end), now)
    }

    fn joined(&mut self, bytes: &Bytes) -> Bytes {
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        whole.freeze()
    }

    fn append(&mut self, mut batches: Bytes, now: Now) -> Result<(), ShipError> {
        let Some(log) = &mut self.log else {
            return Err(ShipError::Invalid("it goes on behind its end".to_owned()));
        };
        // One by one, so that segments are as long as they should be.
        while !batches.is_empty() {
            let size = frame_len(&batches).unwrap_or(batches.len()).min(batches.len());
            log.append_as_follower(&batches.split_to(size), now)?;
            self.unflushed += size as u64;
            self.taken += size as u64;
        }
        if log.log_end > self.manifest.next {
            return Err(ShipError::Invalid(format!("it goes on to {}", log.log_end)));
        }
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            log.flush_now()?;
            log.shed_tail();
        }
        Ok(())
    }

    /// All has come: makes it durable, with `mark` beside it.
    ///
    /// # Errors
    /// The disk's, or what came is not what was announced.
    pub fn finish(&mut self, mark: &[u8], now: Now) -> Result<(), ShipError> {
        let Manifest { first, log_start, next, producer_bytes, epoch_bytes, log_bytes } =
            self.manifest;
        let Some(log) = &mut self.log else {
            return Err(ShipError::Invalid("it was ended twice".to_owned()));
        };
        let invalid = |text: &str| ShipError::Invalid(text.to_owned());
        let side = producer_bytes as usize + epoch_bytes as usize;
        if self.side.len() != side || !self.rest.is_empty() || self.taken != log_bytes {
            return Err(invalid("its bytes are fewer or more than was announced"));
        }
        let producers = self.side.split_to(producer_bytes as usize);
        let producers = snapshot::decode(&producers, next, Expiry::Never)
            .map_err(|error| ShipError::Invalid(error.to_string()))?;
        let epochs =
            std::str::from_utf8(&self.side).map_err(|_| invalid("its epochs are no text"))?;
        let epochs = LeaderEpochCache::parse(epochs)
            .map_err(|error| ShipError::Invalid(error.to_string()))?;
        if epochs.entries().last().is_some_and(|last| last.start > next) {
            return Err(invalid("its last epoch begins behind its end"));
        }
        // No checksum covers the epoch of a batch.
        let strange = log.epochs.entries().iter().find(|found| {
            found.start >= log_start && epochs.epoch_at(found.start) != Some(found.epoch)
        });
        if let Some(found) = strange {
            let (epoch, start) = (found.epoch, found.start);
            return Err(ShipError::Invalid(format!("a batch of epoch {epoch} at {start}")));
        }
        if log.log_end < next && first < next {
            // What stood there was compacted away; as Kafka's cleaner, an empty batch keeps the offsets.
            let bytes = empty_batch(log.log_end, next, epochs.latest())
                .map_err(|error| ShipError::Invalid(error.to_string()))?;
            log.append_as_follower(&bytes, now)?;
        }
        log.change_epochs(Offset::ZERO, |known| {
            *known = epochs;
            true
        });
        log.producers = producers;
        let start = log_start.min(next).max(log.log_start);
        log.advance_log_start(start).map_err(|error| ShipError::Invalid(error.to_string()))?;
        // What came in is closed, so that it can be compacted.
        log.roll(now)?;
        let path = log.path_of(MARK);
        let mark = log.folder.write_small(&path, mark).map_err(LogError::io("write", &path))?;
        log.durability.file(mark);
        log.close_clean(now)?;
        let root = self.dir.parent().unwrap_or(&self.dir);
        self.fs.sync_dir(root).map_err(LogError::io("sync", root))?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for IncomingLog {
    fn drop(&mut self) {
        if let Some(log) = &mut self.log {
            log.segments.iter_mut().for_each(|segment| segment.forget_handles(&log.folder));
        }
        if self.dir.as_os_str().is_empty() {
            return;
        }
        match self.fs.remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(dir = %self.dir.display(), %error, "left for the next start to remove");
            }
            _ => {}
        }
    }
}

/// A batch without records from `from` up to `to`.
fn empty_batch(
    from: Offset,
    to: Offset,
    epoch: Option<LeaderEpoch>,
) -> Result<Bytes, Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new(Compression::NONE)
        .with_base_offset(from)
        .with_leader_epoch(epoch.unwrap_or(LeaderEpoch::ZERO));
    builder.set_last_offset_delta(i32::try_from(to.since(from) - 1)?);
    Ok(builder.build()?)
}

/// The length of the batch at the beginning, if that much of it is there.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let header = BatchHeader::parse(bytes.get(..HEADER)?).ok()?;
    Some(header.size())
}

/// How many bytes of `bytes` are whole batches, where `left` bytes are to come, with these. No checksum
/// covers the length of a batch: what cannot be is not waited for.
fn whole_batches(bytes: &[u8], left: u64) -> Result<usize, ShipError> {
    let mut end = 0;
    while let Some(head) = bytes.get(end..).and_then(|rest| rest.get(..HEADER)) {
        let header =
            BatchHeader::parse(head).map_err(|error| ShipError::Invalid(error.to_string()))?;
        let (size, left) = (header.size(), left.saturating_sub(end as u64));
        if size as u64 > left || size > BATCH_BYTES_MAX {
            return Err(ShipError::Invalid(format!("a batch of {size} of the last {left} bytes")));
        }
        let after = end.saturating_add(size);
        if after > bytes.len() {
            break;
        }
        end = after;
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
