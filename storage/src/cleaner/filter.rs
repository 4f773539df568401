//! What of a batch survives a cleaning (Kafka's `Cleaner` and `MemoryRecords.filterTo`).
//!
//! Owns: the rules for records, tombstones, markers, batches that must stay though they are empty,
//! and writing the rest anew. Never: I/O.
//!
//! Invariants: a batch keeps its base and last offset, so no offset is ever used again; a batch
//! that loses nothing is taken over byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchHeader, Codec, Compression, ControlRecord, ControlType,
    HEADER, LOG_OVERHEAD, Record, TimestampType,
};

use super::BatchFault;
use super::offset_map::OffsetMap;
use super::transactions::{CleanedTransactions, Verdict};

/// The most bytes that the records of one batch may expand to. The broker refused larger ones when
/// they were produced; more than this is damage.
pub(super) const RECORDS_BYTES_MAX: usize = 1 << 30;

/// The last batch of a producer that is still remembered: it carries the last sequence number, or
/// the epoch that fences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastRecord {
    /// `None` when the producer's last batch was a marker.
    pub last_data_offset: Option<Offset>,
    pub epoch: ProducerEpoch,
}

/// What one cleaning knows while it looks at batches.
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) producers: &'a BTreeMap<ProducerId, LastRecord>,
    /// The last batch of each producer in the dirty part.
    pub(super) dirty_producers: &'a BTreeMap<ProducerId, Offset>,
    /// From here on nothing is cleaned, and a power cut may take what is there.
    pub(super) first_uncleanable: Offset,
    pub(super) now: Timestamp,
    pub(super) delete_retention_millis: i64,
}

/// Where a batch stands in what is replaced by one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Inside,
    /// It stays even if it is empty: so the new segment reaches as far as the old ones, and
    /// recovery knows from it alone what a half-finished swap replaces.
    End,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    Dropped,
    /// Byte for byte.
    Kept,
    /// With fewer records, none, or a delete horizon.
    Rewritten(Bytes),
}

/// An outcome, and how many records it has.
#[derive(Debug)]
pub(super) struct Filtered {
    pub(super) outcome: Outcome,
    pub(super) records_kept: u64,
    /// Records without a key in a compacted log: they are dropped.
    pub(super) records_invalid: u64,
}

/// The type of a control batch's record.
pub(super) fn marker_of(batch: &Batch<'_>) -> Result<Option<ControlType>, BatchFault> {
    let records = batch.records(RECORDS_BYTES_MAX)?;
    let Some(first) = records.iter().next() else { return Ok(None) };
    let first = first?;
    Ok(match ControlRecord::decode(first.key, first.value)? {
        ControlRecord::EndTxn(marker) => Some(marker.kind),
        ControlRecord::Other(kind, _) => Some(kind),
        // From a newer broker: not ours to drop.
        ControlRecord::Unknown(_) => Some(ControlType::LeaderChange),
    })
}

impl Filter<'_> {
    pub(super) fn apply(
        &self,
        batch: &Batch<'_>,
        place: Place,
        transactions: &mut CleanedTransactions,
    ) -> Result<Filtered, BatchFault> {
        let header = batch.header();
        let control = header.attributes.is_control();
        let verdict = if control {
            transactions.on_control(header, marker_of(batch)?)
        } else {
            transactions.on_batch(header)
        };
        let discardable = verdict == Verdict::Discardable;
        // A marker waits for its horizon like a tombstone, so that a reader that is in the middle
        // of its transaction can finish.
        let discard = discardable && (!control || self.horizon_passed(header));
        let stays = place == Place::End || self.is_last_of_producer(header);
        if discard {
            return Ok(self.without_records(header, stays, 0));
        }
        let sets_horizon = control && discardable;
        self.filter_records(batch, stays, sets_horizon)
    }

    fn horizon_passed(&self, header: &BatchHeader) -> bool {
        header.delete_horizon().is_some_and(|horizon| horizon <= self.now)
    }

    /// Whether the batch says what its producer had reached. Where the producer went on behind the
    /// part that is cleaned, that is its last batch within: the later ones are not durable yet.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        let Some(last) = self.producers.get(&header.producer_id) else { return false };
        let Some(offset) = last.last_data_offset else {
            return header.attributes.is_control() && header.producer_epoch == last.epoch;
        };
        if offset < self.first_uncleanable {
            return header.last_offset() == offset;
        }
        if header.attributes.is_control() {
            return false;
        }
        match self.dirty_producers.get(&header.producer_id) {
            Some(offset) => header.last_offset() == *offset,
            // It lies in the clean part, where only batches that had to stay are left empty.
            None => true,
        }
    }

    fn filter_records(
        &self,
        batch: &Batch<'_>,
        stays: bool,
        sets_horizon: bool,
    ) -> Result<Filtered, BatchFault> {
        let header = batch.header();
        let records = batch.records(RECORDS_BYTES_MAX)?;
        let mut kept: Vec<Record<'_>> = Vec::new();
        let (mut total, mut invalid, mut tombstones) = (0, 0, false);
        for record in &records {
            let record = record?;
            total += 1;
            let keeps = header.attributes.is_control()
                || match self.keeps(header, &record) {
                    Keep::Yes => true,
                    Keep::No => false,
                    Keep::NoKey => {
                        invalid += 1;
                        false
                    }
                };
            if keeps {
                tombstones |= record.value.is_none() && !header.attributes.is_control();
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return Ok(self.without_records(header, stays, invalid));
        }
        // The time that readers have begins when what it deletes may be gone: a batch behind the
        // part that is cleaned waits for its own cleaning.
        let cleaned = header.last_offset() <= self.map.latest();
        let new_horizon =
            cleaned && (tombstones || sets_horizon) && header.delete_horizon().is_none();
        let horizon = if new_horizon {
            Some(Timestamp(self.now.0.saturating_add(self.delete_retention_millis)))
        } else {
            header.delete_horizon()
        };
        let records_kept = kept.len() as u64;
        let outcome = if records_kept == total && !new_horizon {
            Outcome::Kept
        } else {
            Outcome::Rewritten(rebuild(header, &kept, horizon)?)
        };
        Ok(Filtered { outcome, records_kept, records_invalid: invalid })
    }

    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> Keep {
        if record.offset > self.map.latest() {
            return Keep::Yes;
        }
        let Some(key) = record.key else { return Keep::NoKey };
        let newest = self.map.get(key).is_none_or(|newest| record.offset >= newest);
        let value = record.value.is_some() || !self.horizon_passed(header);
        if newest && value { Keep::Yes } else { Keep::No }
    }

    fn without_records(&self, header: &BatchHeader, stays: bool, invalid: u64) -> Filtered {
        let outcome = if stays { Outcome::Rewritten(empty(header)) } else { Outcome::Dropped };
        Filtered { outcome, records_kept: 0, records_invalid: invalid }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keep {
    Yes,
    No,
    NoKey,
}

/// The batch with these of its records only.
fn rebuild(
    header: &BatchHeader,
    kept: &[Record<'_>],
    horizon: Option<Timestamp>,
) -> Result<Bytes, BatchFault> {
    let codec = header.attributes.codec().unwrap_or(Codec::None);
    let mut builder = BatchBuilder::new(Compression::new(codec, None))
        .with_base_offset(header.base_offset)
        .with_leader_epoch(header.leader_epoch);
    if header.has_producer_id() {
        builder =
            builder.with_producer(header.producer_id, header.producer_epoch, header.base_sequence);
    }
    if header.attributes.is_transactional() {
        builder = builder.with_transactional();
    }
    if header.attributes.is_control() {
        builder = builder.with_control();
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.with_append_time(header.max_timestamp);
    }
    if let Some(horizon) = horizon {
        builder = builder.with_delete_horizon(horizon);
    }
    for record in kept {
        builder.push_record(record.offset_delta, record)?;
    }
    builder.set_last_offset_delta(header.last_offset_delta);
    Ok(builder.build()?)
}

/// The batch without its records: its header says which offsets it stood for and what its producer
/// had reached (Kafka's `DefaultRecordBatch.writeEmptyHeader`).
fn empty(header: &BatchHeader) -> Bytes {
    let mut attributes =
        Attributes::default().with_timestamp_type(header.attributes.timestamp_type());
    if header.attributes.is_transactional() {
        attributes = attributes.with_transactional();
    }
    if header.attributes.is_control() {
        attributes = attributes.with_control();
    }
    let mut header = BatchHeader {
        batch_length: (HEADER - LOG_OVERHEAD) as i32,
        attributes,
        base_timestamp: Timestamp::NONE,
        records_count: 0,
        ..*header
    };
    header.crc = header.compute_crc(&[]);
    Bytes::copy_from_slice(&header.encode())
}
