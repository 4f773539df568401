//! Keys of replication and the life of topics in the cluster, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Int, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("auto.create.topics.enable", Boolean)
        .default("true")
        .high()
        .used("Whether a metadata or produce request for an unknown topic creates it."),
    broker("auto.leader.rebalance.enable", Boolean)
        .default("true")
        .high()
        .used("Whether leadership goes back to preferred replicas by itself."),
    broker("controlled.shutdown.enable", Boolean)
        .default("true")
        .used("Whether leadership is moved to other brokers before this one stops."),
    broker("default.replication.factor", Int)
        .default("1")
        .used("Replicas of a topic that is created without a number."),
    broker("delete.topic.enable", Boolean)
        .default("true")
        .high()
        .used("Whether topics may be deleted."),
    broker("leader.imbalance.check.interval.seconds", Long)
        .default("300")
        .at_least(1)
        .high()
        .used("Time between two looks whether preferred replicas lead."),
    broker("replica.fetch.backoff.ms", Int)
        .default("1000")
        .at_least(0)
        .accepted(reason::SINGLE_NODE),
    broker("replica.fetch.max.bytes", Int)
        .default("1048576")
        .at_least(0)
        .accepted(reason::SINGLE_NODE),
    broker("replica.fetch.min.bytes", Int).default("1").high().accepted(reason::SINGLE_NODE),
    broker("replica.fetch.response.max.bytes", Int)
        .default("10485760")
        .at_least(0)
        .accepted(reason::SINGLE_NODE),
    broker("replica.fetch.wait.max.ms", Int).default("500").high().accepted(reason::SINGLE_NODE),
    broker("replica.high.watermark.checkpoint.interval.ms", Long)
        .default("5000")
        .high()
        .accepted(reason::SINGLE_NODE),
    broker("replica.lag.time.max.ms", Long)
        .default("30000")
        .high()
        .used("A replica that did not have everything for this long is not in sync."),
    broker("replica.selector.class", String)
        .used(
            "Which replica a consumer with a `client.rack` is sent to (KIP-392): the leader, which null \
             means, too, or with Kafka's RackAwareReplicaSelector one in its rack. Both are built in.",
        ),
    broker("replica.socket.receive.buffer.bytes", Int)
        .default("65536")
        .high()
        .accepted(reason::SINGLE_NODE),
    broker("replica.socket.timeout.ms", Int).default("30000").high().accepted(reason::SINGLE_NODE),
    broker("unclean.leader.election.enable", Boolean)
        .default("false")
        .high()
        .cluster_wide()
        .accepted(reason::UNCLEAN_ELECTION),
    broker("unclean.leader.election.interval.ms", Long)
        .default("300000")
        .at_least(1)
        .internal()
        .accepted(reason::UNCLEAN_ELECTION),
];
