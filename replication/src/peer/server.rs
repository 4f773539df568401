//! The connections that peers make to this node.
//!
//! Owns: the answer to an introduction, and the way of a request to a group or to the control service and
//! of its answer back. Never: what a group does with a request.
//!
//! One task runs a connection: it reads requests, hands each to its group in the order in which they
//! came, and waits for all of them side by side. So a group keeps its order, a slow group delays no
//! other, and an idle group costs nothing.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use ottla_protocol::model::{NodeId, Uuid};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::connect::FIRST_SEQUENCE;
use super::control::ControlKind;
use super::dial::PeerStream;
use super::error::{Fault, LinkError, Refusal};
use super::frame::{Frame, FrameKind, FrameReader, OutFrame};
use super::groups::{GroupRpc, IncomingSnapshot, SnapshotSink};
use super::heartbeat::{Heartbeat, HeartbeatAnswer};
use super::hello::{BY_KEY, HELLO_BYTES_MAX, Hello, Lane, PeerInfo, put_info};
use super::outbound::{Outbound, write_all};
use super::raft_codec as codec;
use super::shared::{PeerProblem, Pulse, Shared, Trouble};
use super::wire::{CodecError, WireReader, WireWrite};

/// The head of an answer.
type Outcome = Result<Vec<u8>, Fault>;

/// The process that speaks for each node at present, so that a second one with the same id is noticed.
#[derive(Debug, Default)]
pub(crate) struct Visitors(Mutex<BTreeMap<NodeId, Visitor>>);

#[derive(Debug)]
struct Visitor {
    incarnation: u64,
    connections: usize,
    /// When one of these connections brought something last. Not the node's pulse: that is also heard
    /// where its successor answers us.
    heard: Arc<Pulse>,
}

impl Visitor {
    fn new(incarnation: u64) -> Self {
        Self { incarnation, connections: 0, heard: Arc::default() }
    }
}

impl Visitors {
    /// A node introduced itself. Another process that speaks for the same node and is still heard makes
    /// it an impostor; one that has fallen silent was its predecessor.
    fn admit(&self, shared: &Shared, hello: &Hello) -> Result<Arc<Pulse>, Refusal> {
        let (node, incarnation) = (hello.from.node, hello.from.incarnation);
        let mut visitors = self.0.lock();
        let visitor = visitors.entry(node).or_insert_with(|| Visitor::new(incarnation));
        if visitor.incarnation != incarnation {
            let silent = shared.silent_for(&visitor.heard);
            if visitor.connections > 0 && silent < shared.settings.liveness.suspect_after {
                return Err(Refusal::DuplicateNode { node });
            }
            *visitor = Visitor::new(incarnation);
        }
        visitor.connections += 1;
        shared.heard(&visitor.heard);
        Ok(Arc::clone(&visitor.heard))
    }

    fn leave(&self, hello: &Hello) {
        let mut visitors = self.0.lock();
        let visitor = visitors.get_mut(&hello.from.node);
        if let Some(visitor) = visitor.filter(|it| it.incarnation == hello.from.incarnation) {
            visitor.connections = visitor.connections.saturating_sub(1);
        }
    }
}

/// Serves a connection whose magic was read, until it ends.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    visitors: &Visitors,
    stream: impl PeerStream,
    met: impl Fn(NodeId),
) -> LinkError {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut frames = FrameReader::new(HELLO_BYTES_MAX);
    let limit = shared.settings.connect_timeout;
    let (correlation, hello) = match listen(&mut frames, &mut read, limit).await {
        Ok(hello) => hello,
        Err(error) => return error,
    };
    let me = shared.info();
    let checked = if shared.is_stopping() { Err(Refusal::Stopping) } else { hello.check(&me) };
    let probe = hello.lane == Lane::Probe;
    let admitted = checked.and_then(|()| match probe {
        true => Ok(Arc::default()),
        false => visitors.admit(shared, &hello),
    });
    let written = reply(&mut write, correlation, admitted.as_ref().map(|_| &me)).await;
    let heard_here = match admitted {
        Ok(heard) => heard,
        Err(refusal) => {
            let _closing = write.shutdown().await;
            if refusal != Refusal::Stopping {
                let problem = PeerProblem::Refused(refusal.clone());
                shared.report(hello.from.node, Trouble::BeingReached, problem);
            }
            return refusal.into();
        }
    };
    frames.set_frame_bytes_max(shared.settings.frame_bytes_max);
    let pulse = shared.pulse(hello.from.node);
    if !probe {
        shared.heard(&pulse);
        shared.meet(&hello.from);
        shared.settle(hello.from.node, Trouble::BeingReached);
        met(hello.from.node);
    }
    let visit = Visit {
        shared: Arc::clone(shared),
        from: hello.from.node,
        probe,
        directories: me.directories,
        pulse,
        heard_here,
        idle_max: match hello.lane {
            Lane::Requests => shared.settings.silent_max * 2,
            Lane::Bulk | Lane::Probe => shared.settings.bulk_idle_max * 2,
        },
        running: FuturesUnordered::new(),
        running_bytes: 0,
        sinks: BTreeMap::new(),
    };
    let error = match written {
        Err(error) => error.into(),
        Ok(()) => tokio::select! {
            biased;
            () = shared.stopped() => LinkError::Stopping,
            error = visit.run(read, write, frames) => error,
        },
    };
    if !probe {
        visitors.leave(&hello);
    }
    error
}

/// Waits for the introduction of the one who connected.
async fn listen<R: AsyncRead + Unpin>(
    frames: &mut FrameReader,
    read: &mut R,
    limit: Duration,
) -> Result<(u64, Hello), LinkError> {
    let first = tokio::time::timeout(limit, frames.next(read, || {})).await;
    let first = first.unwrap_or(Err(LinkError::ConnectTimeout(limit)))?;
    if first.kind != FrameKind::Hello {
        return Err(LinkError::OutOfPlace);
    }
    Ok((first.correlation, Hello::read(first.head)?))
}

/// Introduces this node in turn, or says why it does not.
async fn reply<W: AsyncWrite + Unpin>(
    write: &mut W,
    correlation: u64,
    answer: Result<&PeerInfo, &Refusal>,
) -> std::io::Result<()> {
    let mut head = OutFrame::buffer();
    let kind = match answer {
        Ok(me) => {
            put_info(&mut head, me);
            FrameKind::Welcome
        }
        Err(refusal) => {
            refusal.put(&mut head);
            FrameKind::Refused
        }
    };
    let mut pieces = OutFrame::new(kind, correlation, head, Vec::new()).into_pieces(0).collect();
    write_all(write, &mut pieces).await?;
    write.flush().await
}

/// A request that is being carried out.
type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

struct Done {
    correlation: u64,
    bytes: usize,
    outcome: Outcome,
}

/// One connection.
struct Visit {
    shared: Arc<Shared>,
    from: NodeId,
    probe: bool,
    /// As they were told to the peer, which names them by their place.
    directories: Vec<Uuid>,
    pulse: Arc<Pulse>,
    /// What came on the connections of this process of the peer.
    heard_here: Arc<Pulse>,
    /// Silence after which nobody is there: a machine that lost its power ends no connection.
    idle_max: Duration,
    running: FuturesUnordered<Running>,
    running_bytes: usize,
    /// Snapshots that are coming in, by their correlation ids.
    sinks: BTreeMap<u64, Result<Box<dyn SnapshotSink>, Fault>>,
}

/// Snapshots that come in on one connection at a time.
const SINKS_MAX: usize = 64;

impl Visit {
    async fn run<R, W>(mut self, mut read: R, mut write: W, mut frames: FrameReader) -> LinkError
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let out = Outbound::new(1);
        let shared = Arc::clone(&self.shared);
        let (heard_by, pulse, probe) = (Arc::clone(&shared), Arc::clone(&self.pulse), self.probe);
        let last = Arc::new(Pulse::default());
        shared.heard(&last);
        let (heard_here, heard_last) = (Arc::clone(&self.heard_here), Arc::clone(&last));
        let heard = move || {
            heard_by.heard(&heard_last);
            if !probe {
                heard_by.heard(&heard_here);
                heard_by.heard(&pulse);
            }
        };
        let silence = silent_for(Arc::clone(&shared), last, self.idle_max);
        let serving = async {
            loop {
                let full = self.running_bytes >= shared.settings.inflight_bytes_max;
                tokio::select! {
                    biased;
                    Some(done) = self.running.next(), if !self.running.is_empty() => {
                        self.running_bytes -= done.bytes;
                        push_answer(&out, done.correlation, done.outcome);
                    }
                    frame = frames.next(&mut read, &heard), if !full => {
                        match frame {
                            Ok(frame) => {
                                if let Err(error) = self.on_frame(&out, frame).await {
                                    return error;
                                }
                            }
                            Err(error) => return error,
                        }
                    }
                    () = tokio::time::sleep(shared.settings.stall_max), if full => {
                        return LinkError::Stalled(shared.settings.stall_max);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            error = serving => error,
            end = out.write(&mut write, FIRST_SEQUENCE) => {
                end.err().map_or(LinkError::Ended, LinkError::Io)
            }
            silence = silence => LinkError::Silent(silence),
        }
    }

    async fn on_frame(&mut self, out: &Outbound, frame: Frame) -> Result<(), LinkError> {
        let (correlation, bytes) = (frame.correlation, frame.len());
        let allowed = !self.probe || frame.kind == FrameKind::Control;
        let running = match frame.kind {
            _ if !allowed => return Err(LinkError::OutOfPlace),
            FrameKind::Heartbeat => {
                let outcome = self.on_heartbeat(frame.head)?;
                push_answer(out, correlation, Ok(outcome));
                return Ok(());
            }
            FrameKind::SnapshotBegin => {
                self.on_snapshot_begin(frame)?;
                return Ok(());
            }
            FrameKind::SnapshotChunk => {
                self.on_snapshot_chunk(correlation, frame.payload);
                return Ok(());
            }
            FrameKind::SnapshotCancel => {
                self.sinks.remove(&correlation);
                return Ok(());
            }
            FrameKind::SnapshotEnd => self.on_snapshot_end(correlation),
            FrameKind::Control => self.on_control(frame.head)?,
            FrameKind::Append | FrameKind::Vote | FrameKind::PreVote | FrameKind::Transfer => {
                self.on_raft(frame)?
            }
            FrameKind::Hello
            | FrameKind::Welcome
            | FrameKind::Refused
            | FrameKind::Answer
            | FrameKind::Fault => return Err(LinkError::OutOfPlace),
        };
        let mut running: Running =
            Box::pin(async move { Done { correlation, bytes, outcome: running.await } });
        // The first poll hands the request to its group, before the next request is looked at.
        match poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await {
            Poll::Ready(done) => push_answer(out, correlation, done.outcome),
            Poll::Pending => {
                self.running_bytes += bytes;
                self.running.push(running);
            }
        }
        Ok(())
    }

    fn on_heartbeat(&self, head: Bytes) -> Result<Vec<u8>, CodecError> {
        let Heartbeat { wall, news, begun } = Heartbeat::read(head)?;
        self.shared.check_clock(self.from, wall);
        self.shared.hear(self.from, news.changes);
        self.shared.hear_begun(self.from, begun);
        let mut head = OutFrame::buffer();
        HeartbeatAnswer { wall: self.shared.wall(), upto: news.upto }.put(&mut head);
        Ok(head)
    }

    /// The group that a request is for, if it is here.
    fn group(&self, read: &mut WireReader) -> Result<Result<Arc<dyn GroupRpc>, Fault>, CodecError> {
        let id = read.group()?;
        let key = match read.u8("a directory")? {
            BY_KEY => Some(read.uuid()?),
            place => self.directories.get(usize::from(place)).copied(),
        };
        let Some(group) = self.shared.groups.get(&id) else {
            let reason = self.shared.groups.stop_reason(&id);
            return Ok(Err(reason.map_or(Fault::NoSuchGroup, |it| Fault::Stopped(it.to_string()))));
        };
        if key != Some(group.replica().directory) {
            return Ok(Err(Fault::OtherDirectory));
        }
        Ok(Ok(group))
    }

    fn on_raft(&self, frame: Frame) -> Result<BoxFuture<'static, Outcome>, CodecError> {
        let mut read = WireReader::new(frame.head);
        let group = match self.group(&mut read)? {
            Ok(group) => group,
            Err(fault) => return Ok(refuse(fault)),
        };
        Ok(match frame.kind {
            FrameKind::Append => {
                let request = codec::append(&mut read, frame.payload)?;
                read.finish()?;
                carry_out(group.append_entries(request), codec::put_append_answer)
            }
            FrameKind::Vote => {
                let request = codec::vote_request(&mut read)?;
                carry_out(group.vote(request), codec::put_vote_answer)
            }
            FrameKind::PreVote => {
                let request = codec::vote_request(&mut read)?;
                carry_out(group.pre_vote(request), codec::put_vote_answer)
            }
            _ => {
                let request = codec::transfer(&mut read)?;
                carry_out(group.transfer_leader(request), codec::put_transfer_answer)
            }
        })
    }

    fn on_control(&self, head: Bytes) -> Result<BoxFuture<'static, Outcome>, CodecError> {
        let mut read = WireReader::new(head);
        let kind =
            u16::try_from(read.varint("a kind")?).map_err(|_| CodecError::Overflow("a kind"))?;
        let call = self.shared.control.handle(self.from, ControlKind(kind), read.rest());
        // Other requests must not wait while this one computes, and it ends even if the caller is gone.
        let task = tokio::spawn(call);
        Ok(Box::pin(async move {
            match task.await {
                Ok(Ok(body)) => {
                    let mut head = OutFrame::buffer();
                    head.put_raw(&body);
                    Ok(head)
                }
                Ok(Err(error)) => Err(Fault::Control { code: error.code, message: error.message }),
                Err(error) => Err(Fault::Stopped(error.to_string())),
            }
        }))
    }

    fn on_snapshot_begin(&mut self, frame: Frame) -> Result<(), LinkError> {
        if self.sinks.len() >= SINKS_MAX || self.sinks.contains_key(&frame.correlation) {
            return Err(LinkError::OutOfPlace);
        }
        let mut read = WireReader::new(frame.head);
        let group = self.group(&mut read)?;
        let snapshot = IncomingSnapshot {
            vote: codec::vote(&mut read)?,
            meta: codec::snapshot_meta(&mut read)?,
            bytes: read.varint("a length")?,
            head: read.bytes("the head of a snapshot")?,
        };
        read.finish()?;
        let sink = group.and_then(|group| {
            group.snapshot_sink(snapshot).map_err(|error| Fault::Snapshot(error.to_string()))
        });
        self.sinks.insert(frame.correlation, sink);
        Ok(())
    }

    fn on_snapshot_chunk(&mut self, correlation: u64, chunk: Bytes) {
        // One that was never begun is answered at its end.
        let Some(slot) = self.sinks.get_mut(&correlation) else { return };
        if let Err(error) = slot.as_mut().map_or(Ok(()), |sink| sink.write(chunk)) {
            *slot = Err(Fault::Snapshot(error.to_string()));
        }
    }

    fn on_snapshot_end(&mut self, correlation: u64) -> BoxFuture<'static, Outcome> {
        match self.sinks.remove(&correlation) {
            Some(Ok(sink)) => carry_out(sink.finish(), codec::put_snapshot_answer),
            Some(Err(fault)) => refuse(fault),
            None => refuse(Fault::Snapshot("it was never begun".to_owned())),
        }
    }
}

/// Completes once nothing was heard for `limit`.
async fn silent_for(shared: Arc<Shared>, last: Arc<Pulse>, limit: Duration) -> Duration {
    loop {
        let silent = shared.silent_for(&last);
        if silent >= limit {
            return silent;
        }
        tokio::time::sleep(limit - silent).await;
    }
}

fn carry_out<T: Send + 'static>(
    answer: super::groups::GroupAnswer<T>,
    put: fn(&mut Vec<u8>, &T),
) -> BoxFuture<'static, Outcome> {
    Box::pin(async move {
        let answer = answer.await.map_err(|fault| Fault::Stopped(fault.0))?;
        let mut head = OutFrame::buffer();
        put(&mut head, &answer);
        Ok(head)
    })
}

fn refuse(fault: Fault) -> BoxFuture<'static, Outcome> {
    Box::pin(std::future::ready(Err(fault)))
}

fn push_answer(out: &Outbound, correlation: u64, outcome: Outcome) {
    let (kind, head) = match outcome {
        Ok(head) => (FrameKind::Answer, head),
        Err(fault) => {
            let mut head = OutFrame::buffer();
            fault.put(&mut head);
            (FrameKind::Fault, head)
        }
    };
    out.push_bounded(OutFrame::new(kind, correlation, head, Vec::new()));
}
