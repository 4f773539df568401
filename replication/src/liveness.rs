//! Which brokers are alive, judged by when they were last heard.
//!
//! Owns: the judgement. Never: a clock, a socket, or what follows from a suspicion.
//!
//! Invariant: after this process itself stood still (stopped, swapped out, a long pause of the machine)
//! nobody is suspected for the time in which it could not have heard anyone.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId};

/// What is known of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// It was never heard.
    Unknown,
    Alive,
    /// It was heard once, and not for too long since.
    Suspected {
        since: MonoTime,
    },
}

/// When a peer is suspected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LivenessSettings {
    /// Silence after which a peer is suspected.
    pub suspect_after: Duration,
    /// The same when nobody listens at its address any more, so that its process is gone.
    pub suspect_gone_after: Duration,
    /// How much silence a tick counts at most. What passes between two ticks beyond that is a pause of
    /// this process, or a machine so busy that it hears late as well.
    pub tick_max: Duration,
}

impl Default for LivenessSettings {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_millis(1_000),
            suspect_gone_after: Duration::from_millis(200),
            tick_max: Duration::from_millis(200),
        }
    }
}

/// What a tick found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LivenessEvent {
    Suspected(NodeId),
    /// Heard for the first time, or again.
    Returned(NodeId),
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    heard: MonoTime,
    /// Nobody listened at its address at this time, and it was not heard since.
    gone: Option<MonoTime>,
    judged: Liveness,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct PeerLiveness {
    settings: LivenessSettings,
    peers: BTreeMap<NodeId, Peer>,
    ticked: Option<MonoTime>,
}

impl PeerLiveness {
    #[must_use]
    pub fn new(settings: LivenessSettings) -> Self {
        Self { settings, peers: BTreeMap::new(), ticked: None }
    }

    /// Bytes came from `node`.
    pub fn on_heard(&mut self, node: NodeId, at: MonoTime) {
        let fresh = Peer { heard: at, gone: None, judged: Liveness::Unknown };
        let peer = self.peers.entry(node).or_insert(fresh);
        if at > peer.heard {
            peer.heard = at;
            peer.gone = None;
        }
    }

    /// A connection to `node` was refused by its machine: its process does not run.
    pub fn on_nobody_there(&mut self, node: NodeId, at: MonoTime) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.gone.get_or_insert(at);
        }
    }

    /// `node` is no longer of the cluster.
    pub fn forget(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    #[must_use]
    pub fn of(&self, node: NodeId) -> Liveness {
        self.peers.get(&node).map_or(Liveness::Unknown, |peer| peer.judged)
    }

    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.of(node) == Liveness::Alive
    }

    /// Judges anew; to be called more often than every [`LivenessSettings::tick_max`].
    pub fn tick(&mut self, now: MonoTime) -> Vec<LivenessEvent> {
        let stood_still = self
            .ticked
            .map(|last| now.since(last).saturating_sub(self.settings.tick_max))
            .unwrap_or_default();
        self.ticked = Some(now);
        let mut events = Vec::new();
        for (node, peer) in &mut self.peers {
            peer.heard = peer.heard.plus(stood_still).min(now);
            peer.gone = peer.gone.map(|at| at.plus(stood_still).min(now));
            let silent = now.since(peer.heard) >= self.settings.suspect_after;
            let gone =
                peer.gone.is_some_and(|at| now.since(at) >= self.settings.suspect_gone_after);
            match (silent || gone, peer.judged) {
                (true, Liveness::Alive | Liveness::Unknown) => {
                    peer.judged = Liveness::Suspected { since: now };
                    events.push(LivenessEvent::Suspected(*node));
                }
                (false, Liveness::Suspected { .. } | Liveness::Unknown) => {
                    peer.judged = Liveness::Alive;
                    events.push(LivenessEvent::Returned(*node));
                }
                _ => {}
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(millis))
    }

    fn judge() -> PeerLiveness {
        PeerLiveness::new(LivenessSettings::default())
    }

    /// Ticks every 100 ms up to `to`.
    fn run(judge: &mut PeerLiveness, from: u64, to: u64) -> Vec<(u64, LivenessEvent)> {
        (from..=to)
            .step_by(100)
            .flat_map(|ms| judge.tick(at(ms)).into_iter().map(move |event| (ms, event)))
            .collect()
    }

    #[test]
    fn silence_is_suspected_and_ends_when_something_is_heard() {
        let mut judge = judge();
        assert_eq!(judge.of(A), Liveness::Unknown);
        judge.on_heard(A, at(0));
        assert_eq!(
            run(&mut judge, 0, 2_000),
            [(0, LivenessEvent::Returned(A)), (1_000, LivenessEvent::Suspected(A))]
        );
        assert_eq!(judge.of(A), Liveness::Suspected { since: at(1_000) });
        judge.on_heard(A, at(2_050));
        assert_eq!(run(&mut judge, 2_100, 2_200), [(2_100, LivenessEvent::Returned(A))]);
        assert!(judge.is_alive(A));
    }

    #[test]
    fn one_who_is_heard_is_not_suspected() {
        let mut judge = judge();
        for ms in (0..10_000).step_by(100) {
            if ms % 900 == 0 {
                judge.on_heard(A, at(ms));
            }
            judge.on_heard(B, at(ms));
            let events = judge.tick(at(ms));
            assert!(ms == 0 || events.is_empty(), "{ms}: {events:?}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_suspected_sooner_unless_it_is_heard() {
        let mut judge = judge();
        judge.on_heard(A, at(0));
        judge.on_heard(B, at(0));
        run(&mut judge, 0, 100);
        judge.on_nobody_there(A, at(120));
        judge.on_nobody_there(A, at(220));
        judge.on_nobody_there(B, at(120));
        judge.on_heard(B, at(150));
        assert_eq!(run(&mut judge, 200, 600), [(400, LivenessEvent::Suspected(A))]);
    }

    #[test]
    fn an_own_pause_is_not_held_against_others() {
        let mut judge = judge();
        judge.on_heard(A, at(0));
        run(&mut judge, 0, 500);
        // Stopped for an hour; half a second of silence was counted before.
        let resumed = 3_600_000;
        assert_eq!(judge.tick(at(resumed)), []);
        assert_eq!(
            run(&mut judge, resumed + 100, resumed + 1_000),
            [(resumed + 300, LivenessEvent::Suspected(A))]
        );
    }

    /// A machine that is too busy hears late: it must not take its own lateness for others' silence, and
    /// must still find out who is gone.
    #[test]
    fn a_process_that_is_late_itself_waits_longer() {
        let mut judge = judge();
        judge.on_heard(A, at(0));
        let suspected = (0..20_000)
            .step_by(600)
            .find(|ms| judge.tick(at(*ms)).contains(&LivenessEvent::Suspected(A)));
        // Five ticks count 200 ms each.
        assert_eq!(suspected, Some(3_000));
    }

    #[test]
    fn one_who_left_is_forgotten() {
        let mut judge = judge();
        judge.on_heard(A, at(0));
        run(&mut judge, 0, 0);
        judge.forget(A);
        assert_eq!(run(&mut judge, 100, 3_000), []);
        assert_eq!(judge.of(A), Liveness::Unknown);
    }
}
