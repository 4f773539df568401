//! Keys of transactions and idempotent producers, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Int, Short};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("add.partitions.to.txn.retry.backoff.max.ms", Int)
        .default("100")
        .at_least(0)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("add.partitions.to.txn.retry.backoff.ms", Int)
        .default("20")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("producer.id.expiration.check.interval.ms", Int)
        .default("600000")
        .at_least(1)
        .low()
        .internal()
        .used("How often expired producers are looked for."),
    broker("producer.id.expiration.ms", Int)
        .default("86400000")
        .at_least(1)
        .low()
        .cluster_wide()
        .used("How long the state of a silent idempotent producer is kept."),
    broker("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int)
        .default("10000")
        .at_least(1)
        .low()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.max.timeout.ms", Int)
        .default("900000")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.partition.verification.enable", Boolean)
        .default("true")
        .low()
        .cluster_wide()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.remove.expired.transaction.cleanup.interval.ms", Int)
        .default("3600000")
        .at_least(1)
        .low()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.state.log.load.buffer.size", Int)
        .default("5242880")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.state.log.min.isr", Int)
        .default("2")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.state.log.num.partitions", Int)
        .default("50")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.state.log.replication.factor", Short)
        .default("3")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.state.log.segment.bytes", Int)
        .default("104857600")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
    broker("transaction.two.phase.commit.enable", Boolean)
        .default("false")
        .low()
        .accepted(reason::TRANSACTIONS),
    broker("transactional.id.expiration.ms", Int)
        .default("604800000")
        .at_least(1)
        .high()
        .accepted(reason::TRANSACTIONS),
];
