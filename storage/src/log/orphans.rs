//! What a crash may leave in a log's folder (Kafka's `LogLoader`).
//!
//! Owns: finishing or undoing swaps, removing what was on its way out, the listing. Never: reads
//! segments, but for the range of one that was being swapped in.
//! Invariant: run again after a crash within it, it ends in the same place.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::Offset;

use super::recovery::RecoveryReport;
use crate::error::LogError;
use crate::file_name::{FileKind, FileStage, SegmentFileName};
use crate::fs::{EntryKind, OpenMode};
use crate::handles::Folder;
use crate::segment::FileLengths;
use crate::segment::scan::BatchScan;

/// The folder's segments and snapshots.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) segments: BTreeMap<Offset, FileLengths>,
    pub(super) snapshots: BTreeSet<Offset>,
}

/// Brings the folder into order, and lists it.
/// `vouched` is the recovery point, or the end of time after a clean shutdown.
pub(super) fn tidy(
    folder: &Folder,
    vouched: Offset,
    report: &mut RecoveryReport,
) -> Result<Listing, LogError> {
    let mut files = list(folder)?;
    let cleaned = |file: &SegmentFileName| file.stage == FileStage::Cleaned;
    // A group was still being cleaned: swaps at or behind it are not complete either.
    let unfinished = files.keys().filter(|file| cleaned(file)).map(|file| file.base).min();
    let mut doomed = Vec::new();
    for file in files.keys() {
        let incomplete = file.stage == FileStage::Swap
            && unfinished.is_some_and(|unfinished| file.base >= unfinished);
        if matches!(file.stage, FileStage::Deleted | FileStage::Cleaned) || incomplete {
            doomed.push(*file);
        }
    }
    remove(folder, &mut files, &doomed, report)?;
    finish_swaps(folder, &mut files, report)?;
    let orphans: Vec<SegmentFileName> = files
        .keys()
        .filter(|file| !matches!(file.kind, FileKind::Log | FileKind::ProducerSnapshot))
        .filter(|file| !files.contains_key(&SegmentFileName::live(file.base, FileKind::Log)))
        .copied()
        .collect();
    remove(folder, &mut files, &orphans, report)?;
    let abandoned = abandoned(folder, &files, vouched)?;
    remove(folder, &mut files, &abandoned, report)?;
    Ok(listing(&files))
}

type Files = BTreeMap<SegmentFileName, u64>;

fn list(folder: &Folder) -> Result<Files, LogError> {
    let exists = folder.fs.exists(&folder.dir).map_err(LogError::io("find", &folder.dir))?;
    if !exists {
        folder.fs.create_dir_all(&folder.dir).map_err(LogError::io("create", &folder.dir))?;
    }
    let entries = folder.fs.list(&folder.dir).map_err(LogError::io("list", &folder.dir))?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| Some((SegmentFileName::parse(&entry.name)?, entry.len)))
        .collect())
}

fn remove(
    folder: &Folder,
    files: &mut Files,
    names: &[SegmentFileName],
    report: &mut RecoveryReport,
) -> Result<(), LogError> {
    for name in names {
        let path = folder.path(*name);
        folder.remove(&path).map_err(LogError::io("remove", &path))?;
        files.remove(name);
        report.removed.push(name.text());
    }
    Ok(())
}

/// The files of empty segments with others behind them: a roll that failed half way, after which
/// the log went on in the segment before. Left there they would read as damage of that one.
///
/// Where nobody vouches for the next one, a power cut may have taken the batches. Then it stays, with
/// none before it: the log would begin at the next segment, as if they had been deleted. And behind
/// one that ends just there, which may have been cleaned: were that the active one again, the
/// producer snapshot at its end would be one among others, and it goes when there are newer ones.
fn abandoned(
    folder: &Folder,
    files: &Files,
    vouched: Offset,
) -> Result<Vec<SegmentFileName>, LogError> {
    let is_log =
        |file: &SegmentFileName| file.kind == FileKind::Log && file.stage == FileStage::Live;
    let logs: Vec<(SegmentFileName, u64)> =
        files.iter().filter(|(file, _)| is_log(file)).map(|(file, len)| (*file, *len)).collect();
    let mut empty = BTreeSet::new();
    for (index, pair) in logs.windows(2).enumerate() {
        let [(file, len), (next, _)] = pair else { continue };
        if *len > 0 {
            continue;
        }
        let before = index.checked_sub(1).and_then(|index| logs.get(index));
        let stays = next.base > vouched
            && match before {
                None => true,
                Some((before, len)) => end_of(folder, *before, *len)? == file.base,
            };
        if !stays {
            empty.insert(file.base);
        }
    }
    let of_empty = |file: &&SegmentFileName| {
        file.kind != FileKind::ProducerSnapshot && empty.contains(&file.base)
    };
    Ok(files.keys().filter(of_empty).copied().collect())
}

/// Swaps that are complete replace the segments in their range.
fn finish_swaps(
    folder: &Folder,
    files: &mut Files,
    report: &mut RecoveryReport,
) -> Result<(), LogError> {
    let swaps: Vec<SegmentFileName> =
        files.keys().filter(|file| file.stage == FileStage::Swap).copied().collect();
    let mut replaced = BTreeSet::new();
    for swap in swaps.iter().filter(|swap| swap.kind == FileKind::Log) {
        let end = end_of(folder, *swap, files.get(swap).copied().unwrap_or(0))?;
        // The first segment of the range goes in any case, even where nothing was kept of it.
        let range = swap.base..end.max(swap.base.next());
        let old = files.keys().filter(|file| {
            file.stage == FileStage::Live
                && file.kind != FileKind::ProducerSnapshot
                && range.contains(&file.base)
        });
        replaced.extend(old.copied());
    }
    let replaced: Vec<SegmentFileName> = replaced.into_iter().collect();
    remove(folder, files, &replaced, report)?;
    if !replaced.is_empty() {
        // One that came back beside the finished segment would not be recognised any more.
        folder.fs.sync_dir(&folder.dir).map_err(LogError::io("sync", &folder.dir))?;
    }
    // Indexes first: a log whose name is final has its indexes.
    let (logs, others): (Vec<_>, Vec<_>) =
        swaps.into_iter().partition(|swap| swap.kind == FileKind::Log);
    for swap in others.into_iter().chain(logs) {
        let live = swap.at(FileStage::Live);
        let (from, to) = (folder.path(swap), folder.path(live));
        folder.fs.rename(&from, &to).map_err(LogError::io("rename", &from))?;
        if let Some(len) = files.remove(&swap) {
            files.insert(live, len);
        }
        report.swapped.push(live.text());
    }
    Ok(())
}

/// The offset after the last batch of a file, as far as its batches go.
fn end_of(folder: &Folder, name: SegmentFileName, len: u64) -> Result<Offset, LogError> {
    let path = folder.path(name);
    let file = folder.fs.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
    let mut scan = BatchScan::new(file, 0..len, name.base);
    while let Ok(Some(_)) = scan.advance() {}
    Ok(scan.expected())
}

fn listing(files: &Files) -> Listing {
    let mut listing = Listing::default();
    for (name, len) in files {
        if name.kind == FileKind::ProducerSnapshot {
            listing.snapshots.insert(name.base);
            continue;
        }
        let lengths = listing.segments.entry(name.base).or_default();
        match name.kind {
            FileKind::Log => lengths.log = Some(*len),
            FileKind::OffsetIndex => lengths.offset_index = Some(*len),
            FileKind::TimeIndex => lengths.time_index = Some(*len),
            FileKind::TransactionIndex => lengths.transaction_index = Some(*len),
            FileKind::ProducerSnapshot => {}
        }
    }
    listing
}
