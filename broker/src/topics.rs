//! The topics that this broker serves, as the request path needs them.
//!
//! Owns: the lookup by name and by id, and what is derived once per topic: its partitions, typed
//! settings, validation rules, metric handles. Never: decides that a topic exists (the metadata image
//! does), or touches a disk (the replicas do). Invariant: an entry is immutable; a change replaces it.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_config::TopicConfig;
use ottla_config::topic::CompressionType;
use ottla_protocol::model::{TopicName, Uuid};
use ottla_protocol::records::validate::{AppendOrigin, KeyRule, TopicCompression};
use ottla_protocol::records::{Codec, Compression, TimestampType, ValidationRules};
use ottla_replication::partition::Partition;
use parking_lot::RwLock;

use crate::metrics::TopicMetrics;

/// From this Produce version on zstd may be used (KIP-110).
const ZSTD_FROM: i16 = 7;

/// One topic, as of one moment.
#[derive(Debug)]
pub(crate) struct TopicEntry {
    pub name: TopicName,
    pub id: Uuid,
    pub config: TopicConfig,
    pub metrics: TopicMetrics,
    partitions: Vec<Slot>,
    rules: ValidationRules,
    /// The rules for versions that may not use zstd.
    rules_before_zstd: ValidationRules,
}

impl TopicEntry {
    /// Partitions by index.
    #[must_use]
    pub(crate) fn new(
        name: TopicName,
        id: Uuid,
        config: TopicConfig,
        partitions: Vec<Slot>,
        metrics: TopicMetrics,
    ) -> Self {
        let rules = rules(&config, ZSTD_FROM);
        let rules_before_zstd = self::rules(&config, ZSTD_FROM - 1);
        Self { name, id, config, metrics, partitions, rules, rules_before_zstd }
    }

    /// A partition by its index.
    pub(crate) fn partition(&self, index: i32) -> Result<Arc<Partition>, NoPartition> {
        let slot = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        match slot {
            Some(Slot::Here(partition)) => Ok(Arc::clone(partition)),
            Some(Slot::Offline) => Err(NoPartition::Offline),
            Some(Slot::Elsewhere) => Err(NoPartition::Elsewhere),
            None => Err(NoPartition::Unknown),
        }
    }

    /// A partition that this broker leads, by its index.
    pub(crate) fn led(&self, index: i32) -> Result<Arc<Partition>, NoPartition> {
        self.partition(index).and_then(|partition| {
            if partition.is_leader() { Ok(partition) } else { Err(NoPartition::Elsewhere) }
        })
    }

    /// Whether there is a partition of this index, served or not.
    #[must_use]
    pub(crate) fn has(&self, index: i32) -> bool {
        usize::try_from(index).is_ok_and(|index| index < self.partitions.len())
    }

    /// Every partition that is served, with its index.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (i32, &Arc<Partition>)> {
        (0..).zip(&self.partitions).filter_map(|(index, slot)| match slot {
            Slot::Here(partition) => Some((index, partition)),
            Slot::Offline | Slot::Elsewhere => None,
        })
    }

    /// How many partitions there are, served or not.
    #[must_use]
    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    #[must_use]
    pub(crate) fn is_internal(&self) -> bool {
        ottla_coordinator::metadata::topic_name::is_internal(&self.name)
    }

    /// What Produce of this version is checked against.
    #[must_use]
    pub(crate) fn rules_for(&self, version: i16) -> &ValidationRules {
        if version >= ZSTD_FROM { &self.rules } else { &self.rules_before_zstd }
    }
}

/// A partition's place in its topic.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// It has a replica here.
    Here(Arc<Partition>),
    /// Its replica here cannot be served.
    Offline,
    /// Other brokers hold it.
    Elsewhere,
}

/// Why a topic has no partition to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoPartition {
    /// It does not exist.
    Unknown,
    /// It exists, in a log directory that is out of use.
    Offline,
    /// Another broker leads it.
    Elsewhere,
}

/// All topics of this broker.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    state: RwLock<State>,
}

/// A topic's settings as the rules of record validation.
fn rules(config: &TopicConfig, produce_version: i16) -> ValidationRules {
    let millis = |span: Option<std::time::Duration>| {
        span.map_or(i64::MAX, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
    };
    ValidationRules {
        origin: AppendOrigin::Client { produce_version },
        compression: compression(config.compression),
        timestamp_type: match config.message_timestamp_type {
            ottla_config::topic::TimestampType::CreateTime => TimestampType::CreateTime,
            ottla_config::topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: millis(config.message_timestamp_before_max),
        timestamp_after_max_ms: millis(config.message_timestamp_after_max),
        batch_bytes_max: config.max_message_bytes.to_usize(),
        keys: if config.cleanup_policy.compact { KeyRule::Required } else { KeyRule::Optional },
        ..ValidationRules::default()
    }
}

fn compression(config: CompressionType) -> TopicCompression {
    TopicCompression::Fixed(match config {
        CompressionType::Producer => return TopicCompression::Producer,
        CompressionType::Uncompressed => Compression::NONE,
        CompressionType::Gzip { level } => Compression::new(Codec::Gzip, Some(level)),
        CompressionType::Snappy => Compression::new(Codec::Snappy, None),
        CompressionType::Lz4 { level } => Compression::new(Codec::Lz4, Some(level)),
        CompressionType::Zstd { level } => Compression::new(Codec::Zstd, Some(level)),
    })
}

#[derive(Debug, Default)]
struct State {
    by_name: HashMap<TopicName, Arc<TopicEntry>>,
    by_id: HashMap<Uuid, Arc<TopicEntry>>,
}

impl Topics {
    #[must_use]
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<TopicEntry>> {
        self.state.read().by_name.get(name).cloned()
    }

    #[must_use]
    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<TopicEntry>> {
        self.state.read().by_id.get(&id).cloned()
    }

    /// Every topic, in the order of names.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<TopicEntry>> {
        let mut all: Vec<_> = self.state.read().by_name.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds a topic or puts a changed one in its place.
    pub(crate) fn put(&self, entry: TopicEntry) {
        let entry = Arc::new(entry);
        let mut state = self.state.write();
        if let Some(old) = state.by_name.insert(Arc::clone(&entry.name), Arc::clone(&entry))
            && old.id != entry.id
        {
            state.by_id.remove(&old.id);
        }
        state.by_id.insert(entry.id, entry);
    }

    /// Takes a topic out; its partitions are the caller's to stop.
    pub(crate) fn remove(&self, id: Uuid) -> Option<Arc<TopicEntry>> {
        let mut state = self.state.write();
        let entry = state.by_id.remove(&id)?;
        if state.by_name.get(&entry.name).is_some_and(|named| named.id == id) {
            state.by_name.remove(&entry.name);
        }
        Some(entry)
    }
}
