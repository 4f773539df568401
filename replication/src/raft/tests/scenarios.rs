//! One thing at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::VoteRequest;
use ottla_protocol::model::Offset;
use ottla_storage::LogSettings;

use super::cluster::{Cluster, batch, replica, simulate, submit};
use crate::partition::{Outcome, Until};
use crate::peer::GroupRpc;
use crate::raft::Vote;
use crate::raft::defects::Defect;

#[test]
fn three_replicas_commit_and_hold_the_same() {
    simulate(async {
        let cluster = Cluster::formed(1).await;
        let leader = cluster.leader().await;
        for index in 0..50 {
            let offset = cluster.produce(leader, &format!("v{index}")).await;
            assert_eq!(offset, Offset(index), "blank and membership entries take no offset");
        }
        cluster.converge().await;
        let bytes = cluster.committed_bytes(leader);
        for node in 0..3 {
            assert_eq!(cluster.committed_bytes(node), bytes);
        }
        assert_eq!(cluster.values(0).len(), 50);
    });
}

#[test]
fn all_is_there_after_every_replica_was_restarted() {
    simulate(async {
        let mut cluster = Cluster::formed(2).await;
        let leader = cluster.leader().await;
        for index in 0..20 {
            cluster.produce(leader, &format!("v{index}")).await;
        }
        cluster.converge().await;
        let before = cluster.values(leader);
        for node in 0..3 {
            cluster.stop(node).await;
        }
        for node in 0..3 {
            cluster.start(node).await.unwrap();
        }
        let leader = cluster.leader().await;
        cluster.converge().await;
        assert_eq!(cluster.values(leader), before);
        assert_eq!(cluster.produce(leader, "after").await, Offset(20));
    });
}

/// Lets retention delete all but about `bytes` on every node.
pub(super) async fn retain(cluster: &Cluster, bytes: u64) {
    for node in 0..3 {
        let partition = cluster.partition(node);
        partition
            .maintain(|log, _| {
                let settings = log.settings().clone();
                log.update_settings(LogSettings { retention_bytes: Some(bytes), ..settings });
            })
            .unwrap();
        partition.apply_retention(cluster.now()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[test]
fn retention_lets_go_of_entries_then_of_segments_and_all_survives_a_restart() {
    simulate(async {
        let mut cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        for index in 0..200 {
            cluster.produce(leader, &format!("value-{index:04}")).await;
        }
        cluster.converge().await;
        retain(&cluster, 6_000).await;
        for node in 0..3 {
            let start = cluster.partition(node).watermarks().log_start;
            assert!(start > Offset(50) && start < Offset(160), "log start {start} on {node}");
        }
        for node in 0..3 {
            cluster.crash(node);
            cluster.start(node).await.unwrap();
        }
        let leader = cluster.leader().await;
        assert_eq!(cluster.produce(leader, "after").await, Offset(200));
        cluster.converge().await;
    });
}

#[test]
fn a_new_replica_of_a_log_that_has_lost_its_beginning_begins_where_the_log_does() {
    simulate(async {
        let mut cluster = Cluster::formed_of(4, 4).await;
        let leader = cluster.leader().await;
        for index in 0..200 {
            cluster.produce(leader, &format!("value-{index:04}")).await;
        }
        cluster.converge().await;
        retain(&cluster, 6_000).await;
        let start = cluster.partition(leader).watermarks().log_start;
        assert!(start > Offset(50));
        let group = cluster.group(leader).clone();
        cluster.start(3).await.unwrap();
        group.add_learner(replica(4)).await.unwrap();
        cluster.converge().await;
        assert!(cluster.net.with(|links| links.snapshots) > 0, "by a snapshot");
        assert_eq!(cluster.partition(3).watermarks().log_start, start);
        // It is a replica like any other: it holds the same bytes, and restarts with them.
        assert_eq!(cluster.committed_bytes(3), cluster.committed_bytes(leader));
        cluster.crash(3);
        cluster.start(3).await.unwrap();
        cluster.produce(leader, "more").await;
        cluster.converge().await;
        assert_eq!(cluster.committed_bytes(3), cluster.committed_bytes(leader));
        group.change_voters(BTreeSet::from([2, 3, 4].map(replica))).await.unwrap();
    });
}

/// Whether openraft takes a replica for the leader that crashed as one and was back at once.
async fn leads_after_a_restart() -> bool {
    let mut cluster = Cluster::formed(12).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, "one").await;
    cluster.crash(leader);
    cluster.start(leader).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    cluster.group(leader).raft().is_leader()
}

#[test]
fn a_leader_that_restarts_does_not_go_on_in_its_term() {
    assert!(!simulate(leads_after_a_restart()));
    Defect::activate(Some(Defect::LeaderRestore));
    let with_it = simulate(leads_after_a_restart());
    Defect::activate(None);
    assert!(with_it, "the setting is what does it");
}

/// Whether a voter that crashed after its vote gave it again, to another.
async fn votes_twice(seed: u64) -> bool {
    let mut cluster = Cluster::formed(seed).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, "one").await;
    cluster.quiet();
    // Until no lease forbids a vote.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let voter = (leader + 1) % 3;
    let last = cluster.group(leader).raft().metrics().borrow_watched().last_applied;
    let term = 50;
    let ask = |candidate: i32| VoteRequest::new(Vote::new(term, replica(candidate)), last);
    let first = cluster.group(voter).vote(ask(11)).await.unwrap();
    assert!(first.vote_granted, "{first}");
    cluster.crash(voter);
    cluster.start(voter).await.unwrap();
    cluster.quiet();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let second = cluster.group(voter).vote(ask(12)).await.unwrap();
    second.vote_granted
}

#[test]
fn a_vote_survives_a_crash() {
    for seed in 0..8 {
        assert!(!simulate(votes_twice(seed)), "seed {seed}");
    }
    let found = (0..8).any(|seed| {
        Defect::activate(Some(Defect::VoteNotSynced));
        let twice = simulate(votes_twice(seed));
        Defect::activate(None);
        twice
    });
    assert!(found, "a vote that is not synced is not seen");
}

#[test]
fn deleted_records_are_deleted_on_every_replica_and_stay_so() {
    simulate(async {
        let mut cluster = Cluster::formed(5).await;
        let leader = cluster.leader().await;
        for index in 0..20 {
            cluster.produce(leader, &format!("v{index}")).await;
        }
        let group = cluster.group(leader).clone();
        assert!(group.delete_records(Offset(21)).await.is_err(), "beyond the high watermark");
        // An idle leader has no lease: the deletion gets it back first.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(group.delete_records(Offset(7)).await.unwrap(), Offset(7));
        assert_eq!(cluster.produce(leader, "more").await, Offset(20));
        cluster.converge().await;
        for node in 0..3 {
            assert_eq!(cluster.partition(node).watermarks().log_start, Offset(7));
        }
        for node in 0..3 {
            cluster.crash(node);
            cluster.start(node).await.unwrap();
        }
        let leader = cluster.leader().await;
        assert_eq!(cluster.produce(leader, "again").await, Offset(21));
        cluster.converge().await;
        for node in 0..3 {
            assert_eq!(cluster.partition(node).watermarks().log_start, Offset(7), "after a crash");
        }
    });
}

/// A replica that rotted and one that was down, while the third, which has everything, is away: whether one
/// of them came to lead, and what was there in the end.
async fn rot_with_a_majority_that_knows_less() -> (bool, usize) {
    let mut cluster = Cluster::formed(6).await;
    let leader = cluster.leader().await;
    let (bad, other) = ((leader + 1) % 3, (leader + 2) % 3);
    // Only `leader` and `bad` have the records.
    cluster.crash(other);
    for index in 0..60 {
        cluster.produce(leader, &format!("v{index}")).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cluster.produce(leader, "last").await;
    cluster.produce(leader, "very last").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.crash(bad);
    assert!(cluster.rot(bad));
    cluster.crash(leader);
    cluster.start(bad).await.unwrap();
    cluster.start(other).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It may be elected by what its headers say, and finds out when it sends the batches.
        if cluster.group(bad).failure().is_some() {
            cluster.crash(bad);
            cluster.start(bad).await.unwrap();
        }
    }
    let led = cluster.leader_now().is_some();
    cluster.start(leader).await.unwrap();
    let leader = cluster.leader().await;
    if !led {
        cluster.converge().await;
        assert_eq!(cluster.committed_bytes(bad), cluster.committed_bytes(leader));
    }
    (led, cluster.values(leader).len())
}

#[test]
fn a_replica_that_lost_what_it_promised_gives_no_vote_until_it_has_it_back() {
    assert_eq!(simulate(rot_with_a_majority_that_knows_less()), (false, 62));
    Defect::activate(Some(Defect::CutDamage));
    let (led, values) = simulate(rot_with_a_majority_that_knows_less());
    Defect::activate(None);
    assert!(led && values < 62, "without it {values} of 62 are left");
}

#[test]
fn a_leader_of_an_idle_group_takes_a_batch_at_once() {
    simulate(async {
        let cluster = Cluster::formed(7).await;
        let leader = cluster.leader().await;
        cluster.net.with(|links| links.delay_max_ms = 1);
        // Nobody renews the lease.
        cluster.quiet();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = tokio::time::Instant::now();
        assert_eq!(cluster.produce(leader, "one").await, Offset(0));
        assert!(before.elapsed() < Duration::from_millis(100), "no election, no refusal");
    });
}

#[test]
fn acks_1_ends_when_the_leader_has_it_and_a_lost_leader_is_told() {
    simulate(async {
        let cluster = Cluster::formed(8).await;
        let leader = cluster.leader().await;
        for other in [(leader + 1) % 3, (leader + 2) % 3] {
            cluster.net.cut(cluster.nodes[leader].id, cluster.nodes[other].id);
        }
        let partition = cluster.partition(leader);
        let one = submit(partition, cluster.now(), batch(None, "one"), Until::Appended).await;
        assert!(
            matches!(one, Outcome::Appended(info) if info.first_offset == Offset(0)),
            "{one:?}"
        );
        let all = submit(partition, cluster.now(), batch(None, "two"), Until::Committed).await;
        assert!(matches!(all, Outcome::Unknown(_) | Outcome::Appended(_)), "{all:?}");
        assert_eq!(partition.high_watermark(), Offset(0));
        cluster.net.heal();
        let next = cluster.leader().await;
        cluster.produce(next, "three").await;
        cluster.converge().await;
        let follower = cluster.partition((next + 1) % 3);
        let refused = submit(follower, cluster.now(), batch(None, "four"), Until::Committed).await;
        assert!(matches!(refused, Outcome::NotLeader), "{refused:?}");
    });
}

#[test]
fn a_log_of_one_replica_becomes_a_group_of_three_and_shrinks_again() {
    simulate(async {
        let mut cluster = Cluster::new(10, 3);
        cluster.start_alone(0).await;
        for index in 0..30 {
            let partition = cluster.alone(0).clone();
            let value = format!("v{index}");
            let alone =
                submit(&partition, cluster.now(), batch(None, &value), Until::Committed).await;
            assert!(matches!(alone, Outcome::Committed(_)), "{alone:?}");
        }
        cluster.adopt(0).await;
        for node in 1..3 {
            cluster.start(node).await.unwrap();
        }
        let leader = cluster.leader().await;
        assert_eq!(leader, 0);
        let group = cluster.group(0).clone();
        for node in [2, 3] {
            group.add_learner(replica(node)).await.unwrap();
        }
        let all = BTreeSet::from([1, 2, 3].map(replica));
        group.change_voters(all).await.unwrap();
        assert_eq!(cluster.produce(0, "as three").await, Offset(30));
        cluster.converge().await;
        for node in 0..3 {
            assert_eq!(cluster.values(node).len(), 31);
        }
        group.change_voters(BTreeSet::from([replica(1)])).await.unwrap();
        cluster.crash(1);
        cluster.crash(2);
        assert_eq!(cluster.produce(0, "alone again").await, Offset(31));
        // Twice, so that what was said of the entries is read from the disk.
        cluster.crash(0);
        cluster.start(0).await.unwrap();
        let leader = cluster.leader().await;
        assert_eq!(cluster.produce(leader, "and after").await, Offset(32));
        assert_eq!(cluster.values(0).len(), 33);
    });
}

#[test]
fn followers_say_where_they_are() {
    simulate(async {
        let cluster = Cluster::formed(11).await;
        let leader = cluster.leader().await;
        cluster.produce(leader, "one").await;
        cluster.converge().await;
        let group = cluster.group(leader);
        let followers = group.followers();
        assert_eq!(followers.len(), 2);
        for follower in followers {
            assert_eq!(follower.matched, Offset(1), "{follower:?}");
            assert!(follower.voter && follower.caught_up.is_some(), "{follower:?}");
        }
        assert!(cluster.group((leader + 1) % 3).followers().is_empty());
    });
}

#[test]
fn an_idle_group_says_nothing_and_elects_nobody() {
    simulate(async {
        let cluster = Cluster::formed(13).await;
        let leader = cluster.leader().await;
        cluster.produce(leader, "one").await;
        cluster.converge().await;
        cluster.quiet();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (epoch, before) =
            (cluster.group(leader).leadership().epoch, cluster.net.with(|links| links.appends));
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(cluster.net.with(|links| links.appends), before, "a heartbeat was sent");
        for node in 0..3 {
            assert_eq!(cluster.group(node).leadership().epoch, epoch, "an election was held");
        }
    });
}

#[test]
fn a_replica_that_was_cut_off_deposes_nobody_when_it_is_back() {
    simulate(async {
        let cluster = Cluster::formed(14).await;
        let leader = cluster.leader().await;
        let epoch = cluster.group(leader).leadership().epoch;
        let away = cluster.nodes[(leader + 1) % 3].id;
        for node in (0..3).map(|node| cluster.nodes[node].id).filter(|node| *node != away) {
            cluster.net.cut(node, away);
            cluster.net.cut(away, node);
        }
        // It stands for election again and again, and nobody hears of it.
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.net.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.group(leader).leadership().epoch, epoch);
    });
}
