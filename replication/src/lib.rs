//! A partition as clients and peers see it: one log, a high watermark, and those who wait for it.
//!
//! Owns: when an append counts as committed, who is told, which partitions live on this node and on
//! which disk. Never: the wire, a client's request, the bytes of a segment.
//!
//! ```text
//!   append ──> PartitionLog ──> FlushCoordinator ──> complete ──> high watermark ──> waiters
//!              (under lock)      (group commit)       (under lock)                (after the lock)
//! ```

pub mod driver;
pub mod home;
pub mod leadership;
pub mod liveness;
pub mod partition;
pub mod peer;
pub mod raft;
pub mod replicas;
pub mod wait;
