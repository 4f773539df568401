//! `.txnindex`: the aborted transactions whose marker lies in the segment (KIP-98).
//!
//! Owns: the 34-byte entry. Never: I/O.

use ottla_protocol::model::{Offset, ProducerId};

use super::entries::IndexEntry;

/// A transaction that a read-committed reader must skip.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The abort marker's offset.
    pub last_offset: Offset,
    /// The last stable offset once the marker was written: no aborted transaction with a later
    /// marker begins below it, so a search can stop there.
    pub last_stable: Offset,
}

const VERSION: i16 = 0;

impl IndexEntry for AbortedTxn {
    const WIDTH: usize = 34;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for field in [
            self.producer_id.get(),
            self.first_offset.get(),
            self.last_offset.get(),
            self.last_stable.get(),
        ] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(-1, |b| i64::from_be_bytes(*b))
        };
        Self {
            producer_id: ProducerId(word(2)),
            first_offset: Offset(word(10)),
            last_offset: Offset(word(18)),
            last_stable: Offset(word(26)),
        }
    }
}
