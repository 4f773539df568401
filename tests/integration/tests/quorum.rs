//! The nodes that keep a cluster's metadata: how they become more and fewer, and what an emptied disk may do.
//!
//! Owns: changes of the metadata's voters over sockets, and what a broker that is not the controller has it
//! note. Never: partitions' own groups.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_differential::connection::{Connection, Reply, open_response};
use ottla_harness::TestCluster;
use ottla_storage::fs::SimFileSystem;
use ottla_storage::fs::sim::SimOptions;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DESCRIBE_QUORUM: i16 = 55;
const ADD_RAFT_VOTER: i16 = 80;
const REMOVE_RAFT_VOTER: i16 = 81;
const INVALID_REQUEST: i64 = 42;
const INCONSISTENT_CLUSTER_ID: i64 = 104;
const DUPLICATE_VOTER: i64 = 126;
const VOTER_NOT_FOUND: i64 = 127;

fn ask(address: &str, key: i16, version: i16, body: &Value) -> Value {
    let mut connection = Connection::open(address).unwrap();
    let correlation = connection.send(key, version, body).unwrap();
    match connection.receive(PATIENCE).unwrap() {
        Reply::Answer(frame) => open_response(key, version, correlation, &frame).unwrap(),
        other => panic!("key {key} v{version}: {other:?}"),
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        // Paces a poll of the cluster.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A voter or an observer: its node id and the id of its directory.
type Replica = (i64, String);

/// Voters and observers.
fn quorum(address: &str) -> (Vec<Replica>, Vec<Replica>) {
    let asked = json!([{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]);
    let answer = ask(address, DESCRIBE_QUORUM, 2, &json!({ "Topics": asked }));
    let partition = &answer["Topics"][0]["Partitions"][0];
    let of = |field: &str| {
        let all = partition[field].as_array().unwrap_or_else(|| panic!("{answer}"));
        let replica = |of: &Value| {
            let directory = of["ReplicaDirectoryId"].as_str().unwrap();
            (of["ReplicaId"].as_i64().unwrap(), directory.to_owned())
        };
        all.iter().map(replica).collect::<Vec<_>>()
    };
    (of("CurrentVoters"), of("Observers"))
}

fn nodes(replicas: &[Replica]) -> Vec<i64> {
    replicas.iter().map(|(node, _)| *node).collect()
}

fn observer(address: &str, node: i64) -> Replica {
    let find = || quorum(address).1.into_iter().find(|(id, _)| *id == node);
    until("an observer", find)
}

fn add(address: &str, cluster_id: &str, (node, directory): &Replica) -> i64 {
    let listener = json!([{"Name": "CONTROLLER", "Host": "127.0.0.1", "Port": 1}]);
    let listeners = if *node < 0 { listener } else { json!([]) };
    let body = json!({
        "ClusterId": cluster_id, "TimeoutMs": 30_000, "VoterId": node, "VoterDirectoryId": directory,
        "Listeners": listeners, "AckWhenCommitted": true,
    });
    ask(address, ADD_RAFT_VOTER, 1, &body)["ErrorCode"].as_i64().unwrap()
}

fn remove(address: &str, (node, directory): &Replica) -> i64 {
    let body = json!({"ClusterId": null, "VoterId": node, "VoterDirectoryId": directory});
    ask(address, REMOVE_RAFT_VOTER, 0, &body)["ErrorCode"].as_i64().unwrap()
}

fn create(address: &str, name: &str, replicas: i16) -> i64 {
    let topic = json!({
        "Name": name, "NumPartitions": 1, "ReplicationFactor": replicas, "Assignments": [], "Configs": [],
    });
    let body = json!({"Topics": [topic], "timeoutMs": 30_000, "validateOnly": false});
    ask(address, CREATE_TOPICS, 5, &body)["Topics"][0]["ErrorCode"].as_i64().unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// One node with a controller listener, whose list of controllers is `bootstrap`.
async fn node(id: i32, controller: &str, bootstrap: &str, data: &Path) -> TestCluster {
    TestCluster::builder()
        .config("node.id", &id.to_string())
        .config("listeners", &format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://{controller}"))
        .config("controller.listener.names", "CONTROLLER")
        .config("controller.quorum.bootstrap.servers", bootstrap)
        .config("offsets.topic.replication.factor", "1")
        .data_dir(data)
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn one_node_grows_into_three_voters_and_shrinks_again() {
    let data = tempfile::tempdir().unwrap();
    let dir = |name: &str| data.path().join(name);
    // It keeps its metadata alone at first.
    let alone = TestCluster::builder().config("node.id", "1").data_dir(&dir("1"));
    let alone = alone.topic("old", 1).start().await.unwrap();
    alone.produce("old", 0, &[(b"k", b"v")]).await.unwrap();
    let cluster_id = alone.cluster_id().to_owned();
    alone.stop();

    let controller = free_address();
    let first = node(1, &controller, &controller, &dir("1")).await;
    assert_eq!(first.cluster_id(), cluster_id, "it goes on as the same cluster");
    assert_eq!(first.records("old").await.unwrap().len(), 1);
    let second = node(2, &free_address(), &controller, &dir("2")).await;
    let third = node(3, &free_address(), &controller, &dir("3")).await;
    assert_eq!(third.cluster_id(), cluster_id);
    let at = first.address_of(1).to_owned();
    let (voters, _) = quorum(&at);
    assert_eq!(nodes(&voters), [1]);
    let (two, three) = (observer(&at, 2), observer(&at, 3));

    let refusals = [
        (add(&at, "another", &two), INCONSISTENT_CLUSTER_ID),
        (add(&at, &cluster_id, &(-1, two.1.clone())), INVALID_REQUEST),
        (add(&at, &cluster_id, &(1, two.1.clone())), DUPLICATE_VOTER),
        (remove(&at, &two), VOTER_NOT_FOUND),
        (remove(&at, &voters[0]), INVALID_REQUEST),
    ];
    for (at, (found, expected)) in refusals.into_iter().enumerate() {
        assert_eq!(found, expected, "refusal {at}");
    }
    // Any broker passes it on.
    assert_eq!(add(second.address_of(1), &cluster_id, &two), 0);
    assert_eq!(add(&at, &cluster_id, &three), 0);
    assert_eq!(nodes(&quorum(&at).0), [1, 2, 3]);
    assert_eq!(add(&at, &cluster_id, &three), DUPLICATE_VOTER);

    // Two of the three go on without the first.
    let first_key = voters[0].clone();
    first.stop();
    let at = second.address_of(1).to_owned();
    until("a topic", || (create(&at, "new", 2) == 0).then_some(()));
    assert_eq!(remove(&at, &first_key), 0, "its directory is known, so it may follow");
    assert_eq!(nodes(&quorum(&at).0), [2, 3]);
    // The leader itself may go; the last one may not.
    until("one voter", || (remove(&at, &three) == 0).then_some(()));
    until("the rest", || (nodes(&quorum(&at).0) == [2]).then_some(()));
    assert_eq!(remove(&at, &two), INVALID_REQUEST);
    assert_eq!(create(&at, "newer", 1), 0);
    third.stop();
    assert_eq!(create(&at, "newest", 1), 0, "one voter decides alone");
}

#[tokio::test]
async fn a_founder_that_was_emptied_finds_those_it_is_told_of() {
    let data = tempfile::tempdir().unwrap();
    let dir = |name: &str| data.path().join(name);
    let (founders, seconds) = (free_address(), free_address());
    let first = node(1, &founders, &founders, &dir("1")).await;
    let second = node(2, &seconds, &founders, &dir("2")).await;
    let cluster_id = first.cluster_id().to_owned();
    let at = second.address_of(1).to_owned();
    let (voters, _) = quorum(&at);
    assert_eq!(add(&at, &cluster_id, &observer(&at, 2)), 0);
    until("the founder to go", || (remove(&at, &voters[0]) == 0).then_some(()));
    until("one voter", || (nodes(&quorum(&at).0) == [2]).then_some(()));
    first.stop();
    std::fs::remove_dir_all(dir("1")).unwrap();

    // Those who voted first are all that the cluster's card names: it was the only one.
    let (list, home) = (format!("{founders},{seconds}"), dir("1"));
    let start = node(1, &founders, &list, &home);
    let first = tokio::time::timeout(Duration::from_secs(60), start).await.expect("it is let in");
    assert_eq!(first.cluster_id(), cluster_id);
    let fresh = observer(&at, 1);
    assert_ne!(fresh.1, voters[0].1);
    assert_eq!(add(&at, &cluster_id, &fresh), 0);
    assert_eq!(nodes(&quorum(&at).0), [1, 2]);
}

#[tokio::test]
async fn an_emptied_disk_has_no_vote_until_it_is_let_in_for_its_former_self() {
    let mut cluster = TestCluster::builder().brokers(3).disk().start().await.unwrap();
    let cluster_id = cluster.cluster_id().to_owned();
    let at = cluster.address_of(1).to_owned();
    let (before, _) = quorum(&at);
    let former = before[2].clone();
    cluster.kill(3);
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.data_dir_of(3)).unwrap();
    {
        // One of the former three is there, and it is no majority with a disk that remembers nothing.
        let start = tokio::time::timeout(Duration::from_secs(8), cluster.start_node(3));
        assert!(start.await.is_err(), "nobody decides");
    }
    cluster.start_node(2).await.unwrap();
    cluster.start_node(3).await.unwrap();
    let (voters, _) = until("a leader", || Some(quorum(&at)).filter(|of| !of.0.is_empty()));
    assert_eq!(voters, before, "nobody's vote went over by itself");
    let fresh = observer(&at, 3);
    assert_ne!(fresh.1, former.1);
    assert_eq!(add(&at, &cluster_id, &fresh), DUPLICATE_VOTER, "its former self first");
    assert_eq!(remove(&at, &former), 0);
    assert_eq!(add(&at, &cluster_id, &fresh), 0);
    let (voters, observers) = quorum(&at);
    assert_eq!((nodes(&voters), nodes(&observers)), (vec![1, 2, 3], vec![]));
    assert_eq!(voters[2], fresh);
    // It counts: with it and one other there is a majority.
    let controller = cluster.controller().await.unwrap();
    let gone = if controller == 3 { 2 } else { controller };
    cluster.kill(gone);
    let at = cluster.address_of(3).to_owned();
    until("a topic", || (create(&at, "t", 1) == 0).then_some(()));
}

#[tokio::test]
async fn a_failed_directory_is_noted_by_a_controller_elsewhere() {
    if std::env::var_os("OTTLA_LOG").is_some() {
        let levels = tracing_subscriber::filter::LevelFilter::INFO;
        tracing_subscriber::fmt().with_max_level(levels).with_test_writer().init();
    }
    let sim = SimFileSystem::new(7, SimOptions::default());
    let cluster = TestCluster::builder()
        .brokers(3)
        .file_system(Arc::new(sim.clone()), &["/d1", "/d2"])
        .topic_with("t", |topic| topic.partitions(2).replicas(3))
        .start()
        .await
        .unwrap();
    let controller = cluster.controller().await.unwrap();
    let lost = cluster.running().into_iter().find(|node| *node != controller).unwrap();
    let offline = |node: i32| {
        let body = json!({
            "Topics": [{"Name": "t"}],
            "AllowAutoTopicCreation": false,
            "IncludeClusterAuthorizedOperations": false,
            "IncludeTopicAuthorizedOperations": false,
        });
        let answer = ask(cluster.address_of(node), METADATA, 9, &body);
        let partitions = answer["Topics"][0]["Partitions"].as_array().unwrap().clone();
        let offline = partitions.iter().map(|of| of["OfflineReplicas"].as_array().unwrap().len());
        let mut all: Vec<usize> = offline.collect();
        all.sort_unstable();
        all
    };
    assert_eq!(offline(controller), [0, 0]);
    let path = format!("/d2/{lost}");
    ottla_storage::fs::FileSystem::remove_dir_all(&sim, path.as_ref()).unwrap();
    until("the note", || {
        // One of its two replicas was there.
        (offline(controller) == [0, 1]).then_some(())
    });
    assert!(cluster.running().contains(&lost), "it goes on with its other directory");
}

/// A node with these properties beside `process.roles` and `node.id`.
async fn role(id: i32, roles: &str, properties: &[(&str, &str)]) -> TestCluster {
    let mut builder = TestCluster::builder()
        .config("node.id", &id.to_string())
        .config("process.roles", roles)
        .config("controller.listener.names", "CONTROLLER");
    for (key, value) in properties {
        builder = builder.config(key, value);
    }
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_node_that_only_votes_serves_brokers_that_do_not() {
    let controller = free_address();
    let listeners = format!("CONTROLLER://{controller}");
    let bootstrap = ("controller.quorum.bootstrap.servers", controller.as_str());
    let _votes = role(9, "controller", &[("listeners", &listeners), bootstrap]).await;
    let plain = ("listeners", "PLAINTEXT://127.0.0.1:0");
    let first = role(1, "broker", &[plain, bootstrap]).await;
    let second = role(2, "broker", &[plain, bootstrap]).await;
    let at = first.address_of(1).to_owned();
    assert_eq!(create(&at, "t", 2), 0);
    let partition = || {
        let answer = ask(&at, METADATA, 8, &everything());
        answer["Topics"][0]["Partitions"][0]["LeaderId"].as_i64().filter(|leader| *leader >= 0)
    };
    let leader = until("a leader", partition);
    let leader = if leader == 1 { &first } else { &second };
    assert_eq!(leader.produce("t", 0, &[(b"k", b"v")]).await.unwrap(), 0);
    let (voters, observers) = quorum(second.address_of(1));
    assert_eq!((nodes(&voters), nodes(&observers)), (vec![9], vec![1, 2]));
    // It is no broker: nothing is placed there, and clients are not sent to it.
    assert_eq!(create(&at, "u", 3), 38, "INVALID_REPLICATION_FACTOR");
    let answer = ask(&at, METADATA, 8, &everything());
    let brokers = answer["Brokers"].as_array().unwrap();
    assert_eq!(brokers.len(), 2, "{answer}");
}

fn everything() -> Value {
    json!({
        "Topics": null,
        "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false,
        "IncludeTopicAuthorizedOperations": false,
    })
}
