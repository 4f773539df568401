//! Several log directories under a running broker, on a simulated disk that fails as it is told.
//!
//! Owns: what clients see of a directory that fails, of a full one, and of one that is away at the
//! start. Never: the rules of one log (`storage`), or of the controller (`coordinator`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use ottla_differential::connection::{Connection, Reply, open_response};
use ottla_harness::HarnessError;
use ottla_harness::blocking::TestCluster;
use ottla_protocol::ErrorCode;
use ottla_storage::fs::SimFileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher, SimOptions};
use serde_json::{Value, json};

const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const ALTER_REPLICA_LOG_DIRS: i16 = 34;
const DESCRIBE_LOG_DIRS: i16 = 35;
const STORAGE_ERROR: i64 = 56;
const LEADER_NOT_AVAILABLE: i64 = 5;
const PATIENCE: Duration = Duration::from_secs(30);

fn ask(cluster: &TestCluster, key: i16, version: i16, body: &Value) -> Value {
    let mut connection = Connection::open(cluster.bootstrap()).unwrap();
    let correlation = connection.send(key, version, body).unwrap();
    match connection.receive(PATIENCE).unwrap() {
        Reply::Answer(frame) => open_response(key, version, correlation, &frame).unwrap(),
        other => panic!("key {key} v{version}: {other:?}"),
    }
}

/// Error and names of the topics of every log directory.
fn directories(cluster: &TestCluster) -> Vec<(String, i64, Vec<String>)> {
    let answer = ask(cluster, DESCRIBE_LOG_DIRS, 4, &json!({"Topics": null}));
    let mut all: Vec<_> = answer["Results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dir| {
            let topics = dir["Topics"].as_array().unwrap();
            let names = topics.iter().map(|topic| topic["Name"].as_str().unwrap().to_owned());
            let path = dir["LogDir"].as_str().unwrap().to_owned();
            (path, dir["ErrorCode"].as_i64().unwrap(), names.collect())
        })
        .collect();
    all.sort();
    all
}

/// Leader, error and offline replicas of the only partition of a topic.
fn leadership(cluster: &TestCluster, topic: &str) -> (i64, i64, Value) {
    let body = json!({
        "Topics": [{"Name": topic}],
        "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false,
        "IncludeTopicAuthorizedOperations": false,
    });
    let answer = ask(cluster, METADATA, 9, &body);
    let partition = &answer["Topics"][0]["Partitions"][0];
    let number = |field: &str| partition[field].as_i64().unwrap();
    (number("LeaderId"), number("ErrorCode"), partition["OfflineReplicas"].clone())
}

/// The first of `topic`'s offsets, and the error of a fetch from there.
fn read_errors(cluster: &TestCluster, topic: &str) -> (i64, i64) {
    let listed = json!({
        "ReplicaId": -1, "IsolationLevel": 0,
        "Topics": [{"Name": topic, "Partitions": [
            {"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": 0}
        ]}],
    });
    let listed = ask(cluster, LIST_OFFSETS, 6, &listed);
    let fetched = json!({
        "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1_048_576, "IsolationLevel": 0,
        "SessionId": 0, "SessionEpoch": -1, "RackId": "", "ForgottenTopicsData": [],
        "Topics": [{"Topic": topic, "Partitions": [{
            "Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0, "LastFetchedEpoch": -1,
            "LogStartOffset": -1, "PartitionMaxBytes": 1_048_576,
        }]}],
    });
    let fetched = ask(cluster, FETCH, 12, &fetched);
    let code = |value: &Value| value["ErrorCode"].as_i64().unwrap();
    (code(&listed["Topics"][0]["Partitions"][0]), code(&fetched["Responses"][0]["Partitions"][0]))
}

fn create(cluster: &TestCluster, topic: &str) -> i64 {
    let body = json!({
        "Topics": [{"Name": topic, "NumPartitions": 1, "ReplicationFactor": 1,
                    "Assignments": [], "Configs": []}],
        "timeoutMs": 30_000, "validateOnly": false,
    });
    ask(cluster, CREATE_TOPICS, 5, &body)["Topics"][0]["ErrorCode"].as_i64().unwrap()
}

/// A broker with the directories /d1 and /d2 of one disk, and topics a, b, c, d with a record each.
fn broker(seed: u64) -> (SimFileSystem, TestCluster) {
    let sim = SimFileSystem::new(seed, SimOptions::default());
    let cluster = TestCluster::builder()
        .file_system(Arc::new(sim.clone()), &["/d1", "/d2"])
        .seed(seed)
        .topic("a", 1)
        .topic("b", 1)
        .topic("c", 1)
        .topic("d", 1)
        .start_blocking()
        .unwrap();
    for topic in ["a", "b", "c", "d"] {
        assert_eq!(produce(&cluster, topic), Ok(0));
    }
    (sim, cluster)
}

fn produce(cluster: &TestCluster, topic: &str) -> Result<i64, ErrorCode> {
    match cluster.produce(topic, 0, &[(b"k", b"v")]) {
        Ok(offset) => Ok(offset),
        Err(HarnessError::Refused { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    }
}

/// Topics of /d1 and of /d2.
fn placed(cluster: &TestCluster) -> [Vec<String>; 2] {
    let found = directories(cluster);
    assert_eq!(found.iter().map(|dir| dir.1).collect::<Vec<_>>(), [0, 0], "{found:?}");
    let [first, second] = found.try_into().unwrap();
    assert!(!first.2.is_empty() && !second.2.is_empty(), "both are used");
    [first.2, second.2]
}

/// Waits until the cluster says that nobody leads `topic`.
fn await_leaderless(cluster: &TestCluster, topic: &str) {
    let begin = std::time::Instant::now();
    while leadership(cluster, topic).0 != -1 {
        assert!(begin.elapsed() < PATIENCE, "the cluster is never told");
        std::thread::yield_now();
    }
}

fn check_failure(seed: u64, fault: OpMatcher, mut meet: impl FnMut(&TestCluster, &str) -> i64) {
    let (sim, mut cluster) = broker(seed);
    let [well, doomed] = placed(&cluster);
    sim.fail_always(fault, DiskError::Io);
    assert_eq!(meet(&cluster, &doomed[0]), STORAGE_ERROR);
    for topic in &doomed {
        await_leaderless(&cluster, topic);
        assert_eq!(leadership(&cluster, topic), (-1, LEADER_NOT_AVAILABLE, json!([1])));
        assert_eq!(produce(&cluster, topic), Err(ErrorCode::KafkaStorageError), "{topic}");
        assert_eq!(read_errors(&cluster, topic), (STORAGE_ERROR, STORAGE_ERROR));
    }
    for topic in &well {
        assert_eq!(leadership(&cluster, topic), (1, 0, json!([])));
        assert_eq!(produce(&cluster, topic), Ok(1));
        assert_eq!(cluster.records(topic).unwrap().len(), 2);
    }
    let told = directories(&cluster);
    assert_eq!((told[0].1, told[1].1), (0, STORAGE_ERROR));
    for topic in ["new-1", "new-2"] {
        assert_eq!(create(&cluster, topic), 0);
        assert_eq!(produce(&cluster, topic), Ok(0), "placed where it works");
    }

    sim.clear_faults();
    assert_eq!(produce(&cluster, &doomed[0]), Err(ErrorCode::KafkaStorageError), "until a restart");
    cluster.restart().unwrap();
    for topic in &doomed {
        assert_eq!(leadership(&cluster, topic), (1, 0, json!([])));
        let before = cluster.records(topic).unwrap().len();
        assert!((1..=6).contains(&before), "what was acknowledged is there");
        produce(&cluster, topic).unwrap();
    }
}

fn produced(cluster: &TestCluster, topic: &str) -> i64 {
    produce(cluster, topic).map_or_else(|code| i64::from(code.code()), |_| 0)
}

#[test]
fn a_directory_that_cannot_be_written_goes_offline_alone() {
    check_failure(1, OpMatcher::op(Op::Write).on("/d2/"), produced);
}

#[test]
fn a_directory_that_cannot_be_synced_goes_offline_alone_and_is_not_synced_again() {
    check_failure(2, OpMatcher::op(Op::SyncData).on("/d2/"), |cluster, topic| {
        // The first flushes of a log may sync the whole disk at once.
        (0..5).map(|_| produced(cluster, topic)).find(|code| *code != 0).unwrap_or(0)
    });
}

#[test]
fn a_directory_that_cannot_be_read_goes_offline_alone() {
    check_failure(3, OpMatcher::op(Op::Read).on("/d2/"), |cluster, topic| {
        // A lookup by time reads the file; what was just written a fetch finds in memory.
        read_errors(cluster, topic).0
    });
}

#[test]
fn a_directory_that_is_gone_is_noticed_without_a_request() {
    let (sim, cluster) = broker(4);
    let [_, doomed] = placed(&cluster);
    ottla_storage::fs::FileSystem::remove_dir_all(&sim, "/d2".as_ref()).unwrap();
    await_leaderless(&cluster, &doomed[0]);
    assert_eq!(produce(&cluster, &doomed[0]), Err(ErrorCode::KafkaStorageError));
}

#[test]
fn a_broker_ends_when_the_metadata_logs_directory_fails() {
    let (sim, cluster) = broker(5);
    let [doomed, _] = placed(&cluster);
    sim.fail_always(OpMatcher::op(Op::Write).on("/d1/"), DiskError::Io);
    // The connection may end with the broker, before the answer.
    let _refused = cluster.produce(&doomed[0], 0, &[(b"k", b"v")]);
    let reason = cluster.halted().unwrap();
    assert!(reason.contains("/d1") && reason.contains("__cluster_metadata"), "{reason}");
    assert!(Connection::open(cluster.bootstrap()).is_err(), "nothing is served any more");
}

#[test]
fn a_broker_starts_without_a_directory_and_serves_the_others() {
    let (sim, mut cluster) = broker(6);
    let [well, lost] = placed(&cluster);
    cluster.stop_for(|| sim.fail_always(OpMatcher::any().on("/d2"), DiskError::Io)).unwrap();
    for topic in &lost {
        assert_eq!(leadership(&cluster, topic), (-1, LEADER_NOT_AVAILABLE, json!([1])));
        assert_eq!(produce(&cluster, topic), Err(ErrorCode::KafkaStorageError));
        assert_eq!(read_errors(&cluster, topic), (STORAGE_ERROR, STORAGE_ERROR));
    }
    for topic in &well {
        assert_eq!(produce(&cluster, topic), Ok(1));
    }
    let told = directories(&cluster);
    assert_eq!((told[0].1, told[1].1), (0, STORAGE_ERROR));
    assert_eq!(create(&cluster, "new"), 0);
    assert_eq!(produce(&cluster, "new"), Ok(0));

    cluster.stop_for(|| sim.clear_faults()).unwrap();
    for topic in &lost {
        assert_eq!(leadership(&cluster, topic), (1, 0, json!([])));
        assert_eq!(produce(&cluster, topic), Ok(1), "nothing was put in its place");
    }
}

#[test]
fn a_broker_without_its_metadata_does_not_start_and_forgets_nothing() {
    let (sim, mut cluster) = broker(7);
    let refused = cluster
        .stop_for(|| sim.fail_always(OpMatcher::any().on("/d1"), DiskError::Io))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("__cluster_metadata") && refused.contains("/d1"), "{refused}");
    cluster.stop_for(|| sim.clear_faults()).unwrap();
    for topic in ["a", "b", "c", "d"] {
        assert_eq!(produce(&cluster, topic), Ok(1));
    }
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_recovers() {
    let sim = SimFileSystem::new(8, SimOptions::default());
    let mut cluster = TestCluster::builder()
        .file_system(Arc::new(sim.clone()), &["/d1"])
        .topic_with("t", |topic| topic.config("segment.bytes", "1048576"))
        .start_blocking()
        .unwrap();
    assert_eq!(produce(&cluster, "t"), Ok(0));
    sim.set_capacity(1);
    for _ in 0..5 {
        assert_eq!(produce(&cluster, "t"), Err(ErrorCode::KafkaStorageError));
    }
    assert_eq!(cluster.records("t").unwrap().len(), 1);
    assert_eq!(leadership(&cluster, "t"), (1, 0, json!([])), "the directory is not offline");
    sim.set_capacity(u64::MAX);
    assert_eq!(produce(&cluster, "t"), Ok(1));
    cluster.restart().unwrap();
    assert_eq!(cluster.records("t").unwrap().len(), 2);
}

fn alter(cluster: &TestCluster, path: &str, topic: &str) -> i64 {
    let body = json!({"Dirs": [{"Path": path, "Topics": [{"Name": topic, "Partitions": [0]}]}]});
    let answer = ask(cluster, ALTER_REPLICA_LOG_DIRS, 2, &body);
    answer["Results"][0]["Partitions"][0]["ErrorCode"].as_i64().unwrap()
}

#[test]
fn a_replica_moves_between_directories_while_it_is_used() {
    let (sim, mut cluster) = broker(9);
    let [here, _] = placed(&cluster);
    let topic = &here[0];
    assert_eq!(alter(&cluster, "/nowhere", topic), 57, "LOG_DIR_NOT_FOUND");
    assert_eq!(alter(&cluster, "/d2", "unknown"), 3, "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(alter(&cluster, "/d2", "__cluster_metadata"), 3);
    assert_eq!(alter(&cluster, "/d1", topic), 0, "it is there");
    assert_eq!(alter(&cluster, "/d2", topic), 0);
    let begin = std::time::Instant::now();
    let mut next = 1;
    while !directories(&cluster)[1].2.contains(topic) || directories(&cluster)[0].2.contains(topic)
    {
        assert!(begin.elapsed() < PATIENCE, "it never moves");
        assert_eq!(produce(&cluster, topic), Ok(next), "nothing is refused meanwhile");
        next += 1;
    }
    assert_eq!(produce(&cluster, topic), Ok(next));
    assert_eq!(cluster.records(topic).unwrap().len() as i64, next + 1);
    assert_eq!(leadership(&cluster, topic), (1, 0, json!([])));

    // The controller knows where it is: without /d2 nobody leads it.
    cluster.stop_for(|| sim.fail_always(OpMatcher::any().on("/d2"), DiskError::Io)).unwrap();
    assert_eq!(leadership(&cluster, topic), (-1, LEADER_NOT_AVAILABLE, json!([1])));
    assert_eq!(alter(&cluster, "/d1", topic), STORAGE_ERROR, "it cannot be read");
    assert_eq!(alter(&cluster, "/d2", topic), STORAGE_ERROR);
    cluster.stop_for(|| sim.clear_faults()).unwrap();
    assert_eq!(cluster.records(topic).unwrap().len() as i64, next + 1);
}
