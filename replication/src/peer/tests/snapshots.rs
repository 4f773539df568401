//! Snapshots on their own connection.

use std::sync::Arc;
use std::time::Duration;

use openraft::RaftNetworkV2;
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::RPCOption;
use ottla_protocol::model::NodeId;
use tokio::time::Instant;

use super::appends::client;
use super::nodes::*;
use crate::peer::SnapshotMeta;
use crate::peer::hello::Lane;

fn snapshot(len: u64) -> openraft::alias::SnapshotOf<crate::raft::TypeConfig, FakeSource> {
    openraft::Snapshot { meta: SnapshotMeta::default(), snapshot: FakeSource { len } }
}

fn option() -> RPCOption {
    RPCOption::new(Duration::from_secs(4))
}

async fn pair(net: &Arc<Net>) -> (Vec<Node>, Arc<FakeGroup>) {
    let nodes: Vec<_> = (1..=2)
        .map(|id| {
            let mut make = make(id);
            make.settings.bulk_bytes_per_second = 1 << 20;
            start_in(net, make)
        })
        .collect();
    for node in &nodes {
        introduce(node, &[1, 2]);
    }
    all_met(&nodes).await;
    let follower = Arc::new(fake(2, &[1, 2]));
    nodes[1].groups.insert(group_id(0), Arc::<FakeGroup>::clone(&follower));
    (nodes, follower)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_arrives_whole_and_at_its_rate() {
    let (nodes, follower) = pair(&Arc::default()).await;
    let mut client = client(&nodes[0], 0, 2).await;
    let began = Instant::now();
    for len in [0, 1, 5 << 20] {
        let sent = client
            .full_snapshot(vote_of(1, 3), snapshot(len), std::future::pending(), option())
            .await
            .unwrap();
        assert_eq!(sent.vote, vote_of(1, 3));
    }
    // Five MiB at one a second, the last chunk of which is not waited out.
    let took = began.elapsed().as_millis();
    assert!((4_500..6_000).contains(&took), "{took}");
    let came = follower.snapshots.lock().clone();
    let expected = [0, 1, 5 << 20].map(|len| [b"head|", &snapshot_bytes(0, len)[..]].concat());
    assert!(came == expected);
    // The connection for snapshots goes when it is not used.
    let bulk = nodes[0].peers.links.link(NodeId(2), Lane::Bulk);
    assert!(bulk.is_connected());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(!bulk.is_connected());
    assert!(nodes[0].peers.is_connected(NodeId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_snapshot_leaves_nothing_behind() {
    let (nodes, follower) = pair(&Arc::default()).await;
    let mut client = client(&nodes[0], 0, 2).await;
    // More than a connection would hold, were they not taken back.
    for _ in 0..100 {
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ReplicationClosed::new("no longer the leader")
        };
        let sent = client.full_snapshot(vote_of(1, 3), snapshot(9 << 20), cancel, option()).await;
        assert!(matches!(sent, Err(StreamingError::Closed(_))), "{sent:?}");
    }
    assert!(follower.snapshots.lock().is_empty());
    let sent =
        client.full_snapshot(vote_of(1, 3), snapshot(9), std::future::pending(), option()).await;
    assert!(sent.is_ok(), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_meets_silence_is_given_up() {
    let net: Arc<Net> = Arc::default();
    let (nodes, follower) = pair(&net).await;
    let mut client = client(&nodes[0], 0, 2).await;
    net.set(1, 2, Weather::Late(Duration::from_secs(3_600)));
    let sent = client
        .full_snapshot(vote_of(1, 3), snapshot(50 << 20), std::future::pending(), option())
        .await;
    assert!(matches!(sent, Err(StreamingError::Network(_) | StreamingError::Unreachable(_))));
    assert!(follower.snapshots.lock().is_empty());
}
