//! Reassignments: starting, completing at once, cancelling, and refusals.

use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::LeaderEpoch;

use super::*;
use crate::metadata::testing::{Cluster, nodes, seen};
use crate::metadata::{CreateTopics, NewTopic};

fn cluster(replicas: &[i32]) -> Cluster {
    let mut cluster = Cluster::of(4);
    let topics = vec![NewTopic {
        assignments: vec![(PartitionId(0), nodes(replicas))],
        ..NewTopic::with_defaults("t")
    }];
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster
}

fn alter(
    cluster: &mut Cluster,
    (topic, partition): (&str, i32),
    target: Option<&[i32]>,
) -> (ErrorCode, String) {
    let topics = vec![TopicReassignments {
        topic: topic.to_owned(),
        partitions: vec![(PartitionId(partition), target.map(nodes))],
    }];
    let factor_change = FactorChange::Allowed;
    let mut reply = cluster.run(AlterPartitionReassignments { topics, factor_change });
    seen(reply.pop().unwrap().1.pop().unwrap().1)
}

fn partition(cluster: &Cluster) -> PartitionImage {
    cluster.image.topic("t").unwrap().partitions[0].clone()
}

#[test]
fn refusals_are_kafkas() {
    use ErrorCode::{InvalidReplicaAssignment, NoReassignmentInProgress, UnknownTopicOrPartition};
    let mut cluster = cluster(&[0]);
    for (at, target, code, message) in [
        (("t", 0), Some(&[0][..]), ErrorCode::None, ""),
        (
            ("t", 0),
            Some(&[9][..]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            ("t", 0),
            Some(&[][..]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            ("t", 0),
            Some(&[1, 1][..]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (("t", 0), None, NoReassignmentInProgress, ""),
        (("t", 7), None, UnknownTopicOrPartition, "Unable to find partition t:7."),
        (("u", 0), Some(&[0][..]), UnknownTopicOrPartition, "Unable to find a topic named u."),
    ] {
        assert_eq!(alter(&mut cluster, at, target), (code, message.to_owned()), "{at:?}");
    }
    assert_eq!(partition(&cluster).partition_epoch, 0, "nothing changed");
    let topics = vec![TopicReassignments {
        topic: "t".into(),
        partitions: vec![(PartitionId(0), Some(nodes(&[0, 1])))],
    }];
    let factor_change = FactorChange::Refused;
    let mut reply = cluster.run(AlterPartitionReassignments { topics, factor_change });
    let (code, _) = seen(reply.pop().unwrap().1.pop().unwrap().1);
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
}

#[test]
fn reordering_is_done_at_once_and_keeps_the_leader() {
    let mut cluster = cluster(&[0, 1, 2]);
    alter(&mut cluster, ("t", 0), Some(&[2, 1, 0]));
    let after = partition(&cluster);
    assert_eq!((after.replicas.clone(), after.leader), (nodes(&[2, 1, 0]), NodeId(0)));
    assert!(!after.is_reassigning());
    assert_eq!(after.leader_epoch, LeaderEpoch(0));
}

#[test]
fn replicas_leave_when_the_leader_says_so() {
    let mut cluster = cluster(&[0, 1, 2]);
    alter(&mut cluster, ("t", 0), Some(&[1]));
    let during = partition(&cluster);
    assert_eq!(
        (during.replicas.clone(), during.removing.clone()),
        (nodes(&[1, 0, 2]), nodes(&[0, 2]))
    );
    let topic_id = cluster.image.topic("t").unwrap().id;
    let complete = |partition_epoch| CompleteReassignment {
        topic_id,
        partition: PartitionId(0),
        partition_epoch,
    };
    assert!(!cluster.run(complete(during.partition_epoch - 1)), "of an earlier target");
    assert!(cluster.run(complete(during.partition_epoch)));
    let after = partition(&cluster);
    assert_eq!(
        (after.replicas.clone(), after.isr.clone(), after.leader),
        (nodes(&[1]), nodes(&[1]), NodeId(1))
    );
    assert!(!after.is_reassigning());
    assert_eq!(after.directories.len(), 1);
    assert_eq!(after.leader_epoch, LeaderEpoch(1), "replicas that leave are fenced");
    assert!(!cluster.run(complete(after.partition_epoch)), "there is nothing to complete");
    cluster.check_replay();
}

#[test]
fn a_new_replica_is_waited_for_and_can_be_cancelled() {
    let mut cluster = cluster(&[0, 1]);
    assert_eq!(cluster.image.reassignments(None), []);
    alter(&mut cluster, ("t", 0), Some(&[2, 1]));
    let during = partition(&cluster);
    assert_eq!(during.replicas, nodes(&[2, 1, 0]));
    assert_eq!((during.adding.clone(), during.removing.clone()), (nodes(&[2]), nodes(&[0])));
    assert_eq!((during.leader, during.isr), (NodeId(0), nodes(&[0, 1])));
    let ongoing = vec![(
        "t".to_owned(),
        vec![OngoingReassignment {
            partition: PartitionId(0),
            replicas: nodes(&[2, 1, 0]),
            adding: nodes(&[2]),
            removing: nodes(&[0]),
        }],
    )];
    assert_eq!(cluster.image.reassignments(None), ongoing);
    let wanted = |name: &str, partition| [(name.to_owned(), vec![PartitionId(partition)])];
    assert_eq!(cluster.image.reassignments(Some(&wanted("t", 0))), ongoing);
    assert_eq!(cluster.image.reassignments(Some(&wanted("t", 1))), []);
    assert_eq!(cluster.image.reassignments(Some(&wanted("u", 0))), []);
    cluster.check_replay();
    assert_eq!(alter(&mut cluster, ("t", 0), None).0, ErrorCode::None);
    let after = partition(&cluster);
    assert_eq!((after.replicas.clone(), after.isr.clone()), (nodes(&[1, 0]), nodes(&[0, 1])));
    assert!(!after.is_reassigning());
}
