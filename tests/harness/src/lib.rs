//! A whole broker inside a test: started in a moment, on a port of its own, gone on drop.
//!
//! ```no_run
//! # async fn example() -> Result<(), ottla_harness::HarnessError> {
//! let cluster = ottla_harness::TestCluster::start().await?;
//! println!("give {} to any Kafka client", cluster.bootstrap());
//! # Ok(()) }
//! ```
//!
//! It is the very broker that `ottla serve` runs, with settings that suit tests (see [`Builder`]).
//! Without an async runtime use [`blocking::TestCluster`].
//!
//! Owns: starting, restarting and ending embedded brokers, and making topics up front. Never: a
//! global of any kind (no logger, no metrics recorder, no signal handler), so any number of clusters
//! runs in one process. Invariants: ready means ready (topics have leaders, sockets accept); after a
//! drop the port is closed, the threads have ended and temporary files are gone.

pub mod blocking;
mod builder;
mod client;
mod cluster;
mod error;
mod host;
mod topics;

pub use builder::{Builder, TopicBuilder};
pub use client::TestRecord;
pub use cluster::TestCluster;
pub use error::HarnessError;
