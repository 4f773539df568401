//! What all connections of a broker have in common.
//!
//! Owns: who this node is, its clocks, what was last heard of each peer, and the list of problems. Never:
//! a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId, Timestamp, Uuid};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use super::control::ControlService;
use super::dial::{AddressBook, Dial};
use super::error::{LinkError, Refusal};
use super::groups::Groups;
use super::hello::PeerInfo;
use super::settings::PeerSettings;
use super::throttle::Throttle;
use crate::leadership::{Announcement, LeadershipTable};
use crate::liveness::{Liveness, PeerLiveness};

/// Gives the wall clock.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Something that an operator has to know of, with its cause and its cure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerProblem {
    #[error(
        "the clock of node {node} is {} s {} of this node's; let both follow NTP: retention, \
         timestamps of records and transactions depend on it",
        millis.unsigned_abs() / 1_000,
        if *millis < 0 { "behind" } else { "ahead" }
    )]
    ClockSkew { node: NodeId, millis: i64 },
    #[error(transparent)]
    Refused(Refusal),
    #[error(
        "node {node} cannot be reached at {address}: {error}; check that it runs, that the name \
         resolves, and that the port is that of its CONTROLLER listener"
    )]
    Unreachable { node: NodeId, address: String, error: String },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Trouble {
    Clock,
    Reaching,
    BeingReached,
}

/// When a peer was last heard; written on every read of a socket, hence without a lock.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Microseconds since the start, plus one; zero is never.
    heard: AtomicU64,
    nobody_there: AtomicU64,
    /// Of the last heartbeat that was answered, in microseconds; zero is none.
    round_trip: AtomicU64,
}

impl Pulse {
    pub(crate) fn note_round_trip(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.round_trip.store(micros, Ordering::Relaxed);
    }
}

/// The groups that begin to run at a peer, as its heartbeats tell.
#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    /// As of the last heartbeat.
    begun: u64,
    /// For how many of them the groups here were told.
    greeted: u64,
}

impl Arrivals {
    /// Takes in a heartbeat; whether groups have begun to run, and no more did since the one before. They
    /// come by the thousand when a broker starts, and all groups here are told each time.
    fn hear(&mut self, begun: u64) -> bool {
        let settled = begun == self.begun && begun != self.greeted;
        self.begun = begun;
        if settled {
            self.greeted = begun;
        }
        settled
    }
}

#[derive(Clone, Debug)]
struct Identity {
    cluster: Option<String>,
    directories: Vec<Uuid>,
}

pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) addresses: Arc<dyn AddressBook>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) control: Arc<dyn ControlService>,
    pub(crate) settings: PeerSettings,
    pub(crate) table: Arc<LeadershipTable>,
    pub(crate) throttle: Throttle,
    pub(crate) liveness: Mutex<PeerLiveness>,
    wall: WallClock,
    identity: RwLock<Identity>,
    pulses: RwLock<BTreeMap<NodeId, Arc<Pulse>>>,
    incarnations: Mutex<BTreeMap<NodeId, u64>>,
    told: Mutex<BTreeSet<NodeId>>,
    arrivals: Mutex<BTreeMap<NodeId, Arrivals>>,
    problems: Mutex<BTreeMap<(NodeId, Trouble), PeerProblem>>,
    random: Mutex<u64>,
    start: Instant,
    retiring: AtomicBool,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("me", &self.me).finish_non_exhaustive()
    }
}

/// What [`Shared`] is made of.
pub(crate) struct SharedParts {
    pub(crate) me: NodeId,
    pub(crate) cluster: Option<String>,
    pub(crate) directories: Vec<Uuid>,
    pub(crate) incarnation: u64,
    pub(crate) seed: u64,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) addresses: Arc<dyn AddressBook>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) control: Arc<dyn ControlService>,
    pub(crate) wall: WallClock,
    pub(crate) settings: PeerSettings,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        let SharedParts { cluster, directories, .. } = parts;
        Self {
            me: parts.me,
            incarnation: parts.incarnation,
            dial: parts.dial,
            addresses: parts.addresses,
            groups: parts.groups,
            control: parts.control,
            table: Arc::new(LeadershipTable::new(parts.me)),
            throttle: Throttle::new(parts.me),
            liveness: Mutex::new(PeerLiveness::new(parts.settings.liveness)),
            settings: parts.settings,
            wall: parts.wall,
            identity: RwLock::new(Identity { cluster, directories }),
            pulses: RwLock::default(),
            incarnations: Mutex::default(),
            told: Mutex::default(),
            arrivals: Mutex::default(),
            problems: Mutex::default(),
            random: Mutex::new(parts.seed ^ parts.incarnation.rotate_left(32)),
            start: Instant::now(),
            retiring: AtomicBool::new(false),
            stop: watch::Sender::new(false),
        }
    }

    /// This node as it introduces itself.
    pub(crate) fn info(&self) -> PeerInfo {
        let Identity { cluster, directories } = self.identity.read().clone();
        PeerInfo {
            node: self.me,
            cluster,
            directories,
            incarnation: self.incarnation,
            wall: self.wall(),
            card: self.control.card(),
        }
    }

    pub(crate) fn set_cluster(&self, id: String) {
        self.identity.write().cluster = Some(id);
    }

    pub(crate) fn set_directories(&self, ids: Vec<Uuid>) {
        self.identity.write().directories = ids;
    }

    pub(crate) fn wall(&self) -> Timestamp {
        (self.wall)()
    }

    pub(crate) fn now(&self) -> MonoTime {
        MonoTime::from_start(self.start.elapsed())
    }

    pub(crate) fn pulse(&self, node: NodeId) -> Arc<Pulse> {
        if let Some(pulse) = self.pulses.read().get(&node) {
            return Arc::clone(pulse);
        }
        Arc::clone(self.pulses.write().entry(node).or_default())
    }

    /// Of the last heartbeat that was answered, by peer.
    pub(crate) fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let pulses = self.pulses.read();
        let measured =
            pulses.iter().map(|(node, of)| (*node, of.round_trip.load(Ordering::Relaxed)));
        measured
            .filter(|(_, us)| *us > 0)
            .map(|(node, us)| (node, Duration::from_micros(us)))
            .collect()
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    pub(crate) fn heard(&self, pulse: &Pulse) {
        pulse.heard.store(self.micros(), Ordering::Relaxed);
    }

    /// For how long nothing was heard.
    pub(crate) fn silent_for(&self, pulse: &Pulse) -> Duration {
        let silent = self.micros().saturating_sub(pulse.heard.load(Ordering::Relaxed));
        Duration::from_micros(silent)
    }

    pub(crate) fn nobody_there(&self, pulse: &Pulse) {
        pulse.nobody_there.store(self.micros(), Ordering::Relaxed);
    }

    /// Hands what was heard to the judge.
    pub(crate) fn collect_pulses(&self) {
        let at = |micros: u64| MonoTime::from_start(Duration::from_micros(micros));
        let mut liveness = self.liveness.lock();
        for (node, pulse) in &*self.pulses.read() {
            match pulse.heard.load(Ordering::Relaxed) {
                0 => {}
                heard => liveness.on_heard(*node, at(heard)),
            }
            match pulse.nobody_there.swap(0, Ordering::Relaxed) {
                0 => {}
                since => liveness.on_nobody_there(*node, at(since)),
            }
        }
    }

    pub(crate) fn liveness(&self, node: NodeId) -> Liveness {
        self.liveness.lock().of(node)
    }

    /// `node` is no longer of the cluster.
    pub(crate) fn forget(&self, node: NodeId) {
        self.pulses.write().remove(&node);
        self.liveness.lock().forget(node);
        self.told.lock().remove(&node);
        self.arrivals.lock().remove(&node);
        self.table.forget(node);
        for trouble in [Trouble::Clock, Trouble::Reaching, Trouble::BeingReached] {
            self.problems.lock().remove(&(node, trouble));
        }
    }

    /// `node` has told what it leads.
    pub(crate) fn has_told(&self, node: NodeId) -> bool {
        self.told.lock().contains(&node)
    }

    /// Takes in what `node` says it leads.
    pub(crate) fn hear(&self, node: NodeId, changes: Vec<Announcement>) {
        self.table.hear(node, changes);
        if self.told.lock().insert(node) {
            // Who waited for this node's word may conclude now.
            self.groups.changed();
        }
    }

    /// Groups of `node` have begun to run, of which nothing was known here: what they were sent before was
    /// lost.
    pub(crate) fn hear_begun(&self, node: NodeId, begun: u64) {
        if self.arrivals.lock().entry(node).or_default().hear(begun) {
            self.reached(node);
        }
    }

    /// Tells the groups that `node` can be reached.
    pub(crate) fn reached(&self, node: NodeId) {
        // Beside the reading and writing, which groups wait for.
        let groups = self.groups.running();
        tokio::spawn(async move {
            for (_, group) in groups {
                group.peer_up(node).await;
            }
        });
    }

    /// A peer introduced itself: what its predecessor claimed is void if it was started anew.
    pub(crate) fn meet(&self, info: &PeerInfo) {
        let old = self.incarnations.lock().insert(info.node, info.incarnation);
        if old.is_some_and(|old| old != info.incarnation) {
            self.told.lock().remove(&info.node);
            self.arrivals.lock().remove(&info.node);
            self.table.forget(info.node);
        }
        self.check_clock(info.node, info.wall);
    }

    /// Reports a clock that is too far from ours.
    pub(crate) fn check_clock(&self, node: NodeId, theirs: Timestamp) {
        let millis = theirs.millis_since(self.wall());
        let limit = u64::try_from(self.settings.clock_skew_max.as_millis()).unwrap_or(u64::MAX);
        if millis.unsigned_abs() > limit {
            self.report(node, Trouble::Clock, PeerProblem::ClockSkew { node, millis });
        } else {
            self.settle(node, Trouble::Clock);
        }
    }

    /// Reports why a node is not reached.
    pub(crate) fn report_link(&self, node: NodeId, address: &str, error: &LinkError) {
        let problem = match error {
            LinkError::Refused(refusal) => PeerProblem::Refused(refusal.clone()),
            error => PeerProblem::Unreachable {
                node,
                address: address.to_owned(),
                error: error.to_string(),
            },
        };
        self.report(node, Trouble::Reaching, problem);
    }

    pub(crate) fn report(&self, node: NodeId, trouble: Trouble, problem: PeerProblem) {
        let old = self.problems.lock().insert((node, trouble), problem.clone());
        // A clock's distance differs a little each time; the same trouble is told once.
        let same_kind =
            old.as_ref().map(std::mem::discriminant) == Some(std::mem::discriminant(&problem));
        if !same_kind {
            tracing::warn!(%node, "{problem}");
        }
    }

    pub(crate) fn settle(&self, node: NodeId, trouble: Trouble) {
        if self.problems.lock().remove(&(node, trouble)).is_some() {
            tracing::info!(%node, ?trouble, "the trouble with this node is over");
        }
    }

    pub(crate) fn problems(&self) -> Vec<PeerProblem> {
        self.problems.lock().values().cloned().collect()
    }

    /// `span` give or take a quarter of it.
    pub(crate) fn jittered(&self, span: Duration) -> Duration {
        let share = self.random_u64() % 1_024;
        span.mul_f64(0.75 + share as f64 / 2_048.0)
    }

    /// The next of a sequence that the seed decides (SplitMix64).
    pub(crate) fn random_u64(&self) -> u64 {
        let mut state = self.random.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn retire(&self) {
        self.retiring.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Completes once [`Self::stop`] was called.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`: an error cannot come before the end.
        let _ended = stop.wait_for(|stop| *stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_begin_are_greeted_once_they_are_all_there() {
        let mut of = Arrivals::default();
        let heard: Vec<bool> = [0, 0, 3, 9, 9, 9, 10, 10, 10].map(|begun| of.hear(begun)).into();
        assert_eq!(heard, [false, false, false, false, true, false, false, true, false]);
    }
}
