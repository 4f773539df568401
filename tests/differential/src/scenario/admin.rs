//! The rest of administration: log directories, quorum, elections, reassignments, ACLs.
//!
//! Owns the questions that tools ask of a cluster. Kafka runs without an authorizer here.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, append, topic, versions};
use crate::batch::Batch;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("describe-log-dirs", log_dirs),
    ("describe-quorum", quorum),
    ("elect-leaders", elections),
    ("reassignments", reassignments),
    ("describe-acls", acls),
];

fn log_dirs(s: &mut Session) -> Result<()> {
    topic(s, "ld", 2)?;
    append(s, "ld", 0, &Batch::of(10).hex())?;
    for v in versions("DescribeLogDirs").iter() {
        for (label, topics) in [
            ("one topic", json!([{"Topic": "ld", "Partitions": [0, 1]}])),
            ("unknown topic", json!([{"Topic": "ld-nowhere", "Partitions": [0]}])),
            ("unknown partition", json!([{"Topic": "ld", "Partitions": [9]}])),
            ("none", json!([])),
        ] {
            s.ask(label, "DescribeLogDirs", v, &json!({"Topics": topics}))?;
        }
    }
    Ok(())
}

fn quorum(s: &mut Session) -> Result<()> {
    for v in versions("DescribeQuorum").iter() {
        for (label, name, partition) in [
            ("metadata", "__cluster_metadata", 0),
            ("another partition", "__cluster_metadata", 1),
            ("another topic", "elsewhere", 0),
        ] {
            let topics =
                json!([{"TopicName": name, "Partitions": [{"PartitionIndex": partition}]}]);
            s.ask(label, "DescribeQuorum", v, &json!({"Topics": topics}))?;
        }
        s.ask("none", "DescribeQuorum", v, &json!({"Topics": []}))?;
    }
    Ok(())
}

fn elections(s: &mut Session) -> Result<()> {
    topic(s, "el", 2)?;
    for v in versions("ElectLeaders").iter() {
        let kinds: &[i8] = if v == 0 { &[0] } else { &[0, 1, 9] };
        for kind in kinds {
            for (label, topics) in [
                ("one topic", json!([{"Topic": "el", "Partitions": [0, 1]}])),
                ("unknown topic", json!([{"Topic": "el-nowhere", "Partitions": [0]}])),
                ("unknown partition", json!([{"Topic": "el", "Partitions": [9]}])),
                ("none", json!([])),
                ("all", Value::Null),
            ] {
                let body =
                    json!({"ElectionType": kind, "TopicPartitions": topics, "TimeoutMs": 5000});
                s.ask(&format!("{label}, kind {kind}"), "ElectLeaders", v, &body)?;
            }
        }
    }
    Ok(())
}

fn reassignments(s: &mut Session) -> Result<()> {
    topic(s, "re", 2)?;
    let node = s.quietly("Metadata", 1, &json!({"Topics": []}))?["Brokers"][0]["NodeId"].clone();
    for v in versions("AlterPartitionReassignments").iter() {
        let to = |name: &str, partition: i32, replicas: Value| {
            json!({"TimeoutMs": 5000, "Topics": [
                {"Name": name, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}]}]})
        };
        for (label, body) in [
            ("where it is", to("re", 0, json!([node]))),
            ("cancel nothing", to("re", 0, Value::Null)),
            ("unknown broker", to("re", 0, json!([77]))),
            ("no brokers", to("re", 0, json!([]))),
            ("broker twice", to("re", 0, json!([node, node]))),
            ("unknown topic", to("re-nowhere", 0, json!([node]))),
            ("unknown partition", to("re", 9, json!([node]))),
            ("negative broker", to("re", 0, json!([-1]))),
            ("none", json!({"TimeoutMs": 5000, "Topics": []})),
        ] {
            s.ask(label, "AlterPartitionReassignments", v, &body)?;
        }
    }
    for (label, topics) in [
        ("all", Value::Null),
        ("one topic", json!([{"Name": "re", "PartitionIndexes": [0, 1]}])),
        ("unknown topic", json!([{"Name": "re-nowhere", "PartitionIndexes": [0]}])),
        ("none", json!([])),
    ] {
        s.ask(
            label,
            "ListPartitionReassignments",
            0,
            &json!({"TimeoutMs": 5000, "Topics": topics}),
        )?;
    }
    Ok(())
}

fn acls(s: &mut Session) -> Result<()> {
    for v in versions("DescribeAcls").iter() {
        for (label, kind, operation) in
            [("everything", 1, 1), ("topics", 2, 3), ("unknown kind", 0, 1), ("kind 77", 77, 1)]
        {
            let body = json!({"ResourceTypeFilter": kind, "ResourceNameFilter": null, "PatternTypeFilter": 3,
                "PrincipalFilter": null, "HostFilter": null, "Operation": operation, "PermissionType": 1});
            s.ask(label, "DescribeAcls", v, &body)?;
        }
    }
    Ok(())
}
