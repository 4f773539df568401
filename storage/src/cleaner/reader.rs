//! Reading the batches of a closed segment in order, in large steps.
//!
//! Owns: the read buffer, and that every batch is whole and undamaged. Never: decompresses.
//!
//! Invariant: a batch whose CRC or place is wrong is an error: what is damaged is never compacted,
//! because that would give it a good checksum.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Offset;
use ottla_protocol::records::{Batch, BatchHeader, HEADER};

use super::{BatchFault, CleanBudget, CleanError, SourceSegment};
use crate::fs::File;

/// Bytes of one read.
const STEP_BYTES: usize = 1 << 20;

pub(super) struct BatchReader {
    base: Offset,
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    /// What was read and not used yet; it begins at `position`.
    buffer: Bytes,
    next_offset: Offset,
}

impl BatchReader {
    pub(super) fn new(segment: &SourceSegment) -> Self {
        Self {
            base: segment.base,
            file: Arc::clone(&segment.log),
            position: 0,
            end: segment.log_bytes,
            buffer: Bytes::new(),
            next_offset: segment.base,
        }
    }

    /// Whether the batch before was the last.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// The next batch's bytes, checked; `None` at the end.
    pub(super) fn next(
        &mut self,
        budget: &mut dyn CleanBudget,
    ) -> Result<Option<Bytes>, CleanError> {
        if self.is_at_end() {
            return Ok(None);
        }
        self.fill(HEADER, budget)?;
        let header = BatchHeader::parse(&self.buffer).map_err(|e| self.damaged(e.into()))?;
        let size = header.size();
        if size as u64 > self.end - self.position {
            return Err(self.damaged(BatchFault::Cut { needed: size }));
        }
        self.fill(size, budget)?;
        let batch = Batch::parse(&self.buffer).map_err(|e| self.damaged(e.into()))?;
        batch.check_crc().map_err(|e| self.damaged(e.into()))?;
        if header.base_offset < self.next_offset || header.last_offset_delta < 0 {
            return Err(self.damaged(BatchFault::OffsetOrder { found: header.base_offset }));
        }
        self.next_offset = header.next_offset();
        self.position += size as u64;
        Ok(Some(self.buffer.split_to(size)))
    }

    /// Makes the buffer hold at least `needed` bytes, as long as the segment has them.
    fn fill(&mut self, needed: usize, budget: &mut dyn CleanBudget) -> Result<(), CleanError> {
        if self.buffer.len() >= needed {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let len = needed.max(STEP_BYTES).min(left);
        super::spend(budget, len as u64)?;
        let io = |source| CleanError::Io { base: self.base, source };
        self.buffer = self.file.read_bytes_at(self.position, len).map_err(io)?;
        if self.buffer.len() < needed.min(left) {
            return Err(self.damaged(BatchFault::Cut { needed }));
        }
        Ok(())
    }

    fn damaged(&self, fault: BatchFault) -> CleanError {
        CleanError::Damaged { base: self.base, position: self.position, fault }
    }

    /// Puts the place of the batch that was read last to what is wrong with its inside.
    pub(super) fn inside(&self, batch: &Bytes, fault: BatchFault) -> CleanError {
        let position = self.position.saturating_sub(batch.len() as u64);
        CleanError::Damaged { base: self.base, position, fault }
    }
}
