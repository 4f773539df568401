//! `.timeindex`: the largest timestamp so far, and the batch that brought it (KIP-33).
//!
//! Owns: the 12-byte entry. Never: I/O.

use ottla_protocol::model::{Offset, Timestamp};

use super::entries::IndexEntry;

/// One entry of a time index: no batch up to this one has a later timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    pub timestamp: Timestamp,
    /// The last offset of the batch that has it, minus the segment's base.
    pub relative_offset: u32,
}

impl TimeEntry {
    #[must_use]
    pub fn offset(&self, base: Offset) -> Offset {
        base.plus(i64::from(self.relative_offset))
    }
}

impl IndexEntry for TimeEntry {
    const WIDTH: usize = 12;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.get().to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let timestamp = bytes.first_chunk().map_or(-1, |b| i64::from_be_bytes(*b));
        let relative = bytes.get(8..).and_then(|rest| rest.first_chunk());
        Self {
            timestamp: Timestamp(timestamp),
            relative_offset: relative.map_or(0, |b| u32::from_be_bytes(*b)),
        }
    }
}
