//! A file system in memory: the embeddable broker's default and the fast half of every test.
//!
//! Owns: a tree of names, and file contents as a sequence of chunks. Never: durability (a sync is
//! a no-op that succeeds), limits.
//!
//! Invariants: a file's pieces do not overlap, the growing piece lies behind all others, and what
//! no piece covers reads as zeros. Appending never moves what was written, so reads of finished
//! pieces are slices of them.

mod contents;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{DirEntry, DiskId, DiskSpace, EntryKind, File, FileSystem, LockGuard, OpenMode};
use contents::Contents;

/// Free space that a memory file system claims: enough for any placement rule to be content.
const CLAIMED_SPACE: u64 = 1 << 46;

/// Folders and files that are gone when the last reference is. Each value is a disk of its own.
#[derive(Debug, Default)]
pub struct MemoryFileSystem {
    root: Mutex<Folder>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

type Folder = BTreeMap<String, Node>;

#[derive(Debug)]
enum Node {
    Folder(Folder),
    File(Arc<RwLock<Contents>>),
}

impl MemoryFileSystem {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The names along a path, without roots and dots; `..` is refused.
pub(super) fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidFilename)?);
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err(io::ErrorKind::InvalidFilename.into()),
        }
    }
    Ok(names)
}

fn folder<'a>(root: &'a mut Folder, names: &[&str]) -> io::Result<&'a mut Folder> {
    let mut at = root;
    for name in names {
        match at.get_mut(*name) {
            Some(Node::Folder(next)) => at = next,
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
    }
    Ok(at)
}

/// The folder that a path's last name is in, and that name.
fn parent<'a, 'p>(root: &'a mut Folder, path: &'p Path) -> io::Result<(&'a mut Folder, &'p str)> {
    let names = names(path)?;
    let (last, above) = names.split_last().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok((folder(root, above)?, last))
}

impl FileSystem for MemoryFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut root = self.root.lock();
        let (folder, name) = parent(&mut root, path)?;
        let contents = match (folder.get(name), mode) {
            (Some(Node::Folder(_)), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(contents)), _) => Arc::clone(contents),
            (None, OpenMode::Read | OpenMode::ReadWrite) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let contents = Arc::new(RwLock::new(Contents::default()));
                folder.insert(name.to_owned(), Node::File(Arc::clone(&contents)));
                contents
            }
        };
        Ok(Arc::new(MemoryFile { contents, writable: mode != OpenMode::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        let mut at = &mut *root;
        for name in names(path)? {
            let next = at.entry(name.to_owned()).or_insert_with(|| Node::Folder(Folder::new()));
            match next {
                Node::Folder(next) => at = next,
                Node::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if to != from && to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut root = self.root.lock();
        let (source, from_name) = parent(&mut root, from)?;
        let is_folder = match source.get(from_name) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(node) => matches!(node, Node::Folder(_)),
        };
        let (target, to_name) = parent(&mut root, to)?;
        match target.get(to_name) {
            Some(Node::Folder(_)) if !is_folder => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) if is_folder => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Folder(there)) if !there.is_empty() && to != from => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        let (source, from_name) = parent(&mut root, from)?;
        let Some(node) = source.remove(from_name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (target, to_name) = parent(&mut root, to)?;
        target.insert(to_name.to_owned(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        let (folder, name) = parent(&mut root, path)?;
        match folder.get(name) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Node::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) => {
                folder.remove(name);
                Ok(())
            }
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut root = self.root.lock();
        let (folder, name) = parent(&mut root, path)?;
        match folder.get(name) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Folder(_)) => {
                folder.remove(name);
                Ok(())
            }
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut root = self.root.lock();
        let entries = folder(&mut root, &names(path)?)?.iter().map(|(name, node)| match node {
            Node::Folder(_) => DirEntry { name: name.clone(), kind: EntryKind::Directory, len: 0 },
            Node::File(contents) => {
                DirEntry { name: name.clone(), kind: EntryKind::File, len: contents.read().len() }
            }
        });
        Ok(entries.collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut root = self.root.lock();
        if names(path)?.is_empty() {
            return Ok(true);
        }
        Ok(parent(&mut root, path).is_ok_and(|(folder, name)| folder.contains_key(name)))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        folder(&mut self.root.lock(), &names(path)?).map(|_| ())
    }

    fn sync_disk(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn disk_id(&self, _path: &Path) -> io::Result<DiskId> {
        Ok(DiskId(0))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        Ok(DiskSpace { total: CLAIMED_SPACE, available: CLAIMED_SPACE })
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.open(path, OpenMode::Create)?;
        if !self.locks.lock().insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { path: path.to_owned(), locks: Arc::clone(&self.locks) }))
    }
}

#[derive(Debug)]
struct MemoryLock {
    path: PathBuf,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    contents: Arc<RwLock<Contents>>,
    writable: bool,
}

impl MemoryFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.contents.read().read_at(buf, position))
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.check_writable()?;
        let len = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.len() as u64));
        if position.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut contents = self.contents.write();
        let mut at = position;
        for part in parts {
            contents.write_at(part, at);
            at += part.len() as u64;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.read().len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.contents.write().set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_bytes_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        if let Some(found) = self.contents.read().slice(position, len) {
            return Ok(found);
        }
        Ok(self.contents.write().read_bytes(position, len))
    }
}
