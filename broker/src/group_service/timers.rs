//! One timer for all shards.
//!
//! Owns: the earliest moment at which each shard may have something to do, and the task that waits
//! for it. Never: knows what is due. A shard's moment may be too early (a heartbeat has moved its
//! deadline since): then its tick finds nothing and names the next one. So heartbeats cost no timer.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::model::MonoTime;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::services::Services;
use crate::stop::Stopping;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_shard: Mutex<BTreeMap<i32, MonoTime>>,
    earlier: Notify,
}

impl Deadlines {
    /// The shard is to be ticked at `at`, or earlier if it is already to be.
    pub(super) fn arm(&self, index: i32, at: MonoTime) {
        let mut by_shard = self.by_shard.lock();
        if by_shard.get(&index).is_some_and(|armed| *armed <= at) {
            return;
        }
        let first = by_shard.values().min().is_none_or(|first| at < *first);
        by_shard.insert(index, at);
        drop(by_shard);
        if first {
            self.earlier.notify_one();
        }
    }

    fn next(&self) -> Option<MonoTime> {
        self.by_shard.lock().values().min().copied()
    }

    fn take_due(&self, now: MonoTime) -> Vec<i32> {
        let mut by_shard = self.by_shard.lock();
        let due: Vec<i32> =
            by_shard.iter().filter(|(_, at)| **at <= now).map(|(index, _)| *index).collect();
        for index in &due {
            by_shard.remove(index);
        }
        due
    }
}

/// Ticks shards when they are due, until the broker stops; then closes them.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    let deadlines = Arc::clone(&services.groups.deadlines);
    loop {
        let sleep = async {
            match deadlines.next() {
                Some(at) => services.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopping.stopped() => break,
            () = deadlines.earlier.notified() => {}
            () = sleep => {}
        }
        let now = services.clock.now();
        for index in deadlines.take_due(now.mono) {
            services.groups.tick(index, now);
        }
    }
    services.groups.close();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_moment_of_a_shard_counts() {
        let at = |seconds| MonoTime::from_start(Duration::from_secs(seconds));
        let deadlines = Deadlines::default();
        deadlines.arm(1, at(5));
        deadlines.arm(1, at(9));
        deadlines.arm(2, at(7));
        assert_eq!(deadlines.next(), Some(at(5)));
        assert_eq!(deadlines.take_due(at(7)), [1, 2]);
        assert_eq!(deadlines.next(), None);
        deadlines.arm(1, at(9));
        assert_eq!(deadlines.next(), Some(at(9)));
    }
}
