//! The same of a replica that belongs to a group: it stays the voter that it was, or never votes again.

use std::sync::Arc;

use ottla_protocol::model::{NodeId, Offset, Uuid};
use ottla_storage::fs::sim::{SimFileSystem, SimOptions};

use super::{MOVE, STEP, directory, name, new, now, open, other, prepared};
use crate::partition::Partition;
use crate::raft::journal::{Departure, Journal, Record};
use crate::raft::succession::{Formed, LocalLog, identify, identity_of};
use crate::raft::{
    Group, GroupError, GroupId, GroupLog, GroupParts, GroupSettings, ReplicaId, Vote,
};
use crate::replicas::{History, MoveStep, Replicas};

const FRESH: Uuid = Uuid::from_u128(0xf5e5);
const OTHER: ReplicaId = ReplicaId { node: NodeId(2), directory: Uuid::from_u128(0x2222) };

fn group() -> GroupId {
    GroupId { topic: Uuid::from_u128(7), partition: name().partition }
}

fn wait<T>(on: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(on)
}

fn vote() -> Vote {
    Vote::new(9, OTHER)
}

/// A partition as it is opened at a start, and where its replica sits.
fn local(replicas: &Replicas, epoch: i32) -> (Arc<Partition>, LocalLog) {
    let partition = replicas.open_partition(new(epoch, History::Existing), now(0)).unwrap();
    let local = local_of(replicas, &partition);
    (partition, local)
}

fn local_of(replicas: &Replicas, partition: &Arc<Partition>) -> LocalLog {
    LocalLog {
        id: group(),
        node: NodeId(1),
        directory: replicas.directory_of(&name()).unwrap(),
        partition: Arc::clone(partition),
        journal: replicas.journal_of(&name()).unwrap().unwrap(),
        fresh: FRESH,
        clock: Arc::new(|| now(5_000)),
    }
}

/// What a start makes of the replica: who it is, and the last entry that it has.
fn started(
    local: &LocalLog,
    formed: Option<Formed>,
) -> Result<(ReplicaId, Option<u64>), GroupError> {
    wait(async {
        let replica = identify(local, formed).await?;
        let log = GroupLog::recover(local.seat(replica))
            .await
            .map_err(|error| GroupError::Recover(local.id, error))?;
        Ok((replica, log.with_map(|map| map.last()).map(|last| last.index)))
    })
}

/// A disk with a replica of a group that has entries, and has voted for another one.
fn grouped(seed: u64) -> (SimFileSystem, Uuid) {
    let sim = SimFileSystem::new(seed, SimOptions::default());
    let replicas = prepared(&sim);
    let partition = replicas.partition(&name()).unwrap();
    let local = local_of(&replicas, &partition);
    let parts = GroupParts {
        id: local.id,
        replica: ReplicaId { node: local.node, directory: local.directory },
        partition,
        journal: Arc::clone(&local.journal),
        settings: GroupSettings::new(Arc::clone(&local.clock)),
    };
    wait(async {
        Group::adopt(&parts).await.unwrap();
        local.journal.commit(&[Record::Vote(local.id, vote())]).await.unwrap();
    });
    replicas.close(now(2_000));
    (sim, local.directory)
}

/// What the broker does, up to where the disk fails; whether the replica has moved.
fn moved(replicas: &Replicas) -> bool {
    for _ in 0..10_000 {
        match replicas.advance_move(&name(), STEP, now(3_000)) {
            MoveStep::Copied(_) => {}
            MoveStep::Ready => break,
            _ => return false,
        }
    }
    let from = replicas.journal_of(&name()).unwrap().unwrap();
    let note = |departure| wait(from.commit(&[Record::Moved(group(), departure)]));
    if note(Departure::Begun).is_err() {
        return false;
    }
    let moved = matches!(replicas.finish_group_move(&name(), now(3_000)), MoveStep::Moved { .. });
    if moved {
        let _late = note(Departure::Done);
    }
    moved
}

fn remembered(journal: &Journal) -> Option<Vote> {
    journal.group(group()).and_then(|known| known.vote)
}

#[test]
fn a_voter_that_moves_remembers_its_vote_whenever_the_power_goes() {
    let (base, key) = grouped(21);
    let (replicas, last) = {
        let replicas = open(&base);
        let (_, local) = local(&replicas, 1);
        let (replica, last) = started(&local, None).unwrap();
        assert_eq!((replica.directory, last.is_some()), (key, true));
        (replicas, last)
    };
    let to = other(&directory(&replicas));
    replicas.close(now(2_000));
    drop(replicas);

    let mut between = 0;
    for call in 0..10_000 {
        let sim = base.fork(call);
        let replicas = open(&sim);
        let (_, here) = local(&replicas, 1);
        started(&here, None).unwrap();
        replicas.resume_moves();
        sim.power_off_at(sim.calls() + call);
        assert_eq!(replicas.alter_directory(&name(), to, MOVE), Ok(()));
        let done = moved(&replicas);
        drop((here, replicas));
        sim.crash();

        let replicas = open(&sim);
        let (_, here) = local(&replicas, 2);
        let context = format!("power off at call {call}, done {done}");
        let found = started(&here, None).unwrap();
        assert_eq!(found, (ReplicaId { node: NodeId(1), directory: key }, last), "{context}");
        assert_eq!(remembered(&here.journal), Some(vote()), "{context}");
        between += u64::from(!done && directory(&replicas) == to);
        replicas.resume_moves();
        if replicas.next_move().is_some() {
            drop(here);
            assert!(moved(&replicas), "{context}");
            let partition = replicas.partition(&name()).unwrap();
            let here = local_of(&replicas, &partition);
            assert_eq!(started(&here, None).unwrap(), found, "{context}");
            assert_eq!(remembered(&here.journal), Some(vote()), "{context}");
            assert_eq!(directory(&replicas), to, "{context}");
        }
        if done {
            assert_eq!(directory(&replicas), to, "{context}");
            assert!(between > 0, "some cuts come between the renames");
            return;
        }
    }
    panic!("the move never ends");
}

#[test]
fn what_is_made_where_a_voter_left_is_another_one() {
    let (sim, key) = grouped(22);
    let replicas = open(&sim);
    let (_, here) = local(&replicas, 1);
    started(&here, None).unwrap();
    let from = here.journal.clone();
    let began = directory(&replicas);
    replicas.alter_directory(&name(), other(&began), MOVE).unwrap();
    drop(here);
    assert!(moved(&replicas));
    let partition = replicas.partition(&name()).unwrap();
    let moved_to = local_of(&replicas, &partition);
    assert_eq!(started(&moved_to, None).unwrap().0.directory, key);
    assert_eq!(replicas.identity_of(&name()), Some((key, 0)));
    assert_eq!(remembered(&from), None, "nothing speaks for it here any more");

    // It is removed, and made again where it began.
    replicas.delete_partition(&partition, crate::raft::journal::GroupFate::GoesOn);
    let preferred = replicas.alter_directory(&name(), &began, Uuid::from_u128(3));
    assert!(preferred.is_err(), "it is not there yet");
    let mut anew = new(2, History::New);
    anew.copies = crate::partition::Copies::Several;
    let partition = replicas.open_partition(anew, now(0)).unwrap();
    assert_eq!(directory(&replicas), began);
    let local = local_of(&replicas, &partition);
    assert_eq!(started(&local, None).unwrap().0.directory, FRESH);
    assert_eq!(identity_of(&local.journal, group(), key), (FRESH, 0));
}

fn formed(leader: i32) -> Option<Formed> {
    let key = Some(Uuid::from_u128(0xbeef));
    let epoch = ottla_protocol::model::LeaderEpoch(17);
    Some(Formed { number: 1, key, leader: NodeId(leader), epoch })
}

#[test]
fn a_group_begins_anew_with_the_log_that_is_left_whenever_the_power_goes() {
    let (base, key) = grouped(23);
    for call in 0..10_000 {
        let sim = base.fork(call);
        let replicas = open(&sim);
        let (partition, here) = local(&replicas, 1);
        let before = started(&here, None).unwrap().1;
        let end = partition.log_end();
        sim.power_off_at(sim.calls() + call);
        let began = started(&here, formed(1)).is_ok();
        drop((partition, here, replicas));
        sim.crash();
        let replicas = open(&sim);
        let (partition, here) = local(&replicas, 2);
        let (me, last) = started(&here, formed(1)).unwrap();
        assert_ne!(me.directory, key, "call {call}");
        assert_eq!((partition.log_end(), last), (end, before), "call {call}");
        let known = here.journal.group(group()).unwrap();
        let (purged, members) = known.purged.unwrap();
        assert!(purged.term > 17, "later than whatever was heard of: {purged:?}");
        assert_eq!(members.membership().voter_ids().collect::<Vec<_>>(), [me]);
        if began {
            assert!(call > 0, "something is written");
            return;
        }
    }
    panic!("the group never begins");
}

#[test]
fn a_replica_of_a_former_group_lets_go_of_its_log() {
    let (sim, key) = grouped(24);
    let replicas = open(&sim);
    let (partition, here) = local(&replicas, 1);
    let (me, last) = started(&here, formed(2)).unwrap();
    assert_ne!(me.directory, key);
    assert_eq!((partition.log_end(), last), (Offset::ZERO, None));
    assert_eq!(started(&here, formed(2)).unwrap(), (me, last), "once");
    assert_eq!(remembered(&here.journal), Some(vote()), "what it voted counts");
}
