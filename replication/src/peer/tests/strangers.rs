//! Those who do not belong together, and clocks that are off.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::nodes::*;
use crate::liveness::Liveness;
use crate::peer::{PeerProblem, Refusal};
use ottla_protocol::model::NodeId;

fn refusals(node: &Node) -> Vec<Refusal> {
    node.peers
        .problems()
        .into_iter()
        .filter_map(|problem| match problem {
            PeerProblem::Refused(refusal) => Some(refusal),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_and_both_say_why() {
    let net = Arc::default();
    let ours = start_in(&net, make(1));
    let theirs = start_in(&net, Make { cluster: Some("another"), ..make(2) });
    introduce(&ours, &[2]);
    until("both know", || !refusals(&ours).is_empty() && !refusals(&theirs).is_empty()).await;
    let text = refusals(&ours)[0].to_string();
    assert!(text.contains("cluster the-cluster") || text.contains("cluster another"), "{text}");
    assert!(text.contains("controller.quorum.voters"), "{text}");
    assert!(!ours.peers.is_connected(NodeId(2)));
    assert_eq!(ours.peers.liveness(NodeId(2)), crate::liveness::Liveness::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_address_is_told_apart_from_a_dead_node() {
    let net: Arc<Net> = Arc::default();
    let ours = start_in(&net, make(1));
    let third = start_in(&net, make(3));
    net.listen(&address(2), &third.peers);
    introduce(&ours, &[2]);
    until("it is noticed", || !refusals(&ours).is_empty()).await;
    let expected = Refusal::Node { expected: NodeId(2), actual: NodeId(3) };
    assert_eq!(refusals(&ours), [expected]);
    // The address is put right: the problem goes.
    let second = start_in(&net, make(2));
    until("it is settled", || ours.peers.problems().is_empty()).await;
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_nodes_with_one_id_is_refused() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let twin = start_in(&net, Make { incarnation: 2, ..make(2) });
    net.listen(&address(2), &nodes[1].peers);
    introduce(&twin, &[1, 3]);
    let expected = Refusal::DuplicateNode { node: NodeId(2) };
    until("it is refused", || refusals(&twin).contains(&expected)).await;
    assert!(refusals(&nodes[0]).contains(&expected));
    assert!(nodes[0].peers.is_connected(NodeId(2)));
    assert!(expected.to_string().contains("node.id=2"), "{expected}");
    // It meets itself, too.
    introduce(&nodes[1], &[1, 2, 3]);
    let own = twin.peers.probe(&address(2), std::time::Duration::from_secs(1)).await.unwrap_err();
    assert!(own.to_string().contains("two brokers run with node.id=2"), "{own}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_started_again_is_no_stranger() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let group = fake(2, &[2]);
    group.set_leader(2, 1);
    nodes[1].groups.insert(group_id(0), Arc::new(group));
    let table = nodes[0].peers.leaderships();
    until("it is told", || table.leader(&group_id(0)).is_some()).await;
    nodes[1].peers.stop().await;
    let again = start_in(&net, Make { incarnation: 2, ..make(2) });
    introduce(&again, &[1, 2, 3]);
    until("it is met again", || {
        nodes[0].peers.is_connected(NodeId(2)) && again.peers.is_connected(NodeId(1))
    })
    .await;
    // What it led before is not believed any more.
    assert_eq!(table.leader(&group_id(0)), None);
    assert_eq!(refusals(&again), []);
}

/// What a dead machine left stands open, and its successor is heard: the two are not mixed up.
#[tokio::test(start_paused = true)]
async fn a_machine_that_lost_its_power_is_let_in_again() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    for other in [1, 3] {
        net.set_both(2, other, Weather::Dead);
    }
    until("it is frozen", || nodes[0].peers.liveness(NodeId(2)) != Liveness::Alive).await;
    nodes[1].peers.stop().await;
    for other in [1, 3] {
        net.set_both(2, other, Weather::Fine);
    }
    let again = start_in(&net, Make { incarnation: 2, ..make(2) });
    // Others reach it first: it is alive by its answers, though what it replaces is silent.
    for other in [&nodes[0], &nodes[2]] {
        let alive = || other.peers.liveness(NodeId(2)) == Liveness::Alive;
        until("others reach it", || other.peers.is_connected(NodeId(2)) && alive()).await;
    }
    introduce(&again, &[1, 2, 3]);
    let others = [NodeId(1), NodeId(3)];
    until("it is let in", || others.iter().all(|node| again.peers.is_connected(*node))).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_an_hour_off_is_reported_until_it_is_right() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    nodes[1].clock_off.store(3_600_000, Ordering::Relaxed);
    let others = [&nodes[0], &nodes[2]];
    until("others notice", || others.iter().all(|node| !node.peers.problems().is_empty())).await;
    let text = nodes[0].peers.problems()[0].to_string();
    assert!(text.starts_with("the clock of node 2 is 3600 s ahead"), "{text}");
    assert!(text.contains("NTP"), "{text}");
    until("it notices itself", || nodes[1].peers.problems().len() == 2).await;
    let text = nodes[1].peers.problems()[0].to_string();
    assert!(text.starts_with("the clock of node 1 is 3600 s behind"), "{text}");
    nodes[1].clock_off.store(0, Ordering::Relaxed);
    until("it is over", || nodes.iter().all(|node| node.peers.problems().is_empty())).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_leads_nowhere_is_reported() {
    let net: Arc<Net> = Arc::default();
    let ours = start_in(&net, make(1));
    introduce(&ours, &[2]);
    until("it is reported", || !ours.peers.problems().is_empty()).await;
    let text = ours.peers.problems()[0].to_string();
    assert!(text.starts_with("node 2 cannot be reached at node2:9093: "), "{text}");
    let second = start_in(&net, make(2));
    until("it is over", || ours.peers.problems().is_empty()).await;
    drop(second);
}
