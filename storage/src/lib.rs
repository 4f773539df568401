//! One partition's log on disk, synchronous, over a [`fs::FileSystem`].
//!
//! Owns: segments, indexes, producer state, recovery, retention, compaction, flushing.
//! Never: knows replication, topics of a cluster, a runtime, a socket, or asks the time.

pub mod flush;
pub mod fs;
