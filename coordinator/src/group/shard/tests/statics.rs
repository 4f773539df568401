//! Static members (KIP-345, KIP-814).

use super::bench::*;
use crate::group::classic::GroupState;
use crate::group::effects::ReplyToken;
use crate::group::reply::GroupError;
use crate::group::reply::Reply;
use crate::group::request::{HeartbeatRequest, Input, JoinRequest, SkipAssignment};

fn stable(bench: &mut Bench, instances: &[&str]) -> Vec<String> {
    let tokens: Vec<ReplyToken> =
        instances.iter().map(|instance| bench.join(static_join("c", instance))).collect();
    bench.form();
    bench.settle(&tokens)
}

#[test]
fn a_static_member_joins_at_once() {
    let mut bench = Bench::new();
    let token = bench.join(static_join("c", "i"));
    bench.form();
    let reply = bench.joined(token);
    assert_eq!(reply.error, None);
    assert_eq!(*reply.member_id, *format!("i-{}", Bench::uuid(token)));
    assert_eq!(reply.members[0].instance_id.as_deref(), Some("i"));
}

#[test]
fn a_restarted_follower_disturbs_nobody() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    let written = bench.log.len();
    let token = bench.join(static_join("c", "j"));
    let reply = bench.joined(token).clone();
    assert_eq!((reply.error, reply.generation, reply.skip_assignment), (None, 1, false));
    assert_eq!(*reply.leader, *ids[0]);
    assert!(reply.members.is_empty());
    assert_ne!(*reply.member_id, *ids[1]);
    assert_eq!(bench.state(), GroupState::Stable);
    let stored = stored_group(&bench.log[written..]).unwrap();
    assert!(stored.members.iter().any(|m| m.id == reply.member_id), "the new id is stored");
    let sync = bench.sync(&reply.member_id, 1, &[]);
    assert_eq!(&bench.synced(sync).assignment[..], b"work");
    assert_eq!(bench.heartbeat(&ids[0], 1), Ok(()));
    assert_eq!(bench.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_restarted_leader_may_skip_the_assignment() {
    let mut bench = Bench::new();
    stable(&mut bench, &["i", "j"]);
    let token = bench.join(static_join("c", "i"));
    let reply = bench.joined(token);
    assert!(reply.skip_assignment);
    assert_eq!(reply.leader, reply.member_id);
    assert_eq!(reply.members.len(), 2);
}

#[test]
fn an_old_clients_restarted_leader_follows_its_own_shadow() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    let old = JoinRequest { skip_assignment: SkipAssignment::Unsupported, ..static_join("c", "i") };
    let token = bench.join(old);
    let reply = bench.joined(token);
    assert_eq!((reply.skip_assignment, &*reply.leader), (false, &*ids[0]));
    assert!(reply.members.is_empty());
}

#[test]
fn a_restart_that_changes_the_protocol_rebalances() {
    let mut bench = Bench::new();
    let both = |instance: &str, names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| protocol(name)).collect(),
        ..static_join("c", instance)
    };
    let first = bench.join(both("i", &["range", "sticky"]));
    bench.form();
    bench.settle(&[first]);
    let again = bench.join(both("i", &["sticky", "range"]));
    let reply = bench.joined(again);
    assert_eq!((reply.generation, reply.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_restart_during_the_assignment_starts_over() {
    let mut bench = Bench::new();
    let tokens = [bench.join(static_join("c", "i")), bench.join(static_join("c", "j"))];
    bench.form();
    let follower = bench.joined(tokens[1]).member_id.clone();
    let sync = bench.sync(&follower, 1, &[]);
    let again = bench.join(static_join("c", "j"));
    assert_eq!(bench.synced(sync).error, Some(GroupError::FencedInstanceId));
    assert!(bench.waits(again));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_older_of_two_with_one_instance_id_is_fenced() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    bench.join(old_join("more"));
    let first =
        bench.join(JoinRequest { member_id: ids[1].as_str().into(), ..static_join("c", "j") });
    assert!(bench.waits(first));
    let second = bench.join(static_join("c", "j"));
    let fenced = bench.joined(first);
    assert_eq!((fenced.error, &*fenced.member_id), (Some(GroupError::FencedInstanceId), &*ids[1]));
    assert!(bench.waits(second));

    let token = bench.token();
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        member_id: ids[1].as_str().into(),
        instance_id: Some("j".into()),
        generation: 1,
    };
    bench.step(Input::Heartbeat(token, request));
    assert_eq!(bench.replies[&token], Reply::Heartbeat(Err(GroupError::FencedInstanceId)));
    let rejoin = JoinRequest { member_id: ids[1].as_str().into(), ..static_join("c", "j") };
    let token = bench.join(rejoin);
    assert_eq!(bench.joined(token).error, Some(GroupError::FencedInstanceId));
    assert_eq!(bench.leave(&[(&ids[1], Some("j"))]), [Some(GroupError::FencedInstanceId)]);
}

#[test]
fn static_members_keep_their_place_through_a_rebalance_they_miss() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    let newcomer = bench.join(old_join("c"));
    for _ in 0..12 {
        bench.pass_ms(5_000);
        let _ = (bench.heartbeat(&ids[0], 1), bench.heartbeat(&ids[1], 1));
    }
    let reply = bench.joined(newcomer);
    assert_eq!(reply.leader, reply.member_id, "the leader did not come, so another was elected");
    assert_eq!(reply.members.len(), 3, "yet both keep their places");
}

#[test]
fn a_group_of_absent_static_members_waits_for_one_of_them() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    bench.join(old_join("c"));
    let dynamic = bench.shard.groups[GROUP].members.keys().find(|id| id.starts_with("c-")).cloned();
    bench.leave(&[(&dynamic.unwrap(), None)]);
    for _ in 0..30 {
        bench.pass_ms(5_000);
        let _ = (bench.heartbeat(&ids[0], 1), bench.heartbeat(&ids[1], 1));
    }
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let token =
        bench.join(JoinRequest { member_id: ids[1].as_str().into(), ..static_join("c", "j") });
    bench.pass_ms(60_000);
    assert_eq!(bench.joined(token).error, None);
}

#[test]
fn an_administrator_removes_a_member_by_its_instance_id() {
    let mut bench = Bench::new();
    let ids = stable(&mut bench, &["i", "j"]);
    let results = bench.leave(&[("", Some("j")), ("", Some("k")), ("", None)]);
    let unknown = Some(GroupError::UnknownMemberId);
    assert_eq!(results, [None, unknown, unknown]);
    assert_eq!(bench.heartbeat(&ids[1], 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn static_membership_survives_a_restart() {
    let mut bench = Bench::new();
    stable(&mut bench, &["i", "j"]);
    bench.restart();
    let token = bench.join(static_join("c", "j"));
    assert_eq!((bench.joined(token).error, bench.joined(token).generation), (None, 1));
    assert_eq!(bench.state(), GroupState::Stable);
}
