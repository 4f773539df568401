//! IncrementalAlterConfigs (key 44), versions 0-1.
//!
//! Behaviour: sets, deletes, appends to and subtracts from single configs (KIP-339) of topics, this
//! broker, all brokers (empty name), groups and client metrics subscriptions; a resource changes in
//! all of its keys or in none. Broker loggers (KIP-412): the level of `root` can't be changed while
//! running, and there are no others.
//! Differences from Apache Kafka: that one.

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_coordinator::metadata::{
    AlterTarget, ConfigChange, ControllerError,
    IncrementalAlterConfigs as IncrementalAlterConfigsCommand, ResourceAlterations, ResourceType,
    Validation,
};
use ottla_protocol::model::NodeId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::{alter_configs, wire};

const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
const ROOT_LOGGER: &str = "root";

#[derive(Debug)]
pub(crate) struct IncrementalAlterConfigs;

impl ApiHandler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const NAME: &'static str = "IncrementalAlterConfigs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let controller = ctx.controller();
        let resources: Vec<ResourceAlterations> =
            request.resources.into_iter().map(alterations).collect();
        let targets: Vec<AlterTarget> = resources.iter().map(|of| of.target.clone()).collect();
        // Loggers are no metadata: they are answered here, in their place among the others.
        let loggers: Vec<Option<Result<(), ControllerError>>> = resources
            .iter()
            .map(|of| is_logger(&of.target).then(|| alter_logger(of, ctx.services.node_id)))
            .collect();
        let command = IncrementalAlterConfigsCommand {
            through: ctx.through,
            resources,
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let altered = alter_configs::submit(&controller, command, targets).await;
            let responses = altered.into_iter().zip(loggers).map(|((target, outcome), logger)| {
                let (code, message) = logger.map_or(outcome, wire::outcome);
                AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_resource_type(target.kind)
                    .with_resource_name(wire::text(&target.name))
            });
            IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
        })
    }
}

fn alterations(resource: AlterConfigsResource) -> ResourceAlterations {
    ResourceAlterations {
        target: AlterTarget {
            kind: resource.resource_type,
            name: resource.resource_name.to_string(),
        },
        changes: resource
            .configs
            .into_iter()
            .map(|config| ConfigChange {
                key: config.name.to_string(),
                operation: config.config_operation,
                value: config.value.map(|value| value.to_string()),
            })
            .collect(),
    }
}

fn is_logger(target: &AlterTarget) -> bool {
    target.kind == ResourceType::BrokerLogger.id()
}

/// Kafka's `RuntimeLoggerManager`, for a process whose log levels are set when it starts.
fn alter_logger(of: &ResourceAlterations, node: NodeId) -> Result<(), ControllerError> {
    let refuse = |text: String| Err(ControllerError::InvalidRequest(text));
    let nulls: Vec<&str> = of
        .changes
        .iter()
        .filter(|change| change.operation != DELETE && change.value.is_none())
        .map(|change| change.key.as_str())
        .collect();
    if !nulls.is_empty() {
        return refuse(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    match of.target.name.parse::<i32>() {
        Err(_) => {
            return refuse(format!("Node id must be an integer, but it is: {}", of.target.name));
        }
        Ok(id) if id != node.0 => {
            return refuse(format!("Unexpected node id. Expected {node}, but received {id}"));
        }
        Ok(_) => {}
    }
    // No level can be changed, so the first change decides.
    of.changes.first().map_or(Ok(()), |change| Err(refused_level(change)))
}

fn refused_level(change: &ConfigChange) -> ControllerError {
    let operation = match change.operation {
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        DELETE if change.key == ROOT_LOGGER => {
            let text = "Removing the log level of the root logger is not allowed";
            return ControllerError::InvalidRequest(text.to_owned());
        }
        _ if change.key == ROOT_LOGGER => {
            let text = "The log level is set at start: restart with RUST_LOG set to the level";
            return ControllerError::InvalidRequest(text.to_owned());
        }
        _ => {
            let text = format!("Logger {} does not exist!", change.key);
            return ControllerError::InvalidConfig(text);
        }
    };
    let text = format!("{operation} operation is not allowed for the BROKER_LOGGER resource");
    ControllerError::InvalidRequest(text)
}
