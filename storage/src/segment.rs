//! One segment: a `.log` file of batches and its indexes.
//!
//! Owns: appending, finding an offset or a timestamp, cutting, rebuilding indexes. Never: producer
//! state, other segments, or when to roll.
//! Invariant: an index answers only where to begin looking. The batch it names is compared with
//! the entry before it is believed, so that a damaged index costs time and changes no answer.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::model::{Offset, Timestamp};
use ottla_protocol::records::BatchHeader;
use parking_lot::Mutex;

use crate::error::LogError;
use crate::file_name::{FileKind, SegmentFileName};
use crate::fs::{File, OpenMode};
use crate::handles::{Folder, HandleKey};
use crate::index::AbortedTxn;
use crate::producer_state::CompletedTxn;
use crate::seal::{MaxTimestamp, Seal};

mod indexes;
mod locate;
pub mod scan;

use indexes::Indexes;
pub(crate) use indexes::{Closed, Trust};
pub(crate) use locate::{Limit, Stretch};
use scan::{BatchScan, Frame};

/// How long the files of a segment were when the folder was listed; `None` where one is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FileLengths {
    pub(crate) log: Option<u64>,
    pub(crate) offset_index: Option<u64>,
    pub(crate) time_index: Option<u64>,
    pub(crate) transaction_index: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    /// Bytes of the `.log` that are batches.
    size: u64,
    key: HandleKey,
    /// Held open while it has bytes that are not synced: another handle might miss the error.
    pinned: Option<Arc<dyn File>>,
    created: Timestamp,
    since_index: u64,
    seal: Option<Seal>,
    indexes: Mutex<Indexes>,
}

impl Segment {
    /// A new, empty segment on disk. The folder is to be synced by the caller.
    pub(crate) fn create(folder: &Folder, base: Offset, now: Timestamp) -> io::Result<Self> {
        let mut segment = Self::over(folder, base, FileLengths::default(), now);
        segment.indexes.get_mut().trust_all(MaxTimestamp::NONE);
        let name = segment.name(FileKind::Log);
        let file = folder.open(segment.key, name, OpenMode::Create)?;
        // A file of this name can only be one that was being removed when the process died.
        file.set_len(0)?;
        segment.pinned = Some(file);
        segment.indexes.get_mut().clear_files(folder)?;
        Ok(segment)
    }

    /// A segment that was found on disk. Nothing is read.
    pub(crate) fn load(
        folder: &Folder,
        base: Offset,
        lengths: FileLengths,
        seal: Option<Seal>,
        now: Timestamp,
    ) -> Self {
        let mut segment = Self::over(folder, base, lengths, now);
        // Anything else is rebuilt before an answer depends on it.
        if let Some(seal) = seal.filter(|seal| seal.log_bytes == segment.size && segment.size > 0) {
            segment.indexes.get_mut().trust_until_checked(&seal);
            segment.seal = Some(seal);
        }
        segment
    }

    fn over(folder: &Folder, base: Offset, lengths: FileLengths, now: Timestamp) -> Self {
        Self {
            base,
            size: lengths.log.unwrap_or(0),
            key: folder.handles.new_key(),
            pinned: None,
            created: now,
            since_index: 0,
            seal: None,
            indexes: Mutex::new(Indexes::over(folder, base, lengths)),
        }
    }

    pub(crate) const fn base(&self) -> Offset {
        self.base
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) const fn created(&self) -> Timestamp {
        self.created
    }

    pub(crate) const fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    pub(crate) const fn name(&self, kind: FileKind) -> SegmentFileName {
        SegmentFileName::live(self.base, kind)
    }

    pub(crate) fn log_path(&self, folder: &Folder) -> PathBuf {
        folder.path(self.name(FileKind::Log))
    }

    pub(crate) fn file(&self, folder: &Folder) -> io::Result<Arc<dyn File>> {
        match &self.pinned {
            Some(file) => Ok(Arc::clone(file)),
            None => folder.open(self.key, self.name(FileKind::Log), OpenMode::ReadWrite),
        }
    }

    pub(crate) fn pinned(&self) -> Option<&Arc<dyn File>> {
        self.pinned.as_ref()
    }

    /// Everything is synced: the file need not stay open.
    pub(crate) fn unpin(&mut self) {
        self.pinned = None;
    }

    /// Writes `parts`, which are `headers`' batches one after the other.
    /// An error of an index is not one of the append: the entries wait in memory.
    ///
    /// # Errors
    ///
    /// The log file could not be written; what was written of it is behind `size` and is to be
    /// cut with [`undo`](Self::undo).
    pub(crate) fn append(
        &mut self,
        folder: &Folder,
        headers: &[BatchHeader],
        parts: &[IoSlice<'_>],
        index_interval: u32,
    ) -> io::Result<()> {
        if self.pinned.is_none() {
            self.pinned = Some(self.file(folder)?);
        }
        let Some(file) = &self.pinned else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all_at(parts, self.size)?;
        self.seal = None;
        for header in headers {
            self.note(folder, header, index_interval);
        }
        Ok(())
    }

    /// Takes a batch into account that stands at the end.
    pub(crate) fn note(&mut self, folder: &Folder, header: &BatchHeader, index_interval: u32) {
        let indexes = self.indexes.get_mut();
        indexes.see(self.base, self.size, header);
        if self.since_index > u64::from(index_interval) {
            if let Err(error) = indexes.push(folder, self.base, self.size, header) {
                tracing::debug!(%error, base = %self.base, "index entries wait to be written");
            }
            self.since_index = 0;
        }
        self.size += header.size() as u64;
        self.since_index += header.size() as u64;
    }

    /// Cuts what a failed write left behind the last whole batch.
    pub(crate) fn undo(&self, folder: &Folder) -> io::Result<()> {
        self.file(folder)?.set_len(self.size)
    }

    /// A walk over the batches from `position` to the end.
    pub(crate) fn scan(&self, folder: &Folder, position: u64) -> io::Result<BatchScan> {
        Ok(BatchScan::new(self.file(folder)?, position..self.size, self.base))
    }

    /// The first batch's latest timestamp, from which `segment.ms` counts.
    pub(crate) fn first_timestamp(&self, folder: &Folder) -> Result<Option<Timestamp>, LogError> {
        if self.size == 0 {
            return Ok(None);
        }
        if let Some(first) = self.indexes.lock().first_timestamp {
            return Ok(Some(first));
        }
        let first = self.frame_at(folder, 0)?.map(|frame| frame.header.max_timestamp);
        self.indexes.lock().first_timestamp = first;
        Ok(first)
    }

    pub(crate) fn frame_at(
        &self,
        folder: &Folder,
        position: u64,
    ) -> Result<Option<Frame>, LogError> {
        let mut scan = self.scan(folder, position).map_err(self.io("read", folder))?;
        scan.advance().map_err(|error| LogError::scan(error, self.log_path(folder), self.base))
    }

    pub(crate) fn io(
        &self,
        action: &'static str,
        folder: &Folder,
    ) -> impl FnOnce(io::Error) -> LogError + use<> {
        LogError::io(action, &self.log_path(folder))
    }

    /// Cuts the log at `position`, where the batch at `offset` began, and the indexes with it.
    /// Durable on return: what was cut must not come back under what is written next.
    pub(crate) fn cut(&mut self, folder: &Folder, position: u64, offset: Offset) -> io::Result<()> {
        let file = self.file(folder)?;
        file.set_len(position)?;
        file.sync_data()?;
        self.rewind(folder, position, offset)
    }

    pub(crate) fn indexes(&self) -> parking_lot::MutexGuard<'_, Indexes> {
        self.indexes.lock()
    }

    /// Notes an aborted transaction whose marker was appended here.
    pub(crate) fn push_aborted(
        &mut self,
        folder: &Folder,
        txn: &CompletedTxn,
        last_stable: Offset,
    ) {
        let entry = AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable,
        };
        // Kept in memory where it cannot be written yet.
        if let Err(error) = self.indexes.get_mut().transactions.push(folder, entry) {
            tracing::debug!(%error, base = %self.base, "a transaction index entry waits");
        }
    }

    /// Takes the segment back to `position`, where the batch at `offset` begins: recovery will see
    /// what follows again. The log file is not touched.
    pub(crate) fn rewind(
        &mut self,
        folder: &Folder,
        position: u64,
        offset: Offset,
    ) -> io::Result<()> {
        self.size = position;
        self.since_index = 0;
        self.seal = None;
        let indexes = self.indexes.get_mut();
        indexes.cut(folder, position, offset)?;
        // Which transactions were aborted shows only a replay of producers.
        indexes.transaction_trust = Trust::Doubtful;
        Ok(())
    }

    /// Ends the segment at `position`, where damage begins. No file is touched.
    pub(crate) fn confine(&mut self, position: u64) {
        self.size = position;
        self.seal = None;
        self.indexes.get_mut().doubt();
    }

    /// Whether an index has no room for another entry.
    pub(crate) fn index_full(&mut self, index_bytes_max: u32) -> bool {
        self.indexes.get_mut().full(index_bytes_max)
    }

    /// Brings the indexes to disk at their real length, as Kafka does when a segment is rolled or
    /// closed.
    pub(crate) fn close_indexes(
        &mut self,
        folder: &Folder,
        next_offset: Offset,
    ) -> Result<Closed, LogError> {
        let (base, size) = (self.base, self.size);
        let fail = self.io("write the indexes of", folder);
        let closed = self.indexes.get_mut().close(folder, base, size, next_offset).map_err(fail)?;
        self.seal = closed.seal;
        Ok(closed)
    }

    /// Forgets every handle, before the files are removed or replaced.
    pub(crate) fn forget_handles(&mut self, folder: &Folder) {
        folder.handles.forget(self.key);
        self.indexes.get_mut().forget_handles(folder);
        self.pinned = None;
    }
}
