//! Reading: whole batches from an offset on, as slices.
//!
//! Owns: what a read may answer. Never: reads a batch's bytes; it answers where they are.

use ottla_protocol::model::Offset;

use super::{LogHealth, LogRead, LogSlice, MinOneBatch, PartitionLog};
use crate::error::{LogError, ReadError};
use crate::segment::{Limit, Stretch};

impl PartitionLog {
    /// Batches from the one that contains `from` on, about `max_bytes` of them, all ending below
    /// `bound`: the high watermark, the last stable offset, or the log's end. Only whole batches
    /// are answered; with [`MinOneBatch::Yes`] the first one is, whatever its size.
    ///
    /// # Errors
    ///
    /// `from` is not between log start and log end, or the files are damaged or unreadable.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one: MinOneBatch,
    ) -> Result<LogRead, ReadError> {
        self.read_from(self.log_start, from, max_bytes, (bound, min_one))
    }

    /// As [`Self::read`], with what lies below the log's start in segments that are still there: a
    /// replica that lacks it needs it to have the same batches.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_stored(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one: MinOneBatch,
    ) -> Result<LogRead, ReadError> {
        let first = self.segments.first().map_or(self.log_start, |first| first.base());
        self.read_from(first.min(self.log_start), from, max_bytes, (bound, min_one))
    }

    fn read_from(
        &self,
        start: Offset,
        from: Offset,
        max_bytes: u32,
        (bound, min_one): (Offset, MinOneBatch),
    ) -> Result<LogRead, ReadError> {
        if from < start || from > self.log_end {
            let end = self.log_end;
            return Err(ReadError::OutOfRange { offset: from, start, end });
        }
        let bound = bound.min(self.readable_end());
        if from >= bound {
            return Ok(LogRead::empty(from));
        }
        if let Some(read) = self.tail.read(from, max_bytes, bound, min_one) {
            return Ok(read);
        }
        Ok(self.read_files(from, max_bytes, bound, min_one)?)
    }

    /// Where reading ends at the latest. An offline log may hold bytes past `flushed` that no disk
    /// has: they are not served.
    fn readable_end(&self) -> Offset {
        match self.health {
            LogHealth::Offline(_) => self.flushed(),
            LogHealth::Healthy | LogHealth::Damaged(_) => self.log_end,
        }
    }

    fn read_files(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one: MinOneBatch,
    ) -> Result<LogRead, LogError> {
        let mut read = LogRead::empty(from);
        let mut index = self.segment_index(from);
        let mut target = from;
        while index < self.segments.len() && target < bound {
            let left = max_bytes.saturating_sub(read.bytes);
            let first = read.is_empty();
            if !first && left == 0 {
                break;
            }
            let Some(stretch) = self.stretch_in(index, target, left, bound)? else {
                // The rest of this segment was compacted away, or the bound lies in it.
                index += 1;
                target = target.max(self.segments.get(index).map_or(bound, |next| next.base()));
                continue;
            };
            let len = u32::try_from(stretch.end - stretch.position).unwrap_or(u32::MAX);
            if len > left && !(first && min_one == MinOneBatch::Yes) {
                break;
            }
            let segment = &self.segments[index];
            let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
            read.slices.push(LogSlice::File { file, position: stretch.position, len });
            if first {
                read.first_offset = stretch.first_offset;
            }
            read.bytes += len;
            read.next_offset = stretch.next_offset;
            if stretch.end < segment.size() {
                break;
            }
            index += 1;
            target = stretch.next_offset;
        }
        Ok(read)
    }

    fn stretch_in(
        &self,
        index: usize,
        target: Offset,
        bytes: u32,
        bound: Offset,
    ) -> Result<Option<Stretch>, LogError> {
        let segment = &self.segments[index];
        let Some(first) = segment.locate(&self.folder, target)? else { return Ok(None) };
        let limit = Limit { bytes: u64::from(bytes), bound, segment_end: self.segment_end(index) };
        segment.stretch(&self.folder, first, limit)
    }
}
