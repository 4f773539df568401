//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.
//!
//! Owns what can be read and changed of settings. Kinds of resources: 2 topic, 4 broker, 8 logger,
//! 16 client metrics,
//! 32 group.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, latest, topic_with, until, versions};
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("describe-configs", describe),
    ("describe-configs-broker", describe_broker),
    ("alter-configs", alter),
    ("incremental-alter-configs", incremental),
    ("list-config-resources", list_resources),
];

fn resource(kind: i8, name: &str, keys: Value) -> Value {
    json!({"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys})
}

fn describe(s: &mut Session) -> Result<()> {
    topic_with(s, "dc", 1, &[("retention.ms", "1234567"), ("cleanup.policy", "compact,delete")])?;
    for v in versions("DescribeConfigs").iter() {
        for (label, resources, synonyms) in [
            ("all of a topic", json!([resource(2, "dc", Value::Null)]), false),
            ("synonyms", json!([resource(2, "dc", Value::Null)]), true),
            (
                "two keys",
                json!([resource(2, "dc", json!(["retention.ms", "segment.bytes"]))]),
                true,
            ),
            ("no keys", json!([resource(2, "dc", json!([]))]), false),
            ("unknown key", json!([resource(2, "dc", json!(["no.such"]))]), false),
            ("unknown topic", json!([resource(2, "dc-nowhere", Value::Null)]), false),
            ("bad topic name", json!([resource(2, "a/b", Value::Null)]), false),
            ("empty topic name", json!([resource(2, "", Value::Null)]), false),
            ("unknown kind", json!([resource(99, "x", Value::Null)]), false),
            ("kind 0", json!([resource(0, "x", Value::Null)]), false),
            ("unknown broker", json!([resource(4, "77", Value::Null)]), false),
            ("broker that is no number", json!([resource(4, "one", Value::Null)]), false),
            (
                "twice",
                json!([resource(2, "dc", Value::Null), resource(2, "dc", Value::Null)]),
                false,
            ),
            ("a group", json!([resource(32, "some-group", Value::Null)]), true),
            ("no group", json!([resource(32, "", Value::Null)]), false),
            ("none", json!([]), false),
        ] {
            let mut body = json!({"Resources": resources, "IncludeSynonyms": synonyms});
            if v >= 3 {
                body["IncludeDocumentation"] = synonyms.into();
            }
            s.ask(label, "DescribeConfigs", v, &body)?;
        }
    }
    Ok(())
}

fn node(s: &mut Session) -> Result<String> {
    let answer = s.quietly("Metadata", 1, &json!({"Topics": []}))?;
    Ok(answer["Brokers"][0]["NodeId"].to_string())
}

fn describe_broker(s: &mut Session) -> Result<()> {
    let node = node(s)?;
    for v in [1, latest("DescribeConfigs")] {
        for (label, name) in [("this broker", node.as_str()), ("all brokers", "")] {
            let body =
                json!({"Resources": [resource(4, name, Value::Null)], "IncludeSynonyms": true});
            s.ask(label, "DescribeConfigs", v, &body)?;
        }
    }
    Ok(())
}

fn alter(s: &mut Session) -> Result<()> {
    for v in versions("AlterConfigs").iter() {
        let name = format!("ac-v{v}");
        topic_with(s, &name, 1, &[("retention.ms", "1234567"), ("segment.bytes", "2097152")])?;
        let change = |kind: i8, name: &str, configs: Value| json!({"ResourceType": kind, "ResourceName": name, "Configs": configs});
        let retention = |value: &str| json!([{"Name": "retention.ms", "Value": value}]);
        for (label, resources, validate) in [
            ("validate only", json!([change(2, &name, retention("7"))]), true),
            ("bad value", json!([change(2, &name, retention("x"))]), false),
            (
                "unknown key",
                json!([change(2, &name, json!([{"Name": "no.such", "Value": "1"}]))]),
                false,
            ),
            (
                "null value",
                json!([change(2, &name, json!([{"Name": "retention.ms", "Value": null}]))]),
                false,
            ),
            ("unknown topic", json!([change(2, "ac-nowhere", retention("7"))]), false),
            ("unknown kind", json!([change(99, "x", json!([]))]), false),
            ("replace", json!([change(2, &name, retention("7654321"))]), false),
        ] {
            s.ask(
                label,
                "AlterConfigs",
                v,
                &json!({"Resources": resources, "ValidateOnly": validate}),
            )?;
        }
        shows(s, &name, "retention.ms", "7654321")?;
        described(s, "after", &name)?;
    }
    Ok(())
}

/// Waits until the topic's setting has a value.
fn shows(s: &mut Session, topic: &str, key: &str, value: &str) -> Result<()> {
    let body = json!({"Resources": [resource(2, topic, json!([key]))]});
    until(key, || {
        Ok(s.quietly("DescribeConfigs", 1, &body)?["Results"][0]["Configs"][0]["Value"] == value)
    })
}

fn described(s: &mut Session, label: &str, topic: &str) -> Result<()> {
    let body = json!({"Resources": [resource(2, topic, Value::Null)], "IncludeSynonyms": true});
    s.ask(label, "DescribeConfigs", 4, &body).map(drop)
}

fn incremental(s: &mut Session) -> Result<()> {
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    let op = |key: &str, operation: i8, value: Value| json!({"Name": key, "ConfigOperation": operation, "Value": value});
    let node = node(s)?;
    for v in versions("IncrementalAlterConfigs").iter() {
        let name = format!("iac-v{v}");
        topic_with(s, &name, 1, &[("retention.ms", "1234567")])?;
        let on = |kind: i8, name: &str, configs: Value| json!([{"ResourceType": kind, "ResourceName": name, "Configs": configs}]);
        for (label, resources, validate) in [
            ("validate only", on(2, &name, json!([op("retention.ms", set, "7".into())])), true),
            ("set", on(2, &name, json!([op("retention.ms", set, "7654321".into())])), false),
            (
                "append",
                on(2, &name, json!([op("cleanup.policy", append, "compact".into())])),
                false,
            ),
            (
                "append again",
                on(2, &name, json!([op("cleanup.policy", append, "compact".into())])),
                false,
            ),
            (
                "subtract",
                on(2, &name, json!([op("cleanup.policy", subtract, "delete".into())])),
                false,
            ),
            (
                "subtract what is not there",
                on(2, &name, json!([op("cleanup.policy", subtract, "x".into())])),
                false,
            ),
            (
                "append to no list",
                on(2, &name, json!([op("segment.ms", append, "1".into())])),
                false,
            ),
            ("unknown operation", on(2, &name, json!([op("segment.ms", 9, "1".into())])), false),
            (
                "twice the same key",
                on(
                    2,
                    &name,
                    json!([
                        op("segment.ms", set, "1".into()),
                        op("segment.ms", delete, Value::Null)
                    ]),
                ),
                false,
            ),
            ("set to null", on(2, &name, json!([op("segment.ms", set, Value::Null)])), false),
            ("bad value", on(2, &name, json!([op("segment.ms", set, "x".into())])), false),
            ("unknown key", on(2, &name, json!([op("no.such", set, "1".into())])), false),
            (
                "delete what is not set",
                on(2, &name, json!([op("segment.ms", delete, Value::Null)])),
                false,
            ),
            (
                "unknown topic",
                on(2, "iac-nowhere", json!([op("retention.ms", set, "1".into())])),
                false,
            ),
            ("empty topic", on(2, "", json!([op("retention.ms", set, "1".into())])), false),
            (
                "unknown broker",
                on(4, "77", json!([op("log.retention.ms", set, "1".into())])),
                false,
            ),
            ("read-only broker key", on(4, &node, json!([op("node.id", set, "5".into())])), false),
            ("unknown broker key", on(4, &node, json!([op("no.such", set, "5".into())])), false),
            (
                "bad broker value",
                on(4, "", json!([op("log.cleaner.threads", set, "x".into())])),
                false,
            ),
            ("all brokers", on(4, "", json!([op("background.threads", set, "9".into())])), false),
            (
                "all brokers, delete",
                on(4, "", json!([op("background.threads", delete, Value::Null)])),
                false,
            ),
            (
                "group",
                on(
                    32,
                    "iac-group",
                    json!([op("consumer.session.timeout.ms", set, "50000".into())]),
                ),
                false,
            ),
            (
                "group, bad",
                on(32, "iac-group", json!([op("consumer.session.timeout.ms", set, "1".into())])),
                false,
            ),
            ("unknown kind", on(99, "x", json!([])), false),
            ("none", json!([]), false),
        ] {
            s.ask(
                label,
                "IncrementalAlterConfigs",
                v,
                &json!({"Resources": resources, "ValidateOnly": validate}),
            )?;
        }
        shows(s, &name, "retention.ms", "7654321")?;
        shows(s, &name, "cleanup.policy", "compact")?;
        described(s, "after", &name)?;
        let twice = json!([
            on(2, &name, json!([op("retention.ms", set, "1".into())]))[0].clone(),
            on(2, &name, json!([op("retention.ms", set, "2".into())]))[0].clone()
        ]);
        s.ask_briefly(
            "resource twice",
            "IncrementalAlterConfigs",
            v,
            &json!({"Resources": twice}),
        )?;
        let delete =
            json!({"Resources": on(2, &name, json!([op("retention.ms", delete, Value::Null)]))});
        s.ask("delete", "IncrementalAlterConfigs", v, &delete)?;
        shows(s, &name, "retention.ms", "604800000")?;
        described(s, "after deleting", &name)?;
    }
    Ok(())
}

fn list_resources(s: &mut Session) -> Result<()> {
    s.ask("v0", "ListConfigResources", 0, &json!({}))?;
    for kinds in [json!([]), json!([4]), json!([8]), json!([16]), json!([32]), json!([99])] {
        s.ask(
            &format!("kinds {kinds}"),
            "ListConfigResources",
            1,
            &json!({"ResourceTypes": kinds}),
        )?;
    }
    Ok(())
}
