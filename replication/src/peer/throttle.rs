//! What catching up may cost (KIP-73).
//!
//! Owns: the rates of a leader and of followers, which partitions they hold for, and the wait. Never: who is
//! in sync, which is never held back, or where the numbers come from.
//!
//! Both rates are kept where records are sent from. A follower's is kept by each leader that sends to it,
//! where Kafka's follower keeps one for all: with as many leaders as that, more may arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId, PartitionId, Uuid};
use parking_lot::Mutex;

use super::pace::Pace;
use crate::raft::GroupId;

/// A wait is looked at again this often, so that another rate is felt.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Replicas of one topic (`*.replication.throttled.replicas`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    All,
    These(BTreeSet<(PartitionId, NodeId)>),
}

impl ThrottledReplicas {
    fn has(&self, partition: PartitionId, node: NodeId) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&(partition, node)),
        }
    }
}

/// What holds now; no rate is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Bytes a second that this node sends as a leader to replicas that catch up.
    pub leader_rate: Option<u64>,
    /// Bytes a second that go from here to each node whose replicas catch up.
    pub follower_rates: BTreeMap<NodeId, u64>,
    /// By topic: leaders and followers that are held back.
    pub leaders: BTreeMap<Uuid, ThrottledReplicas>,
    pub followers: BTreeMap<Uuid, ThrottledReplicas>,
}

#[derive(Debug, Default)]
struct State {
    settings: ThrottleSettings,
    as_leader: Option<Pace>,
    to: BTreeMap<NodeId, Pace>,
}

/// The throttle of one broker.
#[derive(Debug)]
pub struct Throttle {
    me: NodeId,
    state: Mutex<State>,
}

impl Throttle {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, state: Mutex::default() }
    }

    /// Puts settings in force; what was waited for at another rate is forgotten.
    pub fn set(&self, settings: ThrottleSettings) {
        let mut state = self.state.lock();
        if state.settings == settings {
            return;
        }
        *state = State { settings, ..State::default() };
    }

    /// Takes `bytes` that go to `node` to catch up, and says how long to wait before they do.
    pub(crate) fn take(
        &self,
        group: &GroupId,
        node: NodeId,
        bytes: u64,
        now: MonoTime,
    ) -> Duration {
        let mut state = self.state.lock();
        let State { settings, as_leader, to } = &mut *state;
        let named = |of: &BTreeMap<Uuid, ThrottledReplicas>, node| {
            of.get(&group.topic).is_some_and(|these| these.has(group.partition, node))
        };
        let mut wait = Duration::ZERO;
        if let Some(rate) = settings.leader_rate.filter(|_| named(&settings.leaders, self.me)) {
            let pace = as_leader.get_or_insert_with(|| Pace::new(rate, rate, now));
            wait = pace.take(bytes, now);
        }
        let rate = settings.follower_rates.get(&node).filter(|_| named(&settings.followers, node));
        if let Some(rate) = rate {
            let pace = to.entry(node).or_insert_with(|| Pace::new(*rate, *rate, now));
            wait = wait.max(pace.take(bytes, now));
        }
        wait
    }

    /// Waits until `bytes` more may go to `node`.
    pub(crate) async fn wait(
        &self,
        group: &GroupId,
        node: NodeId,
        bytes: u64,
        clock: impl Fn() -> MonoTime,
    ) {
        let mut left = self.take(group, node, bytes, clock());
        while !left.is_zero() {
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
            left = self.take(group, node, 0, clock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(7);
    const ME: NodeId = NodeId(1);

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(millis))
    }

    fn group(partition: i32) -> GroupId {
        GroupId { topic: TOPIC, partition: PartitionId(partition) }
    }

    fn these(of: &[(i32, i32)]) -> BTreeMap<Uuid, ThrottledReplicas> {
        let of = of.iter().map(|(partition, node)| (PartitionId(*partition), NodeId(*node)));
        BTreeMap::from([(TOPIC, ThrottledReplicas::These(of.collect()))])
    }

    #[test]
    fn a_leader_shares_its_rate_among_all_it_sends_to() {
        let throttle = Throttle::new(ME);
        throttle.set(ThrottleSettings {
            leader_rate: Some(1_000),
            leaders: these(&[(0, 1), (1, 1)]),
            ..ThrottleSettings::default()
        });
        assert_eq!(throttle.take(&group(0), NodeId(2), 1_000, at(0)), Duration::ZERO, "a burst");
        assert_eq!(throttle.take(&group(1), NodeId(3), 500, at(0)), Duration::from_millis(500));
        assert_eq!(throttle.take(&group(2), NodeId(3), 9_000, at(0)), Duration::ZERO, "not named");
    }

    #[test]
    fn a_follower_has_a_rate_of_its_own_and_the_slower_one_counts() {
        let throttle = Throttle::new(ME);
        throttle.set(ThrottleSettings {
            leader_rate: Some(1_000_000),
            follower_rates: BTreeMap::from([(NodeId(2), 100)]),
            leaders: BTreeMap::from([(TOPIC, ThrottledReplicas::All)]),
            followers: these(&[(0, 2)]),
        });
        throttle.take(&group(0), NodeId(2), 100, at(0));
        assert_eq!(throttle.take(&group(0), NodeId(2), 100, at(0)), Duration::from_secs(1));
        assert_eq!(throttle.take(&group(0), NodeId(3), 100, at(0)), Duration::ZERO);
        throttle.set(ThrottleSettings::default());
        assert_eq!(throttle.take(&group(0), NodeId(2), 1 << 30, at(0)), Duration::ZERO, "no more");
    }
}
