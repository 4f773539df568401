//! What a log is, in memory and without any file: a list of batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, Offset, ProducerId, Timestamp};
use ottla_protocol::records::{Batch, BatchHeader, ControlRecord, ControlType};
use ottla_storage::producer_state::{
    EndMarker, ProducerEntry, ProducerState, StagedBatch, TxnOutcome,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ModelRecord {
    pub(crate) offset: Offset,
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
    pub(crate) records: Vec<ModelRecord>,
    pub(crate) marker: Option<ControlType>,
}

impl ModelBatch {
    pub(crate) fn of(bytes: Bytes) -> Self {
        let batch = Batch::parse(&bytes).unwrap();
        let header = *batch.header();
        let records = batch.records(1 << 24).unwrap();
        let records: Vec<_> = records.iter().map(Result::unwrap).collect();
        // The cleaner may have emptied it.
        let control = header.attributes.is_control() && !records.is_empty();
        let marker = control.then(|| {
            match ControlRecord::decode(records[0].key, records[0].value).unwrap() {
                ControlRecord::EndTxn(marker) => marker.kind,
                other => panic!("{other:?}"),
            }
        });
        let owned = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let records = records
            .iter()
            .map(|record| ModelRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: owned(record.key),
                value: owned(record.value),
            })
            .collect();
        Self { header, records, marker, bytes: bytes.clone() }
    }

    pub(crate) fn base(&self) -> Offset {
        self.header.base_offset
    }

    pub(crate) fn next(&self) -> Offset {
        self.header.next_offset()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// As they were appended, deleted and cleaned ones too. Without gaps, but for the jump when the
    /// log was restarted.
    pub(crate) history: Vec<ModelBatch>,
    /// As they stand in the log.
    pub(crate) batches: Vec<ModelBatch>,
    /// From here on no cleaning has taken anything away.
    pub(crate) uncleaned: Offset,
    /// From here on no cleaning has written anything anew: the end of a segment.
    pub(crate) untouched: Offset,
    /// When a tombstone was first part of a cleaning.
    pub(crate) tombstones_cleaned: BTreeMap<Offset, i64>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
}

impl Model {
    pub(crate) fn push(&mut self, batch: ModelBatch) {
        assert_eq!(batch.base(), self.end);
        self.end = batch.next();
        self.history.push(batch.clone());
        self.batches.push(batch);
    }

    /// Drops everything from `end` on, where a batch begins.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.batches.retain(|batch| batch.next() <= end);
        self.history.retain(|batch| batch.next() <= end);
        self.end = end;
        self.start = self.start.min(end);
        self.uncleaned = self.uncleaned.min(end);
        self.untouched = self.untouched.min(end);
        self.tombstones_cleaned.split_off(&end);
    }

    pub(crate) fn restart(&mut self, start: Offset) {
        *self = Self { start, end: start, ..Self::default() };
    }

    /// The start of the batch that contains `offset`, or `offset` at the end.
    pub(crate) fn boundary(&self, offset: Offset) -> Offset {
        let within = self.batches.iter().find(|batch| batch.next() > offset);
        within.map_or(offset, |batch| batch.base().min(offset))
    }

    pub(crate) fn readable(&self) -> impl Iterator<Item = &ModelBatch> {
        self.batches.iter().filter(|batch| batch.next() > self.start)
    }

    pub(crate) fn find_time(&self, timestamp: Timestamp) -> Option<(Offset, Timestamp)> {
        let mut records = self.readable().flat_map(|batch| &batch.records);
        let found = records.find(|r| r.offset >= self.start && r.timestamp >= timestamp);
        found.map(|record| (record.offset, record.timestamp))
    }

    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let batch = self.batches.iter().find(|b| b.base() <= offset && offset < b.next())?;
        Some(batch.header.leader_epoch)
    }

    /// The last five data batches of a producer, oldest first.
    pub(crate) fn recent(&self, id: ProducerId) -> Vec<&ModelBatch> {
        let mut recent: Vec<&ModelBatch> = Vec::new();
        let mut epoch = None;
        for batch in self.history.iter().filter(|batch| batch.header.producer_id == id) {
            if epoch != Some(batch.header.producer_epoch) {
                recent.clear();
                epoch = Some(batch.header.producer_epoch);
            }
            if batch.marker.is_none() {
                recent.push(batch);
            }
        }
        recent.split_off(recent.len().saturating_sub(5))
    }

    /// What the log is to know of every producer: what all its batches say, deleted ones too.
    pub(crate) fn producers(&self) -> Vec<(ProducerId, ProducerEntry)> {
        let mut state = ProducerState::default();
        for batch in &self.history {
            let marker = batch.marker.map(|kind| EndMarker {
                outcome: match kind {
                    ControlType::Abort => TxnOutcome::Aborted,
                    _ => TxnOutcome::Committed,
                },
                coordinator_epoch: 0,
                timestamp: batch.records[0].timestamp,
            });
            let (header, first_offset) = (&batch.header, batch.base());
            state.replay(StagedBatch { header, first_offset, marker });
        }
        state.iter().map(|(id, entry)| (id, entry.clone())).collect()
    }

    /// Where the open transaction of a producer began.
    pub(crate) fn open_transaction(&self, id: ProducerId) -> Option<Offset> {
        let mut open = None;
        for batch in self.history.iter().filter(|batch| batch.header.producer_id == id) {
            if batch.marker.is_some() {
                open = None;
            } else if batch.header.attributes.is_transactional() {
                open = open.or_else(|| Some(batch.base()));
            }
        }
        open
    }

    /// Producer, first and last offset of every aborted transaction, by its end.
    pub(crate) fn aborted(&self) -> Vec<(ProducerId, Offset, Offset)> {
        let mut open = std::collections::BTreeMap::new();
        let mut aborted = Vec::new();
        for batch in &self.history {
            let id = batch.header.producer_id;
            match batch.marker {
                Some(kind) => {
                    if let Some(first) = open.remove(&id)
                        && kind == ControlType::Abort
                    {
                        aborted.push((id, first, batch.base()));
                    }
                }
                None if batch.header.attributes.is_transactional() => {
                    open.entry(id).or_insert_with(|| batch.base());
                }
                None => {}
            }
        }
        aborted
    }

    /// The first offset of a transaction's data in `from..to`.
    pub(crate) fn first_data(&self, id: ProducerId, from: Offset, to: Offset) -> Option<Offset> {
        self.batches
            .iter()
            .filter(|batch| batch.header.producer_id == id && !batch.header.attributes.is_control())
            .find(|batch| batch.records.iter().any(|r| r.offset >= from && r.offset < to))
            .map(ModelBatch::base)
    }

    /// Whether a transaction's records stand in `from..to`, which a reader would take for part of
    /// one that is said to reach there.
    pub(crate) fn transactional_data(&self, id: ProducerId, from: Offset, to: Offset) -> bool {
        self.readable()
            .filter(|batch| batch.header.producer_id == id)
            .filter(|batch| batch.header.attributes.is_transactional() && batch.marker.is_none())
            .flat_map(|batch| &batch.records)
            .any(|record| record.offset >= from && record.offset < to)
    }

    pub(crate) fn last_stable(&self, producers: impl Iterator<Item = ProducerId>) -> Offset {
        producers.filter_map(|id| self.open_transaction(id)).fold(self.end, Offset::min)
    }
}
