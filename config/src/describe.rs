//! What DescribeConfigs answers.
//!
//! Owns: values, sources and synonyms of broker, topic, group and client metrics resources (Kafka's
//! `ConfigHelper`, KIP-226, KIP-569). Never: speaks the protocol; a handler turns entries into
//! fields. Invariant: a sensitive value is never in an entry.

use crate::catalog::{self, broker_default_of_group_key, broker_default_of_topic_key, synonyms};
use crate::error::ConfigError;
use crate::key::{Scope, UpdateMode, Visibility};
use crate::layers::{ConfigLayers, Values};
use crate::topic;
use crate::typed::Typed;
use crate::value::Kind;

/// Where a value comes from, with the numbers of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    DynamicBrokerLogger,
    ClientMetrics,
    Group,
}

impl ConfigSource {
    /// `config_source` of DescribeConfigs.
    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::DynamicBrokerLogger => 6,
            Self::ClientMetrics => 7,
            Self::Group => 8,
        }
    }

    /// Kafka's name, as its tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
        }
    }
}

/// One name under which a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    /// `None` when it is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// One described key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConfig {
    pub name: String,
    /// `None` is null, or withheld.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub sensitive: bool,
    /// The one in force first.
    pub synonyms: Vec<Synonym>,
    pub kind: Kind,
    pub documentation: String,
}

/// A broker by its id: every key in force.
///
/// # Errors
/// A stored value does not parse, which the checks before storing exclude.
pub fn broker(layers: &ConfigLayers) -> Result<Vec<DescribedConfig>, ConfigError> {
    let effective = layers.effective();
    let typed = Typed::new(Scope::Broker, &effective);
    let mut entries = Vec::new();
    for key in catalog::keys(Scope::Broker) {
        let shown = key.visibility == Visibility::Public && key.kind != Kind::Unknown;
        if shown || typed.is_set(key.name) {
            let value = typed.value(key.name)?.map(|value| value.text());
            entries.push(broker_entry(layers, key.name, value, |_| true));
        }
    }
    let unknown = effective.iter().filter(|(n, _)| catalog::lookup(Scope::Broker, n).is_none());
    for (name, text) in unknown {
        entries.push(broker_entry(layers, name, Some(text.clone()), |_| true));
    }
    Ok(entries)
}

/// The dynamic defaults of all brokers (resource BROKER with an empty name).
pub fn broker_defaults(layers: &ConfigLayers) -> Vec<DescribedConfig> {
    let only_defaults = |source| source == ConfigSource::DynamicDefaultBroker;
    layers
        .dynamic_default
        .iter()
        .map(|(name, text)| broker_entry(layers, name, Some(text.clone()), only_defaults))
        .collect()
}

fn broker_entry(
    layers: &ConfigLayers,
    name: &str,
    value: Option<String>,
    wanted: impl Fn(ConfigSource) -> bool,
) -> DescribedConfig {
    let key = catalog::lookup(Scope::Broker, name);
    let base = key.or_else(|| catalog::listener_override(name));
    let kind = base.map_or(Kind::Unknown, |key| key.kind);
    let mut synonyms = broker_synonyms(layers, name, kind);
    synonyms.retain(|synonym| wanted(synonym.source));
    let update = base.map_or(UpdateMode::ReadOnly, |key| key.update);
    DescribedConfig {
        name: name.to_owned(),
        value: value.filter(|_| !kind.is_sensitive()),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: update == UpdateMode::ReadOnly,
        sensitive: kind.is_sensitive(),
        synonyms,
        kind,
        documentation: key.map_or_else(String::new, |key| key.documentation()),
    }
}

/// Where the broker key's value was set, the winner first. What comes before the first mention of
/// the key itself is left out, as Kafka does: `log.retention.hours` alone does not show for
/// `log.retention.ms`.
fn broker_synonyms(layers: &ConfigLayers, name: &str, kind: Kind) -> Vec<Synonym> {
    let names = broker_names(name);
    let mut found = Vec::new();
    let stored = [
        (&layers.dynamic_broker, ConfigSource::DynamicBroker),
        (&layers.dynamic_default, ConfigSource::DynamicDefaultBroker),
        (&layers.static_values, ConfigSource::StaticBroker),
    ];
    for (values, source) in stored {
        for name in &names {
            if let Some(text) = values.get(*name) {
                found.push(synonym(name, Some(text), source, kind));
            }
        }
    }
    for name in &names {
        let default = catalog::lookup(Scope::Broker, name).and_then(|key| key.default);
        if let Some(text) = default {
            found.push(synonym(name, Some(text), ConfigSource::Default, kind));
        }
    }
    let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
    found.split_off(first)
}

/// The name, then what else it can be set by; a listener's override falls back to its base key.
fn broker_names(name: &str) -> Vec<&str> {
    match catalog::listener_override(name) {
        Some(base) => vec![name, base.name],
        None => synonyms(name),
    }
}

fn synonym(name: &str, text: Option<&str>, source: ConfigSource, kind: Kind) -> Synonym {
    let value = text.filter(|_| !kind.is_sensitive()).map(str::to_owned);
    Synonym { name: name.to_owned(), value, source }
}

/// A topic with these overrides.
///
/// # Errors
/// A stored value does not parse, which the checks before storing exclude.
pub fn topic(
    layers: &ConfigLayers,
    overrides: &Values,
) -> Result<Vec<DescribedConfig>, ConfigError> {
    let values = topic::described_values(overrides, &layers.effective())?;
    let mut entries = Vec::with_capacity(values.len());
    for (name, value) in values {
        let broker_name = broker_default_of_topic_key(name);
        let value = value.map(|value| value.text());
        let set = overrides.contains_key(name).then_some(ConfigSource::Topic);
        entries.push(overlaid(layers, (Scope::Topic, name), value, set, broker_name));
    }
    Ok(entries)
}

/// A consumer, share or streams group with these overrides.
///
/// # Errors
/// A stored value does not parse, which the checks before storing exclude.
pub fn group(
    layers: &ConfigLayers,
    overrides: &Values,
) -> Result<Vec<DescribedConfig>, ConfigError> {
    let effective = layers.effective();
    let broker = Typed::new(Scope::Broker, &effective);
    let mut entries = Vec::new();
    for key in catalog::keys(Scope::Group) {
        let broker_name = broker_default_of_group_key(key.name);
        let value = match (overrides.get(key.name), &broker_name) {
            (Some(text), _) => Some(key.parse(text)?.text()),
            (None, Some(name)) => broker.value(name)?.map(|value| value.text()),
            (None, None) => key.default.map(str::to_owned),
        };
        let set = overrides.contains_key(key.name).then_some(ConfigSource::Group);
        let name = (Scope::Group, key.name);
        entries.push(overlaid(layers, name, value, set, broker_name.as_deref()));
    }
    Ok(entries)
}

/// A client metrics subscription with these values.
///
/// # Errors
/// A stored value does not parse, which the checks before storing exclude.
pub fn client_metrics(values: &Values) -> Result<Vec<DescribedConfig>, ConfigError> {
    let typed = Typed::new(Scope::ClientMetrics, values);
    let layers = ConfigLayers::default();
    catalog::keys(Scope::ClientMetrics)
        .map(|key| {
            let value = typed.value(key.name)?.map(|value| value.text());
            let set = typed.is_set(key.name).then_some(ConfigSource::ClientMetrics);
            Ok(overlaid(&layers, (Scope::ClientMetrics, key.name), value, set, None))
        })
        .collect()
}

/// An entry whose own value lies over a broker key.
fn overlaid(
    layers: &ConfigLayers,
    (scope, name): (Scope, &str),
    value: Option<String>,
    set: Option<ConfigSource>,
    broker_name: Option<&str>,
) -> DescribedConfig {
    let key = catalog::lookup(scope, name);
    let kind = key.map_or(Kind::Unknown, |key| key.kind);
    let own = set.map(|source| synonym(name, value.as_deref(), source, kind));
    let below = broker_name.map(|name| broker_synonyms(layers, name, kind)).unwrap_or_default();
    let group_default = (scope == Scope::Group && broker_name.is_none())
        .then(|| key.and_then(|key| key.default))
        .flatten()
        .map(|text| synonym(name, Some(text), ConfigSource::Default, kind));
    let synonyms: Vec<Synonym> = own.into_iter().chain(below).chain(group_default).collect();
    DescribedConfig {
        name: name.to_owned(),
        value: value.filter(|_| !kind.is_sensitive()),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: false,
        sensitive: kind.is_sensitive(),
        synonyms,
        kind,
        documentation: key.map_or_else(String::new, |key| key.documentation()),
    }
}

#[cfg(test)]
mod tests;
