//! Three brokers as one cluster: what was acknowledged stays, whoever dies.
//!
//! Owns: the cluster's promises, over sockets. Never: what single brokers do.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use ottla_harness::TestCluster;
use ottla_integration::group::{
    JOIN_GROUP, Member, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID, two_members,
};
use ottla_integration::{ask, logged, until};
use serde_json::{Value, json};

async fn three() -> TestCluster {
    logged();
    let builder = TestCluster::builder().brokers(3);
    builder.topic_with("t", |topic| topic.partitions(3).replicas(3)).start().await.unwrap()
}

async fn values(cluster: &TestCluster, topic: &str) -> Vec<String> {
    let records = cluster.records(topic).await.unwrap();
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
    let mut values: Vec<String> = records.into_iter().map(|record| text(record.value)).collect();
    values.sort();
    values
}

#[tokio::test]
async fn records_outlive_the_leader_that_took_them() {
    let mut cluster = three().await;
    cluster.produce("t", 0, &[(b"k", b"a")]).await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap();
    cluster.kill(leader);
    assert_eq!(cluster.produce("t", 0, &[(b"k", b"b")]).await.unwrap(), 1);
    assert_ne!(cluster.leader("t", 0).await.unwrap(), leader);
    cluster.start_node(leader).await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"c")]).await.unwrap();
    assert_eq!(values(&cluster, "t").await, ["a", "b", "c"]);
}

const PRODUCE: i16 = 0;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const CREATE_TOPICS: i16 = 19;
const DELETE_RECORDS: i16 = 21;
const ELECT_LEADERS: i16 = 43;
const ALTER_REASSIGNMENTS: i16 = 45;
const LIST_REASSIGNMENTS: i16 = 46;
const DESCRIBE_QUORUM: i16 = 55;

fn create(address: &str, name: &str, replicas: i16) -> Value {
    let topic = json!({
        "Name": name, "NumPartitions": 1, "ReplicationFactor": replicas, "Assignments": [], "Configs": [],
    });
    let body = json!({"Topics": [topic], "timeoutMs": 30_000, "validateOnly": false});
    ask(address, CREATE_TOPICS, 5, &body)["Topics"][0]["ErrorCode"].clone()
}

fn partition_of(address: &str, topic: &str) -> Option<Value> {
    let body = json!({
        "Topics": [{"Name": topic}],
        "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false,
        "IncludeTopicAuthorizedOperations": false,
    });
    let answer = ask(address, METADATA, 8, &body);
    let topic = answer["Topics"][0].clone();
    (topic["ErrorCode"] == 0).then(|| topic["Partitions"][0].clone())
}

fn other_than(cluster: &TestCluster, nodes: &[i32]) -> i32 {
    cluster.running().into_iter().find(|node| !nodes.contains(node)).unwrap()
}

#[tokio::test]
async fn any_broker_passes_a_topic_on_to_the_controller_and_shows_it_then() {
    let cluster = three().await;
    let controller = cluster.controller().await.unwrap();
    let other = other_than(&cluster, &[controller]);
    assert_eq!(create(cluster.address_of(other), "u", 3), 0);
    assert!(
        partition_of(cluster.address_of(other), "u").is_some(),
        "at once, where it was asked for"
    );
    assert_eq!(create(cluster.address_of(other), "u", 3), 36, "TOPIC_ALREADY_EXISTS");
    cluster.produce("u", 0, &[(b"k", b"v")]).await.unwrap();
    assert_eq!(values(&cluster, "u").await, ["v"]);
}

#[tokio::test]
async fn another_controller_goes_on_where_one_died() {
    let mut cluster = three().await;
    let controller = cluster.controller().await.unwrap();
    cluster.kill(controller);
    let other = other_than(&cluster, &[]);
    let code = until("a topic", || {
        let code = create(cluster.address_of(other), "u", 2);
        // The broker that died is placed upon until it is fenced, or nobody decides yet.
        (code == 0 || code == 36).then_some(code)
    });
    assert!(code == 0 || code == 36, "{code}");
    assert_ne!(cluster.controller().await.unwrap(), controller);
    cluster.start_node(controller).await.unwrap();
    assert!(partition_of(cluster.address_of(controller), "u").is_some());
    let topics =
        json!([{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]);
    let quorum =
        ask(cluster.address_of(controller), DESCRIBE_QUORUM, 1, &json!({"Topics": topics}));
    let voters = &quorum["Topics"][0]["Partitions"][0]["CurrentVoters"];
    assert_eq!(voters.as_array().unwrap().len(), 3, "{quorum}");
}

#[tokio::test]
async fn the_wrong_broker_names_the_leader() {
    let cluster = three().await;
    let leader = cluster.leader("t", 0).await.unwrap();
    let other = other_than(&cluster, &[leader]);
    let body = json!({
        "TransactionalId": null, "Acks": -1, "TimeoutMs": 1000,
        "TopicData": [{"Name": "t", "PartitionData": [{"Index": 0, "Records": ""}]}],
    });
    let answer = ask(cluster.address_of(other), PRODUCE, 10, &body);
    let partition = &answer["Responses"][0]["PartitionResponses"][0];
    assert_eq!(partition["ErrorCode"], 6, "{answer}");
    assert_eq!(partition["CurrentLeader"]["LeaderId"], leader, "{answer}");
    assert_eq!(answer["NodeEndpoints"][0]["NodeId"], leader, "{answer}");
}

/// The coordinator of group `g`: its id and its address.
fn coordinator_of(address: &str) -> Option<(i32, String)> {
    let answer =
        ask(address, FIND_COORDINATOR, 4, &json!({"KeyType": 0, "CoordinatorKeys": ["g"]}));
    let of = answer["Coordinators"][0].clone();
    let node = i32::try_from(of["NodeId"].as_i64().unwrap()).unwrap();
    (of["ErrorCode"] == 0).then(|| (node, format!("127.0.0.1:{}", of["Port"])))
}

#[tokio::test]
async fn members_and_their_assignments_outlive_their_coordinator() {
    let mut cluster = three().await;
    let stranger = json!({"GenerationId": 1, "MemberId": "nobody"});
    // A coordinator that has loaded the group's partition.
    let loaded = |from: &str, not: Option<i32>| {
        until("a coordinator", || {
            let (node, address) = coordinator_of(from).filter(|(node, _)| Some(*node) != not)?;
            let code = Member::open(&address).heartbeat(&stranger);
            (code == UNKNOWN_MEMBER_ID).then_some((node, address))
        })
    };
    let (first, address) = loaded(cluster.address_of(1), None);
    let [(mut a, leader), (_, follower)] = two_members(&address);
    assert_eq!(a.commit(&leader, 42), 0);
    cluster.kill(first);
    let survivor = cluster.address_of(other_than(&cluster, &[])).to_owned();
    let (_, address) = loaded(&survivor, Some(first));
    let mut again = Member::open(&address);
    assert_eq!(again.heartbeat(&leader), 0, "both are still in their generation");
    assert_eq!(again.heartbeat(&follower), 0);
    assert_eq!(again.sync(&leader, json!([]))["Assignment"], "aa");
    assert_eq!(again.sync(&follower, json!([]))["Assignment"], "bb");
    assert_eq!(again.committed(), 42);
    assert_eq!(again.commit(&follower, 43), 0);
    assert_eq!(again.committed(), 43);
    // The next generation is a new one.
    let mut newcomer = Member::open(&address);
    let third = newcomer.join("");
    until("the rebalance", || (again.heartbeat(&leader) == REBALANCE_IN_PROGRESS).then_some(()));
    let ids = [&leader, &follower].map(|joined| joined["MemberId"].as_str().unwrap());
    let [one, two] = ids.map(|id| again.join(id));
    assert_eq!(newcomer.0.receive(JOIN_GROUP, 2, third)["GenerationId"], 3);
    for correlation in [one, two] {
        assert_eq!(again.0.receive(JOIN_GROUP, 2, correlation)["GenerationId"], 3);
    }
}

/// Where a partition's log starts, by the broker that leads it.
fn log_start(address: &str, topic: &str) -> Option<Value> {
    let partition = json!({"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -2});
    let body = json!({
        "ReplicaId": -1, "IsolationLevel": 0,
        "Topics": [{"Name": topic, "Partitions": [partition]}],
    });
    let answer = ask(address, LIST_OFFSETS, 6, &body);
    let partition = answer["Topics"][0]["Partitions"][0].clone();
    (partition["ErrorCode"] == 0).then(|| partition["Offset"].clone())
}

#[tokio::test]
async fn deleted_records_are_deleted_on_every_replica() {
    let mut cluster = three().await;
    for value in [b"a", b"b", b"c"] {
        cluster.produce("t", 0, &[(b"k", value)]).await.unwrap();
    }
    let leader = cluster.leader("t", 0).await.unwrap();
    let delete = |address: &str, offset: i64| {
        let partition = json!({"PartitionIndex": 0, "Offset": offset});
        let topics = json!([{"Name": "t", "Partitions": [partition]}]);
        let answer =
            ask(address, DELETE_RECORDS, 1, &json!({"Topics": topics, "TimeoutMs": 30_000}));
        let partition = answer["Topics"][0]["Partitions"][0].clone();
        (partition["ErrorCode"].clone(), partition["LowWatermark"].clone())
    };
    let address = cluster.address_of(leader).to_owned();
    let other = cluster.address_of(other_than(&cluster, &[leader])).to_owned();
    assert_eq!(delete(&other, 2), (json!(6), json!(-1)), "NOT_LEADER_OR_FOLLOWER");
    assert_eq!(delete(&address, 4), (json!(1), json!(-1)), "OFFSET_OUT_OF_RANGE");
    assert_eq!(delete(&address, 2), (json!(0), json!(2)));
    assert_eq!(log_start(&address, "t"), Some(json!(2)));
    cluster.kill(leader);
    assert_eq!(cluster.produce("t", 0, &[(b"k", b"d")]).await.unwrap(), 3);
    let next = cluster.leader("t", 0).await.unwrap();
    let start = until("the next leader", || log_start(cluster.address_of(next), "t"));
    assert_eq!(start, 2);
    let address = cluster.address_of(next).to_owned();
    let all = until("all to be deleted", || {
        let (code, low) = delete(&address, -1);
        (code == 0).then_some(low)
    });
    assert_eq!(all, 4);
    assert_eq!(log_start(&address, "t"), Some(json!(4)));
}

#[tokio::test]
async fn committed_offsets_outlive_their_coordinator() {
    let mut cluster = three().await;
    let first = cluster.address_of(1).to_owned();
    let (coordinator, address) = until("a coordinator", || coordinator_of(&first));
    let commit = json!({
        "GroupId": "g", "GenerationIdOrMemberEpoch": -1, "MemberId": "", "GroupInstanceId": null,
        "Topics": [{"Name": "t", "Partitions": [{
            "PartitionIndex": 0, "CommittedOffset": 42, "CommittedLeaderEpoch": -1,
            "CommittedMetadata": "",
        }]}],
    });
    until("a commit", || {
        let answer = ask(&address, OFFSET_COMMIT, 7, &commit);
        (answer["Topics"][0]["Partitions"][0]["ErrorCode"] == 0).then_some(())
    });
    cluster.kill(coordinator);
    let survivor = cluster.address_of(other_than(&cluster, &[])).to_owned();
    let fetch = json!({
        "GroupId": "g", "Topics": [{"Name": "t", "PartitionIndexes": [0]}], "RequireStable": true,
    });
    let offset = until("the offset", || {
        let (_, address) = coordinator_of(&survivor).filter(|(node, _)| *node != coordinator)?;
        let answer = ask(&address, OFFSET_FETCH, 7, &fetch);
        (answer["ErrorCode"] == 0)
            .then(|| answer["Topics"][0]["Partitions"][0]["CommittedOffset"].clone())
    });
    assert_eq!(offset, 42);
}

#[tokio::test]
async fn a_partition_grows_from_one_replica_to_three_and_shrinks_again() {
    let mut cluster = three().await;
    assert_eq!(create(cluster.address_of(1), "solo", 1), 0);
    cluster.produce("solo", 0, &[(b"k", b"a")]).await.unwrap();
    let first = cluster.leader("solo", 0).await.unwrap();
    let reassign = |cluster: &TestCluster, replicas: &[i32]| {
        let address = cluster.address_of(other_than(cluster, &[])).to_owned();
        let body = json!({"TimeoutMs": 30_000, "Topics": [{
            "Name": "solo", "Partitions": [{"PartitionIndex": 0, "Replicas": replicas}],
        }]});
        let answer = ask(&address, ALTER_REASSIGNMENTS, 0, &body);
        assert_eq!(answer["Responses"][0]["Partitions"][0]["ErrorCode"], 0, "{answer}");
        until("the end of the move", || {
            let all = json!({"TimeoutMs": 30_000, "Topics": null});
            let under_way = ask(&address, LIST_REASSIGNMENTS, 0, &all);
            under_way["Topics"].as_array().unwrap().is_empty().then_some(())
        });
    };
    let (second, third) = (first % 3 + 1, (first + 1) % 3 + 1);
    reassign(&cluster, &[first, second, third]);
    cluster.produce("solo", 0, &[(b"k", b"b")]).await.unwrap();
    cluster.kill(first);
    cluster.produce("solo", 0, &[(b"k", b"c")]).await.unwrap();
    cluster.start_node(first).await.unwrap();
    assert_eq!(values(&cluster, "solo").await, ["a", "b", "c"]);
    reassign(&cluster, &[second]);
    cluster.produce("solo", 0, &[(b"k", b"d")]).await.unwrap();
    assert_eq!(cluster.leader("solo", 0).await.unwrap(), second);
    assert_eq!(values(&cluster, "solo").await, ["a", "b", "c", "d"]);
    // Alone it remains what it was: it goes on in later epochs, with what it acknowledged alone.
    let epoch = |cluster: &TestCluster| {
        let address = cluster.address_of(second);
        until("a leader", || {
            let seen = partition_of(address, "solo")?;
            (seen["LeaderId"] == second).then(|| seen["LeaderEpoch"].as_i64().unwrap())
        })
    };
    let before = epoch(&cluster);
    cluster.kill(second);
    cluster.start_node(second).await.unwrap();
    cluster.produce("solo", 0, &[(b"k", b"e")]).await.unwrap();
    assert!(epoch(&cluster) > before, "a new leader of the same group");
    reassign(&cluster, &[second, first, third]);
    cluster.kill(second);
    cluster.produce("solo", 0, &[(b"k", b"f")]).await.unwrap();
    assert_eq!(values(&cluster, "solo").await, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn everything_is_there_after_all_were_stopped() {
    let mut cluster = three().await;
    for partition in 0..3 {
        cluster.produce("t", partition, &[(b"k", b"v")]).await.unwrap();
    }
    let id = cluster.cluster_id().to_owned();
    cluster.restart().await.unwrap();
    assert_eq!(cluster.cluster_id(), id);
    assert_eq!(values(&cluster, "t").await, ["v", "v", "v"]);
    for node in cluster.running() {
        cluster.kill(node);
    }
    cluster.start_all().await.unwrap();
    cluster.produce("t", 0, &[(b"k", b"w")]).await.unwrap();
    assert_eq!(values(&cluster, "t").await, ["v", "v", "v", "w"]);
}

#[tokio::test]
async fn what_cannot_work_is_said_with_its_cure() {
    let cluster = three().await;
    let voters = cluster.config_of(1, "controller.quorum.voters").unwrap();
    // A second process with the id of one that is alive.
    let twin = TestCluster::builder()
        .config("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
        .config("controller.listener.names", "CONTROLLER")
        .config("controller.quorum.voters", &voters)
        .config("node.id", "1")
        .start()
        .await;
    let error = twin.unwrap_err().to_string();
    assert!(error.contains("node.id=1") || error.contains("node 1"), "{error}");
}

#[tokio::test]
async fn the_preferred_replica_leads_again_when_it_is_asked_to() {
    let mut cluster = three().await;
    let preferred = cluster.leader("t", 0).await.unwrap();
    let replicas = partition_of(cluster.address_of(1), "t").unwrap()["ReplicaNodes"].clone();
    assert_eq!(replicas[0], preferred, "the first of the list leads to begin with");
    cluster.stop_node(preferred);
    assert_ne!(cluster.leader("t", 0).await.unwrap(), preferred);
    cluster.start_node(preferred).await.unwrap();
    let body = json!({
        "ElectionType": 0,
        "TopicPartitions": [{"Topic": "t", "Partitions": [0]}],
        "TimeoutMs": 30_000,
    });
    until("the election", || {
        let answer = ask(cluster.address_of(preferred), ELECT_LEADERS, 2, &body);
        let code = &answer["ReplicaElectionResults"][0]["PartitionResult"][0]["ErrorCode"];
        (*code == 0 || *code == 84).then_some(())
    });
    until("the leader", || {
        let partition = partition_of(cluster.address_of(preferred), "t")?;
        (partition["LeaderId"] == preferred).then_some(())
    });
}

/// Bytes of `__consumer_offsets-0` on a node's disk, but for its newest segment.
fn closed_bytes(cluster: &TestCluster, node: i32) -> u64 {
    let folder = cluster.data_dir_of(node).join("__consumer_offsets-0");
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    let mut logs: Vec<(String, u64)> = files
        .filter_map(|file| {
            let file = file.ok()?;
            let name = file.file_name().into_string().ok()?;
            name.ends_with(".log").then(|| (name, file.metadata().map_or(0, |meta| meta.len())))
        })
        .collect();
    logs.sort();
    logs.pop();
    logs.into_iter().map(|(_, bytes)| bytes).sum()
}

#[tokio::test]
async fn replicated_offsets_are_compacted_on_every_broker() {
    logged();
    let cluster = TestCluster::builder()
        .brokers(3)
        .disk()
        .config("offsets.topic.num.partitions", "1")
        .config("offsets.topic.replication.factor", "3")
        .config("offsets.topic.segment.bytes", "1048576")
        .config("log.cleaner.backoff.ms", "200")
        .config("log.cleaner.min.cleanable.ratio", "0.01")
        .topic_with("t", |topic| topic.partitions(1).replicas(3))
        .start()
        .await
        .unwrap();
    let first = cluster.address_of(1).to_owned();
    let address = until("a coordinator", || {
        let body = json!({"KeyType": 0, "CoordinatorKeys": ["g"]});
        let found = ask(&first, FIND_COORDINATOR, 4, &body)["Coordinators"][0].clone();
        (found["ErrorCode"] == 0).then(|| format!("127.0.0.1:{}", found["Port"]))
    });
    // Four segments: Kafka's smallest are a MiB.
    let metadata = "m".repeat(4_000);
    for offset in 0..1_000 {
        let commit = json!({
            "GroupId": "g", "GenerationIdOrMemberEpoch": -1, "MemberId": "", "GroupInstanceId": null,
            "Topics": [{"Name": "t", "Partitions": [{
                "PartitionIndex": 0, "CommittedOffset": offset, "CommittedLeaderEpoch": -1,
                "CommittedMetadata": metadata,
            }]}],
        });
        until("a commit", || {
            let answer = ask(&address, OFFSET_COMMIT, 7, &commit);
            (answer["Topics"][0]["Partitions"][0]["ErrorCode"] == 0).then_some(())
        });
    }
    for node in 1..=3 {
        until("a compacted log", || {
            (1..500_000).contains(&closed_bytes(&cluster, node)).then_some(())
        });
    }
    let fetch = json!({
        "GroupId": "g", "Topics": [{"Name": "t", "PartitionIndexes": [0]}], "RequireStable": true,
    });
    let answer = ask(&address, OFFSET_FETCH, 7, &fetch);
    assert_eq!(answer["Topics"][0]["Partitions"][0]["CommittedOffset"], 999);
}

/// The leader of each partition of `t`, as one broker says.
fn leaders(address: &str) -> Vec<i64> {
    partitions_of_t(address).iter().map(|of| of["LeaderId"].as_i64().unwrap()).collect()
}

fn partitions_of_t(address: &str) -> Vec<Value> {
    let body = json!({
        "Topics": [{"Name": "t"}],
        "AllowAutoTopicCreation": false,
        "IncludeClusterAuthorizedOperations": false,
        "IncludeTopicAuthorizedOperations": false,
    });
    let answer = ask(address, METADATA, 8, &body);
    let mut all = answer["Topics"][0]["Partitions"].as_array().unwrap().clone();
    all.sort_by_key(|of| of["PartitionIndex"].as_i64());
    all
}

#[tokio::test]
async fn a_broker_that_stops_has_handed_over_before() {
    let mut cluster = three().await;
    let led = until("leaders", || {
        let leaders = leaders(cluster.address_of(1));
        leaders.iter().all(|leader| *leader > 0).then_some(leaders)
    });
    let gone = i32::try_from(led[0]).unwrap();
    cluster.stop_node(gone);
    all_are_led(&cluster);
    let controller = cluster.controller().await.unwrap();
    assert_ne!(controller, gone);
}

/// Nobody had to notice a silence first: the new leaders know at once.
fn all_are_led(cluster: &TestCluster) {
    for partition in 0..3 {
        let leads = |node: &i32| leaders(cluster.address_of(*node))[partition] == i64::from(*node);
        assert!(cluster.running().iter().any(leads), "partition {partition}");
    }
}

/// Nothing is written meanwhile, so that a replica that came back hears nothing by itself; and yet it is
/// the heir of what leaves next.
#[tokio::test]
async fn brokers_restart_one_after_the_other_and_hand_over_each_time() {
    let mut cluster = three().await;
    for gone in [1, 2, 3, 1] {
        until("everything in sync", || {
            let in_sync = |of: &Value| {
                of["IsrNodes"].as_array().is_some_and(|isr| isr.len() == 3)
                    && of["LeaderId"].as_i64() > Some(0)
            };
            let shown = |node: &i32| partitions_of_t(cluster.address_of(*node)).iter().all(in_sync);
            cluster.running().iter().all(shown).then_some(())
        });
        cluster.stop_node(gone);
        all_are_led(&cluster);
        cluster.start_node(gone).await.unwrap();
    }
}

#[tokio::test]
async fn leadership_goes_back_by_itself() {
    logged();
    let builder = TestCluster::builder().brokers(3);
    let builder = builder.config("leader.imbalance.check.interval.seconds", "1");
    let builder = builder.topic_with("t", |topic| topic.partitions(3).replicas(3));
    let mut cluster = builder.start().await.unwrap();
    let first = partitions_of_t(cluster.address_of(1))[0]["ReplicaNodes"][0].as_i64().unwrap();
    let preferred = i32::try_from(first).unwrap();
    cluster.stop_node(preferred);
    assert_ne!(cluster.leader("t", 0).await.unwrap(), preferred);
    cluster.start_node(preferred).await.unwrap();
    until("the balance", || {
        let all = partitions_of_t(cluster.address_of(preferred));
        all.iter().all(|of| of["LeaderId"] == of["ReplicaNodes"][0]).then_some(())
    });
}
