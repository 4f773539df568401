//! Who stands for election, and when.

use ottla_protocol::model::{LeaderEpoch, PartitionId, Uuid};

use super::*;
use crate::raft::ReplicaId;

const ME: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn group(n: i32) -> GroupId {
    GroupId { topic: Uuid::from_u128(1), partition: PartitionId(n) }
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_start(Duration::from_millis(millis))
}

fn all_alive(_: NodeId) -> Liveness {
    Liveness::Alive
}

fn without(gone: NodeId) -> impl Fn(NodeId) -> Liveness {
    move |node| {
        if node == gone { Liveness::Suspected { since: at(0) } } else { Liveness::Alive }
    }
}

fn led_by(node: NodeId, epoch: i32) -> GroupLeadership {
    let leader = Some(ReplicaId { node, directory: Uuid::from_u128(9) });
    GroupLeadership { epoch: LeaderEpoch(epoch), leader, here: false }
}

fn claim(leader: NodeId, epoch: i32) -> Claim {
    Claim { leader, epoch: LeaderEpoch(epoch), isr: vec![leader] }
}

#[test]
fn a_group_whose_leader_is_alive_and_says_so_is_left_alone() {
    assert_eq!(leaderless(ME, led_by(B, 4), Some(&claim(B, 4)), all_alive), None);
    // This replica has not heard of the new term yet; the claim has come first.
    assert_eq!(leaderless(ME, led_by(C, 3), Some(&claim(B, 4)), without(C)), None);
    let here = GroupLeadership { here: true, ..led_by(ME, 5) };
    assert_eq!(leaderless(ME, here, Some(&claim(B, 4)), without(B)), None);
    // Won, not established: its own election goes on.
    assert_eq!(leaderless(ME, led_by(ME, 5), Some(&claim(B, 4)), without(B)), None);
}

#[test]
fn each_way_of_having_no_leader_is_told_apart() {
    let nobody = GroupLeadership::default();
    assert_eq!(leaderless(ME, nobody, None, all_alive), Some(Leaderless::Nobody));
    assert_eq!(
        leaderless(ME, led_by(B, 4), Some(&claim(B, 4)), without(B)),
        Some(Leaderless::Suspected(B))
    );
    assert_eq!(leaderless(ME, led_by(B, 4), None, without(B)), Some(Leaderless::Suspected(B)));
    // It restarted, or its group stopped: alive, and no longer the leader that we take it for.
    assert_eq!(leaderless(ME, led_by(B, 4), None, all_alive), Some(Leaderless::Unclaimed(B)));
    assert_eq!(
        leaderless(ME, led_by(B, 4), Some(&claim(C, 3)), all_alive),
        Some(Leaderless::Unclaimed(B))
    );
    // Our own claim, of a term that is over.
    let unknown = GroupLeadership { epoch: LeaderEpoch(6), leader: None, here: false };
    assert_eq!(leaderless(ME, unknown, Some(&claim(ME, 5)), all_alive), Some(Leaderless::Nobody));
}

fn elections(me: NodeId) -> Elections {
    Elections::new(me, ElectionSettings::default(), at(0))
}

fn vacancy(cause: Leaderless, preference: &[NodeId]) -> Vacancy<'_> {
    let lease_left = Duration::ZERO;
    Vacancy { group: group(0), cause, preference, informed: true, fresh: true, lease_left }
}

/// The first millisecond at which the group stands.
fn stands_at(elections: &mut Elections, from: u64) -> Option<u64> {
    (from..from + 20_000).find(|ms| !elections.due(at(*ms), |_| 0).is_empty())
}

#[test]
fn the_preferred_replica_stands_first_and_at_once() {
    let order = [ME, B, C];
    for (me, expected) in [(ME, 5_000), (B, 5_200), (C, 5_400)] {
        let mut elections = elections(me);
        let vacancy = vacancy(Leaderless::Nobody, &order);
        elections.vacant(&vacancy, all_alive, at(5_000), |_| 0);
        assert_eq!(stands_at(&mut elections, 5_000), Some(expected), "{me}");
    }
}

#[test]
fn suspects_are_passed_over() {
    let mut elections = elections(C);
    let vacancy = vacancy(Leaderless::Suspected(B), &[B, C, ME]);
    elections.vacant(&vacancy, without(B), at(5_000), |_| 0);
    assert_eq!(stands_at(&mut elections, 5_000), Some(5_000));
}

#[test]
fn a_live_node_is_given_time_to_claim_and_a_start_time_to_listen() {
    let mut first = elections(ME);
    first.vacant(&vacancy(Leaderless::Unclaimed(B), &[ME, B]), all_alive, at(5_000), |_| 0);
    assert_eq!(stands_at(&mut first, 5_000), Some(6_000));

    let uninformed = Vacancy { informed: false, ..vacancy(Leaderless::Nobody, &[ME, B]) };
    let mut starting = elections(ME);
    starting.vacant(&uninformed, all_alive, at(100), |_| 0);
    assert_eq!(stands_at(&mut starting, 100), Some(1_000));
    let mut later = elections(ME);
    later.vacant(&uninformed, all_alive, at(5_000), |_| 0);
    assert_eq!(stands_at(&mut later, 5_000), Some(5_000));
}

#[test]
fn attempts_go_on_with_growing_pauses_until_there_is_a_leader() {
    let mut elections = elections(ME);
    let vacancy = vacancy(Leaderless::Nobody, &[ME]);
    elections.vacant(&vacancy, all_alive, at(0), |_| 0);
    let mut stood = Vec::new();
    for ms in 0..10_000 {
        // Looked at again and again, as by sweeps; this changes nothing.
        elections.vacant(&vacancy, all_alive, at(ms), |_| 0);
        if !elections.due(at(ms), |_| 0).is_empty() {
            stood.push(ms);
        }
    }
    assert_eq!(stood, [0, 250, 500, 750, 1_250, 2_250, 4_250, 7_250]);
    assert!(elections.deadline().is_some());
    elections.settled(&group(0), at(10_000));
    assert_eq!((elections.deadline(), stands_at(&mut elections, 10_000)), (None, None));
}

#[test]
fn nobody_stands_at_once_while_a_successor_is_being_elected() {
    let mut elections = elections(ME);
    let handed_over = Vacancy { fresh: false, ..vacancy(Leaderless::Nobody, &[ME, B]) };
    elections.vacant(&handed_over, all_alive, at(5_000), |_| 0);
    assert_eq!(stands_at(&mut elections, 5_000), Some(5_400));
}

#[test]
fn a_group_stands_when_the_lease_of_its_dead_leader_ends_and_not_before() {
    let order = [B, C, ME];
    let dead = Vacancy {
        fresh: false,
        lease_left: Duration::from_millis(330),
        ..vacancy(Leaderless::Suspected(B), &order)
    };
    for (me, expected) in [(C, 5_350), (ME, 5_550)] {
        let mut elections = elections(me);
        elections.vacant(&dead, without(B), at(5_000), |_| 0);
        assert_eq!(stands_at(&mut elections, 5_000), Some(expected), "{me}");
    }
    // A lease that has ended holds nobody up, and one says nothing where the leader stepped down.
    let quiet = Vacancy { lease_left: Duration::ZERO, ..dead };
    let mut first = elections(C);
    first.vacant(&quiet, without(B), at(5_000), |_| 0);
    assert_eq!(stands_at(&mut first, 5_000), Some(5_000));
    let mut second = elections(C);
    let cause = Leaderless::Nobody;
    second.vacant(&Vacancy { cause, ..dead }, without(B), at(5_000), |_| 0);
    assert_eq!(stands_at(&mut second, 5_000), Some(5_400));
}

#[test]
fn a_new_cause_begins_anew() {
    let mut elections = elections(ME);
    elections.vacant(&vacancy(Leaderless::Unclaimed(B), &[B, ME]), all_alive, at(5_000), |_| 0);
    elections.vacant(&vacancy(Leaderless::Suspected(B), &[B, ME]), without(B), at(5_100), |_| 0);
    assert_eq!(stands_at(&mut elections, 5_100), Some(5_100));
}

#[test]
fn thousands_of_groups_stand_at_a_bounded_rate_and_all_do() {
    let settings = ElectionSettings { per_second: 100, burst: 50, ..ElectionSettings::default() };
    let mut elections = Elections::new(ME, settings, at(0));
    for n in 0..300 {
        let vacancy = Vacancy { group: group(n), ..vacancy(Leaderless::Nobody, &[ME]) };
        elections.vacant(&vacancy, all_alive, at(0), |_| 0);
    }
    let mut stood = std::collections::BTreeSet::new();
    let mut most = 0;
    for ms in (0..=3_000).step_by(10) {
        let due = elections.due(at(ms), |_| 0);
        most = most.max(due.len());
        for id in due {
            elections.settled(&id, at(ms));
            stood.insert(id);
        }
        let allowed = 50 + ms as usize / 10;
        assert!(stood.len() <= allowed, "{} at {ms}", stood.len());
    }
    assert_eq!((stood.len(), most), (300, 50));
}

#[test]
fn elections_that_fail_become_fewer_and_recover() {
    let mut elections = elections(ME);
    for n in 0..1_000 {
        let vacancy = Vacancy { group: group(n), ..vacancy(Leaderless::Nobody, &[ME]) };
        elections.vacant(&vacancy, all_alive, at(0), |_| 0);
    }
    let begun = |from: u64, upto: u64, elections: &mut Elections, wins: bool| {
        let mut count = 0;
        for ms in (from..upto).step_by(100) {
            let due = elections.due(at(ms), |_| 0);
            count += due.len();
            for id in due.iter().filter(|_| wins) {
                elections.settled(id, at(ms));
            }
        }
        count
    };
    begun(0, 60_000, &mut elections, false);
    let failing = begun(60_000, 70_000, &mut elections, false);
    assert!((150..=250).contains(&failing), "{failing}");
    let winning = begun(70_000, 80_000, &mut elections, true);
    assert!(winning > 500, "{winning}");
}

#[test]
fn a_stopped_group_is_started_again_less_and_less_often() {
    let settings = ElectionSettings::default();
    let mut restarts = Restarts::default();
    let stopped = [group(0)];
    let mut started = Vec::new();
    for ms in (0..100_000).step_by(100) {
        if !restarts.due(&stopped, &settings, at(ms), |_| 0).is_empty() {
            started.push(ms);
        }
    }
    assert_eq!(started, [1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
    // It ran for long: the next time begins with a short pause again.
    for ms in (100_000..300_000).step_by(100) {
        assert!(restarts.due(&[], &settings, at(ms), |_| 0).is_empty());
    }
    let again = (300_000..).step_by(100);
    let first =
        again.into_iter().find(|ms| !restarts.due(&stopped, &settings, at(*ms), |_| 0).is_empty());
    assert_eq!(first, Some(301_000));
}
