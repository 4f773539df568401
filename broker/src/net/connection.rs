//! One client connection: a single task that reads frames, runs handlers and writes responses.
//!
//! Owns: the order of responses, how many requests may be under way, idle and first-frame
//! deadlines. Never: what a request means. Invariant: responses leave in request order; a request is
//! dispatched only after its frame's bytes were reserved and the guard has passed its body.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_protocol::model::MonoTime;
use tokio::net::TcpStream;

use super::budget::Reservation;
use super::inbound::{Head, Inbound};
use super::outbound::Outbound;
use crate::api::dispatch::{self, ClientIds};
use crate::api::handler::{ConnectionInfo, Dispatched, Outcome};
use crate::clock::Sleep;
use crate::services::Services;

/// Requests of one connection that may wait for their answers at once.
const PIPELINE_MAX: usize = 1024;
/// Frames up to this length are covered by the pipeline limit and reserve nothing.
const RESERVE_ABOVE: usize = 4 * 1024;
/// Answers that wait for the socket beyond this many bytes stop the reading of requests.
const OUTBOUND_MAX: usize = 256 * 1024;
/// Requests one wake-up serves before other connections get their turn.
const TURN_MAX: usize = 128;
/// How long a new connection may take for its first frame.
const FIRST_FRAME: Duration = Duration::from_secs(30);

/// Why a connection ended; said in the log at debug level, refusals at warn.
#[derive(Debug)]
pub(crate) enum End {
    PeerClosed,
    Idle,
    ShuttingDown,
    Refused(String),
    Io(io::Error),
}

type Later = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Reserving = Pin<Box<dyn Future<Output = Option<Reservation>> + Send>>;

/// A request whose response has not been written.
struct Pending {
    reply: Later,
    #[allow(dead_code, reason = "held until the response is written")]
    reservation: Option<Reservation>,
}

pub(crate) struct Connection {
    stream: TcpStream,
    services: Arc<Services>,
    info: Arc<ConnectionInfo>,
    inbound: Inbound,
    outbound: Outbound,
    pending: VecDeque<Pending>,
    client_ids: ClientIds,
    /// Bytes reserved for the frame at the head of `inbound`, once they were granted.
    reserved: Option<Reservation>,
    reserving: Option<Reserving>,
    last_active: MonoTime,
    frames_seen: bool,
    idle_timer: Sleep,
    peer_closed: bool,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        services: Arc<Services>,
        info: Arc<ConnectionInfo>,
    ) -> Self {
        let now = services.clock.now().mono;
        let first = services.edge.idle_max.min(FIRST_FRAME);
        Self {
            inbound: Inbound::new(services.edge.frame_bytes_max),
            outbound: Outbound::default(),
            pending: VecDeque::new(),
            client_ids: ClientIds::default(),
            reserved: None,
            reserving: None,
            last_active: now,
            frames_seen: false,
            idle_timer: services.clock.sleep_until(now.plus(first)),
            peer_closed: false,
            stream,
            services,
            info,
        }
    }

    /// Runs until the peer leaves, is refused, or `shutdown` completes and all is answered.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> End {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut draining = false;
        std::future::poll_fn(|cx| {
            if !draining && shutdown.as_mut().poll(cx).is_ready() {
                draining = true;
            }
            match self.poll(cx, draining) {
                ControlFlow::Break(end) => Poll::Ready(end),
                ControlFlow::Continue(()) => Poll::Pending,
            }
        })
        .await
    }

    /// Makes all progress that can be made now. Returns with wake-ups registered.
    fn poll(&mut self, cx: &mut Context<'_>, draining: bool) -> ControlFlow<End> {
        let mut turn = TURN_MAX;
        loop {
            let answered = self.poll_answers(cx)?;
            self.poll_write(cx)?;
            if draining && self.pending.is_empty() && self.outbound.is_empty() {
                return ControlFlow::Break(End::ShuttingDown);
            }
            let read = !draining && self.poll_read(cx, &mut turn)?;
            if self.peer_closed && self.pending.is_empty() && self.outbound.is_empty() {
                return ControlFlow::Break(End::PeerClosed);
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                return ControlFlow::Continue(());
            }
            if !answered && !read {
                return self.poll_idle(cx);
            }
        }
    }

    /// Moves answers from the head of the queue to the outbound segments.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> ControlFlow<End, bool> {
        let mut any = false;
        while let Some(head) = self.pending.front_mut() {
            let Poll::Ready(outcome) = head.reply.as_mut().poll(cx) else { break };
            self.pending.pop_front();
            any = true;
            self.finish(outcome)?;
        }
        ControlFlow::Continue(any)
    }

    fn finish(&mut self, outcome: Outcome) -> ControlFlow<End> {
        match outcome {
            Outcome::Write(frame) => self.outbound.push(frame),
            Outcome::Silent => {}
            Outcome::Disconnect(reason) => return ControlFlow::Break(End::Refused(reason)),
        }
        ControlFlow::Continue(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> ControlFlow<End> {
        match self.outbound.poll_write(cx, &self.stream) {
            Poll::Ready(Err(error)) => ControlFlow::Break(End::Io(error)),
            Poll::Ready(Ok(())) | Poll::Pending => ControlFlow::Continue(()),
        }
    }

    /// Dispatches what is in the buffer, then reads more. True when a request was dispatched.
    fn poll_read(&mut self, cx: &mut Context<'_>, turn: &mut usize) -> ControlFlow<End, bool> {
        let mut dispatched = false;
        // A client that does not take its answers is not read from.
        while self.pending.len() < PIPELINE_MAX && self.outbound.len() < OUTBOUND_MAX {
            match self.inbound.head() {
                Err(error) => return ControlFlow::Break(End::Refused(error.to_string())),
                Ok(Head::Frame(size)) => {
                    if !self.poll_reserve(cx, size) {
                        break;
                    }
                    self.dispatch(size)?;
                    dispatched = true;
                    *turn -= 1;
                    if *turn == 0 {
                        break;
                    }
                    continue;
                }
                Ok(Head::Partial(size)) => {
                    if !self.poll_reserve(cx, size) {
                        break;
                    }
                }
                Ok(Head::Empty) => {}
            }
            if self.peer_closed || !self.fill(cx)? {
                break;
            }
        }
        ControlFlow::Continue(dispatched)
    }

    /// Reads once; false when there is nothing to read now.
    fn fill(&mut self, cx: &mut Context<'_>) -> ControlFlow<End, bool> {
        match self.inbound.try_read(&self.stream) {
            Ok(0) => {
                self.peer_closed = true;
                ControlFlow::Continue(false)
            }
            Ok(_) => ControlFlow::Continue(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.inbound.release();
                match self.stream.poll_read_ready(cx) {
                    Poll::Pending => ControlFlow::Continue(false),
                    Poll::Ready(Ok(())) => ControlFlow::Continue(true),
                    Poll::Ready(Err(error)) => ControlFlow::Break(End::Io(error)),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ControlFlow::Continue(true),
            Err(error) => ControlFlow::Break(End::Io(error)),
        }
    }

    /// True once the bytes of the frame at the head are reserved.
    fn poll_reserve(&mut self, cx: &mut Context<'_>, size: usize) -> bool {
        if size <= RESERVE_ABOVE || self.reserved.is_some() {
            return true;
        }
        if self.reserving.is_none() {
            if let Some(reservation) = self.services.edge.budget.try_take(size) {
                self.reserved = Some(reservation);
                return true;
            }
            let budget = self.services.edge.budget.clone();
            self.reserving = Some(Box::pin(async move { budget.take(size).await }));
        }
        let Some(wait) = self.reserving.as_mut() else { return false };
        match wait.as_mut().poll(cx) {
            Poll::Pending => false,
            Poll::Ready(reservation) => {
                self.reserving = None;
                self.reserved = reservation;
                true
            }
        }
    }

    fn dispatch(&mut self, size: usize) -> ControlFlow<End> {
        let frame = self.inbound.take(size);
        let reservation = self.reserved.take();
        let now = self.services.clock.now();
        self.last_active = now.mono;
        self.frames_seen = true;
        let dispatched =
            dispatch::request(&self.services, &self.info, &mut self.client_ids, frame, now);
        match dispatched {
            Dispatched::Now(outcome) if self.pending.is_empty() => self.finish(outcome),
            Dispatched::Now(outcome) => {
                let reply = Box::pin(std::future::ready(outcome));
                self.pending.push_back(Pending { reply, reservation });
                ControlFlow::Continue(())
            }
            Dispatched::Later(reply) => {
                self.pending.push_back(Pending { reply, reservation });
                ControlFlow::Continue(())
            }
        }
    }

    /// Closes a connection that said nothing for too long; otherwise arms the timer again.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> ControlFlow<End> {
        while self.idle_timer.as_mut().poll(cx).is_ready() {
            let now = self.services.clock.now().mono;
            let busy = !self.pending.is_empty() || !self.outbound.is_empty();
            if !self.frames_seen && !busy {
                return ControlFlow::Break(End::Idle);
            }
            let since = if busy { now } else { self.last_active };
            let deadline = since.plus(self.services.edge.idle_max);
            if deadline <= now {
                return ControlFlow::Break(End::Idle);
            }
            self.idle_timer = self.services.clock.sleep_until(deadline);
        }
        ControlFlow::Continue(())
    }
}
