//! JoinGroup: ids, refusals, the initial delay, protocol selection.

use std::time::Duration;

use super::bench::*;
use crate::group::classic::GroupState;
use crate::group::reply::GroupError;
use crate::group::request::{Input, JoinRequest, MemberIdRule};
use crate::group::settings::GroupSettings;

fn refusal(bench: &mut Bench, request: JoinRequest) -> GroupError {
    let token = bench.join(request);
    let reply = bench.joined(token);
    assert_eq!(reply.generation, -1);
    reply.error.expect("a refusal")
}

#[test]
fn a_first_join_writes_an_empty_group() {
    let mut bench = Bench::new();
    let token = bench.token();
    let records = bench.step(Input::Join(token, old_join("c")));
    assert_eq!(records.len(), 1);
    let stored = stored_group(&records).unwrap();
    assert_eq!((stored.generation, &*stored.protocol_type), (0, ""));
    assert_eq!(stored.state_since.unwrap().get(), WALL_START);
    assert!(stored.members.is_empty());
}

#[test]
fn requests_that_no_group_would_take_are_refused() {
    let mut bench = Bench::new();
    let cases = [
        (JoinRequest { group_id: "".into(), ..old_join("c") }, GroupError::InvalidGroupId),
        (
            JoinRequest { session_timeout_ms: 5_999, ..old_join("c") },
            GroupError::InvalidSessionTimeout,
        ),
        (
            JoinRequest { session_timeout_ms: 1_800_001, ..old_join("c") },
            GroupError::InvalidSessionTimeout,
        ),
        (
            JoinRequest { client_id: "x".repeat(40_000).into(), ..old_join("") },
            GroupError::InvalidRequest,
        ),
        (rejoin("c", "stranger"), GroupError::UnknownMemberId),
    ];
    for (request, expected) in cases {
        assert_eq!(refusal(&mut bench, request), expected);
        assert!(bench.log.is_empty(), "a refused join leaves no group");
    }
    // These make the group, as in Kafka.
    let no_type = JoinRequest { protocol_type: "".into(), ..old_join("c") };
    assert_eq!(refusal(&mut bench, no_type), GroupError::InconsistentGroupProtocol);
    let no_protocols = JoinRequest { protocols: vec![], ..old_join("c") };
    assert_eq!(refusal(&mut bench, no_protocols), GroupError::InconsistentGroupProtocol);
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn a_dynamic_member_must_come_back_with_its_id() {
    let mut bench = Bench::new();
    let request = JoinRequest { member_id_rule: MemberIdRule::Required, ..old_join("c") };
    let token = bench.join(request.clone());
    let reply = bench.joined(token).clone();
    assert_eq!(reply.error, Some(GroupError::MemberIdRequired));
    assert_eq!(*reply.member_id, *format!("c-{}", Bench::uuid(token)));
    assert_eq!(bench.state(), GroupState::Empty);

    let with_id = JoinRequest { member_id: reply.member_id, ..request };
    let token = bench.join(with_id);
    bench.form();
    let reply = bench.joined(token);
    assert_eq!((reply.error, reply.generation), (None, 1));
    assert_eq!(reply.leader, reply.member_id);
    assert_eq!(reply.members.len(), 1);
    assert_eq!(reply.protocol_name.as_deref(), Some("range"));
}

#[test]
fn a_pending_id_expires_with_the_session() {
    let mut bench = Bench::new();
    let request = JoinRequest { member_id_rule: MemberIdRule::Required, ..old_join("c") };
    let token = bench.join(request.clone());
    let member_id = bench.joined(token).member_id.clone();
    bench.pass_ms(10_000);
    let late = JoinRequest { member_id, ..request };
    assert_eq!(refusal(&mut bench, late), GroupError::UnknownMemberId);
}

#[test]
fn a_pending_id_holds_up_the_rebalance_until_it_comes_or_expires() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let pending = JoinRequest { member_id_rule: MemberIdRule::Required, ..old_join("b") };
    bench.join(pending);
    let leader = bench.join(rejoin("a", &ids[0]));
    assert!(bench.waits(leader), "b may still come");
    bench.pass_ms(9_999);
    assert!(bench.waits(leader));
    bench.pass_ms(1);
    assert_eq!(bench.joined(leader).generation, 2);
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    // 3 s from the first member, and once more whenever someone came, up to the rebalance timeout.
    let mut bench = Bench::with(GroupSettings::default());
    let slow = |client: &str| JoinRequest { rebalance_timeout_ms: 7_000, ..old_join(client) };
    let first = bench.join(slow("a"));
    bench.pass_ms(2_999);
    assert!(bench.waits(first));
    let second = bench.join(slow("b"));
    bench.pass_ms(3_000);
    assert!(bench.waits(first), "a second delay, because b came");
    let third = bench.join(slow("c"));
    bench.pass_ms(1_000);
    assert!(bench.waits(first), "the last delay is what is left of 7 s: one second");
    bench.pass_ms(1);
    for token in [first, second, third] {
        let reply = bench.joined(token);
        assert_eq!((reply.error, reply.generation), (None, 1));
        assert_eq!(reply.leader, bench.joined(first).member_id);
        assert_eq!(reply.members.len(), if token == first { 3 } else { 0 });
    }
}

#[test]
fn the_first_rebalance_ends_early_if_nobody_else_comes() {
    let mut bench = Bench::with(GroupSettings::default());
    let only = bench.join(old_join("a"));
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(only).generation, 1);
}

#[test]
fn the_protocol_with_most_votes_wins() {
    let mut bench = Bench::new();
    let with = |client: &str, names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| protocol(name)).collect(),
        ..old_join(client)
    };
    let tokens = [
        bench.join(with("a", &["solo", "range", "sticky"])),
        bench.join(with("b", &["sticky", "range"])),
        bench.join(with("c", &["sticky", "range"])),
    ];
    bench.form();
    for token in tokens {
        assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("sticky"));
    }
}

#[test]
fn a_member_must_share_a_protocol_with_everyone() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let other_type = JoinRequest { protocol_type: "connect".into(), ..old_join("b") };
    assert_eq!(refusal(&mut bench, other_type), GroupError::InconsistentGroupProtocol);
    let other_name = JoinRequest { protocols: vec![protocol("sticky")], ..old_join("b") };
    assert_eq!(refusal(&mut bench, other_name), GroupError::InconsistentGroupProtocol);
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::with(GroupSettings {
        max_size: 2,
        initial_rebalance_delay: Duration::from_millis(1),
        ..Default::default()
    });
    let ids = bench.stable(&["a", "b"]);
    assert_eq!(refusal(&mut bench, old_join("c")), GroupError::GroupMaxSizeReached);
    assert_eq!(bench.heartbeat(&ids[0], 1), Ok(()), "the others are not disturbed");
    bench.leave(&[(&ids[1], None)]);
    let token = bench.join(old_join("c"));
    assert!(bench.waits(token));
}

#[test]
fn a_group_that_was_loaded_too_large_shrinks() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b", "c"]);
    bench.settings.max_size = 2;
    bench.restart();
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.heartbeat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    let tokens = [bench.join(rejoin("a", &ids[0])), bench.join(rejoin("b", &ids[1]))];
    assert_eq!(refusal(&mut bench, rejoin("c", &ids[2])), GroupError::GroupMaxSizeReached);
    bench.pass_ms(60_000);
    for token in tokens {
        assert_eq!(bench.joined(token).generation, 2);
    }
}

#[test]
fn a_join_that_was_lost_is_answered_again() {
    let mut bench = Bench::new();
    let tokens = [bench.join(old_join("a")), bench.join(old_join("b"))];
    bench.form();
    let replies: Vec<_> = tokens.iter().map(|token| bench.joined(*token).clone()).collect();
    for (client, reply) in ["a", "b"].iter().zip(&replies) {
        let again = bench.join(rejoin(client, &reply.member_id));
        assert_eq!(bench.joined(again), reply);
    }
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_second_join_of_a_waiting_member_takes_the_first_ones_place() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let first = bench.join(rejoin("a", &ids[0]));
    let second = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.joined(first).error, Some(GroupError::RebalanceInProgress));
    bench.join(rejoin("b", &ids[1]));
    assert_eq!(bench.joined(second).generation, 2);
}
