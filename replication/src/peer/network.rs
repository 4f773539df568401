//! openraft's view of the links: a client for each replica of a group.
//!
//! Owns: how a group's requests become frames and answers become results; the window of appends under
//! way. Never: connections.
//!
//! A stream of appends has no task of its own: it is driven by the replication task that polls it. It
//! sends ahead, up to a window, and gives the answers in order.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::Mutex;

use super::calls::Waiting;
use super::error::PeerError;
use super::frame::{FrameKind, OutFrame};
use super::groups::SnapshotSource;
use super::hello::{BY_KEY, Lane};
use super::link::{Connection, answer};
use super::links::Links;
use super::pace::Pace;
use super::raft_codec::{self as codec, APPEND_ENTRIES_MAX, AppendPart};
use super::wire::{CodecError, WireReader, WireWrite};
use crate::leadership::Claim;
use crate::raft::{Batch, Entry, GroupId, LogId, Payload, ReplicaId, TypeConfig, Vote};

/// Makes the clients of one group. `S` is the snapshot that the group sends.
pub struct GroupNetwork<S> {
    links: Arc<Links>,
    group: GroupId,
    snapshot: PhantomData<fn() -> S>,
}

/// A client of one group for one of its replicas.
pub struct ReplicaClient<S> {
    links: Arc<Links>,
    group: GroupId,
    target: ReplicaId,
    snapshot: PhantomData<fn() -> S>,
}

impl<S> std::fmt::Debug for GroupNetwork<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupNetwork").field("group", &self.group).finish_non_exhaustive()
    }
}

impl<S> std::fmt::Debug for ReplicaClient<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaClient")
            .field("group", &self.group)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<S> GroupNetwork<S> {
    pub(crate) fn new(links: Arc<Links>, group: GroupId) -> Self {
        Self { links, group, snapshot: PhantomData }
    }
}

impl<S: SnapshotSource> RaftNetworkFactory<TypeConfig> for GroupNetwork<S> {
    type Network = ReplicaClient<S>;

    async fn new_client(&mut self, target: ReplicaId, _node: &EmptyNode) -> ReplicaClient<S> {
        let (links, group) = (Arc::clone(&self.links), self.group);
        ReplicaClient { links, group, target, snapshot: PhantomData }
    }
}

type RpcError = RPCError<TypeConfig>;
type AppendResult = Result<StreamAppendResult<TypeConfig>, RpcError>;

/// How openraft is to take a failure: it waits before the next attempt, since the links connect again by
/// themselves and tell the groups when they have.
fn rpc_error(error: &PeerError) -> RpcError {
    match error {
        PeerError::Broken(_) | PeerError::Timeout(_) => RPCError::Network(NetworkError::new(error)),
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

impl<S: SnapshotSource> ReplicaClient<S> {
    /// The head of a request, addressed, and the connection to send it on.
    fn address(&self, connection: &Connection) -> Result<Vec<u8>, PeerError> {
        let mut head = OutFrame::buffer();
        head.put_group(&self.group);
        let place = connection.info.directories.iter().position(|id| *id == self.target.directory);
        // Most replicas go by the id of a directory that the peer has told of.
        match place.and_then(|place| u8::try_from(place).ok()).filter(|place| *place != BY_KEY) {
            Some(place) => head.push(place),
            None => {
                head.push(BY_KEY);
                head.put_uuid(self.target.directory);
            }
        }
        Ok(head)
    }

    async fn call<T>(
        &self,
        kind: FrameKind,
        put: impl FnOnce(&mut Vec<u8>),
        read: impl FnOnce(&mut WireReader) -> Result<T, CodecError>,
        allowed: Duration,
    ) -> Result<T, PeerError> {
        let connection = self.links.link(self.target.node, Lane::Requests).current()?;
        let mut head = self.address(&connection)?;
        put(&mut head);
        let shared = &self.links.shared;
        let waiting = connection.request(shared, kind, (head, Vec::new()), allowed).await?;
        Ok(read(&mut WireReader::new(answer(waiting).await?))?)
    }

    /// A replica that catches up waits for the throttle; one that is in sync never does.
    async fn hold_back(&self, part: &AppendPart<'_>) {
        let bytes: usize = part.entries.iter().map(payload_bytes).sum();
        let (shared, node) = (&self.links.shared, self.target.node);
        let in_sync = |claim: Option<&Claim>| claim.is_some_and(|it| it.isr.contains(&node));
        if bytes == 0 || shared.table.look(&self.group, in_sync) {
            return;
        }
        shared.throttle.wait(&self.group, node, bytes as u64, || shared.now()).await;
    }

    /// Sends one append, or a part of one.
    async fn send_append(&self, part: &AppendPart<'_>) -> Result<Waiting, PeerError> {
        let shared = &self.links.shared;
        let connection = self.links.link(self.target.node, Lane::Requests).current()?;
        let mut head = self.address(&connection)?;
        let mut payload = Vec::new();
        let group = || {
            shared.groups.get(&self.group).ok_or_else(|| io::Error::other("the group has stopped"))
        };
        codec::put_append(&mut head, &mut payload, part, |base, end| group()?.batches(base, end))
            .map_err(|error| PeerError::Unsendable(error.to_string()))?;
        let allowed = shared.settings.append_timeout;
        connection.request(shared, FrameKind::Append, (head, payload), allowed).await
    }
}

/// Where the entries of a request are cut, so that no frame is too large.
fn parts(
    request: &AppendEntriesRequest<TypeConfig>,
    bytes_max: usize,
) -> impl Iterator<Item = AppendPart<'_>> {
    let mut left = request.entries.as_slice();
    let mut prev = request.prev_log_id;
    let mut first = true;
    std::iter::from_fn(move || {
        if left.is_empty() && !std::mem::take(&mut first) {
            return None;
        }
        first = false;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let before = bytes;
            bytes += payload_bytes(entry);
            before == 0 || bytes <= bytes_max
        };
        let count = left.iter().take(APPEND_ENTRIES_MAX).take_while(fits).count();
        let (entries, rest) = left.split_at_checked(count).unwrap_or((left, &[]));
        let part = AppendPart { request, prev, entries };
        prev = last_of(&part);
        left = rest;
        Some(part)
    })
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Batch(Batch::Stored { bytes, .. }) => *bytes as usize,
        Payload::Batch(Batch::Received(bytes)) => bytes.len(),
        Payload::Batch(Batch::Proposed(_) | Batch::LogStart(_))
        | Payload::Blank
        | Payload::Membership(_) => 0,
    }
}

fn last_of(part: &AppendPart<'_>) -> Option<LogId> {
    let last = part.entries.last().map(|entry| LogId::new(entry.term, entry.index));
    last.or(part.prev)
}

/// A part that was sent.
struct Sent {
    prev: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    waiting: Waiting,
}

/// A stream of appends to one replica.
struct Appends<'s, S, I> {
    client: &'s ReplicaClient<S>,
    input: Option<I>,
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    /// What sending came to; told after the answers to what was sent before.
    failed: Option<RpcError>,
}

impl<S: SnapshotSource, I> Appends<'_, S, I>
where
    I: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    async fn next(&mut self) -> Option<AppendResult> {
        let settings = &self.client.links.shared.settings;
        loop {
            let may_send = self.sent.len() < settings.append_window
                && self.sent_bytes < settings.append_window_bytes
                && self.failed.is_none();
            let input = self.input.as_mut().filter(|_| may_send);
            match (self.sent.front_mut(), input) {
                (None, None) => return self.failed.take().map(Err),
                (Some(front), None) => {
                    let answered = (&mut front.waiting).await;
                    return self.take(answered);
                }
                (None, Some(input)) => {
                    let request = input.next().await;
                    self.send(request).await;
                }
                (Some(front), Some(input)) => {
                    // Losing either future loses nothing.
                    let next = select(&mut front.waiting, input.next());
                    let (answered, request) = match next.await {
                        Either::Left((answered, _)) => (Some(answered), None),
                        Either::Right((request, _)) => (None, Some(request)),
                    };
                    if let Some(answered) = answered {
                        return self.take(answered);
                    }
                    self.send(request.flatten()).await;
                }
            }
        }
    }

    async fn send(&mut self, request: Option<AppendEntriesRequest<TypeConfig>>) {
        let Some(request) = request else {
            self.input = None;
            return;
        };
        for part in parts(&request, self.client.links.shared.settings.append_bytes_max) {
            self.client.hold_back(&part).await;
            match self.client.send_append(&part).await {
                Ok(waiting) => {
                    let (prev, last) = (part.prev, last_of(&part));
                    let bytes = part.entries.iter().map(payload_bytes).sum();
                    self.sent_bytes += bytes;
                    self.sent.push_back(Sent { prev, last, bytes, waiting });
                }
                Err(error) => {
                    self.failed = Some(rpc_error(&error));
                    self.input = None;
                    return;
                }
            }
        }
    }

    /// The answer to the oldest part. After a failure nothing follows.
    fn take(
        &mut self,
        answered: Result<super::calls::Answer, tokio::sync::oneshot::error::RecvError>,
    ) -> Option<AppendResult> {
        let sent = self.sent.pop_front()?;
        self.sent_bytes -= sent.bytes;
        let read = answered
            .unwrap_or(Err(PeerError::Stopping))
            .and_then(|head| Ok(codec::append_answer(&mut WireReader::new(head))?));
        let result = match read {
            Ok(AppendEntriesResponse::Success) => Ok(Ok(sent.last)),
            Ok(AppendEntriesResponse::PartialSuccess(upto)) => {
                self.end();
                Ok(Ok(upto))
            }
            Ok(AppendEntriesResponse::HigherVote(vote)) => {
                Ok(Err(StreamAppendError::HigherVote(vote)))
            }
            Ok(AppendEntriesResponse::Conflict) => match sent.prev {
                Some(prev) => Ok(Err(StreamAppendError::Conflict(prev))),
                // The very beginning conflicts with nothing.
                None => Err(rpc_error(&PeerError::Unsendable("a senseless conflict".to_owned()))),
            },
            Err(error) => Err(rpc_error(&error)),
        };
        if !matches!(result, Ok(Ok(_))) {
            self.end();
        }
        Some(result)
    }

    fn end(&mut self) {
        self.input = None;
        self.failed = None;
        self.sent.clear();
        self.sent_bytes = 0;
    }
}

impl<S: SnapshotSource> RaftNetworkV2<TypeConfig> for ReplicaClient<S> {
    type SnapshotData = S;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let input = futures_util::stream::iter([request]);
        let mut answers = self.stream_append(input, option).await?;
        let mut last = AppendEntriesResponse::Success;
        while let Some(answer) = answers.next().await {
            last = answer?.into();
        }
        Ok(last)
    }

    /// The deadline of `option` is that of a heartbeat; a disk that is slow for a moment must not make
    /// the leader send everything again, so appends have one of their own.
    fn stream_append<'s, I>(
        &'s mut self,
        input: I,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, RpcError>>
    where
        I: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let client: &'s Self = self;
        let (sent, sent_bytes) = (VecDeque::new(), 0);
        let appends = Appends { client, input: Some(input), sent, sent_bytes, failed: None };
        let stream = futures_util::stream::unfold(appends, |mut appends| async move {
            let result = appends.next().await?;
            Some((result, appends))
        });
        Box::pin(std::future::ready(Ok(stream.boxed())))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let put = |head: &mut Vec<u8>| codec::put_vote_request(head, &request);
        self.call(FrameKind::Vote, put, codec::vote_answer, option.soft_ttl())
            .await
            .map_err(|error| rpc_error(&error))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let put = |head: &mut Vec<u8>| codec::put_vote_request(head, &request);
        self.call(FrameKind::PreVote, put, codec::vote_answer, option.soft_ttl())
            .await
            .map_err(|error| rpc_error(&error))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let put = |head: &mut Vec<u8>| codec::put_transfer(head, &request);
        self.call(FrameKind::Transfer, put, codec::transfer_answer, option.soft_ttl())
            .await
            .map_err(|error| rpc_error(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, S>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = std::pin::pin!(self.send_snapshot(vote, snapshot, option.soft_ttl()));
        let sent = match select(sending, std::pin::pin!(cancel)).await {
            Either::Left((sent, _)) => sent,
            Either::Right((closed, _)) => return Err(closed.into()),
        };
        sent.map_err(|error| rpc_error(&error).into())
    }

    /// Short, and then longer: when the link comes back, the groups are told and do not wait it out.
    fn backoff(&self) -> Option<Backoff> {
        let waits = [50, 100, 200, 400, 800, 1_600].map(Duration::from_millis);
        Some(Backoff::new(waits.into_iter().chain(std::iter::repeat(Duration::from_secs(3)))))
    }
}

impl<S: SnapshotSource> ReplicaClient<S> {
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, S>,
        allowed: Duration,
    ) -> Result<SnapshotResponse<TypeConfig>, PeerError> {
        let shared = &self.links.shared;
        let link = self.links.link(self.target.node, Lane::Bulk);
        let connection = link.connected(allowed).await?;
        let mut source = snapshot.snapshot;
        source.open().map_err(|error| PeerError::Unsendable(error.to_string()))?;
        let bytes = source.bytes();
        let mut head = self.address(&connection)?;
        codec::put_vote(&mut head, &vote);
        codec::put_snapshot_meta(&mut head, &snapshot.meta);
        head.put_varint(bytes);
        head.put_bytes(&source.head());
        // The answer comes after the last byte: what is allowed is the time without progress, below.
        let (correlation, waiting) =
            connection.begin(shared, FrameKind::SnapshotBegin, head, SNAPSHOT_MAX).await?;
        let giving_up = GiveUp { connection: &connection, correlation, armed: true };
        let mut at = 0;
        while at < bytes {
            let chunk = source
                .read(at, shared.settings.bulk_chunk_bytes)
                .map_err(|error| PeerError::Unsendable(error.to_string()))?;
            if chunk.is_empty() {
                return Err(PeerError::Unsendable(
                    "the snapshot is shorter than it said".to_owned(),
                ));
            }
            at += chunk.len() as u64;
            self.links.pace_bulk(self.target.node, chunk.len()).await;
            link.touch(shared.now());
            let step = connection.follow_up(FrameKind::SnapshotChunk, correlation, chunk);
            tokio::time::timeout(allowed, step)
                .await
                .map_err(|_| PeerError::Timeout(allowed))??;
        }
        connection.follow_up(FrameKind::SnapshotEnd, correlation, Bytes::new()).await?;
        giving_up.disarm();
        link.touch(shared.now());
        let head = tokio::time::timeout(SNAPSHOT_INSTALL_MAX.max(allowed), answer(waiting))
            .await
            .map_err(|_| PeerError::Timeout(allowed))??;
        Ok(codec::snapshot_answer(&mut WireReader::new(head))?)
    }
}

/// A snapshot of any size is through by then, at any sensible rate.
const SNAPSHOT_MAX: Duration = Duration::from_secs(6 * 3_600);
/// To install what has come: it is synced to the disk.
const SNAPSHOT_INSTALL_MAX: Duration = Duration::from_secs(30);

/// Tells the peer that no more of a snapshot will come, unless it has all come.
struct GiveUp<'a> {
    connection: &'a Connection,
    correlation: u64,
    armed: bool,
}

impl GiveUp<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.connection.cancel(FrameKind::SnapshotCancel, self.correlation);
        }
    }
}

/// The pace of snapshots to one peer.
#[derive(Debug)]
pub(crate) struct BulkPace(Mutex<Pace>);

impl BulkPace {
    pub(crate) fn new(pace: Pace) -> Self {
        Self(Mutex::new(pace))
    }

    pub(crate) async fn wait(&self, bytes: usize, now: ottla_protocol::model::MonoTime) {
        let pause = self.0.lock().take(bytes as u64, now);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}
