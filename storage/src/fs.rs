//! The file-system seam: everything the log asks of a disk, so that a test can be the disk.
//!
//! Owns: the [`FileSystem`] and [`File`] traits and their contract. Never: paths' meaning, formats,
//! retries. Implementations live in `fs/`: the operating system, memory, and a simulated disk that
//! loses what was not synced; `fs::conformance` executes the contract on each.
//!
//! # Contract
//!
//! - A write is visible to every later read through any handle at once, and is durable only after
//!   `sync_data` on that file, or `sync_disk` on its disk, returned `Ok`.
//! - A file's *name* (creation, rename, removal) is durable only after `sync_dir` of its folder, or
//!   `sync_disk`.
//! - A removed or renamed file stays readable through handles that were open (as on POSIX).
//! - After any sync returned an error, what that file holds past its last good sync is unknown: the
//!   caller must not retry on the same handle: the operating system marks pages clean whose
//!   write-back failed, so a second sync succeeds without having written them. A process that
//!   begins on what another one left calls `forget_cached` before it believes a read.
//! - An error of write-back is told to the handles that were open when it happened. Whoever wrote
//!   to a file keeps that handle open until its sync returned.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod memory;
pub mod os;
pub mod sim;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::flush::FlushCoordinator;

pub use memory::MemoryFileSystem;
pub use os::OsFileSystem;
pub use sim::{SimFileSystem, SimOptions};

/// How [`FileSystem::open`] treats a file that is there or is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Must exist; writes are refused.
    Read,
    /// Must exist.
    ReadWrite,
    /// Created when absent, kept when present.
    Create,
    /// Created; an existing file is an error of kind `AlreadyExists`.
    CreateNew,
}

/// What [`FileSystem::list`] says of one entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    pub name: String,
    pub kind: EntryKind,
    /// Length in bytes; 0 for a folder.
    pub len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntryKind {
    File,
    Directory,
}

/// Room on the disk that holds a path, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    pub total: u64,
    pub available: u64,
}

/// Identity of a disk among those that one [`FileSystem`] reaches. It means nothing after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskId(pub u64);

/// A disk, or a part of one, under one root.
pub trait FileSystem: Send + Sync + fmt::Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Creates a folder and its parents; one that is there is no error.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` atomically when it is there. Works on files and folders.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all it holds.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes the names in this folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything on the disk that holds `path` durable: data and names (`syncfs`). An error
    /// of kind `Unsupported` means that nothing was tried and every file is to be synced by itself.
    fn sync_disk(&self, path: &Path) -> io::Result<()>;
    /// Names the disk that holds `path` (which exists): equal for folders that one `sync_disk`
    /// covers, so that log directories of one disk share one flush thread.
    fn disk_id(&self, path: &Path) -> io::Result<DiskId>;
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Whether data here outlives the process at all. Where it does not (memory), flushing is
    /// free and callers may complete a flush inline instead of through the flush thread.
    fn is_volatile(&self) -> bool {
        false
    }
    /// A coordinator of this file system's own for the disk that holds `path`, for simulations,
    /// which have no threads. `None`: logs are flushed by a thread per disk.
    fn flusher(&self, _path: &Path) -> Option<FlushCoordinator> {
        None
    }
    /// A text that is another one after the machine was off or restarted; `None` where that cannot
    /// be known. What a process left in the page cache is there as long as it stays the same.
    fn boot_id(&self) -> Option<String> {
        None
    }
    /// Takes an exclusive lock on the file at `path` (created if absent), held until the guard
    /// drops. `WouldBlock` when another process, or another guard of this one, holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
}

/// Held for as long as the lock is.
pub trait LockGuard: Send + Sync + fmt::Debug {}

/// An open file. Positions are explicit: a handle has no cursor and may be shared.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at most `buf.len()` bytes at `position`; 0 at or past the end.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `parts`, in order, from `position` on, or fails; after a failure any prefix
    /// may have been written.
    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file's data and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Lets go of what is cached of the file from `position` on and need not be written any more,
    /// so that the next read asks the disk: after a failed sync the cache may hold, as clean, what
    /// the disk never got. A hint: where nothing is cached, or nobody can say so, nothing happens.
    ///
    /// # Errors
    ///
    /// The handle's.
    fn forget_cached(&self, position: u64) -> io::Result<()> {
        let _ = position;
        Ok(())
    }
    /// The bytes from `position` on: `len` of them, fewer only at the end of the file. Memory files
    /// hand out slices of what they hold; the others read into a new buffer.
    fn read_bytes_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        // A length that a damaged index suggested must not decide how much is allocated.
        let left = self.len()?.saturating_sub(position);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut buf = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.read_at(&mut buf[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buf.truncate(filled);
        Ok(buf.into())
    }
    /// The operating system's file, where there is one: for `sendfile` and for mapping.
    fn os_file(&self) -> Option<&std::fs::File> {
        None
    }

    /// Fills `buf` from `position`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buf = &mut buf[read..];
                    position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
