//! `sync_file_range`, the one system call that no safe library of ours has.
//!
//! Owns: the call. Never: waits for a write, makes anything durable, reports an error (what fails
//! is told by the sync that follows). The only unsafe code of the workspace.

use std::fs::File;

/// Begins to write the whole file's dirty pages.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "rustix has no sync_file_range")]
pub(super) fn start(file: &File) {
    use std::os::fd::AsRawFd;

    // Offset 0 and length 0: to the end of the file.
    // SAFETY: numbers go in and a number comes out; the handle is open, as `file` is borrowed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &File) {}
