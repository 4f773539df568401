//! `segment-seals`: what was true of each segment when it was closed. Our own file beside Kafka's.
//!
//! Owns: the record and the file's bytes. Never: I/O.
//! Kafka's indexes have no checksums: a flipped bit in one would answer a wrong offset for a
//! timestamp. With a seal an index is compared once, when first used; without one (a folder of
//! Kafka's, or the active segment after a crash) it is rebuilt from the log instead.
//! Records are appended; the last one for a base offset counts.

use std::collections::BTreeMap;

use ottla_protocol::model::{Offset, Timestamp};

/// A segment's latest timestamp, and the last offset of the batch that brought it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxTimestamp {
    pub timestamp: Timestamp,
    pub offset: Offset,
}

impl MaxTimestamp {
    /// No batch has a timestamp.
    pub const NONE: Self = Self { timestamp: Timestamp::NONE, offset: Offset::NONE };
}

/// How many entries an index has, and their CRC32C.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IndexSeal {
    pub entries: u32,
    pub crc: u32,
}

/// What was true of a segment when it was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    pub base: Offset,
    pub next_offset: Offset,
    pub log_bytes: u64,
    pub max_timestamp: MaxTimestamp,
    pub offset_index: IndexSeal,
    pub time_index: IndexSeal,
    pub transaction_index: IndexSeal,
}

const MAGIC: [u8; 8] = *b"OTLSEAL1";
const RECORD_BYTES: usize = 68;
/// `log_bytes` of a record that takes an older one back: the segment is about to be cut.
const VOID: u64 = u64::MAX;

/// What every file begins with.
#[must_use]
pub fn file_head() -> [u8; 8] {
    MAGIC
}

/// The bytes of a record that says `seal`.
#[must_use]
pub fn encode(seal: &Seal) -> [u8; RECORD_BYTES] {
    let mut words = Vec::with_capacity(RECORD_BYTES);
    for word in [
        seal.base.get() as u64,
        seal.next_offset.get() as u64,
        seal.log_bytes,
        seal.max_timestamp.timestamp.get() as u64,
        seal.max_timestamp.offset.get() as u64,
    ] {
        words.extend_from_slice(&word.to_be_bytes());
    }
    for index in [seal.offset_index, seal.time_index, seal.transaction_index] {
        words.extend_from_slice(&index.entries.to_be_bytes());
        words.extend_from_slice(&index.crc.to_be_bytes());
    }
    let mut record = [0; RECORD_BYTES];
    record[..RECORD_BYTES - 4].copy_from_slice(&words);
    record[RECORD_BYTES - 4..].copy_from_slice(&crc32c::crc32c(&words).to_be_bytes());
    record
}

/// The bytes of a record that takes back what was said of the segment at `base`, because the log is
/// about to be cut at `cut`.
#[must_use]
pub fn encode_void(base: Offset, cut: Offset) -> [u8; RECORD_BYTES] {
    encode(&Seal {
        base,
        next_offset: cut,
        log_bytes: VOID,
        max_timestamp: MaxTimestamp::NONE,
        offset_index: IndexSeal::default(),
        time_index: IndexSeal::default(),
        transaction_index: IndexSeal::default(),
    })
}

/// The bytes of a record that ends what records of cuts say: all is durable that was before.
#[must_use]
pub fn encode_regrown() -> [u8; RECORD_BYTES] {
    encode_note(NOTE_REGROWN, 0, Offset::NONE)
}

/// The bytes of a record with the CRC32C of the epoch checkpoint's text, and the first offset whose
/// epoch differs from the text before it; `Offset::NONE` where that is not known.
#[must_use]
pub fn encode_epochs(crc: u32, from: Offset) -> [u8; RECORD_BYTES] {
    encode_note(NOTE_EPOCHS, crc, from)
}

/// The bytes of a record that says the log was cut at `cut`, and of no segment.
#[must_use]
pub fn encode_cut(cut: Offset) -> [u8; RECORD_BYTES] {
    encode_void(NOTE_CUT, cut)
}

/// Records that are not about a segment have a base that no segment has.
const NOTE_REGROWN: Offset = Offset(-1);
const NOTE_EPOCHS: Offset = Offset(-2);
const NOTE_CUT: Offset = Offset(-3);

fn encode_note(kind: Offset, crc: u32, from: Offset) -> [u8; RECORD_BYTES] {
    encode(&Seal {
        base: kind,
        next_offset: kind,
        log_bytes: 0,
        max_timestamp: MaxTimestamp { timestamp: Timestamp::NONE, offset: from },
        offset_index: IndexSeal { entries: 0, crc },
        time_index: IndexSeal::default(),
        transaction_index: IndexSeal::default(),
    })
}

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seals {
    pub by_base: BTreeMap<Offset, Seal>,
    /// The lowest offset at which the log was cut on purpose, until it had grown again and was
    /// durable: a recovery point above it says nothing.
    pub cut: Option<Offset>,
    /// Checksums of the last two texts of the epoch checkpoint: a crash leaves either.
    pub epochs: [Option<u32>; 2],
    /// Where the last of them begins to differ from the one before.
    pub epochs_from: Option<Offset>,
}

impl Seals {
    /// Whether a text of the epoch checkpoint with this checksum can be what stands there. The one
    /// before the last cannot where a recovery point passed their difference: none does before the
    /// last is durable. Then it is rot that looks like it: one bit makes an epoch another.
    #[must_use]
    pub fn knows_epochs(&self, crc: u32, recovery_point: Offset) -> bool {
        let [before, last] = self.epochs;
        match (before, last) {
            (None, None) => true,
            (_, last) if last == Some(crc) => true,
            (before, _) => {
                before == Some(crc) && self.epochs_from.is_none_or(|from| recovery_point <= from)
            }
        }
    }
}

/// Reads a file. A damaged record ends it: what follows is not used.
#[must_use]
pub fn parse(bytes: &[u8]) -> Seals {
    let mut seals = Seals::default();
    let Some(records) = bytes.strip_prefix(&MAGIC) else { return seals };
    for record in records.chunks_exact(RECORD_BYTES) {
        let Some(seal) = decode(record) else { break };
        if seal.base == NOTE_REGROWN {
            seals.cut = None;
        } else if seal.base == NOTE_EPOCHS {
            seals.epochs = [seals.epochs[1], Some(seal.offset_index.crc)];
            seals.epochs_from =
                Some(seal.max_timestamp.offset).filter(|from| *from >= Offset::ZERO);
        } else if seal.log_bytes == VOID {
            seals.by_base.remove(&seal.base);
            seals.cut = Some(seals.cut.map_or(seal.next_offset, |cut| cut.min(seal.next_offset)));
        } else {
            seals.by_base.insert(seal.base, seal);
        }
    }
    seals
}

/// How many bytes at the front of a file are whole records: where the next one goes.
#[must_use]
pub fn valid_bytes(bytes: &[u8]) -> usize {
    let Some(records) = bytes.strip_prefix(&MAGIC) else { return 0 };
    let good = records.chunks_exact(RECORD_BYTES).take_while(|record| decode(record).is_some());
    MAGIC.len() + good.count() * RECORD_BYTES
}

fn decode(record: &[u8]) -> Option<Seal> {
    let (words, crc) = record.split_last_chunk::<4>()?;
    if crc32c::crc32c(words) != u32::from_be_bytes(*crc) {
        return None;
    }
    let long = |at: usize| words.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b));
    let int = |at: usize| words.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b));
    let index = |at| Some(IndexSeal { entries: int(at)?, crc: int(at + 4)? });
    Some(Seal {
        base: Offset(long(0)? as i64),
        next_offset: Offset(long(8)? as i64),
        log_bytes: long(16)?,
        max_timestamp: MaxTimestamp {
            timestamp: Timestamp(long(24)? as i64),
            offset: Offset(long(32)? as i64),
        },
        offset_index: index(40)?,
        time_index: index(48)?,
        transaction_index: index(56)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(base: i64) -> Seal {
        Seal {
            base: Offset(base),
            next_offset: Offset(base + 10),
            log_bytes: 1234,
            max_timestamp: MaxTimestamp { timestamp: Timestamp(99), offset: Offset(base + 3) },
            offset_index: IndexSeal { entries: 1, crc: 2 },
            time_index: IndexSeal { entries: 3, crc: 4 },
            transaction_index: IndexSeal { entries: 5, crc: 6 },
        }
    }

    #[test]
    fn the_epochs_before_the_last_are_known_below_their_difference() {
        let mut bytes = file_head().to_vec();
        assert!(parse(&bytes).knows_epochs(9, Offset(50)), "nothing is known");
        bytes.extend_from_slice(&encode_epochs(1, Offset(0)));
        bytes.extend_from_slice(&encode_epochs(2, Offset(10)));
        let seals = parse(&bytes);
        for point in [Offset(10), Offset(11)] {
            assert!(seals.knows_epochs(2, point) && !seals.knows_epochs(9, point));
            assert_eq!(seals.knows_epochs(1, point), point == Offset(10));
        }
        bytes.extend_from_slice(&encode_epochs(3, Offset::NONE));
        assert!(parse(&bytes).knows_epochs(2, Offset(99)), "nobody said where they differ");
    }

    #[test]
    fn the_last_record_counts_and_damage_ends_the_file() {
        let mut bytes = file_head().to_vec();
        bytes.extend_from_slice(&encode(&seal(0)));
        bytes.extend_from_slice(&encode(&seal(10)));
        bytes.extend_from_slice(&encode_void(Offset(0), Offset(4)));
        let seals = parse(&bytes);
        assert_eq!(seals.by_base.into_values().collect::<Vec<_>>(), [seal(10)]);
        assert_eq!(seals.cut, Some(Offset(4)));
        assert_eq!(valid_bytes(&bytes), bytes.len());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            for found in parse(&flipped).by_base.into_values() {
                assert_eq!(found, seal(found.base.get()), "flipped at {at}");
            }
            assert!(parse(&bytes[..at]).by_base.len() <= 2);
        }
    }
}
