//! One partition's log on disk, synchronous, over a [`fs::FileSystem`].
//!
//! Owns: segments, indexes, producer state, recovery, retention, compaction, flushing.
//! Never: knows replication, topics of a cluster, a runtime, a socket, or asks the time.

pub mod checkpoint;
pub mod flush;
pub mod fs;
pub mod log_dir;

/// Files that a real Kafka wrote.
#[cfg(test)]
pub(crate) fn oracle_records() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records")
}
