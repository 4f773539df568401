//! Every file's content, item by item: what `ottla log dump` shows.
//!
//! Owns: the order of items, decoding of each kind of file. Never: text, or judgement beyond
//! findings that keep a file from being decoded.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ottla_protocol::model::{Offset, ProducerId, Timestamp, TopicPartition, Uuid};
use ottla_protocol::records::BatchHeader;

use super::records::{FoundRecord, batch_records, found};
use super::{
    Finding, FindingKind, OfflineError, PartitionFiles, Progress, SegmentBatch, SegmentWalk,
    Subject, Walked, advance, classify, partition_of, partitions_of, read_index,
};
use crate::checkpoint::{self, CheckpointKind, MetaProperties};
use crate::file_name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SEGMENT_SEALS, SegmentFileName,
};
use crate::fs::{FileSystem, OpenMode};
use crate::index::{AbortedTxn, OffsetEntry, TimeEntry};
use crate::leader_epoch::{EpochEntry, LeaderEpochCache};
use crate::producer_state::ProducerEntry;
use crate::producer_state::snapshot::{self, Expiry};
use crate::seal::{self, Seal};

/// The largest small file that is read.
const SMALL_BYTES_MAX: usize = 64 << 20;

/// How far a segment is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    Batches,
    /// Batches, and each with its records.
    Records,
}

/// Something that a file holds.
#[derive(Debug)]
pub enum Item {
    /// What follows is of this partition's folder.
    Partition {
        path: PathBuf,
        partition: Option<TopicPartition>,
    },
    /// What follows is of this file.
    File(PathBuf),
    Batch {
        position: u64,
        header: BatchHeader,
        crc: CrcState,
    },
    Record(FoundRecord),
    OffsetEntry {
        offset: Offset,
        position: u32,
    },
    TimeEntry {
        timestamp: Timestamp,
        offset: Offset,
    },
    AbortedTransaction(AbortedTxn),
    Producer {
        id: ProducerId,
        entry: ProducerEntry,
    },
    Epoch(EpochEntry),
    TopicId(Uuid),
    Seal(Seal),
    Checkpoint {
        kind: CheckpointKind,
        partition: TopicPartition,
        offset: Offset,
    },
    MetaProperties(MetaProperties),
    CleanShutdown {
        broker_epoch: Option<i64>,
    },
    Finding(Finding),
}

/// Whether a batch's bytes are the ones that were written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrcState {
    Good,
    Bad,
}

/// Takes items, and may stop the walk.
pub type ItemSink<'a> = &'a mut dyn FnMut(Item) -> ControlFlow<()>;

fn give(sink: ItemSink<'_>, item: Item) -> Result<(), OfflineError> {
    match sink(item) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(OfflineError::Stopped),
    }
}

/// Hands over everything at a path.
///
/// # Errors
/// The disk's, `Unknown` for a path that is nothing of a log, `Stopped`.
pub fn dump(
    fs: &dyn FileSystem,
    path: &Path,
    depth: Depth,
    sink: ItemSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    match classify(fs, path)? {
        Subject::Partition => partition(fs, path, depth, sink, progress),
        Subject::DataDirectory => {
            for entry in fs.list(path).map_err(OfflineError::io(path))? {
                let path = path.join(&entry.name);
                if let Ok(subject) = classify(fs, &path)
                    && subject != Subject::Partition
                    && subject != Subject::DataDirectory
                {
                    file(fs, &path, subject, depth, (sink, progress))?;
                }
            }
            for dir in partitions_of(fs, path)? {
                partition(fs, &dir, depth, sink, progress)?;
            }
            Ok(())
        }
        subject => file(fs, path, subject, depth, (sink, progress)),
    }
}

fn partition(
    fs: &dyn FileSystem,
    dir: &Path,
    depth: Depth,
    sink: ItemSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    let head = Item::Partition { path: dir.to_owned(), partition: partition_of(dir) };
    give(sink, head)?;
    let files = PartitionFiles::list(fs, dir)?;
    let small = [
        (files.has_metadata, PARTITION_METADATA, Subject::PartitionMetadata),
        (files.has_epochs, LEADER_EPOCH_CHECKPOINT, Subject::LeaderEpochs),
        (files.has_seals, SEGMENT_SEALS, Subject::SegmentSeals),
    ];
    for (_, name, subject) in small.into_iter().filter(|(there, _, _)| *there) {
        file(fs, &dir.join(name), subject, depth, (sink, progress))?;
    }
    for (base, kinds) in &files.segments {
        for kind in kinds.keys() {
            let subject = Subject::SegmentFile(SegmentFileName::live(*base, *kind));
            file(fs, &files.path(*base, *kind), subject, depth, (sink, progress))?;
        }
    }
    Ok(())
}

fn file(
    fs: &dyn FileSystem,
    path: &Path,
    subject: Subject,
    depth: Depth,
    (sink, progress): (ItemSink<'_>, Progress<'_>),
) -> Result<(), OfflineError> {
    give(sink, Item::File(path.to_owned()))?;
    match subject {
        Subject::SegmentFile(name) => segment_file(fs, path, name, depth, (sink, progress)),
        _ => small_file(fs, path, subject, sink),
    }
}

fn segment_file(
    fs: &dyn FileSystem,
    path: &Path,
    name: SegmentFileName,
    depth: Depth,
    (sink, progress): (ItemSink<'_>, Progress<'_>),
) -> Result<(), OfflineError> {
    let base = name.base;
    let finding = match name.kind {
        FileKind::Log => return log(fs, path, depth, sink, progress),
        FileKind::OffsetIndex => read_index(fs, path, |_, entry: OffsetEntry| {
            let (offset, position) = (entry.offset(base), entry.position);
            give(sink, Item::OffsetEntry { offset, position })
        })?,
        FileKind::TimeIndex => read_index(fs, path, |_, entry: TimeEntry| {
            let (timestamp, offset) = (entry.timestamp, entry.offset(base));
            give(sink, Item::TimeEntry { timestamp, offset })
        })?,
        FileKind::TransactionIndex => read_index(fs, path, |_, entry: AbortedTxn| {
            give(sink, Item::AbortedTransaction(entry))
        })?,
        FileKind::ProducerSnapshot => {
            let bytes = read_small(fs, path)?;
            match snapshot::decode(&bytes, base, Expiry::Never) {
                Ok(state) => {
                    for (id, entry) in state.iter() {
                        give(sink, Item::Producer { id, entry: entry.clone() })?;
                    }
                    None
                }
                Err(error) => {
                    let kind = FindingKind::Snapshot(error);
                    Some(Finding { path: path.to_owned(), kind })
                }
            }
        }
    };
    finding.map_or(Ok(()), |finding| give(sink, Item::Finding(finding)))
}

fn log(
    fs: &dyn FileSystem,
    path: &Path,
    depth: Depth,
    sink: ItemSink<'_>,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    for walked in SegmentWalk::open(fs, path)? {
        match walked {
            Walked::Finding(finding) => give(sink, Item::Finding(finding))?,
            Walked::Batch(batch) => {
                advance(progress, batch.header.size() as u64)?;
                log_batch(path, &batch, depth, sink)?;
            }
        }
    }
    Ok(())
}

fn log_batch(
    path: &Path,
    batch: &SegmentBatch,
    depth: Depth,
    sink: ItemSink<'_>,
) -> Result<(), OfflineError> {
    let bytes = batch.read().map_err(OfflineError::io(path))?;
    let good = SegmentBatch::crc_matches(&bytes);
    let crc = if good { CrcState::Good } else { CrcState::Bad };
    give(sink, Item::Batch { position: batch.position, header: batch.header, crc })?;
    if depth == Depth::Batches {
        return Ok(());
    }
    let finding = batch_records(path, batch, |record| {
        give(sink, Item::Record(found(&batch.header, record)))
    })?;
    finding.map_or(Ok(()), |finding| give(sink, Item::Finding(finding)))
}

pub(super) fn read_small(fs: &dyn FileSystem, path: &Path) -> Result<bytes::Bytes, OfflineError> {
    let file = fs.open(path, OpenMode::Read).map_err(OfflineError::io(path))?;
    file.read_bytes_at(0, SMALL_BYTES_MAX).map_err(OfflineError::io(path))
}

fn small_file(
    fs: &dyn FileSystem,
    path: &Path,
    subject: Subject,
    sink: ItemSink<'_>,
) -> Result<(), OfflineError> {
    match decode_small(fs, path, subject)? {
        Ok(items) => items.into_iter().try_for_each(|item| give(sink, item)),
        Err(kind) => give(sink, Item::Finding(Finding { path: path.to_owned(), kind })),
    }
}

/// The items of a small file, or what is wrong with it.
pub(super) fn decode_small(
    fs: &dyn FileSystem,
    path: &Path,
    subject: Subject,
) -> Result<Result<Vec<Item>, FindingKind>, OfflineError> {
    let bytes = read_small(fs, path)?;
    if subject == Subject::SegmentSeals {
        let items = seal::parse(&bytes).by_base.into_values().map(Item::Seal).collect();
        let rest = bytes.len().saturating_sub(seal::valid_bytes(&bytes)) as u64;
        return Ok(if rest == 0 { Ok(items) } else { Err(FindingKind::IndexTail { bytes: rest }) });
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(Err(FindingKind::NotText)) };
    let checkpoint = |error: checkpoint::TextError| FindingKind::Checkpoint(error.at(path));
    Ok(match subject {
        Subject::LeaderEpochs => match LeaderEpochCache::parse(text) {
            Ok(epochs) => Ok(epochs.entries().iter().copied().map(Item::Epoch).collect()),
            Err(error) => Err(FindingKind::Epochs(error)),
        },
        Subject::PartitionMetadata => match crate::partition_metadata::parse(text) {
            Some(id) => Ok(vec![Item::TopicId(id)]),
            None => Err(FindingKind::TopicId),
        },
        Subject::Checkpoint(kind) => checkpoint::parse_offsets(text)
            .map(|offsets| {
                let item = |(partition, offset)| Item::Checkpoint { kind, partition, offset };
                offsets.into_iter().map(item).collect()
            })
            .map_err(checkpoint),
        Subject::MetaProperties => MetaProperties::parse(text)
            .map(|meta| vec![Item::MetaProperties(meta)])
            .map_err(checkpoint),
        Subject::CleanShutdown => {
            let broker_epoch = checkpoint::parse_clean_shutdown(text);
            Ok(vec![Item::CleanShutdown { broker_epoch }])
        }
        Subject::SegmentFile(_)
        | Subject::SegmentSeals
        | Subject::Partition
        | Subject::DataDirectory => Ok(Vec::new()),
    })
}
