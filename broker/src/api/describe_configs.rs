//! DescribeConfigs (key 32), versions 1-4.
//!
//! Behaviour: every key that holds for a topic, this broker, a group or a client metrics
//! subscription, with where it comes from (KIP-226), its type and, when asked for, its documentation
//! (KIP-569); a broker with an empty name is the dynamic defaults of all brokers. Sensitive values are
//! withheld. Named keys that do not exist are left out.
//! Differences from Apache Kafka: keys are ordered; documentation is our own; the only logger is
//! `root`.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_config::describe::{self, ConfigSource, DescribedConfig};
use ottla_config::layers::Values;
use ottla_config::value::Kind;
use ottla_config::{ConfigError, ConfigLayers};
use ottla_coordinator::metadata::{ConfigResource, MetadataImage, ResourceType, topic_name};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct DescribeConfigs;

/// A refusal with its message; the empty one is Kafka's for a topic that does not exist.
type Refusal = (ErrorCode, String);

impl ApiHandler for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const NAME: &'static str = "DescribeConfigs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=4;

    fn handle(
        ctx: &RequestContext,
        request: DescribeConfigsRequest,
    ) -> Reply<DescribeConfigsResponse> {
        let image = ctx.services.metadata.image();
        let configuration = ctx.services.configuration();
        let show = Show {
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let results = request
            .resources
            .iter()
            .map(|resource| {
                let described = describe(ctx, &image, &configuration.layers, resource);
                result(resource, described, show)
            })
            .collect();
        Reply::message(DescribeConfigsResponse::default().with_results(results))
    }
}

/// What the client wants to see.
#[derive(Clone, Copy)]
struct Show {
    synonyms: bool,
    documentation: bool,
}

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, message.into())
}

fn describe(
    ctx: &RequestContext,
    image: &MetadataImage,
    layers: &ConfigLayers,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribedConfig>, Refusal> {
    let name: &str = &resource.resource_name;
    let own = ctx.services.node_id.0;
    let kind = ResourceType::from_id(resource.resource_type)
        .ok_or_else(|| invalid(wire::MALFORMED_REQUEST))?;
    let overrides = || -> Values {
        let of = ConfigResource::new(kind, name);
        image.configs(&of).map(|map| (**map).clone()).unwrap_or_default()
    };
    let stored = |described: Result<Vec<DescribedConfig>, ConfigError>| {
        described.map_err(|error| (ErrorCode::UnknownServerError, error.to_string()))
    };
    match kind {
        ResourceType::Topic => {
            topic_name::check(name)
                .map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
            if image.topic(name).is_none() {
                return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
            }
            stored(describe::topic(layers, &overrides()))
        }
        ResourceType::Broker if name.is_empty() => Ok(describe::broker_defaults(layers)),
        ResourceType::Broker => match name.parse::<i32>() {
            Ok(id) if id == own => stored(describe::broker(layers)),
            Ok(_) => Err(invalid(format!(
                "Unexpected broker id, expected {own} or empty string, but received {name}"
            ))),
            Err(_) => Err(invalid(format!("Broker id must be an integer, but it is: {name}"))),
        },
        ResourceType::BrokerLogger if name.is_empty() => {
            Err(invalid("Broker id must not be empty"))
        }
        ResourceType::BrokerLogger => match name.parse::<i32>() {
            Ok(id) if id == own => Ok(vec![root_logger()]),
            Ok(_) => {
                Err(invalid(format!("Unexpected broker id, expected {own} but received {name}")))
            }
            Err(_) => Err(invalid(format!("Broker id must be an integer, but it is: {name}"))),
        },
        ResourceType::Group if name.is_empty() => Err(invalid("Group name must not be empty")),
        ResourceType::Group => stored(describe::group(layers, &overrides())),
        ResourceType::ClientMetrics if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty"))
        }
        ResourceType::ClientMetrics => stored(describe::client_metrics(&overrides())),
    }
}

/// The process's own log level, in Kafka's words.
fn root_logger() -> DescribedConfig {
    use tracing::level_filters::LevelFilter;
    let level = match LevelFilter::current() {
        LevelFilter::OFF => "OFF",
        LevelFilter::ERROR => "ERROR",
        LevelFilter::WARN => "WARN",
        LevelFilter::INFO => "INFO",
        LevelFilter::DEBUG => "DEBUG",
        _ => "TRACE",
    };
    DescribedConfig {
        name: "root".to_owned(),
        value: Some(level.to_owned()),
        source: ConfigSource::DynamicBrokerLogger,
        read_only: false,
        sensitive: false,
        synonyms: Vec::new(),
        kind: Kind::Unknown,
        documentation: String::new(),
    }
}

fn result(
    resource: &DescribeConfigsResource,
    described: Result<Vec<DescribedConfig>, Refusal>,
    show: Show,
) -> DescribeConfigsResult {
    let (configs, (code, message)) = match described {
        Ok(configs) => (configs, (ErrorCode::None, String::new())),
        Err(refusal) => (Vec::new(), refusal),
    };
    let wanted: Option<BTreeSet<&str>> = resource
        .configuration_keys
        .as_ref()
        // An empty list means everything for loggers' sake, as null does (KAFKA-13527).
        .filter(|keys| !keys.is_empty())
        .map(|keys| keys.iter().map(|key| &**key).collect());
    let configs = configs
        .into_iter()
        .filter(|config| wanted.as_ref().is_none_or(|keys| keys.contains(config.name.as_str())))
        .map(|config| entry(config, show))
        .collect();
    DescribeConfigsResult::default()
        .with_error_code(code.code())
        .with_error_message(Some(wire::text(&message)))
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_configs(configs)
}

fn entry(config: DescribedConfig, show: Show) -> DescribeConfigsResourceResult {
    let is_logger = config.source == ConfigSource::DynamicBrokerLogger;
    let synonyms = config
        .synonyms
        .iter()
        .filter(|_| show.synonyms)
        .map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(wire::text(&synonym.name))
                .with_value(synonym.value.as_deref().map(wire::text))
                .with_source(synonym.source.code())
        })
        .collect();
    let documentation =
        (show.documentation || is_logger).then(|| wire::text(&config.documentation));
    DescribeConfigsResourceResult::default()
        .with_name(wire::text(&config.name))
        .with_value(config.value.as_deref().map(wire::text))
        .with_read_only(config.read_only)
        .with_config_source(config.source.code())
        .with_is_sensitive(config.sensitive)
        .with_synonyms(synonyms)
        .with_config_type(config.kind.code())
        .with_documentation(documentation)
}
