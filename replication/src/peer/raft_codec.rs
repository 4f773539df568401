//! openraft's messages as bytes.
//!
//! Owns: the encoding of requests and answers between the replicas of a group. Never: frames, sockets,
//! or where the bytes of a batch come from.
//!
//! An append is written as a head and a payload: the head has vote, log ids and one line per entry, the
//! payload has the batches one after another, as they stand in the leader's log. So batches go out by
//! reference, and the follower takes them as slices of the frame.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, Bytes};
use openraft::StoredMembership;
use openraft::impls::{EmptyNode, leader_id_std};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ottla_protocol::model::Offset;

use super::wire::{CodecError, REPLICA_BYTES_MIN, WireReader, WireWrite, put_option};
use crate::raft::{
    Batch, Committed, Entry, LogId, Membership, Payload, ReplicaId, TypeConfig, Vote,
};

/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// Entries in one append at most; a sender splits longer ones.
pub(crate) const APPEND_ENTRIES_MAX: usize = 1_024;

type Decoded<T> = Result<T, CodecError>;

const BLANK: u8 = 0;
const MEMBERSHIP: u8 = 1;
const BATCH: u8 = 2;
const LOG_START: u8 = 3;

/// Why an append cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the batches {base}..{end} cannot be read from the log: {source}")]
    Read { base: Offset, end: Offset, source: io::Error },
    #[error("the log gave {got} bytes for the batches {base}..{end}, which have {expected}")]
    Size { base: Offset, end: Offset, expected: usize, got: usize },
    /// The log was cut and written anew between the reading of the entry and that of its bytes.
    #[error("the log no longer has the batch of term {term} at offset {base}")]
    Replaced { base: Offset, term: u64 },
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.put_varint(vote.leader_id.term);
    out.put_replica(&vote.leader_id.voted_for);
    out.put_flag(vote.committed);
}

pub(crate) fn vote(read: &mut WireReader) -> Decoded<Vote> {
    let term = read.varint("a term")?;
    let voted_for = read.replica()?;
    let committed = read.flag("a vote")?;
    Ok(Vote { leader_id: leader_id_std::LeaderId { term, voted_for }, committed })
}

pub(crate) fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    out.put_varint(id.leader_id.term);
    out.put_varint(id.index);
}

fn log_id(read: &mut WireReader) -> Decoded<LogId> {
    let term = read.varint("a term")?;
    Ok(LogId::new(Committed::new(term), read.varint("an index")?))
}

fn put_log_id_option(out: &mut Vec<u8>, id: Option<&LogId>) {
    put_option(out, id, put_log_id);
}

fn log_id_option(read: &mut WireReader) -> Decoded<Option<LogId>> {
    read.option("a log id", log_id)
}

pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_len(configs.len());
    for config in configs {
        out.put_len(config.len());
        for replica in config {
            out.put_replica(replica);
        }
    }
    out.put_len(membership.nodes().count());
    for (replica, EmptyNode {}) in membership.nodes() {
        out.put_replica(replica);
    }
}

pub(crate) fn membership(read: &mut WireReader) -> Decoded<Membership> {
    let configs = read.list("configurations", 1, |read| {
        let voters = read.list("voters", REPLICA_BYTES_MIN, WireReader::replica)?;
        Ok(voters.into_iter().collect::<BTreeSet<ReplicaId>>())
    })?;
    let nodes = read.list("replicas", REPLICA_BYTES_MIN, WireReader::replica)?;
    let nodes: BTreeMap<_, _> = nodes.into_iter().map(|id| (id, EmptyNode {})).collect();
    Membership::new(configs, nodes).map_err(|error| CodecError::Membership(error.to_string()))
}

/// One append, or a part of one: the entries `from..to` of `request`.
pub(crate) struct AppendPart<'a> {
    pub request: &'a AppendEntriesRequest<TypeConfig>,
    pub prev: Option<LogId>,
    pub entries: &'a [Entry],
}

/// Writes an append. `fetch` gives the bytes of all batches from one offset up to another.
///
/// # Errors
/// A batch without offsets, entries with gaps, or a log that does not give what it holds.
pub(crate) fn put_append(
    head: &mut Vec<u8>,
    payload: &mut Vec<Bytes>,
    part: &AppendPart<'_>,
    fetch: impl FnMut(Offset, Offset) -> io::Result<Vec<Bytes>>,
) -> Result<(), EncodeError> {
    put_vote(head, &part.request.vote);
    put_log_id_option(head, part.prev.as_ref());
    put_log_id_option(head, part.request.leader_commit.as_ref());
    head.put_len(part.entries.len());
    let mut run = Run { fetch, payload, stretch: Vec::new() };
    let Some(first) = part.entries.first() else { return Ok(()) };
    head.put_varint(first.index);
    for (entry, index) in part.entries.iter().zip(first.index..) {
        if entry.index != index {
            return Err(CodecError::Unsendable("its index leaves a gap").into());
        }
        put_entry(head, entry, &mut run)?;
    }
    run.end()
}

fn put_entry<F>(head: &mut Vec<u8>, entry: &Entry, run: &mut Run<'_, F>) -> Result<(), EncodeError>
where
    F: FnMut(Offset, Offset) -> io::Result<Vec<Bytes>>,
{
    let kind = match &entry.payload {
        Payload::Blank => BLANK,
        Payload::Membership(_) => MEMBERSHIP,
        Payload::Batch(Batch::LogStart(_)) => LOG_START,
        Payload::Batch(_) => BATCH,
    };
    head.push(kind);
    head.put_varint(entry.term.term);
    match &entry.payload {
        Payload::Blank => Ok(()),
        Payload::Membership(members) => {
            put_membership(head, members);
            Ok(())
        }
        Payload::Batch(Batch::Stored { base, end, bytes }) => {
            head.put_varint(u64::from(*bytes));
            let term = entry.term.term;
            run.add(Stored { base: *base, end: *end, bytes: *bytes as usize, term })
        }
        Payload::Batch(Batch::LogStart(offset)) => {
            head.put_offset(*offset);
            Ok(())
        }
        Payload::Batch(Batch::Received(bytes)) => {
            head.put_len(bytes.len());
            run.end()?;
            run.payload.push(bytes.clone());
            Ok(())
        }
        Payload::Batch(Batch::Proposed(_)) => {
            Err(CodecError::Unsendable("it has no offsets yet").into())
        }
    }
}

/// A batch to be fetched.
struct Stored {
    base: Offset,
    end: Offset,
    bytes: usize,
    term: u64,
}

/// Batches that follow one another in the log are fetched at once.
struct Run<'a, F> {
    fetch: F,
    payload: &'a mut Vec<Bytes>,
    stretch: Vec<Stored>,
}

impl<F: FnMut(Offset, Offset) -> io::Result<Vec<Bytes>>> Run<'_, F> {
    fn add(&mut self, batch: Stored) -> Result<(), EncodeError> {
        if self.stretch.last().is_some_and(|last| last.end != batch.base) {
            self.end()?;
        }
        self.stretch.push(batch);
        Ok(())
    }

    fn end(&mut self) -> Result<(), EncodeError> {
        let (Some(first), Some(last)) = (self.stretch.first(), self.stretch.last()) else {
            return Ok(());
        };
        let (base, end) = (first.base, last.end);
        let pieces =
            (self.fetch)(base, end).map_err(|source| EncodeError::Read { base, end, source })?;
        let expected = self.stretch.iter().map(|batch| batch.bytes).sum();
        let got = pieces.iter().map(Bytes::len).sum();
        if got != expected {
            return Err(EncodeError::Size { base, end, expected, got });
        }
        let mut at = 0;
        for batch in self.stretch.drain(..) {
            check_start(&pieces, at, &batch)?;
            at += batch.bytes;
        }
        self.payload.extend(pieces);
        Ok(())
    }
}

/// The first fields of a batch: base offset, length of what follows it, leader epoch.
const START: usize = 8 + 4 + 4;

/// Whether the bytes at `at` are those of `batch`, and not of one that came in its place.
fn check_start(pieces: &[Bytes], at: usize, batch: &Stored) -> Result<(), EncodeError> {
    let Stored { base, term, bytes, .. } = *batch;
    let replaced = EncodeError::Replaced { base, term };
    let mut start = [0; START];
    if bytes < START || copy_from(pieces, at, &mut start).is_none() {
        return Err(replaced);
    }
    let mut fields = &start[..];
    let right = fields.get_i64() == base.get()
        && usize::try_from(fields.get_i32()).ok().and_then(|len| len.checked_add(12))
            == Some(bytes)
        && u64::try_from(fields.get_i32()).ok() == Some(term);
    if right { Ok(()) } else { Err(replaced) }
}

/// Fills `into` from position `at` of `pieces`, one after another.
fn copy_from(pieces: &[Bytes], mut at: usize, into: &mut [u8]) -> Option<()> {
    let mut left = into;
    for piece in pieces {
        let Some(here) = piece.get(at..) else {
            at -= piece.len();
            continue;
        };
        at = 0;
        let len = here.len().min(left.len());
        let (now, later) = left.split_at_mut_checked(len)?;
        now.copy_from_slice(here.get(..len)?);
        left = later;
        if left.is_empty() {
            return Some(());
        }
    }
    None
}

/// Reads an append: `read` has the head, `payload` the batches.
pub(crate) fn append(
    read: &mut WireReader,
    payload: Bytes,
) -> Decoded<AppendEntriesRequest<TypeConfig>> {
    let vote = vote(read)?;
    let prev_log_id = log_id_option(read)?;
    let leader_commit = log_id_option(read)?;
    // A blank entry takes two bytes here and fifty times as many as a value: hence a bound of its own.
    let count = read.count("entries", 2)?;
    if count > APPEND_ENTRIES_MAX {
        return Err(CodecError::Count { what: "entries", count: count as u64 });
    }
    let mut entries = Vec::with_capacity(count);
    let mut payload = WireReader::new(payload);
    if count > 0 {
        let first = read.varint("an index")?;
        let last = first.checked_add(count as u64).ok_or(CodecError::Overflow("an index"))?;
        for index in first..last {
            entries.push(entry(read, &mut payload, index)?);
        }
    }
    payload.finish()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn entry(read: &mut WireReader, payload: &mut WireReader, index: u64) -> Decoded<Entry> {
    let kind = read.u8("an entry")?;
    let term = Committed::new(read.varint("a term")?);
    let payload = match kind {
        BLANK => Payload::Blank,
        MEMBERSHIP => Payload::Membership(membership(read)?),
        BATCH => {
            let len = read.u32("a batch")?;
            Payload::Batch(Batch::Received(payload.take(len as usize, "a batch")?))
        }
        LOG_START => Payload::Batch(Batch::LogStart(read.offset()?)),
        tag => return Err(CodecError::Tag { what: "an entry", tag }),
    };
    Ok(Entry { term, index, payload })
}

pub(crate) fn put_append_answer(out: &mut Vec<u8>, answer: &AppendEntriesResponse<TypeConfig>) {
    match answer {
        AppendEntriesResponse::Success => out.push(0),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.push(1);
            put_log_id_option(out, upto.as_ref());
        }
        AppendEntriesResponse::Conflict => out.push(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.push(3);
            put_vote(out, vote);
        }
    }
}

pub(crate) fn append_answer(read: &mut WireReader) -> Decoded<AppendEntriesResponse<TypeConfig>> {
    match read.u8("an answer")? {
        0 => Ok(AppendEntriesResponse::Success),
        1 => Ok(AppendEntriesResponse::PartialSuccess(log_id_option(read)?)),
        2 => Ok(AppendEntriesResponse::Conflict),
        3 => Ok(AppendEntriesResponse::HigherVote(vote(read)?)),
        tag => Err(CodecError::Tag { what: "an answer to an append", tag }),
    }
}

pub(crate) fn put_vote_request(out: &mut Vec<u8>, request: &VoteRequest<TypeConfig>) {
    put_vote(out, &request.vote);
    put_log_id_option(out, request.last_log_id.as_ref());
    out.put_flag(request.leadership_transfer);
}

pub(crate) fn vote_request(read: &mut WireReader) -> Decoded<VoteRequest<TypeConfig>> {
    let mut request = VoteRequest::new(vote(read)?, log_id_option(read)?);
    request.leadership_transfer = read.flag("a vote request")?;
    Ok(request)
}

pub(crate) fn put_vote_answer(out: &mut Vec<u8>, answer: &VoteResponse<TypeConfig>) {
    put_vote(out, &answer.vote);
    out.put_flag(answer.vote_granted);
    put_log_id_option(out, answer.last_log_id.as_ref());
}

pub(crate) fn vote_answer(read: &mut WireReader) -> Decoded<VoteResponse<TypeConfig>> {
    let vote = vote(read)?;
    let vote_granted = read.flag("a vote")?;
    Ok(VoteResponse { vote, vote_granted, last_log_id: log_id_option(read)? })
}

pub(crate) fn put_transfer(out: &mut Vec<u8>, request: &TransferLeaderRequest<TypeConfig>) {
    put_vote(out, request.from_leader());
    out.put_replica(request.to_node_id());
    put_log_id_option(out, request.last_log_id());
}

pub(crate) fn transfer(read: &mut WireReader) -> Decoded<TransferLeaderRequest<TypeConfig>> {
    let from = vote(read)?;
    let to = read.replica()?;
    Ok(TransferLeaderRequest::new(from, to, log_id_option(read)?))
}

pub(crate) fn put_transfer_answer(out: &mut Vec<u8>, answer: &TransferLeaderResponse<TypeConfig>) {
    match answer {
        Ok(()) => out.push(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.push(1);
            put_vote(out, expected);
            put_vote(out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.push(2);
            put_log_id_option(out, expected.as_ref());
            put_log_id_option(out, actual.as_ref());
        }
    }
}

pub(crate) fn transfer_answer(
    read: &mut WireReader,
) -> Decoded<TransferLeaderResponse<TypeConfig>> {
    match read.u8("an answer")? {
        0 => Ok(Ok(())),
        1 => {
            Ok(Err(TransferLeaderError::VoteChanged { expected: vote(read)?, actual: vote(read)? }))
        }
        2 => Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: log_id_option(read)?,
            actual: log_id_option(read)?,
        })),
        tag => Err(CodecError::Tag { what: "an answer to a transfer", tag }),
    }
}

pub(crate) fn put_snapshot_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    put_log_id_option(out, meta.last_log_id.as_ref());
    put_log_id_option(out, meta.last_membership.log_id().as_ref());
    put_membership(out, meta.last_membership.membership());
}

pub(crate) fn snapshot_meta(read: &mut WireReader) -> Decoded<SnapshotMeta> {
    let last_log_id = log_id_option(read)?;
    let stored_at = log_id_option(read)?;
    let last_membership = StoredMembership::new(stored_at, membership(read)?);
    Ok(SnapshotMeta { last_log_id, last_membership })
}

pub(crate) fn put_snapshot_answer(out: &mut Vec<u8>, answer: &SnapshotResponse<TypeConfig>) {
    put_vote(out, &answer.vote);
}

pub(crate) fn snapshot_answer(read: &mut WireReader) -> Decoded<SnapshotResponse<TypeConfig>> {
    vote(read).map(SnapshotResponse::new)
}

#[cfg(test)]
mod tests;
