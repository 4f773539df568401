//! CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords.
//!
//! Owns the life of topics and everything that may be wrong with a request for one.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, append, latest, topic, topic_with, until, versions};
use crate::batch::Batch;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("create-topics", create),
    ("create-topics-wrong", create_wrong),
    ("create-topics-assignments", assignments),
    ("create-partitions", create_partitions),
    ("delete-topics", delete),
    ("delete-records", delete_records),
];

fn simple(name: &str, partitions: i32, replicas: i16) -> Value {
    json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": replicas})
}

fn body(topics: &[Value], validate: bool) -> Value {
    json!({"Topics": topics, "timeoutMs": 10000, "validateOnly": validate})
}

fn create(s: &mut Session) -> Result<()> {
    for v in versions("CreateTopics").iter() {
        let name = format!("ct-v{v}");
        let mut with_configs = simple(&name, 2, 1);
        with_configs["Configs"] = json!([{"Name": "retention.ms", "Value": "1000000"},
            {"Name": "cleanup.policy", "Value": "compact,delete"}, {"Name": "segment.bytes", "Value": "2097152"}]);
        s.ask("validate only", "CreateTopics", v, &body(&[with_configs.clone()], true))?;
        s.ask("create", "CreateTopics", v, &body(&[with_configs.clone()], false))?;
        s.ask("again", "CreateTopics", v, &body(&[with_configs.clone()], false))?;
        s.ask("again, validate only", "CreateTopics", v, &body(&[with_configs], true))?;
        if v >= 4 {
            s.ask(
                "defaults",
                "CreateTopics",
                v,
                &body(&[simple(&format!("{name}-default"), -1, -1)], false),
            )?;
        } else {
            s.ask(
                "no defaults yet",
                "CreateTopics",
                v,
                &body(&[simple(&format!("{name}-none"), -1, -1)], false),
            )?;
        }
        s.ask("none", "CreateTopics", v, &body(&[], false))?;
    }
    Ok(())
}

fn create_wrong(s: &mut Session) -> Result<()> {
    let long = "x".repeat(250);
    let config = |key: &str, value: Value| {
        let mut t = simple("ctw-config", 1, 1);
        t["Configs"] = json!([{"Name": key, "Value": value}]);
        t
    };
    topic(s, "ctw.dot", 1)?;
    for v in [2, 5, latest("CreateTopics")] {
        for (label, topics) in [
            ("no partitions", vec![simple("ctw-a", 0, 1)]),
            ("negative partitions", vec![simple("ctw-a", -2, 1)]),
            ("no replicas", vec![simple("ctw-a", 1, 0)]),
            ("too many replicas", vec![simple("ctw-a", 1, 2)]),
            ("empty name", vec![simple("", 1, 1)]),
            ("dot", vec![simple(".", 1, 1)]),
            ("dots", vec![simple("..", 1, 1)]),
            ("bad character", vec![simple("a b", 1, 1)]),
            ("long name", vec![simple(&long, 1, 1)]),
            ("longest name", vec![simple(&long[1..], 0, 1)]),
            ("collision", vec![simple("ctw_dot", 1, 1)]),
            ("twice", vec![simple("ctw-b", 1, 1), simple("ctw-b", 1, 1)]),
            (
                "one good, one bad",
                vec![simple(&format!("ctw-good-{v}"), 1, 1), simple("a/b", 1, 1)],
            ),
            ("internal name", vec![simple("__cluster_metadata", 1, 1)]),
            ("unknown config", vec![config("no.such.key", "1".into())]),
            ("not a number", vec![config("retention.ms", "soon".into())]),
            ("out of bounds", vec![config("segment.bytes", "1".into())]),
            ("bad choice", vec![config("cleanup.policy", "burn".into())]),
            ("bad codec", vec![config("compression.type", "rar".into())]),
            ("null value", vec![config("retention.ms", Value::Null)]),
            ("bad boolean", vec![config("preallocate", "maybe".into())]),
            ("bad ratio", vec![config("min.cleanable.dirty.ratio", "2".into())]),
            ("min.insync.replicas of zero", vec![config("min.insync.replicas", "0".into())]),
        ] {
            s.ask(label, "CreateTopics", v, &body(&topics, false))?;
        }
    }
    Ok(())
}

fn assignments(s: &mut Session) -> Result<()> {
    let placed = |name: &str, parts: &[(i32, &[i32])]| {
        let list: Vec<Value> = parts
            .iter()
            .map(|(p, brokers)| json!({"PartitionIndex": p, "BrokerIds": brokers}))
            .collect();
        json!({"Name": name, "NumPartitions": -1, "ReplicationFactor": -1, "Assignments": list})
    };
    let node = s.quietly("Metadata", 1, &json!({"Topics": []}))?["Brokers"][0]["NodeId"]
        .as_i64()
        .unwrap_or(0);
    let node = i32::try_from(node)?;
    let v = latest("CreateTopics");
    for (label, t) in [
        ("good", placed("cta-good", &[(0, &[node]), (1, &[node])])),
        ("gap", placed("cta-gap", &[(0, &[node]), (2, &[node])])),
        ("not from zero", placed("cta-one", &[(1, &[node])])),
        ("twice", placed("cta-twice", &[(0, &[node]), (0, &[node])])),
        ("unknown broker", placed("cta-unknown", &[(0, &[77])])),
        ("broker twice", placed("cta-dup", &[(0, &[node, node])])),
        ("no brokers", placed("cta-empty", &[(0, &[])])),
        ("uneven", placed("cta-uneven", &[(0, &[node]), (1, &[node, 77])])),
    ] {
        s.ask(label, "CreateTopics", v, &body(&[t], false))?;
    }
    let mut both = placed("cta-both", &[(0, &[node])]);
    both["NumPartitions"] = 1.into();
    s.ask("count and assignments", "CreateTopics", v, &body(&[both.clone()], false))?;
    both["NumPartitions"] = (-1).into();
    both["ReplicationFactor"] = 1.into();
    s.ask("replicas and assignments", "CreateTopics", v, &body(&[both], false))?;
    Ok(())
}

fn create_partitions(s: &mut Session) -> Result<()> {
    let grow = |name: &str, count: i32, assignments: Value| json!({"Name": name, "Count": count, "Assignments": assignments});
    for v in versions("CreatePartitions").iter() {
        let name = format!("cp-v{v}");
        topic(s, &name, 2)?;
        for (label, topics, validate) in [
            ("validate only", json!([grow(&name, 3, Value::Null)]), true),
            ("grow", json!([grow(&name, 3, Value::Null)]), false),
            ("same count", json!([grow(&name, 3, Value::Null)]), false),
            ("fewer", json!([grow(&name, 1, Value::Null)]), false),
            ("none", json!([grow(&name, 0, Value::Null)]), false),
            ("unknown topic", json!([grow("cp-nowhere", 3, Value::Null)]), false),
            ("twice", json!([grow(&name, 5, Value::Null), grow(&name, 6, Value::Null)]), false),
            ("too few assignments", json!([grow(&name, 5, json!([{"BrokerIds": [0]}]))]), false),
            ("unknown broker", json!([grow(&name, 4, json!([{"BrokerIds": [77]}]))]), false),
            ("two replicas", json!([grow(&name, 4, json!([{"BrokerIds": [0, 77]}]))]), false),
            ("no topics", json!([]), false),
        ] {
            let request = json!({"Topics": topics, "TimeoutMs": 10000, "ValidateOnly": validate});
            s.ask(label, "CreatePartitions", v, &request)?;
        }
    }
    Ok(())
}

fn delete(s: &mut Session) -> Result<()> {
    for v in versions("DeleteTopics").iter() {
        let name = format!("dt-v{v}");
        let id = topic(s, &name, 1)?;
        let by_names = |names: &[&str]| match v {
            ..=5 => json!({"TopicNames": names, "TimeoutMs": 10000}),
            _ => {
                let topics: Vec<Value> = names.iter().map(|n| json!({"Name": n})).collect();
                json!({"Topics": topics, "TimeoutMs": 10000})
            }
        };
        s.ask("unknown", "DeleteTopics", v, &by_names(&["dt-nowhere"]))?;
        if v >= 6 {
            let unknown = "0123456789abcdef0123456789abcdef";
            let zero = "0".repeat(32);
            for (label, topics) in [
                ("unknown id", json!([{"Name": null, "TopicId": unknown}])),
                ("neither", json!([{"Name": null, "TopicId": zero}])),
                ("both", json!([{"Name": name, "TopicId": id}])),
                ("name and id of the same", json!([{"Name": name}, {"Name": null, "TopicId": id}])),
            ] {
                s.ask(label, "DeleteTopics", v, &json!({"Topics": topics, "TimeoutMs": 10000}))?;
            }
            topic_again(s, &name)?;
        }
        s.ask("twice in one", "DeleteTopics", v, &by_names(&[&name, &name]))?;
        topic_again(s, &name)?;
        s.ask("delete", "DeleteTopics", v, &by_names(&[&name]))?;
        s.ask("again", "DeleteTopics", v, &by_names(&[&name]))?;
        s.ask("none", "DeleteTopics", v, &by_names(&[]))?;
    }
    Ok(())
}

/// Makes the topic anew where the step before has deleted it.
fn topic_again(s: &mut Session, name: &str) -> Result<()> {
    let asked = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false});
    let there = s.quietly("Metadata", 12, &asked)?["Topics"][0]["ErrorCode"] == 0;
    if !there {
        topic(s, name, 1)?;
    }
    Ok(())
}

fn delete_records(s: &mut Session) -> Result<()> {
    topic_with(s, "dr", 2, &[])?;
    topic_with(s, "dr-compact", 1, &[("cleanup.policy", "compact")])?;
    for _ in 0..3 {
        append(s, "dr", 0, &Batch::of(10).hex())?;
    }
    let ask = |name: &str, partition: i32, offset: i64| {
        json!({"TimeoutMs": 5000, "Topics": [
            {"Name": name, "Partitions": [{"PartitionIndex": partition, "Offset": offset}]}]})
    };
    for v in versions("DeleteRecords").iter() {
        let to = 5 + i64::from(v) * 5;
        for (label, request) in [
            ("forward", ask("dr", 0, to)),
            ("backward", ask("dr", 0, 1)),
            ("beyond the end", ask("dr", 0, 31)),
            ("negative", ask("dr", 0, -2)),
            ("empty partition", ask("dr", 1, -1)),
            ("unknown partition", ask("dr", 9, 0)),
            ("unknown topic", ask("dr-nowhere", 0, 0)),
            ("compacted topic", ask("dr-compact", 0, 0)),
        ] {
            s.ask(label, "DeleteRecords", v, &request)?;
        }
    }
    s.ask("to the end", "DeleteRecords", 2, &ask("dr", 0, -1))?;
    until("the log start to move", || {
        let earliest = json!({"ReplicaId": -1, "Topics": [
            {"Name": "dr", "Partitions": [{"PartitionIndex": 0, "Timestamp": -2}]}]});
        Ok(s.quietly("ListOffsets", 7, &earliest)?["Topics"][0]["Partitions"][0]["Offset"] == 30)
    })?;
    let fetch = json!({"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 0, "MaxBytes": 100_000, "Topics": [
        {"Topic": "dr", "Partitions": [{"Partition": 0, "FetchOffset": 3, "PartitionMaxBytes": 100_000}]}]});
    s.ask("fetch below the log start", "Fetch", 11, &fetch)?;
    Ok(())
}
