//! AlterConfigs (key 33), versions 0-2.
//!
//! Behaviour: all dynamic configs of a resource are replaced by those of the request (KIP-133);
//! IncrementalAlterConfigs changes single ones. Topics, this broker, all brokers (empty name), groups
//! and client metrics subscriptions.
//! Differences from Apache Kafka: a resource that stands twice is refused (42), Kafka never answers.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_coordinator::metadata::{
    AlterConfigs as AlterConfigsCommand, AlterTarget, ResourceValues, Validation,
};

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::metadata_service::MetadataService;

#[derive(Debug)]
pub(crate) struct AlterConfigs;

impl ApiHandler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const NAME: &'static str = "AlterConfigs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &RequestContext, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let services = ctx.services.clone();
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
            through: services.node_id,
            resources,
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let results = match MetadataService::submit(&services, command).await {
                Ok(reply) => reply,
                Err(code) => {
                    let failed = |target| response(&target, code.code());
                    let responses = targets.into_iter().map(failed).collect();
                    return AlterConfigsResponse::default().with_responses(responses);
                }
            };
            let responses = results
                .into_iter()
                .map(|(target, result)| {
                    let (code, message) = wire::outcome(result);
                    response(&target, code).with_error_message(message)
                })
                .collect();
            AlterConfigsResponse::default().with_responses(responses)
        })
    }
}

fn response(target: &AlterTarget, code: i16) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_error_code(code)
        .with_error_message(None)
        .with_resource_type(target.kind)
        .with_resource_name(wire::text(&target.name))
}
