//! Building a batch from records.
//!
//! Owns: encoding records and filling in the header. Never: gives offsets (the log does), or
//! splits what is too large. Invariant: what is built passes the broker's own validation, unless
//! the caller asked for control or gaps.

use bytes::Bytes;

use super::attributes::{Attributes, TimestampType};
use super::codec::{Codec, Compression};
use super::compress::compress_into;
use super::header::BatchHeader;
use super::record::Record;
use super::{HEADER, LOG_OVERHEAD, NO_SEQUENCE};
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::varint::{len_signed, len_signed64, put_signed, put_signed64};

/// A record to be built in.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl NewRecord<'_> {
    /// A record with nothing but a time.
    #[must_use]
    pub const fn at(timestamp: Timestamp) -> Self {
        Self { timestamp, key: None, value: None, headers: &[] }
    }
}

/// Why a batch could not be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    #[error("a batch cannot be larger than 2 GiB")]
    TooLarge,
    #[error("the records could not be compressed: {0}")]
    Compress(String),
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    header: BatchHeader,
    base_timestamp: Option<Timestamp>,
    append_time: Option<Timestamp>,
    /// The header's room, then the records.
    buffer: Vec<u8>,
}

impl BatchBuilder {
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            header: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                leader_epoch: LeaderEpoch::NONE,
                crc: 0,
                attributes: Attributes::default().with_codec(compression.codec()),
                last_offset_delta: -1,
                base_timestamp: Timestamp::NONE,
                max_timestamp: Timestamp::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            base_timestamp: None,
            append_time: None,
            buffer: vec![0; HEADER],
        }
    }

    #[must_use]
    pub const fn with_base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    #[must_use]
    pub const fn with_leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Makes it a batch of an idempotent producer.
    #[must_use]
    pub const fn with_producer(
        mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
    ) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub const fn with_transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional();
        self
    }

    #[must_use]
    pub const fn with_control(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_control();
        self
    }

    /// Gives every record the broker's time.
    #[must_use]
    pub const fn with_append_time(mut self, now: Timestamp) -> Self {
        self.append_time = Some(now);
        self
    }

    /// Marks the batch with the time from which its tombstones may go (KIP-534). To be called
    /// before the first record.
    #[must_use]
    pub const fn with_delete_horizon(mut self, horizon: Timestamp) -> Self {
        self.header.attributes = self.header.attributes.with_delete_horizon();
        self.base_timestamp = Some(horizon);
        self
    }

    /// The last offset delta when it is not the last record's: compaction keeps it after it
    /// dropped that record. To be called after the last record.
    pub const fn set_last_offset_delta(&mut self, delta: i32) {
        self.header.last_offset_delta = delta;
    }

    /// The greatest timestamp when it is not a record's: compaction keeps it for a batch that it
    /// emptied. To be called after the last record.
    pub const fn set_max_timestamp(&mut self, max: Timestamp) {
        self.header.max_timestamp = max;
    }

    /// Adds a record with the next offset delta.
    ///
    /// # Errors
    /// `TooLarge`; the record is not added then.
    pub fn push(&mut self, record: NewRecord<'_>) -> Result<(), BuildError> {
        let delta = self.header.last_offset_delta.checked_add(1).ok_or(BuildError::TooLarge)?;
        self.push_at(delta, record)
    }

    /// Adds a record with an offset delta of the caller's choice.
    ///
    /// # Errors
    /// `TooLarge`; the record is not added then.
    pub fn push_at(&mut self, offset_delta: i32, record: NewRecord<'_>) -> Result<(), BuildError> {
        let tail = nullable_len(record.key)
            + nullable_len(record.value)
            + record
                .headers
                .iter()
                .map(|(key, value)| nullable_len(Some(key.as_bytes())) + nullable_len(*value))
                .sum::<usize>()
            + len_signed(i32::try_from(record.headers.len()).unwrap_or(i32::MAX));
        self.begin_record(offset_delta, record.timestamp, tail)?;
        put_nullable(&mut self.buffer, record.key);
        put_nullable(&mut self.buffer, record.value);
        // `begin_record` has refused what does not fit an i32.
        put_signed(&mut self.buffer, record.headers.len() as i32);
        for (key, value) in record.headers {
            put_nullable(&mut self.buffer, Some(key.as_bytes()));
            put_nullable(&mut self.buffer, *value);
        }
        Ok(())
    }

    /// Takes over a record of another batch, with its time, at an offset delta of its own here.
    ///
    /// # Errors
    /// `TooLarge`; the record is not added then.
    pub fn push_record(
        &mut self,
        offset_delta: i32,
        record: &Record<'_>,
    ) -> Result<(), BuildError> {
        self.begin_record(offset_delta, record.timestamp, record.tail().len())?;
        self.buffer.extend_from_slice(record.tail());
        Ok(())
    }

    fn begin_record(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        tail: usize,
    ) -> Result<(), BuildError> {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(base.0);
        let len = 1 + len_signed64(timestamp_delta) + len_signed(offset_delta) + tail;
        let total = self.buffer.len().saturating_add(len).saturating_add(5);
        if i32::try_from(total).is_err() {
            return Err(BuildError::TooLarge);
        }
        self.buffer.reserve(len + 5);
        put_signed(&mut self.buffer, len as i32);
        self.buffer.push(0);
        put_signed64(&mut self.buffer, timestamp_delta);
        put_signed(&mut self.buffer, offset_delta);
        self.header.records_count += 1;
        self.header.last_offset_delta = offset_delta;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        Ok(())
    }

    #[must_use]
    pub const fn records_count(&self) -> i32 {
        self.header.records_count
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes so far, header included, before compression.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.buffer.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// `Compress` where an encoder fails, `TooLarge` where it made the batch grow over 2 GiB.
    pub fn build(mut self) -> Result<Bytes, BuildError> {
        let mut out = match self.compression.codec() {
            Codec::None => self.buffer,
            _ => {
                let mut packed = Vec::with_capacity(self.buffer.len() / 2 + HEADER);
                packed.resize(HEADER, 0);
                let records = self.buffer.get(HEADER..).unwrap_or_default();
                compress_into(self.compression, records, &mut packed)
                    .map_err(|error| BuildError::Compress(error.to_string()))?;
                packed
            }
        };
        let header = &mut self.header;
        header.batch_length =
            i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| BuildError::TooLarge)?;
        header.base_timestamp = self.base_timestamp.unwrap_or(Timestamp::NONE);
        if let Some(now) = self.append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = now;
        }
        let (head, payload) = out.split_at_mut(HEADER);
        header.crc = header.compute_crc(payload);
        head.copy_from_slice(&header.encode());
        Ok(Bytes::from(out))
    }
}

fn nullable_len(value: Option<&[u8]>) -> usize {
    match value {
        None => 1,
        Some(value) => len_signed(i32::try_from(value.len()).unwrap_or(i32::MAX)) + value.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => put_signed(out, -1),
        Some(value) => {
            put_signed(out, value.len() as i32);
            out.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Batch;

    #[test]
    fn every_part_of_a_record_comes_back() {
        let mut builder = BatchBuilder::new(Codec::Zstd.into())
            .with_base_offset(Offset(40))
            .with_leader_epoch(LeaderEpoch(2))
            .with_producer(ProducerId(1), ProducerEpoch(2), 3)
            .with_transactional();
        builder
            .push(NewRecord {
                key: Some(b"k"),
                value: None,
                headers: &[("h", Some(b"1")), ("n", None)],
                ..NewRecord::at(Timestamp(100))
            })
            .expect("it fits");
        builder
            .push(NewRecord { value: Some(b""), ..NewRecord::at(Timestamp(90)) })
            .expect("it fits");
        let bytes = builder.build().expect("it builds");
        let batch = Batch::parse(&bytes).expect("a batch");
        batch.check_crc().expect("its CRC");
        let header = batch.header();
        assert_eq!((header.records_count, header.last_offset_delta), (2, 1));
        assert_eq!((header.base_timestamp, header.max_timestamp), (Timestamp(100), Timestamp(100)));
        assert_eq!(header.last_sequence(), 4);
        assert_eq!(header.last_offset(), Offset(41));
        let records = batch.records(1_000).expect("expandable");
        let records: Vec<_> = records.iter().map(|record| record.expect("well formed")).collect();
        assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), None));
        let headers: Vec<_> = records[0].headers().map(|header| header.expect("sound")).collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (&b"n"[..], None)]);
        assert_eq!((records[1].key, records[1].value), (None, Some(&b""[..])));
        assert_eq!((records[1].offset, records[1].timestamp), (Offset(41), Timestamp(90)));
    }

    #[test]
    fn records_move_between_batches() {
        let mut builder = BatchBuilder::new(Compression::NONE);
        for key in [b"a", b"b", b"c"] {
            builder
                .push(NewRecord { key: Some(key), ..NewRecord::at(Timestamp(7)) })
                .expect("it fits");
        }
        let bytes = builder.build().expect("it builds");
        let batch = Batch::parse(&bytes).expect("a batch");
        let mut kept = BatchBuilder::new(Codec::Lz4.into()).with_delete_horizon(Timestamp(9));
        let records = batch.records(0).expect("plain");
        for record in records.iter().map(|record| record.expect("sound")) {
            if record.key == Some(b"b") {
                kept.push_record(record.offset_delta, &record).expect("it fits");
            }
        }
        kept.set_last_offset_delta(2);
        let bytes = kept.build().expect("it builds");
        let batch = Batch::parse(&bytes).expect("a batch");
        assert_eq!((batch.header().records_count, batch.header().last_offset_delta), (1, 2));
        assert_eq!(batch.header().delete_horizon(), Some(Timestamp(9)));
        let records = batch.records(1_000).expect("expandable");
        let record = records.iter().next().expect("one").expect("sound");
        assert_eq!((record.offset, record.timestamp), (Offset(1), Timestamp(7)));
    }
}
