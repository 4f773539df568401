//! Replaying a partition of `__consumer_offsets` into a shard.
//!
//! Owns: how records and markers of the log become inputs of the shard. Never: interprets a group's
//! record. Invariant: what cannot be read fails the load: groups with holes would lose offsets
//! without a word.

use ottla_coordinator::group::{
    GroupSettings, GroupShard, RecordError, ReplayRecord, TransactionResult,
};
use ottla_protocol::model::Offset;
use ottla_protocol::records::{BatchHeader, ControlRecord, ControlType, Record};
use ottla_replication::partition::Partition;

use crate::replay::{ReplayError, ReplayLimits, replay};

/// Kafka's `offsets.load.buffer.size` is of this order.
const LIMITS: ReplayLimits = ReplayLimits { read_bytes: 4 << 20, expanded_bytes_max: 64 << 20 };

#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the marker at offset {offset} is damaged: {cause}")]
    Marker { offset: Offset, cause: String },
    #[error("offset {offset}: {error}")]
    Record { offset: Offset, error: RecordError },
}

pub(super) fn shard(
    partition: &Partition,
    settings: GroupSettings,
) -> Result<GroupShard, LoadError> {
    let mut shard = GroupShard::new(settings);
    replay(partition, LIMITS, |header, record| {
        if header.attributes.is_control() {
            return replay_control(&mut shard, header, record);
        }
        // A record without a key says nothing that could be replaced; Kafka never writes one.
        let Some(key) = record.key else { return Ok(()) };
        let transaction = header.attributes.is_transactional().then_some(header.producer_id);
        shard
            .replay(ReplayRecord { key, value: record.value, transaction })
            .map_err(|error| LoadError::Record { offset: record.offset, error })
    })?;
    Ok(shard)
}

fn replay_control(
    shard: &mut GroupShard,
    header: &BatchHeader,
    record: &Record<'_>,
) -> Result<(), LoadError> {
    let control = ControlRecord::decode(record.key, record.value)
        .map_err(|error| LoadError::Marker { offset: record.offset, cause: error.to_string() })?;
    if let ControlRecord::EndTxn(marker) = control {
        let result = match marker.kind {
            ControlType::Commit => TransactionResult::Commit,
            _ => TransactionResult::Abort,
        };
        shard.replay_marker(header.producer_id, result);
    }
    Ok(())
}
