//! The replica journal: what a replica must remember beside its partition's log, for all groups of one
//! log directory in one file.
//!
//! Owns: votes, entries without batches, purge points, anchors; their durability by group commit.
//! Never: batches, or what Raft does with any of it.
//!
//! Invariants: a record whose [`Journal::durable`] returned `Ok` is there after any crash; records
//! come back in the order in which they were written, without a gap; of those that were written together
//! all come back or none. A file with a hole in what was
//! durable is never opened: a replica that forgot its vote could vote twice.

mod frame;
mod record;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::model::Offset;
use ottla_storage::flush::{FlushJob, FlushTarget, FlushTicket};
use ottla_storage::fs::{File, FileSystem, OpenMode};
use ottla_storage::log_dir::is_disk_fault;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use record::{Departure, Identity, Point, Record, Recordless, RecordlessKind};
pub use state::GroupRecords;

use super::GroupId;
use crate::home::Home;
use frame::Tail;
use state::State;

/// The file, beside the partition folders.
pub const FILE_NAME: &str = "replica-journal";
const FRESH_NAME: &str = "replica-journal.tmp";
/// A file is rewritten once it is this long and twice as long as what it says; where there is no room
/// for another, once it has grown by half of this again.
const REWRITE_BYTES: u64 = if cfg!(test) { 2048 } else { 1 << 20 };

/// What becomes of a group whose replica is removed from a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupFate {
    /// Its topic is deleted: no group has that id ever again.
    Deleted,
    GoesOn,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} is damaged at byte {position}: what its replicas promised their groups is not known any \
         more. Remove this log directory's contents, so that its replicas are made anew from their \
         peers",
        path.display()
    )]
    Damaged { path: PathBuf, position: usize },
}

/// A place in the journal: durable once everything before it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Place(i64);

type Told = Box<dyn FnOnce(Result<(), io::ErrorKind>) + Send>;

struct Inner {
    file: Arc<dyn File>,
    len: u64,
    /// Everything before is durable.
    synced: u64,
    /// Places count records ever written; they go on when the file is rewritten.
    written: Place,
    durable: Place,
    /// What the job that is out covers.
    flushing: u64,
    state: State,
    /// The file is rewritten once it is longer.
    rewrite_beyond: u64,
    waiting: Vec<(Place, Told)>,
    failed: Option<io::ErrorKind>,
}

/// A log directory's journal.
pub struct Journal {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    home: Home,
    ticket: FlushTicket,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of a log directory, or creates it.
    ///
    /// # Errors
    /// The disk fails, or a part of the file that was durable is not readable as it was written.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        home: Home,
    ) -> Result<Arc<Self>, JournalError> {
        let path = dir.join(FILE_NAME);
        let io = |action| {
            let path = path.clone();
            move |source| JournalError::Io { action, path, source }
        };
        let fresh = dir.join(FRESH_NAME);
        if fs.exists(&fresh).map_err(io("look for"))? {
            fs.remove_file(&fresh).map_err(io("remove an unfinished copy of"))?;
        }
        let file = fs.open(&path, OpenMode::Create).map_err(io("open"))?;
        // The cache may hold, as clean, what a process before this one could not make durable.
        file.forget_cached(0).map_err(io("read"))?;
        let len = file.len().map_err(io("measure"))?;
        let bytes = file
            .read_bytes_at(0, usize::try_from(len).unwrap_or(usize::MAX))
            .map_err(io("read"))?;
        let mut state = State::default();
        let tail = frame::walk(&bytes, |frame| {
            if frame.body.is_empty() {
                return Ok(());
            }
            record::decode_all(frame.body, |record| state.apply(record))
                .ok_or(frame.end - frame::HEAD)
        });
        let damaged = |position| JournalError::Damaged { path: path.clone(), position };
        let len = match tail.map_err(damaged)? {
            Tail::Whole => bytes.len(),
            Tail::Torn(at) => {
                tracing::info!(path = %path.display(), at, "the journal's torn end is cut");
                file.set_len(at as u64).map_err(io("cut the torn end of"))?;
                at
            }
            Tail::Damaged(position) => return Err(damaged(position)),
        };
        // What is read now is relied on from now on, whether or not it was durable before.
        file.sync_data().map_err(io("sync"))?;
        fs.sync_dir(dir).map_err(io("sync the folder of"))?;
        let len = len as u64;
        let inner = Inner {
            file,
            len,
            synced: len,
            written: Place(0),
            durable: Place(0),
            flushing: 0,
            state,
            rewrite_beyond: rewrite_beyond(len),
            waiting: Vec::new(),
            failed: None,
        };
        Ok(Arc::new(Self {
            fs,
            dir: dir.to_path_buf(),
            home,
            ticket: FlushTicket::new(),
            inner: Mutex::new(inner),
        }))
    }

    /// What is known of a group, durable or not yet.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<GroupRecords> {
        self.inner.lock().state.group(group).cloned()
    }

    /// Every group that something is known of.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.lock().state.groups().collect()
    }

    /// Notes that the replica of a group is removed from this directory. What it voted, and how much it
    /// had acknowledged, is remembered, because it may come back under the same id; of a group that is
    /// `deleted` nothing is. It is durable with the next flush: a start that finds no log where one was
    /// goes by the purge point.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn leave(
        self: &Arc<Self>,
        group: GroupId,
        fate: GroupFate,
        (term, end): (u64, Offset),
    ) -> io::Result<()> {
        let Some(known) = self.group(group) else { return Ok(()) };
        let record = match fate {
            GroupFate::Deleted => Record::Forget(group),
            GroupFate::GoesOn => Record::Left(group, known.last(term, end)),
        };
        self.write(&[record]).map(|_| ())
    }

    /// Writes records and asks for a flush; the answer is what [`Self::durable`] takes. After a crash
    /// all of them are there or none.
    ///
    /// # Errors
    /// The disk failed, now or before: nothing is written any more.
    pub fn write(self: &Arc<Self>, records: &[Record]) -> io::Result<Place> {
        let place = self.write_lazily(records)?;
        self.request_flush();
        Ok(place)
    }

    /// Asks for a flush of what was written lazily.
    pub fn request_flush(self: &Arc<Self>) {
        let target: Arc<dyn FlushTarget> = Arc::<Self>::clone(self);
        self.home.flusher.request(&target);
    }

    /// Writes records that become durable with the next flush, whenever that is.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_lazily(&self, records: &[Record]) -> io::Result<Place> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if let Some(kind) = inner.failed {
            return Err(dead(kind));
        }
        let mut bytes = Vec::new();
        if !records.is_empty() {
            let mut body = Vec::new();
            record::encode_all(records, &mut body);
            frame::push(&mut bytes, inner.len, inner.synced, &body);
        }
        if let Err(error) = inner.file.write_all_at(&[IoSlice::new(&bytes)], inner.len) {
            // A part of it may stand there: the next write begins at the same place.
            if let Err(error) = inner.file.set_len(inner.len) {
                inner.fail(&self.home, &error);
            }
            if is_disk_fault(&error) {
                self.home.fail(&format!("the replica journal could not be written: {error}"));
            }
            return Err(error);
        }
        inner.len += bytes.len() as u64;
        records.iter().for_each(|record| inner.state.apply(record));
        inner.written.0 += 1;
        Ok(inner.written)
    }

    /// Returns once everything up to `place` is durable.
    ///
    /// # Errors
    /// It never will be: a sync failed.
    pub async fn durable(&self, place: Place) -> io::Result<()> {
        if let Some(known) = self.durable_now(place) {
            return known;
        }
        let (sender, receiver) = oneshot::channel();
        self.when_durable(place, move |result| {
            // The waiter may be gone.
            let _gone = sender.send(result);
        });
        receiver.await.unwrap_or(Err(io::ErrorKind::Other)).map_err(dead)
    }

    /// Whether `place` is durable, or the error if it never will be.
    #[must_use]
    pub fn durable_now(&self, place: Place) -> Option<io::Result<()>> {
        let inner = self.inner.lock();
        match inner.failed {
            _ if inner.durable >= place => Some(Ok(())),
            Some(kind) => Some(Err(dead(kind))),
            None => None,
        }
    }

    /// Calls `told` once `place` is durable, or never will be.
    pub fn when_durable(
        &self,
        place: Place,
        told: impl FnOnce(Result<(), io::ErrorKind>) + Send + 'static,
    ) {
        let mut inner = self.inner.lock();
        let known = match inner.failed {
            _ if inner.durable >= place => Ok(()),
            Some(kind) => Err(kind),
            None => {
                inner.waiting.push((place, Box::new(told)));
                return;
            }
        };
        drop(inner);
        told(known);
    }

    /// Writes records and returns once they are durable.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn commit(self: &Arc<Self>, records: &[Record]) -> io::Result<()> {
        let place = self.write(records)?;
        self.durable(place).await
    }

    /// Replaces the file by one that holds the same and nothing else. Durable on return.
    fn rewrite(&self, inner: &mut Inner) -> Result<(), RewriteError> {
        let mut bytes = Vec::new();
        let mut body = Vec::new();
        for record in inner.state.records() {
            body.clear();
            record.encode(&mut body);
            frame::push(&mut bytes, 0, 0, &body);
        }
        let (fresh, path) = (self.dir.join(FRESH_NAME), self.dir.join(FILE_NAME));
        let file = self.write_fresh(&fresh, &bytes).map_err(RewriteError::Before)?;
        let renamed = self.fs.rename(&fresh, &path).and_then(|()| self.fs.sync_dir(&self.dir));
        renamed.map_err(RewriteError::Midway)?;
        inner.file = file;
        inner.len = bytes.len() as u64;
        inner.synced = inner.len;
        inner.rewrite_beyond = rewrite_beyond(inner.len);
        Ok(())
    }

    fn write_fresh(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data()?;
        Ok(file)
    }

    /// The file could not be replaced. Where it is certain that it was not, it goes on as it is.
    fn not_rewritten(&self, inner: &mut Inner, error: RewriteError) {
        let (RewriteError::Before(source) | RewriteError::Midway(source)) = &error;
        tracing::error!(dir = %self.dir.display(), error = %source, "journal not rewritten");
        if matches!(error, RewriteError::Midway(_)) || is_disk_fault(source) {
            inner.fail(&self.home, source);
            return;
        }
        inner.rewrite_beyond = inner.len + REWRITE_BYTES / 2;
        // It takes room that is needed; the next start removes it at the latest.
        if let Err(error) = self.fs.remove_file(&self.dir.join(FRESH_NAME)) {
            tracing::debug!(dir = %self.dir.display(), %error, "half a journal stays");
        }
    }
}

/// Why a journal was not replaced by a shorter one.
enum RewriteError {
    /// The old file is what it was.
    Before(io::Error),
    /// The file that has the name may be either.
    Midway(io::Error),
}

const fn rewrite_beyond(len: u64) -> u64 {
    match len.saturating_mul(2) {
        twice if twice > REWRITE_BYTES => twice,
        _ => REWRITE_BYTES,
    }
}

/// Records as bytes that tell when they are not as they were written.
pub(super) fn all_sealed(records: &[Record]) -> Vec<u8> {
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    for record in records {
        body.clear();
        record.encode(&mut body);
        frame::push(&mut bytes, 0, 0, &body);
    }
    bytes
}

/// The records that [`all_sealed`] was given, if all the bytes are as they were written.
pub(super) fn all_opened(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let frame = frame::parse(bytes, at)?;
        records.push(Record::decode(frame.body)?);
        at = frame.end;
    }
    Some(records)
}

/// A record as bytes that tell when they are not as they were written.
pub(super) fn sealed(record: &Record) -> Vec<u8> {
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    record.encode(&mut body);
    frame::push(&mut bytes, 0, 0, &body);
    bytes
}

/// The record that [`sealed`] was given, if the bytes are as they were written.
pub(super) fn opened(bytes: &[u8]) -> Option<Record> {
    let frame = frame::parse(bytes, 0).filter(|frame| frame.end == bytes.len())?;
    Record::decode(frame.body)
}

fn dead(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, "the replica journal could not be made durable; its disk must be checked")
}

impl FlushTarget for Journal {
    fn ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    fn begin(&self) -> FlushJob {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let up_to = Offset(inner.written.0);
        if inner.failed.is_some() || inner.durable == inner.written {
            return FlushJob { up_to, ..FlushJob::default() };
        }
        if inner.len > inner.rewrite_beyond {
            match self.rewrite(inner) {
                Ok(()) => {
                    inner.flushing = inner.len;
                    return FlushJob { up_to, ..FlushJob::default() };
                }
                Err(error) => self.not_rewritten(inner, error),
            }
        }
        inner.flushing = inner.len;
        FlushJob { up_to, files: vec![Arc::clone(&inner.file)], ..FlushJob::default() }
    }

    fn complete(&self, job: FlushJob, result: io::Result<()>) {
        let mut inner = self.inner.lock();
        if let Err(error) = result {
            tracing::error!(dir = %self.dir.display(), %error, "the replica journal is dead");
            inner.fail(&self.home, &error);
        }
        let told: Vec<(Told, Result<(), io::ErrorKind>)> = match inner.failed {
            Some(kind) => inner.waiting.drain(..).map(|(_, told)| (told, Err(kind))).collect(),
            None => {
                let place = Place(job.up_to.get());
                inner.durable = inner.durable.max(place);
                inner.synced = inner.synced.max(inner.flushing);
                let durable = inner.durable;
                inner.vouch(&self.home);
                let ready = inner.waiting.extract_if(.., |(place, _)| *place <= durable);
                ready.map(|(_, told)| (told, Ok(()))).collect()
            }
        };
        drop(inner);
        for (told, result) in told {
            told(result);
        }
    }
}

impl Inner {
    /// Nothing is written any more. What the disk holds is known only after the process ends, so that
    /// the directory is of no more use than the journal.
    fn fail(&mut self, home: &Home, error: &io::Error) {
        self.failed = Some(error.kind());
        home.fail(&format!("the replica journal failed: {error}"));
    }

    /// Says in the file that everything before is durable, where no later record does: without it
    /// a bad last record would look like one that was never promised. It needs no sync of its own.
    fn vouch(&mut self, home: &Home) {
        if self.synced < self.len {
            return;
        }
        let mut bytes = Vec::new();
        frame::push(&mut bytes, self.len, self.synced, &[]);
        match self.file.write_all_at(&[IoSlice::new(&bytes)], self.len) {
            Ok(()) => self.len += bytes.len() as u64,
            Err(error) => {
                tracing::warn!(%error, "the journal does not vouch for its last record");
                if let Err(error) = self.file.set_len(self.len) {
                    self.fail(home, &error);
                }
            }
        }
    }
}
