//! DeleteTopics (key 20), versions 1-6.
//!
//! Behaviour: by name, from version 6 also by id (KIP-516). Each name and id is answered once; what
//! stands twice, or means a topic that was named already, is refused. The data is gone from sight at
//! once and from the disk soon after.
//! Differences from Apache Kafka: answers are ordered, Kafka shuffles them.

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use ottla_coordinator::metadata::{
    ControllerError, DeleteTopics as DeleteTopicsCommand, DeletedTopic, DoomedTopic,
};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

/// From this version on TOPIC_DELETION_DISABLED is understood.
const DISABLED_FROM: i16 = 3;

#[derive(Debug)]
pub(crate) struct DeleteTopics;

impl ApiHandler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const NAME: &'static str = "DeleteTopics";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=6;
    const ROUTE: Route = Route::Controller;

    fn handle(ctx: &RequestContext, request: DeleteTopicsRequest) -> Reply<DeleteTopicsResponse> {
        let controller = ctx.controller().within(ctx.now, request.timeout_ms);
        let version = ctx.version;
        let names = request.topic_names.iter().map(|name| DoomedTopic::by_name(name.to_string()));
        let states = request.topics.iter().map(|topic| DoomedTopic {
            name: topic.name.as_ref().map(|name| name.to_string()),
            id: topic.topic_id,
        });
        let topics: Vec<DoomedTopic> = names.chain(states).collect();
        Reply::staged(async move {
            let command = DeleteTopicsCommand { topics: topics.clone() };
            let results = match controller.submit(command).await {
                Ok(reply) => reply.into_iter().map(|topic| result(topic, version)).collect(),
                Err(code) => topics.into_iter().map(|topic| refused(topic, code)).collect(),
            };
            DeleteTopicsResponse::default().with_responses(results)
        })
    }
}

fn named(name: Option<String>) -> Option<TopicName> {
    name.map(|name| TopicName(wire::text(&name)))
}

fn refused(topic: DoomedTopic, code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(named(topic.name))
        .with_topic_id(topic.id)
        .with_error_code(code.code())
        .with_error_message(None)
}

fn result(topic: DeletedTopic, version: i16) -> DeletableTopicResult {
    let (code, message) = match topic.result {
        Ok(()) => (ErrorCode::None, None),
        Err(ControllerError::TopicDeletionDisabled) if version < DISABLED_FROM => {
            (ErrorCode::InvalidRequest, None)
        }
        Err(error) => (error.code(), error.message()),
    };
    refused(DoomedTopic { name: topic.name, id: topic.id }, code)
        .with_error_message(wire::message(message))
}
