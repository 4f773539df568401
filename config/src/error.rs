//! What can be wrong with one value, or with values together.
//!
//! Owns: the texts, in the style of Apache Kafka (`ConfigException`), because tools match them.
//! Never: decides which protocol error code is answered; all of these are INVALID_CONFIG (40) when
//! they answer a request, except where the caller's KIP says otherwise.

use thiserror::Error;

/// A refused name, value or combination.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The text does not parse, or is out of bounds.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidValue { name: String, value: String, reason: String },
    /// A rule whose sentence stands alone, as several of Kafka's validators have it.
    #[error("{0}")]
    Refused(String),
    /// No topic key has this name.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicKey(String),
    /// No group key has this name.
    #[error("Unknown group config name: {0}")]
    UnknownGroupKey(String),
    /// A subscription key that does not exist.
    #[error("Unknown client metrics configuration: {0}")]
    UnknownClientMetricsKey(String),
    /// Broker keys that cannot change while the broker runs.
    #[error("Cannot update these configs dynamically: [{}]", .0.join(", "))]
    NotDynamic(Vec<String>),
    /// Append or subtract on a broker key that is no list.
    #[error("Config value {operation} is not allowed for config key: {name}")]
    NotABrokerList { name: String, operation: &'static str },
    /// Append or subtract on another key that is no list.
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList { name: String, operation: &'static str },
}

impl ConfigError {
    /// Kafka's `ConfigException(name, value, message)`.
    pub fn invalid(
        name: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidValue { name: name.into(), value: value.into(), reason: reason.into() }
    }
}
