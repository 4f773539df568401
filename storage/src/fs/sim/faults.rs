//! What goes wrong, and when: the faults that a test orders and those that a seed draws.
//!
//! Owns: matching calls with faults. Never: carries a fault out.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::random::SimRandom;

/// The calls of the seam, as faults and traces name them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Op {
    Open,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    List,
    SyncDir,
    SyncDisk,
    Lock,
    Read,
    Write,
    SetLen,
    SyncData,
}

/// Which calls a fault is for: every condition that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct OpMatcher {
    op: Option<Op>,
    path_part: Option<String>,
    skip: u64,
}

impl OpMatcher {
    /// Every call.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls of one kind.
    #[must_use]
    pub fn op(op: Op) -> Self {
        Self { op: Some(op), ..Self::default() }
    }

    /// Only calls on paths that contain this text.
    #[must_use]
    pub fn on(mut self, path_part: impl Into<String>) -> Self {
        self.path_part = Some(path_part.into());
        self
    }

    /// Lets this many matching calls pass first.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Whether the call matches; counts the calls that are let pass.
    fn takes(&mut self, op: Op, path: &Path) -> bool {
        let matches = self.op.is_none_or(|wanted| wanted == op)
            && self.path_part.as_ref().is_none_or(|part| path.to_string_lossy().contains(&**part));
        if !matches || self.skip == 0 {
            return matches;
        }
        self.skip -= 1;
        false
    }
}

/// Errors as a disk makes them, with the operating system's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskError {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: no room. The kind of the error is `StorageFull`.
    NoSpace,
    /// EROFS: the file system was remounted read-only after an error.
    ReadOnly,
}

impl DiskError {
    #[must_use]
    pub fn to_io(self) -> io::Error {
        let errno = match self {
            Self::Io => rustix::io::Errno::IO,
            Self::NoSpace => rustix::io::Errno::NOSPC,
            Self::ReadOnly => rustix::io::Errno::ROFS,
        };
        errno.into()
    }
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails. A write may have happened in part; a failed sync marks what it was to write clean.
    Error(DiskError),
    /// A write lands at another block of the file once it is synced; until the next crash reads
    /// come from the cache and show nothing.
    Misdirect,
    /// A read comes back with one bit changed; the disk holds the right one.
    FlipRead,
    /// It takes this much longer, in virtual time.
    Slow(Duration),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    Once,
    Always,
}

/// How often faults come by themselves, per million calls they can happen to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultRates {
    pub read_error: u32,
    pub write_error: u32,
    pub sync_error: u32,
    /// Errors of calls on names: create, rename, remove.
    pub name_error: u32,
    pub read_flip: u32,
    /// Reads that return less than was asked for, which is no error.
    pub short_read: u32,
    pub misdirect: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan {
    ordered: Vec<(OpMatcher, Fault, Repeat)>,
    pub(super) rates: FaultRates,
}

impl FaultPlan {
    pub(super) fn order(&mut self, matcher: OpMatcher, fault: Fault, repeat: Repeat) {
        self.ordered.push((matcher, fault, repeat));
    }

    pub(super) fn clear(&mut self) {
        self.ordered.clear();
        self.rates = FaultRates::default();
    }

    /// The fault for this call: the first that was ordered and matches, or one by chance.
    pub(super) fn take(&mut self, op: Op, path: &Path, random: &mut SimRandom) -> Option<Fault> {
        let mut found = None;
        for (index, (matcher, fault, repeat)) in self.ordered.iter_mut().enumerate() {
            if matcher.takes(op, path) {
                found = Some((index, *fault, *repeat));
                break;
            }
        }
        if let Some((index, fault, repeat)) = found {
            if repeat == Repeat::Once {
                self.ordered.remove(index);
            }
            return Some(fault);
        }
        let rates = self.rates;
        let error = match op {
            Op::Read => rates.read_error,
            Op::Write | Op::SetLen => rates.write_error,
            Op::SyncData | Op::SyncDir | Op::SyncDisk => rates.sync_error,
            Op::Open | Op::CreateDir | Op::Rename | Op::RemoveFile | Op::RemoveDir => {
                rates.name_error
            }
            Op::List | Op::Lock => 0,
        };
        if random.chance(error) {
            return Some(Fault::Error(DiskError::Io));
        }
        match op {
            Op::Read if random.chance(rates.read_flip) => Some(Fault::FlipRead),
            Op::Write if random.chance(rates.misdirect) => Some(Fault::Misdirect),
            _ => None,
        }
    }
}

/// The last calls in words, and a hash over all of them.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    keep: usize,
    hash: u64,
}

impl Trace {
    pub(super) fn new(keep: usize) -> Self {
        Self { lines: VecDeque::new(), keep, hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub(super) fn push(&mut self, line: String) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
