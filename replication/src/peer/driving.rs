//! The task that watches over peers and groups.
//!
//! Owns: the ticks of the liveness judge and of the election driver, and carrying out what they decide.
//! Never: the decisions.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::{LeaderEpoch, MonoTime, NodeId};
use tokio::time::MissedTickBehavior;

use super::groups::{GroupRpc, GroupStarter};
use super::links::Links;
use crate::driver::{Elections, Restarts, Vacancy, leaderless};
use crate::leadership::Claim;
use crate::liveness::{Liveness, LivenessEvent};
use crate::raft::GroupId;

/// Between two judgements of liveness; well below the silence that makes a suspect.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at all groups, however much happens.
const SWEEP_MIN: Duration = Duration::from_millis(20);
/// Between two looks at who is in sync; the limit of lag that decides it is many times as long.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// For groups to take note of what they are asked to do.
const ASK_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Driving {
    links: Arc<Links>,
    starter: Option<Arc<dyn GroupStarter>>,
    elections: Elections,
    restarts: Restarts,
    swept: MonoTime,
    /// When the in-sync replicas of all groups that are led here were last asked for.
    counted: MonoTime,
}

impl Driving {
    pub(crate) fn new(links: Arc<Links>, starter: Option<Arc<dyn GroupStarter>>) -> Self {
        let shared = &links.shared;
        let settings = shared.settings.elections.clone();
        let now = shared.now();
        let elections = Elections::new(shared.me, settings, now);
        Self { elections, restarts: Restarts::default(), starter, swept: now, counted: now, links }
    }

    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.links.shared);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut groups = shared.groups.subscribe();
        let mut sweep = true;
        loop {
            let now = shared.now();
            let since = now.since(self.swept);
            if sweep && since < SWEEP_MIN {
                tokio::time::sleep(SWEEP_MIN - since).await;
            }
            let judged = self.judge();
            if judged {
                // Who is silent is out of sync from now on.
                self.counted = MonoTime::default();
            }
            if judged || sweep || since >= shared.settings.elections.sweep_every {
                groups.mark_unchanged();
                self.sweep();
                sweep = false;
            }
            self.stand();
            let next = self.elections.deadline().map(|due| due.since(shared.now()));
            tokio::select! {
                biased;
                () = shared.stopped() => return,
                _tick = ticks.tick() => {}
                Ok(()) = groups.changed() => sweep = true,
                () = wait(next) => {}
            }
        }
    }

    /// Says whether anything changed.
    fn judge(&self) -> bool {
        let shared = &self.links.shared;
        shared.collect_pulses();
        let events = shared.liveness.lock().tick(shared.now());
        for event in &events {
            match event {
                LivenessEvent::Suspected(node) => {
                    tracing::warn!(%node, "a peer is silent and suspected to be gone");
                    shared.table.suspect(*node);
                    shared.groups.running().iter().for_each(|(_, group)| group.peer_down(*node));
                }
                LivenessEvent::Returned(node) => {
                    tracing::info!(%node, "a peer is heard");
                    shared.table.trust(*node);
                }
            }
        }
        !events.is_empty()
    }

    /// Looks at all groups: who leads them, and what this node leads.
    fn sweep(&mut self) {
        let shared = Arc::clone(&self.links.shared);
        let now = shared.now();
        self.swept = now;
        let count = self.counted == MonoTime::default() || now.since(self.counted) >= COUNT_EVERY;
        if count {
            self.counted = now;
        }
        let liveness = shared.liveness.lock().clone();
        let running = shared.groups.running();
        for (id, group) in &running {
            let local = group.leadership();
            if local.here {
                let told = |claim: Option<&Claim>| {
                    claim.is_some_and(|it| it.leader == shared.me && it.epoch == local.epoch)
                };
                let told = shared.table.look(id, told);
                if count || !told {
                    let mut isr = group.isr();
                    if !told {
                        inherit(&mut isr, shared.table.last_claim(id), &group.voters());
                    }
                    isr.retain(|node| !matches!(liveness.of(*node), Liveness::Suspected { .. }));
                    shared.table.claim(*id, local.epoch, isr);
                }
            } else {
                shared.table.resign(id);
            }
            let look = |claim: Option<&_>| leaderless(shared.me, local, claim, |n| liveness.of(n));
            let Some(cause) = shared.table.look(id, look) else {
                self.elections.settled(id, now);
                continue;
            };
            let preference = group.preference();
            let informed = preference.iter().all(|node| {
                *node == shared.me
                    || shared.has_told(*node)
                    || matches!(liveness.of(*node), Liveness::Suspected { .. })
            });
            let fresh = local.epoch == LeaderEpoch::ZERO;
            let (preference, lease_left) = (&*preference, group.lease_left());
            let vacancy = Vacancy { group: *id, cause, preference, informed, fresh, lease_left };
            let random = |below| shared.random_u64() % below;
            self.elections.vacant(&vacancy, |n| liveness.of(n), now, random);
        }
        let runs = |id: &GroupId| running.binary_search_by_key(id, |(id, _)| *id).is_ok();
        for id in self.elections.pending().iter().filter(|id| !runs(id)) {
            self.elections.settled(id, now);
        }
        // What was deleted, moved away, or has stopped is led by this node no more.
        for id in shared.table.led_by(shared.me).iter().filter(|id| !runs(id)) {
            shared.table.resign(id);
        }
        self.restart(now);
    }

    fn restart(&mut self, now: MonoTime) {
        let shared = &self.links.shared;
        let Some(starter) = &self.starter else { return };
        let stopped = shared.groups.all_stopped();
        let random = |below| shared.random_u64() % below;
        let due = self.restarts.due(&stopped, &shared.settings.elections, now, random);
        for id in due {
            tracing::info!(group = %id, "starting a stopped replica again");
            tokio::spawn(starter.restart(id));
        }
    }

    /// Lets those groups stand for election whose time has come.
    fn stand(&mut self) {
        let shared = &self.links.shared;
        let due = self.elections.due(shared.now(), |below| shared.random_u64() % below);
        // Who retires must not take back what it hands over.
        if due.is_empty() || shared.is_retiring() {
            return;
        }
        let mut groups: Vec<Arc<dyn GroupRpc>> =
            due.iter().filter_map(|id| shared.groups.get(id)).collect();
        // Without a majority there is nothing to win, and many groups would try it again and again.
        let reached = |node: &NodeId| *node == shared.me || self.links.is_connected(*node);
        groups.retain(|group| {
            let nodes = group.voters();
            nodes.iter().filter(|node| reached(node)).count() * 2 > nodes.len() || nodes.is_empty()
        });
        tracing::debug!(groups = groups.len(), "standing for election");
        // Not waited for: a group that is busy must not keep this task from judging peers.
        tokio::spawn(async move {
            let asking = futures_util::future::join_all(groups.iter().map(|group| group.elect()));
            if tokio::time::timeout(ASK_MAX, asking).await.is_err() {
                tracing::warn!("groups take more than {ASK_MAX:?} to begin an election");
            }
        });
    }
}

/// A new leader does not know yet who is in sync: those who were under the one before stay, as in Kafka,
/// and all that vote in a new partition. The next count tells who is.
fn inherit(isr: &mut Vec<NodeId>, before: Option<Claim>, replicas: &[NodeId]) {
    let was = |node: &NodeId| before.as_ref().is_none_or(|before| before.isr.contains(node));
    let stay: Vec<NodeId> =
        replicas.iter().copied().filter(|node| was(node) && !isr.contains(node)).collect();
    isr.extend(stay);
    isr.sort_unstable();
}

async fn wait(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span.max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_keeps_those_who_were_in_sync() {
        let replicas = [NodeId(3), NodeId(1), NodeId(2)];
        let inherited = |before: Option<&[i32]>| {
            let claim = before.map(|nodes| Claim {
                leader: NodeId(3),
                epoch: LeaderEpoch(4),
                isr: nodes.iter().copied().map(NodeId).collect(),
            });
            let mut isr = vec![NodeId(1)];
            inherit(&mut isr, claim, &replicas);
            isr.iter().map(|node| node.get()).collect::<Vec<_>>()
        };
        assert_eq!(inherited(None), [1, 2, 3], "a new partition");
        assert_eq!(inherited(Some(&[3, 1])), [1, 3], "2 was out of sync");
        assert_eq!(inherited(Some(&[1, 9])), [1], "9 has no replica any more");
    }
}
