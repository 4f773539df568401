//! Keys of quotas and metrics, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Class, Int, List, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("alter.log.dirs.replication.quota.window.num", Int)
        .default("11")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("alter.log.dirs.replication.quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("client.quota.callback.class", Class).low().accepted(reason::QUOTAS),
    broker("controller.quota.window.num", Int)
        .default("11")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("controller.quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("kafka.metrics.polling.interval.secs", Int)
        .default("10")
        .at_least(1)
        .low()
        .accepted(reason::METRICS),
    broker("kafka.metrics.reporters", List)
        .default("")
        .distinct()
        .low()
        .accepted(reason::JAVA_CLASSES),
    broker("metric.reporters", List)
        .default("org.apache.kafka.common.metrics.JmxReporter")
        .distinct()
        .low()
        .cluster_wide()
        .accepted(reason::JAVA_CLASSES),
    broker("metrics.num.samples", Int).default("2").at_least(1).low().accepted(reason::METRICS),
    broker("metrics.recording.level", String).default("INFO").low().accepted(reason::METRICS),
    broker("metrics.sample.window.ms", Long)
        .default("30000")
        .at_least(1)
        .low()
        .accepted(reason::METRICS),
    broker("quota.window.num", Int).default("11").at_least(1).low().accepted(reason::QUOTAS),
    broker("quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("replication.quota.window.num", Int)
        .default("11")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("replication.quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .low()
        .accepted(reason::QUOTAS),
    broker("telemetry.max.bytes", Int)
        .default("1048576")
        .at_least(1)
        .low()
        .accepted(reason::CLIENT_METRICS),
];
