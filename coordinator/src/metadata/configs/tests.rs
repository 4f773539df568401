//! AlterConfigs and IncrementalAlterConfigs: what Kafka 4.3 answered, table by table.

use ottla_protocol::error_code::ErrorCode;

use super::*;
use crate::metadata::testing::{Cluster, seen};
use crate::metadata::{CreateTopics, NewTopic};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn cluster() -> Cluster {
    let mut cluster = Cluster::of(1);
    let topics = vec![NewTopic::with_defaults("t")];
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster
}

fn target(kind: i8, name: &str) -> AlterTarget {
    AlterTarget { kind, name: name.to_owned() }
}

fn change(key: &str, operation: i8, value: Option<&str>) -> ConfigChange {
    ConfigChange { key: key.to_owned(), operation, value: value.map(str::to_owned) }
}

fn alter(
    cluster: &mut Cluster,
    of: AlterTarget,
    changes: Vec<ConfigChange>,
) -> (ErrorCode, String) {
    let resources = vec![ResourceAlterations { target: of, changes }];
    let validation = Validation::AndApply;
    let command = IncrementalAlterConfigs { through: NodeId(0), resources, validation };
    let mut reply = cluster.run(command);
    seen(reply.pop().unwrap().1)
}

fn set(cluster: &mut Cluster, kind: i8, name: &str, key: &str, value: &str) -> (ErrorCode, String) {
    alter(cluster, target(kind, name), vec![change(key, SET, Some(value))])
}

/// Each row on the same cluster, after the one before: kind, name, key, operation, value; code and message.
type Row<'a> = (i8, &'a str, &'a str, i8, Option<&'a str>, ErrorCode, &'a str);

fn check(cluster: &mut Cluster, rows: &[Row<'_>]) {
    for (kind, name, key, operation, value, code, message) in rows {
        let found = alter(cluster, target(*kind, name), vec![change(key, *operation, *value)]);
        assert_eq!(found, (*code, (*message).to_owned()), "{kind} '{name}' {key}={value:?}");
    }
    cluster.check_replay();
}

#[test]
fn lists_of_topics_grow_and_shrink() {
    let mut cluster = cluster();
    let key = "cleanup.policy";
    for (operation, value, after) in [
        (APPEND, Some("compact"), Some("delete,compact")),
        (APPEND, Some("compact,delete"), Some("delete,compact")),
        (SUBTRACT, Some("delete"), Some("compact")),
        (SUBTRACT, Some("compact"), Some("")),
        (DELETE, None, None),
        (SUBTRACT, Some("delete"), Some("")),
    ] {
        let (code, _) =
            alter(&mut cluster, target(TOPIC, "t"), vec![change(key, operation, value)]);
        assert_eq!(code, ErrorCode::None);
        let resource = ConfigResource::topic("t");
        assert_eq!(cluster.image.config(&resource, key), after, "{operation} {value:?}");
    }
}

#[test]
fn topic_rules() {
    use ErrorCode::{
        InvalidConfig, InvalidRequest, InvalidTopicException, None as Ok, UnknownServerError,
        UnknownTopicOrPartition,
    };
    check(
        &mut cluster(),
        &[
            (TOPIC, "t", "retention.ms", SET, Some("5"), Ok, ""),
            (TOPIC, "t", "retention.ms", SET, Some(" 7 "), Ok, ""),
            (
                TOPIC,
                "t",
                "retention.ms",
                APPEND,
                Some("5"),
                InvalidConfig,
                "Can't APPEND to key retention.ms because its type is not LIST.",
            ),
            (
                TOPIC,
                "t",
                "foo",
                SUBTRACT,
                Some("5"),
                InvalidConfig,
                "Can't SUBTRACT to key foo because its type is not LIST.",
            ),
            (
                TOPIC,
                "t",
                "cleanup.policy",
                APPEND,
                Some("zz"),
                InvalidConfig,
                "Invalid value zz for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (TOPIC, "t", "retention.ms", 9, Some("5"), UnknownServerError, ""),
            (TOPIC, "t", "foo", SET, Some("5"), InvalidConfig, "Unknown topic config name: foo"),
            (TOPIC, "t", "foo", DELETE, None, Ok, ""),
            (
                TOPIC,
                "t",
                "retention.ms",
                SET,
                None,
                InvalidRequest,
                "Null value not supported for : retention.ms",
            ),
            (TOPIC, "t", "retention.ms", DELETE, Some("x"), Ok, ""),
            (
                TOPIC,
                "nope",
                "retention.ms",
                SET,
                Some("5"),
                UnknownTopicOrPartition,
                "The topic 'nope' does not exist.",
            ),
            (
                TOPIC,
                "",
                "retention.ms",
                SET,
                Some("5"),
                InvalidRequest,
                "Default topic resources are not allowed.",
            ),
            (
                TOPIC,
                "a b",
                "retention.ms",
                SET,
                Some("5"),
                InvalidTopicException,
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
            (
                TOPIC,
                "t",
                "segment.bytes",
                SET,
                Some("99999999999"),
                InvalidConfig,
                "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT",
            ),
            (3, "t", "retention.ms", SET, Some("5"), InvalidRequest, "Unknown resource type 3"),
        ],
    );
}

#[test]
fn broker_rules() {
    use ErrorCode::{InvalidConfig, InvalidRequest, None as Ok};
    check(
        &mut cluster(),
        &[
            (BROKER, "0", "log.cleaner.threads", SET, Some("2"), Ok, ""),
            (BROKER, "", "log.retention.ms", SET, Some("3600000"), Ok, ""),
            (BROKER, "0", "foo.bar", SET, Some("2"), Ok, ""),
            (
                BROKER,
                "0",
                "leader.replication.throttled.rate",
                SET,
                Some("x"),
                InvalidRequest,
                "Invalid value x for configuration leader.replication.throttled.rate: Not a number of type LONG",
            ),
            (
                BROKER,
                "0",
                "num.partitions",
                SET,
                Some("2"),
                InvalidRequest,
                "Cannot update these configs dynamically: [num.partitions]",
            ),
            (
                BROKER,
                "0",
                "log.cleaner.threads",
                SET,
                Some("x"),
                InvalidRequest,
                "Invalid value x for configuration log.cleaner.threads: Not a number of type INT",
            ),
            (
                BROKER,
                "5",
                "log.cleaner.threads",
                SET,
                Some("2"),
                InvalidRequest,
                "Unexpected broker id, expected 0, but received 5",
            ),
            (
                BROKER,
                "x",
                "log.cleaner.threads",
                SET,
                Some("2"),
                InvalidRequest,
                "Node id must be an integer, but it is: x",
            ),
            (
                BROKER,
                "",
                "listeners",
                SET,
                Some("PLAINTEXT://:1"),
                InvalidRequest,
                "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
            ),
            (
                BROKER,
                "",
                "ssl.keystore.type",
                SET,
                Some("PKCS12"),
                InvalidRequest,
                "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.type]",
            ),
            (BROKER, "0", "log.cleanup.policy", APPEND, Some("compact"), Ok, ""),
            (
                BROKER,
                "0",
                "num.partitions",
                APPEND,
                Some("2"),
                InvalidConfig,
                "Config value append is not allowed for config key: num.partitions",
            ),
            (BROKER, "0", "num.partitions", DELETE, None, Ok, ""),
            (
                BROKER,
                "0",
                "log.cleaner.threads",
                9,
                Some("1"),
                InvalidRequest,
                "Unknown operations type 9",
            ),
            (
                BROKER,
                "",
                "min.insync.replicas",
                SET,
                Some("0"),
                InvalidRequest,
                "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
            ),
            (
                BROKER,
                "0",
                "min.insync.replicas",
                SET,
                Some("1"),
                InvalidConfig,
                "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
            ),
            (
                BROKER,
                "",
                "min.insync.replicas",
                DELETE,
                None,
                InvalidConfig,
                "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
            ),
        ],
    );
}

#[test]
fn group_and_client_metrics_rules() {
    use ErrorCode::{InvalidConfig, InvalidRequest, None as Ok};
    let session = "consumer.session.timeout.ms";
    check(
        &mut cluster(),
        &[
            (GROUP, "g", session, SET, Some("50000"), Ok, ""),
            (
                GROUP,
                "g",
                session,
                SET,
                Some("5"),
                InvalidConfig,
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                GROUP,
                "g",
                "consumer.heartbeat.interval.ms",
                SET,
                Some("60000"),
                InvalidConfig,
                "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
            ),
            (
                GROUP,
                "g",
                "streams.num.standby.replicas",
                SET,
                Some("5"),
                InvalidConfig,
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
            (GROUP, "g", "foo", SET, Some("5"), InvalidConfig, "Unknown group config name: foo"),
            (
                GROUP,
                "",
                session,
                SET,
                Some("50000"),
                InvalidRequest,
                "Default group resources are not allowed.",
            ),
            (GROUP, "g", session, DELETE, None, Ok, ""),
            (METRICS, "m", "interval.ms", SET, Some("1000"), Ok, ""),
            (
                METRICS,
                "m",
                "interval.ms",
                SET,
                Some("10"),
                InvalidRequest,
                "Invalid value 10 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (METRICS, "m", "match", SET, Some("client_id=a.*"), Ok, ""),
            (
                METRICS,
                "m",
                "match",
                SET,
                Some("client_id=("),
                InvalidConfig,
                "Illegal client matching pattern: client_id=(",
            ),
            (
                METRICS,
                "m",
                "match",
                SET,
                Some("foo=a"),
                InvalidConfig,
                "Illegal client matching pattern: foo=a",
            ),
            (
                METRICS,
                "m",
                "metrics",
                APPEND,
                Some("a"),
                InvalidConfig,
                "Can't APPEND to key metrics because its type is not LIST.",
            ),
            (
                METRICS,
                "m",
                "foo",
                SET,
                Some("b"),
                InvalidRequest,
                "Unknown client metrics configuration: foo",
            ),
            (
                METRICS,
                "",
                "interval.ms",
                SET,
                Some("1000"),
                InvalidRequest,
                "Subscription name can't be empty",
            ),
        ],
    );
}

#[test]
fn a_resource_or_key_that_stands_twice_is_refused() {
    let mut cluster = cluster();
    let five = || vec![change("retention.ms", SET, Some("5"))];
    let alterations =
        |name: &str| ResourceAlterations { target: target(TOPIC, name), changes: five() };
    let resources = vec![alterations("t"), alterations("t"), alterations("nope")];
    let validation = Validation::AndApply;
    let reply = cluster.run(IncrementalAlterConfigs { through: NodeId(0), resources, validation });
    let found: Vec<_> = reply.into_iter().map(|(_, result)| seen(result)).collect();
    let twice = (ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned());
    assert_eq!(found[..2], [twice.clone(), twice]);
    assert_eq!(found[2].0, ErrorCode::UnknownTopicOrPartition);
    let (_, message) = alter(&mut cluster, target(TOPIC, "t"), [five(), five()].concat());
    assert_eq!(message, "Error due to duplicate config keys");
    assert!(cluster.image.topic_configs("t").is_none());
}

#[test]
fn one_refused_key_stops_its_resource_only() {
    let mut cluster = cluster();
    let changes =
        vec![change("retention.ms", SET, Some("5")), change("segment.ms", SET, Some("x"))];
    alter(&mut cluster, target(TOPIC, "t"), changes);
    assert!(cluster.image.topic_configs("t").is_none());
    let changes = vec![
        change("num.partitions", SET, Some("5")),
        change("default.replication.factor", SET, Some("5")),
    ];
    let (_, message) = alter(&mut cluster, target(BROKER, "0"), changes);
    assert_eq!(
        message,
        "Cannot update these configs dynamically: [num.partitions, default.replication.factor]"
    );
}

fn replace(
    cluster: &mut Cluster,
    of: AlterTarget,
    values: &[(&str, Option<&str>)],
) -> (ErrorCode, String) {
    let values = values.iter().map(|(key, v)| ((*key).to_owned(), v.map(str::to_owned))).collect();
    let validation = Validation::AndApply;
    let resources = vec![ResourceValues { target: of, values }];
    let mut reply = cluster.run(AlterConfigs { through: NodeId(0), resources, validation });
    seen(reply.pop().unwrap().1)
}

#[test]
fn the_old_request_replaces_everything() {
    let mut cluster = cluster();
    let topic = || target(TOPIC, "t");
    replace(&mut cluster, topic(), &[("retention.ms", Some("5")), ("segment.ms", Some("100"))]);
    assert_eq!(cluster.image.topic_configs("t").unwrap().len(), 2);
    replace(&mut cluster, topic(), &[("retention.ms", Some("6"))]);
    let expected: Values = [("retention.ms".to_owned(), "6".to_owned())].into();
    assert_eq!(**cluster.image.topic_configs("t").unwrap(), expected);
    assert_eq!(replace(&mut cluster, topic(), &[]).0, ErrorCode::None);
    assert!(cluster.image.topic_configs("t").is_none());
    assert_eq!(
        replace(&mut cluster, topic(), &[("retention.ms", None)]).1,
        "Null value not supported for : retention.ms"
    );
    assert_eq!(replace(&mut cluster, target(8, "0"), &[]).1, "Unknown resource type 8");
    assert_eq!(
        replace(&mut cluster, target(BROKER, ""), &[]).1,
        "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
    );
    assert_eq!(
        replace(&mut cluster, target(BROKER, "0"), &[("log.cleaner.threads", Some("2"))]).0,
        ErrorCode::None
    );
    cluster.check_replay();
}

#[test]
fn validating_only_changes_nothing() {
    let mut cluster = cluster();
    let resources = vec![ResourceAlterations {
        target: target(TOPIC, "t"),
        changes: vec![change("retention.ms", SET, Some("5"))],
    }];
    let validation = Validation::Only;
    let reply = cluster.run(IncrementalAlterConfigs { through: NodeId(0), resources, validation });
    assert_eq!(reply[0].1, Ok(()));
    assert!(cluster.image.topic_configs("t").is_none());
    assert_eq!(set(&mut cluster, TOPIC, "t", "retention.ms", "5").0, ErrorCode::None);
}
