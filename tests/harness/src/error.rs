//! Why a test cluster did not start.
//!
//! Owns: the one error type. Never: hides the broker's own words.

use ottla_broker::StartError;
use ottla_config::loader::LoadError;
use ottla_protocol::ErrorCode;

/// Why a cluster could not be started, restarted or given its topics.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A setting given to [`crate::Builder::config`] is unknown or out of bounds.
    #[error("a setting was refused: {0}")]
    Config(#[from] LoadError),
    #[error("the broker did not start: {0}")]
    Start(#[from] StartError),
    /// A topic given to the builder was refused.
    #[error("topic {name} was not created: {code} ({message})")]
    Topic { name: String, code: ErrorCode, message: String },
    /// The broker answered a helper such as `produce` with an error.
    #[error("{request} for topic {topic} was refused: {code}")]
    Refused { request: &'static str, topic: String, code: ErrorCode },
    #[error("the connection to the broker failed: {0}")]
    Connection(#[from] std::io::Error),
    /// The broker's thread is gone, which is a bug of the broker: its panic message is on stderr.
    #[error("the broker's thread ended unexpectedly")]
    Gone,
}
