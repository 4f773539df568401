//! Keys of share groups and streams groups, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Int, List, Short, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("group.share.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .cluster_wide()
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.assignors", List)
        .default("simple")
        .distinct()
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.delivery.count.limit", Int)
        .default("5")
        .between(2, 10)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.initialize.retry.interval.ms", Int)
        .default("30000")
        .at_least(1)
        .low()
        .internal()
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.assignment.interval.ms", Int)
        .default("15000")
        .at_least(0)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.delivery.count.limit", Int)
        .default("10")
        .between(5, 25)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.heartbeat.interval.ms", Int)
        .default("15000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.partition.max.record.locks", Int)
        .default("4000")
        .between(2_000, 10_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.record.lock.duration.ms", Int)
        .default("60000")
        .between(30_000, 3_600_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.session.timeout.ms", Int)
        .default("60000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.share.sessions", Int)
        .default("2000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.max.size", Int)
        .default("200")
        .between(1, 1_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.assignment.interval.ms", Int)
        .default("0")
        .at_least(0)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.delivery.count.limit", Int)
        .default("2")
        .between(2, 5)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.partition.max.record.locks", Int)
        .default("100")
        .between(100, 2_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.record.lock.duration.ms", Int)
        .default("15000")
        .between(1_000, 30_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.min.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.partition.max.record.locks", Int)
        .default("2000")
        .between(100, 10_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.persister.class.name", String)
        .default("org.apache.kafka.server.share.persister.DefaultStatePersister")
        .internal()
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.record.lock.duration.ms", Int)
        .default("30000")
        .between(1_000, 3_600_000)
        .accepted(reason::SHARE_GROUPS),
    broker("group.share.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("group.streams.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .cluster_wide()
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.initial.rebalance.delay.ms", Int)
        .default("3000")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.max.assignment.interval.ms", Int)
        .default("15000")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.max.heartbeat.interval.ms", Int)
        .default("15000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.max.session.timeout.ms", Int)
        .default("60000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.max.size", Int)
        .default("2147483647")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.max.standby.replicas", Int)
        .default("2")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.min.assignment.interval.ms", Int)
        .default("0")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.min.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.min.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.num.standby.replicas", Int)
        .default("0")
        .at_least(0)
        .accepted(reason::STREAMS_GROUPS),
    broker("group.streams.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::STREAMS_GROUPS),
    broker("share.coordinator.append.linger.ms", Int)
        .default("-1")
        .at_least(-1)
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.cached.buffer.max.bytes", Int)
        .default("1048588")
        .at_least(524_288)
        .cluster_wide()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.cold.partition.snapshot.interval.ms", Int)
        .default("300000")
        .at_least(1)
        .low()
        .internal()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.load.buffer.size", Int)
        .default("5242880")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.snapshot.update.records.per.snapshot", Int)
        .default("500")
        .between(0, 500)
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.compression.codec", Int)
        .default("0")
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.min.isr", Short)
        .default("2")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.num.partitions", Int)
        .default("50")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.prune.interval.ms", Int)
        .default("300000")
        .at_least(1)
        .low()
        .internal()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.replication.factor", Short)
        .default("3")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.state.topic.segment.bytes", Int)
        .default("104857600")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.threads", Int)
        .default("1")
        .at_least(1)
        .accepted(reason::SHARE_GROUPS),
    broker("share.coordinator.write.timeout.ms", Int)
        .default("5000")
        .at_least(1)
        .high()
        .accepted(reason::SHARE_GROUPS),
    broker("share.fetch.purgatory.purge.interval.requests", Int)
        .default("1000")
        .accepted(reason::SHARE_GROUPS),
];
