//! Random sequences of commands keep every invariant, and the log gives the image back.

use ottla_protocol::model::{NodeId, PartitionId};
use proptest::prelude::*;

use super::testing::Cluster;
use super::*;

/// A command in terms small enough that names, brokers and partitions meet.
#[derive(Clone, Debug)]
enum Step {
    Create { topic: u8, partitions: i32, factor: i16 },
    CreateAssigned { topic: u8, lists: Vec<Vec<i32>> },
    Delete { topic: u8, by_id: bool },
    Grow { topic: u8, count: i32 },
    SetTopicConfig { topic: u8, operation: i8, policy: bool },
    Elect { election: i8 },
    Reassign { topic: u8, partition: i32, target: Option<Vec<i32>> },
    State { broker: i32, state: u8 },
    Unregister { broker: i32 },
    Register { broker: i32 },
    ProducerIds,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0u8..5;
    let list = || prop::collection::vec(0i32..5, 0..4);
    prop_oneof![
        3 => (topic(), -1i32..4, -1i16..4)
            .prop_map(|(topic, partitions, factor)| Step::Create { topic, partitions, factor }),
        2 => (topic(), prop::collection::vec(list(), 0..3))
            .prop_map(|(topic, lists)| Step::CreateAssigned { topic, lists }),
        2 => (topic(), any::<bool>()).prop_map(|(topic, by_id)| Step::Delete { topic, by_id }),
        2 => (topic(), -1i32..6).prop_map(|(topic, count)| Step::Grow { topic, count }),
        2 => (topic(), 0i8..5, any::<bool>())
            .prop_map(|(topic, operation, policy)| Step::SetTopicConfig { topic, operation, policy }),
        2 => (0i8..3).prop_map(|election| Step::Elect { election }),
        4 => (topic(), 0i32..4, prop::option::of(list()))
            .prop_map(|(topic, partition, target)| Step::Reassign { topic, partition, target }),
        4 => (0i32..5, 0u8..3).prop_map(|(broker, state)| Step::State { broker, state }),
        1 => (0i32..5).prop_map(|broker| Step::Unregister { broker }),
        2 => (0i32..5).prop_map(|broker| Step::Register { broker }),
        1 => Just(Step::ProducerIds),
    ]
}

fn name(topic: u8) -> String {
    // Two of them collide.
    ["a", "b.c", "b_c", "d", "__consumer_offsets"][usize::from(topic)].to_owned()
}

fn nodes(ids: Vec<i32>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn take(cluster: &mut Cluster, step: Step) {
    match step {
        Step::Create { topic, partitions, factor: replication_factor } => {
            let wanted =
                NewTopic { partitions, replication_factor, ..NewTopic::with_defaults(name(topic)) };
            cluster.run(CreateTopics { topics: vec![wanted], ..CreateTopics::default() });
        }
        Step::CreateAssigned { topic, lists } => {
            let assignments = (0..).map(PartitionId).zip(lists.into_iter().map(nodes)).collect();
            let wanted = NewTopic { assignments, ..NewTopic::with_defaults(name(topic)) };
            cluster.run(CreateTopics { topics: vec![wanted], ..CreateTopics::default() });
        }
        Step::Delete { topic, by_id } => {
            let known = cluster.image.topic(&name(topic)).map(|known| known.id);
            let doomed = match known.filter(|_| by_id) {
                Some(id) => DoomedTopic::by_id(id),
                None => DoomedTopic::by_name(name(topic)),
            };
            cluster.run(DeleteTopics { topics: vec![doomed] });
        }
        Step::Grow { topic, count } => {
            let topics = vec![GrownTopic { name: name(topic), count, assignments: None }];
            cluster.run(CreatePartitions { topics, ..CreatePartitions::default() });
        }
        Step::SetTopicConfig { topic, operation, policy } => {
            let (key, value) =
                if policy { ("cleanup.policy", "compact") } else { ("flush.ms", "9") };
            let change =
                ConfigChange { key: key.to_owned(), operation, value: Some(value.to_owned()) };
            let target = AlterTarget { kind: 2, name: name(topic) };
            cluster.run(IncrementalAlterConfigs {
                through: NodeId(0),
                resources: vec![ResourceAlterations { target, changes: vec![change] }],
                validation: Validation::AndApply,
            });
        }
        Step::Elect { election } => {
            let _ = cluster.run(ElectLeaders { election: election.into(), partitions: None });
        }
        Step::Reassign { topic, partition, target } => {
            let partitions = vec![(PartitionId(partition), target.map(nodes))];
            let topics = vec![TopicReassignments { topic: name(topic), partitions }];
            let factor_change = FactorChange::Allowed;
            cluster.run(AlterPartitionReassignments { topics, factor_change });
        }
        Step::State { broker, state } => {
            let Some(epoch) =
                cluster.image.broker(NodeId(broker)).map(|known| known.registration.epoch)
            else {
                return;
            };
            let state = [BrokerState::Active, BrokerState::ControlledShutdown, BrokerState::Fenced]
                [usize::from(state)];
            cluster.run(ChangeBrokerState { id: NodeId(broker), epoch, state }).unwrap();
        }
        Step::Unregister { broker } => {
            let _ = cluster.run(UnregisterBroker { id: NodeId(broker) });
        }
        Step::Register { broker } => {
            if cluster.image.broker(NodeId(broker)).is_none() {
                cluster.add_broker(broker, (broker % 2 == 0).then_some("even"));
            }
        }
        Step::ProducerIds => {
            cluster.run(AllocateProducerIds);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_image_valid(steps in prop::collection::vec(step(), 1..60)) {
        let mut cluster = Cluster::of(3);
        for step in steps {
            // `run` checks that each record applies, and the image's invariants.
            take(&mut cluster, step);
        }
        cluster.check_replay();
    }
}

#[test]
fn a_damaged_log_is_refused() {
    let mut cluster = Cluster::of(1);
    cluster.run(CreateTopics {
        topics: vec![NewTopic::with_defaults("t")],
        ..CreateTopics::default()
    });
    let id = cluster.image.topic("t").unwrap().id;
    let unknown = ottla_protocol::model::Uuid::from_u128(77);
    let mut apply = |record: MetadataRecord| cluster.image.apply_all([&record]).unwrap_err();
    assert_eq!(
        apply(MetadataRecord::TopicRemoved { id: unknown }),
        ApplyError::UnknownTopicId(unknown)
    );
    assert_eq!(
        apply(MetadataRecord::PartitionChange(PartitionChange::of(id, PartitionId(1)))),
        ApplyError::UnknownPartition { topic: "t".into(), partition: PartitionId(1) }
    );
    assert_eq!(
        apply(MetadataRecord::Topic { name: "t".into(), id: unknown }),
        ApplyError::TopicTwice("t".into())
    );
    assert_eq!(
        apply(MetadataRecord::BrokerRemoved { id: NodeId(9) }),
        ApplyError::UnknownBroker(NodeId(9))
    );
}
