//! Keys of tiered storage, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Double, Int, Long, String};

/// Kafka's default class, kept for DescribeConfigs.
const METADATA_MANAGER: &str =
    "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager";

pub(super) const KEYS: &[ConfigKey] = &[
    broker("follower.fetch.last.tiered.offset.enable", Boolean)
        .default("false")
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.fetch.max.wait.ms", Int)
        .default("500")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.list.offsets.request.timeout.ms", Long)
        .default("30000")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.index.file.cache.total.size.bytes", Long)
        .default("1073741824")
        .at_least(1)
        .low()
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.index.file.cache.ttl.ms", Long)
        .default("900000")
        .at_least(-1)
        .low()
        .internal()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.copier.thread.pool.size", Int)
        .default("10")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.copy.max.bytes.per.second", Long)
        .default("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.copy.quota.window.num", Int)
        .default("11")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.copy.quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.expiration.thread.pool.size", Int)
        .default("10")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.fetch.max.bytes.per.second", Long)
        .default("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.fetch.quota.window.num", Int)
        .default("11")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.fetch.quota.window.size.seconds", Int)
        .default("1")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.follower.thread.pool.size", Int)
        .default("2")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.task.interval.ms", Long)
        .default("30000")
        .at_least(1)
        .low()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.task.retry.backoff.max.ms", Long)
        .default("30000")
        .at_least(1)
        .low()
        .internal()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.task.retry.backoff.ms", Long)
        .default("500")
        .at_least(1)
        .low()
        .internal()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.task.retry.jitter", Double)
        .default("0.2")
        .fraction_up_to_half()
        .low()
        .internal()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.manager.thread.pool.size", Int)
        .default("2")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.metadata.custom.metadata.max.bytes", Int)
        .default("128")
        .at_least(0)
        .low()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.metadata.manager.class.name", String)
        .default(METADATA_MANAGER)
        .non_empty()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.metadata.manager.class.path", String).accepted(reason::TIERED_STORAGE),
    broker("remote.log.metadata.manager.impl.prefix", String)
        .default("rlmm.config.")
        .non_empty()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.metadata.manager.listener.name", String)
        .non_empty()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.reader.max.pending.tasks", Int)
        .default("100")
        .at_least(1)
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.reader.threads", Int)
        .default("10")
        .at_least(1)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.storage.manager.class.name", String)
        .non_empty()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.storage.manager.class.path", String).accepted(reason::TIERED_STORAGE),
    broker("remote.log.storage.manager.impl.prefix", String)
        .default("rsm.config.")
        .non_empty()
        .accepted(reason::TIERED_STORAGE),
    broker("remote.log.storage.system.enable", Boolean)
        .default("false")
        .accepted(reason::TIERED_STORAGE),
];
