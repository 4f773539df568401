//! Which log directory holds which replica, and what follows when one fails.
//!
//! Owns: the rules of KIP-858: a replica in a directory that its broker does not have any more leads
//! nothing and is offline; brokers say where replicas are and which directories they lost. Never:
//! touches a disk or chooses a directory (the broker does). Invariant: a directory that was taken
//! offline comes back with a registration of its broker only.

use std::collections::BTreeSet;

use ottla_protocol::model::{NodeId, PartitionId, Uuid};

use super::brokers::registered;
use super::decide::{Command, DecideContext, Decision};
use super::elections::changes_for_broker;
use super::error::ControllerError;
use super::image::{BrokerImage, MetadataImage, PartitionImage};
use super::record::{MetadataRecord, PartitionChange};

/// "In a directory that is lost" (Kafka's `DirectoryId.LOST`).
pub const LOST_DIRECTORY: Uuid = Uuid::from_u128(1);
/// "Where the broker put it" (Kafka's `DirectoryId.UNASSIGNED`).
pub const UNASSIGNED_DIRECTORY: Uuid = Uuid::nil();
/// Kafka's `DirectoryId.MIGRATING`: somewhere on the broker, from before directories had ids.
const MIGRATING_DIRECTORY: Uuid = Uuid::from_u128(2);

impl BrokerImage {
    /// Whether a replica in this directory can be served (Kafka's `BrokerRegistration.hasOnlineDir`).
    #[must_use]
    pub fn has_directory(&self, directory: Uuid) -> bool {
        let known = &self.registration.directories;
        match directory {
            UNASSIGNED_DIRECTORY | MIGRATING_DIRECTORY => true,
            LOST_DIRECTORY => false,
            _ => known.is_empty() || known.contains(&directory),
        }
    }
}

impl MetadataImage {
    /// Whether a replica's directory is in use on its broker.
    #[must_use]
    pub fn has_directory_of(&self, partition: &PartitionImage, node: NodeId) -> bool {
        let directory = partition.directory_of(node).unwrap_or(UNASSIGNED_DIRECTORY);
        self.broker(node).is_some_and(|broker| broker.has_directory(directory))
    }

    /// Whether a replica may lead: its broker is active and its directory in use.
    #[must_use]
    pub fn may_lead(&self, partition: &PartitionImage, node: NodeId) -> bool {
        self.is_active(node) && self.has_directory_of(partition, node)
    }

    /// Replicas that clients are told are offline (Kafka's `KRaftMetadataCache.getOfflineReplicas`).
    #[must_use]
    pub fn offline_replicas(&self, partition: &PartitionImage) -> Vec<NodeId> {
        let offline = |node: &NodeId| {
            self.broker(*node).is_none_or(|broker| broker.fenced)
                || !self.has_directory_of(partition, *node)
        };
        partition.replicas.iter().copied().filter(offline).collect()
    }
}

/// A broker says in which of its directories replicas are (AssignReplicasToDirs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignDirectories {
    pub broker: NodeId,
    pub assignments: Vec<DirectoryAssignment>,
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryAssignment {
    pub topic: Uuid,
    pub partition: PartitionId,
    /// [`LOST_DIRECTORY`] where it cannot be read.
    pub directory: Uuid,
    /// What it goes by in its group; `None` where that cannot be read, and stays what it was.
    pub key: Option<Uuid>,
    /// Of how many formations of the group it knows. What it goes by counts only if there are no more.
    pub formation: u32,
}

impl Command for AssignDirectories {
    type Reply = ();

    fn decide(self, image: &MetadataImage, _context: &mut DecideContext<'_>) -> Decision<()> {
        let mut moved = image.clone();
        let mut records = Vec::new();
        let mut touched = BTreeSet::new();
        for assignment in self.assignments {
            let DirectoryAssignment { topic: topic_id, partition, directory, .. } = assignment;
            let state = image.topic_by_id(topic_id).and_then(|topic| topic.partition(partition));
            let Some(state) = state else { continue };
            let Some(known) = state.directory_of(self.broker) else { continue };
            let keys = state.keys_for(&state.replicas, |node, key| match assignment.key {
                Some(said) if node == self.broker && assignment.formation >= state.formations() => {
                    if said == directory {
                        Uuid::nil()
                    } else {
                        said
                    }
                }
                _ => key,
            });
            if known == directory && keys == state.keys {
                continue;
            }
            let mut change = PartitionChange::of(topic_id, partition);
            let at =
                |node: &NodeId, known: Uuid| if *node == self.broker { directory } else { known };
            let directories = state.replicas.iter().zip(&state.directories);
            change.directories = Some(directories.map(|(node, known)| at(node, *known)).collect());
            change.keys = (keys != state.keys).then_some(keys);
            if touched.insert((topic_id, partition)) {
                records.push(MetadataRecord::PartitionChange(change));
            }
        }
        // Leadership follows from where replicas are by then.
        if moved.apply_all(&records).is_ok() {
            let follow = changes_for_broker(&moved, self.broker, moved.is_active(self.broker));
            records.extend(follow.into_iter().filter(|record| match record {
                MetadataRecord::PartitionChange(change) => {
                    touched.contains(&(change.topic_id, change.partition))
                }
                _ => true,
            }));
        }
        Decision { records, reply: () }
    }
}

/// A broker's log directories failed: what they hold leads nothing until the broker registers again
/// with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeDirectoriesOffline {
    pub broker: NodeId,
    pub directories: Vec<Uuid>,
}

impl Command for TakeDirectoriesOffline {
    type Reply = Result<(), ControllerError>;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        let broker = match registered(image, self.broker) {
            Ok(broker) => broker,
            Err(error) => return Decision::answer(Err(error)),
        };
        let before = &broker.registration.directories;
        let left: Vec<Uuid> =
            before.iter().copied().filter(|id| !self.directories.contains(id)).collect();
        if left.len() == before.len() {
            return Decision::answer(Ok(()));
        }
        let mut records =
            vec![MetadataRecord::BrokerDirectories { id: self.broker, directories: left }];
        let mut after = image.clone();
        if after.apply_all(&records).is_ok() {
            records.extend(changes_for_broker(&after, self.broker, after.is_active(self.broker)));
        }
        Decision { records, reply: Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::testing::{Cluster, nodes};
    use crate::metadata::{CreateTopics, NO_LEADER, NewTopic, RegisterBroker};

    const A: Uuid = Uuid::from_u128(1 << 90);
    const B: Uuid = Uuid::from_u128(2 << 90);

    fn register(cluster: &mut Cluster, directories: Vec<Uuid>) {
        use crate::metadata::{BrokerState, ChangeBrokerState};
        let id = NodeId(0);
        if let Some(epoch) = cluster.image.broker(id).map(|broker| broker.registration.epoch) {
            cluster.run(ChangeBrokerState { id, epoch, state: BrokerState::Fenced }).unwrap();
        }
        let incarnation = Uuid::from_u128(77 + cluster.image.end().0 as u128);
        let (rack, endpoints) = (None, Vec::new());
        let epoch =
            cluster.run(RegisterBroker { id, incarnation, rack, endpoints, directories }).unwrap();
        cluster.run(ChangeBrokerState { id, epoch, state: BrokerState::Active }).unwrap();
    }

    /// One broker with two directories, a topic with a partition in each.
    fn cluster() -> (Cluster, Uuid) {
        let mut cluster = Cluster::of(0);
        register(&mut cluster, vec![A, B]);
        let topics = vec![NewTopic {
            assignments: vec![(PartitionId(0), nodes(&[0])), (PartitionId(1), nodes(&[0]))],
            ..NewTopic::with_defaults("t")
        }];
        cluster.run(CreateTopics { topics, ..CreateTopics::default() });
        let id = cluster.image.topic("t").unwrap().id;
        assign(&mut cluster, id, &[(0, A), (1, B)]);
        (cluster, id)
    }

    fn assign(cluster: &mut Cluster, topic: Uuid, to: &[(i32, Uuid)]) {
        let at = |(partition, directory): &(i32, Uuid)| DirectoryAssignment {
            topic,
            partition: PartitionId(*partition),
            directory: *directory,
            key: Some(*directory),
            formation: 0,
        };
        let assignments = to.iter().map(at).collect();
        cluster.run(AssignDirectories { broker: NodeId(0), assignments });
        cluster.check_replay();
    }

    fn seen(cluster: &Cluster) -> Vec<(NodeId, Vec<NodeId>, Vec<NodeId>)> {
        let topic = cluster.image.topic("t").unwrap();
        let one = |state: &PartitionImage| {
            (state.leader, state.isr.clone(), cluster.image.offline_replicas(state))
        };
        topic.partitions.iter().map(one).collect()
    }

    #[test]
    fn a_failed_directory_takes_its_partitions_offline_until_it_is_back() {
        let (mut cluster, _) = cluster();
        let well = (NodeId(0), nodes(&[0]), nodes(&[]));
        let lost = (NO_LEADER, nodes(&[0]), nodes(&[0]));
        assert_eq!(seen(&cluster), [well.clone(), well.clone()]);

        let offline = TakeDirectoriesOffline { broker: NodeId(0), directories: vec![B] };
        cluster.run(offline.clone()).unwrap();
        cluster.check_replay();
        assert_eq!(seen(&cluster), [well.clone(), lost.clone()]);
        let end = cluster.image.end();
        cluster.run(offline).unwrap();
        assert_eq!(cluster.image.end(), end, "said twice, it changes nothing");

        register(&mut cluster, vec![A]);
        assert_eq!(seen(&cluster), [well.clone(), lost]);
        register(&mut cluster, vec![A, B]);
        assert_eq!(seen(&cluster), [well.clone(), well]);
    }

    #[test]
    fn an_assignment_moves_leadership_with_it() {
        let (mut cluster, id) = cluster();
        let epoch =
            |cluster: &Cluster| cluster.image.topic("t").unwrap().partitions[0].leader_epoch;
        let before = epoch(&cluster);
        assign(&mut cluster, id, &[(0, B)]);
        assert_eq!(epoch(&cluster), before, "the leader is the same");
        assign(&mut cluster, id, &[(0, LOST_DIRECTORY)]);
        assert_eq!(seen(&cluster)[0], (NO_LEADER, nodes(&[0]), nodes(&[0])));
        assign(&mut cluster, id, &[(0, A)]);
        assert_eq!(seen(&cluster)[0], (NodeId(0), nodes(&[0]), nodes(&[])));
        let end = cluster.image.end();
        assign(&mut cluster, id, &[(0, A), (7, B)]);
        assign(&mut cluster, Uuid::from_u128(12345), &[(0, B)]);
        assert_eq!(cluster.image.end(), end, "what is known or unknown changes nothing");
    }
}
