//! The scenarios: what both brokers are asked, in which order.
//!
//! Owns the list and the steps that many scenarios share. Never compares.
//! Invariants: every scenario has topics and groups of its own, so none depends on another; all run
//! on brokers that are new, in this order, because listings show what came before.

mod admin;
mod configs;
mod edge;
mod fetch;
mod groups;
mod members;
mod metadata;
mod offsets;
mod produce;
mod producers;
mod topics;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::schema::{Schemas, Versions};
use crate::session::Session;

/// How long a broker may take to show what it said it did.
const SETTLE: Duration = Duration::from_secs(20);

pub type Scenario = (&'static str, fn(&mut Session) -> Result<()>);

/// All scenarios, those that look at a new broker first.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        edge::SCENARIOS,
        metadata::SCENARIOS,
        topics::SCENARIOS,
        configs::SCENARIOS,
        produce::SCENARIOS,
        producers::SCENARIOS,
        fetch::SCENARIOS,
        offsets::SCENARIOS,
        groups::SCENARIOS,
        members::SCENARIOS,
        admin::SCENARIOS,
    ]
    .concat()
}

/// The versions of an API that a real Kafka serves, and so must we.
fn versions(api: &str) -> Versions {
    Schemas::get().named(api).versions
}

fn latest(api: &str) -> i16 {
    versions(api).last
}

/// Makes a topic outside of the transcript and waits until it can be used.
fn topic(s: &mut Session, name: &str, partitions: i32) -> Result<String> {
    topic_with(s, name, partitions, &[])
}

/// As `topic`, with settings; answers the topic's id.
fn topic_with(
    s: &mut Session,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<String> {
    let configs: Vec<Value> = configs.iter().map(|(k, v)| json!({"Name": k, "Value": v})).collect();
    let made = s.quietly(
        "CreateTopics",
        7,
        &json!({"Topics": [{"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs}]}),
    )?;
    if made["Topics"][0]["ErrorCode"] != 0 {
        bail!("{name} was not created: {made}");
    }
    settle(s, name, partitions)?;
    Ok(made["Topics"][0]["TopicId"].as_str().unwrap_or_default().to_owned())
}

/// Waits until `name` has leaders for that many partitions and its log answers.
fn settle(s: &mut Session, name: &str, partitions: i32) -> Result<()> {
    until(name, || {
        let m = s.quietly(
            "Metadata",
            12,
            &json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false}),
        )?;
        let all = m["Topics"][0]["Partitions"].as_array().map_or(0, Vec::len);
        let each: Vec<Value> =
            (0..partitions).map(|p| json!({"PartitionIndex": p, "Timestamp": -1})).collect();
        let ends = json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": each}]});
        let offsets = s.quietly("ListOffsets", 7, &ends)?;
        let answering = |parts: &Vec<Value>| parts.iter().all(|p| p["ErrorCode"] == 0);
        Ok(m["Topics"][0]["ErrorCode"] == 0
            && all >= usize::try_from(partitions)?
            && offsets["Topics"][0]["Partitions"].as_array().is_some_and(answering))
    })
}

/// Repeats a step until it says true.
fn until(what: &str, mut step: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    while !step()? {
        if Instant::now() > deadline {
            bail!("{what}: not within {SETTLE:?}");
        }
        // Paces a poll of the broker's process, which says nothing by itself.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Appends one batch outside of the transcript.
fn append(s: &mut Session, topic: &str, partition: i32, records: &str) -> Result<()> {
    let answer = s.quietly("Produce", 9, &produce_body(topic, partition, records))?;
    if answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] != 0 {
        bail!("not appended to {topic}-{partition}: {answer}");
    }
    Ok(())
}

/// A Produce request up to v12 for one partition, acks=all.
fn produce_body(topic: &str, partition: i32, records: &str) -> Value {
    json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [
        {"Name": topic, "PartitionData": [{"Index": partition, "Records": records}]}]})
}

/// Waits until the coordinator of `group` serves it.
fn coordinator(s: &mut Session, group: &str) -> Result<()> {
    until("a group coordinator", || {
        let found = s.quietly("FindCoordinator", 3, &json!({"Key": group, "KeyType": 0}))?;
        let beat = json!({"GroupId": group, "GenerationId": 1, "MemberId": "nobody"});
        let answer = s.quietly("Heartbeat", 3, &beat)?;
        let loading = [14, 15, 16].iter().any(|code| answer["ErrorCode"] == *code);
        Ok(found["ErrorCode"] == 0 && !loading)
    })
}
