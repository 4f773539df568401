//! What a log needs to know of its topic's configuration.
//!
//! Owns: the typed values. Never: parsing or defaults' provenance beyond Kafka's own.

use std::time::Duration;

use ottla_config::{ByteSize, TopicConfig};

/// `cleanup.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CleanupPolicy {
    #[default]
    Delete,
    Compact,
    CompactAndDelete,
    /// `cleanup.policy=` (empty): nothing is removed but below the log start.
    Nothing,
}

impl CleanupPolicy {
    #[must_use]
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    #[must_use]
    pub const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }
}

/// Plain values of one topic. `None` is "no limit" (-1 in Kafka).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// `segment.bytes`; at most 2 GiB - 1, as positions in indexes are 32 bits.
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_age: Duration,
    /// `segment.jitter.ms`
    pub segment_jitter: Duration,
    /// `segment.index.bytes`
    pub index_bytes_max: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `retention.ms`
    pub retention_age: Option<Duration>,
    /// `retention.bytes`
    pub retention_bytes: Option<u64>,
    /// `file.delete.delay.ms`
    pub file_delete_delay: Duration,
    /// `cleanup.policy`
    pub cleanup: CleanupPolicy,
    /// `max.message.bytes`, of one batch.
    pub max_message_bytes: u32,
    /// `flush.messages`: the driver asks [`crate::PartitionLog::flush_due`].
    pub flush_messages: Option<u64>,
    /// `flush.ms`
    pub flush_age: Option<Duration>,
    /// `producer.id.expiration.ms`, of the broker.
    pub producer_id_expiration: Duration,
}

impl Default for LogSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            segment_bytes: 1 << 30,
            segment_age: 7 * DAY,
            segment_jitter: Duration::ZERO,
            index_bytes_max: 10 << 20,
            index_interval_bytes: 4096,
            retention_age: Some(7 * DAY),
            retention_bytes: None,
            file_delete_delay: Duration::from_secs(60),
            cleanup: CleanupPolicy::Delete,
            max_message_bytes: 1_048_588,
            flush_messages: None,
            flush_age: None,
            producer_id_expiration: DAY,
        }
    }
}

impl From<&TopicConfig> for LogSettings {
    /// All but `producer.id.expiration.ms`, which is the broker's and stays at its default.
    fn from(topic: &TopicConfig) -> Self {
        let bytes = |size: ByteSize| u32::try_from(size.bytes()).unwrap_or(u32::MAX);
        let policy = topic.cleanup_policy;
        Self {
            segment_bytes: bytes(topic.segment_bytes),
            segment_age: topic.segment_time_max(),
            segment_jitter: topic.segment_jitter,
            index_bytes_max: bytes(topic.segment_index_bytes),
            index_interval_bytes: bytes(topic.index_interval),
            retention_age: topic.retention,
            retention_bytes: topic.retention_bytes.map(|size| size.bytes()),
            file_delete_delay: topic.file_delete_delay,
            cleanup: match (policy.delete, policy.compact) {
                (true, false) => CleanupPolicy::Delete,
                (false, true) => CleanupPolicy::Compact,
                (true, true) => CleanupPolicy::CompactAndDelete,
                (false, false) => CleanupPolicy::Nothing,
            },
            max_message_bytes: bytes(topic.max_message_bytes),
            flush_messages: topic.flush_messages,
            flush_age: topic.flush_interval,
            producer_id_expiration: Self::default().producer_id_expiration,
        }
    }
}
