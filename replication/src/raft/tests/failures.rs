//! Disks that fail and fill under a replica: its instance ends where it must, and that is told.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::model::Offset;
use ottla_storage::AppendOrigin;
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher};

use super::cluster::{Cluster, GROUP, batch, replica, simulate};
use super::scenarios::retain;
use crate::partition::{SubmittedBatch, Until};
use crate::raft::journal::GroupFate;

#[test]
fn a_journal_that_fails_under_a_pending_entry_is_told_of() {
    simulate(async {
        let cluster = Cluster::formed(31).await;
        let leader = cluster.leader().await;
        cluster.produce(leader, "one").await;
        cluster.produce(leader, "two").await;
        cluster.converge().await;
        let follower = (leader + 1) % 3;
        let journal = OpMatcher::op(Op::SyncData).on("replica-journal");
        cluster.nodes[follower].fs.fail_always(journal, DiskError::Io);
        let group = cluster.group(leader).clone();
        assert_eq!(group.delete_records(Offset(1)).await.unwrap(), Offset(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(cluster.group(follower).failure().is_some(), "nobody would start it again");
    });
}

#[test]
fn a_snapshot_that_cannot_be_installed_ends_the_instance_and_another_can_be_started() {
    simulate(async {
        let mut cluster = Cluster::formed_of(32, 4).await;
        let leader = cluster.leader().await;
        for index in 0..200 {
            cluster.produce(leader, &format!("value-{index:04}")).await;
        }
        cluster.converge().await;
        retain(&cluster, 6_000).await;
        cluster.start(3).await.unwrap();
        let group = cluster.group(leader).clone();
        group.add_learner(replica(4)).await.unwrap();
        while cluster.net.with(|links| links.snapshots) == 0 {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        // It is on its way, and what it ends with cannot be noted.
        let journal = OpMatcher::op(Op::Write).on("replica-journal");
        cluster.nodes[3].fs.fail_always(journal, DiskError::NoSpace);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(cluster.group(3).failure().is_some(), "nobody would start it again");
        cluster.nodes[3].fs.clear_faults();
        cluster.crash(3);
        cluster.start(3).await.unwrap();
        cluster.converge().await;
        assert_eq!(cluster.committed_bytes(3), cluster.committed_bytes(leader));
    });
}

#[test]
fn a_disk_that_fails_while_the_log_is_cut_takes_its_directory_offline() {
    simulate(async {
        for way in 0..3 {
            let mut cluster = Cluster::new(34 + way, 1);
            cluster.start_alone(0).await;
            let partition = cluster.alone(0).clone();
            let now = cluster.now();
            let given = SubmittedBatch {
                batch: batch(None, "one"),
                origin: AppendOrigin::Client,
                frame_bytes: 200,
            };
            let _appended = partition.submit(given, now, Until::Appended, None);
            for op in [Op::SetLen, Op::Write, Op::Open, Op::Rename, Op::SyncDir, Op::RemoveFile] {
                cluster.nodes[0].fs.fail_always(OpMatcher::op(op), DiskError::Io);
            }
            let failed = match way {
                0 => partition.cut(Offset(0), now).is_err(),
                1 => partition.cut_damage(Offset(0), now).is_err(),
                _ => partition.restart_log(Offset(9), now).is_err(),
            };
            assert!(failed, "way {way}");
            assert!(partition.is_offline(), "way {way}");
        }
    });
}

#[test]
fn a_full_disk_while_the_log_is_cut_takes_nothing_offline() {
    simulate(async {
        let mut cluster = Cluster::new(37, 1);
        cluster.start_alone(0).await;
        let partition = cluster.alone(0).clone();
        for value in ["one", "two"] {
            let given = SubmittedBatch {
                batch: batch(None, value),
                origin: AppendOrigin::Client,
                frame_bytes: 200,
            };
            let _appended = partition.submit(given, cluster.now(), Until::Appended, None);
        }
        let disk = &cluster.nodes[0].fs;
        disk.fail_always(OpMatcher::op(Op::Write), DiskError::NoSpace);
        assert!(partition.cut(Offset(1), cluster.now()).is_err());
        assert!(!partition.is_offline(), "there may be room again");
        disk.clear_faults();
        partition.cut(Offset(1), cluster.now()).unwrap();
        assert_eq!(partition.log_end(), Offset(1));
    });
}

/// The folder of a replica's log, of which its journal remembers to have been durable.
fn lose_folder(cluster: &Cluster, node: usize) {
    let fs = &cluster.nodes[node].fs;
    fs.remove_dir_all(std::path::Path::new("/data/topic-0")).unwrap();
    fs.sync_dir(std::path::Path::new("/data")).unwrap();
}

async fn folder_is_gone(seed: u64, retained: Option<u64>) {
    let mut cluster = Cluster::formed(seed).await;
    let leader = cluster.leader().await;
    for index in 0..200 {
        cluster.produce(leader, &format!("value-{index:04}")).await;
    }
    cluster.converge().await;
    if let Some(bytes) = retained {
        retain(&cluster, bytes).await;
    }
    let lost = (leader + 1) % 3;
    cluster.stop(lost).await;
    lose_folder(&cluster, lost);
    cluster.start(lost).await.unwrap();
    assert!(!cluster.group(lost).may_lead(), "it forgot what it acknowledged");
    cluster.produce(leader, "more").await;
    cluster.converge().await;
}

#[test]
fn a_replica_whose_folder_is_gone_gets_all_back_and_votes_no_sooner() {
    simulate(folder_is_gone(33, None));
    simulate(folder_is_gone(33, Some(6_000)));
}

/// Two replicas have acknowledged records, one of them at once loses its folder, the other one goes away: whether
/// the first came to lead with the third, and how many records there were in the end.
async fn folder_is_gone_where_a_majority_knows_less() -> (bool, usize) {
    let mut cluster = Cluster::formed(36).await;
    let leader = cluster.leader().await;
    let (lost, behind) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.crash(behind);
    // What is acknowledged in the first moments counts, too.
    for index in 0..3 {
        cluster.produce(leader, &format!("v{index}")).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.crash(lost);
    lose_folder(&cluster, lost);
    cluster.crash(leader);
    cluster.start(lost).await.unwrap();
    cluster.start(behind).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let led = cluster.leader_now().is_some();
    cluster.start(leader).await.unwrap();
    let leader = cluster.leader().await;
    cluster.converge().await;
    (led, cluster.values(leader).len())
}

#[test]
fn a_replica_whose_folder_is_gone_makes_nobody_lead_who_knows_less() {
    assert_eq!(simulate(folder_is_gone_where_a_majority_knows_less()), (false, 3));
}

#[test]
fn a_replica_that_was_removed_comes_back_to_the_same_directory() {
    simulate(async {
        let mut cluster = Cluster::formed(35).await;
        let leader = cluster.leader().await;
        for index in 0..20 {
            cluster.produce(leader, &format!("value-{index:04}")).await;
        }
        cluster.converge().await;
        let gone = (leader + 1) % 3;
        let others = (0..3).filter(|node| *node != gone).map(|node| cluster.nodes[node].id);
        let others: BTreeSet<_> = others.collect();
        let group = cluster.group(leader).clone();
        group.change_voters(others.clone()).await.unwrap();
        let left = {
            let group = cluster.group(gone).clone();
            let journal = group.log.journal.clone();
            cluster.stop(gone).await;
            let last = group
                .partition()
                .inspect(|log, _| (log.latest_epoch().unwrap().get() as u64, log.log_end()));
            let last = last.unwrap();
            group.log.journal.leave(GROUP, GroupFate::GoesOn, last).unwrap();
            // What the instance says on its way out counts no more.
            drop(group);
            let known = journal.group(GROUP).unwrap();
            assert!(known.away && known.anchors.is_empty());
            last.1
        };
        // The folder may be there still when the power fails.
        assert!(left > Offset::ZERO);
        cluster.produce(leader, "meanwhile").await;
        cluster.start(gone).await.unwrap();
        assert_eq!(cluster.partition(gone).log_end(), Offset::ZERO, "the log of another time");
        assert!(!cluster.group(gone).may_lead(), "it forgot what it acknowledged");
        group.add_learner(cluster.nodes[gone].id).await.unwrap();
        cluster.converge().await;
        assert!(cluster.group(gone).may_lead(), "it has it all again, in the same term");
        let all: BTreeSet<_> = cluster.nodes.iter().map(|node| node.id).collect();
        group.change_voters(all).await.unwrap();
        cluster.produce(leader, "more").await;
        cluster.crash(gone);
        cluster.start(gone).await.unwrap();
        cluster.converge().await;
        assert_eq!(cluster.committed_bytes(gone), cluster.committed_bytes(leader));
    });
}
