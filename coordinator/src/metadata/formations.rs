//! Groups that are formed anew, because a majority of their replicas is given up.
//!
//! Owns: [`FormAnew`], an unclean election (KIP-460) as a Raft group can have it. Never: chooses the replica
//! (whoever asked the replicas does), or does it without being asked: `unclean.leader.election.enable` has
//! no effect. Invariant: every replica gets a new key, so that none of the former group is one of the new
//! group, speaks with one of it, or votes in it; what comes back of it has to begin anew.

use ottla_protocol::model::{LeaderEpoch, NodeId, PartitionId, Uuid};

use super::decide::{Command, DecideContext, Decision};
use super::error::ControllerError;
use super::image::MetadataImage;
use super::record::{Formation, MetadataRecord, PartitionChange};

/// Makes one replica the whole of a partition's group; the others are let in again with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormAnew {
    pub topic_id: Uuid,
    pub partition: PartitionId,
    /// What the choice was made on: of a partition that has changed since nothing is changed.
    pub partition_epoch: i32,
    /// The node whose replica has the most.
    pub leader: NodeId,
    /// The latest leader epoch that is known of.
    pub epoch: LeaderEpoch,
}

impl Command for FormAnew {
    type Reply = Result<Formation, ControllerError>;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        let state = image.topic_by_id(self.topic_id).and_then(|of| of.partition(self.partition));
        let state = state.filter(|state| {
            state.partition_epoch == self.partition_epoch
                && state.replicas.len() > 1
                && state.replicas.contains(&self.leader)
                && image.may_lead(state, self.leader)
        });
        let Some(state) = state else {
            return Decision::answer(Err(ControllerError::EligibleLeadersNotAvailable));
        };
        let number = state.formations().saturating_add(1);
        let formation = Formation { number, leader: self.leader, epoch: self.epoch };
        let mut change = PartitionChange::of(self.topic_id, self.partition);
        change.keys = Some(state.replicas.iter().map(|_| context.random.id()).collect());
        change.formation = Some(formation);
        change.leader = Some(self.leader);
        change.isr = Some(vec![self.leader]);
        Decision { records: vec![MetadataRecord::PartitionChange(change)], reply: Ok(formation) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metadata::testing::{Cluster, nodes};
    use crate::metadata::{
        AssignDirectories, CreateTopics, DirectoryAssignment, NewTopic, PartitionImage,
    };

    fn cluster() -> (Cluster, Uuid) {
        let mut cluster = Cluster::of(3);
        let topics = vec![NewTopic {
            assignments: vec![(PartitionId(0), nodes(&[0, 1, 2]))],
            ..NewTopic::with_defaults("t")
        }];
        cluster.run(CreateTopics { topics, ..CreateTopics::default() });
        let id = cluster.image.topic("t").unwrap().id;
        (cluster, id)
    }

    fn state(cluster: &Cluster) -> PartitionImage {
        cluster.image.topic("t").unwrap().partitions[0].clone()
    }

    fn anew(cluster: &Cluster, topic_id: Uuid, leader: i32) -> FormAnew {
        FormAnew {
            topic_id,
            partition: PartitionId(0),
            partition_epoch: state(cluster).partition_epoch,
            leader: NodeId(leader),
            epoch: LeaderEpoch(7),
        }
    }

    #[test]
    fn every_replica_of_the_new_group_is_another_one() {
        let (mut cluster, id) = cluster();
        let before = state(&cluster);
        let formation = cluster.run(anew(&cluster, id, 1)).unwrap();
        cluster.check_replay();
        let after = state(&cluster);
        let wanted = Formation { number: 1, leader: NodeId(1), epoch: LeaderEpoch(7) };
        assert_eq!((formation, after.formation), (wanted, Some(wanted)));
        let keys = |of: &PartitionImage| of.replicas.iter().map(|node| of.key_of(*node)).collect();
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (keys(&before), keys(&after));
        assert_eq!((new.len(), old.intersection(&new).count()), (3, 0));
        assert_eq!((after.leader, after.isr), (NodeId(1), nodes(&[1])));

        let again = cluster.run(anew(&cluster, id, 2)).unwrap();
        assert_eq!(again.number, 2);
        assert!(keys(&state(&cluster)).is_disjoint(&new));
    }

    #[test]
    fn what_was_chosen_of_another_state_or_cannot_lead_is_refused() {
        let (mut cluster, id) = cluster();
        let late = anew(&cluster, id, 1);
        cluster.run(late).unwrap();
        for wrong in [late, anew(&cluster, id, 9), anew(&cluster, Uuid::from_u128(5), 1)] {
            let refused = Err(ControllerError::EligibleLeadersNotAvailable);
            assert_eq!(cluster.run(wrong), refused);
        }
    }

    #[test]
    fn a_replica_says_what_it_goes_by_but_not_of_a_former_group() {
        let (mut cluster, id) = cluster();
        let (here, key) = (Uuid::from_u128(1 << 90), Uuid::from_u128(2 << 90));
        let say = |cluster: &mut Cluster, directory, key, formation| {
            let partition = PartitionId(0);
            let at = DirectoryAssignment { topic: id, partition, directory, key, formation };
            cluster.run(AssignDirectories { broker: NodeId(2), assignments: vec![at] });
            cluster.check_replay();
        };
        say(&mut cluster, here, Some(key), 0);
        let known = |cluster: &Cluster| {
            let state = state(cluster);
            (state.directory_of(NodeId(2)), state.key_of(NodeId(2)))
        };
        assert_eq!(known(&cluster), (Some(here), Some(key)));
        say(&mut cluster, here, Some(here), 0);
        assert_eq!(known(&cluster), (Some(here), Some(here)));
        assert!(state(&cluster).keys.is_empty(), "nothing is left to be said");

        cluster.run(anew(&cluster, id, 1)).unwrap();
        let given = state(&cluster).key_of(NodeId(2));
        say(&mut cluster, here, Some(key), 0);
        assert_eq!(known(&cluster), (Some(here), given), "it does not know yet");
        say(&mut cluster, key, None, 0);
        assert_eq!(known(&cluster), (Some(key), given), "only where it is");
        let end = cluster.image.end();
        say(&mut cluster, key, given, 1);
        assert_eq!(cluster.image.end(), end, "it says what is known");
    }
}
