//! Replicas as clients see them: who is in sync, who may be read, what acks mean.
//!
//! Owns: Kafka's view of a replicated partition, over sockets. Never: who dies when (`cluster.rs`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use ottla_harness::TestCluster;
use ottla_integration::{ask, logged, until};
use serde_json::{Value, json};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const EPOCHS: i16 = 23;
const ELECT_LEADERS: i16 = 43;

const NONE: i64 = 0;
const NOT_LEADER_OR_FOLLOWER: i64 = 6;
const NOT_ENOUGH_REPLICAS: i64 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i64 = 20;
const FENCED_LEADER_EPOCH: i64 = 74;
const UNKNOWN_LEADER_EPOCH: i64 = 75;
const OFFSET_NOT_AVAILABLE: i64 = 78;
const ELIGIBLE_LEADERS_NOT_AVAILABLE: i64 = 83;

fn partition(address: &str, topic: &str) -> Value {
    let body = json!({
        "Topics": [{"Name": topic}], "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false, "IncludeTopicAuthorizedOperations": false,
    });
    ask(address, METADATA, 8, &body)["Topics"][0]["Partitions"][0].clone()
}

fn in_sync(address: &str, topic: &str) -> Vec<i64> {
    let mut isr: Vec<i64> =
        serde_json::from_value(partition(address, topic)["IsrNodes"].clone()).unwrap_or_default();
    isr.sort_unstable();
    isr
}

fn fetch(address: &str, version: i16, rack: &str, offset: i64) -> Value {
    let mut body = json!({
        "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1_000_000, "IsolationLevel": 0,
        "SessionId": 0, "SessionEpoch": -1, "ForgottenTopicsData": [],
        "Topics": [{"Topic": "t", "Partitions": [{
            "Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "LogStartOffset": -1,
            "PartitionMaxBytes": 1_000_000,
        }]}],
    });
    if version >= 11 {
        body["RackId"] = json!(rack);
    }
    let answer = ask(address, FETCH, version, &body);
    answer["Responses"][0]["Partitions"][0].clone()
}

/// The error code of a produce of records that another one took.
fn produce(address: &str, acks: i16, records: &Value, wait_ms: i32) -> i64 {
    let body = json!({
        "TransactionalId": null, "Acks": acks, "TimeoutMs": wait_ms,
        "TopicData": [{"Name": "t", "PartitionData": [{"Index": 0, "Records": records}]}],
    });
    let answer = ask(address, PRODUCE, 8, &body);
    answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"].as_i64().unwrap()
}

#[tokio::test]
async fn a_consumer_is_sent_to_an_in_sync_replica_in_its_rack() {
    logged();
    let mut builder = TestCluster::builder().brokers(3).config(
        "replica.selector.class",
        "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    );
    for (node, rack) in [(1, "a"), (2, "b"), (3, "c")] {
        builder = builder.config_of(node, "broker.rack", rack);
    }
    let mut cluster = builder.topic_with("t", |topic| topic.replicas(3)).start().await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"v")]).await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap();
    let follower = leader % 3 + 1;
    let rack = ["a", "b", "c"][usize::try_from(follower - 1).unwrap()];
    let own = ["a", "b", "c"][usize::try_from(leader - 1).unwrap()];
    let (at, other) = (cluster.address_of(leader), cluster.address_of(follower));

    // The leader knows that the follower has it once it has heard of it.
    let sent = until("a preferred replica", || {
        let sent = fetch(at, 11, rack, 1);
        (sent["PreferredReadReplica"] == follower).then_some(sent)
    });
    assert_eq!(sent["ErrorCode"], NONE, "{sent}");
    assert_eq!(sent["HighWatermark"], 1, "{sent}");
    assert_eq!(sent["Records"], "", "{sent}");
    for (what, version, rack, offset) in [
        ("its own rack", 11, own, 0),
        ("no replica's rack", 11, "nowhere", 0),
        ("no rack", 11, "", 0),
        ("an offset that nobody has", 11, rack, 2),
    ] {
        let told = fetch(at, version, rack, offset);
        assert_eq!(told["PreferredReadReplica"], -1, "{what}: {told}");
    }
    let old = fetch(at, 10, rack, 0);
    assert_ne!(old["Records"], "", "a client that cannot be sent away reads here: {old}");

    let read = until("the follower to know what is committed", || {
        let read = fetch(other, 11, rack, 0);
        (read["HighWatermark"] == 1).then_some(read)
    });
    assert_eq!(read["Records"], old["Records"], "{read}");
    assert_eq!(read["PreferredReadReplica"], -1, "{read}");
    assert_eq!(fetch(other, 11, rack, 1)["ErrorCode"], NONE, "its end");
    assert_eq!(fetch(other, 11, rack, 2)["ErrorCode"], OFFSET_NOT_AVAILABLE);
    assert_eq!(fetch(other, 10, rack, 0)["ErrorCode"], NOT_LEADER_OR_FOLLOWER);

    cluster.kill(follower);
    let at = cluster.address_of(leader);
    until("the leader to serve those of the dead replica's rack", || {
        (fetch(at, 11, rack, 0)["PreferredReadReplica"] == -1).then_some(())
    });
}

/// Nothing but suspicion takes a replica out of the ISR here.
fn patient() -> ottla_harness::Builder {
    logged();
    TestCluster::builder()
        .brokers(3)
        .config("replica.lag.time.max.ms", "600000")
        .config("broker.session.timeout.ms", "600000")
}

#[tokio::test]
async fn a_dead_broker_is_out_of_sync_at_once_and_in_again_when_it_is_back() {
    let mut cluster = patient().topic_with("t", |topic| topic.replicas(3)).start().await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap();
    assert_eq!(in_sync(cluster.address_of(leader), "t"), [1, 2, 3], "from the beginning");
    cluster.produce("t", 0, &[(b"k", b"v")]).await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap();
    let at = cluster.address_of(leader).to_owned();
    until("three in sync", || (in_sync(&at, "t") == [1, 2, 3]).then_some(()));
    let dead = leader % 3 + 1;
    cluster.kill(dead);
    let left: Vec<i64> = (1..=3).filter(|node| *node != i64::from(dead)).collect();
    until("two in sync", || (in_sync(&at, "t") == left).then_some(()));
    cluster.produce("t", 0, &[(b"k", b"w")]).await.unwrap();
    cluster.start_node(dead).await.unwrap();
    until("three in sync again", || (in_sync(&at, "t") == [1, 2, 3]).then_some(()));
}

#[tokio::test]
async fn acks_all_waits_for_more_than_a_majority_where_the_topic_asks_for_it() {
    let all_three =
        |topic: ottla_harness::TopicBuilder| topic.replicas(3).config("min.insync.replicas", "3");
    let mut cluster = patient().topic_with("t", all_three).start().await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"v")]).await.unwrap();
    let records = {
        let leader = cluster.leader("t", 0).await.unwrap();
        fetch(cluster.address_of(leader), 10, "", 0)["Records"].clone()
    };
    // A replica dies: who produces before that is noticed is told afterwards that it was too few.
    loop {
        let leader = cluster.leader("t", 0).await.unwrap();
        let at = cluster.address_of(leader).to_owned();
        until("three in sync", || (in_sync(&at, "t") == [1, 2, 3]).then_some(()));
        assert_eq!(produce(&at, -1, &records, 60_000), NONE);
        let dead = leader % 3 + 1;
        cluster.kill(dead);
        let code = produce(&at, -1, &records, 60_000);
        until("two in sync", || (in_sync(&at, "t").len() == 2).then_some(()));
        let end = fetch(&at, 10, "", 0)["HighWatermark"].clone();
        assert_eq!(produce(&at, -1, &records, 60_000), NOT_ENOUGH_REPLICAS);
        assert_eq!(fetch(&at, 10, "", 0)["HighWatermark"], end, "before it is appended");
        assert_eq!(produce(&at, 1, &records, 60_000), NONE, "acks=1 asks for nobody else");
        cluster.start_node(dead).await.unwrap();
        if code == NOT_ENOUGH_REPLICAS_AFTER_APPEND {
            return;
        }
        assert_eq!(code, NOT_ENOUGH_REPLICAS, "it was noticed sooner: once more");
    }
}

#[tokio::test]
async fn epochs_end_where_the_next_leader_began() {
    let mut cluster = patient().topic_with("t", |topic| topic.replicas(3)).start().await.unwrap();
    let first = cluster.leader("t", 0).await.unwrap();
    let epoch = |cluster: &TestCluster, leader: i32| {
        partition(cluster.address_of(leader), "t")["LeaderEpoch"].as_i64().unwrap()
    };
    let before = epoch(&cluster, first);
    cluster.produce("t", 0, &[(b"k", b"a"), (b"k", b"b")]).await.unwrap();
    cluster.kill(first);
    let any = cluster.address_of(cluster.running()[0]).to_owned();
    let second = until("another leader", || {
        let leader = partition(&any, "t")["LeaderId"].as_i64()?;
        i32::try_from(leader).ok().filter(|leader| *leader > 0 && *leader != first)
    });
    let left: Vec<i64> = (1..=3).filter(|node| *node != i64::from(first)).collect();
    assert_eq!(in_sync(cluster.address_of(second), "t"), left, "at once: acks=all needs them");
    cluster.produce("t", 0, &[(b"k", b"c")]).await.unwrap();
    let after = epoch(&cluster, second);
    assert!(after > before, "{after} after {before}");
    let ends = |current: i64, asked: i64| {
        let partitions =
            json!([{"Partition": 0, "CurrentLeaderEpoch": current, "LeaderEpoch": asked}]);
        let body = json!({"ReplicaId": -1, "Topics": [{"Topic": "t", "Partitions": partitions}]});
        let answer = ask(cluster.address_of(second), EPOCHS, 4, &body);
        let found = &answer["Topics"][0]["Partitions"][0];
        ["ErrorCode", "LeaderEpoch", "EndOffset"].map(|name| found[name].as_i64().unwrap())
    };
    assert_eq!(ends(-1, before), [NONE, before, 2], "where the first leader's records end");
    assert_eq!(ends(after, after), [NONE, after, 3], "the end of the log");
    assert_eq!(ends(-1, after + 1), [NONE, -1, -1], "nobody led then");
    assert_eq!(ends(before, before)[0], FENCED_LEADER_EPOCH);
    assert_eq!(ends(after + 1, before)[0], UNKNOWN_LEADER_EPOCH);
}

#[tokio::test]
async fn an_unclean_election_is_refused_while_the_controller_hears_of_a_replica() {
    let mut cluster = patient().topic_with("t", |topic| topic.replicas(2)).start().await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"v")]).await.unwrap();
    let dead = cluster.leader("t", 0).await.unwrap();
    cluster.kill(dead);
    let asked = cluster.address_of(cluster.running()[0]).to_owned();
    until("nobody to lead", || (partition(&asked, "t")["LeaderId"] == -1).then_some(()));
    let body = json!({
        "ElectionType": 1, "TimeoutMs": 30_000,
        "TopicPartitions": [{"Topic": "t", "Partitions": [0]}],
    });
    let refusal = until("an answer of the controller", || {
        let answer = ask(&asked, ELECT_LEADERS, 2, &body);
        let result = answer["ReplicaElectionResults"][0]["PartitionResult"][0].clone();
        (result["ErrorCode"] == ELIGIBLE_LEADERS_NOT_AVAILABLE).then_some(result)
    });
    let words = refusal["ErrorMessage"].as_str().unwrap();
    assert!(words.starts_with(&format!("replica {dead} does not answer")), "{words}");
    cluster.start_node(dead).await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"w")]).await.unwrap();
    assert_eq!(cluster.records("t").await.unwrap().len(), 2);
}
