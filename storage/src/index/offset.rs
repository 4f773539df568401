//! `.index`: last offset of a batch, relative to the segment, and the batch's position.
//!
//! Owns: the 8-byte entry. Never: I/O.

use ottla_protocol::model::Offset;

use super::entries::IndexEntry;

/// One entry of an offset index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    /// The batch's last offset, minus the segment's base.
    pub relative_offset: u32,
    /// Where the batch begins in the `.log`.
    pub position: u32,
}

impl OffsetEntry {
    /// `None` where the offset is too far from the base for an entry.
    #[must_use]
    pub fn new(base: Offset, last_offset: Offset, position: u64) -> Option<Self> {
        Some(Self {
            relative_offset: relative(base, last_offset)?,
            position: u32::try_from(position).ok()?,
        })
    }

    #[must_use]
    pub fn offset(&self, base: Offset) -> Offset {
        base.plus(i64::from(self.relative_offset))
    }
}

/// `offset - base` where Kafka can write it: as a non-negative `int32`.
#[must_use]
pub fn relative(base: Offset, offset: Offset) -> Option<u32> {
    i32::try_from(offset.since(base)).ok().and_then(|relative| u32::try_from(relative).ok())
}

impl IndexEntry for OffsetEntry {
    const WIDTH: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |b| u32::from_be_bytes(*b))
        };
        Self { relative_offset: word(0), position: word(4) }
    }
}
