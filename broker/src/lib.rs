//! The broker process: listeners, connections, one file per API, the HTTP port, and the wiring.
//!
//! ```text
//!  socket ─> net::connection ─> api::dispatch ─> api/<one file> ─> topics, groups, metadata
//!     ^            |  (guard, byte budget)             |                   |
//!     └── rope <───┴───────── replies in order <───────┘           replication::Partition
//! ```
//!
//! Owns: time, sockets, tasks and the order of start and stop. Never: a rule that a simulator would
//! need too (those live in `storage`, `coordinator`, `replication`), a global of any kind: any number
//! of brokers runs in one process.

mod api;
pub mod clock;
mod cluster;
mod directory_failures;
pub mod endpoints;
mod forwarding;
mod group_service;
pub mod host;
mod http;
pub mod live_config;
mod log_dir_moves;
mod maintenance;
mod metadata_service;
mod metrics;
mod net;
mod producer_ids;
mod replay;
mod replica_directories;
mod services;
mod stop;
mod topic_loader;
mod topics;
mod wiring;

pub use net::stream::{ByteStream, Stream};
pub use wiring::{Broker, BrokerOptions, StartError, Storage};
