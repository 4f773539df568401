//! What the harness promises: ready means ready, gone on drop, any number in one process.
//!
//! Owns: the promises. Never: the broker's own behaviour, which has tests of its own.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::net::TcpStream;

use ottla_harness::{HarnessError, TestCluster, blocking};

#[tokio::test]
async fn ready_means_that_topics_take_records() {
    let cluster = TestCluster::builder().topic("a", 3).topic("b", 1).start().await.unwrap();
    for partition in 0..3 {
        assert_eq!(cluster.produce("a", partition, &[(b"k", b"v")]).await.unwrap(), 0);
    }
    assert_eq!(cluster.produce("b", 0, &[(b"k", b"v")]).await.unwrap(), 0);
    assert_eq!(cluster.records("a").await.unwrap().len(), 3);
}

#[test]
fn the_blocking_form_does_the_same() {
    let cluster = blocking::TestCluster::builder().topic("a", 1).start_blocking().unwrap();
    cluster.produce("a", 0, &[(b"k", b"v"), (b"k", b"w")]).unwrap();
    let values: Vec<_> = cluster.records("a").unwrap().into_iter().map(|r| r.value).collect();
    assert_eq!(values, [Some(b"v".to_vec()), Some(b"w".to_vec())]);
}

#[tokio::test]
async fn dropped_means_that_the_port_is_closed_and_the_files_are_gone() {
    let cluster = TestCluster::builder().disk().topic("a", 1).start().await.unwrap();
    let bootstrap = cluster.bootstrap().to_owned();
    let directory = cluster.data_dir().unwrap().to_owned();
    assert!(directory.join("a-0").is_dir());
    drop(cluster);
    assert!(TcpStream::connect(bootstrap).is_err());
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_restart_keeps_port_and_records_in_memory_and_on_disk() {
    for builder in [TestCluster::builder().memory(), TestCluster::builder().disk()] {
        let mut cluster = builder.topic("a", 1).start().await.unwrap();
        let bootstrap = cluster.bootstrap().to_owned();
        cluster.produce("a", 0, &[(b"k", b"before")]).await.unwrap();
        cluster.restart().await.unwrap();
        assert_eq!(cluster.bootstrap(), bootstrap);
        assert_eq!(cluster.produce("a", 0, &[(b"k", b"after")]).await.unwrap(), 1);
        assert_eq!(cluster.records("a").await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_directory_of_the_callers_stays_and_can_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let start = || TestCluster::builder().data_dir(directory.path()).start();
    let cluster =
        TestCluster::builder().data_dir(directory.path()).topic("a", 1).start().await.unwrap();
    let id = cluster.cluster_id().to_owned();
    cluster.produce("a", 0, &[(b"k", b"v")]).await.unwrap();
    cluster.stop();
    let cluster = start().await.unwrap();
    assert_eq!(cluster.cluster_id(), id);
    assert_eq!(cluster.records("a").await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_clusters_know_nothing_of_each_other() {
    let one = TestCluster::builder().topic("a", 1).start().await.unwrap();
    let two = TestCluster::start().await.unwrap();
    assert_ne!(one.bootstrap(), two.bootstrap());
    assert_ne!(one.cluster_id(), two.cluster_id());
    assert!(matches!(two.records("a").await, Err(HarnessError::Refused { .. })));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids() {
    let id = |seed| async move {
        TestCluster::builder().seed(seed).start().await.unwrap().cluster_id().to_owned()
    };
    assert_eq!(id(7).await, id(7).await);
    assert_ne!(id(7).await, id(8).await);
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_starts() {
    let unknown = TestCluster::builder().config("num.partition", "3").start().await.unwrap_err();
    assert!(unknown.to_string().contains("num.partitions"), "{unknown}");
    let topic = TestCluster::builder().topic("a/b", 1).start().await.unwrap_err();
    assert!(matches!(topic, HarnessError::Topic { .. }), "{topic}");
}
