//! Whether the machine went down since a log directory was last used.
//!
//! Owns: the file that says under which boot a directory is in use. Never: decides what follows.
//!
//! After a killed process the page cache still has all that was written; after a power cut blocks that
//! no flush covered may be missing in any order. The two ask for different conclusions from a bad
//! place in a log, so each start writes down the machine's boot id. The bytes need no sync: whatever
//! a power cut makes of them, they are not the next boot's id.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::checkpoint;
use crate::fs::{FileSystem, OpenMode};

/// The file's name in the log directory.
pub(super) const BOOT_FILE: &str = "ottla-boot-id";

/// Notes this boot, and says whether the one noted before is another. A directory without a note, such
/// as one of Kafka's, says nothing. The caller syncs the folder.
pub(super) fn note(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
    let Some(now) = fs.boot_id() else { return Ok(false) };
    let path = dir.join(BOOT_FILE);
    let before = match fs.exists(&path)? {
        true => Some(checkpoint::read_text(fs, &path).ok().flatten().unwrap_or_default()),
        false => None,
    };
    if before.as_deref() == Some(&now) {
        return Ok(false);
    }
    let file = fs.open(&path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(now.as_bytes())], 0)?;
    Ok(before.is_some())
}
