//! What a simulated disk holds, twice: as running processes see it, and as a power loss leaves it.
//!
//! Owns: files, folders, which of their bytes and names are durable, and what a crash keeps.
//! Never: faults, handles, time.
//!
//! Invariants: names change in atomic groups (a rename is one) and a crash keeps, of the groups
//! that touch one name, a prefix; a file's bytes survive in whole or torn blocks; whatever was
//! synced survives.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::SimOptions;
use super::random::SimRandom;
use crate::fs::memory::names;

pub(super) type InodeId = u64;
const ROOT: InodeId = 0;
/// What a disk writes atomically: the unit in which a torn block is torn.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct FileData {
    /// What reads see.
    pub(super) cached: Vec<u8>,
    /// What a crash leaves when it keeps nothing that was not synced.
    pub(super) durable: Vec<u8>,
    /// Blocks that differ, by number.
    dirty: BTreeSet<usize>,
    len_dirty: bool,
    /// Where the next sync writes a block instead of where it belongs.
    misdirected: BTreeMap<usize, usize>,
}

#[derive(Clone, Debug)]
enum Inode {
    File(FileData),
    Folder { seen: BTreeMap<String, InodeId>, durable: BTreeMap<String, InodeId> },
}

/// One name of one folder, and what it stands for from now on.
#[derive(Clone, Debug)]
struct NameChange {
    folder: InodeId,
    name: String,
    to: Option<InodeId>,
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    /// Changes of names that no sync covered yet, in order, in atomic groups.
    pending: Vec<Vec<NameChange>>,
    block_bytes: usize,
}

impl FileData {
    pub(super) fn write(&mut self, bytes: &[u8], position: usize, block_bytes: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.cached.len() {
            self.extend(end, block_bytes);
        }
        self.cached[position..end].copy_from_slice(bytes);
        self.dirty.extend(position / block_bytes..=(end - 1) / block_bytes);
    }

    pub(super) fn set_len(&mut self, len: usize, block_bytes: usize) {
        if len > self.cached.len() {
            self.extend(len, block_bytes);
        } else if len < self.cached.len() {
            self.cached.truncate(len);
            self.dirty = self.dirty.iter().copied().filter(|b| b * block_bytes < len).collect();
            self.len_dirty = true;
        }
    }

    fn extend(&mut self, len: usize, block_bytes: usize) {
        let from = self.cached.len();
        self.cached.resize(len, 0);
        self.dirty.extend(from / block_bytes..=(len - 1) / block_bytes);
        self.len_dirty = true;
    }

    pub(super) fn sync(&mut self, block_bytes: usize) {
        self.durable.resize(self.cached.len(), 0);
        for block in std::mem::take(&mut self.dirty) {
            let from = block * block_bytes;
            let to = (from + block_bytes).min(self.cached.len());
            if from >= to {
                continue;
            }
            match self.misdirected.remove(&block) {
                Some(target) => {
                    let target = (target * block_bytes).min(self.durable.len());
                    let len = (to - from).min(self.durable.len() - target);
                    self.durable[target..target + len]
                        .copy_from_slice(&self.cached[from..from + len]);
                }
                None => self.durable[from..to].copy_from_slice(&self.cached[from..to]),
            }
        }
        self.len_dirty = false;
    }

    /// A sync that failed: what it was to write counts as clean and is never written.
    pub(super) fn fail_sync(&mut self, options: &SimOptions) {
        let lost = std::mem::take(&mut self.dirty);
        self.len_dirty = false;
        if options.failed_sync_reads == super::FailedSyncReads::AsOnDisk {
            for block in lost {
                let from = block * options.block_bytes;
                let to = (from + options.block_bytes).min(self.cached.len());
                for at in from..to {
                    self.cached[at] = self.durable.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    /// Drops the clean blocks from `position` on: the next read finds what the disk holds.
    pub(super) fn forget_clean(&mut self, position: u64, block_bytes: usize) {
        let first = usize::try_from(position).unwrap_or(usize::MAX) / block_bytes;
        for block in first..self.cached.len().div_ceil(block_bytes) {
            if self.dirty.contains(&block) {
                continue;
            }
            let from = block * block_bytes;
            let to = (from + block_bytes).min(self.cached.len());
            for at in from..to {
                self.cached[at] = self.durable.get(at).copied().unwrap_or(0);
            }
        }
    }

    pub(super) fn misdirect(&mut self, position: usize, random: &mut SimRandom, block: usize) {
        let blocks = self.cached.len().div_ceil(block).max(1);
        let target = random.below(blocks as u64) as usize;
        if target != position / block {
            self.misdirected.insert(position / block, target);
        }
    }

    fn crash(&mut self, options: &SimOptions, random: &mut SimRandom) {
        let (old, new) = (self.durable.len(), self.cached.len());
        let len = match random.below(3) {
            _ if !self.len_dirty => old,
            0 => old,
            1 => new,
            // The length follows the data: anything between may be on the disk.
            _ => old.min(new) + random.below((old.max(new) - old.min(new) + 1) as u64) as usize,
        };
        let mut kept = self.durable.clone();
        kept.resize(len, 0);
        if len > old && options.lost_blocks == super::LostBlocks::Garbage {
            for byte in &mut kept[old..] {
                *byte = random.next() as u8;
            }
        }
        for block in std::mem::take(&mut self.dirty) {
            let from = block * options.block_bytes;
            let to = (from + options.block_bytes).min(new).min(len);
            if from >= to || !random.chance(options.keep_block_per_million) {
                continue;
            }
            let to = if random.chance(options.torn_block_per_million) {
                let sectors = (to - from).div_ceil(SECTOR_BYTES);
                (from + random.below(sectors as u64 + 1) as usize * SECTOR_BYTES).min(to)
            } else {
                to
            };
            kept[from..to].copy_from_slice(&self.cached[from..to]);
        }
        self.cached.clone_from(&kept);
        self.durable = kept;
        self.len_dirty = false;
        self.misdirected.clear();
    }
}

impl Disk {
    pub(super) fn new(block_bytes: usize) -> Self {
        let root = Inode::Folder { seen: BTreeMap::new(), durable: BTreeMap::new() };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_inode: ROOT + 1,
            pending: Vec::new(),
            block_bytes: block_bytes.max(1),
        }
    }

    fn add(&mut self, inode: Inode) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, inode);
        id
    }

    fn entries(&self, folder: InodeId) -> io::Result<&BTreeMap<String, InodeId>> {
        match self.inodes.get(&folder) {
            Some(Inode::Folder { seen, .. }) => Ok(seen),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn walk(&self, names: &[&str]) -> io::Result<InodeId> {
        names.iter().try_fold(ROOT, |at, name| {
            let found = self.entries(at)?.get(*name).copied();
            found.ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.walk(&names(path)?)
    }

    fn parent<'p>(&self, path: &'p Path) -> io::Result<(InodeId, &'p str)> {
        let names = names(path)?;
        let (last, above) = names.split_last().ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = self.walk(above)?;
        self.entries(folder)?;
        Ok((folder, last))
    }

    pub(super) fn is_folder(&self, inode: InodeId) -> bool {
        matches!(self.inodes.get(&inode), Some(Inode::Folder { .. }))
    }

    pub(super) fn file(&self, inode: InodeId) -> io::Result<&FileData> {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Folder { .. }) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file_mut(&mut self, inode: InodeId) -> io::Result<&mut FileData> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Folder { .. }) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Applies a group of changes to what is seen and remembers it as not durable.
    fn change(&mut self, group: Vec<NameChange>) {
        for change in &group {
            if let Some(Inode::Folder { seen, .. }) = self.inodes.get_mut(&change.folder) {
                match change.to {
                    Some(inode) => seen.insert(change.name.clone(), inode),
                    None => seen.remove(&change.name),
                };
            }
        }
        self.pending.push(group);
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<InodeId> {
        let (folder, name) = self.parent(path)?;
        let name = name.to_owned();
        let inode = self.add(Inode::File(FileData::default()));
        self.change(vec![NameChange { folder, name, to: Some(inode) }]);
        Ok(inode)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.entries(at)?.get(name) {
                Some(next) => *next,
                None => {
                    let inode =
                        self.add(Inode::Folder { seen: BTreeMap::new(), durable: BTreeMap::new() });
                    let name = name.to_owned();
                    self.change(vec![NameChange { folder: at, name, to: Some(inode) }]);
                    inode
                }
            };
        }
        self.entries(at).map(|_| ())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if to != from && to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let inode = self.find(from)?;
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        if let Some(there) = self.entries(to_folder)?.get(to_name).copied()
            && there != inode
        {
            match (self.is_folder(inode), self.is_folder(there)) {
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, true) if !self.entries(there)?.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        if from != to {
            self.change(vec![
                NameChange { folder: from_folder, name: from_name.to_owned(), to: None },
                NameChange { folder: to_folder, name: to_name.to_owned(), to: Some(inode) },
            ]);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        let name = name.to_owned();
        if !self.entries(folder)?.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(vec![NameChange { folder, name, to: None }]);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(String, InodeId)>> {
        let entries = self.entries(self.find(path)?)?;
        Ok(entries.iter().map(|(name, inode)| (name.clone(), *inode)).collect())
    }

    /// Makes the names of one folder durable, with what they depend on: a rename that touches a
    /// second folder takes everything earlier in that folder along, as a journal does.
    pub(super) fn sync_folder(&mut self, folder: InodeId) {
        let mut folders = BTreeSet::from([folder]);
        let mut chosen = vec![false; self.pending.len()];
        for (index, group) in self.pending.iter().enumerate().rev() {
            if group.iter().any(|change| folders.contains(&change.folder)) {
                chosen[index] = true;
                folders.extend(group.iter().map(|change| change.folder));
            }
        }
        let pending = std::mem::take(&mut self.pending);
        for (group, chosen) in pending.into_iter().zip(chosen) {
            if chosen { self.make_durable(&group) } else { self.pending.push(group) }
        }
    }

    pub(super) fn sync_names(&mut self) {
        for group in std::mem::take(&mut self.pending) {
            self.make_durable(&group);
        }
    }

    fn make_durable(&mut self, group: &[NameChange]) {
        for change in group {
            if let Some(Inode::Folder { durable, .. }) = self.inodes.get_mut(&change.folder) {
                match change.to {
                    Some(inode) => durable.insert(change.name.clone(), inode),
                    None => durable.remove(&change.name),
                };
            }
        }
    }

    /// Every file, with or without a name.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut FileData> {
        self.inodes.values_mut().filter_map(|inode| match inode {
            Inode::File(file) => Some(file),
            Inode::Folder { .. } => None,
        })
    }

    /// Bytes that files hold, as a limit on space counts them.
    pub(super) fn used(&self) -> u64 {
        self.reachable().iter().filter_map(|inode| self.file(*inode).ok()).fold(0, |sum, file| {
            sum.saturating_add(file.cached.len().max(file.durable.len()) as u64)
        })
    }

    fn reachable(&self) -> BTreeSet<InodeId> {
        let mut found = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(inode) = open.pop() {
            if found.insert(inode)
                && let Some(Inode::Folder { seen, .. }) = self.inodes.get(&inode)
            {
                open.extend(seen.values());
            }
        }
        found
    }

    /// The power goes and comes back: what was synced is there, of the rest what chance kept.
    pub(super) fn crash(&mut self, options: &SimOptions, random: &mut SimRandom) {
        let mut lost: BTreeSet<(InodeId, String)> = BTreeSet::new();
        for group in std::mem::take(&mut self.pending) {
            let follows_lost =
                group.iter().any(|change| lost.contains(&(change.folder, change.name.clone())));
            if !follows_lost && random.chance(options.keep_name_per_million) {
                self.make_durable(&group);
            } else {
                lost.extend(group.into_iter().map(|change| (change.folder, change.name)));
            }
        }
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::File(file) => file.crash(options, random),
                Inode::Folder { seen, durable } => seen.clone_from(durable),
            }
        }
        let reachable = self.reachable();
        self.inodes.retain(|inode, _| reachable.contains(inode));
    }

    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }
}
