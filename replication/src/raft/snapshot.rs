//! What a snapshot of a group holds.
//!
//! Owns: what is sent to a replica that lacks purged entries, and its head on the wire. Never: how bytes
//! travel.
//!
//! A snapshot is the log below its point as this replica has it: producers and epochs as of there, and
//! the batches between the log start and the point. Of a topic that only deletes there are none: what
//! retention let go of is all that was purged. Of a compacted one it is everything that compaction left.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::model::Offset;
use ottla_storage::{IncomingLog, Manifest, Shipment};

use crate::peer::SnapshotSource;

/// The log below a snapshot's point.
#[derive(Debug)]
pub struct SnapshotContent {
    /// The offset of the first record after the snapshot's last entry.
    pub next: Offset,
    pub(super) log: SnapshotLog,
}

/// Where it is.
#[derive(Debug)]
pub(super) enum SnapshotLog {
    /// In this replica's log; looked at when it is sent.
    Here(Arc<dyn Ships>, Option<Shipment>),
    /// It has come from a peer, complete.
    Came(Box<IncomingLog>),
}

/// Where a snapshot's bytes come from; a partition, but its type would contain itself.
pub(crate) trait Ships: std::fmt::Debug + Send + Sync {
    fn shipment(&self, next: Offset) -> io::Result<Shipment>;
    fn log_start(&self) -> Offset;
}

const VERSION: u8 = 1;
/// Version, three offsets, two lengths of four bytes and one of eight.
const HEAD: usize = 1 + 3 * 8 + 2 * 4 + 8;

impl SnapshotContent {
    pub(super) const fn here(next: Offset, partition: Arc<dyn Ships>) -> Self {
        Self { next, log: SnapshotLog::Here(partition, None) }
    }

    /// What may be read from; before `next` where there are records below it.
    pub(super) fn log_start(&self) -> Offset {
        match &self.log {
            SnapshotLog::Here(partition, _) => partition.log_start(),
            SnapshotLog::Came(incoming) => incoming.manifest().log_start,
        }
    }

    fn shipment(&self) -> io::Result<&Shipment> {
        match &self.log {
            SnapshotLog::Here(_, Some(shipment)) => Ok(shipment),
            SnapshotLog::Here(_, None) => Err(io::Error::other("the snapshot was not opened")),
            SnapshotLog::Came(_) => Err(io::Error::other("the snapshot is to be installed here")),
        }
    }
}

/// The head of a snapshot.
pub(super) fn put_head(manifest: &Manifest) -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u8(VERSION);
    for offset in [manifest.first, manifest.log_start, manifest.next] {
        head.put_i64(offset.0);
    }
    head.put_u32(manifest.producer_bytes);
    head.put_u32(manifest.epoch_bytes);
    head.put_u64(manifest.log_bytes);
    head.freeze()
}

pub(super) fn read_head(mut head: Bytes) -> io::Result<Manifest> {
    if head.len() != HEAD || head.get_u8() != VERSION {
        let text = format!("{} bytes are no head of a snapshot that is known here", head.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Manifest {
        first: Offset(head.get_i64()),
        log_start: Offset(head.get_i64()),
        next: Offset(head.get_i64()),
        producer_bytes: head.get_u32(),
        epoch_bytes: head.get_u32(),
        log_bytes: head.get_u64(),
    })
}

impl SnapshotSource for SnapshotContent {
    fn open(&mut self) -> io::Result<()> {
        if let SnapshotLog::Here(partition, shipment) = &mut self.log
            && shipment.is_none()
        {
            *shipment = Some(partition.shipment(self.next)?);
        }
        Ok(())
    }

    fn head(&self) -> Bytes {
        self.shipment().map_or_else(|_| Bytes::new(), |shipment| put_head(&shipment.manifest()))
    }

    fn bytes(&self) -> u64 {
        self.shipment().map_or(0, Shipment::bytes)
    }

    fn read(&mut self, at: u64, bytes_max: usize) -> io::Result<Bytes> {
        self.shipment()?.read(at, bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let manifest = Manifest {
            first: Offset(3),
            log_start: Offset(4),
            next: Offset(7),
            producer_bytes: 8,
            epoch_bytes: 9,
            log_bytes: 1 << 40,
        };
        let head = put_head(&manifest);
        assert_eq!(read_head(head.clone()).ok(), Some(manifest));
        for cut in 0..head.len() {
            assert!(read_head(head.slice(..cut)).is_err());
        }
        let mut other = head.to_vec();
        other[0] = 2;
        assert!(read_head(other.into()).is_err(), "another version");
    }
}
