//! What the journal knows of each group, after all records so far.
//!
//! Owns: what a record changes, and the records that say the same as the state. Never: files.

use std::collections::BTreeMap;

use ottla_protocol::model::Offset;

use super::record::{Departure, Identity, Point, Record, Recordless};
use crate::raft::{GroupId, StoredMembership, Vote};

/// Everything that is remembered of one replica of a group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupRecords {
    pub vote: Option<Vote>,
    /// The last entry that is no more, with the membership as of it.
    pub purged: Option<(Point, StoredMembership)>,
    pub recordless: BTreeMap<u64, Recordless>,
    /// Committed entries by index: their terms and where their records end.
    pub anchors: BTreeMap<u64, (u64, Offset)>,
    /// The log was durable up to here at least.
    pub synced: Offset,
    /// Entries of terms up to this one may have been acknowledged here and be lost.
    pub suspect: Option<u64>,
    /// Records below are deleted.
    pub log_start: Offset,
    /// The log is to be read through before it is used.
    pub verify: bool,
    /// The replica was removed from here once, and had acknowledged all up to this point.
    pub left: Option<Point>,
    /// It has not come back since: whatever log there is is none of the group's.
    pub away: bool,
    /// What the replica goes by, where that is not its directory's id.
    pub identity: Option<Identity>,
    /// The replica that was here is, or may be, in another directory with its votes.
    pub moved: bool,
}

impl GroupRecords {
    /// The newest entry that is known to be committed.
    #[must_use]
    pub fn applied(&self) -> Option<Point> {
        let anchor = self.anchors.last_key_value();
        let anchor =
            anchor.map(|(index, (term, end))| Point { index: *index, term: *term, end: *end });
        anchor.or_else(|| self.purged.as_ref().map(|(point, _)| *point))
    }

    /// Nothing is known of a log, or of votes.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        let Self { identity, moved, .. } = *self;
        *self == Self { identity, moved, ..Self::default() }
    }

    /// The last entry that may have been acknowledged here, where the log holds batches up to `end`, the
    /// last one of `term`. Its index is known only of entries without a batch.
    #[must_use]
    pub fn last(&self, term: u64, end: Offset) -> Point {
        let recordless = self.recordless.last_key_value();
        let recordless = recordless.map(|(index, entry)| (*index, entry.term));
        let purged = self.purged.as_ref().map(|(point, _)| (point.index, point.term));
        let anchor = self.anchors.last_key_value().map(|(index, (term, _))| (*index, *term));
        let known = [recordless, purged, anchor, self.left.map(|left| (left.index, left.term))];
        let known = || known.into_iter().flatten();
        let index = known().map(|(index, _)| index).max().unwrap_or(0);
        let term = known().map(|(_, term)| term).fold(term, u64::max);
        Point { index, term, end: end.max(self.left.map_or(end, |left| left.end)) }
    }

    fn apply(&mut self, record: &Record) {
        // What an instance says that has ended is of a log that is not here any more.
        if (self.away || self.moved) && record.is_hint() {
            return;
        }
        self.away &= matches!(record, Record::Vote(..) | Record::Identity(..) | Record::Moved(..));
        match record {
            Record::Vote(_, vote) => self.vote = Some(*vote),
            Record::Recordless(_, index, entry) => {
                self.recordless.insert(*index, entry.clone());
            }
            Record::Truncate(_, first) => {
                // This offset may be among what was cut: whoever cuts says how much of it still holds.
                self.synced = Offset::ZERO;
                self.recordless.split_off(first);
                self.anchors.split_off(first);
            }
            Record::Purge(_, point, members) => {
                self.purge(*point, members);
            }
            Record::Installed(_, point, members) => {
                self.empty();
                self.purge(*point, members);
            }
            Record::Emptied(_) => {
                self.empty();
                self.purged = None;
            }
            Record::Synced(_, offset) => self.synced = *offset,
            Record::Suspect(_, term) => {
                self.suspect = Some(*term);
                self.verify = false;
            }
            Record::LogStart(_, offset) => self.log_start = self.log_start.max(*offset),
            Record::Verify(_) => self.verify = true,
            Record::Anchor(_, point) => {
                self.anchors.insert(point.index, (point.term, point.end));
            }
            Record::Forget(_) => *self = Self::default(),
            Record::Left(_, point) => {
                let Self { vote, suspect, identity, moved, .. } = *self;
                let left = Some(*point);
                *self =
                    Self { vote, suspect, identity, moved, left, away: true, ..Self::default() };
            }
            Record::Identity(_, identity) => {
                self.identity = Some(*identity);
                self.moved = false;
            }
            Record::Moved(_, Departure::Begun) => self.moved = true,
            Record::Moved(_, Departure::Cancelled) => self.moved = false,
            Record::Moved(_, Departure::Done) => *self = Self { moved: true, ..Self::default() },
        }
    }

    fn empty(&mut self) {
        self.synced = Offset::ZERO;
        self.recordless.clear();
        self.anchors.clear();
    }

    fn purge(&mut self, point: Point, members: &StoredMembership) {
        self.recordless = self.recordless.split_off(&(point.index + 1));
        self.anchors = self.anchors.split_off(&(point.index + 1));
        self.purged = Some((point, members.clone()));
    }

    /// Records that lead to this state.
    pub(in crate::raft) fn records(&self, group: GroupId) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.vote.map(|vote| Record::Vote(group, vote)));
        records.extend(self.suspect.map(|term| Record::Suspect(group, term)));
        records.extend(self.identity.map(|identity| Record::Identity(group, identity)));
        records.extend(self.moved.then_some(Record::Moved(group, Departure::Begun)));
        if let Some(left) = self.left {
            records.push(Record::Left(group, left));
            records.extend((!self.away).then_some(Record::Truncate(group, 0)));
        }
        let purged = self.purged.as_ref();
        records
            .extend(purged.map(|(point, members)| Record::Purge(group, *point, members.clone())));
        let recordless = self.recordless.iter();
        records.extend(recordless.map(|(i, entry)| Record::Recordless(group, *i, entry.clone())));
        let anchors = self.anchors.iter();
        records.extend(anchors.map(|(index, (term, end))| {
            Record::Anchor(group, Point { index: *index, term: *term, end: *end })
        }));
        if self.synced > Offset::ZERO {
            records.push(Record::Synced(group, self.synced));
        }
        if self.log_start > Offset::ZERO {
            records.push(Record::LogStart(group, self.log_start));
        }
        records.extend(self.verify.then_some(Record::Verify(group)));
        records
    }
}

/// All groups of a journal.
#[derive(Debug, Default)]
pub(super) struct State {
    groups: BTreeMap<GroupId, GroupRecords>,
}

impl State {
    pub(super) fn apply(&mut self, record: &Record) {
        let group = record.group();
        if matches!(record, Record::Forget(_)) {
            self.groups.remove(&group);
            return;
        }
        if record.is_hint() && !self.groups.contains_key(&group) {
            return;
        }
        self.groups.entry(group).or_default().apply(record);
    }

    pub(super) fn group(&self, group: GroupId) -> Option<&GroupRecords> {
        self.groups.get(&group)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.groups.iter().flat_map(|(group, records)| records.records(*group))
    }
}
