//! The `segment-seals` file of one log.
//!
//! Owns: appending to it and rewriting it. Never: decides what is sealed.
//! Losing it costs rebuilding indexes when they are next used, so that its errors are not fatal.

use std::io::{self, IoSlice};
use std::sync::Arc;

use ottla_protocol::model::Offset;

use crate::file_name::SEGMENT_SEALS;
use crate::fs::{File, OpenMode};
use crate::handles::Folder;
use crate::seal::{self, Seal};

#[derive(Debug, Default)]
pub(super) struct SealFile {
    /// Where the next record goes; 0 while there is no usable file.
    end: u64,
    cut: Option<Cut>,
}

/// The log was cut on purpose, and is not durable again as far as it was.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Offset,
    /// Until the log is durable up to here again, a recovery point that was given out before the
    /// cut says too much.
    regrown: Offset,
}

/// No file with more is read: a million segments.
const BYTES_MAX: u64 = 68 << 20;

impl SealFile {
    /// Reads the file, if there is one.
    pub(super) fn load(folder: &Folder) -> io::Result<(Self, seal::Seals)> {
        let path = folder.dir.join(SEGMENT_SEALS);
        let bytes = folder.read_small(&path, BYTES_MAX)?.unwrap_or_default();
        let seals = seal::parse(&bytes);
        Ok((Self { end: seal::valid_bytes(&bytes) as u64, cut: None }, seals))
    }

    /// Appends records, all or none; the caller syncs the file.
    pub(super) fn append(&mut self, folder: &Folder, record: &[u8]) -> io::Result<Arc<dyn File>> {
        let file = folder.fs.open(&folder.dir.join(SEGMENT_SEALS), OpenMode::Create)?;
        let head = seal::file_head();
        let parts: &[&[u8]] = if self.end == 0 { &[&head, record] } else { &[record] };
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        if let Err(error) = file.write_all_at(&slices, self.end) {
            // A part of it may stand there, and would be believed.
            file.set_len(self.end)?;
            return Err(error);
        }
        self.end += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        Ok(file)
    }

    /// Says that the log is about to be cut at `at`, so that what was sealed of the segments from
    /// `bases` on no longer holds; `promised` is the largest recovery point that was given out. After an
    /// error nothing was said. The caller syncs the file; there is none where nothing was sealed.
    pub(super) fn announce(
        &mut self,
        folder: &Folder,
        bases: &[Offset],
        at: Offset,
        promised: Offset,
    ) -> io::Result<Option<Arc<dyn File>>> {
        let records: Vec<u8> = bases.iter().flat_map(|base| seal::encode_void(*base, at)).collect();
        let file = (!records.is_empty()).then(|| self.append(folder, &records)).transpose()?;
        self.note_cut(at, promised);
        Ok(file)
    }

    /// As [`Self::announce`], durable on return.
    pub(super) fn void(
        &mut self,
        folder: &Folder,
        bases: &[Offset],
        at: Offset,
        promised: Offset,
    ) -> io::Result<()> {
        self.announce(folder, bases, at, promised)?.map_or(Ok(()), |file| file.sync_data())
    }

    pub(super) const fn cut_at(&self) -> Option<Offset> {
        match self.cut {
            Some(cut) => Some(cut.at),
            None => None,
        }
    }

    /// The log is cut at `at`, while a recovery point up to `known` may have been given out.
    pub(super) fn note_cut(&mut self, at: Offset, known: Offset) {
        self.cut = Some(match self.cut {
            Some(cut) => Cut { at: cut.at.min(at), regrown: cut.regrown.max(known) },
            None => Cut { at, regrown: known },
        });
    }

    /// The log is durable up to `flushed`. Answers the file, if that is worth a record.
    pub(super) fn on_flushed(
        &mut self,
        folder: &Folder,
        flushed: Offset,
    ) -> io::Result<Option<Arc<dyn File>>> {
        match self.cut {
            Some(cut) if flushed >= cut.regrown => {
                self.cut = None;
                self.append(folder, &seal::encode_regrown()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes the file anew with just these seals and the checksum of the epochs, at a clean
    /// close, when all else is durable. Durable on return but for its name.
    pub(super) fn rewrite<'a>(
        &mut self,
        folder: &Folder,
        seals: impl Iterator<Item = &'a Seal>,
        epochs: &str,
    ) -> io::Result<()> {
        let mut bytes = seal::file_head().to_vec();
        if let Some(cut) = self.cut {
            bytes.extend(seal::encode_cut(cut.at));
        }
        bytes.extend(seal::encode_epochs(crc32c::crc32c(epochs.as_bytes()), Offset::NONE));
        bytes.extend(seals.flat_map(seal::encode));
        let path = folder.dir.join(SEGMENT_SEALS);
        let fresh = folder.dir.join(format!("{SEGMENT_SEALS}.tmp"));
        folder.write_small(&fresh, &bytes)?.sync_data()?;
        folder.fs.rename(&fresh, &path)?;
        self.end = bytes.len() as u64;
        Ok(())
    }
}
