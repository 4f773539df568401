//! The driver of compaction.
//!
//! Owns: the order of cleanings, `log.cleaner.io.max.bytes.per.second`, and that a stop ends one soon.
//! Never: what survives.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, TopicPartition};
use ottla_storage::cleaner::MapMemory;
use ottla_storage::cleaner::range::CompactionSettings;

use crate::services::Services;

/// Cleans log after log until none is due.
pub(super) fn run(services: &Services) {
    let config = services.configuration();
    let cleaner = &config.broker.log.cleaner;
    let memory = MapMemory {
        bytes: cleaner.dedupe_buffer.to_usize(),
        seeds: [services.random.next_u64(), services.random.next_u64()],
    };
    let mut rate = Rate::of(cleaner.io_bytes_per_second_max, services.clock.now().mono);
    loop {
        let now = services.clock.now();
        let settings = |name: &TopicPartition| settings_of(services, name);
        let mut budget = |bytes: u64| {
            if services.draining.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            rate.spend(bytes, services.clock.now().mono);
            ControlFlow::Continue(())
        };
        if !services.replicas.compact_one(settings, memory, now, &mut budget) {
            return;
        }
    }
}

fn settings_of(services: &Services, name: &TopicPartition) -> Option<CompactionSettings> {
    let topic = services.topics.by_name(&name.topic)?;
    let config = &topic.config;
    config.cleanup_policy.compact.then_some(CompactionSettings {
        dirty_ratio_min: config.min_cleanable_dirty_ratio,
        lag_min: config.min_compaction_lag,
        lag_max: config.max_compaction_lag,
        delete_retention: config.delete_retention,
    })
}

/// Keeps reading and writing below a rate.
struct Rate {
    bytes_per_second: f64,
    started: MonoTime,
    spent: f64,
}

impl Rate {
    fn of(bytes_per_second: f64, now: MonoTime) -> Self {
        Self { bytes_per_second, started: now, spent: 0.0 }
    }

    /// Waits until the bytes spent so far fit the rate.
    fn spend(&mut self, bytes: u64, now: MonoTime) {
        /// Longest single wait, so that a stop is seen.
        const WAIT_MAX: Duration = Duration::from_secs(1);
        #[allow(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let bytes = bytes as f64;
        self.spent += bytes;
        let due = Duration::try_from_secs_f64(self.spent / self.bytes_per_second);
        if let Some(wait) = due.ok().and_then(|due| due.checked_sub(now.since(self.started))) {
            std::thread::sleep(wait.min(WAIT_MAX));
        }
    }
}
