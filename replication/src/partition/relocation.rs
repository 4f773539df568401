//! A partition's log goes to another log directory while it is served.
//!
//! Owns: the moment of the change, under the partition's lock. Never: copies. Invariant: the new log
//! has every record of the old one, durably, before it takes its place; so what was acknowledged
//! stays acknowledged, and what waited for a flush is committed.

use std::sync::Arc;

use ottla_storage::{LogError, PartitionLog};

use super::flushing::LogFlush;
use super::group::Rule;
use super::{Partition, PartitionError, Woken};
use crate::home::Home;

/// The log that takes the place of another one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub log: PartitionLog,
    pub home: Home,
}

/// Why a log was not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelocateError {
    /// The partition goes on with the log that it has.
    #[error(transparent)]
    Kept(LogError),
    /// The log it has is not to be used any more: the partition is offline until the next start,
    /// which finds the other one.
    #[error("half way: {0}")]
    HalfWay(LogError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

impl Partition {
    /// Puts what `make` gives in the place of the log, of which no group runs. Appends and reads wait
    /// meanwhile.
    pub(crate) fn relocate(
        self: &Arc<Self>,
        make: impl FnOnce(&PartitionLog) -> Result<Replacement, RelocateError>,
    ) -> Result<(), RelocateError> {
        let mut state = self.state.lock();
        self.check_writable(&state)?;
        let solo = match &state.rule {
            Rule::Solo => true,
            // Whoever runs a group stops it first.
            Rule::Group(_) if self.group.read().is_none() => false,
            Rule::Group(_) => return Err(PartitionError::NotLeader(self.name.clone()).into()),
        };
        let Replacement { mut log, home } = match make(&state.log) {
            Ok(replacement) => replacement,
            Err(error) => {
                drop(state);
                if matches!(error, RelocateError::HalfWay(_)) {
                    self.take_offline();
                }
                return Err(error);
            }
        };
        log.on_high_watermark(state.high_watermark);
        state.log = log;
        state.home = home;
        state.flush = Arc::new(LogFlush::new(Arc::downgrade(self)));
        let (end, bytes) = (state.log.log_end(), state.bytes_appended);
        let woken = match solo {
            true => self.advance(&mut state, end, bytes),
            // The group says what is committed, once it runs again.
            false => Woken::default(),
        };
        drop(state);
        woken.tell();
        Ok(())
    }
}
