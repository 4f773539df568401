//! Relations between keys of the broker, and what this release does not serve.
//!
//! Owns: each rule that needs more than one value, with the sentence that names cause and cure
//! (Kafka's `KafkaConfig.validateValues` and the checks of its group configs).
//! Never: rules of one value (see [`crate::key::Check`]) or of listeners (see [`crate::listener`]).

use crate::broker::BrokerConfig;
use crate::catalog;
use crate::error::ConfigError;
use crate::key::Scope;
use crate::layers::Values;
use crate::listener::SecurityProtocol;
use crate::typed::Typed;

/// The first may not be above the second.
const NOT_ABOVE: &[(&str, &str)] = &[
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.share.min.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("group.streams.num.standby.replicas", "group.streams.max.standby.replicas"),
    ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
];

/// Parses every value, also those that nothing here uses: Kafka would refuse them as well.
pub(crate) fn all_values(effective: &Values) -> Result<(), ConfigError> {
    for (name, text) in effective {
        if let Some(key) = catalog::lookup(Scope::Broker, name) {
            key.parse(text)?;
        }
    }
    Ok(())
}

/// Checks what only shows when values stand side by side.
pub(crate) fn relations(config: &BrokerConfig, typed: Typed<'_>) -> Result<(), ConfigError> {
    config.node.quorum.check(config.node.node_id, &config.listeners)?;
    listeners(config)?;
    connections(config)?;
    logs(config, typed)?;
    for (lower, upper) in NOT_ABOVE {
        if typed.long(lower)? > typed.long(upper)? {
            return refuse(format!("{upper} must be greater than or equal to {lower}"));
        }
    }
    Ok(())
}

fn refuse(sentence: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Refused(sentence.into()))
}

fn listeners(config: &BrokerConfig) -> Result<(), ConfigError> {
    let listeners = &config.listeners;
    let unserved = listeners.listeners.iter().find(|l| l.protocol != SecurityProtocol::Plaintext);
    match unserved {
        Some(listener) => refuse(format!(
            "listeners has {}, which asks for {}: this release does not serve that yet; map it to \
             PLAINTEXT in listener.security.protocol.map, or put a TLS proxy before the broker",
            listener.name,
            listener.protocol.name()
        )),
        None => Ok(()),
    }
}

fn connections(config: &BrokerConfig) -> Result<(), ConfigError> {
    let connections = &config.connections;
    if connections.connections_per_ip_max == 0
        && connections.connections_per_ip_overrides.is_empty()
    {
        return refuse(
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides \
             property is set.",
        );
    }
    Ok(())
}

fn logs(config: &BrokerConfig, typed: Typed<'_>) -> Result<(), ConfigError> {
    if config.log.dirs.is_empty() {
        return refuse("At least one log directory must be defined via log.dirs or log.dir.");
    }
    let defaults = &config.topics.defaults;
    if defaults.segment_time.is_zero() {
        return refuse("log.roll.ms must be greater than or equal to 1");
    }
    if defaults.retention.is_some_and(|retention| retention.is_zero()) {
        return refuse("log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    }
    let (threads, buffer) = (typed.long("log.cleaner.threads")?, config.log.cleaner.dedupe_buffer);
    const DEDUPE_BUFFER_PER_THREAD_MIN: u64 = 1 << 20;
    if threads > 0 && buffer.bytes() / threads.unsigned_abs() <= DEDUPE_BUFFER_PER_THREAD_MIN {
        return refuse("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
