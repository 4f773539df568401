//! Proposals on their way to Raft: in order, many at once, again when only the lease had lapsed.
//!
//! Owns: the queue of a group's proposals and the task that empties it, which lives only while there is
//! something to do. Never: appends.
//!
//! Invariant: proposals reach the log in the order in which they were given. Raft takes or refuses what
//! it is given in one message as a whole, and the next message goes out when the one before was taken; what
//! waits behind a refused one is refused, too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use parking_lot::Mutex;

use super::group_log::GroupLog;
use super::{Batch, Proposal, Raft, Turn};
use crate::wait::{Countdown, Waiting};

/// Bytes of batches in one message, but for a first one that is larger.
const MESSAGE_BYTES: usize = 4 << 20;
const MESSAGE_COUNT: usize = 512;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Proposal>>,
    running: bool,
    closed: bool,
}

/// The way into a group.
pub(super) struct Pump {
    raft: Raft,
    log: Arc<GroupLog>,
    queue: Mutex<Queue>,
    /// How long a leader tries to get its lease back.
    patience: Duration,
}

impl Pump {
    pub(super) fn new(raft: Raft, log: Arc<GroupLog>, patience: Duration) -> Arc<Self> {
        Arc::new(Self { raft, log, queue: Mutex::default(), patience })
    }

    pub(super) fn propose(self: &Arc<Self>, proposal: Arc<Proposal>) {
        if self.log.leadership().leader != Some(self.log.me) {
            proposal.submission.not_leader();
            return;
        }
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            proposal.submission.not_leader();
            return;
        }
        queue.waiting.push_back(proposal);
        if !std::mem::replace(&mut queue.running, true) {
            drop(queue);
            tokio::spawn(Arc::clone(self).run());
        }
    }

    /// Refuses everything from now on.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.iter().for_each(|proposal| proposal.submission.not_leader());
    }

    async fn run(self: Arc<Self>) {
        while let Some(message) = self.take() {
            self.send(&message).await;
            // Whatever is still open was refused for good, and with it what was given behind it: the
            // second batch of a producer that is not known yet would be taken without its first.
            let refused = message.iter().any(|proposal| proposal.submission.is_pending());
            message.iter().for_each(|proposal| proposal.submission.not_leader());
            if refused {
                let behind = std::mem::take(&mut self.queue.lock().waiting);
                behind.iter().for_each(|proposal| proposal.submission.not_leader());
            }
        }
    }

    fn take(&self) -> Option<Vec<Arc<Proposal>>> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut count = 0;
        for proposal in queue.waiting.iter().take(MESSAGE_COUNT) {
            bytes += proposal.batch.payload.len();
            if count > 0 && bytes > MESSAGE_BYTES {
                break;
            }
            count += 1;
        }
        if count == 0 {
            queue.running = false;
            return None;
        }
        Some(queue.waiting.drain(..count).collect())
    }

    async fn send(&self, message: &[Arc<Proposal>]) {
        let mut tried = false;
        loop {
            let flight = Countdown::held();
            let turns: Vec<Batch> = message
                .iter()
                .map(|proposal| {
                    flight.add();
                    let (proposal, flight) = (Arc::clone(proposal), Arc::clone(&flight));
                    Batch::Proposed(Arc::new(Turn { proposal, flight }))
                })
                .collect();
            let sent = self.raft.client_write_many(turns).await;
            flight.done();
            if sent.is_err() {
                return;
            }
            Waiting(flight).await;
            let refused = message.iter().any(|proposal| proposal.submission.is_pending());
            let leads = self.log.leadership().leader == Some(self.log.me);
            if !refused || !leads || tried {
                return;
            }
            // The leader of an idle group has no lease: it asks its followers whether it still leads.
            tried = true;
            let asked = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
            match tokio::time::timeout(self.patience, asked).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(group = %self.log.id, %error, "the lease was not renewed");
                    return;
                }
                Err(_) => return,
            }
        }
    }
}
