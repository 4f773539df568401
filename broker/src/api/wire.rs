//! Our values in the wire's types, and back.
//!
//! Owns: the conversions that every handler needs. Never: a rule.

use std::sync::Arc;

use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_coordinator::group::{GroupError, Reply as GroupReply};
use ottla_coordinator::metadata::ControllerError;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::NodeId;

use super::handler::Reply;
use crate::group_service::Answer;

/// Every operation on a topic, as bits of `AclOperation` (KIP-430): there is no authorizer.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Every operation on the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// The client did not ask for operations.
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// Kafka's own words for two codes, where it sends them as messages.
pub(crate) const UNKNOWN_TOPIC: &str = "This server does not host this topic-partition.";
pub(crate) const MALFORMED_REQUEST: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

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

/// Text that may be missing.
pub(crate) fn message(message: Option<String>) -> Option<StrBytes> {
    message.map(StrBytes::from_string)
}

/// A controller's result as code and message.
pub(crate) fn outcome(result: Result<(), ControllerError>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code().code(), message(error.message())),
    }
}

/// Brokers of a message.
pub(crate) fn node_ids(brokers: &[BrokerId]) -> Vec<NodeId> {
    brokers.iter().map(|broker| NodeId(broker.0)).collect()
}

/// Brokers in a message.
pub(crate) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// Why Kafka closes the connection on an ACL with these elements, if it does: 0 stands for an
/// element that nobody knows (KIP-140).
pub(crate) fn unknown_acl_element(elements: &[i8]) -> Option<String> {
    elements.contains(&0).then(|| "an ACL has an element of unknown type".to_owned())
}
