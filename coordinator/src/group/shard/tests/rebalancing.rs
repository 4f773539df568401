//! Rebalances, SyncGroup, heartbeats, leaving and timeouts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bench::*;
use crate::group::classic::GroupState;
use crate::group::reply::GroupError;
use crate::group::request::{Input, JoinRequest, SyncRequest};
use crate::group::settings::GroupSettings;

#[test]
fn the_leaders_assignment_is_stored_and_handed_out() {
    let mut bench = Bench::new();
    let tokens = [bench.join(old_join("a")), bench.join(old_join("b")), bench.join(old_join("c"))];
    bench.form();
    let ids: Vec<Arc<str>> = tokens.iter().map(|t| bench.joined(*t).member_id.clone()).collect();
    let early = bench.sync(&ids[1], 1, &[]);
    assert!(bench.waits(early));
    let written = bench.log.len();
    let leader = bench.sync(&ids[0], 1, &[(&*ids[0], b"p0"), (&*ids[1], b"p1"), ("gone", b"p2")]);
    let stored = stored_group(&bench.log[written..]).unwrap();
    assert_eq!(stored.generation, 1);
    assert_eq!(stored.leader.as_deref(), Some(&*ids[0]));
    assert_eq!(stored.protocol.as_deref(), Some("range"));
    let late = bench.sync(&ids[2], 1, &[]);
    for (token, assignment) in [(leader, "p0"), (early, "p1"), (late, "")] {
        let reply = bench.synced(token);
        assert_eq!((reply.error, &reply.assignment[..]), (None, assignment.as_bytes()));
        assert_eq!(reply.protocol_type.as_deref(), Some("consumer"));
        assert_eq!(reply.protocol_name.as_deref(), Some("range"));
    }
    assert_eq!(bench.log.len(), written + 1, "one record per generation");
}

#[test]
fn an_assignment_too_large_for_the_log_starts_over() {
    let mut bench = Bench::with(GroupSettings {
        initial_rebalance_delay: Duration::from_millis(1),
        record_bytes_max: 400,
        ..Default::default()
    });
    let tokens = [bench.join(old_join("a")), bench.join(old_join("b"))];
    bench.form();
    let ids: Vec<Arc<str>> = tokens.iter().map(|t| bench.joined(*t).member_id.clone()).collect();
    let follower = bench.sync(&ids[1], 1, &[]);
    let written = bench.log.len();
    let leader = bench.sync(&ids[0], 1, &[(&*ids[0], &[7; 300])]);
    for token in [leader, follower] {
        assert_eq!(bench.synced(token).error, Some(GroupError::RecordTooLarge));
    }
    assert_eq!(bench.log.len(), written);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let again = [bench.join(rejoin("a", &ids[0])), bench.join(rejoin("b", &ids[1]))];
    bench.settle(&again);
}

#[test]
fn a_sync_from_elsewhere_is_refused() {
    let mut bench = Bench::new();
    let token = bench.sync("nobody", 1, &[]);
    assert_eq!(bench.synced(token).error, Some(GroupError::UnknownMemberId), "no such group");
    let token = bench.join(old_join("a"));
    bench.form();
    let id = bench.joined(token).member_id.clone();
    let plain = SyncRequest {
        group_id: GROUP.into(),
        member_id: id,
        instance_id: None,
        generation: 1,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![],
    };
    let cases = [
        (SyncRequest { member_id: "x".into(), ..plain.clone() }, GroupError::UnknownMemberId),
        (SyncRequest { generation: 2, ..plain.clone() }, GroupError::IllegalGeneration),
        (
            SyncRequest { protocol_type: Some("connect".into()), ..plain.clone() },
            GroupError::InconsistentGroupProtocol,
        ),
        (
            SyncRequest { protocol_name: Some("sticky".into()), ..plain.clone() },
            GroupError::InconsistentGroupProtocol,
        ),
        (
            SyncRequest { instance_id: Some("i".into()), ..plain.clone() },
            GroupError::UnknownMemberId,
        ),
    ];
    for (request, expected) in cases {
        let token = bench.token();
        bench.step(Input::Sync(token, request));
        assert_eq!(bench.synced(token).error, Some(expected));
    }
    let token = bench.token();
    bench.step(Input::Sync(token, plain));
    assert_eq!(bench.synced(token).error, None);
}

#[test]
fn a_new_member_rebalances_a_stable_group() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let newcomer = bench.join(old_join("c"));
    for id in &ids {
        assert_eq!(bench.heartbeat(id, 1), Err(GroupError::RebalanceInProgress));
    }
    let sync = bench.sync(&ids[0], 1, &[]);
    assert_eq!(bench.synced(sync).error, Some(GroupError::RebalanceInProgress));
    let a = bench.join(rejoin("a", &ids[0]));
    let b = bench.join(rejoin("b", &ids[1]));
    for token in [a, b, newcomer] {
        assert_eq!(bench.joined(token).generation, 2);
        assert_eq!(*bench.joined(token).leader, *ids[0], "the leader stays");
    }
    assert_eq!(bench.heartbeat(&ids[0], 1), Err(GroupError::IllegalGeneration));
    bench.settle(&[a, b, newcomer]);
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let newcomer = bench.join(old_join("c"));
    // The leader stays away, but sends heartbeats for its whole rebalance timeout.
    let b = bench.join(rejoin("b", &ids[1]));
    for _ in 0..12 {
        bench.pass_ms(4_999);
        let _ = bench.heartbeat(&ids[0], 1);
    }
    bench.pass_ms(12);
    assert_eq!(bench.joined(b).generation, 2);
    assert_ne!(*bench.joined(b).leader, *ids[0]);
    assert_eq!(bench.joined(b).leader, bench.joined(newcomer).leader);
    assert_eq!(bench.heartbeat(&ids[0], 2), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_given_up() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.pass_ms(9_999);
    assert_eq!(bench.heartbeat(&ids[0], 1), Ok(()));
    bench.pass_ms(1);
    assert_eq!(bench.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.heartbeat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    let alone = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.joined(alone).members.len(), 1);
}

#[test]
fn the_last_members_silence_empties_the_group() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let records = bench.pass_ms(10_000);
    let stored = stored_group(&records).unwrap();
    assert_eq!((stored.generation, stored.protocol, stored.leader), (2, None, None));
    assert_eq!(&*stored.protocol_type, "consumer");
    assert_eq!(stored.state_since.unwrap().get(), WALL_START + 10_002);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn waiting_members_need_no_heartbeat() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let a = bench.join(rejoin("a", &ids[0]));
    for _ in 0..5 {
        bench.pass_ms(9_000);
        assert_eq!(bench.heartbeat(&ids[1], 1), Err(GroupError::RebalanceInProgress));
    }
    assert!(bench.waits(a), "45 s after its last word a is still in the group");
    let b = bench.join(rejoin("b", &ids[1]));
    bench.settle(&[a, b]);
}

#[test]
fn a_new_member_that_waits_too_long_is_given_up() {
    let mut bench = Bench::new();
    let slow = |request: JoinRequest| JoinRequest { rebalance_timeout_ms: 900_000, ..request };
    let first = bench.join(slow(old_join("a")));
    bench.form();
    let ids = bench.settle(&[first]);
    let newcomer = bench.join(slow(old_join("b")));
    for _ in 0..34 {
        bench.pass_ms(9_000);
        let _ = bench.heartbeat(&ids[0], 1);
    }
    let reply = bench.joined(newcomer);
    assert_eq!((reply.error, &*reply.member_id), (Some(GroupError::UnknownMemberId), ""));
}

#[test]
fn a_generation_needs_everyones_sync() {
    let mut bench = Bench::new();
    let tokens = [bench.join(old_join("a")), bench.join(old_join("b"))];
    bench.form();
    let ids: Vec<Arc<str>> = tokens.iter().map(|t| bench.joined(*t).member_id.clone()).collect();
    bench.sync(&ids[0], 1, &[(&*ids[0], b"all")]);
    assert_eq!(bench.state(), GroupState::Stable);
    for _ in 0..12 {
        bench.pass_ms(5_000);
        let _ = (bench.heartbeat(&ids[0], 1), bench.heartbeat(&ids[1], 1));
    }
    assert_eq!(bench.state(), GroupState::PreparingRebalance, "b never sent SyncGroup");
    assert_eq!(bench.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
    let a = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.joined(a).generation, 2);
}

#[test]
fn a_rebalance_cancels_the_assignment_that_is_awaited() {
    let mut bench = Bench::new();
    let tokens = [bench.join(old_join("a")), bench.join(old_join("b"))];
    bench.form();
    let follower = bench.joined(tokens[1]).member_id.clone();
    let sync = bench.sync(&follower, 1, &[]);
    bench.join(old_join("c"));
    assert_eq!(bench.synced(sync).error, Some(GroupError::RebalanceInProgress));
    assert_eq!(bench.synced(sync).assignment, Bytes::new());
}

#[test]
fn members_leave_together_with_one_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b", "c"]);
    let results = bench.leave(&[(&ids[0], None), ("stranger", None), (&ids[1], None)]);
    assert_eq!(results, [None, Some(GroupError::UnknownMemberId), None]);
    let c = bench.join(rejoin("c", &ids[2]));
    assert_eq!((bench.joined(c).generation, &*bench.joined(c).leader), (2, &*ids[2]));
}

#[test]
fn leaving_answers_what_the_member_waits_for() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let join = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.leave(&[(&ids[0], None)]), [None]);
    assert_eq!(bench.joined(join).error, Some(GroupError::UnknownMemberId));

    bench.join(rejoin("b", &ids[1]));
    let c = bench.join(old_join("c"));
    let again = bench.join(rejoin("b", &ids[1]));
    let leader = bench.joined(again).member_id.clone();
    assert_eq!(bench.joined(again).leader, leader);
    let follower = bench.joined(c).member_id.clone();
    let sync = bench.sync(&follower, 3, &[]);
    assert!(bench.waits(sync));
    bench.leave(&[(&follower, None)]);
    assert_eq!(bench.synced(sync).error, Some(GroupError::UnknownMemberId));
}

#[test]
fn leaving_or_beating_in_a_group_that_is_not_there() {
    let mut bench = Bench::new();
    assert_eq!(bench.leave(&[("x", None)]), [Some(GroupError::UnknownMemberId)]);
    assert_eq!(bench.heartbeat("x", 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_member_that_changes_its_mind_rebalances_the_group() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let same = bench.join(rejoin("b", &ids[1]));
    assert_eq!(bench.joined(same).generation, 1, "a follower that only lost its place");
    let changed =
        JoinRequest { protocols: vec![subscription("range", "other")], ..rejoin("b", &ids[1]) };
    let changed = bench.join(changed);
    let leader = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.joined(changed).generation, 2);
    assert_eq!(bench.joined(leader).members.len(), 2);
}

#[test]
fn a_restart_keeps_the_generation_and_its_members() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.restart();
    assert_eq!(bench.state(), GroupState::Stable);
    for id in &ids {
        assert_eq!(bench.heartbeat(id, 1), Ok(()));
    }
    let sync = bench.sync(&ids[1], 1, &[]);
    assert_eq!(&bench.synced(sync).assignment[..], b"work");
    bench.pass_ms(10_000);
    assert_eq!(bench.state(), GroupState::Empty, "sessions run from the load on");
}

#[test]
fn an_unload_answers_everyone() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let join = bench.join(rejoin("a", &ids[0]));
    bench.restart();
    assert_eq!(bench.joined(join).error, Some(GroupError::NotCoordinator));
    let tokens = [bench.join(rejoin("a", &ids[0])), bench.join(rejoin("b", &ids[1]))];
    assert_eq!(bench.joined(tokens[0]).generation, 2);
    let sync = bench.sync(&ids[1], 2, &[]);
    bench.restart();
    assert_eq!(bench.synced(sync).error, Some(GroupError::NotCoordinator));
}
