//! AlterConfigs (key 33), versions 0-2.
//!
//! Behaviour: all dynamic configs of a resource are replaced by those of the request (KIP-133);
//! IncrementalAlterConfigs changes single ones. Topics, this broker, all brokers (empty name), groups
//! and client metrics subscriptions.
//! Differences from Apache Kafka: a resource that stands twice is refused (42), Kafka never answers.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use ottla_coordinator::metadata::{
    AlterConfigs as AlterConfigsCommand, AlterConfigsReply, AlterTarget, Command, ResourceValues,
    Validation,
};

use super::handler::{ActiveController, ApiHandler, Reply, RequestContext, Route};
use super::wire;

#[derive(Debug)]
pub(crate) struct AlterConfigs;

impl ApiHandler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const NAME: &'static str = "AlterConfigs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const ROUTE: Route = Route::Controller;

    fn handle(ctx: &RequestContext, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let controller = ctx.controller();
        let resources: Vec<ResourceValues> = request
            .resources
            .into_iter()
            .map(|resource| ResourceValues {
                target: AlterTarget {
                    kind: resource.resource_type,
                    name: resource.resource_name.to_string(),
                },
                values: resource
                    .configs
                    .into_iter()
                    .map(|of| (of.name.to_string(), of.value.map(|value| value.to_string())))
                    .collect(),
            })
            .collect();
        let targets: Vec<AlterTarget> = resources.iter().map(|of| of.target.clone()).collect();
        let command = AlterConfigsCommand {
            through: ctx.through,
            resources,
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let altered = submit(&controller, command, targets).await;
            let responses = altered.into_iter().map(|(target, (code, message))| {
                AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_resource_type(target.kind)
                    .with_resource_name(wire::text(&target.name))
            });
            AlterConfigsResponse::default().with_responses(responses.collect())
        })
    }
}

/// Carries out a change of configs, of this API or of IncrementalAlterConfigs. Each resource has a code
/// and a message of its own; where nothing could be changed at all, they all have one code.
pub(super) async fn submit<C>(
    controller: &ActiveController,
    command: C,
    targets: Vec<AlterTarget>,
) -> Vec<(AlterTarget, (i16, Option<StrBytes>))>
where
    C: Command<Reply = AlterConfigsReply> + Send + 'static,
{
    match controller.submit(command).await {
        Ok(results) => {
            results.into_iter().map(|(target, result)| (target, wire::outcome(result))).collect()
        }
        Err(code) => targets.into_iter().map(|target| (target, (code.code(), None))).collect(),
    }
}
