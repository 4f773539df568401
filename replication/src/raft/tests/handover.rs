//! Leadership goes from one replica to another, and a group is never left without.

use std::time::Duration;

use ottla_protocol::model::Offset;

use super::cluster::{Cluster, simulate};
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

#[test]
fn another_takes_over_where_the_heir_does_not_answer() {
    simulate(async {
        let (cluster, leader, to) = with_heir(15).await;
        // No driver mends it: the leader told its heir that it may lead, and takes nothing any more.
        cluster.quiet();
        cut_off(&cluster, to);
        let _left = cluster.group(leader).transfer(cluster.nodes[to].id).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = cluster.leader().await;
        assert_eq!(next, (leader + 2) % 3);
        assert_eq!(cluster.produce(next, "two").await, Offset(1));
    });
}

#[test]
fn an_heir_that_comes_back_takes_over() {
    simulate(async {
        let (cluster, leader, to) = with_heir(17).await;
        cluster.quiet();
        let other = (leader + 2) % 3;
        cut_off(&cluster, to);
        cut_off(&cluster, other);
        let refused = cluster.group(leader).transfer(cluster.nodes[to].id).await;
        assert!(refused.is_err(), "nobody is there");
        tokio::time::sleep(Duration::from_secs(10)).await;
        cluster.net.heal();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let next = cluster.leader().await;
        assert_ne!(next, leader, "it cannot lead on");
        assert_eq!(cluster.produce(next, "two").await, Offset(1));
    });
}
