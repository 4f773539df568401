//! A simulated disk: every crash, error and delay follows from a seed.
//!
//! Owns: the seam over a disk that loses what was not synced, tears blocks, flips bits, misdirects
//! writes, fails any call and takes virtual time. Never: threads, real time, real files.
//!
//! # Drawing
//!
//! ```text
//!   write ──> cached ──sync_data──> durable        reads see cached
//!   create, rename, remove ──> seen ──sync_dir──> durable names
//!   crash(): durable + a random part of the rest becomes both; old handles are dead
//! ```
//!
//! Invariant: the same seed, options and calls give the same results and the same trace. Calls
//! from several threads are safe but their order, and so the trace, is not the disk's to decide.

mod disk;
mod faults;
mod random;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{DirEntry, DiskId, DiskSpace, EntryKind, File, FileSystem, LockGuard, OpenMode};
use disk::{Disk, InodeId};
use faults::{FaultPlan, Repeat, Trace};

pub use faults::{DiskError, Fault, FaultRates, Op, OpMatcher};
pub use random::SimRandom;

/// What reads find in pages whose sync failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailedSyncReads {
    /// The new bytes, until a crash: the page stays cached and counts as clean (ext4).
    AsWritten,
    /// The old bytes: the page was dropped or is read again.
    AsOnDisk,
}

/// What lies in blocks that a file was extended by and that never reached the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostBlocks {
    Zeros,
    /// Whatever the disk held there before.
    Garbage,
}

/// How long calls take in virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    pub read: Duration,
    pub write: Duration,
    pub sync: Duration,
    /// A random addition of up to this much to each of them.
    pub jitter: Duration,
}

/// The manner of a simulated disk.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// The unit in which unsynced data survives a crash or not.
    pub block_bytes: usize,
    /// How many unsynced blocks a crash keeps, of a million.
    pub keep_block_per_million: u32,
    /// How many of the kept blocks are torn at a sector, of a million.
    pub torn_block_per_million: u32,
    /// How many unsynced changes of names a crash keeps, of a million.
    pub keep_name_per_million: u32,
    pub lost_blocks: LostBlocks,
    pub failed_sync_reads: FailedSyncReads,
    pub rates: FaultRates,
    pub latency: Latency,
    /// Room in bytes; a write beyond it fails with `StorageFull`.
    pub capacity: u64,
    /// How many lines of the trace are kept for [`SimFileSystem::trace`].
    pub trace_lines: usize,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            block_bytes: 4096,
            keep_block_per_million: 500_000,
            torn_block_per_million: 200_000,
            keep_name_per_million: 500_000,
            lost_blocks: LostBlocks::Zeros,
            failed_sync_reads: FailedSyncReads::AsWritten,
            rates: FaultRates::default(),
            latency: Latency::default(),
            capacity: u64::MAX,
            trace_lines: 256,
        }
    }
}

#[derive(Clone, Debug)]
struct State {
    disk: Disk,
    options: SimOptions,
    random: SimRandom,
    faults: FaultPlan,
    trace: Trace,
    calls: u64,
    clock: Duration,
    /// Grows with every crash; handles of an older one are dead.
    life: u64,
    /// Grows with every loss of power.
    boots: u64,
    power_off_at: Option<u64>,
    powered_off: bool,
    locks: BTreeSet<PathBuf>,
}

/// A disk that a test owns. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimFileSystem {
    state: Arc<Mutex<State>>,
}

impl SimFileSystem {
    #[must_use]
    pub fn new(seed: u64, options: SimOptions) -> Self {
        let state = State {
            disk: Disk::new(options.block_bytes),
            random: SimRandom::new(seed),
            faults: FaultPlan::default(),
            trace: Trace::new(options.trace_lines),
            calls: 0,
            clock: Duration::ZERO,
            life: 0,
            boots: 0,
            power_off_at: None,
            powered_off: false,
            locks: BTreeSet::new(),
            options,
        };
        let sim = Self { state: Arc::new(Mutex::new(state)) };
        sim.state.lock().faults.rates = options.rates;
        sim
    }

    /// Another disk with the same contents and history, to try several futures from one point.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let mut state = self.state.lock().clone();
        state.random = SimRandom::new(seed);
        state.life += 1;
        state.locks.clear();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The machine loses power and starts again. Open handles and locks are gone; a power-off that
    /// was ordered is over.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.disk.crash(&state.options, &mut state.random);
        state.life += 1;
        state.boots += 1;
        state.locks.clear();
        state.powered_off = false;
        state.power_off_at = None;
        state.trace.push(format!("{} crash", state.calls));
    }

    /// The process dies and the machine does not: handles and locks go, data stays.
    pub fn kill_process(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.locks.clear();
        let line = format!("{} kill", state.calls);
        state.trace.push(line);
    }

    /// Fails the next call that matches.
    pub fn fail_next(&self, matcher: OpMatcher, error: DiskError) {
        self.fault_next(matcher, Fault::Error(error));
    }

    /// Fails every call that matches, until [`Self::clear_faults`].
    pub fn fail_always(&self, matcher: OpMatcher, error: DiskError) {
        self.state.lock().faults.order(matcher, Fault::Error(error), Repeat::Always);
    }

    /// Does this to the next call that matches.
    pub fn fault_next(&self, matcher: OpMatcher, fault: Fault) {
        self.state.lock().faults.order(matcher, fault, Repeat::Once);
    }

    /// Forgets every fault that was ordered and sets all rates to zero.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    pub fn set_rates(&self, rates: FaultRates) {
        self.state.lock().faults.rates = rates;
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().options.capacity = bytes;
    }

    /// Cuts the power during the call with this number (see [`Self::calls`]): it happens in part
    /// and fails, and so do all after it, until [`Self::crash`].
    pub fn power_off_at(&self, call: u64) {
        self.state.lock().power_off_at = Some(call);
    }

    /// How many calls that a fault can happen to were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The virtual time that calls have taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.state.lock().clock
    }

    /// Inverts one bit of a file, on the disk and in the cache.
    ///
    /// # Errors
    /// `NotFound` without such a file, `InvalidInput` when the file ends before the bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let at = (bit / 8) as usize;
        let mut found = false;
        self.damage(path, |bytes| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
                found = true;
            }
        })?;
        if found { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Changes what the disk and the cache hold of a file: rot, a cut, a swap, as a test likes.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn damage(&self, path: &Path, mut change: impl FnMut(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.disk.find(path)?;
        let file = state.disk.file_mut(inode)?;
        change(&mut file.durable);
        change(&mut file.cached);
        Ok(())
    }

    /// The last calls, in words.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.state.lock().trace.lines()
    }

    /// The last calls, in words, that were not taken before.
    #[must_use]
    pub fn take_trace(&self) -> Vec<String> {
        self.state.lock().trace.take_lines()
    }

    /// A hash over all calls and their results: equal for equal histories.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state.lock().trace.hash()
    }

    fn call<T>(
        &self,
        op: Op,
        path: &Path,
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let fault = state.begin(op, path)?;
        let result = act(state, fault);
        state.end(op, path, result.as_ref().err());
        result
    }

    fn opened(&self, inode: InodeId, path: &Path, mode: OpenMode, life: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            fs: self.clone(),
            inode,
            path: path.to_owned(),
            writable: mode != OpenMode::Read,
            life,
        })
    }
}

/// What every call answers between a power-off and the crash that ends it.
fn no_power() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the simulated machine has no power")
}

impl State {
    /// Counts the call, passes its time and says what is to go wrong with it.
    fn begin(&mut self, op: Op, path: &Path) -> io::Result<Option<Fault>> {
        if self.powered_off {
            return Err(no_power());
        }
        let call = self.calls;
        self.calls += 1;
        let latency = self.options.latency;
        let base = match op {
            Op::SyncData | Op::SyncDir | Op::SyncDisk => latency.sync,
            Op::Read | Op::List | Op::Open | Op::Lock => latency.read,
            _ => latency.write,
        };
        let jitter = u64::try_from(latency.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.clock += base + Duration::from_nanos(self.random.below(jitter));
        if self.power_off_at.is_some_and(|at| call >= at) {
            self.powered_off = true;
            return Ok(Some(Fault::Error(DiskError::Io)));
        }
        let fault = self.faults.take(op, path, &mut self.random);
        if let Some(Fault::Slow(span)) = fault {
            self.clock += span;
            return Ok(None);
        }
        Ok(fault)
    }

    fn end(&mut self, op: Op, path: &Path, error: Option<&io::Error>) {
        let line = match error {
            None => format!("{} {op:?} {} ok", self.calls, path.display()),
            Some(error) => format!("{} {op:?} {} {:?}", self.calls, path.display(), error.kind()),
        };
        self.trace.push(line);
    }

    /// Room for this many more bytes.
    fn room(&self) -> u64 {
        if self.options.capacity == u64::MAX {
            return u64::MAX;
        }
        self.options.capacity.saturating_sub(self.disk.used())
    }
}

/// A fault that a call which cannot happen in part fails with.
fn refuse(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::Error(error)) => Err(error.to_io()),
        _ => Ok(()),
    }
}

impl FileSystem for SimFileSystem {
    fn boot_id(&self) -> Option<String> {
        Some(format!("boot {}", self.state.lock().boots))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (inode, life) = self.call(Op::Open, path, |state, fault| {
            refuse(fault)?;
            let inode = match (state.disk.find(path), mode) {
                (Ok(inode), _) if state.disk.is_folder(inode) => {
                    Err(io::ErrorKind::IsADirectory.into())
                }
                (Ok(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
                (Ok(inode), _) => Ok(inode),
                (Err(error), OpenMode::Read | OpenMode::ReadWrite) => Err(error),
                (Err(error), _) if error.kind() != io::ErrorKind::NotFound => Err(error),
                (Err(_), OpenMode::Create | OpenMode::CreateNew) => state.disk.create_file(path),
            };
            Ok((inode?, state.life))
        })?;
        Ok(self.opened(inode, path, mode, life))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(Op::CreateDir, path, |state, fault| {
            refuse(fault)?;
            state.disk.create_dir_all(path)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, from, |state, fault| {
            refuse(fault)?;
            state.disk.rename(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Op::RemoveFile, path, |state, fault| {
            refuse(fault)?;
            let inode = state.disk.find(path)?;
            state.disk.file(inode)?;
            state.disk.remove(path)
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(Op::RemoveDir, path, |state, fault| {
            refuse(fault)?;
            let inode = state.disk.find(path)?;
            if !state.disk.is_folder(inode) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.disk.remove(path)
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(Op::List, path, |state, fault| {
            refuse(fault)?;
            let entries = state.disk.list(path)?;
            Ok(entries
                .into_iter()
                .map(|(name, inode)| match state.disk.file(inode) {
                    Ok(file) => {
                        DirEntry { name, kind: EntryKind::File, len: file.cached.len() as u64 }
                    }
                    Err(_) => DirEntry { name, kind: EntryKind::Directory, len: 0 },
                })
                .collect())
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        if state.powered_off {
            return Err(no_power());
        }
        Ok(state.disk.find(path).is_ok())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, path, |state, fault| {
            refuse(fault)?;
            let folder = state.disk.find(path)?;
            state.disk.sync_folder(folder);
            Ok(())
        })
    }

    fn sync_disk(&self, path: &Path) -> io::Result<()> {
        self.call(Op::SyncDisk, path, |state, fault| {
            let block = state.disk.block_bytes();
            let failed = refuse(fault);
            for file in state.disk.files_mut() {
                // A failed sync of the disk has written some of the files; nobody knows which.
                if failed.is_err() && state.random.chance(500_000) {
                    if !state.powered_off {
                        file.fail_sync(&state.options);
                    }
                } else {
                    file.sync(block);
                }
            }
            failed?;
            state.disk.sync_names();
            Ok(())
        })
    }

    fn disk_id(&self, _path: &Path) -> io::Result<DiskId> {
        Ok(DiskId(0))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let state = self.state.lock();
        let total = state.options.capacity.min(1 << 46);
        Ok(DiskSpace { total, available: total.min(state.room()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let life = self.call(Op::Lock, path, |state, fault| {
            refuse(fault)?;
            match state.disk.find(path) {
                Ok(_) => {}
                Err(_) => {
                    state.disk.create_file(path)?;
                }
            }
            if !state.locks.insert(path.to_owned()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(state.life)
        })?;
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned(), life }))
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFileSystem,
    path: PathBuf,
    life: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.fs.state.lock();
        // A guard from before a crash must not free the lock of the process after it.
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFileSystem,
    inode: InodeId,
    path: PathBuf,
    writable: bool,
    life: u64,
}

impl SimFile {
    fn call<T>(
        &self,
        op: Op,
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.fs.call(op, &self.path, |state, fault| {
            self.check_alive(state)?;
            act(state, fault)
        })
    }

    fn check_alive(&self, state: &State) -> io::Result<()> {
        if state.life == self.life {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "this handle died in a simulated crash"))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.call(Op::Read, |state, fault| {
            refuse(fault)?;
            let file = state.disk.file(self.inode)?;
            let from = usize::try_from(position).unwrap_or(usize::MAX).min(file.cached.len());
            let mut len = buf.len().min(file.cached.len() - from);
            let short_rate = state.faults.rates.short_read;
            if len > 1 && state.random.chance(short_rate) {
                len = 1 + state.random.below(len as u64 - 1) as usize;
            }
            buf[..len].copy_from_slice(&file.cached[from..from + len]);
            if fault == Some(Fault::FlipRead) && len > 0 {
                let bit = state.random.below(len as u64 * 8);
                buf[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            Ok(len)
        })
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.check_writable()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let position = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.call(Op::Write, |state, fault| {
            let block = state.disk.block_bytes();
            let mut failed = refuse(fault);
            let mut len = bytes.len();
            if failed.is_err() {
                len = state.random.below(len as u64 + 1) as usize;
            }
            let old = state.disk.file(self.inode)?.cached.len();
            let end = position.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
            let growth = end.saturating_sub(old) as u64;
            let room = state.room();
            if growth > room {
                len = len.saturating_sub((growth - room) as usize);
                failed = Err(DiskError::NoSpace.to_io());
            }
            let file = state.disk.file_mut(self.inode)?;
            file.write(&bytes[..len], position, block);
            if fault == Some(Fault::Misdirect) {
                file.misdirect(position, &mut state.random, block);
            }
            failed
        })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.fs.state.lock();
        if state.powered_off {
            return Err(no_power());
        }
        self.check_alive(&state)?;
        Ok(state.disk.file(self.inode)?.cached.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.call(Op::SetLen, |state, fault| {
            refuse(fault)?;
            let block = state.disk.block_bytes();
            let growth = len.saturating_sub(state.disk.file(self.inode)?.cached.len());
            if growth as u64 > state.room() {
                return Err(DiskError::NoSpace.to_io());
            }
            state.disk.file_mut(self.inode)?.set_len(len, block);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(Op::SyncData, |state, fault| {
            let block = state.disk.block_bytes();
            let failed = refuse(fault);
            let file = state.disk.file_mut(self.inode)?;
            match failed {
                Ok(()) => file.sync(block),
                // Without power nothing is marked: the crash decides block by block.
                Err(_) if state.powered_off => {}
                Err(_) => file.fail_sync(&state.options),
            }
            failed
        })
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        let mut state = self.fs.state.lock();
        self.check_alive(&state)?;
        let block = state.disk.block_bytes();
        state.disk.file_mut(self.inode)?.forget_clean(position, block);
        Ok(())
    }
}
