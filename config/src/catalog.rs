//! The catalog: every key, by scope and name.
//!
//! Owns: the tables (one file per area) and looking keys up in them, and which topic or group key
//! takes its default from which broker key. Never: holds values.
//! Invariants: names are unique within a scope; the sets equal Apache Kafka 4.3's plus
//! [`OTTLA_PREFIX`] (checked against an extract of what a real broker answers).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::key::{ConfigKey, Scope};
use crate::nearest;

mod client_metrics;
mod group;
mod groups;
mod listeners;
mod log;
mod node;
mod ottla;
mod quotas;
pub(crate) mod reason;
mod remote;
mod replication;
mod sasl;
mod security;
mod share;
mod synonyms;
mod topic;
mod transactions;

pub use synonyms::{broker_default_of_group_key, broker_default_of_topic_key, synonyms};

/// What the names of our own keys start with.
pub const OTTLA_PREFIX: &str = "ottla.";

/// The tables, in the order in which the reference shows them.
const AREAS: &[(&str, &[ConfigKey])] = &[
    ("Ottla's own keys", ottla::KEYS),
    ("Node and quorum", node::KEYS),
    ("Listeners and connections", listeners::KEYS),
    ("Logs", log::KEYS),
    ("Topics of the cluster, replication", replication::KEYS),
    ("Groups and offsets", groups::KEYS),
    ("Share and streams groups", share::KEYS),
    ("Transactions", transactions::KEYS),
    ("Quotas and metrics", quotas::KEYS),
    ("Tiered storage", remote::KEYS),
    ("Security", security::KEYS),
    ("SASL", sasl::KEYS),
    ("Topic keys", topic::KEYS),
    ("Group keys", group::KEYS),
    ("Client metrics keys", client_metrics::KEYS),
];

type Index = BTreeMap<Scope, BTreeMap<&'static str, &'static ConfigKey>>;

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    for key in AREAS.iter().flat_map(|(_, keys)| keys.iter()) {
        index.entry(key.scope).or_default().insert(key.name, key);
    }
    index
});

/// The key of that name, if there is one.
pub fn lookup(scope: Scope, name: &str) -> Option<&'static ConfigKey> {
    INDEX.get(&scope)?.get(name).copied()
}

/// Every key of a scope, by name.
pub fn keys(scope: Scope) -> impl Iterator<Item = &'static ConfigKey> {
    INDEX.get(&scope).into_iter().flat_map(|keys| keys.values().copied())
}

/// Titles and keys of the areas, for the reference and for `config list`.
pub fn areas() -> impl Iterator<Item = (&'static str, &'static [ConfigKey])> {
    AREAS.iter().copied()
}

/// The name that was probably meant.
pub fn nearest_name(scope: Scope, name: &str) -> Option<&'static str> {
    nearest::nearest(name, keys(scope).map(|key| key.name))
}

/// The base key of `listener.name.<listener>.[<mechanism>.]<key>`, which overrides a key for one
/// listener (KIP-103, KIP-226).
pub fn listener_override(name: &str) -> Option<&'static ConfigKey> {
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    lookup(Scope::Broker, rest).or_else(|| lookup(Scope::Broker, rest.split_once('.')?.1))
}

/// Whether the name belongs to a plugin that Kafka would hand it to, and that Ottla does not have.
pub fn is_plugin_key(name: &str) -> bool {
    ["rlmm.config.", "rsm.config.", "config.providers."].iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests;
