//! Taking in a snapshot, and what a start makes of one that a crash interrupted.
//!
//! Owns: the way of a log from a peer into the place of this replica's; the mark that travels with it.
//! Never: which snapshot is to be installed (Raft decides).
//!
//! The mark says which entry the log ends with. It lies in the folder that takes the log's place, and so
//! appears in the same moment as the log. What the journal knows is of the log before until it holds the
//! mark, too: a start that finds a newer mark puts it there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::SnapshotResponse;
use ottla_protocol::model::{Offset, Uuid};
use ottla_storage::{IncomingLog, Manifest};

use super::entry_map::EntryMap;
use super::group_log::{GroupLog, RecoverError};
use super::journal::{Journal, Point, Record, opened, sealed};
use super::snapshot::{SnapshotLog, read_head};
use super::{
    GroupId, Raft, Snapshot, SnapshotContent, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
use crate::partition::Partition;
use crate::peer::{GroupAnswer, GroupFault, IncomingSnapshot, SnapshotSink, SnapshotSource};

/// How much of a log is copied at once where both are on this machine.
const COPY_BYTES: usize = 1 << 20;

/// What a snapshot's bytes are written to.
pub(super) struct Sink {
    raft: Raft,
    log: Arc<GroupLog>,
    vote: Vote,
    meta: SnapshotMeta,
    incoming: IncomingLog,
}

impl Sink {
    pub(super) fn begin(
        raft: Raft,
        log: Arc<GroupLog>,
        snapshot: IncomingSnapshot,
    ) -> io::Result<Self> {
        let incoming = log.begin_incoming(read_head(snapshot.head)?)?;
        Ok(Self { raft, log, vote: snapshot.vote, meta: snapshot.meta, incoming })
    }
}

impl SnapshotSink for Sink {
    fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.incoming.write(bytes, self.log.now()).map_err(io::Error::other)
    }

    fn finish(self: Box<Self>) -> GroupAnswer<SnapshotResponse<TypeConfig>> {
        Box::pin(async move {
            let Self { raft, log, vote, meta, mut incoming } = *self;
            let fault = |error: &dyn std::fmt::Display| GroupFault(error.to_string());
            log.finish_incoming(&mut incoming, &meta).map_err(|error| fault(&error))?;
            let next = incoming.manifest().next;
            let snapshot = SnapshotContent { next, log: SnapshotLog::Came(Box::new(incoming)) };
            let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
            installed.map_err(|error| fault(&error))
        })
    }
}

fn point_of(meta: &SnapshotMeta, end: Offset) -> io::Result<Point> {
    let id = meta.last_log_id.ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
    Ok(Point { index: id.index, term: id.leader_id.term, end })
}

impl GroupLog {
    fn begin_incoming(&self, manifest: Manifest) -> io::Result<IncomingLog> {
        let unique = Uuid::from_u128(u128::from(self.count_incoming()) + 1);
        self.partition.incoming(manifest, unique, self.now()).map_err(io::Error::other)
    }

    fn finish_incoming(&self, incoming: &mut IncomingLog, meta: &SnapshotMeta) -> io::Result<()> {
        let point = point_of(meta, incoming.manifest().next)?;
        let mark = sealed(&Record::Installed(self.id, point, meta.last_membership.clone()));
        incoming.finish(&mark, self.now()).map_err(io::Error::other)
    }

    /// Puts a snapshot's log in the place of this replica's.
    pub(super) async fn install(
        &self,
        meta: &SnapshotMeta,
        content: SnapshotContent,
    ) -> io::Result<()> {
        let incoming = match content.log {
            SnapshotLog::Came(incoming) => *incoming,
            SnapshotLog::Here(..) => self.copy(meta, content)?,
        };
        let point = point_of(meta, incoming.manifest().next)?;
        self.partition.exchange(incoming, self.now()).map_err(io::Error::other)?;
        note_installed(self.id, &self.journal, point, &meta.last_membership).await?;
        self.forget_mark();
        self.go_on_after(point);
        Ok(())
    }

    /// A snapshot that did not travel.
    fn copy(&self, meta: &SnapshotMeta, mut content: SnapshotContent) -> io::Result<IncomingLog> {
        content.open()?;
        let mut incoming = self.begin_incoming(read_head(content.head())?)?;
        let mut at = 0;
        while at < content.bytes() {
            let bytes = content.read(at, COPY_BYTES)?;
            at += bytes.len() as u64;
            incoming.write(bytes, self.now()).map_err(io::Error::other)?;
        }
        self.finish_incoming(&mut incoming, meta)?;
        Ok(incoming)
    }

    fn forget_mark(&self) {
        forget_mark(self.id, &self.partition);
    }

    fn go_on_after(&self, point: Point) {
        self.replace_map(EntryMap::starting_after(Some(point)), point.end);
    }
}

fn forget_mark(id: GroupId, partition: &Partition) {
    if let Ok(Err(error)) = partition.inspect(|log, _| log.forget_mark()) {
        tracing::debug!(group = %id, %error, "the mark of an installed snapshot stays");
    }
}

async fn note_installed(
    id: GroupId,
    journal: &Arc<Journal>,
    point: Point,
    members: &StoredMembership,
) -> io::Result<()> {
    let installed = Record::Installed(id, point, members.clone());
    journal.commit(&[installed, Record::Synced(id, point.end)]).await
}

/// Tells the journal of a log that came in before a crash.
pub(super) async fn resume(
    id: GroupId,
    partition: &Partition,
    journal: &Arc<Journal>,
) -> Result<(), RecoverError> {
    let Some(mark) = partition.inspect(|log, _| log.mark())?? else { return Ok(()) };
    let Some(Record::Installed(of, point, members)) = opened(&mark).filter(|it| it.group() == id)
    else {
        let text = "it is not known which entries came with the last snapshot".to_owned();
        return Err(RecoverError::Broken(text));
    };
    debug_assert_eq!(of, id);
    let purged = journal.group(id).and_then(|records| records.purged);
    if purged.is_none_or(|(purged, _)| purged.index < point.index) {
        note_installed(id, journal, point, &members).await?;
    }
    forget_mark(id, partition);
    Ok(())
}
