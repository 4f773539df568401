//! Classic consumer groups over the wire of a running broker.
//!
//! Owns: what only a whole broker shows: `__consumer_offsets` made on first use, membership and offsets
//! that survive restarts, joins that wait and are answered when the broker stops. Never: the rules of a
//! group (`coordinator/src/group`), or a real client's (`tests/compat`).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use ottla_differential::connection::{Reply, open_response};
use ottla_harness::blocking::TestCluster;
use ottla_integration::group::{self, JOIN_GROUP, Member, REBALANCE_IN_PROGRESS, join};
use ottla_integration::until;
use serde_json::{Value, json};

/// Two members of a stable generation: the leader first, each with its connection and its join.
fn two_members(cluster: &TestCluster) -> [(Member, Value); 2] {
    Member::open(cluster.bootstrap()).find_coordinator();
    group::two_members(cluster.bootstrap())
}

#[test]
fn groups_and_offsets_survive_a_restart() {
    let mut cluster = TestCluster::builder().topic("t", 1).disk().start_blocking().unwrap();
    let [(mut a, leader), (_, follower)] = two_members(&cluster);
    assert_eq!(a.commit(&leader, 41), 0);
    assert_eq!(a.commit(&leader, 42), 0);
    cluster.restart().unwrap();
    let mut again = Member::open(cluster.bootstrap());
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
    let mut other = Member::open(cluster.bootstrap());
    until("the rebalance", || (other.heartbeat(&follower) == REBALANCE_IN_PROGRESS).then_some(()));
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
    let mut client = Member::open(cluster.bootstrap());
    let joining = client.join("");
    let answer = client.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!(answer["ErrorCode"], 16, "{answer}");
    client.find_coordinator();
    let joining = client.join("");
    let answer = client.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!((&answer["ErrorCode"], &answer["GenerationId"]), (&json!(0), &json!(1)));
}
