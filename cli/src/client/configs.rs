//! DescribeConfigs and IncrementalAlterConfigs for topics, brokers and groups.
//!
//! Owns: the two requests and their answers as plain values. Never: decides what to change.
//! Invariant: broker configs are asked at that broker, as Kafka requires.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
};
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use super::admin::{Effect, Verdict};
use super::error::ClientError;
use super::{Client, text};

/// What carries configs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Resource {
    Topic(String),
    /// `None`: the default of all brokers.
    Broker(Option<i32>),
    Group(String),
}

impl Resource {
    pub(crate) const fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) => 4,
            Self::Group(_) => 32,
        }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::Broker(_) => "broker",
            Self::Group(_) => "group",
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) => name.clone(),
            Self::Broker(id) => id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    /// How a person calls it: `topic orders`, `broker 1`, `every broker`.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Broker(None) => "every broker".to_owned(),
            _ => format!("{} {}", self.kind(), self.name()),
        }
    }
}

#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct ConfigEntry {
    pub(crate) name: String,
    /// `None`: not set, or a secret.
    pub(crate) value: Option<String>,
    pub(crate) source: &'static str,
    pub(crate) read_only: bool,
    pub(crate) sensitive: bool,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) synonyms: Vec<Synonym>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) documentation: Option<String>,
}

#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: &'static str,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

impl Change {
    const fn code(&self) -> i8 {
        match self {
            Self::Set(_) => 0,
            Self::Delete => 1,
            Self::Append(_) => 2,
            Self::Subtract(_) => 3,
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Self::Set(value) | Self::Append(value) | Self::Subtract(value) => Some(value),
            Self::Delete => None,
        }
    }
}

/// Every config of a resource, sorted by name.
pub(crate) async fn describe(
    client: &Client,
    resource: &Resource,
) -> Result<Vec<ConfigEntry>, ClientError> {
    let build = |version: i16| {
        let asked = DescribeConfigsResource::default()
            .with_resource_type(resource.code())
            .with_resource_name(text(&resource.name()))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![asked])
            .with_include_synonyms(true);
        if version >= 3 { request.with_include_documentation(true) } else { request }
    };
    let response: DescribeConfigsResponse = match resource {
        Resource::Broker(Some(id)) => client.broker(*id, build).await?,
        _ => client.any(build).await?,
    };
    let mut entries = Vec::new();
    for result in response.results {
        let code = ErrorCode::from_code(result.error_code);
        if !code.is_none() {
            return Err(ClientError::Refused {
                what: resource.title(),
                code,
                message: result
                    .error_message
                    .map(|words| words.to_string())
                    .filter(|words| !words.is_empty()),
            });
        }
        entries.extend(result.configs.into_iter().map(|config| {
            ConfigEntry {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
                source: source_name(config.config_source),
                read_only: config.read_only,
                sensitive: config.is_sensitive,
                kind: type_name(config.config_type),
                synonyms: config
                    .synonyms
                    .into_iter()
                    .map(|synonym| Synonym {
                        name: synonym.name.to_string(),
                        value: synonym.value.map(|value| value.to_string()),
                        source: source_name(synonym.source),
                    })
                    .collect(),
                documentation: config.documentation.map(|text| text.to_string()),
            }
        }));
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

/// Applies `changes` to one resource.
pub(crate) async fn alter(
    client: &Client,
    resource: &Resource,
    changes: &[(String, Change)],
    effect: Effect,
) -> Result<Verdict, ClientError> {
    let build = |_| {
        let configs = changes.iter().map(|(name, change)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(change.code())
                .with_value(change.value().map(text))
        });
        let asked = AlterConfigsResource::default()
            .with_resource_type(resource.code())
            .with_resource_name(text(&resource.name()))
            .with_configs(configs.collect());
        IncrementalAlterConfigsRequest::default()
            .with_resources(vec![asked])
            .with_validate_only(effect == Effect::ValidateOnly)
    };
    let response = match resource {
        Resource::Broker(Some(id)) => client.broker(*id, build).await?,
        _ => client.any(build).await?,
    };
    let verdict = response.responses.into_iter().next().map_or_else(
        || Verdict { name: resource.name(), code: ErrorCode::UnknownServerError, words: None },
        |answer| Verdict {
            name: resource.name(),
            code: ErrorCode::from_code(answer.error_code),
            words: answer.error_message.map(|words| words.to_string()),
        },
    );
    Ok(verdict)
}

/// Kafka's `ConfigEntry.ConfigSource`.
const fn source_name(code: i8) -> &'static str {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

/// Kafka's `ConfigEntry.ConfigType`.
const fn type_name(code: i8) -> &'static str {
    match code {
        1 => "BOOLEAN",
        2 => "STRING",
        3 => "INT",
        4 => "SHORT",
        5 => "LONG",
        6 => "DOUBLE",
        7 => "LIST",
        8 => "CLASS",
        9 => "PASSWORD",
        _ => "UNKNOWN",
    }
}
