//! Offsets of groups and what can be asked about groups: FindCoordinator, OffsetCommit,
//! OffsetFetch, OffsetDelete,
//! ListGroups, DescribeGroups, DeleteGroups.
//!
//! Owns groups without members ("simple" groups). Members are in `members`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, coordinator, topic, versions};
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("find-coordinator", find),
    ("offset-commit", commit),
    ("offset-fetch", fetch),
    ("offset-delete", delete_offsets),
    ("describe-groups", describe),
    ("list-groups", list),
    ("delete-groups", delete_groups),
];

fn find(s: &mut Session) -> Result<()> {
    coordinator(s, "fc-group")?;
    for v in versions("FindCoordinator").iter() {
        let ask = |key: &str, kind: i8| match v {
            ..=3 => json!({"Key": key, "KeyType": kind}),
            _ => json!({"CoordinatorKeys": [key], "KeyType": kind}),
        };
        s.ask("group", "FindCoordinator", v, &ask("fc-group", 0))?;
        s.ask("empty group", "FindCoordinator", v, &ask("", 0))?;
        if v >= 1 {
            s.ask("unknown kind", "FindCoordinator", v, &ask("x", 9))?;
            s.ask("negative kind", "FindCoordinator", v, &ask("x", -1))?;
        }
        if v >= 4 {
            s.ask(
                "several",
                "FindCoordinator",
                v,
                &json!({"CoordinatorKeys": ["a", "b", "a"], "KeyType": 0}),
            )?;
            s.ask("none", "FindCoordinator", v, &json!({"CoordinatorKeys": [], "KeyType": 0}))?;
        }
    }
    Ok(())
}

/// One topic's offsets to commit, by name and by id, so that one body serves every version.
fn topic_offsets(name: &str, id: &str, parts: &[(i32, i64, Value)]) -> Value {
    let parts: Vec<Value> = parts
        .iter()
        .map(|(p, offset, note)| {
            json!({"PartitionIndex": p, "CommittedOffset": offset, "CommittedLeaderEpoch": 0, "CommittedMetadata": note})
        })
        .collect();
    json!({"Name": name, "TopicId": id, "Partitions": parts})
}

fn commit(s: &mut Session) -> Result<()> {
    let id = topic(s, "oc", 2)?;
    coordinator(s, "oc-group")?;
    let unknown = "0123456789abcdef0123456789abcdef";
    for v in versions("OffsetCommit").iter() {
        let ask = |group: &str, generation: i32, member: &str, topics: Value| json!({"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": topics});
        let group = format!("oc-group-{v}");
        let good = json!([topic_offsets("oc", &id, &[(0, 5, "note".into()), (1, 7, Value::Null)])]);
        let long = "m".repeat(5000);
        for (label, request) in [
            ("simple", ask(&group, -1, "", good.clone())),
            ("with a generation", ask(&group, 3, "", good.clone())),
            ("with a member", ask(&group, 1, "nobody", good.clone())),
            ("member without generation", ask(&group, -1, "nobody", good.clone())),
            ("unknown group with a member", ask("oc-none", 1, "nobody", good.clone())),
            ("empty group id", ask("", -1, "", good.clone())),
            (
                "long note",
                ask(
                    &group,
                    -1,
                    "",
                    json!([topic_offsets("oc", &id, &[(0, 6, long.clone().into())])]),
                ),
            ),
            (
                "negative offset",
                ask(&group, -1, "", json!([topic_offsets("oc", &id, &[(0, -5, Value::Null)])])),
            ),
            (
                "unknown partition",
                ask(&group, -1, "", json!([topic_offsets("oc", &id, &[(9, 5, Value::Null)])])),
            ),
            (
                "unknown topic",
                ask(
                    &group,
                    -1,
                    "",
                    json!([topic_offsets("oc-none", unknown, &[(0, 5, Value::Null)])]),
                ),
            ),
            (
                "two topics",
                ask(
                    &group,
                    -1,
                    "",
                    json!([
                        topic_offsets("oc", &id, &[(0, 8, Value::Null)]),
                        topic_offsets("oc-none", unknown, &[(0, 5, Value::Null)])
                    ]),
                ),
            ),
            ("none", ask(&group, -1, "", json!([]))),
        ] {
            s.ask(label, "OffsetCommit", v, &request)?;
        }
        if v >= 7 {
            let mut instance = ask(&group, 1, "nobody", good);
            instance["GroupInstanceId"] = "i".into();
            s.ask("instance", "OffsetCommit", v, &instance)?;
        }
        s.ask("what is there", "OffsetFetch", 7, &json!({"GroupId": group, "Topics": null}))?;
    }
    Ok(())
}

/// A group with offsets 5 and 7 in the two partitions of a topic.
fn filled(s: &mut Session, group: &str, name: &str, id: &str) -> Result<()> {
    coordinator(s, group)?;
    let topics = json!([topic_offsets(name, id, &[(0, 5, "note".into()), (1, 7, Value::Null)])]);
    let body = json!({"GroupId": group, "GenerationIdOrMemberEpoch": -1, "MemberId": "", "Topics": topics});
    s.quietly("OffsetCommit", 8, &body).map(drop)
}

fn fetch(s: &mut Session) -> Result<()> {
    let id = topic(s, "of", 2)?;
    filled(s, "of-group", "of", &id)?;
    let unknown = "0123456789abcdef0123456789abcdef";
    for v in versions("OffsetFetch").iter() {
        let ask = |group: &str, topics: Value| match v {
            ..=7 => json!({"GroupId": group, "Topics": topics}),
            _ => json!({"Groups": [{"GroupId": group, "Topics": topics}]}),
        };
        let of = |name: &str, id: &str, parts: &[i32]| match v {
            ..=7 => json!([{"Name": name, "PartitionIndexes": parts}]),
            _ => json!([{"Name": name, "TopicId": id, "PartitionIndexes": parts}]),
        };
        s.ask("both", "OffsetFetch", v, &ask("of-group", of("of", &id, &[0, 1])))?;
        s.ask("unknown partition", "OffsetFetch", v, &ask("of-group", of("of", &id, &[9])))?;
        s.ask("unknown topic", "OffsetFetch", v, &ask("of-group", of("of-none", unknown, &[0])))?;
        s.ask("unknown group", "OffsetFetch", v, &ask("of-nobody", of("of", &id, &[0])))?;
        s.ask("empty group id", "OffsetFetch", v, &ask("", of("of", &id, &[0])))?;
        s.ask("no topics", "OffsetFetch", v, &ask("of-group", json!([])))?;
        if v >= 2 {
            s.ask("everything", "OffsetFetch", v, &ask("of-group", Value::Null))?;
            s.ask("everything of nobody", "OffsetFetch", v, &ask("of-nobody", Value::Null))?;
        }
        if v >= 7 {
            let mut stable = ask("of-group", of("of", &id, &[0, 1]));
            stable["RequireStable"] = true.into();
            s.ask("stable", "OffsetFetch", v, &stable)?;
        }
        if v >= 8 {
            let groups = json!({"Groups": [{"GroupId": "of-group", "Topics": null}, {"GroupId": "of-nobody", "Topics": null}]});
            s.ask("two groups", "OffsetFetch", v, &groups)?;
            s.ask("no groups", "OffsetFetch", v, &json!({"Groups": []}))?;
        }
        if v >= 9 {
            let member = |id: &str, epoch: i32| json!({"Groups": [{"GroupId": "of-group", "MemberId": id, "MemberEpoch": epoch, "Topics": null}]});
            s.ask("member of a simple group", "OffsetFetch", v, &member("m", 3))?;
        }
    }
    Ok(())
}

fn delete_offsets(s: &mut Session) -> Result<()> {
    let id = topic(s, "od", 2)?;
    filled(s, "od-group", "od", &id)?;
    let ask = |group: &str, name: &str, parts: &[i32]| {
        let parts: Vec<Value> = parts.iter().map(|p| json!({"PartitionIndex": p})).collect();
        json!({"GroupId": group, "Topics": [{"Name": name, "Partitions": parts}]})
    };
    for (label, request) in [
        ("unknown group", ask("od-nobody", "od", &[0])),
        ("empty group id", ask("", "od", &[0])),
        ("unknown topic", ask("od-group", "od-none", &[0])),
        ("unknown partition", ask("od-group", "od", &[9])),
        ("one", ask("od-group", "od", &[0])),
        ("again", ask("od-group", "od", &[0])),
        ("none", json!({"GroupId": "od-group", "Topics": []})),
    ] {
        s.ask(label, "OffsetDelete", 0, &request)?;
    }
    s.ask("what is left", "OffsetFetch", 7, &json!({"GroupId": "od-group", "Topics": null}))?;
    Ok(())
}

fn describe(s: &mut Session) -> Result<()> {
    let id = topic(s, "dg", 2)?;
    filled(s, "dg-group", "dg", &id)?;
    for v in versions("DescribeGroups").iter() {
        for operations in [false, true] {
            let body = |groups: &[&str]| match v {
                ..=2 => json!({"Groups": groups}),
                _ => json!({"Groups": groups, "IncludeAuthorizedOperations": operations}),
            };
            let label =
                |text: &str| format!("{text}{}", if operations { ", operations" } else { "" });
            s.ask(&label("simple"), "DescribeGroups", v, &body(&["dg-group"]))?;
            s.ask(&label("unknown"), "DescribeGroups", v, &body(&["dg-nobody"]))?;
            s.ask(&label("empty id"), "DescribeGroups", v, &body(&[""]))?;
            s.ask(&label("twice"), "DescribeGroups", v, &body(&["dg-group", "dg-group"]))?;
            s.ask(&label("none"), "DescribeGroups", v, &body(&[]))?;
        }
    }
    Ok(())
}

fn list(s: &mut Session) -> Result<()> {
    let id = topic(s, "lg", 2)?;
    filled(s, "lg-group", "lg", &id)?;
    for v in versions("ListGroups").iter() {
        s.ask("all", "ListGroups", v, &json!({}))?;
        if v >= 4 {
            for states in
                [json!(["Empty"]), json!(["Stable"]), json!(["empty", "DEAD"]), json!(["Sleeping"])]
            {
                s.ask(
                    &format!("states {states}"),
                    "ListGroups",
                    v,
                    &json!({"StatesFilter": states}),
                )?;
            }
        }
        if v >= 5 {
            for types in [json!(["classic"]), json!(["Consumer"]), json!(["share"]), json!(["odd"])]
            {
                s.ask(&format!("types {types}"), "ListGroups", v, &json!({"TypesFilter": types}))?;
            }
        }
    }
    Ok(())
}

fn delete_groups(s: &mut Session) -> Result<()> {
    let id = topic(s, "xg", 2)?;
    for v in versions("DeleteGroups").iter() {
        let group = format!("xg-{v}");
        filled(s, &group, "xg", &id)?;
        let body = |groups: &[&str]| json!({"GroupsNames": groups});
        s.ask("two, one unknown", "DeleteGroups", v, &body(&[&group, "xg-nobody"]))?;
        s.ask("again", "DeleteGroups", v, &body(&[&group]))?;
        s.ask("empty id", "DeleteGroups", v, &body(&[""]))?;
        s.ask("none", "DeleteGroups", v, &body(&[]))?;
        s.ask("what is left", "OffsetFetch", 7, &json!({"GroupId": group, "Topics": null}))?;
    }
    Ok(())
}
