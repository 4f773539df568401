//! The driver at work: who is asked to stand when a leader is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_protocol::model::NodeId;

use super::nodes::*;

/// Group `n` on all three nodes.
fn replicas(nodes: &[Node], n: i32, preference: &[i32]) -> Vec<Arc<FakeGroup>> {
    nodes
        .iter()
        .zip(1..)
        .map(|(node, id)| {
            let group = Arc::new(fake(id, preference));
            node.groups.insert(group_id(n), Arc::<FakeGroup>::clone(&group));
            group
        })
        .collect()
}

/// All replicas agree that `leader` leads in `epoch`.
fn agree(nodes: &[Node], replicas: &[Arc<FakeGroup>], leader: i32, epoch: i32) {
    for (node, group) in nodes.iter().zip(replicas) {
        group.set_leader(leader, epoch);
        node.groups.changed();
    }
}

fn stood(replicas: &[Arc<FakeGroup>]) -> Vec<usize> {
    replicas.iter().map(|group| group.elections.load(Ordering::Relaxed)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_group_is_given_to_the_preferred_replica() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    let groups = replicas(&nodes, 0, &[2, 3, 1]);
    until("somebody stands", || stood(&groups).iter().sum::<usize>() > 0).await;
    assert_eq!(stood(&groups), [0, 1, 0]);
    agree(&nodes, &groups, 2, 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stood(&groups), [0, 1, 0]);
    let known = |node: &Node| node.peers.leaderships().leader(&group_id(0)).map(|it| it.leader);
    assert!(nodes.iter().all(|node| known(node) == Some(NodeId(2))));
}

#[tokio::test(start_paused = true)]
async fn when_a_leader_falls_silent_the_next_in_line_stands() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let groups = replicas(&nodes, 0, &[2, 3, 1]);
    agree(&nodes, &groups, 2, 1);
    let others = replicas(&nodes, 1, &[1, 2, 3]);
    agree(&nodes, &others, 1, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stood(&groups), [0, 0, 0]);
    let began = tokio::time::Instant::now();
    net.set_both(2, 1, Weather::Eaten);
    net.set_both(2, 3, Weather::Eaten);
    until("the next stands", || stood(&groups)[2] > 0).await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1_300), "{took:?}");
    assert_eq!(stood(&groups)[0], 0);
    assert_eq!(nodes[2].peers.leaderships().leader(&group_id(0)), None);
    groups[2].set_leader(3, 2);
    nodes[2].groups.changed();
    let known = || nodes[0].peers.leaderships().leader(&group_id(0)).map(|it| it.leader);
    until("it is known", || known() == Some(NodeId(3))).await;
    // The other group has its leader still.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stood(&others)[2], 0);
    assert_eq!(stood(&others)[0], 0);
}

#[tokio::test(start_paused = true)]
async fn a_live_node_that_no_longer_leads_is_succeeded() {
    let net: Arc<Net> = Arc::default();
    let nodes = three(&net);
    all_met(&nodes).await;
    let groups = replicas(&nodes, 0, &[2, 3, 1]);
    agree(&nodes, &groups, 2, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Its replica has stopped, say for want of space; the node is well.
    nodes[1].groups.stopped(&group_id(0), "no space left");
    until("another stands", || stood(&groups)[0] + stood(&groups)[2] > 0).await;
    assert_eq!(stood(&groups)[1], 0);
}

/// A broker's links stand before its groups run: what it was sent before is lost.
#[tokio::test(start_paused = true)]
async fn groups_that_come_back_late_are_greeted_and_new_ones_are_not() {
    let nodes = three(&Arc::default());
    all_met(&nodes).await;
    let groups = replicas(&nodes[..1], 0, &[1, 2, 3]);
    groups[0].set_leader(1, 4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let greeted = || groups[0].ups.load(Ordering::Relaxed);
    let before = greeted();
    let new = Arc::new(fake(2, &[1, 2, 3]));
    nodes[1].groups.insert(group_id(1), Arc::<FakeGroup>::clone(&new));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(greeted(), before, "nothing was sent to a new group");
    let late = Arc::new(fake(2, &[1, 2, 3]));
    late.set_leader(1, 4);
    nodes[1].groups.insert(group_id(0), Arc::<FakeGroup>::clone(&late));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(greeted(), before + 1);
}
