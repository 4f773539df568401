//! Checking a log against itself: what `ottla log verify` shows.
//!
//! Owns: the checks. Never: changes anything, or stops at the first finding.
//!
//! What is checked: every batch's place, CRC, offsets and records; leader epochs ascend; segments
//! follow each other; every index entry leads to its batch, no timestamp is above its time entry,
//! every aborted transaction has its marker; snapshots, epochs, topic id, seals and checkpoints
//! can be read.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_protocol::model::{Offset, ProducerId, Timestamp};

use super::dump::{decode_small, read_small};
use super::records::{Control, batch_records, found};
use super::{
    Finding, FindingKind, OfflineError, PartitionFiles, Progress, SegmentBatch, SegmentWalk,
    Severity, Subject, Walked, advance, classify, partitions_of, read_index,
};
use crate::file_name::{
    FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SEGMENT_SEALS, SegmentFileName,
};
use crate::fs::FileSystem;
use crate::index::{AbortedTxn, OffsetEntry, TimeEntry};
use crate::producer_state::snapshot::{self, Expiry};

/// What a verification looked at and found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    pub partitions: u64,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// The worst of what was found; `None` when all is well.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).max()
    }

    fn find(&mut self, path: &Path, kind: FindingKind) {
        self.findings.push(Finding { path: path.to_owned(), kind });
    }
}

/// Checks everything at a path.
///
/// # Errors
/// The disk's, `Unknown` for a path that is nothing of a log, `Stopped`.
pub fn verify(
    fs: &dyn FileSystem,
    path: &Path,
    progress: Progress<'_>,
) -> Result<VerifyReport, OfflineError> {
    let mut report = VerifyReport::default();
    match classify(fs, path)? {
        Subject::Partition => partition(fs, path, &mut report, progress)?,
        Subject::DataDirectory => {
            for entry in fs.list(path).map_err(OfflineError::io(path))? {
                let path = path.join(&entry.name);
                if let Ok(
                    subject @ (Subject::Checkpoint(_)
                    | Subject::MetaProperties
                    | Subject::CleanShutdown),
                ) = classify(fs, &path)
                {
                    small(fs, &path, subject, &mut report)?;
                }
            }
            for dir in partitions_of(fs, path)? {
                partition(fs, &dir, &mut report, progress)?;
            }
        }
        Subject::SegmentFile(name) => segment_file(fs, path, name, &mut report, progress)?,
        subject => small(fs, path, subject, &mut report)?,
    }
    Ok(report)
}

/// A segment by itself brings its indexes along; an index by itself is checked against its log.
fn segment_file(
    fs: &dyn FileSystem,
    path: &Path,
    name: SegmentFileName,
    report: &mut VerifyReport,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    if name.kind == FileKind::ProducerSnapshot {
        return snapshot_file(fs, path, name.base, report);
    }
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let files = PartitionFiles::list(fs, dir)?;
    let log = SegmentFileName { kind: FileKind::Log, ..name };
    let facts = log_file(fs, &dir.join(log.text()), report, progress)?;
    let there: Vec<FileKind> = if name.kind == FileKind::Log {
        files.segments.get(&name.base).map(|kinds| kinds.keys().copied().collect())
    } else {
        None
    }
    .unwrap_or_else(|| vec![name.kind]);
    for kind in there {
        let path = dir.join(SegmentFileName { kind, ..name }.text());
        index_file(fs, &path, name.base, kind, (&facts, report))?;
    }
    Ok(())
}

fn partition(
    fs: &dyn FileSystem,
    dir: &Path,
    report: &mut VerifyReport,
    progress: Progress<'_>,
) -> Result<(), OfflineError> {
    report.partitions += 1;
    let files = PartitionFiles::list(fs, dir)?;
    for name in &files.left_over {
        report.find(&dir.join(name), FindingKind::LeftOver);
    }
    for name in &files.foreign {
        report.find(&dir.join(name), FindingKind::Foreign);
    }
    let small_files = [
        (files.has_metadata, PARTITION_METADATA, Subject::PartitionMetadata),
        (files.has_epochs, LEADER_EPOCH_CHECKPOINT, Subject::LeaderEpochs),
        (files.has_seals, SEGMENT_SEALS, Subject::SegmentSeals),
    ];
    for (_, name, subject) in small_files.into_iter().filter(|(there, _, _)| *there) {
        small(fs, &dir.join(name), subject, report)?;
    }
    let mut end: Option<Offset> = None;
    for (base, kinds) in &files.segments {
        if kinds.contains_key(&FileKind::ProducerSnapshot) {
            let path = files.path(*base, FileKind::ProducerSnapshot);
            snapshot_file(fs, &path, *base, report)?;
        }
        let log = files.path(*base, FileKind::Log);
        if !kinds.contains_key(&FileKind::Log) {
            if kinds.keys().any(|kind| *kind != FileKind::ProducerSnapshot) {
                report.find(&log, FindingKind::Missing);
            }
            continue;
        }
        match end {
            Some(end) if end > *base => {
                report.find(&log, FindingKind::SegmentOverlap { base: *base, end });
            }
            Some(end) if end < *base => {
                report.find(&log, FindingKind::SegmentGap { from: end, to: *base });
            }
            _ => {}
        }
        let facts = log_file(fs, &log, report, progress)?;
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            if !kinds.contains_key(&kind) {
                report.find(&files.path(*base, kind), FindingKind::Missing);
            }
        }
        for kind in kinds.keys() {
            index_file(fs, &files.path(*base, *kind), *base, *kind, (&facts, report))?;
        }
        end = Some(facts.next_offset);
    }
    Ok(())
}

fn small(
    fs: &dyn FileSystem,
    path: &Path,
    subject: Subject,
    report: &mut VerifyReport,
) -> Result<(), OfflineError> {
    if let Err(kind) = decode_small(fs, path, subject)? {
        report.find(path, kind);
    }
    Ok(())
}

fn snapshot_file(
    fs: &dyn FileSystem,
    path: &Path,
    base: Offset,
    report: &mut VerifyReport,
) -> Result<(), OfflineError> {
    let bytes = read_small(fs, path)?;
    if let Err(error) = snapshot::decode(&bytes, base, Expiry::Never) {
        report.find(path, FindingKind::Snapshot(error));
    }
    Ok(())
}

/// One batch, as far as indexes speak of it.
#[derive(Clone, Copy, Debug)]
struct BatchFact {
    position: u64,
    first: Offset,
    last: Offset,
    /// The latest timestamp up to and with this batch.
    max_timestamp: Timestamp,
}

/// What the log says, to compare indexes with: 32 bytes a batch.
#[derive(Debug, Default)]
struct LogFacts {
    batches: Vec<BatchFact>,
    aborts: BTreeMap<Offset, ProducerId>,
    next_offset: Offset,
}

impl LogFacts {
    /// The first batch that ends at or behind the offset.
    fn at(&self, offset: Offset) -> usize {
        self.batches.partition_point(|batch| batch.last < offset)
    }
}

fn log_file(
    fs: &dyn FileSystem,
    path: &Path,
    report: &mut VerifyReport,
    progress: Progress<'_>,
) -> Result<LogFacts, OfflineError> {
    let walk = SegmentWalk::open(fs, path)?;
    let mut facts = LogFacts { next_offset: walk.base(), ..LogFacts::default() };
    let mut epoch = i32::MIN;
    let mut max_timestamp = Timestamp::NONE;
    report.segments += 1;
    for walked in walk {
        let batch = match walked {
            Walked::Batch(batch) => batch,
            Walked::Finding(finding) => {
                report.findings.push(finding);
                continue;
            }
        };
        let header = batch.header;
        advance(progress, header.size() as u64)?;
        report.batches += 1;
        report.bytes += header.size() as u64;
        let found = header.leader_epoch.0;
        if found < epoch {
            let (offset, before) = (header.base_offset, epoch);
            report.find(path, FindingKind::EpochOrder { offset, found, before });
        }
        // Each descent once, not every batch behind it.
        epoch = found;
        max_timestamp = max_timestamp.max(header.max_timestamp);
        facts.batches.push(BatchFact {
            position: batch.position,
            first: header.base_offset,
            last: header.last_offset(),
            max_timestamp,
        });
        facts.next_offset = header.next_offset();
        check_records(path, &batch, &mut facts, report)?;
    }
    Ok(facts)
}

fn check_records(
    path: &Path,
    batch: &SegmentBatch,
    facts: &mut LogFacts,
    report: &mut VerifyReport,
) -> Result<(), OfflineError> {
    let mut records = 0;
    let finding = batch_records(path, batch, |record| {
        records += 1;
        if batch.header.attributes.is_control()
            && let Some(Control::Abort { .. }) = found(&batch.header, record).control
        {
            facts.aborts.insert(record.offset, batch.header.producer_id);
        }
        Ok(())
    })?;
    report.records += records;
    report.findings.extend(finding);
    Ok(())
}

fn index_file(
    fs: &dyn FileSystem,
    path: &Path,
    base: Offset,
    kind: FileKind,
    (facts, report): (&LogFacts, &mut VerifyReport),
) -> Result<(), OfflineError> {
    let mut wrong = Vec::new();
    let tail = match kind {
        FileKind::Log | FileKind::ProducerSnapshot => return Ok(()),
        FileKind::OffsetIndex => offset_index(fs, path, base, (facts, &mut wrong))?,
        FileKind::TimeIndex => time_index(fs, path, base, (facts, &mut wrong))?,
        FileKind::TransactionIndex => read_index(fs, path, |number, entry: AbortedTxn| {
            if facts.aborts.get(&entry.last_offset) != Some(&entry.producer_id) {
                let (producer, offset) = (entry.producer_id.0, entry.last_offset);
                wrong.push(FindingKind::TransactionEntry { entry: number, producer, offset });
            }
            Ok(())
        })?,
    };
    // A damaged index has thousands of wrong entries; the first says what there is to know.
    if let Some(kind) = wrong.into_iter().next() {
        report.find(path, kind);
    }
    report.findings.extend(tail);
    Ok(())
}

fn offset_index(
    fs: &dyn FileSystem,
    path: &Path,
    base: Offset,
    (facts, wrong): (&LogFacts, &mut Vec<FindingKind>),
) -> Result<Option<Finding>, OfflineError> {
    let mut before: Option<OffsetEntry> = None;
    read_index(fs, path, |number, entry: OffsetEntry| {
        let ascends = before.is_none_or(|before| {
            entry.relative_offset > before.relative_offset && entry.position > before.position
        });
        if !ascends {
            wrong.push(FindingKind::IndexOrder { entry: number });
        }
        before = Some(entry);
        // A reader of this offset or a later one begins at the position: a batch must begin there,
        // not behind the offset, and all before it must end below the offset.
        let offset = entry.offset(base);
        let index =
            facts.batches.partition_point(|batch| batch.position < u64::from(entry.position));
        let leads = facts.batches.get(index).is_some_and(|batch| {
            batch.position == u64::from(entry.position) && batch.first <= offset
        });
        let skips_none =
            index.checked_sub(1).is_none_or(|before| facts.batches[before].last < offset);
        if !leads || !skips_none {
            wrong.push(FindingKind::IndexEntry { entry: number, offset });
        }
        Ok(())
    })
}

fn time_index(
    fs: &dyn FileSystem,
    path: &Path,
    base: Offset,
    (facts, wrong): (&LogFacts, &mut Vec<FindingKind>),
) -> Result<Option<Finding>, OfflineError> {
    let mut before: Option<TimeEntry> = None;
    read_index(fs, path, |number, entry: TimeEntry| {
        let ascends = before.is_none_or(|before| {
            entry.relative_offset >= before.relative_offset && entry.timestamp > before.timestamp
        });
        if !ascends {
            wrong.push(FindingKind::IndexOrder { entry: number });
        }
        before = Some(entry);
        let offset = entry.offset(base);
        let found = facts.batches.get(facts.at(offset)).map(|batch| batch.max_timestamp);
        // Kafka writes an entry (-1, base) for a segment without timestamps.
        if let Some(found) = found
            && found > entry.timestamp
            && entry.timestamp > Timestamp::NONE
        {
            let (claimed, found) = (entry.timestamp.0, found.0);
            wrong.push(FindingKind::TimeEntry { entry: number, claimed, offset, found });
        }
        Ok(())
    })
}
