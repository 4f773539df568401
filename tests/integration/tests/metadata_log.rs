//! The metadata log after it was shortened: topics and settings survive a restart from its snapshot.
//!
//! Owns: many small changes, until the log begins with a snapshot. Never: the rules of one change
//! (`coordinator/src/metadata`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::Path;

use ottla_harness::blocking::TestCluster;
use ottla_integration::Client;
use serde_json::{Value, json};

const DESCRIBE_CONFIGS: i16 = 32;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const DESCRIBE_QUORUM: i16 = 55;
const TOPIC: i8 = 2;
/// Numbers, so that a change can be repeated with another value.
const KEYS: [&str; 10] = [
    "max.message.bytes",
    "retention.bytes",
    "segment.bytes",
    "flush.messages",
    "flush.ms",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "index.interval.bytes",
    "segment.ms",
    "min.compaction.lag.ms",
];
const TOPICS: usize = 12;
/// With the topics and keys enough for the log to be worth a snapshot: beyond the 2,000 records that a
/// short log may have, and four times as long as what it says.
const ROUNDS: i64 = 25;
const BASE: i64 = 2_000_000;

fn topic(index: usize) -> String {
    format!("t{index}")
}

/// Changes every key of every topic, in one request.
fn change_all(client: &mut Client, value: i64) {
    let config =
        |key: &&str| json!({"Name": key, "ConfigOperation": 0, "Value": value.to_string()});
    let configs: Vec<Value> = KEYS.iter().map(config).collect();
    let resource =
        |index| json!({"ResourceType": TOPIC, "ResourceName": topic(index), "Configs": configs});
    let resources: Vec<Value> = (0..TOPICS).map(resource).collect();
    let body = json!({"Resources": resources, "ValidateOnly": false});
    let answer = client.ask(INCREMENTAL_ALTER_CONFIGS, 1, &body);
    for response in answer["Responses"].as_array().unwrap() {
        assert_eq!(response["ErrorCode"], 0, "{answer}");
    }
}

fn value_of(client: &mut Client, topic: &str, key: &str) -> Value {
    let resources =
        json!([{"ResourceType": TOPIC, "ResourceName": topic, "ConfigurationKeys": [key]}]);
    let body = json!({
        "Resources": resources, "IncludeSynonyms": false, "IncludeDocumentation": false});
    let answer = client.ask(DESCRIBE_CONFIGS, 4, &body);
    answer["Results"][0]["Configs"][0]["Value"].clone()
}

/// The offset at which the metadata log begins on disk, as the checkpoint has it.
fn log_start(directory: &Path) -> i64 {
    let text = std::fs::read_to_string(directory.join("log-start-offset-checkpoint"));
    let text = text.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("__cluster_metadata 0 "));
    line.map_or(0, |offset| offset.parse().unwrap())
}

fn metadata_log_end(client: &mut Client) -> i64 {
    let topics =
        json!([{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]);
    let answer = client.ask(DESCRIBE_QUORUM, 1, &json!({"Topics": topics}));
    answer["Topics"][0]["Partitions"][0]["HighWatermark"].as_i64().unwrap()
}

fn start(directory: &Path) -> TestCluster {
    TestCluster::builder().data_dir(directory).start_blocking().unwrap()
}

/// A cluster whose metadata log was shortened, with a topic from before and changes from after.
fn shortened(directory: &Path) -> TestCluster {
    let mut builder = TestCluster::builder()
        .data_dir(directory)
        .topic_with("kept", |topic| topic.partitions(3).config("retention.ms", "777000"));
    for index in 0..TOPICS {
        builder = builder.topic(&topic(index), 1);
    }
    let cluster = builder.start_blocking().unwrap();
    cluster.produce("kept", 1, &[(b"k", b"v")]).unwrap();
    let mut client = Client::open(cluster.bootstrap());
    let began = metadata_log_end(&mut client);
    for round in 1..=ROUNDS {
        change_all(&mut client, BASE + round);
    }
    let changes = ROUNDS * (TOPICS * KEYS.len()) as i64;
    assert!(metadata_log_end(&mut client) >= began + changes);
    cluster
}

fn check(cluster: &TestCluster) {
    let mut client = Client::open(cluster.bootstrap());
    assert_eq!(value_of(&mut client, "kept", "retention.ms"), "777000");
    for index in 0..TOPICS {
        for key in KEYS {
            let value = value_of(&mut client, &topic(index), key);
            assert_eq!(value, (BASE + ROUNDS).to_string(), "{key} of {}", topic(index));
        }
    }
    let records = cluster.records("kept").unwrap();
    let found: Vec<_> =
        records.iter().map(|r| (r.partition, r.offset, r.value.as_deref())).collect();
    assert_eq!(found, [(1, 0, Some(&b"v"[..]))]);
    assert_eq!(cluster.produce("kept", 2, &[(b"k", b"v")]).unwrap(), 0);
}

#[test]
fn topics_and_settings_survive_a_restart_from_a_snapshot_of_the_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = shortened(directory.path());
    cluster.stop();
    let begins = log_start(directory.path());
    assert!(begins > 2_000, "the log begins at {begins}: it was not shortened");
    check(&start(directory.path()));
}

#[test]
fn topics_and_settings_survive_a_crash_after_a_snapshot_of_the_metadata() {
    let directory = tempfile::tempdir().unwrap();
    // Dropped without a word: the new start of the log need not be on the disk.
    drop(shortened(directory.path()));
    check(&start(directory.path()));
}
