//! Our values in the wire's types, and back.
//!
//! Owns: the conversions that every handler needs. Never: a rule.

use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

/// A topic's name in a message.
pub(crate) fn topic_name(name: &Arc<str>) -> TopicName {
    TopicName(text(name))
}

/// Text in a message.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
