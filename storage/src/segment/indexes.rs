//! The three indexes of one segment together, and how far they can be trusted.
//!
//! Owns: entries on append, cutting, sealing, checking against the seal. Never: reads the log.

use std::io;
use std::sync::Arc;

use ottla_protocol::model::{Offset, Timestamp};
use ottla_protocol::records::BatchHeader;

use super::FileLengths;
use crate::file_name::{FileKind, SegmentFileName};
use crate::fs::File;
use crate::handles::Folder;
use crate::index::entries::IndexEntry;
use crate::index::offset::relative;
use crate::index::{AbortedTxn, EntryFile, OffsetEntry, TimeEntry};
use crate::seal::{IndexSeal, MaxTimestamp, Seal};

/// What is known of an index's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    /// There is a seal, and it was not compared yet.
    Unchecked,
    /// This process wrote it, or it agrees with its seal.
    Trusted,
    /// Rebuild it before an answer depends on it.
    Doubtful,
}

/// A segment's indexes, complete.
#[derive(Debug)]
pub(crate) struct Closed {
    /// To be synced.
    pub(crate) files: Vec<Arc<dyn File>>,
    /// What is true of the segment, unless its indexes are in doubt.
    pub(crate) seal: Option<Seal>,
}

/// Where a reader stopped: the next one that continues there needs no search.
const HINTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Indexes {
    base: Offset,
    pub(crate) offsets: EntryFile<OffsetEntry>,
    pub(crate) times: EntryFile<TimeEntry>,
    pub(crate) transactions: EntryFile<AbortedTxn>,
    /// Of offsets and times.
    pub(crate) trust: Trust,
    pub(crate) transaction_trust: Trust,
    /// Whether the last offset entry was compared with the log; for doubtful indexes.
    pub(crate) end_checked: bool,
    pub(crate) max_timestamp: Option<MaxTimestamp>,
    pub(crate) first_timestamp: Option<Timestamp>,
    /// What the files are compared with, while a trust is `Unchecked`.
    reference: Option<Seal>,
    hints: [(Offset, u64); HINTS],
    next_hint: usize,
}

impl Indexes {
    pub(super) fn over(folder: &Folder, base: Offset, lengths: FileLengths) -> Self {
        let name = |kind| SegmentFileName::live(base, kind);
        let offset_bytes = lengths.offset_index.unwrap_or(0);
        let time_bytes = lengths.time_index.unwrap_or(0);
        let transaction_bytes = lengths.transaction_index.unwrap_or(0);
        Self {
            base,
            offsets: EntryFile::new(folder, name(FileKind::OffsetIndex), offset_bytes),
            times: EntryFile::new(folder, name(FileKind::TimeIndex), time_bytes),
            transactions: EntryFile::new(
                folder,
                name(FileKind::TransactionIndex),
                transaction_bytes,
            ),
            trust: Trust::Doubtful,
            transaction_trust: Trust::Doubtful,
            end_checked: false,
            max_timestamp: None,
            first_timestamp: None,
            reference: None,
            hints: [(Offset::NONE, 0); HINTS],
            next_hint: 0,
        }
    }

    pub(crate) fn trust_all(&mut self, max_timestamp: MaxTimestamp) {
        self.trust = Trust::Trusted;
        self.transaction_trust = Trust::Trusted;
        self.max_timestamp = Some(max_timestamp);
    }

    /// The segment is as it was when it was sealed; whether its indexes are shows the first use.
    pub(super) fn trust_until_checked(&mut self, seal: &Seal) {
        self.trust = Trust::Unchecked;
        self.transaction_trust = Trust::Unchecked;
        self.max_timestamp = Some(seal.max_timestamp);
        self.offsets.limit(u64::from(seal.offset_index.entries));
        self.times.limit(u64::from(seal.time_index.entries));
        self.transactions.limit(u64::from(seal.transaction_index.entries));
        self.reference = Some(*seal);
    }

    /// Empties the offset and time index files, and creates them where they are missing.
    pub(crate) fn clear_files(&mut self, folder: &Folder) -> io::Result<()> {
        self.clear_lookup(folder)?;
        if self.transactions.len() > 0 {
            self.transactions.cut(folder, 0)?;
        }
        Ok(())
    }

    /// Empties the offset and time index, for a rebuild.
    pub(super) fn clear_lookup(&mut self, folder: &Folder) -> io::Result<()> {
        self.offsets.cut(folder, 0)?;
        self.times.cut(folder, 0)?;
        self.offsets.trim_file(folder)?;
        self.times.trim_file(folder)?;
        self.hints = [(Offset::NONE, 0); HINTS];
        Ok(())
    }

    /// A batch at `position` begins to count for timestamps.
    pub(super) fn see(&mut self, base: Offset, position: u64, header: &BatchHeader) {
        debug_assert!(header.base_offset >= base);
        if position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        // Unknown stays unknown: earlier batches may have a later one.
        if let Some(max) = &mut self.max_timestamp
            && header.max_timestamp > max.timestamp
        {
            *max = MaxTimestamp { timestamp: header.max_timestamp, offset: header.last_offset() };
        }
    }

    /// Adds the entries for the batch at `position`.
    pub(super) fn push(
        &mut self,
        folder: &Folder,
        base: Offset,
        position: u64,
        header: &BatchHeader,
    ) -> io::Result<()> {
        let Some(entry) = OffsetEntry::new(base, header.last_offset(), position) else {
            return Ok(());
        };
        let offsets = self.offsets.push(folder, entry);
        self.push_time(folder, base).and(offsets)
    }

    /// Writes everything, as after a rebuild: with the largest timestamp as the last entry.
    pub(super) fn write(&mut self, folder: &Folder, base: Offset) -> io::Result<()> {
        self.push_time(folder, base)?;
        self.offsets.write(folder)?;
        self.times.write(folder)
    }

    /// Adds the largest timestamp so far, if the index does not have it.
    fn push_time(&mut self, folder: &Folder, base: Offset) -> io::Result<()> {
        let Some(max) = self.max_timestamp else { return Ok(()) };
        let known = self.times.last(folder)?.map_or(Timestamp::NONE, |entry| entry.timestamp);
        match relative(base, max.offset) {
            Some(relative_offset) if max.timestamp > known => {
                self.times.push(folder, TimeEntry { timestamp: max.timestamp, relative_offset })
            }
            _ => Ok(()),
        }
    }

    /// Drops entries of batches at or behind `position`, where the batch at `offset` begins.
    pub(super) fn cut(&mut self, folder: &Folder, position: u64, offset: Offset) -> io::Result<()> {
        self.hints = [(Offset::NONE, 0); HINTS];
        if position == 0 {
            self.clear_files(folder)?;
            self.trust_all(MaxTimestamp::NONE);
            self.first_timestamp = None;
            return Ok(());
        }
        let keep =
            self.offsets.partition_point(folder, |entry| u64::from(entry.position) < position)?;
        self.offsets.cut(folder, keep)?;
        let keep = self.times.partition_point(folder, |entry| entry.offset(self.base) < offset)?;
        self.times.cut(folder, keep)?;
        let keep = self.transactions.partition_point(folder, |txn| txn.last_offset < offset)?;
        self.transactions.cut(folder, keep)?;
        // Which timestamps are gone is known only by reading what is left.
        self.doubt();
        Ok(())
    }

    /// Nothing here is believed any more without the log's word.
    pub(super) fn doubt(&mut self) {
        self.trust = Trust::Doubtful;
        self.transaction_trust = Trust::Doubtful;
        self.end_checked = false;
        self.max_timestamp = None;
        self.hints = [(Offset::NONE, 0); HINTS];
    }

    pub(super) fn full(&self, index_bytes_max: u32) -> bool {
        let max = u64::from(index_bytes_max);
        // The last place of the time index is kept for the entry that closing adds.
        self.offsets.bytes() + OffsetEntry::WIDTH as u64 > max
            || self.times.bytes() + 2 * TimeEntry::WIDTH as u64 > max
    }

    pub(super) fn close(
        &mut self,
        folder: &Folder,
        base: Offset,
        size: u64,
        next_offset: Offset,
    ) -> io::Result<Closed> {
        if self.trust == Trust::Trusted {
            self.push_time(folder, base)?;
        }
        let mut files = vec![self.offsets.finish(folder)?, self.times.finish(folder)?];
        if self.transactions.len() > 0 {
            files.push(self.transactions.finish(folder)?);
        }
        let trusted = self.trust == Trust::Trusted && self.transaction_trust == Trust::Trusted;
        let Some(max_timestamp) = self.max_timestamp.filter(|_| trusted && size > 0) else {
            return Ok(Closed { files, seal: None });
        };
        let seal = Seal {
            base,
            next_offset,
            log_bytes: size,
            max_timestamp,
            offset_index: seal_of(&self.offsets, folder)?,
            time_index: seal_of(&self.times, folder)?,
            transaction_index: seal_of(&self.transactions, folder)?,
        };
        Ok(Closed { files, seal: Some(seal) })
    }

    /// Compares the indexes with their seal, once; they are doubtful where they differ.
    pub(crate) fn check(&mut self, folder: &Folder) -> io::Result<()> {
        let lookup = self.trust == Trust::Unchecked;
        let transactions = self.transaction_trust == Trust::Unchecked;
        if !lookup && !transactions {
            return Ok(());
        }
        let agrees = |same: bool| if same { Trust::Trusted } else { Trust::Doubtful };
        if lookup {
            let same = match self.reference {
                Some(seal) => {
                    matches(&mut self.offsets, folder, seal.offset_index)?
                        && matches(&mut self.times, folder, seal.time_index)?
                }
                None => false,
            };
            self.trust = agrees(same);
        }
        if transactions {
            let same = match self.reference {
                Some(seal) => matches(&mut self.transactions, folder, seal.transaction_index)?,
                None => false,
            };
            self.transaction_trust = agrees(same);
        }
        Ok(())
    }

    pub(crate) fn hint(&self, offset: Offset) -> Option<u64> {
        self.hints.iter().find(|(at, _)| *at == offset).map(|(_, position)| *position)
    }

    pub(crate) fn remember(&mut self, offset: Offset, position: u64) {
        if self.hint(offset).is_none() {
            self.hints[self.next_hint] = (offset, position);
            self.next_hint = (self.next_hint + 1) % HINTS;
        }
    }

    pub(super) fn forget_handles(&self, folder: &Folder) {
        for key in [self.offsets.key(), self.times.key(), self.transactions.key()] {
            folder.handles.forget(key);
        }
    }
}

fn seal_of<E: IndexEntry>(index: &EntryFile<E>, folder: &Folder) -> io::Result<IndexSeal> {
    let entries = index.len();
    let crc = index.checksum(folder, entries)?.unwrap_or(0);
    Ok(IndexSeal { entries: u32::try_from(entries).unwrap_or(u32::MAX), crc })
}

/// Whether the file begins as it was sealed; what a process after that appended stays.
fn matches<E: IndexEntry>(
    index: &mut EntryFile<E>,
    folder: &Folder,
    seal: IndexSeal,
) -> io::Result<bool> {
    Ok(index.checksum(folder, u64::from(seal.entries))? == Some(seal.crc))
}
