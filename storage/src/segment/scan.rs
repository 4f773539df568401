//! Walking over the batches of a `.log` file.
//!
//! Owns: finding each batch's header, checking it, checking CRCs, finding the next good batch after
//! a bad place. Never: changes the file, or trusts a length it has not compared with the file's.
//! Invariant: `position` is always where a batch begins, or is expected to.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Offset;
use ottla_protocol::records::{BatchError, BatchHeader, CRC_START, HEADER};
use thiserror::Error;

use crate::fs::File;

/// One batch in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    pub position: u64,
    pub header: BatchHeader,
}

impl Frame {
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.header.size() as u64
    }

    /// Where the next batch begins.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.position + self.size()
    }
}

/// What is wrong with the bytes where a batch should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameFault {
    #[error(transparent)]
    Header(#[from] BatchError),
    #[error("the batch says it has {needed} bytes and the file ends after {available}")]
    Cut { needed: u64, available: u64 },
    #[error("base offset {base} follows a batch that ends before {expected}")]
    OffsetOrder { base: Offset, expected: Offset },
    #[error("the last offset lies {0} before the first")]
    OffsetDelta(i32),
    #[error("offset {0} is too far from the segment's base")]
    OffsetRange(Offset),
}

/// Why a walk stopped before the end.
#[derive(Debug, Error)]
pub enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("at position {position}: {fault}")]
    Fault { position: u64, fault: FrameFault },
}

/// How many bytes one read brings while batches are small.
const WINDOW_BYTES: u64 = 16 * 1024;
/// Batches from this size on are hopped over one header at a time.
const HOP_BYTES: u64 = 4 * 1024;
/// How many bytes at once a checksum or a search takes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Whether offsets may be missing between batches: compaction leaves such gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gaps {
    Allowed,
    Refused,
}

/// A walk over the headers from one position to another.
#[derive(Debug)]
pub struct BatchScan {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    base: Offset,
    expected: Offset,
    gaps: Gaps,
    window: Vec<u8>,
    window_start: u64,
    last_size: u64,
}

impl BatchScan {
    /// Over `position..end` of a segment with this base. No batch may begin below `expected`.
    #[must_use]
    pub fn new(file: Arc<dyn File>, range: std::ops::Range<u64>, base: Offset) -> Self {
        Self {
            file,
            position: range.start,
            end: range.end,
            base,
            expected: base,
            gaps: Gaps::Allowed,
            window: Vec::new(),
            window_start: 0,
            last_size: 0,
        }
    }

    /// Says where the first batch has to begin (or, with gaps, may at the earliest).
    #[must_use]
    pub fn expecting(mut self, offset: Offset, gaps: Gaps) -> Self {
        self.expected = offset;
        self.gaps = gaps;
        self
    }

    /// Where the next batch begins.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The offset after the last batch seen.
    #[must_use]
    pub const fn expected(&self) -> Offset {
        self.expected
    }

    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The bytes there are no batch, or cannot be read. The walk stays where it is.
    pub fn advance(&mut self) -> Result<Option<Frame>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let available = self.end - position;
        let (base, expected, gaps) = (self.base, self.expected, self.gaps);
        let head = self.head()?;
        let header =
            check(head, available, base).and_then(|header| follows(header, expected, gaps));
        let header = header.map_err(|fault| ScanError::Fault { position, fault })?;
        let frame = Frame { position, header };
        self.position = frame.end();
        self.last_size = frame.size();
        self.expected = header.next_offset();
        Ok(Some(frame))
    }

    /// The next header's bytes, fewer at the end of the range.
    fn head(&mut self) -> io::Result<&[u8]> {
        let want = (self.end - self.position).min(HEADER as u64);
        let start = self.position.wrapping_sub(self.window_start);
        let inside = self.position >= self.window_start
            && start.saturating_add(want) <= self.window.len() as u64;
        if !inside {
            let window = if self.last_size < HOP_BYTES { WINDOW_BYTES } else { HEADER as u64 };
            self.window.resize(window.min(self.end - self.position) as usize, 0);
            self.file.read_exact_at(&mut self.window, self.position)?;
            self.window_start = self.position;
        }
        let start = (self.position - self.window_start) as usize;
        Ok(&self.window[start..start + want as usize])
    }
}

/// The header in `head`, if a batch with it can stand in `available` bytes of this segment.
fn check(head: &[u8], available: u64, base: Offset) -> Result<BatchHeader, FrameFault> {
    let header = BatchHeader::parse(head)?;
    if header.size() as u64 > available {
        return Err(FrameFault::Cut { needed: header.size() as u64, available });
    }
    if header.last_offset_delta < 0 {
        return Err(FrameFault::OffsetDelta(header.last_offset_delta));
    }
    let relative = header.base_offset.get().checked_sub(base.get());
    let last = relative.and_then(|relative| relative.checked_add(header.last_offset_delta.into()));
    match (relative, last) {
        (Some(0..), Some(last)) if i32::try_from(last).is_ok() => Ok(header),
        _ => Err(FrameFault::OffsetRange(header.base_offset)),
    }
}

fn follows(header: BatchHeader, expected: Offset, gaps: Gaps) -> Result<BatchHeader, FrameFault> {
    let base = header.base_offset;
    if base < expected || (gaps == Gaps::Refused && base != expected) {
        return Err(FrameFault::OffsetOrder { base, expected });
    }
    Ok(header)
}

/// Checks a batch's CRC over the file's bytes.
///
/// # Errors
///
/// The stored and the computed CRC differ, or the file cannot be read.
pub fn verify_crc(file: &dyn File, frame: &Frame) -> Result<(), ScanError> {
    let mut position = frame.position + CRC_START as u64;
    let mut chunk = vec![0; ((frame.end() - position) as usize).min(CHUNK_BYTES)];
    let mut computed = 0;
    while position < frame.end() {
        let take = ((frame.end() - position) as usize).min(chunk.len());
        file.read_exact_at(&mut chunk[..take], position)?;
        computed = crc32c::crc32c_append(computed, &chunk[..take]);
        position += take as u64;
    }
    let stored = frame.header.crc;
    if computed == stored {
        return Ok(());
    }
    let fault = FrameFault::Header(BatchError::Crc { stored, computed });
    Err(ScanError::Fault { position: frame.position, fault })
}

/// Whether a whole batch with a good CRC stands at `position`, whatever its offset says.
pub fn is_whole_batch(file: &dyn File, position: u64, end: u64) -> io::Result<bool> {
    let available = end.saturating_sub(position);
    if available < HEADER as u64 {
        return Ok(false);
    }
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, position)?;
    let header = match BatchHeader::parse(&head) {
        Ok(header) if header.size() as u64 <= available => header,
        _ => return Ok(false),
    };
    match verify_crc(file, &Frame { position, header }) {
        Ok(()) => Ok(true),
        Err(ScanError::Fault { .. }) => Ok(false),
        Err(ScanError::Io(error)) => Err(error),
    }
}

/// A batch's bytes, whole.
pub fn read_frame(file: &dyn File, frame: &Frame) -> io::Result<Bytes> {
    let mut bytes = vec![0; frame.header.size()];
    file.read_exact_at(&mut bytes, frame.position)?;
    Ok(Bytes::from(bytes))
}

/// The first whole batch with a good CRC in `range` whose base offset is at least `expected`,
/// looked for at every byte: what tells damage in the middle of a log from a torn end.
pub fn find_frame(
    file: &dyn File,
    range: std::ops::Range<u64>,
    base: Offset,
    expected: Offset,
) -> io::Result<Option<Frame>> {
    let mut window = Vec::new();
    let mut start = range.start;
    while range.end.saturating_sub(start) >= HEADER as u64 {
        window.resize(((range.end - start) as usize).min(CHUNK_BYTES), 0);
        file.read_exact_at(&mut window, start)?;
        for (index, head) in window.windows(HEADER).enumerate() {
            // The magic is the cheapest test and refuses nearly every place.
            if head[16] != 2 {
                continue;
            }
            let position = start + index as u64;
            let Ok(header) = check(head, range.end - position, base) else { continue };
            if header.base_offset < expected {
                continue;
            }
            let frame = Frame { position, header };
            match verify_crc(file, &frame) {
                Ok(()) => return Ok(Some(frame)),
                Err(ScanError::Io(error)) => return Err(error),
                Err(ScanError::Fault { .. }) => {}
            }
        }
        start += (window.len() - HEADER + 1) as u64;
    }
    Ok(None)
}
