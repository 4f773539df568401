//! Keys of consumer groups and committed offsets, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Int, List, Long, Short, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("group.consumer.assignment.interval.ms", Int)
        .default("1000")
        .at_least(0)
        .cluster_wide()
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.assignors", List)
        .default("uniform,range")
        .distinct()
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.max.assignment.interval.ms", Int)
        .default("15000")
        .at_least(0)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.max.heartbeat.interval.ms", Int)
        .default("15000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.max.session.timeout.ms", Int)
        .default("60000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.max.size", Int)
        .default("2147483647")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.migration.policy", String)
        .default("bidirectional")
        .one_of_ignore_case(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.min.assignment.interval.ms", Int)
        .default("0")
        .at_least(0)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.min.heartbeat.interval.ms", Int)
        .default("5000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.min.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.regex.refresh.interval.ms", Int)
        .default("600000")
        .at_least(10_000)
        .internal()
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.consumer.session.timeout.ms", Int)
        .default("45000")
        .at_least(1)
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.coordinator.append.linger.ms", Int)
        .default("-1")
        .at_least(-1)
        .accepted(reason::COORDINATOR_BATCHING),
    broker("group.coordinator.background.threads", Int)
        .default("2")
        .at_least(1)
        .high()
        .accepted(reason::THREADS),
    broker("group.coordinator.cached.buffer.max.bytes", Int)
        .default("1048588")
        .at_least(524_288)
        .cluster_wide()
        .accepted(reason::COORDINATOR_BATCHING),
    broker("group.coordinator.rebalance.protocols", List)
        .default("classic,consumer,streams")
        .each_of(&["consumer", "classic", "share", "streams"])
        .accepted(reason::CONSUMER_GROUPS),
    broker("group.coordinator.threads", Int)
        .default("4")
        .at_least(1)
        .high()
        .accepted(reason::THREADS),
    broker("group.initial.rebalance.delay.ms", Int)
        .default("3000")
        .used("How long a new group waits for more members before its first rebalance."),
    broker("group.max.session.timeout.ms", Int)
        .default("1800000")
        .used("Longest session timeout a classic group member may ask for."),
    broker("group.max.size", Int)
        .default("2147483647")
        .at_least(1)
        .used("Most members of a classic group."),
    broker("group.min.session.timeout.ms", Int)
        .default("6000")
        .used("Shortest session timeout a classic group member may ask for."),
    broker("offset.metadata.max.bytes", Int)
        .default("4096")
        .high()
        .used("Largest metadata string of a committed offset."),
    broker("offsets.commit.timeout.ms", Int)
        .default("5000")
        .at_least(1)
        .high()
        .used("How long a group's record may take to be committed."),
    broker("offsets.load.buffer.size", Int)
        .default("5242880")
        .at_least(1)
        .high()
        .accepted(reason::COORDINATOR_BATCHING),
    broker("offsets.retention.check.interval.ms", Long)
        .default("600000")
        .at_least(1)
        .high()
        .used("How often expired offsets are looked for."),
    broker("offsets.retention.minutes", Int)
        .default("10080")
        .at_least(1)
        .high()
        .used("How long offsets stay after their group is empty or no longer subscribed."),
    broker("offsets.topic.compression.codec", Int)
        .default("0")
        .high()
        .accepted(reason::OFFSETS_CODEC),
    broker("offsets.topic.num.partitions", Int)
        .default("50")
        .at_least(1)
        .high()
        .used("Partitions of `__consumer_offsets`, when it is created."),
    broker("offsets.topic.replication.factor", Short).default("3").at_least(1).high().used(
        "Replicas of `__consumer_offsets`, when it is created; fewer while there are fewer \
         brokers.",
    ),
    broker("offsets.topic.segment.bytes", Int)
        .default("104857600")
        .at_least(1)
        .high()
        .used("Segment size of `__consumer_offsets`."),
];
