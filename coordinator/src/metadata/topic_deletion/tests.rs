//! DeleteTopics: by name, by id, and the odd requests.

use ottla_protocol::error_code::ErrorCode;

use super::*;
use crate::metadata::testing::{Cluster, seen};
use crate::metadata::{
    AlterTarget, ConfigChange, ConfigResource, CreateTopics, IncrementalAlterConfigs, NewTopic,
    ResourceAlterations, Validation,
};
use ottla_protocol::model::NodeId;

fn cluster_with(names: &[&str]) -> Cluster {
    let mut cluster = Cluster::of(1);
    let topics = names.iter().map(|name| NewTopic::with_defaults(*name)).collect();
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster
}

fn check(
    cluster: &mut Cluster,
    topics: Vec<DoomedTopic>,
    expected: &[(Option<&str>, ErrorCode, &str)],
) {
    let reply = cluster.run(DeleteTopics { topics });
    let found: Vec<_> = reply
        .into_iter()
        .map(|topic| {
            let (code, message) = seen(topic.result);
            (topic.name, code, message)
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, code, message)| (name.map(str::to_owned), *code, (*message).to_owned()))
        .collect();
    assert_eq!(found, expected);
    cluster.check_replay();
}

#[test]
fn topics_go_by_name_and_by_id() {
    let mut cluster = cluster_with(&["a", "b", "c"]);
    let id = cluster.image.topic("b").unwrap().id;
    let topics = vec![DoomedTopic::by_name("a"), DoomedTopic::by_id(id)];
    let mut reply = cluster.run(DeleteTopics { topics });
    reply.sort_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<_> = reply.iter().map(|topic| topic.name.as_deref()).collect();
    assert_eq!(names, [Some("a"), Some("b")]);
    assert!(reply.iter().all(|topic| topic.result.is_ok()));
    assert_eq!(cluster.delta.deleted_topics.len(), 2);
    assert!(cluster.image.topic("a").is_none() && cluster.image.topic_by_id(id).is_none());
    assert!(cluster.image.topic("c").is_some());
}

#[test]
fn odd_requests_get_kafkas_answers() {
    use ErrorCode::{InvalidRequest, UnknownTopicId, UnknownTopicOrPartition};
    let mut cluster = cluster_with(&["a"]);
    let id = cluster.image.topic("a").unwrap().id;
    let unknown = "This server does not host this topic-partition.";
    for name in ["nope", "", "a b", "__cluster_metadata"] {
        check(
            &mut cluster,
            vec![DoomedTopic::by_name(name)],
            &[(Some(name), UnknownTopicOrPartition, unknown)],
        );
    }
    check(
        &mut cluster,
        vec![DoomedTopic::by_id(Uuid::from_u128(5))],
        &[(None, UnknownTopicId, "This server does not host this topic ID.")],
    );
    check(
        &mut cluster,
        vec![DoomedTopic { name: None, id: Uuid::nil() }],
        &[(None, InvalidRequest, "Neither topic name nor id were specified.")],
    );
    check(
        &mut cluster,
        vec![DoomedTopic { name: Some("a".into()), id }],
        &[(Some("a"), InvalidRequest, "You may not specify both topic name and topic id.")],
    );
    check(
        &mut cluster,
        vec![DoomedTopic::by_name("a"), DoomedTopic::by_name("a")],
        &[(Some("a"), InvalidRequest, "Duplicate topic name.")],
    );
    check(
        &mut cluster,
        vec![DoomedTopic::by_id(id), DoomedTopic::by_id(id)],
        &[(None, InvalidRequest, "Duplicate topic id.")],
    );
    check(
        &mut cluster,
        vec![DoomedTopic::by_id(id), DoomedTopic::by_name("a")],
        &[(
            Some("a"),
            InvalidRequest,
            "The provided topic name maps to an ID that was already supplied.",
        )],
    );
    assert!(cluster.image.topic("a").is_some());
}

#[test]
fn a_deleted_topics_configs_go_with_it() {
    let mut cluster = cluster_with(&["a"]);
    let reply = cluster.run(IncrementalAlterConfigs {
        through: NodeId(0),
        resources: vec![ResourceAlterations {
            target: AlterTarget { kind: 2, name: "a".into() },
            changes: vec![ConfigChange {
                key: "retention.ms".into(),
                operation: 0,
                value: Some("5".into()),
            }],
        }],
        validation: Validation::AndApply,
    });
    assert!(reply[0].1.is_ok());
    assert!(cluster.delta.configs.contains(&ConfigResource::topic("a")));
    cluster.run(DeleteTopics { topics: vec![DoomedTopic::by_name("a")] });
    assert!(cluster.image.topic_configs("a").is_none());
    cluster.run(CreateTopics {
        topics: vec![NewTopic::with_defaults("a")],
        validation: Validation::AndApply,
    });
    assert!(cluster.image.topic_configs("a").is_none());
    cluster.check_replay();
}

#[test]
fn deletion_can_be_disabled() {
    let mut cluster = Cluster::with(1, &[("delete.topic.enable", "false")]);
    cluster.run(CreateTopics {
        topics: vec![NewTopic::with_defaults("a")],
        validation: Validation::AndApply,
    });
    check(
        &mut cluster,
        vec![DoomedTopic::by_name("a")],
        &[(Some("a"), ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.")],
    );
    assert!(cluster.image.topic("a").is_some());
}
