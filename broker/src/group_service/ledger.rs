//! What a shard has given to its partition's group, and what became of it.
//!
//! Owns: the shard's batches in their order, up to where they are committed, and whether one of them
//! never will be. Never: waits by itself.
//! Invariant: nothing behind a batch that was not committed counts as committed, whatever became of
//! it: from that batch on the shard was ahead of its log.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ottla_coordinator::group::GroupError;
use ottla_protocol::model::MonoTime;
use ottla_replication::partition::{Outcome, Submission};
use ottla_replication::wait::{Countdown, Waiting};
use parking_lot::Mutex;

use super::driver::answer_to;
use super::timers::Deadlines;
use crate::api::error::KafkaError;

/// The batches of one shard.
#[derive(Debug)]
pub(super) struct Ledger {
    index: i32,
    deadlines: Arc<Deadlines>,
    state: Mutex<State>,
}

/// Batches have numbers from 1 on.
#[derive(Debug, Default)]
struct State {
    given: u64,
    /// Every batch up to it is committed.
    committed: u64,
    /// In the order of their numbers, without a gap.
    open: VecDeque<Batch>,
    /// The first batch that is lost, and what its client is told.
    lost: Option<(u64, GroupError)>,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    submission: Arc<Submission>,
    ended: Ended,
}

/// Completes when a batch is committed, or never will be; for any number of waiters.
type Ended = Shared<BoxFuture<'static, ()>>;

impl Ledger {
    pub(super) fn new(index: i32, deadlines: Arc<Deadlines>) -> Arc<Self> {
        Arc::new(Self { index, deadlines, state: Mutex::default() })
    }

    /// Adds a batch, whose end `told` is told of. Gives its number.
    pub(super) fn add(&self, submission: Arc<Submission>, told: Arc<Countdown>) -> u64 {
        let mut state = self.state.lock();
        state.given += 1;
        let (number, ended) = (state.given, Waiting(told).boxed().shared());
        state.open.push_back(Batch { number, submission, ended });
        number
    }

    /// Whether every batch up to `number` is committed.
    pub(super) fn is_committed(&self, number: u64) -> bool {
        self.settled_state().committed >= number
    }

    /// Whether a batch was not committed: the shard is of no use any more.
    pub(super) fn is_broken(&self) -> bool {
        self.settled_state().lost.is_some()
    }

    /// Whether nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.settled_state().open.is_empty()
    }

    /// Waits until nothing is under way: what is to be in the log is there.
    pub(super) async fn settled(&self) {
        loop {
            let next = self.settled_state().open.front().map(|batch| batch.ended.clone());
            match next {
                Some(ended) => ended.await,
                None => return,
            }
        }
    }

    /// Waits until every batch up to `number` is committed.
    ///
    /// # Errors
    /// One of them never will be.
    pub(super) async fn committed(&self, number: u64) -> Result<(), GroupError> {
        loop {
            let next = {
                let state = self.settled_state();
                if state.committed >= number {
                    return Ok(());
                }
                match state.lost {
                    Some((lost, error)) if lost == number => return Err(error),
                    Some(_) => return Err(GroupError::NotCoordinator),
                    None => state.next(number),
                }
            };
            match next {
                Some(ended) => ended.await,
                None => return Err(GroupError::NotCoordinator),
            }
        }
    }

    /// The state, after what has ended by now was taken in.
    fn settled_state(&self) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let was_lost = state.lost.is_some();
        state.settle();
        if state.lost.is_some() && !was_lost {
            // Whoever waits for other members is to hear of it without anybody asking.
            self.deadlines.arm(self.index, MonoTime::default());
        }
        state
    }
}

impl State {
    fn settle(&mut self) {
        while let Some(front) = self.open.front() {
            let lost = match front.submission.outcome() {
                Outcome::Pending | Outcome::Appended(_) => return,
                Outcome::Committed(_) => None,
                Outcome::Refused(error) => {
                    tracing::warn!(%error, "a record of consumer groups was refused; the groups of \
                                            its partition are read again from the log");
                    Some(answer_to(error.code()))
                }
                Outcome::NotLeader | Outcome::Unknown(_) => Some(GroupError::NotCoordinator),
            };
            match lost {
                Some(error) => self.lost = self.lost.or(Some((front.number, error))),
                None if self.lost.is_none() => self.committed = front.number,
                None => {}
            }
            self.open.pop_front();
        }
    }

    /// What to wait for next: the batch itself, or what is before it once that has ended.
    fn next(&self, number: u64) -> Option<Ended> {
        let first = self.open.front()?;
        let place = usize::try_from(number.saturating_sub(first.number)).ok()?;
        let own = self.open.get(place).filter(|own| own.ended.peek().is_none());
        Some(own.unwrap_or(first).ended.clone())
    }
}
