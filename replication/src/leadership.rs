//! Who leads which partition, in the whole cluster, as far as this broker has heard.
//!
//! Owns: the claims of leaders, and what has changed for whom. Never: who should lead, or anything that
//! must survive a restart: this is soft state, fed by local groups and by the peers' heartbeats, so that a
//! failover writes nothing to the metadata log.
//!
//! Invariant: of two claims the one with the higher epoch stands; a node's claims go when it starts
//! anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::model::{LeaderEpoch, NodeId};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::raft::GroupId;

/// A leader's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
    /// The nodes whose replicas are in sync; the leader's own first.
    pub isr: Vec<NodeId>,
}

/// What a node says of one group: it leads in this epoch, or it no longer does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    pub group: GroupId,
    pub epoch: LeaderEpoch,
    /// None when the node has stopped leading.
    pub isr: Option<Vec<NodeId>>,
}

/// Announcements up to a number of this node's own counting.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announcements {
    /// Everything up to here is in these or in earlier ones.
    pub upto: u64,
    pub changes: Vec<Announcement>,
}

#[derive(Default)]
struct State {
    claims: BTreeMap<GroupId, Claim>,
    /// What this node has to tell: the latest of each group, by number.
    told: BTreeMap<u64, Announcement>,
    number_of: BTreeMap<GroupId, u64>,
    last_number: u64,
    suspected: BTreeSet<NodeId>,
}

/// What became of the groups that this node leads, counted since it started.
#[derive(Debug, Default)]
pub struct LeadershipCounts {
    /// Elections that this node won.
    pub elected: AtomicU64,
    /// In-sync sets that lost a replica, and
    pub shrunk: AtomicU64,
    /// that got one back.
    pub expanded: AtomicU64,
}

/// The table.
pub struct LeadershipTable {
    me: NodeId,
    state: RwLock<State>,
    version: watch::Sender<u64>,
    /// Changes when this node has something new to tell.
    news: watch::Sender<u64>,
    counts: LeadershipCounts,
}

impl fmt::Debug for LeadershipTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.state.read().claims.len();
        f.debug_struct("LeadershipTable").field("me", &self.me).field("claims", &claims).finish()
    }
}

impl LeadershipTable {
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        let (version, news) = (watch::Sender::new(0), watch::Sender::new(0));
        let counts = LeadershipCounts::default();
        Self { me, state: RwLock::default(), version, news, counts }
    }

    /// The leader of a group; none while nobody claims it, or while the one who does is suspected to be
    /// gone.
    #[must_use]
    pub fn leader(&self, group: &GroupId) -> Option<Claim> {
        let state = self.state.read();
        state.claims.get(group).filter(|claim| !state.suspected.contains(&claim.leader)).cloned()
    }

    /// The last claim, whether or not the one who made it is alive.
    #[must_use]
    pub fn last_claim(&self, group: &GroupId) -> Option<Claim> {
        self.state.read().claims.get(group).cloned()
    }

    /// As [`Self::last_claim`], without a copy.
    pub fn look<T>(&self, group: &GroupId, look: impl FnOnce(Option<&Claim>) -> T) -> T {
        look(self.state.read().claims.get(group))
    }

    /// The groups that `node` claims, in order.
    #[must_use]
    pub fn led_by(&self, node: NodeId) -> Vec<GroupId> {
        let state = self.state.read();
        state.claims.iter().filter(|(_, claim)| claim.leader == node).map(|(id, _)| *id).collect()
    }

    /// Changes whenever an answer of this table may have changed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// This node leads `group`. Told to the others when it is new to them.
    pub fn claim(&self, group: GroupId, epoch: LeaderEpoch, isr: Vec<NodeId>) {
        let mut state = self.state.write();
        let claim = Claim { leader: self.me, epoch, isr };
        match state.claims.get(&group) {
            Some(old) if *old == claim || old.epoch > epoch => return,
            old => self.counts.count(old, &claim),
        }
        state.tell(Announcement { group, epoch, isr: Some(claim.isr.clone()) });
        state.claims.insert(group, claim);
        drop(state);
        self.bump(&self.news);
        self.bump(&self.version);
    }

    /// This node no longer leads `group`, if it did; or it has no replica of it any more.
    pub fn resign(&self, group: &GroupId) {
        let mut state = self.state.write();
        let Some(told) = state.number_of.get(group).and_then(|number| state.told.get(number))
        else {
            return;
        };
        if told.isr.is_none() {
            return;
        }
        let epoch = told.epoch;
        state.tell(Announcement { group: *group, epoch, isr: None });
        if state.claims.get(group).is_some_and(|claim| claim.leader == self.me) {
            state.claims.remove(group);
        }
        drop(state);
        self.bump(&self.news);
        self.bump(&self.version);
    }

    /// What changed after number `after` of this node's counting, at most `most` of it.
    #[must_use]
    pub fn announcements(&self, after: u64, most: usize) -> Announcements {
        let state = self.state.read();
        let mut news = state.told.range(after.saturating_add(1)..);
        let changes: Vec<_> = news.by_ref().take(most).map(|(number, it)| (*number, it)).collect();
        let upto = match (news.next(), changes.last()) {
            (Some(_), Some((number, _))) => *number,
            _ => state.last_number,
        };
        Announcements { upto, changes: changes.into_iter().map(|(_, it)| it.clone()).collect() }
    }

    /// Takes in what `from` says.
    pub fn hear(&self, from: NodeId, changes: Vec<Announcement>) {
        if changes.is_empty() || from == self.me {
            return;
        }
        let mut state = self.state.write();
        for Announcement { group, epoch, isr } in changes {
            let old = state.claims.get(&group);
            match isr {
                Some(isr) => {
                    if old.is_none_or(|old| old.epoch <= epoch) {
                        state.claims.insert(group, Claim { leader: from, epoch, isr });
                    }
                }
                None => {
                    if old.is_some_and(|old| old.leader == from && old.epoch <= epoch) {
                        state.claims.remove(&group);
                    }
                }
            }
        }
        drop(state);
        self.bump(&self.version);
    }

    /// `node` has started anew, or is no longer of the cluster: it leads nothing that it led before.
    pub fn forget(&self, node: NodeId) {
        let mut state = self.state.write();
        let before = state.claims.len();
        state.claims.retain(|_, claim| claim.leader != node);
        let changed = state.claims.len() != before;
        drop(state);
        if changed {
            self.bump(&self.version);
        }
    }

    /// `node` is silent: its claims stand, and are not believed.
    pub fn suspect(&self, node: NodeId) {
        if self.state.write().suspected.insert(node) {
            self.bump(&self.version);
        }
    }

    /// `node` is heard again.
    pub fn trust(&self, node: NodeId) {
        if self.state.write().suspected.remove(&node) {
            self.bump(&self.version);
        }
    }

    /// What happened to the groups that this node leads.
    #[must_use]
    pub const fn counts(&self) -> &LeadershipCounts {
        &self.counts
    }

    fn bump(&self, signal: &watch::Sender<u64>) {
        signal.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl LeadershipCounts {
    fn count(&self, old: Option<&Claim>, new: &Claim) {
        let add = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let Some(old) = old.filter(|old| (old.leader, old.epoch) == (new.leader, new.epoch)) else {
            return add(&self.elected);
        };
        if old.isr.iter().any(|node| !new.isr.contains(node)) {
            add(&self.shrunk);
        }
        if new.isr.iter().any(|node| !old.isr.contains(node)) {
            add(&self.expanded);
        }
    }
}

impl State {
    fn tell(&mut self, announcement: Announcement) {
        self.last_number += 1;
        let number = self.last_number;
        if let Some(old) = self.number_of.insert(announcement.group, number) {
            self.told.remove(&old);
        }
        self.told.insert(number, announcement);
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::model::{PartitionId, Uuid};

    use super::*;

    fn group(n: i32) -> GroupId {
        GroupId { topic: Uuid::from_u128(1), partition: PartitionId(n) }
    }

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const THIRD: NodeId = NodeId(3);

    fn says(n: i32, epoch: i32, isr: Option<Vec<NodeId>>) -> Vec<Announcement> {
        vec![Announcement { group: group(n), epoch: LeaderEpoch(epoch), isr }]
    }

    fn leader(table: &LeadershipTable, n: i32) -> Option<(NodeId, i32)> {
        table.leader(&group(n)).map(|claim| (claim.leader, claim.epoch.get()))
    }

    #[test]
    fn the_higher_epoch_stands() {
        let table = LeadershipTable::new(ME);
        table.hear(OTHER, says(0, 3, Some(vec![OTHER])));
        table.hear(THIRD, says(0, 2, Some(vec![THIRD])));
        assert_eq!(leader(&table, 0), Some((OTHER, 3)));
        // A resignation that comes late takes nothing from a successor.
        table.hear(THIRD, says(0, 4, Some(vec![THIRD])));
        table.hear(OTHER, says(0, 3, None));
        assert_eq!(leader(&table, 0), Some((THIRD, 4)));
        table.hear(THIRD, says(0, 4, None));
        assert_eq!(leader(&table, 0), None);
    }

    #[test]
    fn only_news_is_told_and_each_group_once() {
        let table = LeadershipTable::new(ME);
        table.claim(group(0), LeaderEpoch(1), vec![ME]);
        table.claim(group(1), LeaderEpoch(1), vec![ME]);
        table.claim(group(0), LeaderEpoch(1), vec![ME]);
        let all = table.announcements(0, 100);
        assert_eq!((all.upto, all.changes.len()), (2, 2));
        assert_eq!(table.announcements(all.upto, 100), Announcements { upto: 2, changes: vec![] });

        table.claim(group(0), LeaderEpoch(1), vec![ME, OTHER]);
        let news = table.announcements(all.upto, 100);
        assert_eq!(news, Announcements { upto: 3, changes: says(0, 1, Some(vec![ME, OTHER])) });
        // One who has heard nothing is told each group once.
        assert_eq!(table.announcements(0, 100).changes.len(), 2);
        // In pieces it comes to the same.
        let first = table.announcements(0, 1);
        assert_eq!((first.upto, first.changes.len()), (2, 1));
        assert_eq!(table.announcements(first.upto, 1).upto, 3);
    }

    #[test]
    fn what_happens_to_led_groups_is_counted() {
        let table = LeadershipTable::new(ME);
        let counts = || {
            let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let all = table.counts();
            [of(&all.elected), of(&all.shrunk), of(&all.expanded)]
        };
        table.claim(group(0), LeaderEpoch(1), vec![ME]);
        assert_eq!(counts(), [1, 0, 0]);
        table.claim(group(0), LeaderEpoch(1), vec![ME, OTHER, THIRD]);
        assert_eq!(counts(), [1, 0, 1]);
        table.claim(group(0), LeaderEpoch(1), vec![ME, OTHER]);
        table.claim(group(0), LeaderEpoch(1), vec![ME, OTHER]);
        assert_eq!(counts(), [1, 1, 1]);
        table.hear(OTHER, says(0, 2, Some(vec![OTHER, ME])));
        assert_eq!(counts(), [1, 1, 1], "not this node's");
        table.claim(group(0), LeaderEpoch(3), vec![ME]);
        assert_eq!(counts(), [2, 1, 1]);
    }

    #[test]
    fn a_resignation_is_told_once() {
        let table = LeadershipTable::new(ME);
        table.resign(&group(0));
        assert_eq!(table.announcements(0, 10).upto, 0);
        table.claim(group(0), LeaderEpoch(5), vec![ME]);
        table.resign(&group(0));
        table.resign(&group(0));
        assert_eq!(
            table.announcements(0, 10),
            Announcements { upto: 2, changes: says(0, 5, None) }
        );
        assert_eq!(leader(&table, 0), None);
    }

    #[test]
    fn a_suspected_node_leads_nothing_until_it_is_heard() {
        let table = LeadershipTable::new(ME);
        table.hear(OTHER, says(0, 3, Some(vec![OTHER])));
        let mut version = table.subscribe();
        version.mark_unchanged();
        table.suspect(OTHER);
        assert!(version.has_changed().unwrap());
        assert_eq!(leader(&table, 0), None);
        assert_eq!(table.last_claim(&group(0)).unwrap().leader, OTHER);
        table.trust(OTHER);
        assert_eq!(leader(&table, 0), Some((OTHER, 3)));
        table.forget(OTHER);
        assert_eq!(leader(&table, 0), None);
        assert_eq!(table.last_claim(&group(0)), None);
    }
}
