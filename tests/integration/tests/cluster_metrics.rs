//! What /metrics says of a cluster, and what a throttle holds back.
//!
//! Owns: the series that dashboards of Kafka clusters read. Never: how they are counted.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpStream;

use ottla_harness::TestCluster;
use ottla_integration::{ask, logged, until};
use serde_json::{Value, json};

const ALTER_CONFIGS: i16 = 44;
const ALTER_REASSIGNMENTS: i16 = 45;
const LIST_REASSIGNMENTS: i16 = 46;

fn scrape(cluster: &TestCluster, node: i32) -> String {
    let mut stream = TcpStream::connect(cluster.http_address_of(node).unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a series, by its name with labels.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn sum(cluster: &TestCluster, series: &str) -> f64 {
    let of = |node: i32| value(&scrape(cluster, node), series).unwrap_or(0.0);
    cluster.running().into_iter().map(of).sum()
}

#[tokio::test]
async fn a_cluster_says_how_it_is() {
    logged();
    let mut cluster = TestCluster::builder()
        .brokers(3)
        .config("ottla.http.listener", "127.0.0.1:0")
        .config("replica.lag.time.max.ms", "600000")
        .config("broker.session.timeout.ms", "3000")
        .topic_with("t", |topic| topic.replicas(3).config("min.insync.replicas", "3"))
        .topic_with("alone", |topic| topic.partitions(3))
        .start()
        .await
        .unwrap();
    cluster.produce("t", 0, &[(b"k", b"v")]).await.unwrap();
    let behind = "kafka_server_replicamanager_underreplicatedpartitions";
    let below = "kafka_server_replicamanager_underminisrpartitioncount";
    let offline = "kafka_controller_kafkacontroller_offlinepartitionscount";
    let active = "kafka_controller_kafkacontroller_activecontrollercount";
    until("health", || (sum(&cluster, behind) + sum(&cluster, below) == 0.0).then_some(()));
    assert_eq!(sum(&cluster, active), 1.0);
    assert_eq!(sum(&cluster, offline), 0.0);
    assert_eq!(sum(&cluster, "kafka_server_replicamanager_leadercount"), 4.0);
    assert_eq!(sum(&cluster, "kafka_server_replicamanager_partitioncount"), 6.0);

    let leader = cluster.leader("t", 0).await.unwrap();
    let at_leader = scrape(&cluster, leader);
    let of_t = |name: &str| format!("kafka_topic_partition_{name}{{topic=\"t\",partition=\"0\"}}");
    for (name, expected) in [
        ("leader", f64::from(leader)),
        ("replicas", 3.0),
        ("in_sync_replica", 3.0),
        ("under_replicated_partition", 0.0),
        ("current_offset", 1.0),
    ] {
        assert_eq!(value(&at_leader, &of_t(name)), Some(expected), "{name}: {at_leader}");
        let told = sum(&cluster, &of_t(name));
        assert_eq!(told, expected, "{name} is told by the leader alone");
    }
    assert!(value(&at_leader, "ottla_elections_won_total").unwrap() >= 1.0);
    let controller = cluster.controller().await.unwrap();
    let known = value(&at_leader, "kafka_server_raftmetrics_current_leader");
    assert_eq!(known, Some(f64::from(controller)));

    let dead = leader % 3 + 1;
    let round_trip = format!("ottla_peer_round_trip_seconds{{node=\"{dead}\"}}");
    let took = until("a round trip", || value(&scrape(&cluster, leader), &round_trip));
    assert!(took > 0.0, "{took}");

    let shrinks = value(&at_leader, "kafka_server_replicamanager_isrshrinks_total").unwrap();
    let expands = value(&at_leader, "kafka_server_replicamanager_isrexpands_total").unwrap();
    cluster.kill(dead);
    until("a replica that is missed", || (sum(&cluster, behind) == 1.0).then_some(()));
    assert_eq!(sum(&cluster, below), 1.0);
    until("its own partition to be offline", || (sum(&cluster, offline) == 1.0).then_some(()));
    cluster.start_node(dead).await.unwrap();
    until("health again", || (sum(&cluster, behind) + sum(&cluster, offline) == 0.0).then_some(()));
    let now = scrape(&cluster, leader);
    assert!(value(&now, "kafka_server_replicamanager_isrshrinks_total").unwrap() > shrinks);
    assert!(value(&now, "kafka_server_replicamanager_isrexpands_total").unwrap() > expands);
}

fn configure(address: &str, kind: i8, name: &str, configs: &[(&str, Option<&str>)]) {
    let configs: Vec<Value> = configs
        .iter()
        .map(|(key, value)| {
            let operation = i8::from(value.is_none());
            json!({"Name": key, "ConfigOperation": operation, "Value": value})
        })
        .collect();
    let resource = json!({"ResourceType": kind, "ResourceName": name, "Configs": configs});
    let body = json!({"Resources": [resource], "ValidateOnly": false});
    let answer = ask(address, ALTER_CONFIGS, 1, &body);
    assert_eq!(answer["Responses"][0]["ErrorCode"], 0, "{answer}");
}

/// As `kafka-reassign-partitions --throttle` does it: rates of brokers, and replicas of the topic.
#[tokio::test]
async fn a_throttled_move_waits_until_the_throttle_is_gone() {
    logged();
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    let cluster = TestCluster::builder().brokers(3).topic("big", 1).start().await.unwrap();
    let value = vec![b'x'; 500_000];
    for _ in 0..8 {
        cluster.produce("big", 0, &[(b"k", &value)]).await.unwrap();
    }
    let from = cluster.leader("big", 0).await.unwrap();
    let to = from % 3 + 1;
    let address = cluster.address_of(from).to_owned();
    // 4 MB at 1 kB/s would take an hour.
    for (node, key) in
        [(from, "leader.replication.throttled.rate"), (to, "follower.replication.throttled.rate")]
    {
        configure(cluster.address_of(node), BROKER, &node.to_string(), &[(key, Some("1000"))]);
    }
    let pair = |node: i32| format!("0:{node}");
    let names =
        ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
    configure(
        &address,
        TOPIC,
        "big",
        &[(names[0], Some(&pair(from))), (names[1], Some(&pair(to)))],
    );
    let body = json!({"TimeoutMs": 30_000, "Topics": [{
        "Name": "big", "Partitions": [{"PartitionIndex": 0, "Replicas": [to]}],
    }]});
    let answer = ask(&address, ALTER_REASSIGNMENTS, 0, &body);
    assert_eq!(answer["Responses"][0]["Partitions"][0]["ErrorCode"], 0, "{answer}");
    let under_way = || {
        let all = json!({"TimeoutMs": 30_000, "Topics": null});
        let answer = ask(&address, LIST_REASSIGNMENTS, 0, &all);
        !answer["Topics"].as_array().unwrap().is_empty()
    };
    // What a move without a throttle has long done.
    let mut looks = 0;
    until("many looks", || {
        assert!(under_way(), "the throttle held nothing back");
        looks += 1;
        (looks == 40).then_some(())
    });
    configure(&address, TOPIC, "big", &[(names[0], None), (names[1], None)]);
    until("the end of the move", || (!under_way()).then_some(()));
    assert_eq!(cluster.leader("big", 0).await.unwrap(), to);
    assert_eq!(cluster.records("big").await.unwrap().len(), 8);
}
