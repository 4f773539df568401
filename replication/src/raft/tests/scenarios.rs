//! One thing at a time.

use ottla_protocol::model::Offset;

use super::cluster::{Cluster, simulate};

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
