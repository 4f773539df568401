//! What a log should hold: every batch that was appended, and what may have become of it.
//!
//! Owns: the comparison with what a log answers. Never: touches a file system.

use std::collections::BTreeMap;

use ottla_protocol::model::Offset;
use ottla_protocol::records::BatchIter;
use ottla_storage::{MinOneBatch, PartitionLog};

/// One record by its offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) timestamp: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// The records that were appended and not truncated, and how many of them must survive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<i64, Record>,
    pub(crate) end: i64,
    /// Everything below was reported durable.
    pub(crate) durable: i64,
    /// Nothing below can be read.
    pub(crate) start: i64,
    /// Superseded records below may be gone.
    pub(crate) cleaned: i64,
}

impl Model {
    pub(crate) fn append(&mut self, base: i64, records: Vec<Record>) {
        assert_eq!(base, self.end, "offsets go on where the log ends");
        for (record, offset) in records.into_iter().zip(base..) {
            self.records.insert(offset, record);
            self.end = offset + 1;
        }
    }

    pub(crate) fn truncate(&mut self, end: i64) {
        self.records.split_off(&end);
        self.end = end;
        self.durable = self.durable.min(end);
        self.start = self.start.min(end);
        self.cleaned = self.cleaned.min(end);
    }

    /// Compares the log with the model, record by record.
    pub(crate) fn check(&self, log: &PartitionLog) {
        assert_eq!(log.log_end(), Offset(self.end), "log end");
        assert!(log.log_start().0 <= self.start.max(log.log_start().0));
        let found = read_all(log);
        let mut missing: Vec<i64> = Vec::new();
        let from = log.log_start().0;
        for (offset, record) in &found {
            assert_eq!(self.records.get(offset), Some(record), "offset {offset}");
        }
        for (offset, record) in self.records.range(from..) {
            if !found.contains_key(offset) && !self.may_be_gone(*offset, record) {
                missing.push(*offset);
            }
        }
        let keys: Vec<_> = missing
            .iter()
            .map(|offset| {
                let key = &self.records[offset].key;
                let same = self.records.iter().filter(|(_, record)| record.key == *key);
                (*offset, same.map(|(offset, _)| *offset).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(missing, [0i64; 0], "from {from} to {}, of {keys:?} are missing", self.end);
    }

    /// Whether compaction may have dropped a record: a later one has its key, or it is a tombstone.
    fn may_be_gone(&self, offset: i64, record: &Record) -> bool {
        offset < self.cleaned
            && (record.value.is_none()
                || self.records.range(offset + 1..).any(|(_, later)| later.key == record.key))
    }
}

/// Every record that a reader finds, through as many reads as it takes.
pub(crate) fn read_all(log: &PartitionLog) -> BTreeMap<i64, Record> {
    let mut found = BTreeMap::new();
    let mut at = log.log_start();
    let end = log.log_end();
    while at < end {
        let read = log.read(at, 700, end, MinOneBatch::Yes).expect("readable");
        let bytes = read.to_bytes().expect("readable");
        if bytes.is_empty() {
            break;
        }
        for batch in BatchIter::new(&bytes) {
            let batch = batch.expect("whole batches");
            batch.check_crc().expect("good CRCs");
            for record in &batch.records(1 << 20).expect("records") {
                let record = record.expect("records");
                if record.offset >= log.log_start() {
                    let record_of = Record {
                        timestamp: record.timestamp.0,
                        key: record.key.unwrap_or_default().to_vec(),
                        value: record.value.map(<[u8]>::to_vec),
                    };
                    found.insert(record.offset.0, record_of);
                }
            }
        }
        assert!(read.next_offset > at, "a read moves on");
        at = read.next_offset;
    }
    found
}
