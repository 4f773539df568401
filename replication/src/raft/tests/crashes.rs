//! A replica's log and journal together through a crash at every call to the disk: what is found again is a
//! beginning of what was appended, every entry at its index and offsets, and nothing durable is missing.

use std::path::Path;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use openraft::type_config::TypeConfigExt;
use ottla_config::topic::Durability;
use ottla_protocol::model::{
    LeaderEpoch, MonoTime, NodeId, Now, Offset, PartitionId, Timestamp, TopicPartition,
};
use ottla_storage::flush::{FlushCoordinator, SyncPolicy};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{SimFileSystem, SimOptions};
use ottla_storage::{AfterRecoveryPoint, LogResources, LogSettings, OpenContext, PartitionLog};

use super::cluster::{GROUP, batch, home, replica, simulate};
use crate::partition::{Copies, Partition, PartitionParts};
use crate::raft::defects::Defect;
use crate::raft::group_log::{GroupLog, Seat};
use crate::raft::journal::{Journal, Point, Record};
use crate::raft::{Batch, Committed, Entry, GroupId, Payload, TypeConfig, Vote};

pub(super) const STEPS: u64 = 14;
/// Two batches end here, with nothing in the journal between them.
const VOTED_AFTER: u64 = 12;

pub(super) fn now() -> Now {
    Now {
        mono: MonoTime::from_start(std::time::Duration::ZERO),
        wall: Timestamp(1_700_000_000_000),
    }
}

async fn open(fs: &SimFileSystem) -> Result<(Arc<GroupLog>, FlushCoordinator), String> {
    open_as(fs, Durability::Fsync).await
}

pub(super) async fn open_as(
    fs: &SimFileSystem,
    durability: Durability,
) -> Result<(Arc<GroupLog>, FlushCoordinator), String> {
    let (partition, journal, flusher) = open_partition(fs, durability, Copies::Several)?;
    let seat = Seat { id: GROUP, me: replica(1), partition, journal, clock: Arc::new(now) };
    let recovered = GroupLog::recover(seat);
    let log = flushed(&flusher, recovered).await.map_err(|error| error.to_string())?;
    Ok((log, flusher))
}

pub(super) fn open_partition(
    fs: &SimFileSystem,
    durability: Durability,
    copies: Copies,
) -> Result<(Arc<Partition>, Arc<Journal>, FlushCoordinator), String> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let dir = Path::new("/data");
    // File after file, so that a crash comes between their syncs.
    let policy = SyncPolicy { single_max: 100, single_limit: 100 };
    let flusher = FlushCoordinator::manual(Arc::clone(&fs), dir.into(), policy);
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let journal =
        Journal::open(Arc::clone(&fs), dir, home(&flusher)).map_err(|error| text(&error))?;
    let known = journal.group(GROUP).map_or(Offset::ZERO, |records| records.synced);
    let context = OpenContext {
        recovery_point: known,
        after_recovery_point: AfterRecoveryPoint::Cut,
        ..OpenContext::new(now(), LogResources::new(8, 1 << 20))
    };
    let path = dir.join("topic-0");
    fs.create_dir_all(&path).map_err(|error| text(&error))?;
    let settings = LogSettings { segment_bytes: 400, ..LogSettings::default() };
    let (mut log, _) = PartitionLog::open(Arc::clone(&fs), path, settings, &context)
        .map_err(|error| text(&error))?;
    log.flush_now().map_err(|error| text(&error))?;
    fs.sync_dir(dir).map_err(|error| text(&error))?;
    let partition = Partition::new(PartitionParts {
        name: TopicPartition::new("topic", 0),
        topic_id: GROUP.topic,
        node: NodeId(1),
        epoch: log.latest_epoch().unwrap_or(LeaderEpoch(0)),
        log,
        copies,
        durability,
        home: home(&flusher),
        flush_is_free: false,
    });
    Ok((partition, journal, flusher))
}

/// What stands at each index: terms rise now and then, with a blank entry, as leaders do.
fn points() -> Vec<Point> {
    let mut end = Offset::ZERO;
    (0..STEPS)
        .map(|index| {
            if !index.is_multiple_of(3) {
                end = end.next();
            }
            Point { index, term: index / 3 + 1, end }
        })
        .collect()
}

pub(super) fn entry(index: u64) -> Entry {
    let points = points();
    let Point { term, end, .. } = points[index as usize];
    let payload = if index.is_multiple_of(3) {
        Payload::Blank
    } else {
        let batch = batch(None, &format!("value {index}"));
        let mut bytes = batch.header.assign(end.plus(-1), LeaderEpoch(term as i32)).to_vec();
        bytes.extend_from_slice(&batch.payload);
        Payload::Batch(Batch::Received(bytes.into()))
    };
    Entry { term: Committed::new(term), index, payload }
}

/// Runs `act` while the flush thread works.
pub(super) async fn flushed<T>(flusher: &FlushCoordinator, act: impl Future<Output = T>) -> T {
    let flushing = async {
        loop {
            flusher.flush_pending();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = act => done,
        () = flushing => unreachable!("it flushes for ever"),
    }
}

/// The journal, which all groups of a disk share, is the next to be synced.
async fn journal_first(log: &GroupLog, flusher: &FlushCoordinator) -> bool {
    let other = GroupId { partition: PartitionId(1), ..GROUP };
    let record = [Record::Vote(other, Vote::new(1, replica(2)))];
    flushed(flusher, log.journal.commit(&record)).await.is_ok()
        && log.journal.write(&record).is_ok()
}

/// A vote after entries that are not durable yet. openraft takes them for durable once it has it.
async fn vote(log: &Arc<GroupLog>, flusher: &FlushCoordinator) -> bool {
    flushed(flusher, log.save_vote(&Vote::new(STEPS, replica(2)))).await.is_ok()
}

/// Appends until the power fails; how many entries Raft was told of as durable.
async fn append(fs: &SimFileSystem) -> u64 {
    let Ok((log, flusher)) = open(fs).await else { return 0 };
    let mut told = Vec::new();
    let (mut index, mut voted) = (0, 0);
    while index < STEPS {
        if index == VOTED_AFTER - 2 && !journal_first(&log, &flusher).await {
            break;
        }
        // A request brings two entries.
        let upto = (index + 2).min(STEPS);
        let (sender, receiver) = TypeConfig::oneshot();
        told.push((upto, receiver));
        let appending = log.append((index..upto).map(entry), IOFlushed::signal(sender));
        let flushing = async {
            // A while later, so that writes wait for each other.
            tokio::task::yield_now().await;
            loop {
                flusher.flush_pending();
                tokio::task::yield_now().await;
            }
        };
        let appended = tokio::select! {
            biased;
            appended = appending => appended,
            () = flushing => unreachable!("it flushes for ever"),
        };
        if appended.is_err() {
            break;
        }
        index = upto;
        if index == VOTED_AFTER && vote(&log, &flusher).await {
            voted = index;
        }
    }
    flusher.flush_pending();
    let mut durable = voted;
    for (upto, mut receiver) in told {
        if let Ok(Ok(())) = receiver.try_recv() {
            durable = durable.max(upto);
        }
    }
    durable
}

/// The first thing that was not true after a crash at any call.
fn crash_everywhere() -> Result<(), String> {
    simulate(async {
        let calls = {
            let fs = disk(0);
            let before = fs.calls();
            assert_eq!(append(&fs).await, STEPS);
            fs.calls() - before
        };
        for call in 0..calls {
            for seed in 0..4 {
                let fs = disk(seed ^ call << 8);
                fs.power_off_at(fs.calls() + call);
                let durable = append(&fs).await;
                fs.crash();
                let at = format!("call {call}, seed {seed}, {durable} durable");
                let (log, _) = open(&fs).await.map_err(|error| format!("{at}: {error}"))?;
                let found: Vec<Point> =
                    log.with_map(|map| (0..map.next()).filter_map(|i| map.point(i)).collect());
                if !points().starts_with(&found) {
                    return Err(format!("{at}: {found:?}"));
                }
                if (found.len() as u64) < durable {
                    return Err(format!("{at}: only {} are left", found.len()));
                }
                if log.journal.group(GROUP).is_some_and(|records| records.suspect.is_some()) {
                    return Err(format!("{at}: distrust without damage"));
                }
            }
        }
        Ok(())
    })
}

pub(super) fn disk(seed: u64) -> SimFileSystem {
    disk_of(seed, SimOptions::default())
}

pub(super) fn disk_of(seed: u64, options: SimOptions) -> SimFileSystem {
    let fs = SimFileSystem::new(seed, options);
    fs.create_dir_all(Path::new("/data")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

#[test]
fn every_entry_is_at_its_index_after_a_crash_at_every_call() {
    crash_everywhere().unwrap();
}

#[test]
fn a_recordless_entry_that_is_not_waited_for_is_found() {
    Defect::activate(Some(Defect::RecordlessNotSynced));
    let found = crash_everywhere();
    Defect::activate(None);
    assert!(found.is_err(), "the crash tests do not see it");
}

#[test]
fn a_vote_that_overtakes_entries_is_found() {
    Defect::activate(Some(Defect::VoteOvertakes));
    let found = crash_everywhere();
    Defect::activate(None);
    assert!(found.is_err(), "the crash tests do not see it");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    Defect::activate(Some(Defect::AckBeforeSync));
    let found = crash_everywhere();
    Defect::activate(None);
    assert!(found.is_err(), "the crash tests do not see it");
}

#[test]
fn rot_in_what_was_durable_before_a_truncation_is_no_torn_end() {
    simulate(async {
        let fs = disk(1);
        assert_eq!(append(&fs).await, STEPS);
        {
            let (log, flusher) = open(&fs).await.unwrap();
            let end = log.with_map(|map| map.end());
            let synced = [Record::Synced(GROUP, end)];
            flushed(&flusher, log.journal.commit(&synced)).await.unwrap();
            flushed(&flusher, log.truncate(STEPS - 3)).await.unwrap();
            let left = log.with_map(|map| map.end());
            assert!(left < end);
            assert_eq!(log.journal.group(GROUP).unwrap().synced, left);
        }
        fs.crash();
        // In the payload of the last batch that is left.
        let folder = Path::new("/data/topic-0");
        let logs = fs.list(folder).unwrap().into_iter();
        let mut logs = logs;
        let last = logs.rfind(|file| file.name.ends_with(".log") && file.len > 0).unwrap();
        fs.flip_bit(&folder.join(last.name), (last.len - 2) * 8).unwrap();
        let (log, _) = open(&fs).await.unwrap();
        assert!(!log.may_vote(), "it passed for an end that was never promised");
    });
}

#[test]
fn a_truncation_and_a_purge_are_durable_when_they_return() {
    simulate(async {
        for seed in 0..8 {
            let fs = disk(seed);
            assert_eq!(append(&fs).await, STEPS);
            let (log, flusher) = open(&fs).await.unwrap();
            // From an entry without a batch on: only the journal says that it is gone.
            flushed(&flusher, log.truncate(STEPS - 2)).await.unwrap();
            fs.crash();
            drop(log);
            let (log, flusher) = open(&fs).await.unwrap();
            let next = log.with_map(|map| map.next());
            assert_eq!(next, STEPS - 2, "seed {seed}: what was cut came back");
            let upto = log.with_map(|map| map.log_id(4)).unwrap();
            flushed(&flusher, log.purge(&upto)).await.unwrap();
            fs.crash();
            drop(log);
            let (log, _) = open(&fs).await.unwrap();
            let purged = log.with_map(|map| map.purged()).map(|point| point.index);
            assert_eq!(purged, Some(4), "seed {seed}: what was purged came back");
        }
    });
}

/// Cuts the log's last entries away, until the power fails.
async fn cut(fs: &SimFileSystem) -> Result<(), String> {
    let (log, flusher) = open(fs).await?;
    let cut = flushed(&flusher, log.truncate(STEPS - 3)).await;
    cut.map_err(|error| error.to_string())
}

#[test]
fn what_was_cut_on_purpose_is_not_missed_after_a_crash_at_any_call() {
    simulate(async {
        let filled = disk(3);
        assert_eq!(append(&filled).await, STEPS);
        {
            let (log, flusher) = open(&filled).await.unwrap();
            let synced = [Record::Synced(GROUP, log.with_map(|map| map.end()))];
            flushed(&flusher, log.journal.commit(&synced)).await.unwrap();
        }
        let calls = {
            let fs = filled.fork(0);
            let before = fs.calls();
            cut(&fs).await.unwrap();
            fs.calls() - before
        };
        let mut between = 0;
        for call in 0..calls {
            for seed in 0..4 {
                let fs = filled.fork(seed ^ call << 8);
                fs.power_off_at(fs.calls() + call);
                let _cut = cut(&fs).await;
                fs.crash();
                let at = format!("call {call}, seed {seed}");
                let journal = open_partition(&fs, Durability::Fsync, Copies::Several);
                let synced = journal.unwrap().1.group(GROUP).unwrap().synced;
                let (log, _) = open(&fs).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(log.may_vote(), "{at}: it takes what was cut for lost");
                let (next, end) = log.with_map(|map| (map.next(), map.end()));
                assert!((STEPS - 3..=STEPS).contains(&next), "{at}: {next} entries are left");
                between += u32::from(synced > end);
                let known = log.journal.group(GROUP).unwrap();
                assert!(known.synced <= end && known.suspect.is_none(), "{at}: {known:?}");
            }
        }
        assert!(between > 0, "no crash came between the cut and the journal's word of it");
    });
}
