//! Appends: order, windows, backpressure, and what openraft is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::errors::RPCError;
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, VoteRequest};
use openraft::{EmptyNode, RaftNetworkFactory, RaftNetworkV2};
use ottla_protocol::model::Offset;

use super::nodes::*;
use crate::peer::network::ReplicaClient;
use crate::raft::{Batch, Committed, Entry, LogId, Payload, TypeConfig};

pub(super) async fn client(node: &Node, group: i32, target: i32) -> ReplicaClient<FakeSource> {
    let mut network = node.peers.network::<FakeSource>(group_id(group));
    network.new_client(replica(target), &EmptyNode {}).await
}

fn option() -> RPCOption {
    RPCOption::new(Duration::from_millis(500))
}

fn log_id(index: u64) -> LogId {
    LogId::new(Committed::new(1), index)
}

/// An append of batches `first..=last`, each of which has the offset that is its index.
fn append(first: u64, last: u64) -> AppendEntriesRequest<TypeConfig> {
    let entry = |index: u64| {
        let base = Offset(index as i64);
        let batch = Batch::Stored { base, end: base.next(), bytes: BATCH_BYTES };
        Entry { term: Committed::new(1), index, payload: Payload::Batch(batch) }
    };
    AppendEntriesRequest {
        vote: vote_of(1, 1),
        prev_log_id: first.checked_sub(1).map(log_id),
        entries: (first..=last).map(entry).collect(),
        leader_commit: None,
    }
}

/// Nodes 1 and 2 with groups `0..count` on both.
async fn pair(net: &Arc<Net>, count: i32) -> (Vec<Node>, Vec<Arc<FakeGroup>>) {
    let nodes = three(net);
    all_met(&nodes).await;
    let mut followers = Vec::new();
    for n in 0..count {
        nodes[0].groups.insert(group_id(n), Arc::new(fake(1, &[1, 2])));
        let follower = Arc::new(fake(2, &[1, 2]));
        nodes[1].groups.insert(group_id(n), Arc::<FakeGroup>::clone(&follower));
        followers.push(follower);
    }
    (nodes, followers)
}

#[tokio::test(start_paused = true)]
async fn appends_of_a_group_keep_their_order_and_a_slow_group_delays_no_other() {
    let (nodes, followers) = pair(&Arc::default(), 3).await;
    followers[0].answering.send_replace(false);
    let mut slow = client(&nodes[0], 0, 2).await;
    let requests = futures_util::stream::iter((0..20).map(|at| append(at * 5, at * 5 + 4)));
    let mut slow_answers = slow.stream_append(requests, option()).await.unwrap();
    assert!(futures_util::poll!(slow_answers.next()).is_pending());

    for n in 1..3 {
        let mut quick = client(&nodes[0], n, 2).await;
        let requests = futures_util::stream::iter((0..100).map(|at| append(at * 2, at * 2 + 1)));
        let answers: Vec<_> =
            quick.stream_append(requests, option()).await.unwrap().collect().await;
        let acked: Vec<_> =
            answers.into_iter().map(|answer| answer.unwrap().unwrap().unwrap().index).collect();
        assert_eq!(acked, (0..100).map(|at| at * 2 + 1).collect::<Vec<_>>());
        let seen = followers[n as usize].appended.lock().clone();
        assert_eq!(seen, (0..100).map(|at| at * 2).collect::<Vec<_>>());
        assert_eq!(followers[n as usize].bytes.load(Ordering::Relaxed), 200 * BATCH_BYTES as usize);
    }

    // All of the slow one's were sent ahead, within the window.
    assert_eq!(followers[0].appended.lock().len(), 20);
    followers[0].answering.send_replace(true);
    let answers: Vec<_> = slow_answers.collect().await;
    assert_eq!(answers.len(), 20);
    assert_eq!(*followers[0].appended.lock(), (0..20).map(|at| at * 5).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_is_sent_ahead() {
    let (nodes, followers) = pair(&Arc::default(), 1).await;
    followers[0].answering.send_replace(false);
    let mut client = client(&nodes[0], 0, 2).await;
    let requests = futures_util::stream::iter((0..100).map(|at| append(at, at)));
    let mut answers = client.stream_append(requests, option()).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(1), answers.next()).await;
    assert!(next.is_err());
    assert_eq!(followers[0].appended.lock().len(), 32);
    // The disk of the follower stands still: the leader is told when the time of an append is over.
    let late = answers.next().await.unwrap();
    assert!(matches!(late, Err(RPCError::Network(_))), "{late:?}");
    assert!(answers.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_large_append_is_sent_in_parts() {
    let net = Arc::default();
    let nodes: Vec<_> = (1..=2)
        .map(|id| {
            let mut make = make(id);
            make.settings.append_bytes_max = 7 * BATCH_BYTES as usize;
            start_in(&net, make)
        })
        .collect();
    for node in &nodes {
        introduce(node, &[1, 2]);
    }
    all_met(&nodes).await;
    nodes[0].groups.insert(group_id(0), Arc::new(fake(1, &[1, 2])));
    let follower = Arc::new(fake(2, &[1, 2]));
    nodes[1].groups.insert(group_id(0), Arc::<FakeGroup>::clone(&follower));
    let mut client = client(&nodes[0], 0, 2).await;
    let requests = futures_util::stream::iter([append(1, 20), append(21, 21)]);
    let answers: Vec<_> = client.stream_append(requests, option()).await.unwrap().collect().await;
    let acked: Vec<_> = answers.into_iter().map(|it| it.unwrap().unwrap().unwrap().index).collect();
    assert_eq!(acked, [7, 14, 20, 21]);
    assert_eq!(*follower.appended.lock(), [1, 8, 15, 21]);
    assert_eq!(follower.bytes.load(Ordering::Relaxed), 21 * BATCH_BYTES as usize);
    let whole = client.append_entries(append(22, 40), option()).await;
    assert!(matches!(whole, Ok(AppendEntriesResponse::Success)));
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_higher_votes_end_a_stream() {
    let net = Arc::default();
    let (nodes, _) = pair(&net, 0).await;
    let mut conflicting = fake(2, &[1, 2]);
    conflicting.answer = AppendEntriesResponse::Conflict;
    nodes[1].groups.insert(group_id(0), Arc::new(conflicting));
    let mut newer = fake(2, &[1, 2]);
    newer.answer = AppendEntriesResponse::HigherVote(vote_of(2, 9));
    nodes[1].groups.insert(group_id(1), Arc::new(newer));
    for n in 0..2 {
        nodes[0].groups.insert(group_id(n), Arc::new(fake(1, &[1, 2])));
    }
    let answers = |n| {
        let node = &nodes[0];
        async move {
            let mut client = client(node, n, 2).await;
            let requests = futures_util::stream::iter((5..9).map(|at| append(at, at)));
            let stream = client.stream_append(requests, option()).await.unwrap();
            stream.collect::<Vec<_>>().await
        }
    };
    let conflict = answers(0).await;
    assert!(
        matches!(&conflict[..], [Ok(Err(StreamAppendError::Conflict(prev)))] if *prev == log_id(4)),
        "{conflict:?}"
    );
    let higher = answers(1).await;
    assert!(
        matches!(&higher[..], [Ok(Err(StreamAppendError::HigherVote(vote)))] if *vote == vote_of(2, 9)),
        "{higher:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_there_is_unreachable_for_a_while() {
    let net: Arc<Net> = Arc::default();
    let (nodes, _) = pair(&net, 1).await;
    let ask = |n, target| {
        let node = &nodes[0];
        async move {
            let mut client = client(node, n, target).await;
            client.vote(VoteRequest::new(vote_of(1, 2), None), option()).await
        }
    };
    assert!(ask(0, 2).await.unwrap().vote_granted);
    // No such group there; a replica in a directory that the node does not have; a group that stopped.
    let missing = ask(5, 2).await;
    assert!(matches!(missing, Err(RPCError::Unreachable(_))), "{missing:?}");
    let mut elsewhere = replica(2);
    elsewhere.directory = directory(9);
    let mut network = nodes[0].peers.network::<FakeSource>(group_id(0));
    let mut client = network.new_client(elsewhere, &EmptyNode {}).await;
    let other = client.vote(VoteRequest::new(vote_of(1, 2), None), option()).await;
    assert!(matches!(other, Err(RPCError::Unreachable(_))), "{other:?}");
    nodes[1].groups.stopped(&group_id(0), "no space left");
    let stopped = ask(0, 2).await.unwrap_err();
    assert!(stopped.to_string().contains("no space left"), "{stopped}");
    assert!(client.backoff().is_some());
}

/// The disk of a follower stands still under all that it is sent: its broker is heard, others go on.
#[tokio::test(start_paused = true)]
async fn a_stalled_disk_is_no_reason_for_suspicion_and_delays_no_other_group() {
    let net: Arc<Net> = Arc::default();
    let (nodes, followers) = pair(&net, 6).await;
    let mut streams = Vec::new();
    for (n, follower) in (0..5).zip(&followers) {
        follower.answering.send_replace(false);
        let node = nodes[0].peers.network::<FakeSource>(group_id(n));
        streams.push(tokio::spawn(async move {
            let mut network = node;
            let mut client = network.new_client(replica(2), &EmptyNode {}).await;
            let large = (1..2_000).map(|at| {
                let mut request = append(at, at);
                let batch = Batch::Received(vec![0; 1 << 20].into());
                request.entries[0].payload = Payload::Batch(batch);
                request
            });
            let requests = futures_util::stream::iter(large);
            let answers = client.stream_append(requests, option()).await.unwrap();
            answers.collect::<Vec<_>>().await.len()
        }));
    }
    let mut quick = client(&nodes[0], 5, 2).await;
    for at in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = quick.append_entries(append(at, at), option()).await;
        assert!(answer.is_ok(), "{at}: {answer:?}");
        let two = nodes[1].peers.me();
        assert_eq!(nodes[0].peers.liveness(two), crate::liveness::Liveness::Alive);
        assert_eq!(nodes[1].peers.liveness(nodes[0].peers.me()), crate::liveness::Liveness::Alive);
    }
    for follower in &followers {
        assert!(follower.bytes.load(Ordering::Relaxed) <= 5 << 20);
    }
    // In time each leader is told.
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 1);
    }
    assert_eq!(net.dialled.load(Ordering::Relaxed), 6);
}

/// Nothing is read at the other end: what waits is bounded, and those who wait are told in time.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_makes_senders_wait_and_not_memory_grow() {
    let net: Arc<Net> = Arc::default();
    let (nodes, _) = pair(&net, 1).await;
    net.set(1, 2, Weather::Late(Duration::from_secs(3_600)));
    let mut calls = Vec::new();
    for _ in 0..100 {
        let body = Bytes::from(vec![0; 1 << 20]);
        let peers = Arc::clone(&nodes[0].peers);
        calls.push(tokio::spawn(async move {
            let to = ottla_protocol::model::NodeId(2);
            peers.call(to, ECHO, body, Duration::from_secs(1)).await
        }));
    }
    let mut kinds = BTreeMap::new();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        *kinds.entry(error.to_string()).or_insert(0) += 1;
    }
    assert_eq!(kinds.values().sum::<i32>(), 100);
    assert!(kinds.keys().all(|text| text.contains("no answer within")), "{kinds:?}");
}
