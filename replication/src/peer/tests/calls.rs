//! Control calls and what is told by heartbeats.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::NodeId;

use super::nodes::*;
use crate::peer::{Dial, Fault, PeerError, Peers, TcpDial};
use std::sync::Arc;

const SOON: Duration = Duration::from_secs(5);

async fn echo(from: &Node, to: i32) -> Bytes {
    from.peers.call(NodeId(to), ECHO, Bytes::from_static(b"hi"), SOON).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_everybody_and_is_answered() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    assert_eq!(echo(&nodes[0], 2).await, "1 to 2: hi");
    assert_eq!(echo(&nodes[1], 1).await, "2 to 1: hi");
    assert_eq!(echo(&nodes[2], 1).await, "3 to 1: hi");
    assert!(nodes.iter().all(|node| node.peers.problems().is_empty()));
}

#[tokio::test]
async fn over_tcp_as_well() {
    let mut nodes = Vec::new();
    let mut addresses = Vec::new();
    for id in 1..=3 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push((NodeId(id), listener.local_addr().unwrap().to_string()));
        let dial: Arc<dyn Dial> = Arc::new(TcpDial);
        let node = start(make(id), dial);
        let peers: Arc<Peers> = Arc::clone(&node.peers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accept(Arc::clone(&peers), stream));
            }
        });
        nodes.push(node);
    }
    for node in &nodes {
        *node.book.0.lock() = addresses.iter().cloned().collect();
        node.peers.addresses_changed();
    }
    all_met(&nodes).await;
    let large = Bytes::from(vec![7; 3 << 20]);
    let answer = nodes[2].peers.call(NodeId(2), ECHO, large.clone(), SOON).await.unwrap();
    assert_eq!(&answer[8..], &large);
    for node in &nodes {
        node.peers.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_ends() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    let call = |kind| nodes[0].peers.call(NodeId(2), kind, Bytes::new(), SOON);
    assert!(matches!(call(NEVER).await, Err(PeerError::Timeout(SOON))));
    let refused = call(REFUSE).await.unwrap_err();
    assert!(matches!(&refused, PeerError::Fault(Fault::Control { code: 41, .. })), "{refused}");
    // A handler that panics takes neither the connection nor the broker with it.
    assert!(matches!(call(PANIC).await, Err(PeerError::Fault(Fault::Stopped(_)))));
    assert_eq!(echo(&nodes[0], 2).await, "1 to 2: hi");
    let nobody = nodes[0].peers.call(NodeId(9), ECHO, Bytes::new(), SOON).await;
    assert!(matches!(nobody, Err(PeerError::NoAddress(NodeId(9)))));
}

#[tokio::test(start_paused = true)]
async fn an_address_is_enough_to_ask() {
    let net = Arc::default();
    let nodes = three(&net);
    let stranger = start_in(&net, Make { cluster: None, ..make(4) });
    let info = stranger.peers.probe(&address(2), SOON).await.unwrap();
    assert_eq!((info.node, info.cluster.as_deref()), (NodeId(2), Some("the-cluster")));
    assert_eq!(info.card, "card of 2");
    assert_eq!(info.directories, [directory(2)]);
    let body = Bytes::from_static(b"who leads?");
    let (info, answer) = stranger.peers.call_at(&address(3), ECHO, body, SOON).await.unwrap();
    assert_eq!((info.node, answer), (NodeId(3), "4 to 3: who leads?".into()));
    let nobody = stranger.peers.probe("nowhere:1", SOON).await;
    assert!(matches!(nobody, Err(PeerError::Broken(_))), "{nobody:?}");
    drop(nodes);
}

#[tokio::test(start_paused = true)]
async fn leaderships_spread_and_end() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    let lead = |node: usize, n, epoch| {
        let id = node as i32 + 1;
        let group = fake(id, &[1, 2, 3]);
        group.set_leader(id, epoch);
        nodes[node].groups.insert(group_id(n), Arc::new(group));
    };
    for n in 0..5_000 {
        // More than one heartbeat holds.
        lead(0, n, 3);
    }
    let leader = |node: usize, n| {
        nodes[node].peers.leaderships().leader(&group_id(n)).map(|claim| claim.leader.get())
    };
    until("the last of many is told", || (1..3).all(|node| leader(node, 4_999) == Some(1))).await;
    assert!((0..5_000).all(|n| leader(1, n) == Some(1) && leader(2, n) == Some(1)));
    // A group that is gone from its node is led there no more.
    nodes[0].groups.remove(&group_id(17));
    until("the resignation is told", || (1..3).all(|node| leader(node, 17).is_none())).await;
    lead(1, 17, 4);
    until("the successor is known", || (0..3).all(|node| leader(node, 17) == Some(2))).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_address_book_is_forgotten() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    introduce(&nodes[0], &[1, 3]);
    until("the link is gone", || !nodes[0].peers.is_connected(NodeId(2))).await;
    assert!(nodes[0].peers.is_connected(NodeId(3)));
}
