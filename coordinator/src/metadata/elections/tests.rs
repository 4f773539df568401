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
fn leadership_moves_away_from_a_fenced_broker_and_back_on_request() {
    let mut cluster = cluster();
    cluster.set_state(0, BrokerState::Fenced);
    assert_eq!(state(&cluster, 0), (NodeId(1), nodes(&[1]), 1));
    assert_eq!(state(&cluster, 1), (NodeId(2), nodes(&[2]), 0), "only its in-sync set shrinks");
    let missing = ErrorCode::PreferredLeaderNotAvailable;
    assert_eq!(elect(&mut cluster, ElectionType::Preferred, None)[0].1, missing);
    cluster.set_state(0, BrokerState::Active);
    assert_eq!(state(&cluster, 0).0, NodeId(1), "coming back takes no leadership");
    assert_eq!(
        elect(&mut cluster, ElectionType::Preferred, Some(&[0]))[0].1,
        missing,
        "not in sync yet"
    );
}

#[test]
fn the_last_in_sync_replica_stays_and_only_an_unclean_election_takes_another() {
    let mut cluster = cluster();
    cluster.set_state(0, BrokerState::Fenced);
    cluster.set_state(1, BrokerState::Fenced);
    assert_eq!(state(&cluster, 0), (NO_LEADER, nodes(&[1]), 2));
    assert_eq!(
        elect(&mut cluster, ElectionType::Unclean, Some(&[0]))[0].1,
        ErrorCode::EligibleLeadersNotAvailable
    );
    cluster.set_state(0, BrokerState::Active);
    assert_eq!(state(&cluster, 0).0, NO_LEADER, "never by itself");
    assert_eq!(
        elect(&mut cluster, ElectionType::Unclean, None),
        [(0, ErrorCode::None, String::new())]
    );
    assert_eq!(state(&cluster, 0), (NodeId(0), nodes(&[0]), 3));
    cluster.check_replay();
}

#[test]
fn a_partition_gets_its_leader_back_with_its_last_in_sync_replica() {
    let mut cluster = cluster();
    cluster.set_state(0, BrokerState::Fenced);
    cluster.set_state(1, BrokerState::ControlledShutdown);
    assert_eq!(state(&cluster, 0).0, NO_LEADER);
    cluster.set_state(1, BrokerState::Active);
    assert_eq!(state(&cluster, 0), (NodeId(1), nodes(&[1]), 3));
}
