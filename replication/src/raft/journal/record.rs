//! The records of the journal: what each says, and its bytes.
//!
//! Owns: the encoding, guarded: bytes from a disk never panic and never allocate more than they are.
//! Never: what follows from a record (`state` does that).

use std::collections::{BTreeMap, BTreeSet};

use openraft::impls::EmptyNode;
use ottla_protocol::model::{NodeId, Offset, PartitionId, Uuid};

use crate::raft::{Committed, GroupId, LogId, Membership, ReplicaId, StoredMembership, Vote};

/// One thing to remember of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// What this replica voted, or whom it follows.
    Vote(GroupId, Vote),
    /// An entry that has no batch.
    Recordless(GroupId, u64, Recordless),
    /// Recordless entries and anchors from this index on are no more.
    Truncate(GroupId, u64),
    /// Entries up to this point are no more, and what the membership was there.
    Purge(GroupId, Point, StoredMembership),
    /// The log was exchanged for one that ends with this entry, all of it durable: nothing that was
    /// known of the other one's entries holds.
    Installed(GroupId, Point, StoredMembership),
    /// The log was emptied, because what was lost of it is not among the entries that peers send: a
    /// snapshot has to bring it.
    Emptied(GroupId),
    /// Records below are deleted, because the group said so; DeleteRecords.
    LogStart(GroupId, Offset),
    /// A committed entry with where its records end: applied up to here, and a place to count from.
    Anchor(GroupId, Point),
    /// The log is durable up to here, and was when this was written: what is missing below is damage.
    Synced(GroupId, Offset),
    /// This replica lost entries that it had acknowledged, of terms up to this one: it gives no vote
    /// before it has an entry of a later term.
    Suspect(GroupId, u64),
    /// A batch was read that was not as it was written: the log is to be read through at the next start.
    /// [`Record::Suspect`] says that it was.
    Verify(GroupId),
    /// The group is gone.
    Forget(GroupId),
    /// The replica was removed from this directory, whose last entry was no later than this point: its
    /// index is that of the last entry without a batch. Should it come back, it begins with nothing.
    Left(GroupId, Point),
    /// What the replica here goes by, instead of by its directory's id.
    Identity(GroupId, Identity),
    /// The replica here goes to another directory, and its votes with it.
    Moved(GroupId, Departure),
}

/// What a replica goes by in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub key: Uuid,
    /// How often the group had been formed anew when the replica became one of it.
    pub formation: u32,
    /// Of the move that brought the replica here; nil where none did.
    pub passage: Uuid,
}

/// How far a replica's way to another directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Departure {
    /// Its log may be in another directory by now. A log that is made here from now on is another
    /// replica's.
    Begun,
    /// It is there, with everything that was known of it here.
    Done,
    /// It did not go.
    Cancelled,
}

/// An entry, and the offset after its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    pub index: u64,
    pub term: u64,
    pub end: Offset,
}

impl Point {
    #[must_use]
    pub fn log_id(&self) -> LogId {
        LogId { leader_id: Committed::new(self.term), index: self.index }
    }
}

/// An entry without a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recordless {
    pub term: u64,
    /// The log end at its place: the base offset of the next batch.
    pub follows: Offset,
    pub kind: RecordlessKind,
}

/// What an entry without a batch says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordlessKind {
    Blank,
    Membership(Membership),
    /// Records below are deleted, on every replica.
    LogStart(Offset),
}

const VOTE: u8 = 1;
const RECORDLESS: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const INSTALLED: u8 = 5;
const ANCHOR: u8 = 6;
const FORGET: u8 = 7;
const SYNCED: u8 = 8;
const SUSPECT: u8 = 9;
const VERIFY: u8 = 10;
const EMPTIED: u8 = 11;
const LEFT: u8 = 12;
const DELETED: u8 = 13;
const IDENTITY: u8 = 16;
const MOVED: u8 = 15;

/// Several records, each behind its length; not one of the kinds above, which go on counting.
const TOGETHER: u8 = 255;

const BLANK: u8 = 0;
const MEMBERSHIP: u8 = 1;
const LOG_START: u8 = 2;

/// The body of a frame that says all of `records`.
pub(super) fn encode_all(records: &[Record], out: &mut Vec<u8>) {
    if let [one] = records {
        return one.encode(out);
    }
    out.push(TOGETHER);
    for record in records {
        let head = out.len();
        out.extend_from_slice(&[0; size_of::<u32>()]);
        let body = out.len();
        record.encode(out);
        let len = (out.len() - body) as u32;
        out[head..body].copy_from_slice(&len.to_le_bytes());
    }
}

/// Shows `see` the records of a frame's body; `None` where the bytes are none.
pub(super) fn decode_all(bytes: &[u8], mut see: impl FnMut(&Record)) -> Option<()> {
    let Some(mut rest) = bytes.strip_prefix(&[TOGETHER]) else {
        see(&Record::decode(bytes)?);
        return Some(());
    };
    while let Some((len, behind)) = rest.split_first_chunk() {
        let (body, next) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        see(&Record::decode(body)?);
        rest = next;
    }
    rest.is_empty().then_some(())
}

impl Record {
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Vote(group, _)
            | Self::Recordless(group, ..)
            | Self::Truncate(group, _)
            | Self::Purge(group, ..)
            | Self::Installed(group, ..)
            | Self::Emptied(group)
            | Self::LogStart(group, _)
            | Self::Anchor(group, _)
            | Self::Left(group, _)
            | Self::Synced(group, _)
            | Self::Suspect(group, _)
            | Self::Verify(group)
            | Self::Identity(group, _)
            | Self::Moved(group, _)
            | Self::Forget(group) => *group,
        }
    }

    /// It only makes a start cheaper, and may come late, from an instance that is on its way out.
    pub(super) const fn is_hint(&self) -> bool {
        matches!(self, Self::Anchor(..) | Self::Synced(..) | Self::Verify(_))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Vote(..) => VOTE,
            Self::Recordless(..) => RECORDLESS,
            Self::Truncate(..) => TRUNCATE,
            Self::Purge(..) => PURGE,
            Self::Installed(..) => INSTALLED,
            Self::Emptied(_) => EMPTIED,
            Self::LogStart(..) => DELETED,
            Self::Anchor(..) => ANCHOR,
            Self::Synced(..) => SYNCED,
            Self::Suspect(..) => SUSPECT,
            Self::Verify(_) => VERIFY,
            Self::Forget(_) => FORGET,
            Self::Left(..) => LEFT,
            Self::Identity(..) => IDENTITY,
            Self::Moved(..) => MOVED,
        };
        out.push(kind);
        let group = self.group();
        out.extend_from_slice(group.topic.as_bytes());
        out.extend_from_slice(&group.partition.get().to_le_bytes());
        match self {
            Self::Vote(_, vote) => {
                out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
                put_replica(out, vote.leader_id.voted_for);
                out.push(u8::from(vote.committed));
            }
            Self::Recordless(_, index, entry) => {
                put_point(out, &Point { index: *index, term: entry.term, end: entry.follows });
                put_kind(out, &entry.kind);
            }
            Self::Truncate(_, first) => out.extend_from_slice(&first.to_le_bytes()),
            Self::Purge(_, point, members) | Self::Installed(_, point, members) => {
                put_point(out, point);
                put_stored(out, members);
            }
            Self::Anchor(_, point) | Self::Left(_, point) => put_point(out, point),
            Self::Synced(_, offset) | Self::LogStart(_, offset) => {
                out.extend_from_slice(&offset.get().to_le_bytes());
            }
            Self::Suspect(_, term) => out.extend_from_slice(&term.to_le_bytes()),
            Self::Identity(_, identity) => {
                out.extend_from_slice(identity.key.as_bytes());
                out.extend_from_slice(&identity.formation.to_le_bytes());
                out.extend_from_slice(identity.passage.as_bytes());
            }
            Self::Moved(_, departure) => out.push(match departure {
                Departure::Begun => 0,
                Departure::Done => 1,
                Departure::Cancelled => 2,
            }),
            Self::Verify(_) | Self::Forget(_) | Self::Emptied(_) => {}
        }
    }

    /// The record, unless the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let kind = from.byte()?;
        let topic = Uuid::from_bytes(from.array()?);
        let partition = PartitionId(i32::from_le_bytes(from.array()?));
        let group = GroupId { topic, partition };
        let record = match kind {
            VOTE => {
                let term = from.u64()?;
                let mut vote = Vote::new(term, from.replica()?);
                vote.committed = from.byte()? == 1;
                Self::Vote(group, vote)
            }
            RECORDLESS => {
                let Point { index, term, end } = from.point()?;
                Self::Recordless(
                    group,
                    index,
                    Recordless { term, follows: end, kind: from.kind()? },
                )
            }
            TRUNCATE => Self::Truncate(group, from.u64()?),
            PURGE => Self::Purge(group, from.point()?, from.stored()?),
            INSTALLED => Self::Installed(group, from.point()?, from.stored()?),
            EMPTIED => Self::Emptied(group),
            DELETED => Self::LogStart(group, from.offset()?),
            ANCHOR => Self::Anchor(group, from.point()?),
            FORGET => Self::Forget(group),
            LEFT => Self::Left(group, from.point()?),
            SYNCED => Self::Synced(group, from.offset()?),
            SUSPECT => Self::Suspect(group, from.u64()?),
            VERIFY => Self::Verify(group),
            IDENTITY => {
                let key = Uuid::from_bytes(from.array()?);
                let formation = u32::from_le_bytes(from.array()?);
                let passage = Uuid::from_bytes(from.array()?);
                Self::Identity(group, Identity { key, formation, passage })
            }
            MOVED => {
                let departure = match from.byte()? {
                    0 => Departure::Begun,
                    1 => Departure::Done,
                    2 => Departure::Cancelled,
                    _ => return None,
                };
                Self::Moved(group, departure)
            }
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }
}

fn put_replica(out: &mut Vec<u8>, replica: ReplicaId) {
    out.extend_from_slice(&replica.node.get().to_le_bytes());
    out.extend_from_slice(replica.directory.as_bytes());
}

fn put_point(out: &mut Vec<u8>, point: &Point) {
    out.extend_from_slice(&point.index.to_le_bytes());
    out.extend_from_slice(&point.term.to_le_bytes());
    out.extend_from_slice(&point.end.get().to_le_bytes());
}

fn put_kind(out: &mut Vec<u8>, kind: &RecordlessKind) {
    match kind {
        RecordlessKind::Blank => out.push(BLANK),
        RecordlessKind::Membership(members) => {
            out.push(MEMBERSHIP);
            put_members(out, members);
        }
        RecordlessKind::LogStart(offset) => {
            out.push(LOG_START);
            out.extend_from_slice(&offset.get().to_le_bytes());
        }
    }
}

fn put_members(out: &mut Vec<u8>, members: &Membership) {
    let configs = members.get_joint_config();
    out.extend_from_slice(&(configs.len() as u16).to_le_bytes());
    for config in configs {
        out.extend_from_slice(&(config.len() as u16).to_le_bytes());
        config.iter().for_each(|replica| put_replica(out, *replica));
    }
    out.extend_from_slice(&(members.nodes().count() as u16).to_le_bytes());
    members.nodes().for_each(|(replica, _)| put_replica(out, *replica));
}

fn put_stored(out: &mut Vec<u8>, stored: &StoredMembership) {
    match stored.log_id() {
        Some(id) => {
            out.push(1);
            out.extend_from_slice(&id.leader_id.term.to_le_bytes());
            out.extend_from_slice(&id.index.to_le_bytes());
        }
        None => out.push(0),
    }
    put_members(out, stored.membership());
}

/// What is left of a record's bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    fn count(&mut self) -> Option<usize> {
        Some(u16::from_le_bytes(self.array()?).into())
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn offset(&mut self) -> Option<Offset> {
        Some(Offset(i64::from_le_bytes(self.array()?)))
    }

    fn replica(&mut self) -> Option<ReplicaId> {
        let node = NodeId(i32::from_le_bytes(self.array()?));
        Some(ReplicaId { node, directory: Uuid::from_bytes(self.array()?) })
    }

    fn replicas(&mut self) -> Option<BTreeSet<ReplicaId>> {
        (0..self.count()?).map(|_| self.replica()).collect()
    }

    fn point(&mut self) -> Option<Point> {
        Some(Point { index: self.u64()?, term: self.u64()?, end: self.offset()? })
    }

    fn kind(&mut self) -> Option<RecordlessKind> {
        match self.byte()? {
            BLANK => Some(RecordlessKind::Blank),
            MEMBERSHIP => Some(RecordlessKind::Membership(self.members()?)),
            LOG_START => Some(RecordlessKind::LogStart(self.offset()?)),
            _ => None,
        }
    }

    fn members(&mut self) -> Option<Membership> {
        let configs: Vec<_> = (0..self.count()?).map(|_| self.replicas()).collect::<Option<_>>()?;
        let nodes: BTreeMap<_, _> =
            self.replicas()?.into_iter().map(|r| (r, EmptyNode {})).collect();
        if configs.is_empty() && nodes.is_empty() {
            return Some(Membership::default());
        }
        Membership::new(configs, nodes).ok()
    }

    fn stored(&mut self) -> Option<StoredMembership> {
        let id = match self.byte()? {
            0 => None,
            1 => {
                let term = self.u64()?;
                Some(LogId { leader_id: Committed::new(term), index: self.u64()? })
            }
            _ => return None,
        };
        Some(StoredMembership::new(id, self.members()?))
    }
}
