//! Keys of sockets, connections, request sizes and the threads behind them, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Int, List, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("advertised.listeners", List).distinct().high().used(
        "Addresses that clients are told to connect to; unset means those of `listeners`, \
         `auto` answers each connection by where it comes from.",
    ),
    broker("background.threads", Int)
        .default("10")
        .at_least(1)
        .high()
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("connections.max.idle.ms", Long)
        .default("600000")
        .used("A connection that carried nothing for this long is closed."),
    broker("controller.listener.names", List).distinct().high().used(
        "Names of the listeners that serve the controller quorum; they are never advertised \
         to clients.",
    ),
    broker("delete.records.purgatory.purge.interval.requests", Int)
        .default("1")
        .accepted(reason::PURGATORY),
    broker("early.start.listeners", List).distinct().high().accepted(reason::SINGLE_NODE),
    broker("fetch.max.bytes", Int)
        .default("57671680")
        .at_least(1_024)
        .used("Most bytes that one fetch answers with, whatever the client asked for."),
    broker("fetch.purgatory.purge.interval.requests", Int)
        .default("1000")
        .accepted(reason::PURGATORY),
    broker("inter.broker.listener.name", String)
        .used("Name of the listener that brokers use among themselves."),
    broker("listener.security.protocol.map", String)
        .default("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT")
        .low()
        .per_broker()
        .used("Which security protocol each listener name speaks, as `NAME:PROTOCOL` pairs."),
    broker("listeners", List).default("PLAINTEXT://:9092").distinct().high().per_broker().used(
        "Addresses to listen on, as `NAME://host:port` separated by commas; an empty host is \
         every interface, port 0 any free port.",
    ),
    broker("log.cleaner.threads", Int)
        .default("1")
        .at_least(0)
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("max.connection.creation.rate", Int)
        .default("2147483647")
        .at_least(0)
        .cluster_wide()
        .used("Most connections accepted in one second."),
    broker("max.connections", Int)
        .default("2147483647")
        .at_least(0)
        .cluster_wide()
        .used("Most connections that this broker keeps open at once."),
    broker("max.connections.per.ip", Int)
        .default("2147483647")
        .at_least(0)
        .cluster_wide()
        .used("Most connections from one address at once."),
    broker("max.connections.per.ip.overrides", String)
        .default("")
        .cluster_wide()
        .used("Exceptions to `max.connections.per.ip`, as `host:count` pairs."),
    broker("max.incremental.fetch.session.cache.slots", Int)
        .default("1000")
        .at_least(0)
        .used("Incremental fetch sessions kept at once."),
    broker("max.request.partition.size.limit", Int)
        .default("2000")
        .at_least(1)
        .used("Most partitions that one DescribeTopicPartitions answer holds."),
    broker("num.io.threads", Int)
        .default("8")
        .at_least(1)
        .high()
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("num.network.threads", Int)
        .default("3")
        .at_least(1)
        .high()
        .cluster_wide()
        .accepted(reason::THREADS),
    broker("num.replica.alter.log.dirs.threads", Int).high().accepted(reason::THREADS),
    broker("producer.purgatory.purge.interval.requests", Int)
        .default("1000")
        .accepted(reason::PURGATORY),
    broker("queued.max.request.bytes", Long).default("-1").used(
        "Memory that requests may take between the socket and their answer; -1 lets the \
         broker choose.",
    ),
    broker("queued.max.requests", Int).default("500").at_least(1).high().accepted(reason::THREADS),
    broker("request.timeout.ms", Int).default("30000").high().accepted(reason::SINGLE_NODE),
    broker("security.inter.broker.protocol", String)
        .default("PLAINTEXT")
        .one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
        .used(
            "Security protocol among brokers; the listener of that name is used when \
         `inter.broker.listener.name` is unset.",
        ),
    broker("socket.connection.setup.timeout.max.ms", Long)
        .default("30000")
        .accepted(reason::SINGLE_NODE),
    broker("socket.connection.setup.timeout.ms", Long)
        .default("10000")
        .accepted(reason::SINGLE_NODE),
    broker("socket.listen.backlog.size", Int)
        .default("50")
        .at_least(1)
        .used("Connections that may wait to be accepted; 1024 unless it is set."),
    broker("socket.receive.buffer.bytes", Int)
        .default("102400")
        .high()
        .used("Receive buffer of client sockets; left to the operating system unless it is set."),
    broker("socket.request.max.bytes", Int)
        .default("104857600")
        .at_least(1)
        .high()
        .used("Largest request frame that is read; a larger one closes the connection."),
    broker("socket.send.buffer.bytes", Int)
        .default("102400")
        .high()
        .used("Send buffer of client sockets; left to the operating system unless it is set."),
];
