//! Replaying a partition of `__consumer_offsets` into a shard.
//!
//! Owns: reading the log from its start to its end, batches to records, markers to transaction ends.
//! Never: interprets a group's record. Invariant: what cannot be read fails the load: groups with
//! holes would lose offsets without a word.

use std::sync::Arc;

use ottla_coordinator::group::{
    GroupSettings, GroupShard, RecordError, ReplayRecord, TransactionResult,
};
use ottla_protocol::model::Offset;
use ottla_protocol::records::{Batch, BatchIter, ControlRecord, ControlType};
use ottla_replication::partition::{Isolation, Partition, PartitionError, ReadPlan};
use ottla_storage::log::MinOneBatch;

/// How much of the log is read at once; Kafka's `offsets.load.buffer.size` is of this order.
const LOAD_BYTES: u32 = 4 << 20;
/// How far a batch of the log may expand.
const EXPANDED_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Log(#[from] PartitionError),
    #[error("the log cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the batch at offset {offset} is damaged: {cause}")]
    Batch { offset: Offset, cause: String },
    #[error("offset {offset}: {error}")]
    Record { offset: Offset, error: RecordError },
}

pub(super) fn replay(
    partition: &Arc<Partition>,
    settings: GroupSettings,
) -> Result<GroupShard, LoadError> {
    let mut shard = GroupShard::new(settings);
    let mut from = partition.watermarks().log_start;
    loop {
        let plan = ReadPlan {
            from,
            bytes_max: LOAD_BYTES,
            isolation: Isolation::LogEnd,
            min_one: MinOneBatch::Yes,
        };
        let read = partition.read(plan)?.read;
        if read.is_empty() {
            return Ok(shard);
        }
        let bytes = read.to_bytes()?;
        for batch in BatchIter::new(&bytes) {
            let batch = batch.map_err(|error| damaged(from, &error))?;
            replay_batch(&mut shard, &batch)?;
        }
        from = read.next_offset;
    }
}

fn replay_batch(shard: &mut GroupShard, batch: &Batch<'_>) -> Result<(), LoadError> {
    let header = batch.header();
    let base = header.base_offset;
    let records = batch.records(EXPANDED_BYTES_MAX).map_err(|error| damaged(base, &error))?;
    for record in &records {
        let record = record.map_err(|error| damaged(base, &error))?;
        if header.attributes.is_control() {
            let control = ControlRecord::decode(record.key, record.value)
                .map_err(|error| damaged(base, &error))?;
            if let ControlRecord::EndTxn(marker) = control {
                let result = match marker.kind {
                    ControlType::Commit => TransactionResult::Commit,
                    _ => TransactionResult::Abort,
                };
                shard.replay_marker(header.producer_id, result);
            }
            continue;
        }
        // A record without a key says nothing that could be replaced; Kafka never writes one.
        let Some(key) = record.key else { continue };
        let transaction = header.attributes.is_transactional().then_some(header.producer_id);
        shard
            .replay(ReplayRecord { key, value: record.value, transaction })
            .map_err(|error| LoadError::Record { offset: record.offset, error })?;
    }
    Ok(())
}

fn damaged(offset: Offset, cause: &dyn std::fmt::Display) -> LoadError {
    LoadError::Batch { offset, cause: cause.to_string() }
}
