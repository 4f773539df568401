//! One client connection: a single task that reads frames, runs handlers and writes responses.
//!
//! Owns: the order of responses, how many requests may be under way, idle and first-frame
//! deadlines. Never: what a request means. Invariants: responses leave in request order; a request is
//! dispatched only after its frame's bytes were reserved and the guard has passed its body; a request
//! that is refused ends the connection only after everything before it was answered, as in Kafka,
//! which does not look at a request before the answer to the one before it has left.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use ottla_protocol::model::MonoTime;

use super::budget::Reservation;
use super::inbound::{Head, Inbound};
use super::outbound::Outbound;
use super::stream::Stream;
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
/// What a closing connection still takes from its peer, so that the close is no reset: a reset may
/// overtake the answers.
const DISCARD_MAX: usize = 1024 * 1024;
/// Requests one wake-up serves before other connections get their turn.
const TURN_MAX: usize = 128;
/// How long a client may be silent within a frame that holds a part of the common budget.
const STALLED_MAX: Duration = Duration::from_secs(30);
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
    /// Length of an answer that is complete, zero for others.
    answer_bytes: usize,
    #[allow(dead_code, reason = "held until the response is written")]
    reservation: Option<Reservation>,
}

pub(crate) struct Connection {
    stream: Stream,
    services: Arc<Services>,
    info: Arc<ConnectionInfo>,
    inbound: Inbound,
    outbound: Outbound,
    pending: VecDeque<Pending>,
    /// Bytes of answers in `pending` that are complete and wait for their turn.
    answered_bytes: usize,
    /// Why the connection ends once what came before is answered; nothing is read any more.
    refused: Option<String>,
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
    /// `begun` was read of the stream already.
    pub(crate) fn new(
        stream: Stream,
        services: Arc<Services>,
        info: Arc<ConnectionInfo>,
        begun: BytesMut,
    ) -> Self {
        let now = services.clock.now().mono;
        let first = services.edge.idle_max.min(FIRST_FRAME);
        Self {
            inbound: Inbound::beginning_with(begun, services.edge.frame_bytes_max),
            outbound: Outbound::default(),
            pending: VecDeque::new(),
            answered_bytes: 0,
            refused: None,
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
            let answered = self.poll_answers(cx);
            let full = self.is_full();
            self.poll_write(cx)?;
            // Answers that found no room find some now, and only this round would ask them.
            let drained = full && !self.is_full();
            let mut read = false;
            if self.refused.is_none() && !draining {
                read = self.poll_read(cx, &mut turn)?;
            }
            if let ControlFlow::Break(end) = self.ended(draining) {
                return ControlFlow::Break(end);
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                return ControlFlow::Continue(());
            }
            if !answered && !read && !drained {
                return self.poll_idle(cx);
            }
        }
    }

    /// Nothing more will come and everything before is answered and written.
    fn ended(&mut self, draining: bool) -> ControlFlow<End> {
        if !self.pending.is_empty() || !self.outbound.is_empty() {
            return ControlFlow::Continue(());
        }
        if let Some(reason) = self.refused.take() {
            self.stream.discard(DISCARD_MAX);
            return ControlFlow::Break(End::Refused(reason));
        }
        if draining {
            return ControlFlow::Break(End::ShuttingDown);
        }
        if self.peer_closed {
            return ControlFlow::Break(End::PeerClosed);
        }
        ControlFlow::Continue(())
    }

    /// A client that does not take its answers gets no more of them, and is not read from.
    fn is_full(&self) -> bool {
        self.outbound.len() >= OUTBOUND_MAX
    }

    /// Moves answers from the head of the queue to the outbound segments, as long as there is room.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while !self.is_full() {
            let Some(head) = self.pending.front_mut() else { break };
            let Poll::Ready(outcome) = head.reply.as_mut().poll(cx) else { break };
            self.answered_bytes = self.answered_bytes.saturating_sub(head.answer_bytes);
            self.pending.pop_front();
            any = true;
            self.finish(outcome);
        }
        if any {
            self.last_active = self.services.clock.now().mono;
        }
        any
    }

    fn finish(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Write(frame) => self.outbound.push(frame),
            Outcome::Silent => {}
            Outcome::Disconnect(reason) => {
                // What came behind the refused request is not answered.
                self.pending.clear();
                self.refused = Some(reason);
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> ControlFlow<End> {
        let before = self.outbound.len();
        match self.outbound.poll_write(cx, &mut self.stream) {
            Poll::Ready(Err(error)) => return ControlFlow::Break(End::Io(error)),
            Poll::Pending if self.outbound.len() < before => {
                self.last_active = self.services.clock.now().mono;
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        ControlFlow::Continue(())
    }

    /// Dispatches what is in the buffer, then reads more. True when a request was dispatched.
    fn poll_read(&mut self, cx: &mut Context<'_>, turn: &mut usize) -> ControlFlow<End, bool> {
        let mut dispatched = false;
        while self.refused.is_none() && self.may_accept() {
            match self.inbound.head() {
                Err(error) => {
                    self.refused = Some(error.to_string());
                    break;
                }
                Ok(Head::Frame(size)) => {
                    if !self.poll_reserve(cx, size) {
                        break;
                    }
                    self.dispatch(size);
                    dispatched = true;
                    *turn -= 1;
                    if *turn == 0 {
                        break;
                    }
                    continue;
                }
                Ok(Head::Partial(size)) => {
                    let held = self.reserved.is_some();
                    if !self.poll_reserve(cx, size) {
                        break;
                    }
                    if !held && self.reserved.is_some() {
                        self.expect_progress();
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

    fn may_accept(&self) -> bool {
        self.pending.len() < PIPELINE_MAX && !self.is_full() && self.answered_bytes < OUTBOUND_MAX
    }

    /// Reads once; false when there is nothing to read now.
    fn fill(&mut self, cx: &mut Context<'_>) -> ControlFlow<End, bool> {
        match self.inbound.poll_read(cx, &mut self.stream) {
            Poll::Pending => ControlFlow::Continue(false),
            Poll::Ready(Ok(0)) => {
                self.peer_closed = true;
                ControlFlow::Continue(false)
            }
            Poll::Ready(Ok(_)) => {
                if matches!(self.inbound.head(), Ok(Head::Partial(_))) {
                    self.last_active = self.services.clock.now().mono;
                }
                ControlFlow::Continue(true)
            }
            Poll::Ready(Err(error)) => ControlFlow::Break(End::Io(error)),
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

    /// From here on the client holds a part of the budget that everybody shares, and must use it.
    fn expect_progress(&mut self) {
        let now = self.services.clock.now().mono;
        self.last_active = now;
        if self.services.edge.idle_max > STALLED_MAX {
            self.idle_timer = self.services.clock.sleep_until(now.plus(STALLED_MAX));
        }
    }

    fn dispatch(&mut self, size: usize) {
        let frame = self.inbound.take(size);
        let reservation = self.reserved.take();
        let now = self.services.clock.now();
        self.last_active = now.mono;
        self.frames_seen = true;
        let dispatched =
            dispatch::request(&self.services, &self.info, &mut self.client_ids, frame, now);
        match dispatched {
            Dispatched::Now(outcome) if self.pending.is_empty() => self.finish(outcome),
            Dispatched::Now(Outcome::Disconnect(reason)) => self.refused = Some(reason),
            Dispatched::Now(outcome) => {
                let answer_bytes = outcome.len();
                self.answered_bytes += answer_bytes;
                let reply = Box::pin(std::future::ready(outcome));
                self.pending.push_back(Pending { reply, answer_bytes, reservation });
            }
            Dispatched::Later(reply) => {
                self.pending.push_back(Pending { reply, answer_bytes: 0, reservation });
            }
        }
    }

    /// Closes a connection that said nothing for too long, did not take its answers or stopped within a
    /// large frame; otherwise arms the timer again. A client that waits for an answer may be silent.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> ControlFlow<End> {
        while self.idle_timer.as_mut().poll(cx).is_ready() {
            let now = self.services.clock.now().mono;
            if !self.frames_seen {
                return ControlFlow::Break(End::Idle);
            }
            let idle_max = self.services.edge.idle_max;
            let stalled = self.reserved.is_some() && self.may_accept();
            let silence_max = if stalled { idle_max.min(STALLED_MAX) } else { idle_max };
            // One that has closed its side can say nothing any more: it is not exempt.
            let waits = !self.pending.is_empty() && self.outbound.is_empty();
            let exempt = waits && !stalled && !self.peer_closed;
            let since = if exempt { now } else { self.last_active };
            let deadline = since.plus(silence_max);
            if deadline <= now {
                return ControlFlow::Break(End::Idle);
            }
            self.idle_timer = self.services.clock.sleep_until(deadline);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
