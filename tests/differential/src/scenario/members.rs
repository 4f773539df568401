//! Classic groups with members: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and offsets committed
//! by members.
//!
//! Owns the life of a group at every version, with one member, two members and static members.
//! Invariant: members are named in the order in which they joined, so both brokers' transcripts
//! read alike.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, coordinator, topic, versions};
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("one-member", one_member),
    ("join-wrong", join_wrong),
    ("unknown-members", unknown_members),
    ("two-members", two_members),
    ("static-members", static_members),
    ("full-group", full_group),
];

fn join(group: &str, member: &str) -> Value {
    json!({"GroupId": group, "SessionTimeoutMs": 30000, "RebalanceTimeoutMs": 30000, "MemberId": member,
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": "0001"}, {"Name": "rr", "Metadata": "02"}]})
}

fn sync(group: &str, generation: &Value, member: &str, assignments: Value) -> Value {
    json!({"GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer",
        "ProtocolName": "range", "Assignments": assignments})
}

fn heartbeat(group: &str, generation: &Value, member: &str) -> Value {
    json!({"GroupId": group, "GenerationId": generation, "MemberId": member})
}

/// Joins as a new member: from v4 on in two steps (KIP-394). Names the member and answers its id
/// and the last answer.
fn join_anew(s: &mut Session, v: i16, group: &str, name: &str) -> Result<(String, Value)> {
    let mut answer = s.ask("join", "JoinGroup", v, &join(group, ""))?;
    let mut id = answer["MemberId"].as_str().unwrap_or_default().to_owned();
    if answer["ErrorCode"] == 79 {
        s.name(&id, name);
        answer = s.ask("join with the id", "JoinGroup", v, &join(group, &id))?;
        answer["MemberId"].as_str().unwrap_or_default().clone_into(&mut id);
    }
    s.name(&id, name);
    Ok((id, answer))
}

fn one_member(s: &mut Session) -> Result<()> {
    let topic_id = topic(s, "gm", 1)?;
    for v in versions("JoinGroup").iter() {
        let group = format!("gm-{v}");
        coordinator(s, &group)?;
        let (id, joined) = join_anew(s, v, &group, "member")?;
        let generation = &joined["GenerationId"];
        let old = json!(generation.as_i64().unwrap_or(0) - 1);
        let mine = json!([{"MemberId": id, "Assignment": "aabb"}]);
        let (sync_v, beat_v, leave_v) = (v.min(5), v.min(4), v.min(5));
        s.ask(
            "heartbeat before the sync",
            "Heartbeat",
            beat_v,
            &heartbeat(&group, generation, &id),
        )?;
        s.ask("sync, old generation", "SyncGroup", sync_v, &sync(&group, &old, &id, mine.clone()))?;
        if sync_v >= 5 {
            let mut odd = sync(&group, generation, &id, mine.clone());
            odd["ProtocolName"] = "other".into();
            s.ask("sync, other protocol", "SyncGroup", sync_v, &odd)?;
            odd["ProtocolName"] = Value::Null;
            odd["ProtocolType"] = "other".into();
            s.ask("sync, other type", "SyncGroup", sync_v, &odd)?;
        }
        s.ask("describe before the sync", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
        s.ask("sync", "SyncGroup", sync_v, &sync(&group, generation, &id, mine.clone()))?;
        s.ask("sync again", "SyncGroup", sync_v, &sync(&group, generation, &id, json!([])))?;
        s.ask("heartbeat", "Heartbeat", beat_v, &heartbeat(&group, generation, &id))?;
        s.ask("heartbeat, old generation", "Heartbeat", beat_v, &heartbeat(&group, &old, &id))?;
        s.ask(
            "describe",
            "DescribeGroups",
            5,
            &json!({"Groups": [group], "IncludeAuthorizedOperations": true}),
        )?;
        for commit_v in versions("OffsetCommit").iter() {
            let commit = |generation: &Value, member: &str| {
                json!({"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [
                    {"Name": "gm", "TopicId": topic_id, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3, "CommittedMetadata": null}]}]})
            };
            if v == 9 || commit_v == 8 {
                s.ask("commit", "OffsetCommit", commit_v, &commit(generation, &id))?;
                s.ask("commit, old generation", "OffsetCommit", commit_v, &commit(&old, &id))?;
                s.ask("commit from outside", "OffsetCommit", commit_v, &commit(&json!(-1), ""))?;
            }
        }
        s.ask("delete the group", "DeleteGroups", 2, &json!({"GroupsNames": [group]}))?;
        let forget = json!({"GroupId": group, "Topics": [{"Name": "gm", "Partitions": [{"PartitionIndex": 0}]}]});
        s.ask("delete offsets", "OffsetDelete", 0, &forget)?;
        s.ask("join again", "JoinGroup", v, &join(&group, &id))?;
        s.ask("leave", "LeaveGroup", leave_v, &leave(leave_v, &group, &id, Value::Null))?;
        s.ask("leave again", "LeaveGroup", leave_v, &leave(leave_v, &group, &id, Value::Null))?;
        s.ask("heartbeat after leaving", "Heartbeat", beat_v, &heartbeat(&group, generation, &id))?;
        s.ask("describe after", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
    }
    s.ask("list", "ListGroups", 5, &json!({})).map(drop)
}

fn leave(v: i16, group: &str, member: &str, instance: Value) -> Value {
    match v {
        ..=2 => json!({"GroupId": group, "MemberId": member}),
        _ => {
            json!({"GroupId": group, "Members": [{"MemberId": member, "GroupInstanceId": instance}]})
        }
    }
}

fn join_wrong(s: &mut Session) -> Result<()> {
    coordinator(s, "jw")?;
    for v in versions("JoinGroup").iter() {
        let changed = |field: &str, value: Value| {
            let mut body = join(&format!("jw-{v}"), "");
            body[field] = value;
            body
        };
        for (label, body) in [
            ("empty group id", changed("GroupId", "".into())),
            ("session too short", changed("SessionTimeoutMs", 1.into())),
            ("session too long", changed("SessionTimeoutMs", 100_000_000.into())),
            ("no protocols", changed("Protocols", json!([]))),
            ("no protocol type", changed("ProtocolType", "".into())),
            ("unknown member", changed("MemberId", "nobody".into())),
        ] {
            s.ask(label, "JoinGroup", v, &body)?;
        }
    }
    Ok(())
}

fn unknown_members(s: &mut Session) -> Result<()> {
    coordinator(s, "um")?;
    for v in versions("Heartbeat").iter() {
        for group in ["um", ""] {
            let label = |what: &str| format!("{what} of {group:?}");
            s.ask(&label("heartbeat"), "Heartbeat", v, &heartbeat(group, &json!(1), "nobody"))?;
        }
    }
    for v in versions("SyncGroup").iter() {
        s.ask("sync", "SyncGroup", v, &sync("um", &json!(1), "nobody", json!([])))?;
        s.ask("sync, empty group id", "SyncGroup", v, &sync("", &json!(1), "nobody", json!([])))?;
    }
    for v in versions("LeaveGroup").iter() {
        s.ask("leave", "LeaveGroup", v, &leave(v, "um", "nobody", Value::Null))?;
        s.ask("leave, empty group id", "LeaveGroup", v, &leave(v, "", "nobody", Value::Null))?;
        if v >= 3 {
            s.ask("leave, instance", "LeaveGroup", v, &leave(v, "um", "", "nobody".into()))?;
            s.ask("leave, no members", "LeaveGroup", v, &json!({"GroupId": "um", "Members": []}))?;
        }
    }
    Ok(())
}

fn two_members(s: &mut Session) -> Result<()> {
    topic(s, "tm", 2)?;
    for v in [0, 1, 3, 4, 5, 7, 9] {
        let group = format!("tm-{v}");
        coordinator(s, &group)?;
        let (one, joined) = join_anew(s, v, &group, "one")?;
        let mine = json!([{"MemberId": one, "Assignment": "01"}]);
        s.ask(
            "first sync",
            "SyncGroup",
            v.min(5),
            &sync(&group, &joined["GenerationId"], &one, mine),
        )?;
        let mut two = String::new();
        if v >= 4 {
            let told = s.ask("second joins", "JoinGroup", v, &join(&group, ""))?;
            told["MemberId"].as_str().unwrap_or_default().clone_into(&mut two);
            s.name(&two, "two");
        }
        s.send(1, "second joins for good", "JoinGroup", v, &join(&group, &two))?;
        super::until("the group to rebalance", || {
            let beat = heartbeat(&group, &joined["GenerationId"], &one);
            Ok(s.quietly("Heartbeat", 0, &beat)?["ErrorCode"] == 27)
        })?;
        s.ask("describe while rebalancing", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
        s.ask(
            "sync while rebalancing",
            "SyncGroup",
            v.min(5),
            &sync(&group, &joined["GenerationId"], &one, json!([])),
        )?;
        let again = s.ask("first joins again", "JoinGroup", v, &join(&group, &one))?;
        // Only now does the second member learn its id below v4, so its name comes before its
        // answer is written down.
        let second = s.receive_named(1, "two")?;
        let two = second["MemberId"].as_str().unwrap_or_default().to_owned();
        let generation = &again["GenerationId"];
        s.send(
            1,
            "second syncs",
            "SyncGroup",
            v.min(5),
            &sync(&group, generation, &two, json!([])),
        )?;
        let both =
            json!([{"MemberId": one, "Assignment": "01"}, {"MemberId": two, "Assignment": "02"}]);
        s.ask("leader syncs", "SyncGroup", v.min(5), &sync(&group, generation, &one, both))?;
        s.receive_on(1)?;
        s.ask("describe", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
        s.ask("list", "ListGroups", 4, &json!({"StatesFilter": ["Stable"]}))?;
        let leave_v = v.min(5);
        s.ask("leader leaves", "LeaveGroup", leave_v, &leave(leave_v, &group, &one, Value::Null))?;
        s.ask("second is told", "Heartbeat", v.min(4), &heartbeat(&group, generation, &two))?;
        s.ask("second is alone", "JoinGroup", v, &join(&group, &two))?;
        s.ask("second leaves", "LeaveGroup", leave_v, &leave(leave_v, &group, &two, Value::Null))?;
        s.ask("describe after", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
    }
    Ok(())
}

fn static_members(s: &mut Session) -> Result<()> {
    topic(s, "sm", 1)?;
    for v in [5, 7, 9] {
        let group = format!("sm-{v}");
        coordinator(s, &group)?;
        let with_instance = |member: &str| {
            let mut body = join(&group, member);
            body["GroupInstanceId"] = "instance".into();
            body
        };
        let joined = s.join_named("join", v, &with_instance(""), "first life")?;
        let first = joined["MemberId"].as_str().unwrap_or_default().to_owned();
        let generation = joined["GenerationId"].clone();
        let mine = json!([{"MemberId": first, "Assignment": "01"}]);
        let instance = |mut body: Value| {
            body["GroupInstanceId"] = "instance".into();
            body
        };
        s.ask("sync", "SyncGroup", v.min(5), &instance(sync(&group, &generation, &first, mine)))?;
        let restarted =
            s.join_named("join after a restart", v, &with_instance(""), "second life")?;
        let second = restarted["MemberId"].as_str().unwrap_or_default().to_owned();
        s.ask(
            "first life syncs",
            "SyncGroup",
            v.min(5),
            &instance(sync(&group, &generation, &first, json!([]))),
        )?;
        s.ask(
            "first life beats",
            "Heartbeat",
            4,
            &instance(heartbeat(&group, &generation, &first)),
        )?;
        s.ask("first life joins", "JoinGroup", v, &with_instance(&first))?;
        let now = &restarted["GenerationId"];
        s.ask(
            "second life syncs",
            "SyncGroup",
            v.min(5),
            &instance(sync(&group, now, &second, json!([]))),
        )?;
        s.ask("second life beats", "Heartbeat", 4, &instance(heartbeat(&group, now, &second)))?;
        s.ask("unknown instance beats", "Heartbeat", 4, &{
            let mut body = heartbeat(&group, now, &second);
            body["GroupInstanceId"] = "other".into();
            body
        })?;
        let commit = instance(
            json!({"GroupId": group, "GenerationIdOrMemberEpoch": now, "MemberId": first, "Topics": [
            {"Name": "sm", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3, "CommittedMetadata": null}]}]}),
        );
        s.ask("first life commits", "OffsetCommit", 8, &commit)?;
        s.ask("describe", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
        s.ask(
            "leave with the wrong id",
            "LeaveGroup",
            5,
            &leave(5, &group, &first, "instance".into()),
        )?;
        s.ask("leave by instance", "LeaveGroup", 5, &leave(5, &group, "", "instance".into()))?;
        s.ask("describe after", "DescribeGroups", 5, &json!({"Groups": [group]}))?;
    }
    Ok(())
}

/// Members that do not fit together.
fn full_group(s: &mut Session) -> Result<()> {
    coordinator(s, "fg")?;
    let (one, joined) = join_anew(s, 9, "fg", "one")?;
    let mine = json!([{"MemberId": one, "Assignment": "01"}]);
    s.ask("sync", "SyncGroup", 5, &sync("fg", &joined["GenerationId"], &one, mine))?;
    for (label, field, value) in [
        ("other protocols", "Protocols", json!([{"Name": "odd", "Metadata": ""}])),
        ("other type", "ProtocolType", json!("connect")),
    ] {
        for v in [0, 4, 9] {
            let mut body = join("fg", "");
            body[field] = value.clone();
            s.ask(label, "JoinGroup", v, &body)?;
        }
    }
    s.ask("leave", "LeaveGroup", 5, &leave(5, "fg", &one, Value::Null)).map(drop)
}
