//! What committed entries do: they move the high watermark.
//!
//! Owns: applying, the applied point, which snapshot there is. Never: reads records;
//! what is derived from them (producers, group state) follows from the log itself.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use ottla_protocol::model::Offset;

use super::group_log::GroupLog;
use super::journal::Point;
use super::{
    Batch, LogId, Payload, Snapshot, SnapshotContent, SnapshotMeta, StoredMembership, TypeConfig,
};

/// The state machine of one replica.
pub struct StateMachine {
    log: Arc<GroupLog>,
}

impl std::fmt::Debug for StateMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateMachine").field("group", &self.log.id).finish()
    }
}

impl StateMachine {
    pub(super) const fn new(log: Arc<GroupLog>) -> Self {
        Self { log }
    }

    /// What the snapshot covers that stands for everything that was purged, or is about to be.
    fn current(&self) -> Option<(Point, StoredMembership)> {
        let purged = self.log.journal.group(self.log.id).and_then(|records| records.purged);
        let built = self.log.built.lock().clone();
        purged.into_iter().chain(built).max_by_key(|(point, _)| point.index)
    }

    fn snapshot(&self, point: Point, members: StoredMembership) -> Snapshot {
        Snapshot {
            meta: SnapshotMeta { last_log_id: Some(point.log_id()), last_membership: members },
            snapshot: SnapshotContent::here(
                point.end,
                Arc::<crate::partition::Partition>::clone(&self.log.partition),
            ),
        }
    }
}

/// Makes the snapshot that retention asked for.
#[derive(Debug)]
pub struct Builder(Option<Snapshot>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotContent;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.0.take().ok_or_else(|| io::Error::other("nothing is applied yet"))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotContent;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.log.applied.lock();
        Ok((applied.last.map(|point| point.log_id()), applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut bytes = 0;
        let mut term = None;
        let mut log_start = None;
        let mut told = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next.map_err(|error| self.log.fatal(error))?;
            let mut applied = self.log.applied.lock();
            let before = applied.last.map_or(Offset::ZERO, |point| point.end);
            let mut end = before;
            match &entry.payload {
                Payload::Batch(Batch::Stored { end: after, bytes: size, .. }) => {
                    end = *after;
                    bytes += u64::from(*size);
                }
                // Two at once may stand in any order; none takes back what another deleted.
                Payload::Batch(Batch::LogStart(offset)) => log_start = log_start.max(Some(*offset)),
                Payload::Membership(_) => {
                    if let Some(members) = entry.payload.get_membership() {
                        applied.membership = StoredMembership::new(Some(entry.log_id()), members);
                    }
                }
                Payload::Blank | Payload::Batch(_) => {}
            }
            term = Some(entry.term.term);
            applied.last = Some(Point { index: entry.index, term: entry.term.term, end });
            drop(applied);
            told.extend(responder);
        }
        let end = self.log.applied.lock().last.map_or(Offset::ZERO, |point| point.end);
        self.log.partition.commit(end, bytes);
        if let Some(offset) = log_start {
            self.log.note_log_start(offset).map_err(|error| self.log.fatal(error))?;
            self.log.partition.trim(offset).map_err(|error| self.log.fatal(error))?;
        }
        if let Some(term) = term {
            self.log.note_applied(term);
        }
        self.log.note_progress(&mut self.log.applied.lock(), bytes);
        for responder in told {
            responder.send(());
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let target = *self.log.snapshot_target.lock();
        let applied = self.log.applied.lock();
        let current = self.current().map(|(point, _)| point);
        // Without a wish there is nothing to gain: what was purged has its snapshot.
        let point = target.or_else(|| applied.last.filter(|_| force))?;
        if applied.last.is_none_or(|last| last.index < point.index)
            || current.is_some_and(|current| current.index >= point.index)
        {
            return None;
        }
        let newest = applied.membership.clone();
        drop(applied);
        let members = match newest.log_id() {
            Some(id) if id.index > point.index => self.log.membership_at(point.index),
            _ => newest,
        };
        *self.log.built.lock() = Some((point, members.clone()));
        Some(Builder(Some(self.snapshot(point, members))))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let applied = self.log.applied.lock();
        let snapshot = applied.last.map(|point| (point, applied.membership.clone()));
        drop(applied);
        Builder(snapshot.map(|(point, members)| self.snapshot(point, members)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        content: SnapshotContent,
    ) -> Result<(), io::Error> {
        let Some(id) = meta.last_log_id else { return Ok(()) };
        let point = Point { index: id.index, term: id.leader_id.term, end: content.next };
        let log_start = content.log_start();
        self.log.note_log_start(log_start).map_err(|error| self.log.fatal(error))?;
        let known = self.log.with_map(|map| map.point(id.index));
        match known {
            // The log has that very entry and may go on behind it: nothing is taken from it.
            Some(known) if known.term == point.term => {
                self.log.partition.commit(known.end, 0);
            }
            _ => {
                let installed = self.log.install(meta, content).await;
                installed.map_err(|error| self.log.fatal(error))?;
            }
        }
        let trimmed = self.log.partition.trim(log_start);
        trimmed.map_err(|error| self.log.fatal(error))?;
        let mut applied = self.log.applied.lock();
        applied.last = Some(point);
        applied.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.current().map(|(point, members)| self.snapshot(point, members)))
    }
}
