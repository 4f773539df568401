//! Writing the `.cleaned` files of one new segment: log, indexes, aborted transactions.
//!
//! Owns: buffering, index entries at the interval that appends use, syncing, the seal. Never:
//! renames anything, or decides what is kept.
//!
//! Invariant: when `finish` returns, every byte of every file is durable; names are not.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Offset;
use ottla_protocol::records::BatchHeader;

use super::{CleanBudget, CleanError, CleanedGroup};
use crate::file_name::{FileKind, FileStage, SegmentFileName};
use crate::fs::{File, FileSystem, OpenMode};
use crate::index::entries::IndexEntry;
use crate::index::offset::relative;
use crate::index::{AbortedTxn, OffsetEntry, TimeEntry};
use crate::seal::{IndexSeal, MaxTimestamp, Seal};

/// Bytes that are gathered for one write.
const STEP_BYTES: usize = 1 << 20;

pub(super) struct SegmentWriter<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    base: Offset,
    log: Arc<dyn File>,
    /// Bytes that are in the file; those in `parts` follow.
    written: u64,
    parts: Vec<Bytes>,
    parts_bytes: usize,
    index_interval: u64,
    since_index: u64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    last_time: MaxTimestamp,
    max: MaxTimestamp,
    next_offset: Offset,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn create(
        fs: &'a dyn FileSystem,
        dir: &'a Path,
        base: Offset,
        index_interval: u32,
    ) -> Result<Self, CleanError> {
        let log = create(fs, dir, base, FileKind::Log)
            .map_err(|source| CleanError::Io { base, source })?;
        Ok(Self {
            fs,
            dir,
            base,
            log,
            written: 0,
            parts: Vec::new(),
            parts_bytes: 0,
            index_interval: index_interval.into(),
            since_index: 0,
            offsets: Vec::new(),
            times: Vec::new(),
            last_time: MaxTimestamp::NONE,
            max: MaxTimestamp::NONE,
            next_offset: base,
        })
    }

    fn io(&self) -> impl FnOnce(io::Error) -> CleanError {
        let base = self.base;
        move |source| CleanError::Io { base, source }
    }

    pub(super) fn append(
        &mut self,
        header: &BatchHeader,
        batch: Bytes,
        budget: &mut dyn CleanBudget,
    ) -> Result<(), CleanError> {
        let position = self.written + self.parts_bytes as u64;
        if header.max_timestamp > self.max.timestamp {
            self.max =
                MaxTimestamp { timestamp: header.max_timestamp, offset: header.last_offset() };
        }
        if self.since_index > self.index_interval {
            if let Some(entry) = OffsetEntry::new(self.base, header.last_offset(), position) {
                entry.encode(&mut self.offsets);
            }
            self.push_time();
            self.since_index = 0;
        }
        self.since_index += batch.len() as u64;
        self.next_offset = header.next_offset();
        self.parts_bytes += batch.len();
        self.parts.push(batch);
        if self.parts_bytes >= STEP_BYTES { self.flush(budget) } else { Ok(()) }
    }

    fn push_time(&mut self) {
        if self.max.timestamp > self.last_time.timestamp
            && let Some(relative_offset) = relative(self.base, self.max.offset)
        {
            let timestamp = self.max.timestamp;
            TimeEntry { timestamp, relative_offset }.encode(&mut self.times);
            self.last_time = self.max;
        }
    }

    fn flush(&mut self, budget: &mut dyn CleanBudget) -> Result<(), CleanError> {
        super::spend(budget, self.parts_bytes as u64)?;
        let slices: Vec<IoSlice<'_>> = self.parts.iter().map(|part| IoSlice::new(part)).collect();
        self.log.write_all_at(&slices, self.written).map_err(self.io())?;
        self.written += self.parts_bytes as u64;
        self.parts.clear();
        self.parts_bytes = 0;
        Ok(())
    }

    /// Brings everything to disk.
    pub(super) fn finish(
        mut self,
        aborted: &[AbortedTxn],
        replaced: Vec<(Offset, u64)>,
        budget: &mut dyn CleanBudget,
    ) -> Result<CleanedGroup, CleanError> {
        self.flush(budget)?;
        self.push_time();
        self.log.sync_data().map_err(self.io())?;
        let mut transactions = Vec::new();
        for entry in aborted {
            entry.encode(&mut transactions);
        }
        let offset_index = self.index(FileKind::OffsetIndex, &self.offsets, OffsetEntry::WIDTH)?;
        let time_index = self.index(FileKind::TimeIndex, &self.times, TimeEntry::WIDTH)?;
        let mut kinds = vec![FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex];
        let transaction_index = if transactions.is_empty() {
            IndexSeal::default()
        } else {
            kinds.push(FileKind::TransactionIndex);
            self.index(FileKind::TransactionIndex, &transactions, AbortedTxn::WIDTH)?
        };
        let seal = Seal {
            base: self.base,
            next_offset: self.next_offset,
            log_bytes: self.written,
            max_timestamp: self.max,
            offset_index,
            time_index,
            transaction_index,
        };
        Ok(CleanedGroup { dir: self.dir.to_owned(), replaced, truncations: 0, kinds, seal })
    }

    fn index(&self, kind: FileKind, bytes: &[u8], width: usize) -> Result<IndexSeal, CleanError> {
        let file = create(self.fs, self.dir, self.base, kind).map_err(self.io())?;
        file.write_all_at(&[IoSlice::new(bytes)], 0).map_err(self.io())?;
        file.sync_data().map_err(self.io())?;
        let entries = u32::try_from(bytes.len() / width).unwrap_or(u32::MAX);
        Ok(IndexSeal { entries, crc: crc32c::crc32c(bytes) })
    }
}

/// An empty file in the stage of being cleaned, whatever an interrupted cleaning left there.
fn create(
    fs: &dyn FileSystem,
    dir: &Path,
    base: Offset,
    kind: FileKind,
) -> io::Result<Arc<dyn File>> {
    let name = SegmentFileName { base, kind, stage: FileStage::Cleaned };
    let file = fs.open(&dir.join(name.text()), OpenMode::Create)?;
    file.set_len(0)?;
    Ok(file)
}
