//! Whether a log directory works.
//!
//! Owns: the one flag that says it does not, what a failed sync leaves to the next start, and which errors
//! are a disk's failure. Never: acts on it. Invariant: what went offline stays so until the directory is
//! opened anew.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::boot;
use crate::fs::FileSystem;

/// The health of one log directory, shared by everything that works in it. A look at it is one
/// load.
#[derive(Debug)]
pub struct DirHealth {
    path: PathBuf,
    offline: OnceLock<String>,
    /// Where a failed sync is noted.
    fs: Option<Arc<dyn FileSystem>>,
}

impl DirHealth {
    /// A directory that works.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, offline: OnceLock::new(), fs: None }
    }

    pub(super) fn noting(path: PathBuf, fs: Arc<dyn FileSystem>) -> Self {
        Self { path, offline: OnceLock::new(), fs: Some(fs) }
    }

    /// As [`Self::go_offline`], after a sync that failed: of what it was to cover any block may be
    /// missing, as after a power cut, and the next start is told so.
    pub fn sync_failed(&self, reason: &str) -> bool {
        if let Some(fs) = &self.fs
            && let Err(error) = boot::forget(&**fs, &self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the failed sync is not noted");
        }
        self.go_offline(reason)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the directory out of use; says whether it was in use. The first reason stays.
    pub fn go_offline(&self, reason: &str) -> bool {
        let first = self.offline.set(reason.to_owned()).is_ok();
        if first {
            tracing::error!(path = %self.path.display(), reason, "log directory goes offline");
        }
        first
    }

    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.get().is_some()
    }

    /// Why it is out of use; `None` while it is in use.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }
}

/// Whether an error says that the disk, and not one file or the process, has failed. A full disk has
/// not, nor has one whose file is shorter than it should be, and open files are the process's own
/// shortage. Apache Kafka takes a directory offline for each of these.
#[must_use]
pub fn is_disk_fault(error: &io::Error) -> bool {
    /// EMFILE and ENFILE.
    const TOO_MANY_FILES: [rustix::io::Errno; 2] =
        [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let own = matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
            | ErrorKind::AlreadyExists
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::OutOfMemory
    );
    let errno = rustix::io::Errno::from_io_error(error);
    !own && !errno.is_some_and(|errno| TOO_MANY_FILES.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn only_a_failing_disk_is_a_disk_fault() {
        for errno in [Errno::IO, Errno::ROFS, Errno::NOENT, Errno::NXIO, Errno::STALE] {
            assert!(is_disk_fault(&errno.into()), "{errno:?}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(!is_disk_fault(&errno.into()), "{errno:?}");
        }
        assert!(!is_disk_fault(&ErrorKind::UnexpectedEof.into()));
    }
}
