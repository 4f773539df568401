//! Networks that fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::NodeId;
use tokio::time::Instant;

use super::nodes::*;
use crate::liveness::Liveness;
use crate::peer::PeerError;

fn alive(node: &Node, other: i32) -> bool {
    node.peers.liveness(NodeId(other)) == Liveness::Alive
}

fn suspected(node: &Node, other: i32) -> bool {
    matches!(node.peers.liveness(NodeId(other)), Liveness::Suspected { .. })
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_what_is_under_way_and_heals() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let group = Arc::new(fake(1, &[1, 2, 3]));
    nodes[0].groups.insert(group_id(0), Arc::<FakeGroup>::clone(&group));
    let call = nodes[0].peers.call(NodeId(2), NEVER, Bytes::new(), Duration::from_secs(60));
    let cut = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        net.set_both(1, 2, Weather::Cut);
    };
    let began = Instant::now();
    let (ended, ()) = tokio::join!(call, cut);
    assert!(matches!(ended, Err(PeerError::Broken(_))), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
    until("both suspect", || suspected(&nodes[0], 2) && suspected(&nodes[1], 1)).await;
    assert!(alive(&nodes[0], 3) && alive(&nodes[1], 3) && alive(&nodes[2], 1));
    let refused = nodes[0].peers.call(NodeId(2), ECHO, Bytes::new(), Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(PeerError::NotConnected(NodeId(2)))));

    net.set_both(1, 2, Weather::Fine);
    all_met(&nodes).await;
    until("groups are told", || group.ups.load(Ordering::Relaxed) == 1).await;
}

/// The kernel says nothing: only silence tells.
#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_noticed_within_seconds() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let dialled = net.dialled.load(Ordering::Relaxed);
    let began = Instant::now();
    net.set_both(1, 2, Weather::Eaten);
    until("both suspect", || suspected(&nodes[0], 2) && suspected(&nodes[1], 1)).await;
    let took = began.elapsed();
    assert!((900..1_300).contains(&took.as_millis()), "{took:?}");
    until("it is given up", || !nodes[0].peers.is_connected(NodeId(2))).await;
    assert!(began.elapsed() < Duration::from_secs(6));
    net.set_both(1, 2, Weather::Fine);
    all_met(&nodes).await;
    assert!(net.dialled.load(Ordering::Relaxed) > dialled);
}

#[tokio::test(start_paused = true)]
async fn one_way_is_enough_to_be_suspected() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    // Nothing of node 2 reaches node 1; node 2 hears node 1.
    net.set(2, 1, Weather::Eaten);
    until("node 1 suspects", || suspected(&nodes[0], 2)).await;
    assert!(alive(&nodes[2], 1) && alive(&nodes[2], 2));
    net.set(2, 1, Weather::Fine);
    all_met(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn repeated_bytes_end_a_connection_and_not_the_peace() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    net.set(1, 2, Weather::Repeated);
    until("the connection ends", || !nodes[0].peers.is_connected(NodeId(2))).await;
    net.set(1, 2, Weather::Fine);
    all_met(&nodes).await;
    let answer = nodes[0].peers.call(NodeId(2), ECHO, Bytes::new(), Duration::from_secs(5)).await;
    assert_eq!(answer.unwrap(), "1 to 2: ");
}

#[tokio::test(start_paused = true)]
async fn a_slow_network_is_no_reason_for_suspicion() {
    let net: Arc<Net> = Arc::default();
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        net.set_both(a, b, Weather::Late(Duration::from_millis(200)));
    }
    let nodes = three(&net);
    all_met(&nodes).await;
    let dialled = net.dialled.load(Ordering::Relaxed);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!((1..=3).all(|id| nodes.iter().all(|node| alive(node, id))));
    }
    assert_eq!(net.dialled.load(Ordering::Relaxed), dialled);
}
