//! Keys of single groups (DescribeConfigs type GROUP), by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, group};
use crate::value::Kind::{Boolean, Int, String};

pub(super) const KEYS: &[ConfigKey] = &[
    group("consumer.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .accepted(reason::CONSUMER_GROUPS),
    group("consumer.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    group("consumer.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    group("share.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .accepted(reason::SHARE_GROUPS),
    group("share.auto.offset.reset", String)
        .default("latest")
        .offset_reset()
        .accepted(reason::SHARE_GROUPS),
    group("share.delivery.count.limit", Int)
        .default("5")
        .at_least(2)
        .accepted(reason::SHARE_GROUPS),
    group("share.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    group("share.isolation.level", String)
        .default("read_uncommitted")
        .one_of(&["read_committed", "read_uncommitted"])
        .accepted(reason::SHARE_GROUPS),
    group("share.partition.max.record.locks", Int)
        .default("2000")
        .at_least(100)
        .accepted(reason::SHARE_GROUPS),
    group("share.record.lock.duration.ms", Int)
        .default("30000")
        .at_least(1_000)
        .accepted(reason::SHARE_GROUPS),
    group("share.renew.acknowledge.enable", Boolean).default("true").accepted(reason::SHARE_GROUPS),
    group("share.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    group("streams.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    group("streams.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    group("streams.initial.rebalance.delay.ms", Int)
        .default("3000")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    group("streams.num.standby.replicas", Int)
        .default("0")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    group("streams.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
];
