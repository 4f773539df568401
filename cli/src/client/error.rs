//! Why a request got no answer, or an answer that is an error.
//!
//! Owns: [`ClientError`] and its translation to a [`Failure`]. Never: retries (that is `retry`).
//! Invariant: every variant says which address or which request it is about.

use std::time::Duration;

use ottla_protocol::error_code::ErrorCode;

use crate::exit::Exit;
use crate::failure::Failure;

/// What a broker's address answered to an attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) address: String,
    pub(crate) cause: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no broker can be reached: {}", attempts_text(.0))]
    Unreachable(Vec<Attempt>),
    #[error("{address} closed the connection while {api} was under way: {cause}")]
    Closed { address: String, api: String, cause: String },
    #[error("no answer to {what} within {}", crate::units::duration(*after))]
    TimedOut { what: String, after: Duration },
    #[error("{address} does not serve {api}{offered}")]
    Unsupported {
        address: String,
        api: String,
        /// Empty: in no version at all.
        offered: String,
    },
    #[error("{address} does not speak Kafka's protocol: {cause}")]
    NotKafka { address: String, cause: String },
    #[error("the answer of {address} to {api} cannot be read: {cause}")]
    Malformed { address: String, api: String, cause: String },
    #[error("broker {0} is not in the cluster's metadata")]
    NoSuchBroker(i32),
    #[error("{what}: {}", .message.as_deref().unwrap_or_else(|| .code.message()))]
    Refused { what: String, code: ErrorCode, message: Option<String> },
}

fn attempts_text(attempts: &[Attempt]) -> String {
    let each: Vec<String> =
        attempts.iter().map(|attempt| format!("{} {}", attempt.address, attempt.cause)).collect();
    each.join("; ")
}

impl ClientError {
    pub(crate) fn refused(what: impl Into<String>, code: ErrorCode) -> Self {
        Self::Refused { what: what.into(), code, message: None }
    }

    /// Whether the same request may succeed when it is sent again, perhaps to another broker.
    pub(crate) fn retriable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Closed { .. } => true,
            Self::Refused { code, .. } => code.retriable(),
            _ => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "UNREACHABLE",
            Self::Closed { .. } => "CONNECTION_CLOSED",
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::Unsupported { .. } => "UNSUPPORTED_VERSION",
            Self::NotKafka { .. } => "NOT_KAFKA",
            Self::Malformed { .. } => "MALFORMED_ANSWER",
            Self::NoSuchBroker(_) => "BROKER_NOT_AVAILABLE",
            Self::Refused { code, .. } => code.name(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable(_)
            | ClientError::Closed { .. }
            | ClientError::TimedOut { .. }
            | ClientError::NotKafka { .. } => Exit::Unreachable,
            _ => Exit::ItemFailed,
        };
        let failure = Self::new(error.code(), error.to_string(), exit);
        match error {
            ClientError::Unreachable(_) => failure.fix(
                "check that a broker runs there and that -b names it; `ottla doctor` follows the \
                 whole path",
            ),
            ClientError::NotKafka { .. } => {
                failure.fix("check the port: an HTTP or TLS port answers like this")
            }
            ClientError::TimedOut { .. } => {
                failure.fix("raise --timeout, or ask `ottla doctor` which step hangs")
            }
            _ => failure,
        }
    }
}
