//! The configuration of one topic.
//!
//! Owns: the typed values of the topic keys that are used, where their defaults come from, and the
//! checks of a set of overrides (Kafka's `LogConfig`). Never: stores overrides; the metadata image does.
//! Invariant: a `TopicConfig` is made of checked values only.

use std::time::Duration;

use crate::broker::BrokerConfig;
use crate::catalog::{self, broker_default_of_topic_key, synonyms};
use crate::error::ConfigError;
use crate::key::{Scope, Visibility};
use crate::layers::Values;
use crate::typed::{Typed, millis_limit};
use crate::units::ByteSize;
use crate::value::Value;

/// Everything a topic can be told that has an effect. Absent limits are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression: CompressionType,
    /// How long a tombstone stays in a compacted topic.
    pub delete_retention: Duration,
    pub file_delete_delay: Duration,
    pub flush_messages: Option<u64>,
    pub flush_interval: Option<Duration>,
    pub index_interval: ByteSize,
    pub min_compaction_lag: Duration,
    pub max_compaction_lag: Option<Duration>,
    pub max_message_bytes: ByteSize,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max: Option<Duration>,
    pub message_timestamp_after_max: Option<Duration>,
    pub min_cleanable_dirty_ratio: f64,
    pub min_insync_replicas: u32,
    pub retention_bytes: Option<ByteSize>,
    pub retention: Option<Duration>,
    /// `internal.segment.bytes` when that is set.
    pub segment_bytes: ByteSize,
    pub segment_index_bytes: ByteSize,
    pub segment_jitter: Duration,
    pub(crate) segment_time: Duration,
    pub durability: Durability,
}

/// What happens to old segments; neither keeps them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// How batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As they were sent.
    Producer,
    Uncompressed,
    /// Levels 1 to 9; -1 is the codec's own default.
    Gzip {
        level: i32,
    },
    Snappy,
    Lz4 {
        level: i32,
    },
    Zstd {
        level: i32,
    },
}

/// Whose time records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// When a write counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk.
    Fsync,
    /// In memory of the operating system: safe when the process dies, not when the machine does.
    PageCache,
}

impl TopicConfig {
    /// The configuration of a topic with these overrides on this broker.
    ///
    /// # Errors
    /// A name is unknown, or a value is refused, alone or beside another one.
    pub fn resolve(overrides: &Values, broker: &BrokerConfig) -> Result<Self, ConfigError> {
        Self::resolve_over(overrides, broker.effective())
    }

    pub(crate) fn resolve_over(
        overrides: &Values,
        broker_values: &Values,
    ) -> Result<Self, ConfigError> {
        check_each(overrides)?;
        let mut values = defaults(broker_values)?;
        values.extend(overrides.iter().map(|(name, text)| (name.clone(), text.clone())));
        let config = Self::from_typed(Typed::new(Scope::Topic, &values))?;
        Self::check_relations(&values)?;
        Ok(config)
    }

    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let segment_bytes = match typed.optional_long("internal.segment.bytes")? {
            Some(bytes) => ByteSize(bytes.max(0).unsigned_abs()),
            None => typed.bytes("segment.bytes")?,
        };
        let flush_messages = typed.long("flush.messages")?;
        Ok(Self {
            cleanup_policy: CleanupPolicy::of(&typed.list("cleanup.policy")?),
            compression: compression(typed)?,
            delete_retention: typed.millis("delete.retention.ms")?,
            file_delete_delay: typed.millis("file.delete.delay.ms")?,
            flush_messages: (flush_messages != i64::MAX).then(|| flush_messages.unsigned_abs()),
            flush_interval: typed.millis_limit("flush.ms")?,
            index_interval: typed.bytes("index.interval.bytes")?,
            min_compaction_lag: typed.millis("min.compaction.lag.ms")?,
            max_compaction_lag: typed.millis_limit("max.compaction.lag.ms")?,
            max_message_bytes: typed.bytes("max.message.bytes")?,
            message_timestamp_type: timestamp_type(typed)?,
            message_timestamp_before_max: typed.millis_limit("message.timestamp.before.max.ms")?,
            message_timestamp_after_max: typed.millis_limit("message.timestamp.after.max.ms")?,
            min_cleanable_dirty_ratio: typed.double("min.cleanable.dirty.ratio")?,
            min_insync_replicas: typed.count("min.insync.replicas")?,
            retention_bytes: typed.bytes_limit("retention.bytes")?,
            retention: typed.millis_limit("retention.ms")?,
            segment_bytes,
            segment_index_bytes: typed.bytes("segment.index.bytes")?,
            segment_jitter: typed.millis("segment.jitter.ms")?,
            segment_time: typed.millis("segment.ms")?,
            durability: Durability::of(&typed.text("ottla.durability")?),
        })
    }

    /// Kafka's `LogConfig.validateValues`, and what it says while tiered storage is off.
    fn check_relations(values: &Values) -> Result<(), ConfigError> {
        let typed = Typed::new(Scope::Topic, values);
        let (min, max) =
            (typed.long("min.compaction.lag.ms")?, typed.long("max.compaction.lag.ms")?);
        if min > max {
            return Err(ConfigError::Refused(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > \
                 max.compaction.lag.ms ({max})"
            )));
        }
        if typed.boolean("remote.storage.enable")? {
            return Err(ConfigError::Refused(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be \
                 configured with remote log storage."
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Refuses names that are no topic keys, and values of keys that have no effect here, too.
fn check_each(overrides: &Values) -> Result<(), ConfigError> {
    for (name, text) in overrides {
        let key = catalog::lookup(Scope::Topic, name)
            .ok_or_else(|| ConfigError::UnknownTopicKey(name.clone()))?;
        key.parse(text)?;
    }
    Ok(())
}

/// What a topic without overrides gets from its broker (Kafka's `KafkaConfig.extractLogConfigMap`).
pub(crate) fn defaults(broker_values: &Values) -> Result<Values, ConfigError> {
    let broker = Typed::new(Scope::Broker, broker_values);
    let mut defaults = Values::new();
    for key in catalog::keys(Scope::Topic) {
        let Some(source) = broker_default_of_topic_key(key.name) else { continue };
        let text = match synonyms(source).as_slice() {
            [only] => broker.value(only)?.map(|value| value.text()),
            chain => chain_millis(broker, chain)?.map(|millis| millis.to_string()),
        };
        if let Some(text) = text {
            defaults.insert(key.name.to_owned(), text);
        }
    }
    // Any negative retention means for ever, and a topic only knows -1 for it.
    let retention = defaults.get("retention.ms").and_then(|text| text.parse::<i64>().ok());
    if retention.is_some_and(|millis| millis < 0) {
        defaults.insert("retention.ms".to_owned(), "-1".to_owned());
    }
    Ok(defaults)
}

/// The first of the chain that is not null, in milliseconds.
fn chain_millis(broker: Typed<'_>, chain: &[&str]) -> Result<Option<i64>, ConfigError> {
    for name in chain {
        if let Some(amount) = broker.optional_long(name)? {
            let scale = match name.rsplit('.').next() {
                Some("hours") => 3_600_000,
                Some("minutes") => 60_000,
                _ => 1,
            };
            return Ok(Some(amount.saturating_mul(scale)));
        }
    }
    Ok(None)
}

/// The texts of a topic as they are described: every public key, and internal ones that are set.
pub(crate) fn described_values(
    overrides: &Values,
    broker_values: &Values,
) -> Result<Vec<(&'static str, Option<Value>)>, ConfigError> {
    let mut values = defaults(broker_values)?;
    values.extend(overrides.iter().map(|(name, text)| (name.clone(), text.clone())));
    let typed = Typed::new(Scope::Topic, &values);
    catalog::keys(Scope::Topic)
        .filter(|key| key.visibility == Visibility::Public || typed.is_set(key.name))
        .map(|key| Ok((key.name, typed.value(key.name)?)))
        .collect()
}

impl CleanupPolicy {
    fn of(words: &[String]) -> Self {
        let has = |word: &str| words.iter().any(|w| w.eq_ignore_ascii_case(word));
        Self { delete: has("delete"), compact: has("compact") }
    }
}

impl Durability {
    fn of(word: &str) -> Self {
        if word == "page-cache" { Self::PageCache } else { Self::Fsync }
    }
}

fn compression(typed: Typed<'_>) -> Result<CompressionType, ConfigError> {
    Ok(match typed.text("compression.type")?.as_str() {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip { level: typed.int("compression.gzip.level")? },
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4 { level: typed.int("compression.lz4.level")? },
        "zstd" => CompressionType::Zstd { level: typed.int("compression.zstd.level")? },
        _ => CompressionType::Producer,
    })
}

fn timestamp_type(typed: Typed<'_>) -> Result<TimestampType, ConfigError> {
    Ok(match typed.text("message.timestamp.type")?.as_str() {
        "LogAppendTime" => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    })
}

impl TopicConfig {
    /// How long a record's time may span in one segment: compaction's limit counts as well.
    pub fn segment_time_max(&self) -> Duration {
        match self.max_compaction_lag {
            Some(lag) if self.cleanup_policy.compact => lag.min(self.segment_time),
            _ => self.segment_time,
        }
    }
}

/// The retention of a number of milliseconds, as `retention.ms` has it.
pub fn retention_of_millis(millis: i64) -> Option<Duration> {
    millis_limit(millis)
}

#[cfg(test)]
mod tests;
