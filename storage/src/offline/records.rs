//! Records of a segment, a partition or a data directory, in order: what `find` and `export` show.
//!
//! Owns: the query, skipping what cannot match without expanding it. Never: indexes: they may be
//! damaged, and the headers of a log say enough.

use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::model::TopicPartition;
use ottla_protocol::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{Batch, BatchHeader, ControlRecord, Record};

use super::{
    Finding, FindingKind, OfflineError, PartitionFiles, Progress, RecordFault, SegmentBatch,
    SegmentWalk, Subject, Walked, advance, classify, partition_of, partitions_of,
};
use crate::file_name::FileKind;
use crate::fs::FileSystem;

/// The most bytes that the records of one batch may expand to.
pub(super) const RECORDS_BYTES_MAX: usize = 1 << 30;

/// Which records are wanted; every condition that is set must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// First offset.
    pub from: Option<Offset>,
    /// The offset after the last.
    pub to: Option<Offset>,
    pub from_time: Option<Timestamp>,
    /// The moment after the last.
    pub to_time: Option<Timestamp>,
    pub key: Option<Vec<u8>>,
    pub producer: Option<ProducerId>,
}

impl Query {
    fn may_match(&self, header: &BatchHeader) -> bool {
        self.from.is_none_or(|from| header.last_offset() >= from)
            && self.to.is_none_or(|to| header.base_offset < to)
            && self.from_time.is_none_or(|from| header.max_timestamp >= from)
            && self.producer.is_none_or(|producer| header.producer_id == producer)
    }

    fn matches(&self, record: &Record<'_>) -> bool {
        self.from.is_none_or(|from| record.offset >= from)
            && self.to.is_none_or(|to| record.offset < to)
            && self.from_time.is_none_or(|from| record.timestamp >= from)
            && self.to_time.is_none_or(|to| record.timestamp < to)
            && self.key.as_ref().is_none_or(|key| record.key == Some(key))
    }
}

/// A record with what its batch says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundRecord {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
    pub leader_epoch: LeaderEpoch,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// -1 without an idempotent producer.
    pub sequence: i32,
    pub is_transactional: bool,
    /// What a control record says; the record is no application's then.
    pub control: Option<Control>,
}

/// A control record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Commit {
        coordinator_epoch: i32,
    },
    Abort {
        coordinator_epoch: i32,
    },
    /// By the type in its key.
    Other(i16),
    Damaged,
}

/// What a walk over records meets.
#[derive(Debug)]
pub enum RecordItem {
    /// What follows is of this partition; `None` in a folder of another name.
    Partition(Option<TopicPartition>),
    Record(FoundRecord),
    Finding(Finding),
}

/// Takes what a walk meets, and may stop it.
pub type RecordSink<'a> = &'a mut dyn FnMut(RecordItem) -> ControlFlow<()>;

/// Walks over the records at a path that match the query.
///
/// # Errors
/// The disk's; `Unknown` for what is nothing of a log; `NoRecords`; `Stopped`.
pub fn records(
    fs: &dyn FileSystem,
    path: &Path,
    query: &Query,
    sink: RecordSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    match classify(fs, path)? {
        Subject::SegmentFile(name) if name.kind == FileKind::Log => {
            give(sink, RecordItem::Partition(partition_of(path)))?;
            segment(fs, path, query, sink, progress)
        }
        Subject::Partition => partition(fs, path, query, sink, progress),
        Subject::DataDirectory => {
            for dir in partitions_of(fs, path)? {
                partition(fs, &dir, query, sink, progress)?;
            }
            Ok(())
        }
        _ => Err(OfflineError::NoRecords { path: path.to_owned() }),
    }
}

fn give(sink: RecordSink<'_>, item: RecordItem) -> Result<(), OfflineError> {
    match sink(item) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(OfflineError::Stopped),
    }
}

fn partition(
    fs: &dyn FileSystem,
    dir: &Path,
    query: &Query,
    sink: RecordSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    give(sink, RecordItem::Partition(partition_of(dir)))?;
    let files = PartitionFiles::list(fs, dir)?;
    let logs: Vec<(Offset, u64)> = files.logs().collect();
    for (index, (base, bytes)) in logs.iter().enumerate() {
        let next = logs.get(index + 1).map(|next| next.0);
        let before = query.from.is_some_and(|from| next.is_some_and(|next| next <= from));
        let behind = query.to.is_some_and(|to| *base >= to);
        if before || behind {
            advance(progress, *bytes)?;
            continue;
        }
        segment(fs, &files.path(*base, FileKind::Log), query, sink, progress)?;
    }
    Ok(())
}

fn segment(
    fs: &dyn FileSystem,
    path: &Path,
    query: &Query,
    sink: RecordSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    for walked in SegmentWalk::open(fs, path)? {
        let batch = match walked {
            Walked::Batch(batch) => batch,
            Walked::Finding(finding) => {
                give(sink, RecordItem::Finding(finding))?;
                continue;
            }
        };
        advance(progress, batch.header.size() as u64)?;
        if !query.may_match(&batch.header) {
            continue;
        }
        let mut give_record = |record: FoundRecord| give(sink, RecordItem::Record(record));
        let finding = batch_records(path, &batch, |record| {
            if query.matches(record) { give_record(found(&batch.header, record)) } else { Ok(()) }
        })?;
        if let Some(finding) = finding {
            give(sink, RecordItem::Finding(finding))?;
        }
    }
    Ok(())
}

/// Hands every record of a batch to `each`; answers what is wrong with the batch, which ends it.
pub(super) fn batch_records(
    path: &Path,
    batch: &SegmentBatch,
    mut each: impl FnMut(&Record<'_>) -> Result<(), OfflineError>,
) -> Result<Option<Finding>, OfflineError> {
    let (position, offset) = (batch.position, batch.header.base_offset);
    let finding = |kind| Ok(Some(Finding { path: path.to_owned(), kind }));
    let bytes = match batch.read() {
        Ok(bytes) => bytes,
        Err(error) => return finding(FindingKind::Unreadable(error)),
    };
    let Ok(parsed) = Batch::parse(&bytes) else {
        return finding(FindingKind::Crc { position, offset });
    };
    if parsed.check_crc().is_err() {
        return finding(FindingKind::Crc { position, offset });
    }
    let records = match parsed.records(RECORDS_BYTES_MAX) {
        Ok(records) => records,
        Err(fault) => return finding(FindingKind::Compression { position, offset, fault }),
    };
    let last = batch.header.last_offset_delta;
    let mut before = -1;
    for record in &records {
        let fault = match record {
            Ok(record) if record.offset_delta > before && record.offset_delta <= last => {
                before = record.offset_delta;
                each(&record)?;
                continue;
            }
            Ok(record) => RecordFault::Delta { delta: record.offset_delta, last },
            Err(fault) => fault.into(),
        };
        return finding(FindingKind::Records { position, offset, fault });
    }
    Ok(None)
}

pub(super) fn found(header: &BatchHeader, record: &Record<'_>) -> FoundRecord {
    let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let sequence = if header.base_sequence < 0 {
        header.base_sequence
    } else {
        ottla_protocol::records::increment_sequence(header.base_sequence, record.offset_delta)
    };
    let headers = record
        .headers()
        .filter_map(Result::ok)
        .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value.map(own)));
    FoundRecord {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(own),
        value: record.value.map(own),
        headers: headers.collect(),
        leader_epoch: header.leader_epoch,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        sequence,
        is_transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control().then(|| control(record)),
    }
}

fn control(record: &Record<'_>) -> Control {
    use ottla_protocol::records::ControlType;
    match ControlRecord::decode(record.key, record.value) {
        Ok(ControlRecord::EndTxn(marker)) => {
            let coordinator_epoch = marker.coordinator_epoch;
            match marker.kind {
                ControlType::Commit => Control::Commit { coordinator_epoch },
                _ => Control::Abort { coordinator_epoch },
            }
        }
        Ok(ControlRecord::Other(kind, _)) => Control::Other(kind as i16),
        Ok(ControlRecord::Unknown(kind)) => Control::Other(kind),
        Err(_) => Control::Damaged,
    }
}
