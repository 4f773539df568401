//! Producer snapshots, and closing a log so that it opens without being examined.
//!
//! Owns: when snapshot files are written and pruned. Never: what a snapshot says.

use ottla_protocol::model::{Now, Offset};

use super::PartitionLog;
use crate::error::LogError;
use crate::file_name::{FileKind, SegmentFileName};
use crate::fs::OpenMode;
use crate::producer_state::snapshot::{self, Expiry};
use crate::segment::Segment;

/// Snapshots kept besides those at the beginning of a segment.
const STRAY_SNAPSHOTS: usize = 2;

impl PartitionLog {
    /// Writes producer state as of the log's end. It becomes durable with the next flush. Called
    /// when a segment is rolled; a driver that does it with every recovery-point checkpoint bounds
    /// how much a restart has to replay.
    ///
    /// # Errors
    ///
    /// The file cannot be written: nothing is lost, recovery replays more.
    pub fn take_producer_snapshot(&mut self) -> Result<(), LogError> {
        let offset = self.log_end;
        if self.snapshots.contains(&offset) {
            return Ok(());
        }
        let name = SegmentFileName::live(offset, FileKind::ProducerSnapshot);
        let path = self.folder.path(name);
        match self.folder.write_small(&path, &snapshot::encode(&self.producers)) {
            Ok(file) => self.durability.file(file),
            Err(error) => {
                // Half a snapshot is noticed by its CRC; best not to leave it.
                let _ = self.folder.remove(&path);
                return Err(LogError::io("write", &path)(error));
            }
        }
        let dir = self.folder.dir.to_path_buf();
        self.durability.dir(dir);
        self.snapshots.insert(offset);
        self.prune_snapshots();
        Ok(())
    }

    /// Makes the producer snapshot at the base of segment `index` durable, before what it was made
    /// from goes: after a power cut nothing else could tell of a transaction that is open there, or
    /// of the last batches of a producer that was quiet since. Syncs the folder.
    pub(super) fn keep_producers_at(&mut self, index: usize) -> Result<(), LogError> {
        let next = self.segments[index].base();
        let path = self.folder.path(SegmentFileName::live(next, FileKind::ProducerSnapshot));
        let open = |mode| self.folder.fs.open(&path, mode).map_err(LogError::io("open", &path));
        // Written in vain by a process that a power cut ended, it is made again.
        let file = match self.read_snapshot(next, Expiry::Never)? {
            Some(_) => open(OpenMode::ReadWrite)?,
            None => {
                let state = match self.producers_at(next, index) {
                    Ok(state) => state,
                    // Damage in what is to go must not keep it for ever.
                    Err(LogError::Damaged(damage)) => {
                        tracing::warn!(%damage, "letting a segment go that cannot be read");
                        return self.sync_names();
                    }
                    Err(error) => return Err(error),
                };
                self.folder
                    .write_small(&path, &snapshot::encode(&state))
                    .map_err(LogError::io("write", &path))?
            }
        };
        self.snapshots.insert(next);
        if let Err(error) = file.sync_data() {
            self.fail_flush(&error);
            return Err(LogError::io("sync", &path)(error));
        }
        self.sync_names()
    }

    /// Keeps those at segments' bases, from which one segment's state can be rebuilt, and the
    /// newest of the others. Those of deleted segments go with the next deletion.
    fn prune_snapshots(&mut self) {
        let at_segment =
            |offset: &Offset| self.segments.iter().any(|segment| segment.base() == *offset);
        let stray: Vec<Offset> = self
            .snapshots
            .range(self.segments[0].base()..)
            .filter(|offset| !at_segment(offset))
            .copied()
            .collect();
        let surplus = stray.len().saturating_sub(STRAY_SNAPSHOTS);
        for offset in &stray[..surplus] {
            let name = SegmentFileName::live(*offset, FileKind::ProducerSnapshot);
            if self.folder.remove(&self.folder.path(name)).is_ok() {
                self.snapshots.remove(offset);
            }
        }
    }

    /// Makes everything durable and notes what is true of every segment, so that the next opening
    /// with [`Shutdown::Clean`](super::Shutdown::Clean) reads next to nothing. The log may be used
    /// after it; then the shutdown is no longer clean.
    ///
    /// # Errors
    ///
    /// Something could not be written or synced, or the log is damaged or offline: the next
    /// opening must not be told that the shutdown was clean.
    pub fn close_clean(&mut self, now: Now) -> Result<(), LogError> {
        self.writable()?;
        self.producers.expire(now.wall, self.settings.producer_id_expiration);
        self.take_producer_snapshot()?;
        if self.active().size() > 0 {
            self.seal_active();
        }
        // First everything else: the new seals say that it is durable.
        self.flush_now()?;
        let dir = self.folder.dir.to_path_buf();
        let seals = self.segments.iter().filter_map(Segment::seal);
        self.seals
            .rewrite(&self.folder, seals, &self.epochs.to_text())
            .map_err(LogError::io("write the seals of", &dir))?;
        self.durability.dir(dir);
        self.flush_now()
    }
}
