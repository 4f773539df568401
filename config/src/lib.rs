//! Configuration: every key that the broker knows, declared once.
//!
//! ```text
//!  file (.toml, .properties)  KAFKA_*  OTTLA_*  --set        topic, broker and default overrides
//!            \                   |        |      /                        |
//!             `----------> loader::load (origins) -> ConfigLayers <-------'
//!                                                      |      |      \
//!                                             BrokerConfig TopicConfig describe (DescribeConfigs)
//! ```
//!
//! Owns: the catalog of keys ([`catalog`]), parsing and checking of values, the layers a value can
//! come from and their order, the typed structs that the other crates receive, and the sentences of
//! configuration errors.
//!
//! Never: reads the environment, files, clocks or the network (all of it is passed in), keeps
//! global mutable state, or depends on another crate of the workspace.
//!
//! Invariants: a key is declared exactly once per scope; a typed struct is only made from checked
//! values; no input makes this crate panic.

pub mod alter;
pub mod broker;
pub mod catalog;
pub mod describe;
pub mod error;
pub mod explain;
pub mod key;
pub mod layers;
pub mod listener;
pub mod loader;
mod nearest;
pub mod quorum;
pub mod reference;
pub mod topic;
mod typed;
pub mod units;
mod validate;
pub mod value;

pub use broker::{BrokerConfig, ReplicaSelector};
pub use error::ConfigError;
pub use layers::ConfigLayers;
pub use topic::TopicConfig;
pub use units::ByteSize;
