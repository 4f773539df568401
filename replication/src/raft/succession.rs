//! Who a replica is, when it is not who its directory says.
//!
//! Owns: the id that a replica goes by after its log moved to another directory (KIP-113), and after its
//! group was formed anew (an unclean election); what it takes along and what it lets go of. Never: moves a
//! log, or decides that a group is formed anew.
//!
//! A replica that moves stays the voter that it was: its votes and the rest of what the journal holds travel
//! in its log's folder, and so appear in the other directory in the moment in which the log does. The id of
//! the directory that it left is used up there: whatever is made there later is another replica, because it
//! knows nothing of the votes. Invariants: at any moment one directory at most speaks for an id; an id that
//! has voted never goes without its votes.
//!
//! A group that is formed anew has replicas with other ids throughout. One of them begins it with the log
//! that it has; whatever the others have is not the group's any more.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, Uuid};

use super::group_log::{Clock, GroupLog, RecoverError, Seat};
use super::journal::{Departure, GroupRecords, Identity, Point, Record, all_opened, all_sealed};
use super::{Group, GroupError, GroupId, Journal, Membership, ReplicaId, StoredMembership, Vote};
use crate::partition::Partition;

/// Records in one frame of a journal.
const RECORDS_AT_ONCE: usize = 1_024;

/// How the metadata has a group formed anew, for one of its replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formed {
    /// Counts the formations of the group.
    pub number: u32,
    /// What the replica goes by from then on; `None` where the metadata does not speak of this one, but of
    /// one in another directory.
    pub key: Option<Uuid>,
    /// The node whose replica begins the group.
    pub leader: NodeId,
    /// No leader before had a later epoch, as far as was known.
    pub epoch: LeaderEpoch,
}

/// A log that is, or is to be, a replica's.
#[derive(Clone)]
pub struct LocalLog {
    pub id: GroupId,
    pub node: NodeId,
    /// The log directory that holds the partition.
    pub directory: Uuid,
    pub partition: Arc<Partition>,
    /// Of that directory.
    pub journal: Arc<Journal>,
    /// An id that nothing ever went by.
    pub fresh: Uuid,
    pub clock: Clock,
}

impl std::fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalLog").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LocalLog {
    fn replica(&self, key: Uuid) -> ReplicaId {
        ReplicaId { node: self.node, directory: key }
    }

    /// The place of the replica that it is.
    pub(crate) fn seat(&self, me: ReplicaId) -> Seat {
        let (partition, journal) = (Arc::clone(&self.partition), Arc::clone(&self.journal));
        Seat { id: self.id, me, partition, journal, clock: Arc::clone(&self.clock) }
    }

    fn known(&self) -> GroupRecords {
        self.journal.group(self.id).unwrap_or_default()
    }

    async fn go_by(&self, key: Uuid, formation: u32) -> io::Result<()> {
        let identity = Identity { key, formation, passage: Uuid::nil() };
        self.journal.commit(&[Record::Identity(self.id, identity)]).await
    }
}

/// What the replica in a directory goes by now, and of how many formations of its group it knows.
#[must_use]
pub fn identity_of(journal: &Journal, id: GroupId, directory: Uuid) -> (Uuid, u32) {
    let identity = journal.group(id).and_then(|known| known.identity);
    identity.map_or((directory, 0), |identity| (identity.key, identity.formation))
}

/// Finds out who a replica is, before its group starts; takes up what a move brought, and begins anew where
/// the group did. Everything that follows from it is durable on return.
///
/// # Errors
/// The disk's, or log and journal do not fit together.
pub async fn identify(local: &LocalLog, formed: Option<Formed>) -> Result<ReplicaId, GroupError> {
    let recover = |error| GroupError::Recover(local.id, error);
    take_up(local).await.map_err(recover)?;
    let known = local.known();
    let empty = local.partition.log_end() == Offset::ZERO;
    if known.moved && empty {
        // Another replica left from here with its votes.
        tracing::info!(group = %local.id, key = %local.fresh, "a new replica where another one was");
        local.journal.commit(&[Record::Moved(local.id, Departure::Done)]).await?;
        local.go_by(local.fresh, formed.map_or(0, |formed| formed.number)).await?;
        return Ok(local.replica(local.fresh));
    }
    let (key, formation) = identity_of(&local.journal, local.id, local.directory);
    let Some(formed) = formed.filter(|formed| formed.number > formation) else {
        return Ok(local.replica(key));
    };
    let bare = known.is_bare() && empty;
    let new = match formed.key {
        Some(given) => given,
        // It came after that, with nothing.
        None if bare => key,
        None => local.fresh,
    };
    let begins = formed.leader == local.node && (formed.key.is_some() || !bare);
    if begins {
        begin(local, key, (new, formed)).await?;
    } else if bare {
        local.go_by(new, formed.number).await?;
    } else {
        give_way(local, (new, formed)).await?;
    }
    Ok(local.replica(new))
}

/// What travels with a log that moves: all that its replica must remember, and which move it is.
#[must_use]
pub fn passage(journal: &Journal, id: GroupId, directory: Uuid, passage: Uuid) -> Vec<u8> {
    let (key, formation) = identity_of(journal, id, directory);
    let mut known = journal.group(id).unwrap_or_default();
    known.moved = false;
    known.identity = None;
    // Where to count from: the last of them does.
    let last = known.anchors.last_key_value().map(|(index, at)| (*index, *at));
    known.anchors = last.into_iter().collect();
    let mut records = known.records(id);
    records.push(Record::Identity(id, Identity { key, formation, passage }));
    all_sealed(&records)
}

/// Gives the journal what came with a log from another directory.
async fn take_up(local: &LocalLog) -> Result<(), RecoverError> {
    let Some(bytes) = local.partition.inspect(|log, _| log.passage())?? else { return Ok(()) };
    let came = all_opened(&bytes).and_then(|records| match records.last() {
        Some(Record::Identity(id, identity)) if *id == local.id => Some((*identity, records)),
        _ => None,
    });
    let Some((identity, records)) = came else {
        let text = "what this replica voted in another directory is not known any more".to_owned();
        return Err(RecoverError::Broken(text));
    };
    if local.known().identity != Some(identity) {
        let mut all = vec![Record::Forget(local.id)];
        all.extend(records);
        // The last one says that all of them are there: a start that lacks it does this again.
        for some in all.chunks(RECORDS_AT_ONCE) {
            local.journal.commit(some).await?;
        }
        tracing::info!(group = %local.id, "a replica goes on in another directory");
    }
    // Before the group votes: it must never be taken up again.
    Ok(local.partition.inspect(|log, _| log.forget_passage())??)
}

/// Makes a replica the only one of its group, with the log that it has.
async fn begin(
    local: &LocalLog,
    before: Uuid,
    (key, formed): (Uuid, Formed),
) -> Result<(), GroupError> {
    let before = local.replica(before);
    let log = GroupLog::recover(local.seat(before))
        .await
        .map_err(|error| GroupError::Recover(local.id, error))?;
    let last = log.with_map(|map| map.last());
    let (start, end) = (log.partition.watermarks().log_start, log.partition.log_end());
    drop(log);
    let known = local.known();
    let terms = [
        last.map(|last| last.term),
        known.vote.map(|vote| vote.leader_id.term),
        known.suspect,
        known.left.map(|left| left.term),
        u64::try_from(formed.epoch.get()).ok(),
    ];
    // Later than all that anybody is known to have led in; what was promised before binds nobody now.
    let term = terms.into_iter().flatten().max().unwrap_or(0) + 1;
    let point = Point { index: last.map_or(0, |last| last.index), term, end };
    let me = local.replica(key);
    let voters = Membership::new_with_defaults(vec![BTreeSet::from([me])], []);
    let members = StoredMembership::new(Some(point.log_id()), voters);
    let identity = Identity { key, formation: formed.number, passage: Uuid::nil() };
    tracing::error!(
        group = %local.id, epoch = term + 1, %start, %end,
        "UNCLEAN ELECTION: this replica alone is the group from now on; what others had acknowledged beyond \
         offset {end} is lost"
    );
    let records = [
        Record::Purge(local.id, point, members),
        Record::Vote(local.id, Vote::new(term, me)),
        // Last: a start that lacks it does all of this again.
        Record::Identity(local.id, identity),
    ];
    Ok(local.journal.commit(&records).await?)
}

/// Lets go of a log that is not the group's any more.
async fn give_way(local: &LocalLog, (key, formed): (Uuid, Formed)) -> Result<(), GroupError> {
    let marks = local.partition.watermarks();
    let known = local.known();
    let committed = known.applied().map_or(Offset::ZERO, |point| point.end);
    tracing::error!(
        group = %local.id,
        leader = %formed.leader,
        log_start = %marks.log_start,
        log_end = %marks.log_end,
        "UNCLEAN ELECTION: the group was formed anew from the replica of node {} while this one was away. The \
         log here, offsets {} to {}, of which at least those below {committed} were committed, is not the \
         group's any more and is replaced by that of node {}",
        formed.leader, marks.log_start, marks.log_end, formed.leader
    );
    let nothing = Point { index: 0, term: 0, end: Offset::ZERO };
    let identity = Identity { key, formation: formed.number, passage: Uuid::nil() };
    let records = [Record::Left(local.id, nothing), Record::Identity(local.id, identity)];
    Ok(local.journal.commit(&records).await?)
}

/// What a replica could begin a group with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Term and index of its last entry.
    pub last: Option<(u64, u64)>,
    pub log_end: Offset,
    /// Everything below is known here to be committed.
    pub committed: Offset,
    /// The latest term that it heard of.
    pub epoch: LeaderEpoch,
    /// Whether it remembers all that it ever acknowledged.
    pub whole: bool,
    pub voters: Vec<ReplicaId>,
}

impl Group {
    /// What this replica could begin the group anew with.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let last = self.log.with_map(|map| map.last());
        let marks = self.log.partition.watermarks();
        Standing {
            last: last.map(|last| (last.term, last.index)),
            log_end: marks.log_end,
            committed: marks.high_watermark,
            epoch: self.leadership().epoch,
            whole: self.may_lead(),
            voters: self.membership().voter_ids().collect(),
        }
    }
}
