//! CreateTopics: tables of requests and what Kafka 4.3 answers.

use ottla_config::describe::ConfigSource;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::LeaderEpoch;

use super::*;
use crate::metadata::BrokerState;
use crate::metadata::testing::{Cluster, nodes, seen};

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partitions, replication_factor, ..NewTopic::with_defaults(name) }
}

fn assigned_topic(name: &str, lists: &[(i32, &[i32])]) -> NewTopic {
    NewTopic {
        assignments: lists.iter().map(|(p, list)| (PartitionId(*p), nodes(list))).collect(),
        ..NewTopic::with_defaults(name)
    }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> NewTopic {
    NewTopic {
        configs: configs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect(),
        ..topic(name, 1, 1)
    }
}

fn create(cluster: &mut Cluster, topics: Vec<NewTopic>) -> CreateTopicsReply {
    cluster.run(CreateTopics { topics, validation: Validation::AndApply })
}

/// One topic on one node that has `taken` and `a.b`.
fn check(wanted: NewTopic, code: ErrorCode, message: &str) {
    let mut cluster = Cluster::of(1);
    create(&mut cluster, vec![topic("taken", 1, 1), topic("a.b", 1, 1)]);
    let records = cluster.log.len();
    let mut reply = create(&mut cluster, vec![wanted]);
    let (name, result) = reply.topics.pop().unwrap();
    assert_eq!(seen(result), (code, message.to_owned()), "{name}");
    assert_eq!(cluster.log.len() > records, code == ErrorCode::None, "{name}");
}

#[test]
fn a_topic_gets_its_records_in_order() {
    let mut cluster = Cluster::of(1);
    let from = cluster.log.len();
    let wanted = NewTopic { partitions: 2, ..configured("t", &[("retention.ms", Some("5"))]) };
    let reply = create(&mut cluster, vec![wanted]);
    let created = reply.topics[0].1.as_ref().unwrap();
    let id = created.id;
    assert_eq!((created.partitions, created.replication_factor), (2, 1));
    let partition = |partition| MetadataRecord::Partition {
        topic_id: id,
        partition: PartitionId(partition),
        replicas: nodes(&[0]),
        directories: vec![Uuid::from_u128(1 << 100)],
        isr: nodes(&[0]),
        leader: NodeId(0),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        adding: Vec::new(),
        removing: Vec::new(),
        keys: Vec::new(),
        formation: None,
        founders: Vec::new(),
        founded_in: Vec::new(),
    };
    assert_eq!(
        cluster.log[from..],
        [
            MetadataRecord::Topic { name: "t".into(), id },
            MetadataRecord::Config {
                resource: ResourceType::Topic,
                name: "t".into(),
                key: "retention.ms".into(),
                value: Some("5".into()),
            },
            partition(0),
            partition(1),
        ]
    );
    assert_eq!(cluster.delta.partitions[&id].len(), 2);
    cluster.check_replay();
}

#[test]
fn names_are_checked() {
    use ErrorCode::{InvalidRequest, InvalidTopicException, TopicAlreadyExists};
    check(topic("taken", 1, 1), TopicAlreadyExists, "Topic 'taken' already exists.");
    check(
        topic("a_b", 1, 1),
        InvalidTopicException,
        "Topic 'a_b' collides with existing topic: a.b",
    );
    check(topic("a.b", 1, 1), TopicAlreadyExists, "Topic 'a.b' already exists.");
    check(
        topic("", 1, 1),
        InvalidTopicException,
        "Topic name is invalid: the empty string is not allowed",
    );
    check(topic("..", 1, 1), InvalidTopicException, "Topic name is invalid: '..' is not allowed");
    check(
        topic("__cluster_metadata", 1, 1),
        InvalidRequest,
        "Creation of internal topic __cluster_metadata is prohibited.",
    );
    check(topic("__consumer_offsets", 1, 1), ErrorCode::None, "");
}

#[test]
fn numbers_are_checked() {
    use ErrorCode::{InvalidPartitions, InvalidReplicationFactor, PolicyViolation};
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    let partitions = "Number of partitions was set to an invalid non-positive value.";
    check(topic("t", 1, 0), InvalidReplicationFactor, factor);
    check(topic("t", -2, -2), InvalidReplicationFactor, factor);
    check(topic("t", 0, 1), InvalidPartitions, partitions);
    check(topic("t", -2, 1), InvalidPartitions, partitions);
    check(
        topic("t", 1, 2),
        InvalidReplicationFactor,
        "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
    );
    check(
        topic("t", 10_001, 1),
        PolicyViolation,
        "Excessively large number of partitions per request.",
    );
    check(
        topic("t", 10_000, 1),
        PolicyViolation,
        "Unable to perform excessively large batch operation.",
    );
    check(
        topic("t", i32::MAX, 1),
        PolicyViolation,
        "Excessively large number of partitions per request.",
    );
}

#[test]
fn assignments_are_checked() {
    use ErrorCode::{InvalidReplicaAssignment as Refused, InvalidRequest};
    let with = |partitions, replication_factor| NewTopic {
        partitions,
        replication_factor,
        ..assigned_topic("t", &[(0, &[0])])
    };
    let factor =
        "A manual partition assignment was specified, but replication factor was not set to -1.";
    let count = "A manual partition assignment was specified, but numPartitions was not set to -1.";
    check(with(-1, 1), InvalidRequest, factor);
    check(with(1, 1), InvalidRequest, factor);
    check(with(1, -1), InvalidRequest, count);
    check(with(-1, -1), ErrorCode::None, "");
    let list = |lists: &[(i32, &[i32])], message: &str| {
        check(assigned_topic("t", lists), Refused, message);
    };
    list(&[(0, &[0]), (0, &[0])], "Found multiple manual partition assignments for partition 0");
    let dense = "partitions should be a consecutive 0-based integer sequence";
    list(&[(0, &[0]), (2, &[0])], dense);
    list(&[(1, &[0])], dense);
    list(&[(-1, &[0])], dense);
    list(&[(0, &[])], "The manual partition assignment includes an empty replica list.");
    list(
        &[(0, &[7])],
        "The manual partition assignment includes broker 7, but no such broker is registered.",
    );
    list(&[(0, &[0, 0])], "The manual partition assignment includes the broker 0 more than once.");
}

#[test]
fn assignments_of_three_brokers_are_kept_and_compared() {
    let mut cluster = Cluster::of(3);
    let wanted = assigned_topic("t", &[(1, &[2, 1]), (0, &[1, 0])]);
    create(&mut cluster, vec![wanted]);
    let topic = cluster.image.topic("t").unwrap();
    assert_eq!(topic.partitions[0].replicas, nodes(&[1, 0]));
    assert_eq!(topic.partitions[0].leader, NodeId(1));
    assert_eq!(topic.partitions[1].replicas, nodes(&[2, 1]));
    let mut reply = create(&mut cluster, vec![assigned_topic("u", &[(0, &[1, 0]), (1, &[2])])]);
    assert_eq!(
        seen(reply.topics.pop().unwrap().1).1,
        "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s)."
    );
}

#[test]
fn configs_are_checked() {
    use ErrorCode::InvalidConfig as Refused;
    let with = |configs: &[(&str, Option<&str>)], message: &str| {
        check(configured("t", configs), Refused, message);
    };
    with(&[("foo", Some("1"))], "Unknown topic config name: foo");
    with(
        &[("retention.ms", Some("x"))],
        "Invalid value x for configuration retention.ms: Not a number of type LONG",
    );
    with(
        &[("retention.ms", Some("-2"))],
        "Invalid value -2 for configuration retention.ms: Value must be at least -1",
    );
    with(
        &[("cleanup.policy", Some("foo"))],
        "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
    );
    with(
        &[("min.cleanable.dirty.ratio", Some("2"))],
        "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    );
    with(
        &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))],
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
    );
    with(
        &[("retention.ms", None), ("foo", None)],
        "Null value not supported for topic configs: retention.ms,foo",
    );
    with(
        &[("remote.storage.enable", Some("true"))],
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    );
    check(configured("t", &[("retention.ms", Some("5"))]), ErrorCode::None, "");
}

#[test]
fn what_holds_for_a_new_topic_names_its_source() {
    let mut cluster =
        Cluster::with(1, &[("log.segment.bytes", "2000000"), ("num.partitions", "3")]);
    let wanted = NewTopic {
        partitions: -1,
        replication_factor: -1,
        ..configured("t", &[("retention.ms", Some("77"))])
    };
    let reply = create(&mut cluster, vec![wanted]);
    let created = reply.topics[0].1.as_ref().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let source = |name: &str| {
        let config = created.configs.iter().find(|config| config.name == name).unwrap();
        (config.source, config.value.clone().unwrap())
    };
    assert_eq!(source("retention.ms"), (ConfigSource::Topic, "77".into()));
    assert_eq!(source("segment.bytes"), (ConfigSource::StaticBroker, "2000000".into()));
    assert_eq!(source("min.insync.replicas"), (ConfigSource::DynamicDefaultBroker, "1".into()));
    assert_eq!(source("cleanup.policy"), (ConfigSource::Default, "delete".into()));
    assert!(created.configs.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn a_name_that_stands_twice_gets_one_result_and_comes_last() {
    let mut cluster = Cluster::of(1);
    let topics =
        ["z", "b b", "dd", "dd", "__cluster_metadata", "m"].map(|name| topic(name, 1, 1)).to_vec();
    let reply = create(&mut cluster, topics);
    let results: Vec<(String, ErrorCode)> =
        reply.topics.into_iter().map(|(name, result)| (name, seen(result).0)).collect();
    use ErrorCode::{InvalidRequest, InvalidTopicException, None};
    assert_eq!(
        results,
        [
            ("z".to_owned(), None),
            ("b b".to_owned(), InvalidTopicException),
            ("m".to_owned(), None),
            ("dd".to_owned(), InvalidRequest),
            ("__cluster_metadata".to_owned(), InvalidRequest),
        ]
    );
    assert_eq!(cluster.image.topic_count(), 2);
}

#[test]
fn validating_only_creates_nothing() {
    let mut cluster = Cluster::of(1);
    let from = cluster.log.len();
    let reply =
        cluster.run(CreateTopics { topics: vec![topic("t", 1, 1)], validation: Validation::Only });
    assert!(reply.topics[0].1.is_ok());
    assert_eq!(cluster.log.len(), from);
}

#[test]
fn a_fenced_broker_is_not_in_sync_and_all_fenced_is_refused() {
    let mut cluster = Cluster::of(2);
    cluster.set_state(1, BrokerState::Fenced);
    create(&mut cluster, vec![assigned_topic("t", &[(0, &[1, 0])])]);
    let partition = &cluster.image.topic("t").unwrap().partitions[0];
    assert_eq!((partition.isr.clone(), partition.leader), (nodes(&[0]), NodeId(0)));
    let mut reply = create(&mut cluster, vec![assigned_topic("u", &[(0, &[1])])]);
    assert_eq!(
        seen(reply.topics.pop().unwrap().1).1,
        "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown."
    );
    cluster.set_state(0, BrokerState::Fenced);
    let mut reply = create(&mut cluster, vec![topic("v", 1, 1)]);
    assert_eq!(
        seen(reply.topics.pop().unwrap().1).1,
        "Unable to replicate the partition 1 time(s): All brokers are currently fenced."
    );
}

#[test]
fn internal_topics_get_what_their_coordinators_need() {
    let mut cluster = Cluster::with(1, &[("offsets.topic.num.partitions", "8")]);
    let wanted = cluster.settings.automatic_topic("__consumer_offsets", 1);
    create(&mut cluster, vec![wanted]);
    let topic = cluster.image.topic("__consumer_offsets").unwrap();
    assert_eq!((topic.partitions.len(), topic.replication_factor()), (8, 1));
    let configs = cluster.image.topic_configs("__consumer_offsets").unwrap();
    assert_eq!(configs["cleanup.policy"], "compact");
    assert_eq!(configs["compression.type"], "producer");
    assert_eq!(configs["segment.bytes"], "104857600");
    assert_eq!(cluster.settings.automatic_topic("t", 1), NewTopic::with_defaults("t"));
    assert_eq!(cluster.settings.automatic_topic("__consumer_offsets", 5).replication_factor, 3);
}
