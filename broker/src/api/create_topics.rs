//! CreateTopics (key 19), versions 2-7.
//!
//! Behaviour: each topic by itself, one answer per name; names that stand twice come last, once. -1
//! partitions or replicas are the broker's defaults (KIP-464). Version 5 and up report what holds for
//! the new topic (KIP-525), version 7 its id (KIP-516). The answer leaves when the topics are served.
//! Differences from Apache Kafka: topic configs include `ottla.durability`.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use ottla_coordinator::metadata::{
    ControllerError, CreateTopics as CreateTopicsCommand, CreatedTopic, NewTopic, Validation,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::PartitionId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

#[derive(Debug)]
pub(crate) struct CreateTopics;

impl ApiHandler for CreateTopics {
    type Request = CreateTopicsRequest;
    const NAME: &'static str = "CreateTopics";
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=7;
    const ROUTE: Route = Route::Controller;

    fn handle(ctx: &RequestContext, request: CreateTopicsRequest) -> Reply<CreateTopicsResponse> {
        let controller = ctx.controller().within(ctx.now, request.timeout_ms);
        let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let command = CreateTopicsCommand {
            topics: request.topics.into_iter().map(new_topic).collect(),
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let results = match controller.submit(command).await {
                Ok(reply) => {
                    reply.topics.into_iter().map(|(name, topic)| result(&name, topic)).collect()
                }
                Err(code) => names.into_iter().map(|name| refused(name, code)).collect(),
            };
            CreateTopicsResponse::default().with_topics(results)
        })
    }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|of| (PartitionId(of.partition_index), wire::node_ids(&of.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (config.name.to_string(), config.value.map(|value| value.to_string())))
            .collect(),
    }
}

fn refused(name: TopicName, code: ErrorCode) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(code.code())
        .with_error_message(None)
}

fn result(name: &str, topic: Result<CreatedTopic, ControllerError>) -> CreatableTopicResult {
    let name = TopicName(wire::text(name));
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => {
            return refused(name, error.code())
                .with_error_message(wire::message(error.message()))
                .with_configs(Some(Vec::new()));
        }
    };
    let configs = topic
        .configs
        .into_iter()
        .map(|config| {
            CreatableTopicConfigs::default()
                .with_name(wire::text(&config.name))
                .with_value(config.value.as_deref().map(wire::text))
                .with_config_source(config.source.code())
                .with_is_sensitive(config.sensitive)
        })
        .collect();
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_message(None)
        .with_topic_id(topic.id)
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_configs(Some(configs))
}
