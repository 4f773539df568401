//! Finding things in a segment: an offset, a timestamp, the end of a read.
//!
//! Owns: searches over indexes and headers, and rebuilding indexes from the log. Never: reads
//! records, or changes the log.

use ottla_protocol::model::{Offset, Timestamp};

use super::scan::{BatchScan, Frame, ScanError};
use super::{Indexes, Segment, Trust};
use crate::error::LogError;
use crate::handles::Folder;
use crate::index::OffsetEntry;
use crate::seal::MaxTimestamp;

/// Whole batches that lie one after the other in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// Base offset of the first batch.
    pub(crate) first_offset: Offset,
    pub(crate) next_offset: Offset,
}

/// How far a read may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    /// Only batches that end before this offset.
    pub(crate) bound: Offset,
    /// The offset after the segment's last.
    pub(crate) segment_end: Offset,
}

impl Segment {
    /// The first batch that ends at or after `target`; `None` when all end before it.
    pub(crate) fn locate(
        &self,
        folder: &Folder,
        target: Offset,
    ) -> Result<Option<Frame>, LogError> {
        let start = self.start_for(folder, target)?;
        let mut scan = self.walk(folder, start)?;
        while let Some(frame) = self.step(&mut scan, folder)? {
            if frame.header.last_offset() >= target {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// A position of a batch from which `target` is reached by walking on.
    fn start_for(&self, folder: &Folder, target: Offset) -> Result<u64, LogError> {
        let hint = self.indexes.lock().hint(target);
        if let Some(position) = hint.filter(|position| *position < self.size) {
            return Ok(position);
        }
        let base = self.base;
        self.indexed(folder, |entry| entry.offset(base) <= target)
    }

    /// A position of a batch from which `target`, or with `None` the end, is reached by walking on.
    /// For opening: the log's end may be torn, so that a doubtful index is not rebuilt but ignored.
    pub(crate) fn opening_start(
        &self,
        folder: &Folder,
        target: Option<Offset>,
    ) -> Result<u64, LogError> {
        let base = self.base;
        let indexes = self.indexes.lock();
        let before = |entry: &OffsetEntry| target.is_none_or(|target| entry.offset(base) <= target);
        let found = indexes.offsets.floor(folder, before).map_err(self.io("search", folder))?;
        match found {
            Some(entry) if self.agrees(folder, entry)? => Ok(u64::from(entry.position)),
            _ => Ok(0),
        }
    }

    /// The position of the last indexed batch whose entry satisfies `before`; the segment's
    /// beginning where there is none. Rebuilds the index when it does not agree with the log.
    fn indexed(
        &self,
        folder: &Folder,
        before: impl Fn(&OffsetEntry) -> bool,
    ) -> Result<u64, LogError> {
        let mut indexes = self.indexes.lock();
        if self.in_doubt(&mut indexes, folder)? {
            self.rebuild(&mut indexes, folder)?;
        }
        for _ in 0..2 {
            let found =
                indexes.offsets.floor(folder, &before).map_err(self.io("search", folder))?;
            let Some(entry) = found else { return Ok(0) };
            if self.agrees(folder, entry)? {
                return Ok(u64::from(entry.position));
            }
            self.rebuild(&mut indexes, folder)?;
        }
        // A rebuilt index agrees with the log unless the file changes under us.
        Ok(0)
    }

    /// Whether an index is obviously wrong: missing where there is much to index, or with an end
    /// that is no batch (a preallocated file, a cut one).
    fn in_doubt(&self, indexes: &mut Indexes, folder: &Folder) -> Result<bool, LogError> {
        if indexes.trust == Trust::Trusted || indexes.end_checked {
            return Ok(false);
        }
        let last = indexes.offsets.last(folder).map_err(self.io("read the index of", folder))?;
        let doubt = match last {
            Some(entry) => !self.agrees(folder, entry)?,
            None => self.size > 256 * 1024,
        };
        indexes.end_checked = !doubt;
        Ok(doubt)
    }

    /// Whether a batch with the entry's last offset stands at its position.
    fn agrees(&self, folder: &Folder, entry: OffsetEntry) -> Result<bool, LogError> {
        if u64::from(entry.position) >= self.size {
            return Ok(false);
        }
        let mut scan = self.walk(folder, u64::from(entry.position))?;
        match scan.advance() {
            Ok(frame) => {
                Ok(frame.is_some_and(|f| f.header.last_offset() == entry.offset(self.base)))
            }
            Err(ScanError::Fault { .. }) => Ok(false),
            Err(error) => Err(LogError::scan(error, self.log_path(folder), self.base)),
        }
    }

    fn walk(&self, folder: &Folder, position: u64) -> Result<BatchScan, LogError> {
        self.scan(folder, position).map_err(self.io("read", folder))
    }

    fn step(&self, scan: &mut BatchScan, folder: &Folder) -> Result<Option<Frame>, LogError> {
        let expected = scan.expected();
        scan.advance().map_err(|error| LogError::scan(error, self.log_path(folder), expected))
    }

    /// The whole batches from `first` on that `limit` allows, always `first` itself unless its end
    /// is beyond the bound.
    pub(crate) fn stretch(
        &self,
        folder: &Folder,
        first: Frame,
        limit: Limit,
    ) -> Result<Option<Stretch>, LogError> {
        if first.header.last_offset() >= limit.bound {
            return Ok(None);
        }
        let first_offset = first.header.base_offset;
        let position = first.position;
        let most = position.saturating_add(limit.bytes).min(self.size);
        if most == self.size && limit.bound >= limit.segment_end {
            let next_offset = limit.segment_end;
            return Ok(Some(Stretch { position, end: self.size, first_offset, next_offset }));
        }
        let mut stretch = Stretch {
            position,
            end: first.end(),
            first_offset,
            next_offset: first.header.next_offset(),
        };
        if first.end() < most {
            let base = self.base;
            let near = self.indexed(folder, |entry| {
                u64::from(entry.position) < most && entry.offset(base) < limit.bound
            })?;
            let mut scan = self.walk(folder, near.max(position))?;
            while let Some(frame) = self.step(&mut scan, folder)? {
                if frame.end() > most || frame.header.last_offset() >= limit.bound {
                    // The indexed batch itself may be the one that is too long.
                    if frame.position > position {
                        stretch.end = stretch.end.max(frame.position);
                        stretch.next_offset = frame.header.base_offset;
                    }
                    break;
                }
                stretch.end = frame.end();
                stretch.next_offset = frame.header.next_offset();
            }
        }
        self.indexes.lock().remember(stretch.next_offset, stretch.end);
        Ok(Some(stretch))
    }

    /// The first batch from `start` on whose latest timestamp is `timestamp` or later.
    pub(crate) fn locate_time(
        &self,
        folder: &Folder,
        timestamp: Timestamp,
        start: Offset,
    ) -> Result<Option<Frame>, LogError> {
        if self.max_timestamp(folder)?.timestamp < timestamp {
            return Ok(None);
        }
        let earliest = {
            let indexes = self.indexes.lock();
            // All batches up to the entry's are at most as late as it says.
            let floor = indexes.times.floor(folder, |entry| entry.timestamp < timestamp);
            floor.map_err(self.io("search the time index of", folder))?
        };
        let from = earliest.map_or(self.base, |entry| entry.offset(self.base)).max(start);
        let begin = self.start_for(folder, from)?;
        let mut scan = self.walk(folder, begin)?;
        while let Some(frame) = self.step(&mut scan, folder)? {
            if frame.header.last_offset() >= start && frame.header.max_timestamp >= timestamp {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The latest timestamp in the segment, and where; makes the time index trustworthy.
    pub(crate) fn max_timestamp(&self, folder: &Folder) -> Result<MaxTimestamp, LogError> {
        let mut indexes = self.indexes.lock();
        indexes.check(folder).map_err(self.io("check the indexes of", folder))?;
        if indexes.trust == Trust::Trusted
            && let Some(max) = indexes.max_timestamp
        {
            return Ok(max);
        }
        self.rebuild(&mut indexes, folder)?;
        Ok(indexes.max_timestamp.unwrap_or(MaxTimestamp::NONE))
    }

    /// The latest timestamp where that costs nothing to know.
    pub(crate) fn known_max_timestamp(&self) -> Option<MaxTimestamp> {
        self.indexes.lock().max_timestamp
    }

    /// Makes offset and time index from the log's headers.
    fn rebuild(&self, indexes: &mut Indexes, folder: &Folder) -> Result<(), LogError> {
        tracing::info!(file = %self.log_path(folder).display(), "rebuilding indexes");
        indexes.clear_lookup(folder).map_err(self.io("rebuild the indexes of", folder))?;
        indexes.trust = Trust::Trusted;
        indexes.max_timestamp = Some(MaxTimestamp::NONE);
        let mut since_entry = 0;
        let mut scan = self.walk(folder, 0)?;
        while let Some(frame) = self.step(&mut scan, folder)? {
            indexes.see(self.base, frame.position, &frame.header);
            if since_entry > REBUILD_INTERVAL {
                // On a full disk the entries stay in memory, and reads go on.
                if let Err(error) = indexes.push(folder, self.base, frame.position, &frame.header) {
                    tracing::debug!(%error, "rebuilt index entries wait to be written");
                }
                since_entry = 0;
            }
            since_entry += frame.size();
        }
        if let Err(error) = indexes.write(folder, self.base) {
            tracing::debug!(%error, "rebuilt index entries wait to be written");
        }
        Ok(())
    }
}

/// Bytes between two entries of a rebuilt index: Kafka's default for `index.interval.bytes`.
const REBUILD_INTERVAL: u64 = 4096;
