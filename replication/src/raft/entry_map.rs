//! From an entry's index to its term and its offsets, and back.
//!
//! Owns: the two number lines and how they run side by side. Never: bytes of batches, or files.
//!
//! Invariants: indexes are dense from the one after the purge point; each entry begins at the offset
//! where the one before it ended, but for gaps that compaction left; an entry without records ends
//! where it begins; terms never go down.

mod slots;

use std::collections::BTreeMap;

use ottla_protocol::model::{LeaderEpoch, Offset};
use ottla_protocol::records::BatchHeader;

use super::journal::{GroupRecords, Point, RecordlessKind};
use super::{Batch, Entry, LogId, Payload};
use slots::Slots;

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    pub term: u32,
    /// Bytes of its batch; 0 where it has none.
    pub bytes: u32,
    pub base: Offset,
    /// The offset after its records; [`Self::base`] where it has none.
    pub end: Offset,
}

/// Why log and journal do not fit together. Neither is to be trusted then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapError {
    #[error(
        "entry {index} of the journal stands at offset {follows}, where the log has entry {found}"
    )]
    Misplaced { index: u64, follows: Offset, found: u64 },
    #[error("entry {index} has term {term} after an entry of term {before}")]
    TermOrder { index: u64, term: i64, before: u64 },
    #[error("the log goes on at offset {found}; it should at {expected}")]
    Gap { expected: Offset, found: Offset },
}

/// All entries of one replica's log.
#[derive(Clone, Debug, Default)]
pub struct EntryMap {
    purged: Option<Point>,
    /// Index of the first entry where nothing was purged: 0, but in openraft's own tests.
    start: u64,
    slots: Slots,
    recordless: BTreeMap<u64, RecordlessKind>,
}

impl EntryMap {
    /// openraft's test suite begins logs at other indexes.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, index: u64) {
        if self.purged.is_none() && self.slots.len() == 0 {
            self.start = index;
        }
    }

    #[must_use]
    pub fn starting_after(purged: Option<Point>) -> Self {
        Self { purged, ..Self::default() }
    }

    #[must_use]
    pub const fn purged(&self) -> Option<Point> {
        self.purged
    }

    /// Index of the first entry that is here.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.purged.map_or(self.start, |point| point.index + 1)
    }

    /// Index of the entry that comes next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first() + self.slots.len() as u64
    }

    /// Where the next batch begins.
    #[must_use]
    pub fn end(&self) -> Offset {
        let purged = || self.purged.map_or(Offset::ZERO, |point| point.end);
        self.slots.back().map_or_else(purged, |slot| slot.end)
    }

    fn last_term(&self) -> u64 {
        let purged = || self.purged.map_or(0, |point| point.term);
        self.slots.back().map_or_else(purged, |slot| slot.term.into())
    }

    /// The last entry, or the purge point.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        let slot = self.slots.back();
        let last = slot.map(|slot| point(self.next() - 1, &slot));
        last.or(self.purged)
    }

    /// The entry with this index; the purge point counts.
    #[must_use]
    pub fn point(&self, index: u64) -> Option<Point> {
        if let Some(slot) = self.slot(index) {
            return Some(point(index, &slot));
        }
        self.purged.filter(|purged| purged.index == index)
    }

    #[must_use]
    pub fn slot(&self, index: u64) -> Option<Slot> {
        let at = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.slots.get(at)
    }

    #[must_use]
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        self.point(index).map(|point| point.log_id())
    }

    /// The newest entry all of whose records lie below `offset`.
    #[must_use]
    pub fn ending_by(&self, offset: Offset) -> Option<Point> {
        let count = self.slots.ending_by(offset);
        let index = (self.first() + count as u64).checked_sub(1)?;
        self.point(index)
    }

    #[must_use]
    pub fn recordless(&self, index: u64) -> Option<&RecordlessKind> {
        self.recordless.get(&index)
    }

    /// Memberships up to and including `index`, newest first.
    pub fn recordless_upto(&self, index: u64) -> impl Iterator<Item = (u64, &RecordlessKind)> + '_ {
        self.recordless.range(..=index).rev().map(|(index, kind)| (*index, kind))
    }

    /// What Raft is told of an entry.
    #[must_use]
    pub fn entry(&self, index: u64) -> Option<Entry> {
        let slot = self.slot(index)?;
        let payload = match self.recordless.get(&index) {
            Some(RecordlessKind::Blank) => Payload::Blank,
            Some(RecordlessKind::Membership(members)) => Payload::Membership(members.clone()),
            Some(RecordlessKind::LogStart(offset)) => Payload::Batch(Batch::LogStart(*offset)),
            None => {
                Payload::Batch(Batch::Stored { base: slot.base, end: slot.end, bytes: slot.bytes })
            }
        };
        let term = super::Committed::new(slot.term.into());
        Some(Entry { term, index, payload })
    }

    /// Adds an entry without records.
    pub fn push_recordless(&mut self, term: u64, kind: RecordlessKind) {
        let (index, end) = (self.next(), self.end());
        self.recordless.insert(index, kind);
        let term = u32::try_from(term).unwrap_or(u32::MAX);
        self.slots.push_back(Slot { term, bytes: 0, base: end, end });
    }

    /// Adds an entry with a batch.
    pub fn push_batch(&mut self, term: u64, base: Offset, end: Offset, bytes: u32) {
        let term = u32::try_from(term).unwrap_or(u32::MAX);
        self.slots.push_back(Slot { term, bytes, base, end });
    }

    /// Takes off the entries from `first` on.
    pub fn truncate(&mut self, first: u64) {
        let keep = first.saturating_sub(self.first());
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.truncate(keep);
        self.recordless.split_off(&first);
    }

    /// Takes off the entries up to and including `point`.
    pub fn purge(&mut self, point: Point) {
        let gone = (point.index + 1).saturating_sub(self.first());
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.drop_first(gone);
        self.recordless = self.recordless.split_off(&(point.index + 1));
        self.purged = Some(point);
    }
}

fn point(index: u64, slot: &Slot) -> Point {
    Point { index, term: slot.term.into(), end: slot.end }
}

/// Puts the map together again from what journal and log hold.
#[derive(Debug)]
pub struct Rebuild<'a> {
    map: EntryMap,
    /// No leader of a later term was ever followed here.
    term_max: u64,
    left: std::collections::btree_map::Iter<'a, u64, super::journal::Recordless>,
    next: Option<(&'a u64, &'a super::journal::Recordless)>,
}

impl<'a> Rebuild<'a> {
    #[must_use]
    pub fn new(records: &'a GroupRecords) -> Self {
        let map = EntryMap::starting_after(records.purged.as_ref().map(|(point, _)| *point));
        let term_max = records.vote.map_or(0, |vote| vote.leader_id.term);
        let mut left = records.recordless.iter();
        let next = left.next();
        Self { map, term_max, left, next }
    }

    /// Where the entries so far end.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.map.end()
    }

    /// The log's next batch.
    ///
    /// # Errors
    /// It does not go on where the entries before it ended, or what the journal has before it does not.
    pub fn batch(&mut self, header: &BatchHeader) -> Result<(), MapError> {
        self.recordless_upto(header.base_offset)?;
        let (expected, found) = (self.map.end(), header.base_offset);
        if found != expected {
            return Err(MapError::Gap { expected, found });
        }
        let LeaderEpoch(epoch) = header.leader_epoch;
        let index = self.map.next();
        let before = self.map.last_term();
        // Each leader begins with an entry without a batch, so that no batch changes the term; but for
        // those of the time when the log had one replica and no group, which all such entries follow.
        // The epoch is not under the batch's checksum: this is what its rot is found by.
        let bound = self.next.map_or(self.term_max, |(_, entry)| entry.term);
        let alone = self.map.recordless.is_empty();
        let term = u64::try_from(epoch)
            .ok()
            .filter(|term| *term == before || (alone && (before..=bound).contains(term)));
        let Some(term) = term else {
            return Err(MapError::TermOrder { index, term: epoch.into(), before });
        };
        let bytes = u32::try_from(header.size()).unwrap_or(u32::MAX);
        self.map.push_batch(term, found, header.next_offset(), bytes);
        Ok(())
    }

    fn recordless_upto(&mut self, bound: Offset) -> Result<(), MapError> {
        while let Some((index, entry)) = self.next
            && entry.follows <= bound
        {
            let (found, end) = (self.map.next(), self.map.end());
            if entry.follows > end {
                // The log has a gap before; the caller finds it.
                return Ok(());
            }
            if *index != found || entry.follows < end {
                return Err(MapError::Misplaced { index: *index, follows: entry.follows, found });
            }
            let before = self.map.last_term();
            if entry.term < before {
                let term = i64::try_from(entry.term).unwrap_or(i64::MAX);
                return Err(MapError::TermOrder { index: *index, term, before });
            }
            self.map.push_recordless(entry.term, entry.kind.clone());
            self.next = self.left.next();
        }
        Ok(())
    }

    /// The map, and the index from which on the journal has entries that the log lost: they followed
    /// records that were never durable.
    ///
    /// # Errors
    /// As [`Self::batch`].
    pub fn finish(mut self) -> Result<(EntryMap, Option<u64>), MapError> {
        self.recordless_upto(self.map.end())?;
        let lost = self.next.map(|_| self.map.next());
        Ok((self.map, lost))
    }
}
