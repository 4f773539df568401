//! Our values in the wire's types, and back.
//!
//! Owns: the conversions that every handler needs. Never: a rule.

use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use ottla_coordinator::group::{GroupError, Reply as GroupReply};

use super::handler::Reply;
use crate::group_service::Answer;

/// A topic's name in a message.
pub(crate) fn topic_name(name: &Arc<str>) -> TopicName {
    TopicName(text(name))
}

/// Text in a message.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Text of a message, on its own: what is kept must not keep the whole frame.
pub(crate) fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

/// A group's answer as a handler's reply: at once where it is there.
pub(crate) fn group_reply<R: 'static>(
    answer: Result<Answer, GroupError>,
    respond: impl FnOnce(Result<GroupReply, GroupError>) -> R + Send + 'static,
) -> Reply<R> {
    match answer {
        Ok(Answer::Ready(reply)) => Reply::message(respond(Ok(reply))),
        Ok(later) => Reply::staged(async move { respond(later.wait().await) }),
        Err(error) => Reply::message(respond(Err(error))),
    }
}
