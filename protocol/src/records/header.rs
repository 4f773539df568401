//! The 61-byte header of a batch.
//!
//! Owns: reading and writing its fields, its CRC, and the helpers that a broker patches it with.
//! Never: touches the records. Invariant: `encode(parse(bytes)) == bytes`, bit for bit.

use super::attributes::{Attributes, TimestampType};
use super::{CRC_START, HEADER, LOG_OVERHEAD, MAGIC, NO_SEQUENCE, increment_sequence};
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// The header of a batch, field by field. Nothing in it is checked beyond what
/// [`BatchHeader::parse`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record that the batch was made with.
    pub base_offset: Offset,
    /// Bytes of the batch after this field; at least 49.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    /// CRC32C over everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    /// Last offset less base offset. Compaction keeps it when it drops records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; with a delete horizon, that horizon.
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub records_count: i32,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// Not damage in itself: the end of a log that was cut, or of a fetch answer.
    #[error("the batch needs {needed} bytes and {available} are there")]
    Truncated { needed: usize, available: usize },
    #[error("a batch length of {0} is below the 49 bytes that a header takes")]
    Length(i32),
    #[error("magic {0} is not supported; only record batches of magic 2 are")]
    Magic(i8),
    #[error("the batch is damaged: its CRC is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("compression codec {0} does not exist")]
    Codec(i16),
    #[error("a batch cannot have {0} records")]
    Count(i32),
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which need not hold the records.
    ///
    /// # Errors
    /// `Truncated` below 61 bytes, `Magic` for another magic than 2, `Length` below 49.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic stands at the same place in all formats and says how to read the rest.
        if let Some(&magic) = bytes.get(LOG_OVERHEAD + 4)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::Magic(magic as i8));
        }
        let Some(head) = bytes.first_chunk::<HEADER>() else {
            return Err(BatchError::Truncated { needed: HEADER, available: bytes.len() });
        };
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field(head, 0))),
            batch_length: i32::from_be_bytes(field(head, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(head, 12))),
            crc: u32::from_be_bytes(field(head, 17)),
            attributes: Attributes(i16::from_be_bytes(field(head, 21))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: Timestamp(i64::from_be_bytes(field(head, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(head, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(head, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(head, 51))),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            records_count: i32::from_be_bytes(field(head, 57)),
        };
        if header.batch_length < (HEADER - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = MAGIC as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// The header as a broker stores it: with the offset and epoch it gives. Neither is part of
    /// the CRC, which therefore stays.
    #[must_use]
    pub fn assign(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER] {
        Self { base_offset, leader_epoch, ..*self }.encode()
    }

    /// Sets timestamp type and greatest timestamp, and the CRC that follows from them.
    ///
    /// `payload` is what stands after the header. As Kafka's `setMaxTimestamp`, nothing changes
    /// when both are already so, and attribute bits without a meaning are cleared otherwise.
    pub fn set_max_timestamp(&mut self, kind: TimestampType, max: Timestamp, payload: &[u8]) {
        if self.attributes.timestamp_type() == kind && self.max_timestamp == max {
            return;
        }
        self.attributes = self.attributes.meaningful().with_timestamp_type(kind);
        self.max_timestamp = max;
        self.crc = self.compute_crc(payload);
    }

    /// The CRC32C of this header with `payload` after it.
    #[must_use]
    pub fn compute_crc(&self, payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[CRC_START..]), payload)
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub const fn size(&self) -> usize {
        // `parse` refuses negative lengths; a header made by hand with one is a header alone.
        if self.batch_length < 0 { HEADER } else { LOG_OVERHEAD + self.batch_length as usize }
    }

    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(self.last_offset_delta as i64))
    }

    /// The offset that the next batch begins with.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// The sequence of the last record, [`NO_SEQUENCE`] without one.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE || self.last_offset_delta < 0 {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    /// The time from which compaction may drop the batch's tombstones, once it is known.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

fn field<const N: usize>(head: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            batch_length: 49,
            leader_epoch: LeaderEpoch(3),
            crc: 0xdead_beef,
            attributes: Attributes(0x7f5b),
            last_offset_delta: 4,
            base_timestamp: Timestamp(11),
            max_timestamp: Timestamp(12),
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(2),
            base_sequence: i32::MAX - 1,
            records_count: 5,
        }
    }

    #[test]
    fn every_field_round_trips() {
        let header = sample();
        let bytes = header.encode();
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        assert_eq!(header.last_sequence(), 2, "sequences wrap");
        assert_eq!(header.next_offset(), Offset(12));
    }

    #[test]
    fn damage_is_named() {
        let mut bytes = sample().encode();
        assert_eq!(
            BatchHeader::parse(&bytes[..60]),
            Err(BatchError::Truncated { needed: 61, available: 60 })
        );
        bytes[16] = 1;
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Magic(1)));
        assert_eq!(BatchHeader::parse(&bytes[..20]), Err(BatchError::Magic(1)));
        bytes[16] = 2;
        bytes[8..12].copy_from_slice(&48i32.to_be_bytes());
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Length(48)));
    }

    #[test]
    fn assigning_keeps_the_crc() {
        let mut header = sample();
        header.crc = header.compute_crc(b"payload");
        let assigned =
            BatchHeader::parse(&header.assign(Offset(1_000), LeaderEpoch(8))).expect("a header");
        assert_eq!(assigned.base_offset, Offset(1_000));
        assert_eq!(assigned.leader_epoch, LeaderEpoch(8));
        assert_eq!(assigned.compute_crc(b"payload"), assigned.crc);
    }

    #[test]
    fn append_time_renews_the_crc() {
        let mut header = sample();
        header.attributes = Attributes(0x7f00);
        header.crc = header.compute_crc(b"payload");
        let before = header;
        header.set_max_timestamp(TimestampType::CreateTime, Timestamp(12), b"payload");
        assert_eq!(header, before);
        header.set_max_timestamp(TimestampType::LogAppendTime, Timestamp(99), b"payload");
        assert_eq!(header.attributes, Attributes(0x08));
        assert_eq!(header.crc, header.compute_crc(b"payload"));
        assert_ne!(header.crc, before.crc);
    }
}
