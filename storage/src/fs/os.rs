//! The operating system's file system: positional vectored I/O, fdatasync, syncfs, flock.
//!
//! Owns: which system call stands behind each method of the seam. Never: caches file contents,
//! retries a sync, interprets a path.
//!
//! Invariant: one handle per disk stays open from the first `sync_disk` on. The kernel reports a
//! failed write-back to `syncfs` through handles that were open when it happened; a handle opened
//! only for the call could miss an error that another one was told of. It is told once per handle, and
//! whoever shares the handle has to hear of it: from then on every `sync_disk` fails.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::mem;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use super::{DirEntry, DiskId, DiskSpace, EntryKind, File, FileSystem, LockGuard, OpenMode};

/// The most parts that the kernel takes in one vectored write (`UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

/// No machine has larger pages.
#[cfg(target_os = "linux")]
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// The files of the machine. Cheap to make; make one per process and share it.
#[derive(Debug, Default)]
pub struct OsFileSystem {
    /// What `syncfs` is called on, by the path that callers name.
    disks: Mutex<BTreeMap<PathBuf, Arc<Disk>>>,
}

/// A disk that several may sync: the flush thread, and a start that has many logs.
#[derive(Debug)]
struct Disk {
    handle: fs::File,
    /// The error of the first sync that failed: what is lost, nobody knows.
    failed: Mutex<Option<i32>>,
}

impl Disk {
    fn sync(&self, sync: impl FnOnce(&fs::File) -> io::Result<()>) -> io::Result<()> {
        // One at a time: the error goes to the first that asks, and concerns the others.
        let mut failed = self.failed.lock();
        if let Some(code) = *failed {
            return Err(io::Error::from_raw_os_error(code));
        }
        sync(&self.handle).inspect_err(|error| {
            *failed = Some(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()));
        })
    }
}

impl OsFileSystem {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self, path: &Path) -> io::Result<Arc<Disk>> {
        let mut disks = self.disks.lock();
        if let Some(disk) = disks.get(path) {
            return Ok(Arc::clone(disk));
        }
        let disk = Arc::new(Disk { handle: fs::File::open(path)?, failed: Mutex::new(None) });
        disks.insert(path.to_owned(), Arc::clone(&disk));
        Ok(disk)
    }
}

impl FileSystem for OsFileSystem {
    fn boot_id(&self) -> Option<String> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(OsFile { file: options.open(path)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                // Removed between the listing and the look at it, or a dangling link.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (kind, len) = if metadata.is_dir() {
                (EntryKind::Directory, 0)
            } else {
                (EntryKind::File, metadata.len())
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, kind, len });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_disk(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.sync(|handle| Ok(rustix::fs::syncfs(handle)?))
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_disk(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn disk_id(&self, path: &Path) -> io::Result<DiskId> {
        // Write-back errors are told to handles that were open when they happened: whoever asks for
        // the disk is about to rely on its syncs. Opening is enough, and a first sync would wait for
        // whatever other programs have dirty.
        self.disk(path)?;
        Ok(DiskId(fs::metadata(path)?.dev()))
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let found = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            // What an unprivileged process may use, which is what we are.
            available: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // `flock` tells two guards of this process apart; the POSIX lock is the one that Apache
        // Kafka takes (FileChannel.tryLock), so that neither broker opens the other's directory.
        if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Closing any handle of a file gives up the POSIX lock that this process holds on it,
            // and the holder may be this process: a refused lock keeps its handle for good.
            mem::forget(file);
            return Err(error.into());
        }
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(OsLock { _file: file })),
            Err(rustix::io::Errno::ACCESS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Debug)]
struct OsLock {
    /// Both locks go with the handle.
    _file: fs::File,
}

impl LockGuard for OsLock {}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&self.file, buf, position)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        match parts {
            [] => Ok(()),
            [one] => FileExt::write_all_at(&self.file, one, position),
            _ => write_vectored(&self.file, parts, position),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn forget_cached(&self, position: u64) -> io::Result<()> {
        // Pages that are covered in part only would stay.
        let from = position & !(PAGE_BYTES_MAX - 1);
        Ok(rustix::fs::fadvise(&self.file, from, None, rustix::fs::Advice::DontNeed)?)
    }

    fn read_bytes_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let left = self.len()?.saturating_sub(position);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        // Read into memory that was never zeroed: half the cost of a large read from the cache.
        let mut buf = Vec::with_capacity(len);
        while buf.len() < len {
            let at = position + buf.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut buf), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for, and the read filled it.
        buf.truncate(len);
        Ok(buf.into())
    }

    fn os_file(&self) -> Option<&fs::File> {
        Some(&self.file)
    }
}

fn write_vectored(file: &fs::File, parts: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
    let mut owned: Vec<IoSlice<'_>> = parts.to_vec();
    let mut left = &mut owned[..];
    // Parts of length zero at the front would read as "nothing was written".
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let now = &left[..left.len().min(PARTS_MAX)];
        match rustix::io::pwritev(file, now, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_the_kernel_tells_once_is_told_to_all_who_sync() {
        let disk = Disk { handle: fs::File::open("/").unwrap(), failed: Mutex::new(None) };
        disk.sync(|_| Ok(())).unwrap();
        assert!(disk.sync(|_| Err(rustix::io::Errno::IO.into())).is_err());
        let second = disk.sync(|_| Ok(())).unwrap_err();
        assert_eq!(rustix::io::Errno::from_io_error(&second), Some(rustix::io::Errno::IO));
    }
}
