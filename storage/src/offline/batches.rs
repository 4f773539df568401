//! Walking over a `.log` file: every batch, and every place where one should be and is not.
//!
//! Owns: going on behind damage, and telling a torn end from damage in the middle. Never: decides
//! what is to be done about either.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Offset;
use ottla_protocol::records::{Batch, BatchHeader};

use super::{Finding, FindingKind, OfflineError};
use crate::file_name::SegmentFileName;
use crate::fs::{File, FileSystem, OpenMode};
use crate::segment::scan::{BatchScan, FrameFault, ScanError, find_frame};

/// A batch where it stands.
#[derive(Clone, Debug)]
pub struct SegmentBatch {
    pub position: u64,
    pub header: BatchHeader,
    file: Arc<dyn File>,
}

impl SegmentBatch {
    /// Header and payload.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self) -> io::Result<Bytes> {
        let size = self.header.size();
        let bytes = self.file.read_bytes_at(self.position, size)?;
        if bytes.len() < size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    /// Where the next batch begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }

    /// Whether the bytes match the CRC.
    #[must_use]
    pub fn crc_matches(bytes: &[u8]) -> bool {
        Batch::parse(bytes).is_ok_and(|batch| batch.check_crc().is_ok())
    }
}

/// One step of a walk.
#[derive(Debug)]
pub enum Walked {
    Batch(SegmentBatch),
    Finding(Finding),
}

/// A walk over one `.log` file, which ends at its end or where it cannot be read.
#[derive(Debug)]
pub struct SegmentWalk {
    path: PathBuf,
    base: Offset,
    file: Arc<dyn File>,
    len: u64,
    scan: BatchScan,
    done: bool,
}

impl SegmentWalk {
    /// Opens a `.log` file, in whatever stage.
    ///
    /// # Errors
    /// The disk's, and `Unknown` for another name.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self, OfflineError> {
        let name = path.file_name().and_then(|name| SegmentFileName::parse(name.to_str()?));
        let name = name.ok_or_else(|| OfflineError::Unknown { path: path.to_owned() })?;
        let file = fs.open(path, OpenMode::Read).map_err(OfflineError::io(path))?;
        let len = file.len().map_err(OfflineError::io(path))?;
        let scan = BatchScan::new(Arc::clone(&file), 0..len, name.base);
        Ok(Self { path: path.to_owned(), base: name.base, file, len, scan, done: false })
    }

    /// The segment's base offset.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.base
    }

    /// The offset after the last batch that was met.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.scan.expected()
    }

    fn step(&mut self) -> Option<Walked> {
        let error = match self.scan.advance() {
            Ok(None) => return None,
            Ok(Some(frame)) => {
                return Some(Walked::Batch(SegmentBatch {
                    position: frame.position,
                    header: frame.header,
                    file: Arc::clone(&self.file),
                }));
            }
            Err(error) => error,
        };
        let kind = match error {
            ScanError::Io(error) => {
                self.done = true;
                FindingKind::Unreadable(error)
            }
            ScanError::Fault { position, fault } => self.skip(position, fault),
        };
        Some(Walked::Finding(Finding { path: self.path.clone(), kind }))
    }

    /// Looks for the next good batch, to go on there.
    fn skip(&mut self, position: u64, fault: FrameFault) -> FindingKind {
        let from = self.scan.expected();
        let found = find_frame(&*self.file, position + 1..self.len, self.base, from);
        match found {
            Err(error) => {
                self.done = true;
                FindingKind::Unreadable(error)
            }
            Ok(Some(next)) => {
                let to = next.header.base_offset;
                self.scan =
                    BatchScan::new(Arc::clone(&self.file), next.position..self.len, self.base);
                let resumes = Some(next.position);
                FindingKind::Frame { position, fault, resumes, from, to: Some(to) }
            }
            // Nothing valid behind it: what a crash leaves of a write that nobody was answered.
            Ok(None) => {
                self.done = true;
                FindingKind::TornTail { position, bytes: self.len - position }
            }
        }
    }
}

impl Iterator for SegmentWalk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        if self.done { None } else { self.step() }
    }
}
