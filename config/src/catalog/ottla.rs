//! Keys of our own, under one prefix.
//!
//! What Kafka has a key for is never declared here a second time.

use crate::key::{ConfigKey, broker, topic};
use crate::value::Kind::{Int, String};

/// Words of [`crate::topic::Durability`].
const DURABILITY: &[&str] = &["fsync", "page-cache"];

pub(super) const KEYS: &[ConfigKey] = &[
    broker("ottla.durability", String)
        .default("fsync")
        .one_of(DURABILITY)
        .high()
        .cluster_wide()
        .used(
            "When a write counts as stored: `fsync`, on disk before acks=all is answered, or \
         `page-cache`, in memory of the operating system, as Apache Kafka does it.",
        ),
    broker("ottla.http.listener", String).default("127.0.0.1:9644").used(
        "Address of the HTTP port (health, metrics, JSON); port 0 takes any free one, empty \
         switches it off.",
    ),
    broker("ottla.published.port", Int).default("0").between(0, 65_535).used(
        "Port of the host that is forwarded to the first listener of a container: what clients on the \
         host are told with `advertised.listeners=auto`. 0 is the listener's own port.",
    ),
    topic("ottla.durability", String)
        .default("fsync")
        .one_of(DURABILITY)
        .high()
        .used("When a write to this topic counts as stored: `fsync` or `page-cache`."),
];
