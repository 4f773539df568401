//! Elections: preferred, unclean, and what brokers' comings and goings change.

use ottla_protocol::error_code::ErrorCode;

use super::*;
use crate::metadata::testing::{Cluster, nodes, seen};
use crate::metadata::{BrokerState, CreateTopics, NO_LEADER, NewTopic};

fn cluster() -> Cluster {
    let mut cluster = Cluster::of(3);
    let topics = vec![NewTopic {
        assignments: vec![(PartitionId(0), nodes(&[0, 1])), (PartitionId(1), nodes(&[2, 0]))],
        ..NewTopic::with_defaults("t")
    }];
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster
}

fn state(cluster: &Cluster, partition: usize) -> (NodeId, Vec<NodeId>, i32) {
    let image = &cluster.image.topic("t").unwrap().partitions[partition];
    (image.leader, image.isr.clone(), image.leader_epoch.0)
}

fn elect(
    cluster: &mut Cluster,
    election: ElectionType,
    partitions: Option<&[i32]>,
) -> Vec<(i32, ErrorCode, String)> {
    let partitions = partitions
        .map(|list| vec![("t".to_owned(), list.iter().copied().map(PartitionId).collect())]);
    let reply = cluster.run(ElectLeaders { election, partitions }).unwrap();
    reply
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .map(|(partition, result)| {
            let (code, message) = seen(result);
            (partition.0, code, message)
        })
        .collect()
}

#[test]
fn on_one_node_nothing_needs_an_election() {
    let mut cluster = cluster();
    let not_needed = "Leader election not needed for topic partition.".to_owned();
    for election in [ElectionType::Preferred, ElectionType::Unclean] {
        assert_eq!(
            elect(&mut cluster, election, Some(&[0, 99])),
            [
                (0, ErrorCode::ElectionNotNeeded, not_needed.clone()),
                (99, ErrorCode::UnknownTopicOrPartition, "No such partition as t-99".to_owned()),
            ]
        );
        assert_eq!(elect(&mut cluster, election, None), []);
    }
    let reply = cluster.run(ElectLeaders {
        election: ElectionType::Preferred,
        partitions: Some(vec![("nope".to_owned(), vec![PartitionId(0)])]),
    });
    let mut reply = reply.unwrap();
    let result = reply.pop().unwrap().partitions.pop().unwrap().1;
    assert_eq!(seen(result).1, "No such topic as nope");
    let unknown = cluster.run(ElectLeaders { election: 5.into(), partitions: None });
    assert_eq!(unknown, Err(ControllerError::UnknownElectionType(5)));
}

#[test]
fn of_partitions_with_several_replicas_a_failover_writes_nothing() {
    let mut cluster = cluster();
    let before = cluster.log.len();
    cluster.set_state(0, BrokerState::Fenced);
    assert_eq!(cluster.log.len(), before + 1, "that it is fenced, and nothing else");
    assert_eq!(state(&cluster, 0), (NodeId(0), nodes(&[0, 1]), 0));
}

#[test]
fn the_only_replica_leads_while_it_is_active() {
    let mut cluster = Cluster::of(2);
    let topics = vec![NewTopic {
        assignments: vec![(PartitionId(0), nodes(&[0]))],
        ..NewTopic::with_defaults("t")
    }];
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster.set_state(0, BrokerState::Fenced);
    assert_eq!(state(&cluster, 0), (NO_LEADER, nodes(&[0]), 1));
    let missing = ErrorCode::PreferredLeaderNotAvailable;
    assert_eq!(elect(&mut cluster, ElectionType::Preferred, None)[0].1, missing);
    assert_eq!(
        elect(&mut cluster, ElectionType::Unclean, Some(&[0]))[0].1,
        ErrorCode::EligibleLeadersNotAvailable
    );
    cluster.set_state(0, BrokerState::Active);
    assert_eq!(state(&cluster, 0), (NodeId(0), nodes(&[0]), 2));
    cluster.set_state(0, BrokerState::ControlledShutdown);
    assert_eq!(state(&cluster, 0).0, NO_LEADER);
    cluster.check_replay();
}
