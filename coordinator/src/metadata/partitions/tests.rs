//! CreatePartitions: counts, assignments, duplicates.

use ottla_protocol::error_code::ErrorCode;

use super::*;
use crate::metadata::testing::{Cluster, nodes, seen};
use crate::metadata::{CreateTopics, NewTopic};

fn cluster() -> Cluster {
    let mut cluster = Cluster::of(1);
    let topics = vec![NewTopic::with_defaults("t")];
    cluster.run(CreateTopics { topics, ..CreateTopics::default() });
    cluster
}

fn grown(name: &str, count: i32, lists: Option<&[&[i32]]>) -> GrownTopic {
    GrownTopic {
        name: name.to_owned(),
        count,
        assignments: lists.map(|lists| lists.iter().map(|list| nodes(list)).collect()),
    }
}

fn check(wanted: GrownTopic, code: ErrorCode, message: &str) {
    let mut cluster = cluster();
    let topics = vec![wanted.clone()];
    let mut reply = cluster.run(CreatePartitions { topics, ..CreatePartitions::default() });
    assert_eq!(seen(reply.pop().unwrap().1), (code, message.to_owned()), "{wanted:?}");
    let partitions = cluster.image.topic("t").unwrap().partitions.len();
    let expected = if code == ErrorCode::None { wanted.count as usize } else { 1 };
    assert_eq!(partitions, expected, "{wanted:?}");
    cluster.check_replay();
}

#[test]
fn topics_only_grow() {
    use ErrorCode::{InvalidPartitions, UnknownServerError, UnknownTopicOrPartition};
    check(grown("t", 3, None), ErrorCode::None, "");
    check(grown("t", 1, None), InvalidPartitions, "Topic already has 1 partition(s).");
    for count in [0, -1] {
        let message =
            format!("The topic t currently has 1 partition(s); {count} would not be an increase.");
        check(grown("t", count, None), InvalidPartitions, &message);
    }
    check(grown("nope", 2, None), UnknownTopicOrPartition, "");
    check(grown("t", 20_000, None), UnknownServerError, "");
    check(grown("t", i32::MAX, None), UnknownServerError, "");
}

#[test]
fn assignments_are_checked() {
    use ErrorCode::InvalidReplicaAssignment as Refused;
    check(grown("t", 3, Some(&[&[0], &[0]])), ErrorCode::None, "");
    check(
        grown("t", 3, Some(&[&[0]])),
        Refused,
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
    );
    check(
        grown("t", 2, Some(&[&[9]])),
        Refused,
        "The manual partition assignment includes broker 9, but no such broker is registered.",
    );
    check(
        grown("t", 2, Some(&[&[]])),
        Refused,
        "The manual partition assignment includes an empty replica list.",
    );
}

#[test]
fn duplicates_come_first_and_change_nothing() {
    let mut cluster = cluster();
    let topics =
        vec![grown("zz", 1, None), grown("t", 2, None), grown("aa", 1, None), grown("aa", 2, None)];
    let reply = cluster.run(CreatePartitions { topics, validation: Validation::Only });
    let found: Vec<_> = reply.into_iter().map(|(name, result)| (name, seen(result).0)).collect();
    assert_eq!(
        found,
        [
            ("aa".to_owned(), ErrorCode::InvalidRequest),
            ("zz".to_owned(), ErrorCode::UnknownTopicOrPartition),
            ("t".to_owned(), ErrorCode::None),
        ]
    );
    assert_eq!(cluster.image.topic("t").unwrap().partitions.len(), 1, "validate only");
}
