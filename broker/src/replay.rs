//! Reading a log of our own from its start to its end.
//!
//! Owns: the loop over reads, batches and records that loads state from a log, and the checks of each
//! batch. Never: what a record says. Invariant: what cannot be read is an error, never skipped: state
//! with holes would be wrong without a word.

use std::fmt;

use ottla_protocol::model::Offset;
use ottla_protocol::records::{BatchHeader, BatchIter, Record};
use ottla_replication::partition::{Isolation, Partition, PartitionError, ReadPlan};
use ottla_storage::MinOneBatch;

/// How much a replay holds in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplayLimits {
    /// How much of the log is read at once.
    pub read_bytes: u32,
    /// How far one batch may expand.
    pub expanded_bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Log(#[from] PartitionError),
    #[error("the log cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the batch at offset {offset} is damaged: {cause}")]
    Batch { offset: Offset, cause: String },
}

impl ReplayError {
    fn damaged(offset: Offset, cause: &dyn fmt::Display) -> Self {
        Self::Batch { offset, cause: cause.to_string() }
    }
}

/// Gives `visit` every record from the log's start to its end, with the header of its batch.
///
/// # Errors
/// The first that the disk, a batch or `visit` has.
pub(crate) fn replay<E: From<ReplayError>>(
    log: &Partition,
    limits: ReplayLimits,
    visit: impl FnMut(&BatchHeader, &Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let from = log.watermarks().log_start;
    replay_from(log, (from, Isolation::LogEnd), limits, visit).map(|_| ())
}

/// Gives `visit` every record from an offset up to the bound of an isolation; the offset after them.
///
/// # Errors
/// As [`replay`].
pub(crate) fn replay_from<E: From<ReplayError>>(
    log: &Partition,
    (mut from, isolation): (Offset, Isolation),
    limits: ReplayLimits,
    mut visit: impl FnMut(&BatchHeader, &Record<'_>) -> Result<(), E>,
) -> Result<Offset, E> {
    loop {
        let plan =
            ReadPlan { from, bytes_max: limits.read_bytes, isolation, min_one: MinOneBatch::Yes };
        let read = log.read(plan).map_err(ReplayError::from)?.read;
        if read.is_empty() {
            return Ok(from);
        }
        let bytes = read.to_bytes().map_err(ReplayError::from)?;
        for batch in BatchIter::new(&bytes) {
            let batch = batch.map_err(|error| ReplayError::damaged(from, &error))?;
            let header = batch.header();
            let damaged =
                |error: &dyn fmt::Display| ReplayError::damaged(header.base_offset, error);
            batch.check_crc().map_err(|error| damaged(&error))?;
            let records =
                batch.records(limits.expanded_bytes_max).map_err(|error| damaged(&error))?;
            for record in &records {
                visit(header, &record.map_err(|error| damaged(&error))?)?;
            }
        }
        from = read.next_offset;
    }
}
