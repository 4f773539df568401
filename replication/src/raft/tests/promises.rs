//! What one replica owes to those whom it answered: that a flush is asked for whenever one is waited for,
//! and that what was deleted stays so.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::stream;
use openraft::storage::{IOFlushed, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use ottla_config::topic::Durability;
use ottla_protocol::model::{LeaderEpoch, Offset};
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher};
use ottla_storage::{AppendOrigin, LogSettings};

use parking_lot::Mutex;

use super::cluster::{batch, replica, simulate};
use super::crashes::{STEPS, disk, entry, flushed, now, open_as, open_partition};
use crate::partition::{Copies, Outcome, SubmittedBatch, Until};
use crate::raft::group_log::GroupLog;
use crate::raft::{Batch, Committed, Entry, Payload, StateMachine, TypeConfig, Vote};

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

fn log_start(index: u64, offset: i64) -> Entry {
    let payload = Payload::Batch(Batch::LogStart(Offset(offset)));
    Entry { term: Committed::new(2), index, payload }
}

/// Applies what was appended, from `first` on.
async fn apply(log: &Arc<GroupLog>, first: u64) {
    let entries: Vec<_> = log.with_map(|map| {
        (first..map.next()).filter_map(|index| map.entry(index)).map(|e| Ok((e, None))).collect()
    });
    StateMachine::new(Arc::clone(log)).apply(stream::iter(entries)).await.unwrap();
}

fn log_start_of(log: &GroupLog) -> Offset {
    log.partition.watermarks().log_start
}

#[test]
fn of_deletions_that_are_applied_together_the_farthest_holds() {
    simulate(async {
        let (log, flusher) = open_as(&disk(4), Durability::Fsync).await.unwrap();
        for index in 0..6 {
            append(&log, &flusher, entry(index)).await;
        }
        append(&log, &flusher, log_start(6, 3)).await;
        append(&log, &flusher, log_start(7, 1)).await;
        apply(&log, 0).await;
        assert_eq!(log_start_of(&log), Offset(3));
    });
}

/// Deletes records, has it noted that this was applied, and perhaps forgets the entry; where the log starts
/// after a crash.
async fn deleted_before_a_crash(seed: u64, purged: bool) -> Offset {
    let fs = disk(seed);
    {
        let (log, flusher) = open_as(&fs, Durability::Fsync).await.unwrap();
        for index in 0..6 {
            append(&log, &flusher, entry(index)).await;
        }
        append(&log, &flusher, log_start(6, 3)).await;
        apply(&log, 0).await;
        assert_eq!(log_start_of(&log), Offset(3));
        log.anchor(&mut log.applied.lock());
        if purged {
            let last = log.with_map(|map| map.log_id(6)).unwrap();
            flushed(&flusher, log.purge(&last)).await.unwrap();
        }
        // What the journal has is durable from here on.
        flushed(&flusher, log.journal.commit(&[])).await.unwrap();
    }
    fs.crash();
    let (log, _) = open_as(&fs, Durability::Fsync).await.unwrap();
    assert!(log.applied.lock().last.is_some_and(|last| last.index == 6), "it is not applied again");
    log_start_of(&log)
}

#[test]
fn deleted_records_stay_deleted_after_a_crash() {
    assert_eq!(simulate(deleted_before_a_crash(5, false)), Offset(3));
    assert_eq!(simulate(deleted_before_a_crash(6, true)), Offset(3), "with its entry purged");
}

#[test]
fn the_last_word_on_who_leads_is_what_holds() {
    simulate(async {
        let (log, flusher) = open_as(&disk(9), Durability::Fsync).await.unwrap();
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        // It takes its time over a leader: until the next word is out, if that can overtake this one.
        log.listen(Arc::new(move |_, told| {
            if told.leader.is_some() {
                begin.send(()).unwrap();
                let _none = ended.lock().recv_timeout(Duration::from_millis(100));
            }
        }));
        let last = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&last);
        log.listen(Arc::new(move |_, told| *heard.lock() = Some(told)));
        let stopping = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                begun.recv().unwrap();
                log.note_stopped();
                // Nobody may be waiting any more.
                let _heard = end.send(());
            })
        };
        let mut vote = Vote::new(5, replica(2));
        vote.committed = true;
        flushed(&flusher, log.save_vote(&vote)).await.unwrap();
        stopping.join().unwrap();
        assert_eq!(log.leadership().leader, None);
        assert_eq!(last.lock().map(|told| told.leader), Some(None), "an older word came last");
        assert_eq!(log.partition.leader(), None);
    });
}
