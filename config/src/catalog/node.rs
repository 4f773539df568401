//! Keys of the identity of a node and its part in the metadata quorum, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Int, List, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("broker.heartbeat.interval.ms", Int)
        .default("2000")
        .used("Time between two heartbeats of a broker; at most half a second is waited."),
    broker("broker.id", Int).default("-1").high().used("Older name of `node.id`."),
    broker("broker.rack", String).used(
        "Where this broker stands; replicas are spread over racks, and clients may read from \
         their own.",
    ),
    broker("broker.session.timeout.ms", Int)
        .default("9000")
        .used("A broker that was silent for this long is fenced: clients are not sent to it."),
    broker("controller.performance.always.log.threshold.ms", Long)
        .default("2000")
        .at_least(0)
        .internal()
        .accepted(reason::METADATA_LOG),
    broker("controller.performance.sample.period.ms", Long)
        .default("60000")
        .at_least(100)
        .internal()
        .accepted(reason::METADATA_LOG),
    broker("controller.quorum.append.linger.ms", Int)
        .default("25")
        .at_least(0)
        .accepted(reason::COORDINATOR_BATCHING),
    broker("controller.quorum.auto.join.enable", Boolean)
        .default("false")
        .low()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.bootstrap.servers", List)
        .default("")
        .non_empty_list()
        .high()
        .used("Where nodes that vote on the cluster metadata are, as `host:port`."),
    broker("controller.quorum.election.backoff.max.ms", Int)
        .default("1000")
        .at_least(0)
        .high()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.election.timeout.ms", Int)
        .default("1000")
        .at_least(0)
        .high()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.fetch.max.bytes", Int)
        .default("1048576")
        .at_least(1)
        .low()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.fetch.snapshot.max.bytes", Int)
        .default("1048576")
        .at_least(1)
        .low()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.fetch.timeout.ms", Int)
        .default("2000")
        .at_least(0)
        .high()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.request.timeout.ms", Int)
        .default("2000")
        .at_least(0)
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.retry.backoff.ms", Int)
        .default("20")
        .at_least(0)
        .low()
        .accepted(reason::SINGLE_NODE),
    broker("controller.quorum.voters", List)
        .default("")
        .non_empty_list()
        .high()
        .used("Nodes that vote on the cluster metadata, as `id@host:port`."),
    broker("controller.socket.timeout.ms", Int).default("30000").accepted(reason::SINGLE_NODE),
    broker("initial.broker.registration.timeout.ms", Int)
        .default("60000")
        .accepted(reason::SINGLE_NODE),
    broker("internal.metadata.delete.delay.millis", Long)
        .default("60000")
        .low()
        .internal()
        .accepted(reason::METADATA_LOG),
    broker("internal.metadata.log.segment.bytes", Int)
        .low()
        .internal()
        .accepted(reason::METADATA_LOG),
    broker("internal.metadata.max.batch.size.in.bytes", Int)
        .default("8388608")
        .low()
        .internal()
        .accepted(reason::METADATA_LOG),
    broker("metadata.log.dir", String).high().accepted(reason::METADATA_LOG),
    broker("metadata.log.max.record.bytes.between.snapshots", Long)
        .default("20971520")
        .at_least(1)
        .high()
        .accepted(reason::METADATA_LOG),
    broker("metadata.log.max.snapshot.interval.ms", Long)
        .default("3600000")
        .at_least(0)
        .high()
        .accepted(reason::METADATA_LOG),
    broker("metadata.log.segment.bytes", Int)
        .default("1073741824")
        .at_least(8_388_608)
        .high()
        .accepted(reason::METADATA_LOG),
    broker("metadata.log.segment.ms", Long)
        .default("604800000")
        .high()
        .accepted(reason::METADATA_LOG),
    broker("metadata.max.idle.interval.ms", Int)
        .default("500")
        .at_least(0)
        .low()
        .accepted(reason::METADATA_LOG),
    broker("metadata.max.retention.bytes", Long)
        .default("104857600")
        .high()
        .accepted(reason::METADATA_LOG),
    broker("metadata.max.retention.ms", Long)
        .default("604800000")
        .high()
        .accepted(reason::METADATA_LOG),
    broker("node.id", Int)
        .default("1")
        .at_least(0)
        .high()
        .used("Number of this node, unique in its cluster; Ottla uses 1 when it is not set."),
    broker("num.recovery.threads.per.data.dir", Int)
        .default("2")
        .at_least(1)
        .high()
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("num.replica.fetchers", Int)
        .default("1")
        .at_least(1)
        .high()
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("process.roles", List)
        .default("broker,controller")
        .each_of(&["broker", "controller"])
        .high()
        .used("What this process is: `broker`, `controller` or both; unset means both."),
    broker("server.max.startup.time.ms", Long)
        .default("9223372036854775807")
        .at_least(0)
        .internal()
        .accepted(reason::SINGLE_NODE),
    broker("unstable.api.versions.enable", Boolean)
        .default("false")
        .high()
        .internal()
        .accepted(reason::UNSTABLE),
    broker("unstable.feature.versions.enable", Boolean)
        .default("false")
        .high()
        .internal()
        .accepted(reason::UNSTABLE),
];
