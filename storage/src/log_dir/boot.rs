//! Whether blocks may be missing from a log directory: the machine went down since it was last used, or a
//! sync failed.
//!
//! Owns: the file that says under which boot a directory is in use. Never: decides what follows.
//!
//! After a killed process the page cache still has all that was written; after a power cut blocks that
//! no flush covered may be missing in any order. The two ask for different conclusions from a bad
//! place in a log, so the machine's boot id is written down. The bytes need no sync: whatever
//! a power cut makes of them, they are not the next boot's id. A failed sync drops blocks in the same way,
//! and what is noted then is no boot's id.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::checkpoint;
use crate::fs::{FileSystem, OpenMode};

/// The file's name in the log directory.
pub(super) const BOOT_FILE: &str = "ottla-boot-id";

/// Whether the boot that is noted is another than this one. A directory without a note, such as one of
/// Kafka's, says nothing and gets one. The caller syncs the folder.
pub(super) fn is_another(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
    let Some(now) = fs.boot_id() else { return Ok(false) };
    let path = dir.join(BOOT_FILE);
    if fs.exists(&path)? {
        let noted = checkpoint::read_text(fs, &path).ok().flatten().unwrap_or_default();
        return Ok(noted != now);
    }
    write(fs, &path, &now)?;
    Ok(false)
}

/// Notes this boot. Only once the logs are recovered: a process that is killed while it still recovers
/// them leaves to the next one what the power cut before it left.
pub(super) fn note(fs: &dyn FileSystem, dir: &Path) -> io::Result<()> {
    match fs.boot_id() {
        Some(now) => write(fs, &dir.join(BOOT_FILE), &now),
        None => Ok(()),
    }
}

/// Notes that blocks may be missing from now on: the next start is as one after a power cut.
pub(super) fn forget(fs: &dyn FileSystem, dir: &Path) -> io::Result<()> {
    write(fs, &dir.join(BOOT_FILE), "a sync failed")
}

fn write(fs: &dyn FileSystem, path: &Path, boot: &str) -> io::Result<()> {
    let file = fs.open(path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(boot.as_bytes())], 0)
}
