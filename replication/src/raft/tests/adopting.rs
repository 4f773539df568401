//! A log of one replica on its way to be a group's: a power cut at any call to the disk leaves one that can be
//! adopted, with all that was acknowledged.

use std::sync::Arc;

use ottla_config::topic::Durability;
use ottla_protocol::model::{LeaderEpoch, Offset, PartitionId, Uuid};
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::sim::{SimFileSystem, SimOptions};
use ottla_storage::{AppendOrigin, LogSettings};

use super::cluster::{GROUP, batch, replica, simulate};
use super::crashes::{disk_of, flushed, now, open_partition};
use crate::partition::{Copies, Outcome, SubmittedBatch, Until};
use crate::raft::group_log::{GroupLog, Seat};
use crate::raft::journal::{Point, Record};
use crate::raft::{Group, GroupId, GroupParts, GroupSettings, Membership, StoredMembership, Vote};

const RECORDS: i64 = 6;
/// What the metadata had said of the leader's epoch by then.
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// A disk that keeps most of what was not synced, up to some sector.
fn tearing(seed: u64) -> SimFileSystem {
    disk_of(
        seed,
        SimOptions {
            keep_block_per_million: 900_000,
            torn_block_per_million: 900_000,
            ..SimOptions::default()
        },
    )
}

/// Records of the time with one replica, and what the journal has of `others` other groups.
async fn fill(fs: &SimFileSystem, others: u32) {
    let (partition, journal, flusher) = open_partition(fs, Durability::Fsync, Copies::One).unwrap();
    for index in 0..RECORDS {
        if index == 2 {
            partition.reconfigure(
                LogSettings { segment_bytes: 400, ..LogSettings::default() },
                Durability::Fsync,
                EPOCH,
            );
        }
        let batch = batch(None, &format!("value {index}"));
        let given = SubmittedBatch { batch, origin: AppendOrigin::Client, frame_bytes: 200 };
        let submission = partition.submit(given, now(), Until::Committed, None);
        while flusher.waiting() > 0 {
            flusher.flush_pending();
        }
        assert!(matches!(submission.outcome(), Outcome::Committed(_)));
    }
    for other in 0..others {
        let group = GroupId { topic: Uuid::from_u128(5), partition: PartitionId(other as i32) };
        journal.write(&[Record::Vote(group, Vote::new(1, replica(2)))]).unwrap();
    }
    flushed(&flusher, journal.commit(&[])).await.unwrap();
}

/// A partition with one replica, before it gets more.
struct Lonely {
    parts: GroupParts,
    flusher: FlushCoordinator,
}

impl Lonely {
    fn open(fs: &SimFileSystem) -> Self {
        let (partition, journal, flusher) =
            open_partition(fs, Durability::Fsync, Copies::One).unwrap();
        let settings = GroupSettings::new(Arc::new(now));
        let parts = GroupParts { id: GROUP, replica: replica(1), partition, journal, settings };
        Self { parts, flusher }
    }

    /// What a broker does once the partition is to have more replicas.
    async fn adopt(self) -> Result<Arc<GroupLog>, String> {
        let Self { parts, flusher } = self;
        let adopted = flushed(&flusher, Group::adopt(&parts)).await;
        adopted.map_err(|error| error.to_string())?;
        let GroupParts { id, replica, partition, journal, .. } = parts;
        let seat = Seat { id, me: replica, partition, journal, clock: Arc::new(now) };
        let recovered = GroupLog::recover(seat);
        flushed(&flusher, recovered).await.map_err(|error| error.to_string())
    }
}

/// All is there, and the replica may stand for election.
fn check(log: &GroupLog, at: &str) {
    assert!(log.may_vote(), "{at}: it distrusts itself");
    let last = log.with_map(|map| map.last()).unwrap();
    let expected = Point { index: RECORDS as u64, term: EPOCH.get() as u64, end: Offset(RECORDS) };
    assert_eq!(last, expected, "{at}");
    assert_eq!(log.partition.high_watermark(), Offset(RECORDS), "{at}: what was committed is");
    assert_eq!(log.vote().unwrap().leader_id.term, expected.term, "{at}");
}

#[test]
fn a_power_cut_at_any_call_of_an_adoption_leaves_a_log_that_can_be_adopted() {
    simulate(async {
        // So that what it writes to the journal goes beyond a sector at one place after the other.
        for others in [0, 3, 4, 5] {
            let filled = tearing(u64::from(others));
            fill(&filled, others).await;
            let cut_at = async |call: u64, seed: u64| {
                let fs = filled.fork(seed ^ call << 8);
                let lonely = Lonely::open(&fs);
                let before = fs.calls();
                fs.power_off_at(before + call);
                let adopted = lonely.adopt().await;
                let calls = fs.calls() - before;
                fs.crash();
                let at = format!("{others} others, call {call}, seed {seed}");
                let again = Lonely::open(&fs).adopt().await;
                check(&again.unwrap_or_else(|error| panic!("{at}: {error}")), &at);
                (adopted.is_ok(), calls)
            };
            let (whole, calls) = cut_at(1000, 0).await;
            assert!(whole && calls < 50, "{calls} calls");
            for call in 0..calls {
                for seed in 0..6 {
                    cut_at(call, seed).await;
                }
            }
        }
    });
}

#[test]
fn an_adoption_of_which_the_journal_has_only_the_beginning_is_made_again() {
    simulate(async {
        let fs = tearing(1);
        fill(&fs, 0).await;
        {
            let (_, journal, flusher) =
                open_partition(&fs, Durability::Fsync, Copies::One).unwrap();
            let start = Point { index: 0, term: 0, end: Offset::ZERO };
            let voters = Membership::new_with_defaults(vec![[replica(1)].into()], []);
            let members = StoredMembership::new(Some(start.log_id()), voters);
            // As a version before this one left it, whose records came to the disk one by one.
            let first = [Record::Purge(GROUP, start, members)];
            flushed(&flusher, journal.commit(&first)).await.unwrap();
        }
        check(&Lonely::open(&fs).adopt().await.unwrap(), "after the first record");
    });
}
