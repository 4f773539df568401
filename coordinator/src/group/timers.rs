//! The deadlines of one shard's groups.
//!
//! Owns: at most one deadline per key, and which is next. Never: fires by itself.
//! Invariant: `by_key` and `queue` hold the same pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::model::MonoTime;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum TimerKind {
    /// The join phase of a rebalance ends.
    Join,
    /// Members that have not sent SyncGroup are removed.
    Sync,
    /// A member has not been heard of.
    Session(Arc<str>),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TimerKey {
    pub(crate) group: Arc<str>,
    pub(crate) kind: TimerKind,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    by_key: BTreeMap<TimerKey, MonoTime>,
    queue: BTreeSet<(MonoTime, TimerKey)>,
}

impl Timers {
    /// Sets the deadline of a key, in place of the one it had.
    pub(crate) fn schedule(&mut self, group: &Arc<str>, kind: TimerKind, at: MonoTime) {
        let key = TimerKey { group: Arc::clone(group), kind };
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            if before == at {
                return;
            }
            self.queue.remove(&(before, key.clone()));
        }
        self.queue.insert((at, key));
    }

    pub(crate) fn cancel(&mut self, group: &Arc<str>, kind: TimerKind) {
        self.cancel_key(TimerKey { group: Arc::clone(group), kind });
    }

    pub(crate) fn cancel_group(&mut self, group: &Arc<str>) {
        let first = TimerKey { group: Arc::clone(group), kind: TimerKind::Join };
        let of_group: Vec<TimerKey> = self
            .by_key
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.group == *group)
            .cloned()
            .collect();
        for key in of_group {
            self.cancel_key(key);
        }
    }

    /// Takes the earliest key whose deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: MonoTime) -> Option<TimerKey> {
        let (at, _) = self.queue.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(crate) fn next(&self) -> Option<MonoTime> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_set(&self, group: &Arc<str>, kind: TimerKind) -> bool {
        self.by_key.contains_key(&TimerKey { group: Arc::clone(group), kind })
    }

    fn cancel_key(&mut self, key: TimerKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.queue.remove(&(at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_key_has_one_deadline() {
        let group: Arc<str> = "g".into();
        let mut timers = Timers::default();
        timers.schedule(&group, TimerKind::Join, at(5));
        timers.schedule(&group, TimerKind::Join, at(9));
        timers.schedule(&group, TimerKind::Sync, at(7));
        assert_eq!(timers.next(), Some(at(7)));
        assert_eq!(timers.pop_due(at(6)), None);
        assert_eq!(timers.pop_due(at(9)).unwrap().kind, TimerKind::Sync);
        assert_eq!(timers.pop_due(at(9)).unwrap().kind, TimerKind::Join);
        assert_eq!(timers.pop_due(at(9)), None);
    }

    #[test]
    fn a_group_goes_with_all_its_deadlines() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut timers = Timers::default();
        timers.schedule(&a, TimerKind::Session("m".into()), at(1));
        timers.schedule(&a, TimerKind::Join, at(2));
        timers.schedule(&b, TimerKind::Sync, at(3));
        timers.cancel_group(&a);
        assert_eq!(timers.next(), Some(at(3)));
        assert!(timers.is_set(&b, TimerKind::Sync));
    }
}
