//! Leadership goes from one replica to another, and a group is never left without.

use std::time::Duration;

use ottla_protocol::model::Offset;

use super::cluster::{Cluster, simulate};
use crate::peer::GroupRpc;
use crate::raft::GroupError;

/// Three replicas that have the same, the leader's place, and the one after it.
async fn with_heir(seed: u64) -> (Cluster, usize, usize) {
    let cluster = Cluster::formed(seed).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, "one").await;
    cluster.converge().await;
    (cluster, leader, (leader + 1) % 3)
}

/// Nothing comes to a node, and nothing from it.
fn cut_off(cluster: &Cluster, node: usize) {
    let ids = [0, 1, 2].map(|node| cluster.nodes[node].id);
    for other in ids.into_iter().filter(|other| *other != ids[node]) {
        cluster.net.cut(ids[node], other);
        cluster.net.cut(other, ids[node]);
    }
}

#[test]
fn leadership_is_handed_over_without_a_gap() {
    simulate(async {
        let (cluster, leader, to) = with_heir(9).await;
        let before = tokio::time::Instant::now();
        cluster.group(leader).transfer(cluster.nodes[to].id).await.unwrap();
        let next = cluster.leader().await;
        assert_eq!(next, to);
        assert_eq!(cluster.produce(next, "two").await, Offset(1));
        let took = before.elapsed();
        assert!(took < Duration::from_millis(100), "{took:?}: no lease is waited for");
    });
}

#[test]
fn a_replica_that_lacks_entries_is_not_handed_to() {
    simulate(async {
        let (cluster, leader, to) = with_heir(16).await;
        cut_off(&cluster, to);
        cluster.produce(leader, "two").await;
        let refused = cluster.group(leader).transfer(cluster.nodes[to].id).await;
        assert!(matches!(refused, Err(GroupError::Refused(..))), "{refused:?}");
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.produce(leader, "three").await, Offset(2), "it takes batches still");
    });
}

/// These replicas hear nothing of what their leader wants to hand over.
fn deafen(cluster: &Cluster, nodes: &[usize]) {
    let ids = nodes.iter().map(|node| cluster.nodes[*node].id);
    cluster.net.with(|links| links.deaf_to_transfers.extend(ids));
}

#[test]
fn another_takes_over_where_the_heir_does_not_answer() {
    simulate(async {
        let (cluster, leader, to) = with_heir(15).await;
        // No driver mends it: the leader has told its heir that it may lead, and takes nothing any more.
        cluster.quiet();
        deafen(&cluster, &[to]);
        cluster.group(leader).transfer(cluster.nodes[to].id).await.unwrap();
        let next = cluster.leader().await;
        assert_eq!(next, (leader + 2) % 3);
        assert_eq!(cluster.produce(next, "two").await, Offset(1));
    });
}

#[test]
fn a_leader_that_nobody_succeeds_ends_and_may_lead_again() {
    simulate(async {
        let (mut cluster, leader, to) = with_heir(17).await;
        cluster.quiet();
        deafen(&cluster, &[to, (leader + 2) % 3]);
        let refused = cluster.group(leader).transfer(cluster.nodes[to].id).await;
        assert!(matches!(refused, Err(GroupError::Refused(..))), "{refused:?}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(cluster.group(leader).failure().is_some(), "it could take nothing for ever");
        assert_eq!(cluster.group(leader).leadership().leader, None);
        // As the driver does with an instance that ended.
        cluster.stop(leader).await;
        cluster.start(leader).await.unwrap();
        let next = cluster.leader().await;
        assert_eq!(cluster.produce(next, "two").await, Offset(1));
    });
}

#[test]
fn a_quiet_replica_that_came_back_takes_over() {
    simulate(async {
        let (mut cluster, leader, to) = with_heir(19).await;
        cluster.quiet();
        cluster.stop(to).await;
        cluster.start(to).await.unwrap();
        cluster.quiet();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = tokio::time::Instant::now();
        cluster.group(leader).transfer(cluster.nodes[to].id).await.unwrap();
        assert_eq!(cluster.leader().await, to);
        let took = before.elapsed();
        assert!(took < Duration::from_millis(100), "{took:?}");
    });
}

#[test]
fn a_follower_knows_for_how_long_its_leader_is_believed() {
    simulate(async {
        let (cluster, leader, to) = with_heir(18).await;
        let left = |node: usize| cluster.group(node).lease_left();
        assert!(left(to) > Duration::ZERO && left(to) <= Duration::from_millis(600));
        assert_eq!(left(leader), Duration::ZERO, "nobody leads the leader");
        cluster.quiet();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(left(to), Duration::ZERO);
    });
}
