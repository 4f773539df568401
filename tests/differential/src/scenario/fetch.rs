//! Fetch: limits, sessions, epochs, ids and everything out of range.
//!
//! Owns what a consumer reads. Never measures time: only what is answered after a wait.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, append, latest, topic, versions};
use crate::batch::Batch;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("fetch-versions", every_version),
    ("fetch-limits", limits),
    ("fetch-wrong", wrong),
    ("fetch-sessions", sessions),
    ("fetch-wait", wait),
];

fn part(partition: i32, offset: i64, bytes: i32) -> Value {
    json!({"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": bytes})
}

fn body(topics: Value) -> Value {
    json!({"ReplicaId": -1, "MaxWaitMs": 5, "MinBytes": 0, "MaxBytes": 1_000_000, "Topics": topics})
}

fn every_version(s: &mut Session) -> Result<()> {
    let id = topic(s, "fe", 2)?;
    for n in 1..4 {
        append(s, "fe", 0, &Batch::of(n * 3).with(|b| b.attributes = (n % 2) as i16).hex())?;
    }
    for v in versions("Fetch").iter() {
        let one = |partition: i32, offset: i64| match v {
            ..=12 => {
                body(json!([{"Topic": "fe", "Partitions": [part(partition, offset, 1_000_000)]}]))
            }
            _ => body(json!([{"TopicId": id, "Partitions": [part(partition, offset, 1_000_000)]}])),
        };
        for (label, request) in [
            ("from the start", one(0, 0)),
            ("in the middle of a batch", one(0, 4)),
            ("at the end", one(0, 18)),
            ("behind the end", one(0, 19)),
            ("negative", one(0, -1)),
            ("empty partition", one(1, 0)),
            ("unknown partition", one(9, 0)),
            ("no topics", body(json!([]))),
        ] {
            s.ask(label, "Fetch", v, &request)?;
            let mut committed = request;
            committed["IsolationLevel"] = 1.into();
            s.ask(&format!("{label}, read committed"), "Fetch", v, &committed)?;
        }
        let other = match v {
            ..=12 => json!([{"Topic": "fe-nowhere", "Partitions": [part(0, 0, 1000)]}]),
            _ => {
                json!([{"TopicId": "0123456789abcdef0123456789abcdef", "Partitions": [part(0, 0, 1000)]}])
            }
        };
        s.ask("unknown topic", "Fetch", v, &body(other))?;
    }
    Ok(())
}

fn limits(s: &mut Session) -> Result<()> {
    topic(s, "fe-limits", 3)?;
    for partition in 0..3 {
        for _ in 0..5 {
            append(s, "fe-limits", partition, &Batch::of(10).hex())?;
        }
    }
    let all = |bytes: i32| json!([{"Topic": "fe-limits", "Partitions": [part(0, 0, bytes), part(1, 0, bytes), part(2, 0, bytes)]}]);
    for v in [4, 11, 12] {
        for (label, partition_bytes, bytes) in [
            ("one byte each", 1, 1_000_000),
            ("one byte together", 1_000_000, 1),
            ("one byte of both", 1, 1),
            ("one batch", 600, 1_000_000),
            ("a batch and a half", 900, 1_000_000),
            ("two partitions' worth", 1_000_000, 4000),
            ("zero together", 1_000_000, 0),
            ("zero each", 0, 1_000_000),
            ("negative each", -1, 1_000_000),
        ] {
            let mut request = body(all(partition_bytes));
            request["MaxBytes"] = bytes.into();
            s.ask(label, "Fetch", v, &request)?;
        }
    }
    Ok(())
}

fn wrong(s: &mut Session) -> Result<()> {
    let id = topic(s, "fe-wrong", 1)?;
    append(s, "fe-wrong", 0, &Batch::of(2).hex())?;
    let with = |field: &str, value: Value| {
        let mut p = part(0, 0, 1_000_000);
        p[field] = value;
        p
    };
    for v in [9, 12] {
        for (label, partition) in [
            ("current epoch", with("CurrentLeaderEpoch", 0.into())),
            ("future epoch", with("CurrentLeaderEpoch", 5.into())),
            ("log start offset", with("LogStartOffset", 1.into())),
        ] {
            s.ask(
                label,
                "Fetch",
                v,
                &body(json!([{"Topic": "fe-wrong", "Partitions": [partition]}])),
            )?;
        }
        let twice =
            json!([{"Topic": "fe-wrong", "Partitions": [part(0, 0, 1000), part(0, 1, 1000)]}]);
        s.ask("partition twice", "Fetch", v, &body(twice))?;
    }
    for (label, epoch, offset) in [
        ("last fetched epoch", 0, 2),
        ("last fetched epoch, middle", 0, 1),
        ("last fetched epoch in the future", 3, 2),
        ("last fetched epoch of an empty log", 0, 0),
    ] {
        let mut p = part(0, offset, 1000);
        p["LastFetchedEpoch"] = epoch.into();
        p["CurrentLeaderEpoch"] = 0.into();
        s.ask(label, "Fetch", 12, &body(json!([{"Topic": "fe-wrong", "Partitions": [p]}])))?;
    }
    let one = || body(json!([{"Topic": "fe-wrong", "Partitions": [part(0, 0, 1000)]}]));
    for (label, field, value) in [
        ("isolation level 2", "IsolationLevel", 2),
        ("negative max bytes", "MaxBytes", -1),
        ("as a replica", "ReplicaId", 5),
        ("as a debugging consumer", "ReplicaId", -2),
        ("negative wait", "MaxWaitMs", -1),
        ("negative minimum", "MinBytes", -1),
    ] {
        let mut request = one();
        request[field] = value.into();
        s.ask(label, "Fetch", 11, &request)?;
    }
    let v = latest("Fetch");
    let mut rack = body(json!([{"TopicId": id, "Partitions": [part(0, 0, 1000)]}]));
    rack["RackId"] = "somewhere".into();
    s.ask("rack", "Fetch", v, &rack)?;
    let zero = json!([{"TopicId": "0".repeat(32), "Partitions": [part(0, 0, 1000)]}]);
    s.ask("no id", "Fetch", v, &body(zero))?;
    let mut cluster = body(json!([{"TopicId": id, "Partitions": [part(0, 0, 1000)]}]));
    cluster["ClusterId"] = "another".into();
    s.ask("another cluster", "Fetch", v, &cluster)?;
    Ok(())
}

/// Incremental sessions (KIP-227), one after the other at several versions.
fn sessions(s: &mut Session) -> Result<()> {
    let id = topic(s, "fe-session", 3)?;
    append(s, "fe-session", 0, &Batch::of(2).hex())?;
    for v in [7, 11, 12, 13, latest("Fetch")] {
        let topics = |parts: Value| match v {
            ..=12 => json!([{"Topic": "fe-session", "Partitions": parts}]),
            _ => json!([{"TopicId": id, "Partitions": parts}]),
        };
        let forget = |parts: Value| match v {
            ..=12 => json!([{"Topic": "fe-session", "Partitions": parts}]),
            _ => json!([{"TopicId": id, "Partitions": parts}]),
        };
        let in_session = |session: &Value, epoch: i32, topics: Value, forgotten: Value| {
            let mut request = body(topics);
            request["SessionId"] = session.clone();
            request["SessionEpoch"] = epoch.into();
            request["ForgottenTopicsData"] = forgotten;
            request
        };
        let none = json!([]);
        let full = topics(json!([part(0, 0, 1000), part(1, 0, 1000)]));
        let made = s.ask(
            "new session",
            "Fetch",
            v,
            &in_session(&0.into(), 0, full.clone(), none.clone()),
        )?;
        let id = &made["SessionId"];
        s.ask("nothing new", "Fetch", v, &in_session(id, 1, none.clone(), none.clone()))?;
        let moved = topics(json!([part(0, 2, 1000)]));
        s.ask("moved on", "Fetch", v, &in_session(id, 2, moved, none.clone()))?;
        append(s, "fe-session", 1, &Batch::of(1).hex())?;
        s.ask("something new", "Fetch", v, &in_session(id, 3, none.clone(), none.clone()))?;
        s.ask("once more", "Fetch", v, &in_session(id, 4, none.clone(), none.clone()))?;
        s.ask("wrong epoch", "Fetch", v, &in_session(id, 9, none.clone(), none.clone()))?;
        let added = topics(json!([part(2, 0, 1000), part(7, 0, 1000)]));
        s.ask("two added", "Fetch", v, &in_session(id, 5, added, none.clone()))?;
        s.ask(
            "two forgotten",
            "Fetch",
            v,
            &in_session(id, 6, none.clone(), forget(json!([1, 7]))),
        )?;
        s.ask("after forgetting", "Fetch", v, &in_session(id, 7, none.clone(), none.clone()))?;
        s.ask(
            "unknown session",
            "Fetch",
            v,
            &in_session(&123.into(), 1, none.clone(), none.clone()),
        )?;
        s.ask("closed", "Fetch", v, &in_session(id, -1, none.clone(), none.clone()))?;
        s.ask("after closing", "Fetch", v, &in_session(id, 8, none.clone(), none.clone()))?;
        s.ask("sessionless", "Fetch", v, &in_session(&0.into(), -1, full, none.clone()))?;
    }
    Ok(())
}

fn wait(s: &mut Session) -> Result<()> {
    topic(s, "fe-wait", 1)?;
    let request = |offset: i64, least: i32, wait: i32| {
        let mut r = body(json!([{"Topic": "fe-wait", "Partitions": [part(0, offset, 100_000)]}]));
        r["MinBytes"] = least.into();
        r["MaxWaitMs"] = wait.into();
        r
    };
    s.ask("nothing comes", "Fetch", 11, &request(0, 1, 50))?;
    s.send(1, "woken by an append", "Fetch", 11, &request(0, 1, 10_000))?;
    append(s, "fe-wait", 0, &Batch::of(1).hex())?;
    s.receive_on(1)?;
    s.ask("too little comes", "Fetch", 11, &request(0, 100_000, 50))?;
    s.ask("an error does not wait", "Fetch", 11, &request(99, 1, 10_000))?;
    Ok(())
}
