//! What one replica owes to those whom it answered: that a flush is asked for whenever one is waited for.

use std::sync::Arc;

use openraft::storage::IOFlushed;
use openraft::type_config::TypeConfigExt;
use ottla_config::topic::Durability;
use ottla_protocol::model::LeaderEpoch;
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher};
use ottla_storage::{AppendOrigin, LogSettings};

use super::cluster::{batch, simulate};
use super::crashes::{STEPS, disk, entry, flushed, now, open_as, open_partition};
use crate::partition::{Copies, Outcome, SubmittedBatch, Until};
use crate::raft::group_log::GroupLog;
use crate::raft::{Entry, TypeConfig};

type Told = tokio::sync::oneshot::Receiver<std::io::Result<()>>;

/// Appends an entry; who is told once it is durable.
async fn append(log: &Arc<GroupLog>, flusher: &FlushCoordinator, entry: Entry) -> Told {
    let (sender, receiver) = TypeConfig::oneshot();
    let appending = log.append(std::iter::once(entry), IOFlushed::signal(sender));
    flushed(flusher, appending).await.unwrap();
    receiver
}

fn flush_all(flusher: &FlushCoordinator) {
    while flusher.waiting() > 0 {
        flusher.flush_pending();
    }
}

/// Whether it is told by flushes that somebody asked for.
fn is_told(flusher: &FlushCoordinator, told: &mut Told) -> bool {
    flush_all(flusher);
    matches!(told.try_recv(), Ok(Ok(())))
}

#[test]
fn what_was_not_flushed_under_page_cache_is_once_it_is_waited_for() {
    simulate(async {
        let (log, flusher) = open_as(&disk(1), Durability::PageCache).await.unwrap();
        for index in 0..3 {
            assert!(is_told(&flusher, &mut append(&log, &flusher, entry(index)).await));
        }
        let settings = log.partition.inspect(|log, _| log.settings().clone()).unwrap();
        log.partition.reconfigure(settings, Durability::Fsync, LeaderEpoch(0));
        // Without records: it waits for the batches before it.
        let mut told = append(&log, &flusher, entry(3)).await;
        assert!(is_told(&flusher, &mut told), "nobody asked for a flush");
    });
}

#[test]
fn a_flush_that_could_not_begin_is_asked_for_again() {
    simulate(async {
        let fs = disk(2);
        let (log, flusher) = open_as(&fs, Durability::Fsync).await.unwrap();
        assert!(is_told(&flusher, &mut append(&log, &flusher, entry(0)).await));
        fs.fail_always(OpMatcher::op(Op::Write).on("leader-epoch"), DiskError::NoSpace);
        let mut told = append(&log, &flusher, entry(1)).await;
        assert!(!is_told(&flusher, &mut told), "there is no room");
        fs.clear_faults();
        log.partition.flush_if_due(now().mono);
        assert!(is_told(&flusher, &mut told), "nobody asked for a flush");
    });
}

#[test]
fn a_flush_of_the_only_replica_that_could_not_begin_is_asked_for_again() {
    let fs = disk(7);
    let (partition, _, flusher) = open_partition(&fs, Durability::Fsync, Copies::One).unwrap();
    fs.fail_always(OpMatcher::op(Op::Write).on("leader-epoch"), DiskError::NoSpace);
    partition.reconfigure(LogSettings::default(), Durability::Fsync, LeaderEpoch(1));
    let batch = batch(Some((1, 0)), "value");
    let submitted = SubmittedBatch { batch, origin: AppendOrigin::Client, frame_bytes: 200 };
    let submission = partition.submit(submitted, now(), Until::Committed, None);
    flush_all(&flusher);
    assert!(matches!(submission.outcome(), Outcome::Appended(_)), "{:?}", submission.outcome());
    fs.clear_faults();
    partition.flush_if_due(now().mono);
    flush_all(&flusher);
    assert!(matches!(submission.outcome(), Outcome::Committed(_)), "{:?}", submission.outcome());
}

#[test]
fn closed_segments_are_flushed_under_page_cache() {
    simulate(async {
        let (log, flusher) = open_as(&disk(3), Durability::PageCache).await.unwrap();
        for index in 0..STEPS {
            assert!(is_told(&flusher, &mut append(&log, &flusher, entry(index)).await));
        }
        let (closed, unflushed) = log
            .partition
            .inspect(|log, _| (log.segments().count() > 1, log.closed_needs_flush()))
            .unwrap();
        assert!(closed && !unflushed, "more than one segment: {closed}, unflushed: {unflushed}");
    });
}

#[test]
fn closed_segments_of_the_only_replica_are_flushed_under_page_cache() {
    let (partition, _, flusher) =
        open_partition(&disk(8), Durability::PageCache, Copies::One).unwrap();
    for index in 0..10 {
        let batch = batch(None, &format!("value {index}"));
        let submitted = SubmittedBatch { batch, origin: AppendOrigin::Client, frame_bytes: 200 };
        let submission = partition.submit(submitted, now(), Until::Committed, None);
        assert!(matches!(submission.outcome(), Outcome::Committed(_)));
        flush_all(&flusher);
    }
    let look = partition.inspect(|log, _| (log.segments().count() > 1, log.closed_needs_flush()));
    assert_eq!(look.unwrap(), (true, false), "more than one segment, something unflushed");
}
