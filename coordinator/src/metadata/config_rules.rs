//! Which dynamic configs are accepted, and what holds for a topic.
//!
//! Owns: Kafka's `ControllerConfigurationValidator` and the broker's part of `ConfigAdminManager`,
//! on top of the keys of `ottla_config`. Never: changes anything. Invariant: what these accept can be
//! resolved into typed configs later without an error.

use ottla_config::describe::{self, ConfigSource};
use ottla_config::key::{Scope, UpdateMode};
use ottla_config::layers::Values;
use ottla_config::value::{Kind, Value};
use ottla_config::{BrokerConfig, ConfigError, TopicConfig, alter, catalog};

use super::error::ControllerError;
use super::image::{ConfigResource, MetadataImage};
use super::settings::ControllerSettings;

/// One config that holds for a new topic, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveConfig {
    pub name: String,
    /// `None` is null, or withheld.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub sensitive: bool,
}

/// What holds for a topic with these overrides, by name.
pub(super) fn effective_topic_configs(
    image: &MetadataImage,
    settings: &ControllerSettings,
    overrides: &Values,
) -> Vec<EffectiveConfig> {
    let layers = settings.layers(image, settings.node_id);
    // Stored values were checked when they came.
    describe::topic(&layers, overrides)
        .unwrap_or_default()
        .into_iter()
        .map(|config| EffectiveConfig {
            name: config.name,
            value: config.value,
            source: config.source,
            sensitive: config.sensitive,
        })
        .collect()
}

fn invalid_config(error: &ConfigError) -> ControllerError {
    ControllerError::InvalidConfig(error.to_string())
}

fn invalid_request(error: &ConfigError) -> ControllerError {
    ControllerError::InvalidRequest(error.to_string())
}

/// Checks all overrides of a topic together.
pub(super) fn check_topic(
    image: &MetadataImage,
    settings: &ControllerSettings,
    overrides: &Values,
) -> Result<(), ControllerError> {
    if overrides.is_empty() {
        return Ok(());
    }
    let layers = settings.layers(image, settings.node_id);
    let broker = BrokerConfig::from_layers(&layers).map_err(|e| invalid_config(&e))?;
    TopicConfig::resolve(overrides, &broker).map(drop).map_err(|e| invalid_config(&e))
}

/// Checks all values of a client metrics subscription (Kafka's `ClientMetricsConfigs.validate`).
pub(super) fn check_client_metrics(name: &str, values: &Values) -> Result<(), ControllerError> {
    let refuse = |text: String| Err(ControllerError::InvalidRequest(text));
    if name.is_empty() {
        return refuse("Subscription name can't be empty".to_owned());
    }
    alter::check_client_metrics(values).map_err(|error| match error {
        ConfigError::UnknownClientMetricsKey(_) => invalid_request(&error),
        other => invalid_config(&other),
    })?;
    let interval = values.get("interval.ms").and_then(|text| text.trim().parse::<i64>().ok());
    if let Some(interval) = interval.filter(|ms| !(100..=3_600_000).contains(ms)) {
        return refuse(format!(
            "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        ));
    }
    let patterns = values.get("match").map(|text| ottla_config::value::split_list(text));
    match patterns.unwrap_or_default().into_iter().find(|pattern| !is_client_match(pattern)) {
        Some(pattern) => Err(ControllerError::InvalidConfig(format!(
            "Illegal client matching pattern: {pattern}"
        ))),
        None => Ok(()),
    }
}

/// `attribute=pattern`, where the pattern is a regular expression with closed brackets.
fn is_client_match(text: &str) -> bool {
    const ATTRIBUTES: [&str; 6] = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    let Some((attribute, pattern)) = text.split_once('=') else { return false };
    let mut open = 0i32;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '=' => return false,
            '\\' if characters.next().is_none() => return false,
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open < 0 {
            return false;
        }
    }
    ATTRIBUTES.contains(&attribute.trim()) && open == 0 && !pattern.trim().is_empty()
}

/// Checks all overrides of a group, against the broker's bounds for them (Kafka's
/// `GroupConfig.validate`).
pub(super) fn check_group(
    image: &MetadataImage,
    settings: &ControllerSettings,
    name: &str,
    values: &Values,
) -> Result<(), ControllerError> {
    if name.is_empty() {
        let text = "Default group resources are not allowed.".to_owned();
        return Err(ControllerError::InvalidRequest(text));
    }
    alter::check_group(values).map_err(|e| invalid_config(&e))?;
    let broker = settings.layers(image, settings.node_id).effective();
    for (key, text) in values {
        check_group_bounds(&broker, key, text)?;
    }
    for kind in ["consumer", "share", "streams"] {
        let in_force = |suffix: &str| {
            let key = format!("{kind}.{suffix}");
            let own = values.get(&key).and_then(|text| text.trim().parse().ok());
            own.or_else(|| broker_number(&broker, &format!("group.{key}")))
        };
        let session: Option<i64> = in_force("session.timeout.ms");
        if session.is_some() && session <= in_force("heartbeat.interval.ms") {
            return Err(ControllerError::InvalidConfig(format!(
                "{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms"
            )));
        }
    }
    Ok(())
}

fn check_group_bounds(broker: &Values, key: &str, text: &str) -> Result<(), ControllerError> {
    let Some((kind, rest)) = key.split_once('.') else { return Ok(()) };
    let Ok(value) = text.trim().parse::<i64>() else { return Ok(()) };
    // The one bound that is not named after its key.
    let rest = if rest == "num.standby.replicas" { "standby.replicas" } else { rest };
    let (least, most) = (format!("group.{kind}.min.{rest}"), format!("group.{kind}.max.{rest}"));
    if broker_number(broker, &least).is_some_and(|bound| value < bound) {
        return Err(ControllerError::InvalidConfig(format!(
            "{key} must be greater than or equal to {least}"
        )));
    }
    if broker_number(broker, &most).is_some_and(|bound| value > bound) {
        return Err(ControllerError::InvalidConfig(format!(
            "{key} must be less than or equal to {most}"
        )));
    }
    Ok(())
}

/// The number that a broker key has, by its default where nobody set it.
fn broker_number(broker: &Values, name: &str) -> Option<i64> {
    let key = catalog::lookup(Scope::Broker, name)?;
    match key.parse(broker.get(name).map(String::as_str).or(key.default)?).ok()? {
        Value::Short(number) => Some(i64::from(number)),
        Value::Int(number) => Some(i64::from(number)),
        Value::Long(number) => Some(number),
        _ => None,
    }
}

/// Rates that only exist as dynamic configs (Kafka's `DynamicConfig.Broker`).
const REPLICATION_QUOTAS: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Checks the dynamic configs that a broker, or all of them, would have (Kafka's
/// `DynamicBrokerConfig.validate`). `named` are the keys that the request sets, in its order.
pub(super) fn check_broker(
    image: &MetadataImage,
    settings: &ControllerSettings,
    resource: &ConfigResource,
    values: &Values,
    named: &[&str],
) -> Result<(), ControllerError> {
    let refuse = |what: &str, is_wrong: &dyn Fn(&str) -> bool| {
        let wrong: Vec<&str> = named.iter().copied().filter(|name| is_wrong(name)).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(ControllerError::InvalidRequest(format!("{what}: [{}]", wrong.join(", "))))
    };
    let mode = |name: &str| catalog::lookup(Scope::Broker, name).map(|key| key.update);
    refuse("Cannot update these configs dynamically", &|name| {
        mode(name) == Some(UpdateMode::ReadOnly)
    })?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &|name| name.starts_with("ssl.") && mode(name) == Some(UpdateMode::PerBroker),
    )?;
    for (name, text) in values {
        let key = catalog::lookup(Scope::Broker, name).or_else(|| catalog::listener_override(name));
        if let Some(key) = key {
            key.parse(text).map_err(|e| invalid_request(&e))?;
        }
    }
    for name in REPLICATION_QUOTAS {
        if let Some(text) = values.get(name) {
            Value::parse(name, Kind::Long, text).map_err(|e| invalid_request(&e))?;
        }
    }
    let mut layers = settings.layers(image, settings.node_id);
    if resource.name.is_empty() {
        refuse(
            "Cannot update these configs at default cluster level, broker id must be specified",
            &|name| mode(name) == Some(UpdateMode::PerBroker),
        )?;
        layers.dynamic_default.clone_from(values);
    } else {
        layers.dynamic_broker.clone_from(values);
    }
    BrokerConfig::from_layers(&layers).map(drop).map_err(|e| invalid_request(&e))
}
