//! The small text files of a log directory, in Kafka's formats, written atomically.
//!
//! Owns: offset checkpoints, `meta.properties`, the clean-shutdown marker, and replacing a small
//! file without a moment in which neither content is there. Never: what the offsets are for, or
//! what to do about a damaged file.
//!
//! Invariants: parsers allocate no more than a small multiple of the text; a file that was cut or
//! altered is an error, not a shorter answer.

mod meta_properties;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_protocol::model::{Offset, TopicPartition};
use thiserror::Error;

use crate::fs::{FileSystem, OpenMode};

pub use meta_properties::{META_PROPERTIES_FILE, MetaProperties};

/// The largest small file that is read: 100,000 partitions with the longest names.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The offset checkpoints of a log directory (Kafka's `OffsetCheckpointFile`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckpointKind {
    /// Everything below is flushed; recovery begins here.
    RecoveryPoint,
    /// Everything below was deleted.
    LogStart,
    /// The high watermark.
    Replication,
    /// Everything below was compacted.
    Cleaner,
}

impl CheckpointKind {
    pub const ALL: [Self; 4] =
        [Self::RecoveryPoint, Self::LogStart, Self::Replication, Self::Cleaner];

    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Replication => "replication-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// The kind of the file with this name.
    #[must_use]
    pub fn of(file_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.file_name() == file_name)
    }
}

/// An offset for each of some partitions.
pub type PartitionOffsets = BTreeMap<TopicPartition, Offset>;

/// Why a small file could not be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} line {line}: {reason}; restore it from a copy or remove it")]
    Malformed { path: PathBuf, line: usize, reason: &'static str },
    #[error("{path} is of version {found}, and this version of Ottla reads version {known}")]
    Version { path: PathBuf, found: String, known: u32 },
}

/// What is wrong with a text, before it is known which file it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TextError {
    Malformed { line: usize, reason: &'static str },
    Version { found: String, known: u32 },
}

impl TextError {
    pub(crate) fn at(self, path: &Path) -> CheckpointError {
        let path = path.to_owned();
        match self {
            Self::Malformed { line, reason } => CheckpointError::Malformed { path, line, reason },
            Self::Version { found, known } => CheckpointError::Version { path, found, known },
        }
    }
}

/// The text of an offset checkpoint: version, count, a line per partition.
#[must_use]
pub fn offsets_text(offsets: &PartitionOffsets) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text
}

pub(crate) fn parse_offsets(text: &str) -> Result<PartitionOffsets, TextError> {
    let fail = |line, reason| Err(TextError::Malformed { line, reason });
    let mut lines = text.lines();
    match lines.next().map(str::trim) {
        Some("0") => {}
        Some(found) if found.parse::<u32>().is_ok() => {
            return Err(TextError::Version { found: found.to_owned(), known: 0 });
        }
        _ => return fail(1, "the version is not a number"),
    }
    let Some(count) = lines.next().and_then(|line| line.trim().parse::<usize>().ok()) else {
        return fail(2, "the count is not a number");
    };
    let mut offsets = PartitionOffsets::new();
    let mut found = 0;
    for (index, line) in lines.enumerate() {
        let mut words = line.split_whitespace();
        let (Some(topic), Some(partition), Some(offset), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return fail(index + 3, "not a topic, a partition and an offset");
        };
        let (Ok(partition), Ok(offset)) = (partition.parse::<i32>(), offset.parse::<i64>()) else {
            return fail(index + 3, "the partition or the offset is not a number");
        };
        offsets.insert(TopicPartition::new(topic, partition), Offset(offset));
        found += 1;
    }
    if found != count {
        return fail(2, "the count does not match the lines");
    }
    // A last line without its newline may have lost digits.
    if !text.ends_with('\n') {
        return fail(found + 2, "the last line is cut");
    }
    Ok(offsets)
}

/// Reads an offset checkpoint; an absent file is an empty one.
///
/// # Errors
/// The disk's, and what is wrong with a damaged file.
pub fn read_offsets(
    fs: &dyn FileSystem,
    dir: &Path,
    kind: CheckpointKind,
) -> Result<PartitionOffsets, CheckpointError> {
    let path = dir.join(kind.file_name());
    match read_text(fs, &path)? {
        None => Ok(PartitionOffsets::new()),
        Some(text) => parse_offsets(&text).map_err(|error| error.at(&path)),
    }
}

/// Replaces an offset checkpoint; it is durable on return.
///
/// # Errors
/// The disk's. The old file is then still there, or the new one.
pub fn write_offsets(
    fs: &dyn FileSystem,
    dir: &Path,
    kind: CheckpointKind,
    offsets: &PartitionOffsets,
) -> Result<(), CheckpointError> {
    let path = dir.join(kind.file_name());
    replace_file(fs, &path, offsets_text(offsets).as_bytes())
        .map_err(|source| CheckpointError::Io { path, source })
}

/// Reads a small text file; `None` when it is absent.
pub(crate) fn read_text(
    fs: &dyn FileSystem,
    path: &Path,
) -> Result<Option<String>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let malformed = |reason| TextError::Malformed { line: 1, reason }.at(path);
    if file.len().map_err(io)? > FILE_BYTES_MAX {
        return Err(malformed("the file is far larger than it can be"));
    }
    let bytes = file.read_bytes_at(0, FILE_BYTES_MAX as usize).map_err(io)?;
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(malformed("the file is not text")),
    }
}

/// Replaces a small file: after a crash at any moment it holds the old bytes or the new ones. The
/// caller keeps others from replacing the same file at the same time.
///
/// # Errors
/// The disk's.
pub fn replace_file(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = fs.open(&temporary, OpenMode::Create)?;
    // What an interrupted attempt left behind.
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    fs.rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => fs.sync_dir(dir),
        None => Ok(()),
    }
}

/// The file by which a broker says that everything was flushed when it stopped.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

/// The marker's content, as Kafka's `CleanShutdownFileHandler` writes it (KIP-966).
#[must_use]
pub fn clean_shutdown_text(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// The broker epoch in a clean-shutdown marker; `None` in one that older versions left empty.
#[must_use]
pub fn parse_clean_shutdown(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("\"brokerEpoch\"")?;
    let digits = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemoryFileSystem;
    use crate::fs::sim::{SimFileSystem, SimOptions};

    #[test]
    fn reads_what_a_real_kafka_wrote() {
        let dir = crate::oracle_records().join("data-directory");
        let fs = crate::fs::OsFileSystem::new();
        let points = read_offsets(&fs, &dir, CheckpointKind::RecoveryPoint).unwrap();
        assert_eq!(points.len(), 33);
        assert_eq!(points[&TopicPartition::new("transactions", 0)], Offset(30));
        assert_eq!(points[&TopicPartition::new("__consumer_offsets", 7)], Offset(16));
        let cleaned = read_offsets(&fs, &dir, CheckpointKind::Cleaner).unwrap();
        assert_eq!(cleaned, [(TopicPartition::new("compacted", 0), Offset(11))].into());
        assert_eq!(read_offsets(&fs, &dir, CheckpointKind::LogStart).unwrap().len(), 0);
        assert_eq!(read_offsets(&fs, &dir, CheckpointKind::Replication).unwrap(), points);
    }

    #[test]
    fn every_cut_and_every_lie_is_noticed() {
        let offsets: PartitionOffsets =
            [(TopicPartition::new("a", 0), Offset(5)), (TopicPartition::new("b.c", 12), Offset(7))]
                .into();
        let text = offsets_text(&offsets);
        assert_eq!(text, "0\n2\na 0 5\nb.c 12 7\n");
        assert_eq!(parse_offsets(&text), Ok(offsets));
        for cut in 0..text.len() {
            assert!(parse_offsets(&text[..cut]).is_err(), "cut at {cut}");
        }
        for bad in ["", "x\n0\n", "0\n1\n", "0\n99999999999\n", "0\n1\na 0 5 6\n", "0\n1\na x 5\n"]
        {
            assert!(parse_offsets(bad).is_err(), "{bad:?}");
        }
        let newer = parse_offsets("1\n0\n");
        assert_eq!(newer, Err(TextError::Version { found: "1".into(), known: 0 }));
    }

    #[test]
    fn an_absent_file_is_empty_and_a_written_one_is_read() {
        let fs = MemoryFileSystem::new();
        let dir = Path::new("/logs");
        fs.create_dir_all(dir).unwrap();
        let kind = CheckpointKind::Replication;
        assert_eq!(read_offsets(&fs, dir, kind).unwrap().len(), 0);
        let offsets: PartitionOffsets = [(TopicPartition::new("t", 3), Offset(9))].into();
        write_offsets(&fs, dir, kind, &offsets).unwrap();
        assert_eq!(read_offsets(&fs, dir, kind).unwrap(), offsets);
        assert_eq!(CheckpointKind::of(kind.file_name()), Some(kind));
    }

    #[test]
    fn a_crash_at_any_call_leaves_the_old_file_or_the_new_one() {
        let path = Path::new("/logs/file");
        for seed in 0..40 {
            for call in 0..8 {
                let fs = SimFileSystem::new(seed, SimOptions::default());
                fs.create_dir_all(Path::new("/logs")).unwrap();
                fs.sync_dir(Path::new("/")).unwrap();
                replace_file(&fs, path, b"old").unwrap();
                fs.power_off_at(fs.calls() + call);
                let done = replace_file(&fs, path, b"new and longer");
                fs.crash();
                let text = read_text(&fs, path).unwrap().expect("never absent");
                match done {
                    Ok(()) => assert_eq!(text, "new and longer", "seed {seed} call {call}"),
                    Err(_) => assert!(
                        text == "old" || text == "new and longer",
                        "seed {seed} call {call}: {text:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn the_clean_shutdown_marker_is_kafkas() {
        assert_eq!(clean_shutdown_text(17), "{\"version\":0,\"brokerEpoch\":17}");
        assert_eq!(parse_clean_shutdown(&clean_shutdown_text(17)), Some(17));
        assert_eq!(parse_clean_shutdown(&clean_shutdown_text(-1)), Some(-1));
        assert_eq!(parse_clean_shutdown(""), None);
    }
}
