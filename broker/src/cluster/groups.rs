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
use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use ottla_config::BrokerConfig;
use ottla_coordinator::metadata::PartitionImage;
use ottla_protocol::model::NodeId;
use ottla_replication::partition::Partition;
use ottla_replication::peer::{GroupStarter, Groups, Peers};
use ottla_replication::raft::{
    Group, GroupError, GroupId, GroupParts, GroupSettings, ReplicaId, tell_driver,
};
use ottla_replication::replicas::Replicas;
use parking_lot::Mutex;

pub(crate) use members::run as run_members;
pub(crate) use moves::{Move, leave_all, prefer, request_moves, serve as serve_move};

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
}

#[derive(Debug)]
struct Running {
    group: Arc<Group>,
    wanted: Wanted,
}

/// The groups of this broker.
pub(crate) struct LocalGroups {
    me: Weak<Self>,
    registry: Arc<Groups>,
    settings: GroupSettings,
    parts: OnceLock<(Arc<Peers>, Arc<Replicas>)>,
    running: Mutex<BTreeMap<GroupId, Running>>,
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
            running: Mutex::default(),
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
        self.running.lock().get(id).map(|running| Arc::clone(&running.group))
    }

    /// Every running group.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.running.lock().values().map(|running| Arc::clone(&running.group)).collect()
    }

    /// Groups that this node leads.
    pub(crate) fn led(&self) -> Vec<Arc<Group>> {
        let mut all = self.all();
        all.retain(|group| group.leadership().leader == Some(group.replica()));
        all
    }

    /// Starts a group, or tells a running one its preference.
    pub(crate) async fn ensure(&self, wanted: Wanted) {
        let known = self.running.lock().get_mut(&wanted.id).map(|running| {
            running.wanted.preference.clone_from(&wanted.preference);
            Arc::clone(&running.group)
        });
        if let Some(group) = known {
            group.set_preference(wanted.preference);
            return;
        }
        let id = wanted.id;
        if let Err(error) = self.start(wanted).await {
            tracing::error!(group = %id, %error, "the replica does not take part");
            self.registry.stopped(&id, &error.to_string());
        }
    }

    async fn start(&self, wanted: Wanted) -> Result<(), GroupError> {
        let id = wanted.id;
        let refused = |text: &str| GroupError::Refused(id, text.to_owned());
        let (peers, replicas) =
            self.parts.get().ok_or_else(|| refused("the broker still starts"))?;
        let name = wanted.partition.name();
        let journal = replicas.journal_of(name).ok_or_else(|| refused("it has no directory"))?;
        let journal = journal.map_err(|error| refused(&error.to_string()))?;
        let directory = replicas.directory_of(name).unwrap_or_default();
        let replica = ReplicaId { node: peers.me(), directory };
        let partition = Arc::clone(&wanted.partition);
        let settings = self.settings.clone();
        let parts = GroupParts { id, replica, partition, journal, settings };
        let grown = wanted.voters.len() == 1 && wanted.voters.contains(&replica);
        if grown {
            Group::adopt(&parts).await?;
        }
        let group = Group::start(parts, peers.network(id)).await?;
        group.set_preference(wanted.preference.clone());
        if wanted.voters.contains(&replica) && !grown {
            group.initialize(wanted.voters.clone()).await?;
        }
        tell_driver(&group, &self.registry);
        self.registry.insert(id, group.clone());
        self.running.lock().insert(id, Running { group, wanted });
        Ok(())
    }

    /// Ends a group; its partition stays.
    pub(crate) async fn end(&self, id: &GroupId) {
        let running = self.running.lock().remove(id);
        self.registry.remove(id);
        if let Some(running) = running {
            running.group.stop().await;
        }
    }

    /// Ends all of them, for the broker's own end.
    pub(crate) async fn end_all(&self) {
        let ids: Vec<GroupId> = self.running.lock().keys().copied().collect();
        for id in ids {
            self.end(&id).await;
        }
    }
}

/// Starts again what has stopped, for want of space or the like.
impl GroupStarter for LocalGroups {
    fn restart(&self, id: GroupId) -> BoxFuture<'static, ()> {
        let found = self.running.lock().remove(&id);
        let (Some(Running { group, wanted }), Some(me)) = (found, self.me.upgrade()) else {
            return Box::pin(async {});
        };
        Box::pin(async move {
            group.stop().await;
            if let Err(error) = me.start(wanted.clone()).await {
                tracing::warn!(group = %id, %error, "the replica does not take part yet");
                me.registry.stopped(&id, &error.to_string());
                me.running.lock().insert(id, Running { group, wanted });
            }
        })
    }
}

/// What a partition of a topic wants of this node; `None` where its replica here needs no group.
pub(crate) fn wanted(
    id: GroupId,
    image: &PartitionImage,
    here: (ReplicaId, Arc<Partition>),
    has_group: bool,
) -> Option<Wanted> {
    let (replica, partition) = here;
    if image.replicas.len() == 1 && !has_group {
        return None;
    }
    let voters = first_voters(image, replica);
    Some(Wanted { id, partition, preference: image.replicas.clone(), voters })
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
    let assigned = image.directory_of(replica.node).filter(|directory| !directory.is_nil());
    if image.partition_epoch != 0 || assigned.is_some_and(|assigned| assigned != replica.directory)
    {
        return BTreeSet::new();
    }
    let voter = |node: &NodeId| ReplicaId {
        node: *node,
        directory: match *node == replica.node {
            true => replica.directory,
            false => image.directory_of(*node).unwrap_or_default(),
        },
    };
    image.replicas.iter().map(voter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::model::{LeaderEpoch, Uuid};

    fn image(replicas: &[i32], adding: &[i32], partition_epoch: i32) -> PartitionImage {
        let nodes = |of: &[i32]| of.iter().copied().map(NodeId).collect::<Vec<_>>();
        PartitionImage {
            replicas: nodes(replicas),
            directories: replicas.iter().map(|node| directory(*node)).collect(),
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
        let grown = image(&[0, 1, 2], &[1, 2], 1);
        assert_eq!(first_voters(&grown, replica(0)), BTreeSet::from([replica(0)]));
        assert_eq!(first_voters(&grown, replica(1)), BTreeSet::new());
    }
}
