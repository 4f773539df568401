//! Brokers: forming a cluster, registration, epochs, removal, producer ids.

use super::*;
use crate::metadata::AllocateProducerIds;
use crate::metadata::testing::Cluster;

fn register(incarnation: u128) -> RegisterBroker {
    RegisterBroker {
        id: NodeId(0),
        incarnation: Uuid::from_u128(incarnation),
        rack: None,
        endpoints: Vec::new(),
        directories: Vec::new(),
    }
}

#[test]
fn a_cluster_is_formed_once() {
    let mut cluster = Cluster::with(0, &[("min.insync.replicas", "2")]);
    let id = cluster.image.cluster_id().to_owned();
    assert_eq!(id.len(), 22);
    let records = cluster.log.len();
    let again = FormCluster { cluster_id: Some("other".into()) };
    assert_eq!(cluster.run(again), id);
    assert_eq!(cluster.log.len(), records);
    assert_eq!(cluster.image.feature_level("metadata.version"), 30);
    let default = ConfigResource::cluster_default();
    assert_eq!(cluster.image.config(&default, "min.insync.replicas"), Some("2"));
}

#[test]
fn a_broker_takes_part_in_its_newest_epoch_only() {
    let mut cluster = Cluster::of(0);
    let first = cluster.run(register(1)).unwrap();
    let activate = |epoch| ChangeBrokerState { id: NodeId(0), epoch, state: BrokerState::Active };
    assert!(!cluster.image.is_active(NodeId(0)));
    cluster.run(activate(first)).unwrap();
    assert!(cluster.image.is_active(NodeId(0)));
    assert_eq!(
        cluster.run(register(2)),
        Err(ControllerError::DuplicateBrokerRegistration),
        "another process while the first one is alive"
    );
    let second = cluster.run(register(1)).unwrap();
    assert!(second > first);
    assert_eq!(
        cluster.run(activate(first)),
        Err(ControllerError::StaleBrokerEpoch { expected: second, found: first })
    );
    cluster.run(activate(second)).unwrap();
    cluster.set_state(0, BrokerState::Fenced);
    cluster.run(register(2)).unwrap();
    cluster.check_replay();
}

#[test]
fn a_disk_that_came_back_empty_is_another_replica() {
    use crate::metadata::{CreateTopics, NewTopic};
    use ottla_protocol::model::PartitionId;
    let mut cluster = Cluster::of(3);
    let lists = [vec![0, 1, 2], vec![0]];
    let assignments =
        (0..).map(PartitionId).zip(lists.iter().map(|of| crate::metadata::testing::nodes(of)));
    let topics = assignments
        .map(|(at, nodes)| NewTopic {
            assignments: vec![(PartitionId(0), nodes)],
            ..NewTopic::with_defaults(format!("t{at}"))
        })
        .collect();
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    let before = cluster.image.broker(NodeId(0)).unwrap().registration.directories.clone();
    let held = |cluster: &Cluster, topic: &str| {
        cluster.image.topic(topic).unwrap().partitions[0].directory_of(NodeId(0)).unwrap()
    };
    assert_eq!((held(&cluster, "t0"), held(&cluster, "t1")), (before[0], before[0]));
    cluster.set_state(0, BrokerState::Fenced);
    let fresh = Uuid::from_u128(7 << 100);
    cluster.run(RegisterBroker { directories: vec![fresh], ..register(9) }).unwrap();
    assert_eq!(held(&cluster, "t0"), fresh, "it is built up again from its peers");
    assert_eq!(held(&cluster, "t1"), before[0], "what only it had is lost, and stays so");
    cluster.check_replay();
}

#[test]
fn a_broker_is_taken_out_once() {
    let mut cluster = Cluster::of(1);
    cluster.run(UnregisterBroker { id: NodeId(0) }).unwrap();
    let error = cluster.run(UnregisterBroker { id: NodeId(0) }).unwrap_err();
    assert_eq!(error.to_string(), "Broker ID 0 is not currently registered");
    cluster.check_replay();
}

#[test]
fn blocks_of_producer_ids_do_not_overlap() {
    let mut cluster = Cluster::of(1);
    let firsts: Vec<i64> =
        (0..3).map(|_| cluster.run(AllocateProducerIds).unwrap().first.0).collect();
    assert_eq!(firsts, [0, 1_000, 2_000]);
    cluster.check_replay();
}
