//! The entries of an index file, read in pieces.
//!
//! Owns: leaving out what Kafka allocated and never used. Never: judges the entries.

use std::path::Path;

use super::{Finding, FindingKind, OfflineError};
use crate::fs::{FileSystem, OpenMode};
use crate::index::entries::IndexEntry;

/// Entries that are read at once.
const STEP_ENTRIES: usize = 1024;

/// Hands every entry of an index file to `each`, with its number, and says what is behind the last
/// one.
///
/// # Errors
/// The disk's, and whatever `each` returns.
pub fn read_index<E: IndexEntry>(
    fs: &dyn FileSystem,
    path: &Path,
    mut each: impl FnMut(u64, E) -> Result<(), OfflineError>,
) -> Result<Option<Finding>, OfflineError> {
    let file = fs.open(path, OpenMode::Read).map_err(OfflineError::io(path))?;
    let mut number = 0;
    let mut position = 0;
    loop {
        let bytes = file
            .read_bytes_at(position, STEP_ENTRIES * E::WIDTH)
            .map_err(OfflineError::io(path))?;
        for (index, entry) in bytes.chunks(E::WIDTH).enumerate() {
            if entry.len() < E::WIDTH {
                let kind = FindingKind::IndexTail { bytes: entry.len() as u64 };
                return Ok(Some(Finding { path: path.to_owned(), kind }));
            }
            // A running Kafka's active indexes have zeros for all that is not written yet, be it
            // everything; zeros before other entries are damage.
            if is_zero(entry) && is_zero(&bytes[index * E::WIDTH..]) {
                return Ok(None);
            }
            each(number, E::decode(entry))?;
            number += 1;
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        position += bytes.len() as u64;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
