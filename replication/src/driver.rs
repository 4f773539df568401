//! Elections of all groups of a broker, decided in one place.
//!
//! Owns: when a local replica stands for election, and when a stopped group is started again. Never: how
//! an election goes (that is Raft's), time or randomness of its own: both are arguments.
//!
//! Groups have no timers. A group whose leader is alive and says so costs nothing; one that has none is
//! given to the replica that stands first in the order of preference among those that are alive, and to
//! the next a step later. Elections are safe at any time; being early or late here costs only time.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId};

use crate::leadership::Claim;
use crate::liveness::Liveness;
use crate::peer::groups::GroupLeadership;
use crate::peer::pace::Pace;
use crate::raft::GroupId;

/// The numbers of elections.
#[derive(Clone, Debug)]
pub struct ElectionSettings {
    /// How much later each further replica stands.
    pub rank_step: Duration,
    /// Spread over groups, so that they do not all stand at once.
    pub jitter: Duration,
    /// How long nobody else stands once a leader was voted out: its successor is being elected.
    pub successor_grace: Duration,
    /// After a lease has ended here, until it has ended on the other replicas, too.
    pub lease_margin: Duration,
    /// How long a live node may take to claim what it leads.
    pub claim_grace: Duration,
    /// After the start: until then it is not concluded that nobody leads, unless all have told what they
    /// lead.
    pub start_grace: Duration,
    /// Between two attempts for one group; doubles up to `retry_max`. Shorter than a lease, which is what
    /// an early attempt fails on, and longer than an election takes.
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// Elections that are begun in a second, and at once. The rate falls while they fail, down to
    /// `per_second_min`, and rises as they succeed: a cluster that is too busy to elect must not be made
    /// busier by trying.
    pub per_second: u64,
    pub per_second_min: u64,
    pub burst: u64,
    /// Between two looks at all groups when nothing happens.
    pub sweep_every: Duration,
    /// Before a stopped group is started again; doubles up to `restart_max`.
    pub restart_min: Duration,
    pub restart_max: Duration,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            rank_step: Duration::from_millis(200),
            jitter: Duration::from_millis(50),
            successor_grace: Duration::from_millis(400),
            lease_margin: Duration::from_millis(20),
            claim_grace: Duration::from_millis(1_000),
            start_grace: Duration::from_millis(1_000),
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(3),
            per_second: 400,
            per_second_min: 20,
            burst: 100,
            sweep_every: Duration::from_millis(500),
            restart_min: Duration::from_secs(1),
            restart_max: Duration::from_secs(30),
        }
    }
}

/// Why a group needs an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaderless {
    /// Nobody is known to lead it.
    Nobody,
    /// The one who leads it is silent.
    Suspected(NodeId),
    /// The one who should lead it is alive and does not say that it does.
    Unclaimed(NodeId),
}

/// Whether a group has no leader, as far as is known here.
#[must_use]
pub fn leaderless(
    me: NodeId,
    local: GroupLeadership,
    claim: Option<&Claim>,
    liveness: impl Fn(NodeId) -> Liveness,
) -> Option<Leaderless> {
    if local.here {
        return None;
    }
    let suspected = |node| matches!(liveness(node), Liveness::Suspected { .. });
    if let Some(claim) = claim.filter(|claim| claim.epoch >= local.epoch && claim.leader != me) {
        return suspected(claim.leader).then_some(Leaderless::Suspected(claim.leader));
    }
    match local.leader.map(|replica| replica.node) {
        None => Some(Leaderless::Nobody),
        // It has won and is committing its first entry.
        Some(node) if node == me => None,
        Some(node) if suspected(node) => Some(Leaderless::Suspected(node)),
        Some(node) => Some(Leaderless::Unclaimed(node)),
    }
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    cause: Leaderless,
    due: MonoTime,
    tries: u32,
}

/// What is said of a group that has no leader.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy<'a> {
    pub group: GroupId,
    pub cause: Leaderless,
    /// The nodes that hold replicas, the preferred leader first.
    pub preference: &'a [NodeId],
    /// All nodes that could lead it have told what they lead.
    pub informed: bool,
    /// It never had a leader.
    pub fresh: bool,
    /// How long the lease of the leader before lasts here: nobody would help to elect another, and a
    /// suspicion comes sooner.
    pub lease_left: Duration,
}

/// Tries that may have met nothing but the lease on another replica.
const LEASE_TRIES: u32 = 2;

/// Decides when which group stands for election.
#[derive(Debug)]
pub struct Elections {
    me: NodeId,
    settings: ElectionSettings,
    started: MonoTime,
    attempts: BTreeMap<GroupId, Attempt>,
    pace: Pace,
}

impl Elections {
    #[must_use]
    pub fn new(me: NodeId, settings: ElectionSettings, now: MonoTime) -> Self {
        let pace = Pace::new(settings.per_second, settings.burst, now);
        Self { me, settings, started: now, attempts: BTreeMap::new(), pace }
    }

    /// The group has a leader, or is no longer here.
    pub fn settled(&mut self, group: &GroupId, now: MonoTime) {
        let attempt = self.attempts.remove(group);
        if attempt.is_some_and(|attempt| attempt.tries > 0) {
            let rate = self.pace.per_second() * 1.02 + 1.0;
            self.pace.set_per_second(rate.min(self.settings.per_second as f64), now);
        }
    }

    /// Groups for which an election is to come.
    #[must_use]
    pub fn pending(&self) -> Vec<GroupId> {
        self.attempts.keys().copied().collect()
    }

    /// The group has no leader. `random` gives a number below its argument.
    pub fn vacant(
        &mut self,
        vacancy: &Vacancy<'_>,
        liveness: impl Fn(NodeId) -> Liveness,
        now: MonoTime,
        mut random: impl FnMut(u64) -> u64,
    ) {
        let known = self.attempts.get(&vacancy.group);
        if known.is_some_and(|attempt| attempt.cause == vacancy.cause) {
            return;
        }
        // Those who are unknown may be about to be heard; those who are suspected will not stand.
        let rank = vacancy
            .preference
            .iter()
            .take_while(|node| **node != self.me)
            .filter(|node| !matches!(liveness(**node), Liveness::Suspected { .. }))
            .count();
        let steps = u32::try_from(rank).unwrap_or(u32::MAX);
        let mut delay = self.settings.rank_step.saturating_mul(steps);
        let jitter = u64::try_from(self.settings.jitter.as_micros()).unwrap_or(u64::MAX);
        // Somebody is being elected, maybe: a leader that hands over has its successor stand at once, and
        // whoever else stood now would take votes from it.
        if vacancy.cause == Leaderless::Nobody && !vacancy.fresh {
            delay += self.settings.successor_grace;
        }
        // Standing at the very end of the lease decides how long a failover takes.
        if matches!(vacancy.cause, Leaderless::Suspected(_)) && !vacancy.lease_left.is_zero() {
            delay += vacancy.lease_left + self.settings.lease_margin;
        }
        // The preferred replica of a new group has nobody to collide with.
        if rank > 0 || vacancy.cause != Leaderless::Nobody || !vacancy.fresh {
            delay += Duration::from_micros(random(jitter.max(1)));
        }
        if matches!(vacancy.cause, Leaderless::Unclaimed(_)) {
            delay += self.settings.claim_grace;
        }
        let mut due = now.plus(delay);
        if !vacancy.informed {
            due = due.max(self.started.plus(self.settings.start_grace));
        }
        let attempt = Attempt { cause: vacancy.cause, due, tries: 0 };
        self.attempts.insert(vacancy.group, attempt);
    }

    /// When [`Self::due`] may have something next.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoTime> {
        self.attempts.values().map(|attempt| attempt.due).min()
    }

    /// The groups that stand now, those that waited longest first.
    pub fn due(&mut self, now: MonoTime, mut random: impl FnMut(u64) -> u64) -> Vec<GroupId> {
        let mut due: Vec<_> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.due <= now)
            .map(|(group, attempt)| (attempt.due, *group))
            .collect();
        due.sort_unstable();
        let mut standing = Vec::new();
        for (_, group) in due {
            if !self.pace.try_one(now) {
                break;
            }
            let Some(attempt) = self.attempts.get_mut(&group) else { continue };
            // The first tries may only have met a lease.
            if attempt.tries > LEASE_TRIES {
                let rate = self.pace.per_second() * 0.98;
                self.pace.set_per_second(rate.max(self.settings.per_second_min as f64), now);
            }
            attempt.due = now.plus(backoff(
                (self.settings.retry_min, self.settings.retry_max),
                // What a lease refused is tried again soon: the first try after its end decides how
                // long the failover takes.
                attempt.tries.saturating_sub(LEASE_TRIES),
                &mut random,
            ));
            attempt.tries = attempt.tries.saturating_add(1);
            standing.push(group);
        }
        standing
    }
}

/// `min` doubled `tries` times, at most `max`, and up to half as much again.
fn backoff(
    (min, max): (Duration, Duration),
    tries: u32,
    random: &mut impl FnMut(u64) -> u64,
) -> Duration {
    let span = min.saturating_mul(1 << tries.min(16)).min(max);
    let half = u64::try_from(span.as_micros() / 2).unwrap_or(u64::MAX);
    span + Duration::from_micros(random(half.max(1)))
}

/// Decides when a group that has stopped is started again.
#[derive(Debug, Default)]
pub struct Restarts {
    attempts: BTreeMap<GroupId, (MonoTime, u32)>,
}

impl Restarts {
    /// `stopped` are all groups that have stopped; gives those whose time has come.
    pub fn due(
        &mut self,
        stopped: &[GroupId],
        settings: &ElectionSettings,
        now: MonoTime,
        mut random: impl FnMut(u64) -> u64,
    ) -> Vec<GroupId> {
        let bounds = (settings.restart_min, settings.restart_max);
        // One that runs again is kept for a while: when it stops at once, the pause goes on growing.
        let forget_after = settings.restart_max * 2;
        self.attempts
            .retain(|group, (due, _)| stopped.contains(group) || now.since(*due) < forget_after);
        let mut starting = Vec::new();
        for group in stopped {
            let fresh = || (now.plus(settings.restart_min), 0);
            let (due, tries) = self.attempts.entry(*group).or_insert_with(fresh);
            if *due <= now {
                *due = now.plus(backoff(bounds, *tries + 1, &mut random));
                *tries = tries.saturating_add(1).min(31);
                starting.push(*group);
            }
        }
        starting
    }
}

#[cfg(test)]
mod tests;
