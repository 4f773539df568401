//! Classic consumer groups over the wire of a running broker.
//!
//! Owns: what only a whole broker shows: `__consumer_offsets` made on first use, membership and offsets
//! that survive restarts, joins that wait and are answered when the broker stops. Never: the rules of a
//! group (`coordinator/src/group`), or a real client's (`tests/compat`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use ottla_differential::connection::{Reply, open_response};
use ottla_harness::blocking::TestCluster;
use ottla_integration::Client;
use serde_json::{Value, json};

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
const SYNC_GROUP: i16 = 14;

struct Member(Client);

impl Member {
    fn of(cluster: &TestCluster) -> Self {
        Self(Client::open(cluster.bootstrap()))
    }

    fn find_coordinator(&mut self) {
        let answer =
            self.0.ask(FIND_COORDINATOR, 4, &json!({"KeyType": 0, "CoordinatorKeys": ["g"]}));
        assert_eq!(answer["Coordinators"][0]["ErrorCode"], 0, "{answer}");
    }

    /// Joins as a member of v2, which is in the group at once.
    fn join(&mut self, member: &str) -> i32 {
        self.0.send(JOIN_GROUP, 2, &join(member))
    }

    fn sync(&mut self, joined: &Value, assignments: Value) -> Value {
        let body = json!({
            "GroupId": "g",
            "GenerationId": joined["GenerationId"],
            "MemberId": joined["MemberId"],
            "Assignments": assignments,
        });
        self.0.ask(SYNC_GROUP, 1, &body)
    }

    fn heartbeat(&mut self, joined: &Value) -> Value {
        let (generation, member) = (&joined["GenerationId"], &joined["MemberId"]);
        let body = json!({"GroupId": "g", "GenerationId": generation, "MemberId": member});
        self.0.ask(HEARTBEAT, 1, &body)["ErrorCode"].clone()
    }

    fn commit(&mut self, joined: &Value, offset: i64) -> Value {
        let answer = self.0.ask(
            OFFSET_COMMIT,
            7,
            &json!({
                "GroupId": "g",
                "GenerationIdOrMemberEpoch": joined["GenerationId"],
                "MemberId": joined["MemberId"],
                "GroupInstanceId": null,
                "Topics": [{"Name": "t", "Partitions": [{
                    "PartitionIndex": 0,
                    "CommittedOffset": offset,
                    "CommittedLeaderEpoch": -1,
                    "CommittedMetadata": "note",
                }]}],
            }),
        );
        answer["Topics"][0]["Partitions"][0]["ErrorCode"].clone()
    }

    fn committed(&mut self) -> Value {
        let body = json!({
            "GroupId": "g",
            "Topics": [{"Name": "t", "PartitionIndexes": [0]}],
            "RequireStable": true,
        });
        let answer = self.0.ask(OFFSET_FETCH, 7, &body);
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
        answer["Topics"][0]["Partitions"][0]["CommittedOffset"].clone()
    }
}

fn join(member: &str) -> Value {
    json!({
        "GroupId": "g",
        "SessionTimeoutMs": 30_000,
        "RebalanceTimeoutMs": 30_000,
        "MemberId": member,
        "ProtocolType": "consumer",
        "Protocols": [{"Name": "range", "Metadata": "0000"}],
    })
}

/// Two members of a stable generation: the leader first, each with its connection and its join.
fn two_members(cluster: &TestCluster) -> [(Member, Value); 2] {
    let (mut a, mut b) = (Member::of(cluster), Member::of(cluster));
    a.find_coordinator();
    let joining = a.join("");
    let alone = a.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!(alone["GenerationId"], 1, "{alone}");
    assert_eq!(a.sync(&alone, json!([]))["ErrorCode"], 0);
    let second = b.join("");
    // The leader learns of the rebalance from its heartbeat, as soon as b's join is there.
    while a.heartbeat(&alone) != 27 {}
    let first = a.join(alone["MemberId"].as_str().unwrap());
    let leader = a.0.receive(JOIN_GROUP, 2, first);
    let follower = b.0.receive(JOIN_GROUP, 2, second);
    assert_eq!(leader["GenerationId"], 2, "{leader}");
    assert_eq!(follower["GenerationId"], 2, "{follower}");
    assert_eq!(leader["Members"].as_array().unwrap().len(), 2, "{leader}");
    assert_eq!(leader["Leader"], leader["MemberId"]);
    let assignments = json!([
        {"MemberId": leader["MemberId"], "Assignment": "aa"},
        {"MemberId": follower["MemberId"], "Assignment": "bb"},
    ]);
    assert_eq!(a.sync(&leader, assignments)["Assignment"], "aa");
    assert_eq!(b.sync(&follower, json!([]))["Assignment"], "bb");
    [(a, leader), (b, follower)]
}

#[test]
fn groups_and_offsets_survive_a_restart() {
    let mut cluster = TestCluster::builder().topic("t", 1).disk().start_blocking().unwrap();
    let [(mut a, leader), (_, follower)] = two_members(&cluster);
    assert_eq!(a.commit(&leader, 41), 0);
    assert_eq!(a.commit(&leader, 42), 0);
    cluster.restart().unwrap();
    let mut again = Member::of(&cluster);
    assert_eq!(again.committed(), 42);
    assert_eq!(again.heartbeat(&leader), 0, "the members are still in their generation");
    assert_eq!(again.heartbeat(&follower), 0);
    assert_eq!(again.sync(&follower, json!([]))["Assignment"], "bb");
    assert_eq!(again.commit(&leader, 43), 0);
    assert_eq!(again.committed(), 43);
}

#[test]
fn a_stopping_broker_does_not_keep_joins_waiting() {
    let cluster = TestCluster::builder().topic("t", 1).start_blocking().unwrap();
    let [_, (mut b, follower)] = two_members(&cluster);
    // Changed metadata makes the group rebalance; the leader never comes back.
    let mut changed = join(follower["MemberId"].as_str().unwrap());
    changed["Protocols"][0]["Metadata"] = json!("0001");
    let waiting = b.0.send(JOIN_GROUP, 2, &changed);
    let mut other = Member::of(&cluster);
    while other.heartbeat(&follower) != 27 {}
    cluster.stop();
    match b.0.reply() {
        Reply::Answer(frame) => {
            let answer = open_response(JOIN_GROUP, 2, waiting, &frame).unwrap();
            assert_eq!(answer["ErrorCode"], 16, "{answer}");
        }
        other => panic!("the join that waited got {other:?}"),
    }
}

#[test]
fn a_group_without_its_topic_has_no_coordinator() {
    let cluster = TestCluster::start().unwrap();
    let mut client = Member::of(&cluster);
    let joining = client.join("");
    let answer = client.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!(answer["ErrorCode"], 16, "{answer}");
    client.find_coordinator();
    let joining = client.join("");
    let answer = client.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!((&answer["ErrorCode"], &answer["GenerationId"]), (&json!(0), &json!(1)));
}
