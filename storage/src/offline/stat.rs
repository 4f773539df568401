//! Sums over a partition: what `ottla log stat` shows.
//!
//! Owns: counting. Never: expands records: headers say how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ottla_protocol::model::{Offset, ProducerId, Timestamp, TopicPartition, Uuid};
use ottla_protocol::records::{BatchHeader, HEADER};

use super::dump::{Depth, Item, decode_small, dump};
use super::{
    Finding, OfflineError, PartitionFiles, Progress, SegmentWalk, Subject, Walked, advance,
    classify, partition_of, partitions_of,
};
use crate::file_name::{FileKind, PARTITION_METADATA};
use crate::fs::FileSystem;

/// Batches of one compression codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CodecStat {
    pub batches: u64,
    pub records: u64,
    /// Bytes of records as they are stored.
    pub payload_bytes: u64,
}

/// What a partition, or one file of it, holds.
#[derive(Debug, Default)]
pub struct PartitionStat {
    pub path: PathBuf,
    pub partition: Option<TopicPartition>,
    pub topic_id: Option<Uuid>,
    pub segments: u64,
    pub log_bytes: u64,
    pub index_bytes: u64,
    /// Base of the first batch; `None` without any.
    pub first_offset: Option<Offset>,
    /// The offset after the last batch.
    pub next_offset: Offset,
    pub batches: u64,
    pub records: u64,
    pub control_batches: u64,
    pub transactional_batches: u64,
    /// Batches that compaction emptied.
    pub empty_batches: u64,
    pub largest_batch_bytes: u64,
    pub min_timestamp: Option<Timestamp>,
    pub max_timestamp: Option<Timestamp>,
    pub min_leader_epoch: Option<i32>,
    pub max_leader_epoch: Option<i32>,
    pub producers: BTreeSet<ProducerId>,
    /// By the codec's name; `unknown` for ids that no codec has.
    pub codecs: BTreeMap<&'static str, CodecStat>,
    pub findings: Vec<Finding>,
}

impl PartitionStat {
    fn add(&mut self, header: &BatchHeader) {
        let size = header.size() as u64;
        let records = u64::try_from(header.records_count).unwrap_or(0);
        self.first_offset.get_or_insert(header.base_offset);
        self.next_offset = header.next_offset();
        self.batches += 1;
        self.largest_batch_bytes = self.largest_batch_bytes.max(size);
        self.empty_batches += u64::from(records == 0);
        self.transactional_batches += u64::from(header.attributes.is_transactional());
        if header.attributes.is_control() {
            self.control_batches += 1;
        } else {
            self.records += records;
        }
        if header.has_producer_id() {
            self.producers.insert(header.producer_id);
        }
        let epoch = header.leader_epoch.0;
        self.min_leader_epoch = Some(self.min_leader_epoch.map_or(epoch, |min| min.min(epoch)));
        self.max_leader_epoch = Some(self.max_leader_epoch.map_or(epoch, |max| max.max(epoch)));
        // With a delete horizon the base timestamp is that, and none of a record's.
        if header.delete_horizon().is_none() && header.base_timestamp > Timestamp::NONE {
            let first = header.base_timestamp;
            self.min_timestamp = Some(self.min_timestamp.map_or(first, |min| min.min(first)));
        }
        self.max_timestamp = self.max_timestamp.max(Some(header.max_timestamp));
        let name = header.attributes.codec().map_or("unknown", |codec| codec.name());
        let codec = self.codecs.entry(name).or_default();
        codec.batches += 1;
        codec.records += records;
        codec.payload_bytes += size.saturating_sub(HEADER as u64);
    }

    /// Offsets that an entry names.
    fn cover(&mut self, first: Offset, last: Offset) {
        self.first_offset = Some(self.first_offset.map_or(first, |known| known.min(first)));
        self.next_offset = self.next_offset.max(last.next());
    }

    fn walk(
        &mut self,
        fs: &dyn FileSystem,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<(), OfflineError> {
        self.segments += 1;
        for walked in SegmentWalk::open(fs, path)? {
            match walked {
                Walked::Batch(batch) => {
                    advance(progress, batch.header.size() as u64)?;
                    self.log_bytes += batch.header.size() as u64;
                    self.add(&batch.header);
                }
                Walked::Finding(finding) => self.findings.push(finding),
            }
        }
        Ok(())
    }
}

/// Sums up every partition at a path, each handed over when it is done.
///
/// # Errors
/// The disk's, `Unknown` for what is nothing of a log, `NoRecords` for what says nothing of any,
/// `Stopped`.
pub fn stat(
    fs: &dyn FileSystem,
    path: &Path,
    each: &mut dyn FnMut(PartitionStat),
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    match classify(fs, path)? {
        Subject::SegmentFile(name) if name.kind == FileKind::Log => {
            let mut stat = PartitionStat {
                path: path.to_owned(),
                partition: partition_of(path),
                ..PartitionStat::default()
            };
            stat.walk(fs, path, progress)?;
            each(stat);
        }
        Subject::Partition => each(partition(fs, path, progress)?),
        Subject::DataDirectory => {
            for dir in partitions_of(fs, path)? {
                each(partition(fs, &dir, progress)?);
            }
        }
        Subject::SegmentFile(name) => each(beside(fs, path, name.kind, progress)?),
        _ => return Err(OfflineError::NoRecords { path: path.to_owned() }),
    }
    Ok(())
}

/// An index or a snapshot: the offsets its entries name, its producers.
fn beside(
    fs: &dyn FileSystem,
    path: &Path,
    kind: FileKind,
    progress: Progress<'_>,
) -> Result<PartitionStat, OfflineError> {
    let mut stat = PartitionStat {
        path: path.to_owned(),
        partition: partition_of(path),
        ..PartitionStat::default()
    };
    if kind != FileKind::ProducerSnapshot {
        stat.index_bytes = super::total_bytes(fs, path)?;
    }
    let mut sink = |item: Item| {
        match item {
            Item::OffsetEntry { offset, .. } => stat.cover(offset, offset),
            Item::TimeEntry { timestamp, offset } => {
                stat.cover(offset, offset);
                stat.min_timestamp.get_or_insert(timestamp);
                stat.max_timestamp = stat.max_timestamp.max(Some(timestamp));
            }
            Item::AbortedTransaction(aborted) => {
                stat.cover(aborted.first_offset, aborted.last_offset);
                stat.producers.insert(aborted.producer_id);
            }
            Item::Producer { id, .. } => {
                stat.producers.insert(id);
            }
            Item::Finding(finding) => stat.findings.push(finding),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    dump(fs, path, Depth::Batches, &mut sink, progress)?;
    Ok(stat)
}

fn partition(
    fs: &dyn FileSystem,
    dir: &Path,
    progress: Progress<'_>,
) -> Result<PartitionStat, OfflineError> {
    let files = PartitionFiles::list(fs, dir)?;
    let mut stat = PartitionStat {
        path: dir.to_owned(),
        partition: partition_of(dir),
        ..PartitionStat::default()
    };
    if files.has_metadata {
        let path = dir.join(PARTITION_METADATA);
        match decode_small(fs, &path, Subject::PartitionMetadata)? {
            Ok(items) => {
                stat.topic_id = items.into_iter().find_map(|item| match item {
                    Item::TopicId(id) => Some(id),
                    _ => None,
                });
            }
            Err(kind) => stat.findings.push(Finding { path, kind }),
        }
    }
    for (base, kinds) in &files.segments {
        for (kind, bytes) in kinds {
            match kind {
                FileKind::Log => stat.walk(fs, &files.path(*base, *kind), progress)?,
                _ => stat.index_bytes += bytes,
            }
        }
    }
    Ok(stat)
}
