//! One partition's log on disk, synchronous, over a [`fs::FileSystem`].
//!
//! Owns: segments, indexes, producer state, recovery, retention, compaction, flushing.
//! Never: knows replication, topics of a cluster, a runtime, a socket, or asks the time.

pub mod checkpoint;
pub mod cleaner;
mod error;
pub mod file_name;
pub mod flush;
pub mod fs;
mod handles;
pub mod index;
pub mod known_bugs;
pub mod leader_epoch;
pub mod log;
pub mod log_dir;
pub mod offline;
pub mod partition_metadata;
pub mod producer_state;
pub mod seal;
pub mod segment;
mod settings;
mod tail_cache;

pub use error::{AppendError, Damage, DamageFault, LogError, ReadError};
pub use handles::HandleCache;
pub use index::AbortedTxn;
pub use log::shipping::{ExchangeError, IncomingLog, Manifest, ShipError, Shipment};
pub use log::{
    AfterRecoveryPoint, AppendInfo, DeletedSegment, DeletionReason, LeaderAppend, LeaderBatch,
    LogHealth, LogRead, LogResources, LogSlice, MinOneBatch, OpenContext, PartitionLog,
    RecoveryReport, Shutdown, TimestampedOffset, TornTail,
};
pub use producer_state::{AppendOrigin, ProducerError};
pub use settings::{CleanupPolicy, LogSettings};
pub use tail_cache::TailBudget;

/// Files that a real Kafka wrote.
#[cfg(test)]
pub(crate) fn oracle_records() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records")
}
