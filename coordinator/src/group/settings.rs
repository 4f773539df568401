//! The broker's settings that consumer groups obey.
//!
//! Owns: the values, with Kafka's defaults. Never: reads them from a file. All are per broker.

use std::time::Duration;

/// What a batch takes beside the key and value of its only record, rounded up: 61 bytes of header,
/// and lengths.
pub const BATCH_OVERHEAD: usize = 128;

/// What `group.*` and `offsets.*` say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// `group.max.size`: members a classic group may have.
    pub max_size: usize,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for
    /// more members, again and again as they come, up to the rebalance timeout.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// How long a member that has just been added may wait for its first rebalance. Kafka's
    /// constant (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
    pub new_member_join_timeout: Duration,
    /// `offset.metadata.max.bytes`; as in Kafka, counted in UTF-16 units.
    pub offset_metadata_max: usize,
    /// The largest group record that `max.message.bytes` of `__consumer_offsets` lets into the log.
    pub record_bytes_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            max_size: i32::MAX as usize,
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            offset_metadata_max: 4096,
            record_bytes_max: 1_048_588 - BATCH_OVERHEAD,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            retention_check_interval: Duration::from_secs(10 * 60),
        }
    }
}
