//! A partition's log gives way to one that came from a peer.
//!
//! Owns: the folder in which such a log gathers, the moment of the exchange, under the partition's lock.
//! Never: decides that a log is to be exchanged. Invariant: the log that came is durable before it takes
//! the other one's place, and what it ends with is committed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_protocol::model::{Now, Offset, Uuid};
use ottla_storage::log_dir::{FolderName, FolderStage};
use ottla_storage::{ExchangeError, IncomingLog, LogError, Manifest, ShipError, Shipment};

use super::Partition;
use super::flushing::LogFlush;
use crate::raft::Ships;

/// File systems take names of 255 bytes, and a topic that is cut short would be taken for another.
const NAME_BYTES_MAX: usize = 255;

impl Ships for Partition {
    fn shipment(&self, next: Offset) -> io::Result<Shipment> {
        let shipment = self.inspect(|log, _| log.shipment(next)).map_err(io::Error::other)?;
        shipment.map_err(io::Error::other)
    }

    fn log_start(&self) -> Offset {
        self.watermarks().log_start
    }
}

impl Partition {
    /// Begins to take in a log beside this one's; `unique` tells it from others that come in.
    pub(crate) fn incoming(
        &self,
        manifest: Manifest,
        unique: Uuid,
        now: Now,
    ) -> Result<IncomingLog, ShipError> {
        let folder = FolderName::in_stage(self.name.clone(), FolderStage::Future, unique);
        let text = folder.text();
        if FolderName::parse(&text).as_ref() != Some(&folder) || text.len() > NAME_BYTES_MAX {
            let name = &self.name;
            let text = format!("the name of {name} is too long for the folder of a second log");
            return Err(ShipError::Invalid(text));
        }
        let state = self.state.lock();
        let dir = state.log.dir().with_file_name(text);
        state.log.incoming(dir, manifest, now)
    }

    /// Puts a log that came in in the place of this one's. Durable on return; all of it is committed.
    pub(crate) fn exchange(
        self: &Arc<Self>,
        incoming: IncomingLog,
        now: Now,
    ) -> Result<(), ExchangeError> {
        let name = incoming.dir().file_name().and_then(|name| FolderName::parse(name.to_str()?));
        let mut state = self.state.lock();
        let Some(name) = name else {
            let (action, path) = ("name the folder of", incoming.dir().to_path_buf());
            let source = io::ErrorKind::InvalidInput.into();
            return Err(ExchangeError::Kept(LogError::Io { action, path, source }));
        };
        let aside = FolderName { stage: FolderStage::Deleting, ..name };
        let aside = state.log.dir().with_file_name(aside.text());
        let exchanged = state.log.exchange(incoming, &aside, now);
        let aside = match exchanged {
            Ok(aside) => aside,
            Err(error) => {
                let (ExchangeError::Kept(log) | ExchangeError::HalfWay(log)) = &error;
                self.after(state, log);
                return Err(error);
            }
        };
        // A flush of the log before is none of this one.
        state.flush = Arc::new(LogFlush::new(Arc::downgrade(self)));
        let end = state.log.log_end();
        self.log_end.store(end.get(), Ordering::Release);
        self.exchanged.store(true, Ordering::Release);
        let bytes = state.bytes_committed;
        let woken = self.advance(&mut state, end, bytes);
        drop(state);
        woken.tell();
        aside.remove();
        Ok(())
    }

    /// Whether the log was exchanged since this was asked last: what was known of its files is void.
    pub(crate) fn take_exchanged(&self) -> bool {
        self.exchanged.swap(false, Ordering::AcqRel)
    }
}
