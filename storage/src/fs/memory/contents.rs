//! What a memory file holds: finished pieces that can be sliced, and one that grows.
//!
//! Owns: the pieces and their boundaries. Never: locking, names.
//!
//! Invariants: pieces do not overlap; the growing piece starts at or behind the end of every other;
//! `len` is at or behind the end of every piece; what no piece covers reads as zeros.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Room of the first chunk: what an idle partition's files cost.
const CHUNK_BYTES_MIN: usize = 1024;
/// Room that chunks double up to.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// A read from the growing chunk that is at least this long ends the chunk and becomes a slice of
/// it; shorter ones are copied, or a consumer at the tail would leave a piece per record.
const SLICE_BYTES_MIN: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Finished pieces by their first position.
    pieces: BTreeMap<u64, Bytes>,
    growing: BytesMut,
    growing_start: u64,
    len: u64,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn growing_end(&self) -> u64 {
        self.growing_start + self.growing.len() as u64
    }

    pub(super) fn read_at(&self, buf: &mut [u8], position: u64) -> usize {
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let buf_len = buf.len().min(left);
        let buf = &mut buf[..buf_len];
        buf.fill(0);
        let end = position + buf.len() as u64;
        let first = self.pieces.range(..=position).next_back().map_or(position, |(at, _)| *at);
        for (start, piece) in self.pieces.range(first..end) {
            copy_overlap(piece, *start, buf, position);
        }
        copy_overlap(&self.growing, self.growing_start, buf, position);
        buf_len
    }

    /// The range as a slice, when one finished piece holds all of it.
    pub(super) fn slice(&self, position: u64, len: usize) -> Option<Bytes> {
        let left = self.len.saturating_sub(position);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return Some(Bytes::new());
        }
        let (start, piece) = self.pieces.range(..=position).next_back()?;
        let from = usize::try_from(position - start).ok()?;
        let to = from.checked_add(len)?;
        (to <= piece.len()).then(|| piece.slice(from..to))
    }

    /// The range, sliced where that is worth a piece of its own and copied otherwise.
    pub(super) fn read_bytes(&mut self, position: u64, len: usize) -> Bytes {
        let in_growing = position >= self.growing_start
            && position.saturating_add(len as u64) <= self.growing_end();
        if in_growing && len >= SLICE_BYTES_MIN {
            self.finish_growing();
        }
        if let Some(found) = self.slice(position, len) {
            return found;
        }
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buf = vec![0; len.min(left)];
        self.read_at(&mut buf, position);
        buf.into()
    }

    /// Writes `bytes` at `position`; the caller checked that the end is a valid file position.
    pub(super) fn write_at(&mut self, bytes: &[u8], position: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len() as u64;
        if position < self.growing_start {
            self.overwrite_pieces(bytes, position);
        } else {
            if position > self.growing_end() {
                self.finish_growing();
                self.growing_start = position;
            }
            let from = (position - self.growing_start) as usize;
            let over = bytes.len().min(self.growing.len() - from);
            self.growing[from..from + over].copy_from_slice(&bytes[..over]);
            self.append(&bytes[over..]);
        }
        self.len = self.len.max(end);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.clear_range(len, self.len);
        }
        self.len = len;
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.growing.capacity() - self.growing.len();
            if room == 0 {
                let next = (self.growing.len() * 2).max(bytes.len());
                self.finish_growing();
                let next = next.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).next_power_of_two();
                self.growing = BytesMut::with_capacity(next);
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.growing.extend_from_slice(now);
            bytes = rest;
        }
    }

    /// Turns what the growing piece holds into a finished one; the rest of its room stays in use.
    fn finish_growing(&mut self) {
        let end = self.growing_end();
        if !self.growing.is_empty() {
            let piece = self.growing.split().freeze();
            self.pieces.insert(self.growing_start, piece);
        }
        self.growing_start = end;
    }

    /// Writes at a position before the growing piece.
    fn overwrite_pieces(&mut self, bytes: &[u8], position: u64) {
        let end = position + bytes.len() as u64;
        if end > self.growing_start {
            self.finish_growing();
        }
        self.clear_range(position, end);
        self.pieces.insert(position, Bytes::copy_from_slice(bytes));
        self.growing_start = self.growing_start.max(end);
    }

    /// Removes whatever lies in `from..to` from the pieces, keeping what lies beside it.
    fn clear_range(&mut self, from: u64, to: u64) {
        if self.growing_start < to && from < self.growing_end() {
            self.finish_growing();
        }
        let first = self.pieces.range(..from).next_back().map_or(from, |(at, _)| *at);
        let touched: Vec<u64> = self.pieces.range(first..to).map(|(at, _)| *at).collect();
        for start in touched {
            let Some(mut piece) = self.pieces.remove(&start) else { continue };
            let end = start + piece.len() as u64;
            if end > to {
                let cut = (to.max(start) - start) as usize;
                self.pieces.insert(to.max(start), piece.slice(cut..));
            }
            if start < from {
                piece.truncate((from - start) as usize);
                self.pieces.insert(start, piece);
            }
        }
        if self.growing.is_empty() {
            let last = self.pieces.last_key_value();
            self.growing_start = last.map_or(0, |(at, piece)| at + piece.len() as u64);
        }
    }
}

/// Copies the part of `piece` (which starts at `start`) that lies in `buf` (which starts at
/// `position`).
fn copy_overlap(piece: &[u8], start: u64, buf: &mut [u8], position: u64) {
    let from = start.max(position);
    let to = (start + piece.len() as u64).min(position + buf.len() as u64);
    if from < to {
        let len = (to - from) as usize;
        let (source, target) = ((from - start) as usize, (from - position) as usize);
        buf[target..target + len].copy_from_slice(&piece[source..source + len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize, u8),
        Write(u64, usize, u8),
        SetLen(u64),
        Read(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..3000, any::<u8>()).prop_map(|(len, byte)| Step::Append(len, byte)),
            1 => Just(Step::Append(70_000, 7)),
            3 => (0u64..100_000, 0usize..5000, any::<u8>())
                .prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
            2 => (0u64..150_000).prop_map(Step::SetLen),
            4 => (0u64..150_000, 0usize..90_000).prop_map(|(at, len)| Step::Read(at, len)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_one_vector(steps in prop::collection::vec(step(), 1..60)) {
            let mut contents = Contents::default();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(len, byte) => {
                        contents.write_at(&vec![byte; len], model.len() as u64);
                        model.resize(model.len() + len, byte);
                    }
                    Step::Write(at, len, byte) => {
                        contents.write_at(&vec![byte; len], at);
                        let (at, end) = (at as usize, at as usize + len);
                        if len > 0 && model.len() < end {
                            model.resize(end, 0);
                        }
                        if len > 0 {
                            model[at..end].fill(byte);
                        }
                    }
                    Step::SetLen(len) => {
                        contents.set_len(len);
                        model.resize(len as usize, 0);
                    }
                    Step::Read(at, len) => {
                        let from = (at as usize).min(model.len());
                        let to = (from + len).min(model.len());
                        prop_assert_eq!(&contents.read_bytes(at, len)[..], &model[from..to]);
                    }
                }
                prop_assert_eq!(contents.len(), model.len() as u64);
            }
            let mut all = vec![1; model.len()];
            prop_assert_eq!(contents.read_at(&mut all, 0), model.len());
            prop_assert_eq!(all, model);
        }
    }

    #[test]
    fn large_reads_share_what_was_written() {
        let mut contents = Contents::default();
        contents.write_at(&vec![3; 200_000], 0);
        let first = contents.read_bytes(10, 100_000);
        let second = contents.read_bytes(10, 100_000);
        assert_eq!(first.as_ptr(), second.as_ptr(), "both are slices of the chunk");
        contents.write_at(&[9; 50], 20);
        assert_eq!(first[10], 3, "a slice that was handed out never changes");
        assert_eq!(contents.read_bytes(20, 1)[..], [9]);
    }
}
