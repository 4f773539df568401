//! CreatePartitions (key 37), versions 0-3.
//!
//! Behaviour: topics grow to a count, with the controller's or the client's replicas; they never
//! shrink. Names that stand twice are refused, first and once.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use ottla_coordinator::metadata::{
    ControllerError, CreatePartitions as CreatePartitionsCommand, GrownTopic, Validation,
};

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

#[derive(Debug)]
pub(crate) struct CreatePartitions;

impl ApiHandler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const NAME: &'static str = "CreatePartitions";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> Reply<CreatePartitionsResponse> {
        let controller = ctx.controller().within(ctx.now, request.timeout_ms);
        let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let command = CreatePartitionsCommand {
            topics: request.topics.into_iter().map(grown).collect(),
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let results = match controller.submit(command).await {
                Ok(reply) => reply.into_iter().map(|(name, of)| result(&name, of)).collect(),
                Err(code) => names
                    .into_iter()
                    .map(|name| {
                        CreatePartitionsTopicResult::default()
                            .with_name(name)
                            .with_error_code(code.code())
                            .with_error_message(None)
                    })
                    .collect(),
            };
            CreatePartitionsResponse::default().with_results(results)
        })
    }
}

fn grown(topic: CreatePartitionsTopic) -> GrownTopic {
    let lists = topic.assignments;
    GrownTopic {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: lists
            .map(|lists| lists.iter().map(|list| wire::node_ids(&list.broker_ids)).collect()),
    }
}

fn result(name: &str, result: Result<(), ControllerError>) -> CreatePartitionsTopicResult {
    let (code, message) = wire::outcome(result);
    CreatePartitionsTopicResult::default()
        .with_name(TopicName(wire::text(name)))
        .with_error_code(code)
        .with_error_message(message)
}
