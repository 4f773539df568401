//! Which names stand for the same thing, and where a topic or group key takes its default from.
//!
//! Owns: the chains of Kafka's `ServerTopicConfigSynonyms`, `GroupConfig` and
//! `DynamicBrokerConfig.brokerConfigSynonyms`. Never: resolves values.
//! Invariant: the first name of a chain wins when several are set.

/// Broker keys that mean the same in other units, the winner first.
const CHAINS: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// Topic keys and the broker keys behind them, where the names differ.
const TOPIC_DEFAULTS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
];

/// Topic keys whose broker key has the same name.
const TOPIC_DEFAULTS_SAME_NAME: &[&str] = &[
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "min.insync.replicas",
    "ottla.durability",
    "unclean.leader.election.enable",
];

/// Group keys that no broker key stands behind.
const GROUP_ONLY: &[&str] =
    &["share.auto.offset.reset", "share.isolation.level", "share.renew.acknowledge.enable"];

/// All names that mean the same as this broker key, the one that wins first.
pub fn synonyms(name: &str) -> Vec<&str> {
    let chain = CHAINS.iter().find(|chain| chain.contains(&name));
    chain.map_or_else(|| vec![name], |chain| chain.to_vec())
}

/// The broker key that gives a topic key its default.
pub fn broker_default_of_topic_key(name: &str) -> Option<&'static str> {
    TOPIC_DEFAULTS
        .iter()
        .find_map(|(topic, broker)| (*topic == name).then_some(*broker))
        .or_else(|| TOPIC_DEFAULTS_SAME_NAME.iter().copied().find(|same| *same == name))
}

/// The broker key that gives a group key its default; Kafka puts `group.` before the name.
pub fn broker_default_of_group_key(name: &str) -> Option<String> {
    (!GROUP_ONLY.contains(&name)).then(|| format!("group.{name}"))
}
