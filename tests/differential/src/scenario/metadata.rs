//! Metadata, DescribeCluster and DescribeTopicPartitions.
//!
//! Owns what clients learn about brokers and topics.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, latest, settle, topic, versions};
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("metadata-empty", empty),
    ("metadata-topics", topics),
    ("metadata-ids", ids),
    ("metadata-auto-create", auto_create),
    ("describe-cluster", describe_cluster),
    ("describe-topic-partitions", describe_topic_partitions),
];

fn named(names: &[&str]) -> Value {
    names.iter().map(|n| json!({"Name": n})).collect()
}

fn empty(s: &mut Session) -> Result<()> {
    for v in versions("Metadata").iter() {
        s.ask("none asked", "Metadata", v, &json!({"Topics": []}))?;
        if v >= 1 {
            s.ask("all", "Metadata", v, &json!({"Topics": null}))?;
        }
    }
    Ok(())
}

fn topics(s: &mut Session) -> Result<()> {
    topic(s, "md-one", 1)?;
    topic(s, "md-three", 3)?;
    let long = "x".repeat(250);
    for v in versions("Metadata").iter().filter(|v| *v >= 4) {
        let base =
            |names: &[&str]| json!({"Topics": named(names), "AllowAutoTopicCreation": false});
        s.ask("two", "Metadata", v, &base(&["md-one", "md-three"]))?;
        s.ask("twice the same", "Metadata", v, &base(&["md-one", "md-one"]))?;
        s.ask("unknown", "Metadata", v, &base(&["md-nowhere", "md-one"]))?;
        s.ask("bad names", "Metadata", v, &base(&["a/b", ".", "..", &long, ""]))?;
        if v >= 8 {
            let mut body = base(&["md-one"]);
            body["IncludeTopicAuthorizedOperations"] = true.into();
            if v <= 10 {
                body["IncludeClusterAuthorizedOperations"] = true.into();
            }
            s.ask("operations", "Metadata", v, &body)?;
        }
    }
    for v in 0..=3 {
        s.ask("one", "Metadata", v, &json!({"Topics": named(&["md-one"])}))?;
    }
    Ok(())
}

fn ids(s: &mut Session) -> Result<()> {
    let id = topic(s, "md-id", 2)?;
    let unknown = "0123456789abcdef0123456789abcdef";
    let zero = "0".repeat(32);
    for v in 10..=latest("Metadata") {
        for (label, topics) in [
            ("by id", json!([{"Name": null, "TopicId": id}])),
            ("unknown id", json!([{"Name": null, "TopicId": unknown}])),
            ("neither", json!([{"Name": null, "TopicId": zero}])),
            ("both", json!([{"Name": "md-id", "TopicId": id}])),
            ("mixed", json!([{"Name": null, "TopicId": id}, {"Name": "md-id"}])),
        ] {
            s.ask(
                label,
                "Metadata",
                v,
                &json!({"Topics": topics, "AllowAutoTopicCreation": false}),
            )?;
        }
    }
    Ok(())
}

fn auto_create(s: &mut Session) -> Result<()> {
    for v in [0, 4, 9, latest("Metadata")] {
        let name = format!("md-auto-{v}");
        s.ask("asked for", "Metadata", v, &json!({"Topics": named(&[&name])}))?;
        settle(s, &name, 1)?;
        s.ask("is there", "Metadata", v, &json!({"Topics": named(&[&name])}))?;
    }
    s.ask("bad name", "Metadata", 9, &json!({"Topics": named(&["no/no"])}))?;
    Ok(())
}

fn describe_cluster(s: &mut Session) -> Result<()> {
    for v in versions("DescribeCluster").iter() {
        for operations in [false, true] {
            let mut body = json!({"IncludeClusterAuthorizedOperations": operations});
            s.ask("brokers", "DescribeCluster", v, &body)?;
            if v >= 1 {
                for kind in [0, 2, 3] {
                    body["EndpointType"] = kind.into();
                    s.ask(&format!("endpoints {kind}"), "DescribeCluster", v, &body)?;
                }
            }
        }
    }
    Ok(())
}

fn describe_topic_partitions(s: &mut Session) -> Result<()> {
    topic(s, "dtp-a", 5)?;
    topic(s, "dtp-b", 1)?;
    let ask = |names: &[&str], limit: i32, cursor: Value| json!({"Topics": named(names), "ResponsePartitionLimit": limit, "Cursor": cursor});
    let at = |name: &str, partition: i32| json!({"TopicName": name, "PartitionIndex": partition});
    for (label, body) in [
        ("two", ask(&["dtp-a", "dtp-b"], 100, Value::Null)),
        ("limit", ask(&["dtp-a", "dtp-b"], 3, Value::Null)),
        ("cursor", ask(&["dtp-a", "dtp-b"], 100, at("dtp-a", 3))),
        ("cursor at the next topic", ask(&["dtp-a", "dtp-b"], 100, at("dtp-b", 0))),
        ("cursor beyond", ask(&["dtp-a", "dtp-b"], 100, at("dtp-z", 0))),
        ("negative cursor", ask(&["dtp-a"], 100, at("dtp-a", -1))),
        ("limit of zero", ask(&["dtp-a"], 0, Value::Null)),
        ("unknown", ask(&["dtp-none", "dtp-b"], 100, Value::Null)),
        ("bad name", ask(&["a/b"], 100, Value::Null)),
        ("twice", ask(&["dtp-b", "dtp-b"], 100, Value::Null)),
    ] {
        s.ask(label, "DescribeTopicPartitions", 0, &body)?;
    }
    Ok(())
}
