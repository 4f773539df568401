//! Members of a classic group, as a test moves them.
//!
//! Owns: the requests of a member, and how two of them come to a stable generation. Never: what a group
//! may answer.

use serde_json::{Value, json};

use crate::{Client, until};

pub const OFFSET_COMMIT: i16 = 8;
pub const OFFSET_FETCH: i16 = 9;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const SYNC_GROUP: i16 = 14;

pub const UNKNOWN_MEMBER_ID: i16 = 25;
pub const REBALANCE_IN_PROGRESS: i16 = 27;

/// A member of group `g` on a connection of its own; its methods panic where a test cannot go on.
#[derive(Debug)]
pub struct Member(pub Client);

impl Member {
    #[must_use]
    pub fn open(address: &str) -> Self {
        Self(Client::open(address))
    }

    /// Has the offsets topic made.
    pub fn find_coordinator(&mut self) {
        let answer =
            self.0.ask(FIND_COORDINATOR, 4, &json!({"KeyType": 0, "CoordinatorKeys": ["g"]}));
        assert_eq!(answer["Coordinators"][0]["ErrorCode"], 0, "{answer}");
    }

    /// Joins as a member of v2, which is in the group at once.
    pub fn join(&mut self, member: &str) -> i32 {
        self.0.send(JOIN_GROUP, 2, &join(member))
    }

    pub fn sync(&mut self, joined: &Value, assignments: Value) -> Value {
        let mut body = json!({
            "GroupId": "g",
            "GenerationId": joined["GenerationId"],
            "MemberId": joined["MemberId"],
        });
        body["Assignments"] = assignments;
        self.0.ask(SYNC_GROUP, 1, &body)
    }

    pub fn heartbeat(&mut self, joined: &Value) -> Value {
        let (generation, member) = (&joined["GenerationId"], &joined["MemberId"]);
        let body = json!({"GroupId": "g", "GenerationId": generation, "MemberId": member});
        self.0.ask(HEARTBEAT, 1, &body)["ErrorCode"].clone()
    }

    pub fn commit(&mut self, joined: &Value, offset: i64) -> Value {
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

    pub fn committed(&mut self) -> Value {
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

/// The body of a JoinGroup v2.
#[must_use]
pub fn join(member: &str) -> Value {
    json!({
        "GroupId": "g",
        "SessionTimeoutMs": 30_000,
        "RebalanceTimeoutMs": 30_000,
        "MemberId": member,
        "ProtocolType": "consumer",
        "Protocols": [{"Name": "range", "Metadata": "0000"}],
    })
}

/// Two members of a stable generation at the group's coordinator: the leader first, each with its
/// connection and its join.
///
/// # Panics
/// They do not come to one.
#[must_use]
pub fn two_members(coordinator: &str) -> [(Member, Value); 2] {
    let (mut a, mut b) = (Member::open(coordinator), Member::open(coordinator));
    let joining = a.join("");
    let alone = a.0.receive(JOIN_GROUP, 2, joining);
    assert_eq!(alone["GenerationId"], 1, "{alone}");
    assert_eq!(a.sync(&alone, json!([]))["ErrorCode"], 0);
    let second = b.join("");
    // The leader learns of the rebalance from its heartbeat, as soon as b's join is there.
    until("the rebalance", || (a.heartbeat(&alone) == REBALANCE_IN_PROGRESS).then_some(()));
    let first = a.join(alone["MemberId"].as_str().expect("a member has an id"));
    let leader = a.0.receive(JOIN_GROUP, 2, first);
    let follower = b.0.receive(JOIN_GROUP, 2, second);
    assert_eq!(leader["GenerationId"], 2, "{leader}");
    assert_eq!(follower["GenerationId"], 2, "{follower}");
    assert_eq!(leader["Members"].as_array().map(Vec::len), Some(2), "{leader}");
    assert_eq!(leader["Leader"], leader["MemberId"]);
    let assignments = json!([
        {"MemberId": leader["MemberId"], "Assignment": "aa"},
        {"MemberId": follower["MemberId"], "Assignment": "bb"},
    ]);
    assert_eq!(a.sync(&leader, assignments)["Assignment"], "aa");
    assert_eq!(b.sync(&follower, json!([]))["Assignment"], "bb");
    [(a, leader), (b, follower)]
}
