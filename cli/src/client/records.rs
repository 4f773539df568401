//! Records as commands see them, read from the batches of a Fetch answer.
//!
//! Owns: [`RecordView`], visibility (offset range, control batches, aborted transactions) and
//! damage in what a broker sent. Never: copies a key or value. Invariant: records come in offset
//! order and each at most once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::{Batch, BatchIter, ControlRecord, ControlType};

/// What one batch may expand to.
const EXPANDED_MAX: usize = 1 << 30;

/// One record, borrowed from the answer that carried it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Epoch milliseconds; -1: none.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// Batches of one partition and which of their records count.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) records: Bytes,
    /// The first offset that counts.
    pub(crate) from: i64,
    /// The first offset that does not; `None`: all to the end.
    pub(crate) until: Option<i64>,
    /// Aborted transactions as (producer id, first offset), when they are to be left out.
    pub(crate) aborted: Vec<(i64, i64)>,
}

/// Whether to go on after a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Next,
    Stop,
}

/// A batch that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{topic}-{partition} at offset {offset}: {cause}")]
pub(crate) struct Damaged {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) cause: String,
}

impl Chunk {
    /// The offset after the last whole batch; `from` when there is none.
    pub(crate) fn next_offset(&self) -> i64 {
        BatchIter::new(&self.records)
            .map_while(Result::ok)
            .last()
            .map_or(self.from, |batch| batch.header().next_offset().0.max(self.from))
    }

    /// Calls `visit` with every record that counts, until it says stop.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(&RecordView<'_>) -> Step,
    ) -> Result<Step, Damaged> {
        let mut aborted: Vec<(i64, i64)> = self.aborted.clone();
        aborted.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        let mut open: BTreeSet<i64> = BTreeSet::new();
        for batch in BatchIter::new(&self.records) {
            let batch = batch.map_err(|error| self.damaged(self.from, &error))?;
            let header = *batch.header();
            while let Some((producer, first)) = aborted.last().copied()
                && first <= header.last_offset().0
            {
                open.insert(producer);
                aborted.pop();
            }
            if header.attributes.is_control() {
                if is_abort(&batch) {
                    open.remove(&header.producer_id.0);
                }
                continue;
            }
            let of_aborted =
                header.attributes.is_transactional() && open.contains(&header.producer_id.0);
            if of_aborted || header.last_offset().0 < self.from {
                continue;
            }
            if self.visit_batch(&batch, &mut visit)? == Step::Stop {
                return Ok(Step::Stop);
            }
        }
        Ok(Step::Next)
    }

    fn visit_batch(
        &self,
        batch: &Batch<'_>,
        visit: &mut impl FnMut(&RecordView<'_>) -> Step,
    ) -> Result<Step, Damaged> {
        let base = batch.header().base_offset.0;
        batch.check_crc().map_err(|error| self.damaged(base, &error))?;
        let records = batch.records(EXPANDED_MAX).map_err(|error| self.damaged(base, &error))?;
        for record in &records {
            let record = record.map_err(|error| self.damaged(base, &error))?;
            let offset = record.offset.0;
            if offset < self.from || self.until.is_some_and(|until| offset >= until) {
                continue;
            }
            let headers: Result<Vec<_>, _> = record.headers().collect();
            let view = RecordView {
                topic: &self.topic,
                partition: self.partition,
                offset,
                timestamp: record.timestamp.0,
                key: record.key,
                value: record.value,
                headers: headers.map_err(|error| self.damaged(offset, &error))?,
            };
            if visit(&view) == Step::Stop {
                return Ok(Step::Stop);
            }
        }
        Ok(Step::Next)
    }

    fn damaged(&self, offset: i64, cause: &impl ToString) -> Damaged {
        Damaged {
            topic: self.topic.to_string(),
            partition: self.partition,
            offset,
            cause: cause.to_string(),
        }
    }
}

fn is_abort(batch: &Batch<'_>) -> bool {
    let Ok(records) = batch.records(EXPANDED_MAX) else { return false };
    let Some(Ok(record)) = records.iter().next() else { return false };
    matches!(
        ControlRecord::decode(record.key, record.value),
        Ok(ControlRecord::EndTxn(marker)) if marker.kind == ControlType::Abort
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
    use ottla_protocol::records::{BatchBuilder, Compression, EndTxnMarker, NewRecord};

    fn batch(base: i64, values: &[&str]) -> BatchBuilder {
        let mut builder = BatchBuilder::new(Compression::NONE).with_base_offset(Offset(base));
        for value in values {
            let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::at(Timestamp(7)) };
            builder.push(record).expect("small");
        }
        builder
    }

    fn chunk(batches: Vec<Bytes>, from: i64, until: Option<i64>) -> Chunk {
        let records = batches.concat().into();
        Chunk { topic: "t".into(), partition: 0, records, from, until, aborted: Vec::new() }
    }

    fn offsets(chunk: &Chunk) -> Vec<i64> {
        let mut seen = Vec::new();
        let visited = chunk.visit(|record| {
            seen.push(record.offset);
            Step::Next
        });
        visited.expect("whole");
        seen
    }

    #[test]
    fn only_the_asked_range_is_visible() {
        let two = vec![
            batch(0, &["a", "b", "c"]).build().expect("built"),
            batch(3, &["d", "e"]).build().expect("built"),
        ];
        let chunk = chunk(two, 1, Some(4));
        assert_eq!(offsets(&chunk), [1, 2, 3]);
        assert_eq!(chunk.next_offset(), 5);
    }

    #[test]
    fn aborted_transactions_are_left_out() {
        let of = |base: i64, producer: i64| {
            batch(base, &["x", "y"])
                .with_producer(ProducerId(producer), ProducerEpoch(0), 0)
                .with_transactional()
                .build()
                .expect("built")
        };
        let marker = EndTxnMarker { kind: ControlType::Abort, coordinator_epoch: 0 }
            .batch(ProducerId(1), ProducerEpoch(0), Timestamp(7))
            .expect("built");
        let mut marker = marker.to_vec();
        marker[..8].copy_from_slice(&4i64.to_be_bytes());
        let batches = vec![of(0, 1), of(2, 2), marker.into(), of(5, 1)];
        let mut chunk = chunk(batches, 0, None);
        chunk.aborted = vec![(1, 0)];
        assert_eq!(offsets(&chunk), [2, 3, 5, 6]);
        chunk.aborted.clear();
        assert_eq!(offsets(&chunk), [0, 1, 2, 3, 5, 6]);
    }

    #[test]
    fn damage_is_named() {
        let mut bytes = batch(0, &["a"]).build().expect("built").to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = chunk(vec![bytes.into()], 0, None).visit(|_| Step::Next).expect_err("damaged");
        assert!(error.cause.contains("CRC"), "{error}");
    }
}
