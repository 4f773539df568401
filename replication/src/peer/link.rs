//! The connection that this node keeps to one peer.
//!
//! Owns: connecting and connecting again, heartbeats, calls and their deadlines. Never: answers requests
//! (those come on connections that the peer makes).
//!
//! One task runs a link for the whole life of the broker: it connects, then reads, writes and beats until
//! the connection ends, tells all who wait, and begins again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{MonoTime, NodeId};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::calls::{Calls, Waiting};
use super::connect::{Connected, FIRST_SEQUENCE, connect};
use super::error::{LinkError, PeerError};
use super::frame::{FrameKind, OutFrame};
use super::heartbeat::{Heartbeat, HeartbeatAnswer};
use super::hello::{Lane, PeerInfo};
use super::outbound::Outbound;
use super::shared::{Pulse, Shared, Trouble};

/// A connection while it stands.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) info: PeerInfo,
    out: Outbound,
    calls: Calls,
    /// The last heartbeat, and when it was sent.
    beat: Mutex<(u64, MonoTime)>,
}

impl Connection {
    /// Measures the way there and back where `correlation` is the last heartbeat's.
    fn time(&self, correlation: u64, shared: &Shared, pulse: &Pulse) {
        let (beat, sent) = *self.beat.lock();
        if correlation == beat {
            pulse.note_round_trip(shared.now().since(sent));
        }
    }

    /// Sends a request, when there is room for it, and gives the means to wait for its answer.
    ///
    /// # Errors
    /// The connection has ended, or nothing was written for all the time that is allowed.
    pub(crate) async fn request(
        &self,
        shared: &Shared,
        kind: FrameKind,
        (head, payload): (Vec<u8>, Vec<Bytes>),
        allowed: Duration,
    ) -> Result<Waiting, PeerError> {
        let bytes = head.len() + payload.iter().map(Bytes::len).sum::<usize>();
        let room = tokio::time::timeout(allowed, self.out.room(bytes))
            .await
            .map_err(|_| PeerError::Timeout(allowed))?
            .map_err(|_| PeerError::NotConnected(self.node))?;
        let (correlation, waiting) = self.calls.begin(shared.now(), allowed, Some(room))?;
        self.out.push_bounded(OutFrame::new(kind, correlation, head, payload));
        Ok(waiting)
    }

    /// Sends what belongs to request `correlation` and gets no answer of its own.
    pub(crate) async fn follow_up(
        &self,
        kind: FrameKind,
        correlation: u64,
        payload: Bytes,
    ) -> Result<(), PeerError> {
        let gone = |_| PeerError::NotConnected(self.node);
        let room = self.out.room(payload.len()).await.map_err(gone)?;
        let frame = OutFrame::new(kind, correlation, OutFrame::buffer(), vec![payload]);
        self.out.push(frame, room);
        Ok(())
    }

    /// As [`Self::request`], with the correlation id for [`Self::follow_up`].
    pub(crate) async fn begin(
        &self,
        shared: &Shared,
        kind: FrameKind,
        head: Vec<u8>,
        allowed: Duration,
    ) -> Result<(u64, Waiting), PeerError> {
        let gone = |_| PeerError::NotConnected(self.node);
        let room = self.out.room(head.len()).await.map_err(gone)?;
        let (correlation, waiting) = self.calls.begin(shared.now(), allowed, None)?;
        self.out.push(OutFrame::new(kind, correlation, head, Vec::new()), room);
        Ok((correlation, waiting))
    }
}

impl Connection {
    /// Ends request `correlation`, of which more was to follow.
    pub(crate) fn cancel(&self, kind: FrameKind, correlation: u64) {
        let frame = OutFrame::new(kind, correlation, OutFrame::buffer(), Vec::new());
        self.out.push_bounded(frame);
    }
}

/// Waits for the answer to a request.
///
/// # Errors
/// The fault that came instead, or that nothing came.
pub(crate) async fn answer(waiting: Waiting) -> Result<Bytes, PeerError> {
    // The sender is told before it is dropped, except while the runtime is shut down.
    waiting.await.unwrap_or(Err(PeerError::Stopping))
}

/// A peer, whether or not it is connected.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    current: watch::Sender<Option<Arc<Connection>>>,
    /// Connect now: the address is new, the peer has shown itself, or there is something to send.
    wake: Notify,
    /// The peer is no longer of the cluster.
    end: Notify,
    used: Mutex<MonoTime>,
}

impl Link {
    pub(crate) fn new(node: NodeId, lane: Lane) -> Self {
        Self {
            node,
            lane,
            current: watch::Sender::new(None),
            wake: Notify::new(),
            end: Notify::new(),
            used: Mutex::default(),
        }
    }

    /// The connection, if it stands.
    ///
    /// # Errors
    /// `NotConnected`.
    pub(crate) fn current(&self) -> Result<Arc<Connection>, PeerError> {
        self.current.borrow().clone().ok_or(PeerError::NotConnected(self.node))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Connects if need be, and waits for it.
    ///
    /// # Errors
    /// `NotConnected` after `allowed`.
    pub(crate) async fn connected(&self, allowed: Duration) -> Result<Arc<Connection>, PeerError> {
        let mut current = self.current.subscribe();
        if current.borrow().is_none() {
            self.wake();
        }
        let found = tokio::time::timeout(allowed, current.wait_for(Option::is_some)).await;
        let connection = found.ok().and_then(|found| found.ok()?.clone());
        connection.ok_or(PeerError::NotConnected(self.node))
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn end(&self) {
        self.end.notify_one();
    }

    /// Something is being sent: an idle connection is kept for a while longer.
    pub(crate) fn touch(&self, now: MonoTime) {
        *self.used.lock() = now;
    }

    /// Runs the link until the broker stops or the peer leaves the cluster.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        tokio::select! {
            biased;
            () = shared.stopped() => {}
            () = self.end.notified() => {}
            () = self.keep(&shared) => {}
        }
        self.drop_connection(&Arc::new(LinkError::Stopping));
    }

    async fn keep(&self, shared: &Shared) {
        let pulse = shared.pulse(self.node);
        let mut pause = shared.settings.reconnect_min;
        loop {
            if self.lane == Lane::Bulk {
                self.wake.notified().await;
            }
            match shared.addresses.address(self.node) {
                None => {
                    self.wake.notified().await;
                    continue;
                }
                Some(address) => {
                    let began = Instant::now();
                    let error = self.live(shared, &address, &pulse).await;
                    if !matches!(error, LinkError::Ended) || began.elapsed() < pause {
                        self.complain(shared, &address, &pulse, &error);
                    }
                    if began.elapsed() > shared.settings.reconnect_max {
                        pause = shared.settings.reconnect_min;
                    }
                }
            }
            // A peer that shows itself is met sooner, but never at once: two that wake each other and fail
            // would go on without end.
            let whole = shared.jittered(pause);
            let part = whole.min(shared.settings.reconnect_min / 2);
            tokio::time::sleep(part).await;
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep(whole - part) => {}
            }
            pause = (pause * 2).min(shared.settings.reconnect_max);
        }
    }

    fn complain(&self, shared: &Shared, address: &str, pulse: &Pulse, error: &LinkError) {
        tracing::debug!(node = %self.node, address, %error, "the link to a peer ended");
        if error.is_nobody_there() {
            shared.nobody_there(pulse);
        }
        shared.report_link(self.node, address, error);
    }

    /// One connection, from its making to its end.
    async fn live(&self, shared: &Shared, address: &str, pulse: &Arc<Pulse>) -> LinkError {
        let connected = match connect(shared, address, Some(self.node), self.lane).await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        shared.heard(pulse);
        shared.meet(&connected.info);
        shared.settle(self.node, Trouble::Reaching);
        tracing::debug!(node = %self.node, address, lane = ?self.lane, "connected to a peer");
        let Connected { info, read, write, frames } = connected;
        let connection = Arc::new(Connection {
            node: self.node,
            info,
            out: Outbound::new(shared.settings.queue_bytes_max),
            calls: Calls::default(),
            beat: Mutex::default(),
        });
        self.touch(shared.now());
        self.current.send_replace(Some(Arc::clone(&connection)));
        if self.lane == Lane::Requests {
            shared.reached(self.node);
        }
        let (mut read, mut write, mut frames) = (read, write, frames);
        let heard = || shared.heard(pulse);
        let reading = async {
            loop {
                let answered = frames.next(&mut read, heard).await.and_then(|frame| {
                    connection.time(frame.correlation, shared, pulse);
                    connection.calls.end(frame)
                });
                match answered {
                    Ok(()) => {}
                    Err(error) => return error,
                }
            }
        };
        let error = tokio::select! {
            biased;
            error = reading => error,
            end = connection.out.write(&mut write, FIRST_SEQUENCE) => {
                end.err().map_or(LinkError::Ended, LinkError::Io)
            }
            error = self.tend(shared, &connection) => error,
        };
        let error = Arc::new(error);
        self.drop_connection(&error);
        Arc::try_unwrap(error).unwrap_or(LinkError::Ended)
    }

    fn drop_connection(&self, error: &Arc<LinkError>) {
        let connection = self.current.send_replace(None);
        if let Some(connection) = connection {
            connection.out.close();
            connection.calls.break_off(error);
        }
    }

    /// Heartbeats, and the end of what takes too long.
    async fn tend(&self, shared: &Shared, connection: &Connection) -> LinkError {
        let settings = &shared.settings;
        let mut ticks = tokio::time::interval(settings.heartbeat_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = shared.table.news();
        let mut beats = Beats::default();
        loop {
            tokio::select! {
                biased;
                _tick = ticks.tick() => {}
                // Leaderships are told at once, but not one by one.
                Ok(()) = news.changed(), if self.lane == Lane::Requests => {
                    tokio::time::sleep(NEWS_GATHER).await;
                    news.mark_unchanged();
                }
            }
            let now = shared.now();
            connection.calls.expire(now);
            match self.lane {
                Lane::Requests => {
                    let silence = beats.collect(shared, self.node, now).unwrap_or_default();
                    if silence > settings.silent_max {
                        return LinkError::Silent(silence);
                    }
                    beats.send(shared, connection, now);
                }
                Lane::Bulk | Lane::Probe => {
                    if now.since(*self.used.lock()) > settings.bulk_idle_max {
                        return LinkError::Ended;
                    }
                }
            }
        }
    }
}

/// How long news of leaderships gather before they are sent.
const NEWS_GATHER: Duration = Duration::from_millis(3);

/// The heartbeats of one connection.
#[derive(Debug, Default)]
struct Beats {
    /// The last of this node's announcements that the peer is known to have.
    told: u64,
    unanswered: std::collections::VecDeque<(MonoTime, u64, Waiting)>,
}

impl Beats {
    /// Takes in answers; says for how long the oldest heartbeat has been without one.
    fn collect(&mut self, shared: &Shared, node: NodeId, now: MonoTime) -> Option<Duration> {
        while let Some((_, upto, waiting)) = self.unanswered.front_mut() {
            let Ok(answer) = waiting.try_recv() else { break };
            let read = answer.and_then(|head| Ok(HeartbeatAnswer::read(head)?));
            if let Ok(read) = read {
                self.told = self.told.max(read.upto.min(*upto));
                shared.check_clock(node, read.wall);
            }
            self.unanswered.pop_front();
        }
        self.unanswered.front().map(|(sent, ..)| now.since(*sent))
    }

    fn send(&mut self, shared: &Shared, connection: &Connection, now: MonoTime) {
        // What is on its way is not sent again; an answer tells soon enough whether it came.
        let after = self.unanswered.back().map_or(self.told, |(_, upto, _)| *upto);
        let news = shared.table.announcements(after, shared.settings.news_max);
        let upto = news.upto;
        let mut head = OutFrame::buffer();
        let (wall, begun) = (shared.wall(), shared.groups.begun());
        Heartbeat { wall, news, begun }.put(&mut head);
        // Longer than a connection without answers lives: it ends by silence, not by a deadline.
        let allowed = shared.settings.silent_max * 2;
        let Ok((correlation, waiting)) = connection.calls.begin(now, allowed, None) else { return };
        *connection.beat.lock() = (correlation, now);
        let frame = OutFrame::new(FrameKind::Heartbeat, correlation, head, Vec::new());
        connection.out.push_urgent(frame);
        self.unanswered.push_back((now, upto, waiting));
    }
}
