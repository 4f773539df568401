//! Record batches of magic 2: headers, records, compression, building, and the broker's rules.
//!
//! Owns: the format of KIP-98 as brokers and clients exchange and store it. Never: copies a
//! record's key or value to look at it, assigns offsets by itself, or reads batches of magic 0
//! and 1 (Kafka 4 refuses them too, KIP-724).
//! Invariant: every length is checked against the bytes that are there before it is used.

pub mod attributes;
pub mod batch;
pub mod builder;
pub mod codec;
pub mod compress;
pub mod control;
mod cursor;
pub mod decompress;
pub mod header;
pub mod record;
pub mod validate;

pub use attributes::{Attributes, TimestampType};
pub use batch::{Batch, BatchIter, Records};
pub use builder::{BatchBuilder, BuildError, NewRecord};
pub use codec::{Codec, Compression};
pub use control::{ControlRecord, ControlType, EndTxnMarker};
pub use header::{BatchError, BatchHeader};
pub use record::{HeaderIter, MalformedRecord, Record, RecordIter};
pub use validate::{ValidatedBatch, ValidationError, ValidationRules, validate};

/// Base offset and length: what stands before the part of a batch that its length counts.
pub const LOG_OVERHEAD: usize = 12;

/// The bytes of a batch before its records (Kafka's `RECORD_BATCH_OVERHEAD`).
pub const HEADER: usize = 61;

/// Where the CRC begins to count: the attributes and all that follows.
pub const CRC_START: usize = 21;

/// The only magic this broker stores.
pub const MAGIC: i8 = 2;

/// `base_sequence` of a batch without one.
pub const NO_SEQUENCE: i32 = -1;

/// The sequence `increment` after `sequence`; sequences wrap from `i32::MAX` to 0 (KIP-98).
#[must_use]
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX - increment {
        increment - (i32::MAX - sequence) - 1
    } else {
        sequence + increment
    }
}

/// The sequence `decrement` before `sequence`, wrapping the other way.
#[must_use]
pub const fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    if sequence < decrement { i32::MAX - (decrement - sequence) + 1 } else { sequence - decrement }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(increment_sequence(5, 3), 8);
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(decrement_sequence(1, 3), i32::MAX - 1);
        assert_eq!(decrement_sequence(8, 3), 5);
    }
}
