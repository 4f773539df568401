//! What cannot work in a cluster, said with its cause and its cure.
//!
//! Owns: two nodes with one id, a wrong cluster id, a clock that is off, an unreachable peer, two processes on
//! one disk. Never: clusters that work. What is only logged is read from the log of this process.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, Once};
use std::time::Duration;

use ottla_harness::{Builder, TestCluster};
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(60);

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// Told of each line of the log.
static MORE: Notify = Notify::const_new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        MORE.notify_waiters();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what brokers log from now on.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let levels = tracing_subscriber::filter::LevelFilter::WARN;
        tracing_subscriber::fmt().with_max_level(levels).with_writer(|| Log).init();
    });
}

/// Waits until one line of the log has all these parts.
async fn said(parts: &[&str]) {
    let text = || String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    let heard = async {
        loop {
            let more = MORE.notified();
            if text().lines().any(|line| parts.iter().all(|part| line.contains(part))) {
                return;
            }
            more.await;
        }
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await;
    assert!(heard.is_ok(), "{parts:?} is not among\n{}", text());
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A controller with these voters.
fn member(node: i32, controller: &str, voters: &str, data: &Path) -> Builder {
    listen();
    TestCluster::builder()
        .config("node.id", &node.to_string())
        .config("listeners", &format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://{controller}"))
        .config("controller.listener.names", "CONTROLLER")
        .config("controller.quorum.voters", voters)
        .data_dir(data)
}

/// What a start that fails says.
async fn refusal(builder: Builder) -> String {
    let started = tokio::time::timeout(PATIENCE, builder.start()).await;
    started.expect("it says so soon").unwrap_err().to_string()
}

fn all(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
}

#[tokio::test]
async fn two_nodes_with_one_id() {
    let cluster = TestCluster::builder().brokers(3).start().await.unwrap();
    let voters = cluster.config_of(1, "controller.quorum.voters").unwrap();
    let data = tempfile::tempdir().unwrap();
    let said = refusal(member(2, "127.0.0.1:0", &voters, data.path())).await;
    all(&said, &["node.id=2", "give"]);
}

#[tokio::test]
async fn a_node_of_another_cluster() {
    let other = TestCluster::builder().brokers(3).disk().start().await.unwrap();
    let theirs = other.data_dir_of(3);
    let data = tempfile::tempdir().unwrap();
    let copy = data.path().join("3");
    let mut cluster = TestCluster::builder().brokers(3).start().await.unwrap();
    let voters = cluster.config_of(1, "controller.quorum.voters").unwrap();
    let own = voters.split(',').find_map(|of| of.strip_prefix("3@")).unwrap().to_owned();
    let (ours, others) = (cluster.cluster_id().to_owned(), other.cluster_id().to_owned());
    cluster.stop_node(3);
    let mut other = other;
    other.stop_all();
    std::fs::rename(&theirs, &copy).unwrap();
    let said = refusal(member(3, &own, &voters, &copy)).await;
    all(&said, &[&ours, &others, "log.dirs was copied", "controller.quorum.voters"]);
}

#[tokio::test]
async fn data_that_was_kept_alone_meets_a_list_of_others() {
    let data = tempfile::tempdir().unwrap();
    let alone = TestCluster::builder().data_dir(data.path()).start().await.unwrap();
    let id = alone.cluster_id().to_owned();
    alone.stop();
    let voters = format!("1@{},2@{}", free_address(), free_address());
    let said = refusal(member(1, "127.0.0.1:0", &voters, data.path())).await;
    all(&said, &[&id, "never forms a new cluster", "List only this node", "empty its log.dirs"]);
}

#[tokio::test]
async fn two_clusters_on_one_disk() {
    let data = tempfile::tempdir().unwrap();
    let _first = TestCluster::builder().data_dir(data.path()).start().await.unwrap();
    let said = refusal(TestCluster::builder().data_dir(data.path())).await;
    all(&said, &["is in use by another process", "set log.dirs to another folder"]);
}

#[tokio::test]
async fn a_clock_an_hour_ahead() {
    listen();
    let hour = Duration::from_secs(3_600);
    let _cluster = TestCluster::builder().brokers(3).clock_ahead(2, hour).start().await.unwrap();
    said(&["the clock of node 2", " ahead of this node's", "NTP"]).await;
}

#[tokio::test]
async fn a_peer_whose_name_leads_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let own = free_address();
    let voters = format!("7@{own},8@nowhere.invalid:9093");
    let start = member(7, &own, &voters, data.path()).start();
    tokio::select! {
        started = start => panic!("it forms without the other: {started:?}"),
        () = said(&["no cluster yet", "nowhere.invalid:9093", "correct its address in"]) => {}
    }
}
