//! Replicas that go on as others than they began: in another log directory, or in a group that an unclean
//! election formed anew.
//!
//! Owns: what clients see of both, over sockets. Never: the rules of ids (`replication::raft::succession`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::Path;

use ottla_harness::TestCluster;
use ottla_integration::{ask, logged, until};
use serde_json::{Value, json};

const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const ALTER_REPLICA_LOG_DIRS: i16 = 34;
const DESCRIBE_LOG_DIRS: i16 = 35;
const ELECT_LEADERS: i16 = 43;
const ALTER_REASSIGNMENTS: i16 = 45;
const LIST_REASSIGNMENTS: i16 = 46;

/// What can be read. The harness sends again what it got no answer for, without a producer id: what was
/// under way when a leader went may stand there twice.
async fn values(cluster: &TestCluster) -> Vec<String> {
    let records = cluster.records("t").await.unwrap();
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
    let mut values: Vec<String> = records.into_iter().map(|record| text(record.value)).collect();
    values.dedup();
    values
}

fn partition(address: &str) -> Value {
    let body = json!({
        "Topics": [{"Name": "t"}], "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false, "IncludeTopicAuthorizedOperations": false,
    });
    ask(address, METADATA, 9, &body)["Topics"][0]["Partitions"][0].clone()
}

/// Waits until every replica is in sync.
fn await_in_sync(address: &str, count: usize) {
    until("all replicas in sync", || {
        let isr = partition(address)["IsrNodes"].as_array()?.len();
        (isr == count).then_some(())
    });
}

/// Starts a node, once a new controller believes that its former process is gone.
async fn start(cluster: &mut TestCluster, node: i32) {
    for _ in 0..10 {
        if cluster.start_node(node).await.is_ok() {
            return;
        }
    }
    panic!("node {node} does not start");
}

/// The directories that hold t-0 on a node, and whether as a future replica.
fn held(address: &str) -> Vec<(String, bool)> {
    let answer = ask(address, DESCRIBE_LOG_DIRS, 4, &json!({"Topics": null}));
    let mut found = Vec::new();
    for dir in answer["Results"].as_array().unwrap() {
        let of_t = dir["Topics"].as_array().unwrap().iter().filter(|topic| topic["Name"] == "t");
        for partition in of_t.flat_map(|topic| topic["Partitions"].as_array().unwrap()) {
            let path = dir["LogDir"].as_str().unwrap().to_owned();
            found.push((path, partition["IsFutureKey"].as_bool().unwrap()));
        }
    }
    found
}

fn alter(address: &str, path: &str) -> i64 {
    let body = json!({"Dirs": [{"Path": path, "Topics": [{"Name": "t", "Partitions": [0]}]}]});
    let answer = ask(address, ALTER_REPLICA_LOG_DIRS, 2, &body);
    answer["Results"][0]["Partitions"][0]["ErrorCode"].as_i64().unwrap()
}

/// Three brokers with two log directories each.
async fn with_two_directories(root: &Path) -> TestCluster {
    logged();
    let mut builder = TestCluster::builder().brokers(3).data_dir(root);
    for node in 1..=3_u16 {
        let dirs = ["a", "b"].map(|dir| root.join(dir).join(node.to_string()));
        let dirs = dirs.map(|dir| dir.display().to_string()).join(",");
        builder = builder.config_of(node, "log.dirs", &dirs);
    }
    builder.topic_with("t", |topic| topic.replicas(3)).start().await.unwrap()
}

/// The other directory of a node.
fn other(path: &str) -> String {
    match path.contains("/a/") {
        true => path.replace("/a/", "/b/"),
        false => path.replace("/b/", "/a/"),
    }
}

#[tokio::test]
async fn a_replica_of_a_group_moves_between_directories_and_stays_who_it_is() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = with_two_directories(root.path()).await;
    let mut written = Vec::new();
    for round in 0..2 {
        for node in [1, 2, 3] {
            let at = cluster.address_of(node).to_owned();
            let from = held(&at)[0].0.clone();
            let to = other(&from);
            assert_eq!(alter(&at, &to), 0);
            assert_eq!(alter(&at, &to), 0, "asked twice");
            let mut done = false;
            while !done {
                let value = format!("{round}-{node}-{}", written.len());
                cluster.produce("t", 0, &[(b"k", value.as_bytes())]).await.unwrap();
                written.push(value);
                done = held(&at) == [(to.clone(), false)];
            }
        }
        await_in_sync(cluster.address_of(1), 3);
        assert_eq!(values(&cluster).await, written);
        // They are who they were after a crash, too, whoever leads.
        for node in [1, 2, 3] {
            cluster.kill(node);
            let value = format!("without {node}");
            cluster.produce("t", 0, &[(b"k", value.as_bytes())]).await.unwrap();
            written.push(value);
            start(&mut cluster, node).await;
            await_in_sync(cluster.address_of(node % 3 + 1), 3);
        }
        assert_eq!(values(&cluster).await, written);
    }
    let none: Vec<Value> = Vec::new();
    let seen = partition(cluster.address_of(1));
    assert_eq!(seen["OfflineReplicas"].as_array().unwrap(), &none, "{seen}");
}

fn reassign(address: &str, replicas: &[i32]) {
    let body = json!({"TimeoutMs": 30_000, "Topics": [{
        "Name": "t", "Partitions": [{"PartitionIndex": 0, "Replicas": replicas}],
    }]});
    let answer = ask(address, ALTER_REASSIGNMENTS, 0, &body);
    assert_eq!(answer["Responses"][0]["Partitions"][0]["ErrorCode"], 0, "{answer}");
    until("the end of the reassignment", || {
        let all = json!({"TimeoutMs": 30_000, "Topics": null});
        let under_way = ask(address, LIST_REASSIGNMENTS, 0, &all);
        under_way["Topics"].as_array().unwrap().is_empty().then_some(())
    });
}

#[tokio::test]
async fn a_replica_that_is_made_where_another_left_is_another_one() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = with_two_directories(root.path()).await;
    cluster.produce("t", 0, &[(b"k", b"a")]).await.unwrap();
    let (node, asked) = (3, cluster.address_of(1).to_owned());
    let at = cluster.address_of(node).to_owned();
    let began = held(&at)[0].0.clone();
    let moved = other(&began);
    assert_eq!(alter(&at, &moved), 0);
    until("the move", || (held(&at) == [(moved.clone(), false)]).then_some(()));
    // It goes, and comes back to where it began, where its id is used up.
    reassign(&asked, &[1, 2]);
    until("the end of the replica", || held(&at).is_empty().then_some(()));
    assert_eq!(alter(&at, &began), 9, "REPLICA_NOT_AVAILABLE: it is made there");
    reassign(&asked, &[1, 2, 3]);
    await_in_sync(&asked, 3);
    assert_eq!(held(&at), [(began, false)]);
    cluster.produce("t", 0, &[(b"k", b"b")]).await.unwrap();
    // It votes: without another one, it and the third are the majority.
    cluster.kill(1);
    cluster.produce("t", 0, &[(b"k", b"c")]).await.unwrap();
    cluster.kill(3);
    start(&mut cluster, 1).await;
    start(&mut cluster, 3).await;
    cluster.kill(2);
    cluster.produce("t", 0, &[(b"k", b"d")]).await.unwrap();
    assert_eq!(values(&cluster).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_unclean_election_names_what_is_lost_and_what_comes_back_follows() {
    logged();
    let mut cluster = TestCluster::builder()
        .brokers(5)
        .config("broker.session.timeout.ms", "3000")
        .start()
        .await
        .unwrap();
    let topic = json!({
        "Name": "t", "NumPartitions": -1, "ReplicationFactor": -1, "Configs": [],
        "Assignments": [{"PartitionIndex": 0, "BrokerIds": [1, 2, 3]}],
    });
    let body = json!({"Topics": [topic], "timeoutMs": 30_000, "validateOnly": false});
    let asked = cluster.address_of(4).to_owned();
    let created = ask(&asked, CREATE_TOPICS, 5, &body);
    assert_eq!(created["Topics"][0]["ErrorCode"], 0, "{created}");
    cluster.produce("t", 0, &[(b"k", b"a")]).await.unwrap();
    await_in_sync(&asked, 3);
    let before = partition(&asked)["LeaderEpoch"].as_i64().unwrap();

    // What the majority acknowledges without the first is lost with it.
    cluster.kill(1);
    cluster.produce("t", 0, &[(b"k", b"lost")]).await.unwrap();
    cluster.kill(2);
    cluster.kill(3);
    start(&mut cluster, 1).await;
    until("nobody to lead", || (partition(&asked)["LeaderId"] == -1).then_some(()));
    let elect = json!({
        "ElectionType": 1, "TimeoutMs": 30_000,
        "TopicPartitions": [{"Topic": "t", "Partitions": [0]}],
    });
    let elected = until("the election", || {
        let answer = ask(&asked, ELECT_LEADERS, 2, &elect);
        let result = answer["ReplicaElectionResults"][0]["PartitionResult"][0].clone();
        (result["ErrorCode"] == 0).then_some(result)
    });
    let words = elected["ErrorMessage"].as_str().unwrap();
    for part in ["at offset 1 or behind it is LOST", "only 2, 3 can have had it", "the log of 1"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    cluster.produce("t", 0, &[(b"k", b"b")]).await.unwrap();
    assert_eq!(values(&cluster).await, ["a", "b"]);
    let leader = partition(&asked);
    assert_eq!(leader["LeaderId"], 1);
    assert!(leader["LeaderEpoch"].as_i64().unwrap() > before, "{leader} after {before}");

    // The former majority, among itself: no fork, it follows.
    start(&mut cluster, 2).await;
    start(&mut cluster, 3).await;
    await_in_sync(&asked, 3);
    cluster.produce("t", 0, &[(b"k", b"c")]).await.unwrap();
    assert_eq!(values(&cluster).await, ["a", "b", "c"]);
    cluster.kill(1);
    cluster.produce("t", 0, &[(b"k", b"d")]).await.unwrap();
    assert_eq!(values(&cluster).await, ["a", "b", "c", "d"], "of those that came back");
    until("word of the new leader", || {
        [2, 3].contains(&partition(&asked)["LeaderId"].as_i64()?).then_some(())
    });
    let answer = ask(&asked, ELECT_LEADERS, 2, &elect);
    let code = &answer["ReplicaElectionResults"][0]["PartitionResult"][0]["ErrorCode"];
    assert_eq!(*code, 84, "ELECTION_NOT_NEEDED: {answer}");
}
