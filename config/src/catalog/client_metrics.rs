//! Keys of client metrics subscriptions (KIP-714), by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, client_metrics};
use crate::value::Kind::{Int, List};

pub(super) const KEYS: &[ConfigKey] = &[
    client_metrics("interval.ms", Int).default("300000").accepted(reason::CLIENT_METRICS),
    client_metrics("match", List).default("").distinct().accepted(reason::CLIENT_METRICS),
    client_metrics("metrics", List).default("").distinct().accepted(reason::CLIENT_METRICS),
];
