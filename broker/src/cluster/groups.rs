//! The groups of the partitions that have a replica here.
//!
//! Owns: starting and ending them as the metadata says, and bringing the members of those that are led
//! here in line with it. Never: an election, or an append.
//!
//! A group is given its first voters by the replicas that were there when the partition was made; whoever
//! comes later, on a new disk or by a reassignment, is let in by the leader.

mod members;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use ottla_config::BrokerConfig;
use ottla_coordinator::metadata::PartitionImage;
use ottla_protocol::model::{NodeId, Uuid};
use ottla_replication::partition::Partition;
use ottla_replication::peer::{GroupStarter, Groups, Peers};
use ottla_replication::raft::{
    Formed, Group, GroupError, GroupId, GroupParts, GroupSettings, LocalLog, ReplicaId, succession,
    tell_driver,
};
use ottla_replication::replicas::Replicas;
use parking_lot::Mutex;

pub(crate) use members::run as run_members;
pub(crate) use moves::{Move, hand_over, leave_all, prefer, request_moves, serve as serve_move};

use crate::clock::Clock;

/// A group that should run here.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: GroupId,
    pub(crate) partition: Arc<Partition>,
    /// Nodes of the replicas, preferred leader first.
    pub(crate) preference: Vec<NodeId>,
    /// Whom a group starts with that has no members yet; empty where it has to be let in.
    pub(crate) voters: BTreeSet<ReplicaId>,
    /// The group was formed anew.
    pub(crate) formed: Option<Formed>,
    /// What a replica may go by that needs an id of its own.
    pub(crate) fresh: Uuid,
}

/// A group that should run here, whether it does or not.
///
/// Invariant: whoever starts or stops the group holds `turn`, so that there are never two instances on
/// one partition, and none once it has ended.
#[derive(Debug)]
struct Slot {
    wanted: Mutex<Wanted>,
    group: Mutex<Option<Arc<Group>>>,
    /// Set once the group is not wanted any more.
    ended: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

impl Slot {
    fn new(wanted: Wanted) -> Arc<Self> {
        Arc::new(Self {
            wanted: Mutex::new(wanted),
            group: Mutex::default(),
            ended: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the group has begun anew since it was started here.
    fn is_formed_anew(&self, wanted: &Wanted) -> bool {
        let number = |of: &Wanted| of.formed.map_or(0, |formed| formed.number);
        number(wanted) > number(&self.wanted.lock())
    }

    /// Takes another order of preference.
    fn prefer(&self, preference: Vec<NodeId>) {
        self.wanted.lock().preference.clone_from(&preference);
        if let Some(group) = &*self.group.lock() {
            group.set_preference(preference);
        }
    }

    /// Stops the instance, where there is one.
    async fn stop(&self) {
        let group = self.group.lock().take();
        if let Some(group) = group {
            group.stop().await;
        }
    }
}

/// The groups of this broker.
pub(crate) struct LocalGroups {
    me: Weak<Self>,
    registry: Arc<Groups>,
    settings: GroupSettings,
    parts: OnceLock<(Arc<Peers>, Arc<Replicas>)>,
    slots: Mutex<BTreeMap<GroupId, Arc<Slot>>>,
}

impl std::fmt::Debug for LocalGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalGroups").finish_non_exhaustive()
    }
}

impl LocalGroups {
    pub(crate) fn new(registry: Arc<Groups>, clock: Clock, config: &BrokerConfig) -> Arc<Self> {
        let mut settings = GroupSettings::new(Arc::new(move || clock.now()));
        settings.lag_max = config.node.replica_lag_max;
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            registry,
            settings,
            parts: OnceLock::new(),
            slots: Mutex::default(),
        })
    }

    pub(crate) fn serve(&self, peers: &Arc<Peers>, replicas: &Arc<Replicas>) {
        // Only the first counts, and there is one.
        let _first = self.parts.set((Arc::clone(peers), Arc::clone(replicas)));
    }

    pub(crate) fn settings(&self) -> GroupSettings {
        self.settings.clone()
    }

    /// The group of a partition, while it runs here.
    pub(crate) fn get(&self, id: &GroupId) -> Option<Arc<Group>> {
        self.slots.lock().get(id)?.group.lock().clone()
    }

    /// Every running group.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.slots.lock().values().filter_map(|slot| slot.group.lock().clone()).collect()
    }

    /// Groups that this node leads.
    pub(crate) fn led(&self) -> Vec<Arc<Group>> {
        let mut all = self.all();
        all.retain(|group| group.leadership().leader == Some(group.replica()));
        all
    }

    /// Starts a group, or tells a running one its preference. One that cannot be started is tried again
    /// later.
    pub(crate) async fn ensure(&self, wanted: Wanted) {
        let id = wanted.id;
        let slot = {
            let mut slots = self.slots.lock();
            match slots.get(&id) {
                Some(slot) if !slot.is_formed_anew(&wanted) => {
                    slot.prefer(wanted.preference);
                    return;
                }
                Some(slot) => {
                    *slot.wanted.lock() = wanted;
                    Arc::clone(slot)
                }
                None => {
                    let slot = Slot::new(wanted);
                    slots.insert(id, Arc::clone(&slot));
                    slot
                }
            }
        };
        self.start_slot(id, &slot).await;
    }

    /// Has `work` done while a group does not run here, and starts it again. `None` where there is none.
    pub(crate) async fn paused<T>(&self, id: &GroupId, work: impl Future<Output = T>) -> Option<T> {
        let slot = self.slots.lock().get(id).cloned()?;
        let _turn = slot.turn.lock().await;
        if slot.ended.load(Ordering::Relaxed) {
            return None;
        }
        slot.stop().await;
        let done = work.await;
        self.start_in_turn(*id, &slot).await;
        Some(done)
    }

    /// Starts, or starts again, what is still wanted; notes for the driver what cannot be.
    async fn start_slot(&self, id: GroupId, slot: &Slot) {
        let _turn = slot.turn.lock().await;
        if slot.ended.load(Ordering::Relaxed) {
            return;
        }
        slot.stop().await;
        self.start_in_turn(id, slot).await;
    }

    /// The same for whoever has the slot's turn.
    async fn start_in_turn(&self, id: GroupId, slot: &Slot) {
        let wanted = slot.wanted.lock().clone();
        match self.start(wanted).await {
            Ok(group) => {
                group.set_preference(slot.wanted.lock().preference.clone());
                *slot.group.lock() = Some(Arc::clone(&group));
                self.registry.insert(id, Arc::clone(&group) as _);
                // Last: should it have failed already, the driver hears of a group that it knows.
                tell_driver(&group, &self.registry);
            }
            Err(error) => {
                tracing::error!(group = %id, %error, "the replica does not take part");
                self.registry.insert_stopped(id, &error.to_string());
            }
        }
    }

    async fn start(&self, wanted: Wanted) -> Result<Arc<Group>, GroupError> {
        let id = wanted.id;
        let refused = |text: &str| GroupError::Refused(id, text.to_owned());
        let (peers, replicas) =
            self.parts.get().ok_or_else(|| refused("the broker still starts"))?;
        let name = wanted.partition.name();
        let journal = replicas.journal_of(name).ok_or_else(|| refused("it has no directory"))?;
        let journal = journal.map_err(|error| refused(&error.to_string()))?;
        let directory = replicas.directory_of(name).unwrap_or_default();
        let partition = Arc::clone(&wanted.partition);
        let settings = self.settings.clone();
        let local = LocalLog {
            id,
            node: peers.me(),
            directory,
            partition: Arc::clone(&partition),
            journal: Arc::clone(&journal),
            fresh: wanted.fresh,
            clock: Arc::clone(&settings.clock),
        };
        let replica = succession::identify(&local, wanted.formed).await?;
        let parts = GroupParts { id, replica, partition, journal, settings };
        let grown =
            wanted.voters.iter().all(|only| only.node == replica.node) && wanted.voters.len() == 1;
        if grown {
            Group::adopt(&parts).await?;
        }
        let group = Group::start(parts, peers.network(id)).await?;
        if wanted.voters.contains(&replica)
            && !grown
            && let Err(error) = group.initialize(wanted.voters).await
        {
            group.stop().await;
            return Err(error);
        }
        Ok(group)
    }

    /// Ends a group; its partition stays.
    pub(crate) async fn end(&self, id: &GroupId) {
        let slot = self.slots.lock().remove(id);
        self.registry.remove(id);
        if let Some(slot) = slot {
            slot.ended.store(true, Ordering::Relaxed);
            let _turn = slot.turn.lock().await;
            slot.stop().await;
            // A start that was under way has entered it.
            self.registry.remove(id);
        }
    }

    /// Ends all of them, for the broker's own end.
    pub(crate) async fn end_all(&self) {
        let ids: Vec<GroupId> = self.slots.lock().keys().copied().collect();
        for id in ids {
            self.end(&id).await;
        }
    }
}

/// Starts again what has stopped, for want of space or the like.
impl GroupStarter for LocalGroups {
    fn restart(&self, id: GroupId) -> BoxFuture<'static, ()> {
        let slot = self.slots.lock().get(&id).cloned();
        let (Some(slot), Some(me)) = (slot, self.me.upgrade()) else {
            return Box::pin(async {});
        };
        Box::pin(async move { me.start_slot(id, &slot).await })
    }
}

/// What a partition of a topic wants of this node; `None` where its replica here needs no group.
pub(crate) fn wanted(
    id: GroupId,
    image: &PartitionImage,
    here: (ReplicaId, Arc<Partition>),
    has_group: bool,
    fresh: Uuid,
) -> Option<Wanted> {
    let (replica, partition) = here;
    if image.replicas.len() == 1 && !has_group {
        return None;
    }
    let voters = first_voters(image, replica);
    let speaks_of_it = image.directory_of(replica.node) == Some(replica.directory);
    let formed = image.formation.map(|formation| Formed {
        number: formation.number,
        key: image.key_of(replica.node).filter(|_| speaks_of_it),
        leader: formation.leader,
        epoch: formation.epoch,
    });
    let preference = image.replicas.clone();
    Some(Wanted { id, partition, preference, voters, formed, fresh })
}

/// Whom a group begins with where `replica` knows of no members; nobody where it has to be let in.
///
/// A disk that was replaced holds another replica than the one that was assigned. It must not begin the
/// group anew: several of them would outvote those that have the records.
fn first_voters(image: &PartitionImage, replica: ReplicaId) -> BTreeSet<ReplicaId> {
    let mut old = image.replicas.iter().filter(|node| !image.adding.contains(node));
    if old.next() == Some(&replica.node) && old.next().is_none() {
        // The only replica so far begins the group with what it has.
        return BTreeSet::from([replica]);
    }
    let founders = image.founders();
    let here = |(node, directory): &(NodeId, Uuid)| {
        *node == replica.node && (directory.is_nil() || *directory == replica.directory)
    };
    if founders.len() < 2 || image.formation.is_some() || !founders.iter().any(here) {
        return BTreeSet::new();
    }
    let voter = |(node, directory): (NodeId, Uuid)| match node == replica.node {
        true => replica,
        false => ReplicaId { node, directory },
    };
    founders.into_iter().map(voter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::model::LeaderEpoch;

    #[test]
    fn a_partition_that_changed_before_it_began_begins_with_its_founders() {
        let founders = BTreeSet::from([replica(0), replica(1), replica(2)]);
        let mut moving = image(&[3, 0, 1, 2], &[3], 4);
        moving.founders = [0, 1, 2].map(|node| (NodeId(node), directory(node))).to_vec();
        assert_eq!(first_voters(&moving, replica(1)), founders);
        assert_eq!(first_voters(&moving, replica(3)), BTreeSet::new(), "it has to be let in");
        let fresh = ReplicaId { directory: Uuid::from_u128(7), ..replica(1) };
        assert_eq!(first_voters(&moving, fresh), BTreeSet::new(), "another disk");
    }

    fn image(replicas: &[i32], adding: &[i32], partition_epoch: i32) -> PartitionImage {
        let nodes = |of: &[i32]| of.iter().copied().map(NodeId).collect::<Vec<_>>();
        PartitionImage {
            replicas: nodes(replicas),
            directories: replicas.iter().map(|node| directory(*node)).collect(),
            founders: Vec::new(),
            keys: Vec::new(),
            formation: None,
            isr: nodes(replicas),
            adding: nodes(adding),
            removing: Vec::new(),
            leader: NodeId(replicas[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch,
        }
    }

    fn directory(node: i32) -> Uuid {
        Uuid::from_u128(100 + u128::from(node.unsigned_abs()))
    }

    fn replica(node: i32) -> ReplicaId {
        ReplicaId { node: NodeId(node), directory: directory(node) }
    }

    #[test]
    fn a_new_partition_begins_with_all_its_replicas() {
        let all = BTreeSet::from([replica(0), replica(1), replica(2)]);
        assert_eq!(first_voters(&image(&[0, 1, 2], &[], 0), replica(1)), all);
    }

    #[test]
    fn a_replaced_disk_waits_to_be_let_in() {
        let fresh = ReplicaId { directory: Uuid::from_u128(7), ..replica(1) };
        assert_eq!(first_voters(&image(&[0, 1, 2], &[], 0), fresh), BTreeSet::new());
    }

    #[test]
    fn an_added_replica_waits_to_be_let_in() {
        let mut grown = image(&[0, 1, 2], &[1, 2], 1);
        grown.founders = vec![(NodeId(0), directory(0))];
        assert_eq!(first_voters(&grown, replica(0)), BTreeSet::from([replica(0)]));
        assert_eq!(first_voters(&grown, replica(1)), BTreeSet::new());
    }
}
