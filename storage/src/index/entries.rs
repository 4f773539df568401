//! A file of ascending entries of one width, searched in place.
//!
//! Owns: appending, binary search, checksum, cutting. Never: keeps a file's entries in memory,
//! beyond those of the end that are not written yet: a thousand idle partitions cost nothing.
//! Invariant: the file holds `written` whole entries, `pending` follow.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::file_name::SegmentFileName;
use crate::fs::{File, OpenMode};
use crate::handles::{Folder, HandleKey};

/// One entry of an index file.
pub trait IndexEntry: Copy + std::fmt::Debug + PartialEq {
    /// Its bytes in the file.
    const WIDTH: usize;
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads `WIDTH` bytes; the caller gives exactly as many.
    fn decode(bytes: &[u8]) -> Self;
}

/// Entries that wait for one write: losing them in a crash costs a longer scan and nothing else.
const PENDING_MAX: usize = 32;
/// From here on a search reads the rest in one go.
const BLOCK_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct EntryFile<E> {
    name: SegmentFileName,
    key: HandleKey,
    written: u64,
    pending: Vec<u8>,
    last: Option<E>,
    kind: PhantomData<E>,
}

impl<E: IndexEntry> EntryFile<E> {
    /// Over a file that has `len` bytes, or none yet.
    pub(crate) fn new(folder: &Folder, name: SegmentFileName, len: u64) -> Self {
        Self {
            name,
            key: folder.handles.new_key(),
            written: len / E::WIDTH as u64,
            pending: Vec::new(),
            last: None,
            kind: PhantomData,
        }
    }

    pub(crate) fn key(&self) -> HandleKey {
        self.key
    }

    pub(crate) fn len(&self) -> u64 {
        self.written + (self.pending.len() / E::WIDTH) as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.len() * E::WIDTH as u64
    }

    /// Ignores what the file has beyond `entries`.
    pub(crate) fn limit(&mut self, entries: u64) {
        self.written = self.written.min(entries);
    }

    fn file(&self, folder: &Folder) -> io::Result<Arc<dyn File>> {
        folder.open(self.key, self.name, OpenMode::Create)
    }

    /// Adds an entry, which the caller knows to be above all others.
    pub(crate) fn push(&mut self, folder: &Folder, entry: E) -> io::Result<()> {
        entry.encode(&mut self.pending);
        self.last = Some(entry);
        if self.pending.len() >= PENDING_MAX * E::WIDTH { self.write(folder) } else { Ok(()) }
    }

    /// Writes what is pending. Durability is the caller's.
    pub(crate) fn write(&mut self, folder: &Folder) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let position = self.written * E::WIDTH as u64;
        self.file(folder)?.write_all_at(&[IoSlice::new(&self.pending)], position)?;
        self.written = self.len();
        self.pending = Vec::new();
        Ok(())
    }

    /// Writes what is pending and answers the file, to be synced. Creates it where it is empty.
    pub(crate) fn finish(&mut self, folder: &Folder) -> io::Result<Arc<dyn File>> {
        self.write(folder)?;
        self.file(folder)
    }

    pub(crate) fn get(&self, folder: &Folder, index: u64) -> io::Result<E> {
        if let Some(pending) = index.checked_sub(self.written) {
            let start = pending as usize * E::WIDTH;
            let bytes = self.pending.get(start..start + E::WIDTH);
            return bytes.map(E::decode).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = [0; 64];
        let bytes = &mut bytes[..E::WIDTH];
        self.file(folder)?.read_exact_at(bytes, index * E::WIDTH as u64)?;
        Ok(E::decode(bytes))
    }

    pub(crate) fn last(&mut self, folder: &Folder) -> io::Result<Option<E>> {
        if self.last.is_none() && self.len() > 0 {
            self.last = Some(self.get(folder, self.len() - 1)?);
        }
        Ok(self.last)
    }

    /// The number of entries at the front for which `before` holds; it holds for none after them.
    pub(crate) fn partition_point(
        &self,
        folder: &Folder,
        before: impl Fn(&E) -> bool,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            if high <= self.written && (high - low) as usize * E::WIDTH <= BLOCK_BYTES {
                let block = self.read(folder, low, high)?;
                let passed = block.chunks_exact(E::WIDTH).take_while(|raw| before(&E::decode(raw)));
                return Ok(low + passed.count() as u64);
            }
            let middle = low + (high - low) / 2;
            if before(&self.get(folder, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last entry for which `before` holds.
    pub(crate) fn floor(
        &self,
        folder: &Folder,
        before: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        match self.partition_point(folder, before)?.checked_sub(1) {
            Some(index) => self.get(folder, index).map(Some),
            None => Ok(None),
        }
    }

    /// The bytes of written entries `from..to`.
    fn read(&self, folder: &Folder, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (to - from) as usize * E::WIDTH];
        self.file(folder)?.read_exact_at(&mut bytes, from * E::WIDTH as u64)?;
        Ok(bytes)
    }

    /// Entries from index `from` on, all of them.
    pub(crate) fn tail(&self, folder: &Folder, from: u64) -> io::Result<Vec<E>> {
        let mut bytes =
            if from < self.written { self.read(folder, from, self.written)? } else { Vec::new() };
        let skip = from.saturating_sub(self.written) as usize * E::WIDTH;
        bytes.extend_from_slice(self.pending.get(skip..).unwrap_or_default());
        Ok(bytes.chunks_exact(E::WIDTH).map(E::decode).collect())
    }

    /// The CRC32C of the first `entries` entries, or `None` when there are fewer.
    pub(crate) fn checksum(&self, folder: &Folder, entries: u64) -> io::Result<Option<u32>> {
        if entries > self.len() {
            return Ok(None);
        }
        let mut crc = 0;
        let on_file = entries.min(self.written);
        if on_file > 0 {
            let file = self.file(folder)?;
            let end = on_file * E::WIDTH as u64;
            let mut block = vec![0; end.min(64 * 1024) as usize];
            let mut position = 0;
            while position < end {
                let take = (end - position).min(block.len() as u64) as usize;
                file.read_exact_at(&mut block[..take], position)?;
                crc = crc32c::crc32c_append(crc, &block[..take]);
                position += take as u64;
            }
        }
        let rest = (entries - on_file) as usize * E::WIDTH;
        Ok(Some(crc32c::crc32c_append(crc, &self.pending[..rest])))
    }

    /// Keeps the first `entries` entries.
    pub(crate) fn cut(&mut self, folder: &Folder, entries: u64) -> io::Result<()> {
        if entries >= self.len() {
            return Ok(());
        }
        self.last = None;
        if entries >= self.written {
            self.pending.truncate((entries - self.written) as usize * E::WIDTH);
            return Ok(());
        }
        self.pending = Vec::new();
        self.written = entries;
        self.file(folder)?.set_len(entries * E::WIDTH as u64)
    }

    /// Drops bytes of the file beyond whole entries: Kafka's zeros, or a torn write.
    pub(crate) fn trim_file(&self, folder: &Folder) -> io::Result<()> {
        self.file(folder)?.set_len(self.written * E::WIDTH as u64)
    }
}
