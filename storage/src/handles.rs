//! Open files, bounded by number and not by how many segments there are.
//!
//! Owns: which files stay open. Never: what is in them. A caller's `Arc` keeps a file open for as
//! long as it is held, whatever is evicted here.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::file_name::SegmentFileName;
use crate::fs::{File, FileSystem, OpenMode};

/// Identity of one file for as long as the process lives; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HandleKey(u64);

/// The files that logs keep open, shared by all logs of a process.
#[derive(Debug)]
pub struct HandleCache {
    capacity: usize,
    next_key: AtomicU64,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: HashMap<HandleKey, Slot>,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    file: Arc<dyn File>,
    used: u64,
}

impl HandleCache {
    /// Keeps at most about `capacity` files open, at least 8.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(8),
            next_key: AtomicU64::new(0),
            open: Mutex::new(OpenFiles::default()),
        }
    }

    /// How many files are kept open now.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.open.lock().files.len()
    }

    pub(crate) fn new_key(&self) -> HandleKey {
        HandleKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    fn get(&self, key: HandleKey) -> Option<Arc<dyn File>> {
        let mut open = self.open.lock();
        open.clock += 1;
        let clock = open.clock;
        let slot = open.files.get_mut(&key)?;
        slot.used = clock;
        Some(Arc::clone(&slot.file))
    }

    fn put(&self, key: HandleKey, file: &Arc<dyn File>) {
        let mut open = self.open.lock();
        open.clock += 1;
        let used = open.clock;
        if open.files.len() >= self.capacity {
            // A quarter at once, so that the scan is paid for by the opens that follow.
            let mut ages: Vec<u64> = open.files.values().map(|slot| slot.used).collect();
            let cut = ages.len() / 4;
            let (_, oldest_kept, _) = ages.select_nth_unstable(cut);
            let oldest_kept = *oldest_kept;
            open.files.retain(|_, slot| slot.used >= oldest_kept);
        }
        open.files.insert(key, Slot { file: Arc::clone(file), used });
    }

    pub(crate) fn forget(&self, key: HandleKey) {
        self.open.lock().files.remove(&key);
    }
}

/// Whether what the page cache holds of small files may be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CacheTrust {
    Trusted,
    /// A process before this one may have had a sync that failed: the disk is asked.
    Doubtful,
}

/// One partition's folder: where its parts find their files.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) cache: CacheTrust,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) dir: Arc<Path>,
    pub(crate) handles: Arc<HandleCache>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir.fmt(f)
    }
}

impl Folder {
    pub(crate) fn path(&self, name: SegmentFileName) -> PathBuf {
        self.dir.join(name.text())
    }

    /// The file, opened for reading and writing, created if `mode` says so.
    pub(crate) fn open(
        &self,
        key: HandleKey,
        name: SegmentFileName,
        mode: OpenMode,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.handles.get(key) {
            return Ok(file);
        }
        let file = self.fs.open(&self.path(name), mode)?;
        self.handles.put(key, &file);
        Ok(file)
    }

    /// Reads a small file whole, at most `max` bytes of it; `None` when it is not there.
    pub(crate) fn read_small(&self, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.fs.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.cache == CacheTrust::Doubtful {
            file.forget_cached(0)?;
        }
        let mut bytes = vec![0; file.len()?.min(max) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }

    /// Writes a small file whole; the caller makes it durable.
    pub(crate) fn write_small(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&[io::IoSlice::new(bytes)], 0)?;
        Ok(file)
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match self.fs.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
