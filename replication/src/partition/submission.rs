//! What becomes of a batch that was given to a partition.
//!
//! Owns: the answer, which comes in steps, and who is told. Never: decides it.
//!
//! Invariant: a batch is `Committed` only if the leader that appended it saw it committed; one that
//! outlived its leader is `Unknown` for good, whatever the log holds by then.

use std::sync::Arc;

use ottla_protocol::model::Offset;
use ottla_storage::AppendInfo;
use parking_lot::Mutex;

use super::PartitionError;
use crate::wait::Countdown;

/// How far a batch has to come before its producer is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// In the leader's log (acks=1).
    Appended,
    /// As durable as the topic asks for, on a majority (acks=all).
    Committed,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// Its turn has not come yet.
    Pending,
    /// It stands in the leader's log and is not committed yet.
    Appended(AppendInfo),
    Committed(AppendInfo),
    /// Nothing was appended.
    Refused(PartitionError),
    /// This node does not lead; nothing was appended.
    NotLeader,
    /// It was appended, and then another leader came, or the log became unusable: it may be
    /// committed in the end or not. The producer has to send it again.
    Unknown(AppendInfo),
}

/// A batch's way to its answer.
#[derive(Debug)]
pub struct Submission {
    until: Until,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outcome: Outcome,
    wait: Option<Arc<Countdown>>,
}

impl Submission {
    /// `wait` is added to here, and told once the batch has come as far as `until` or no further.
    #[must_use]
    pub fn new(until: Until, wait: Option<&Arc<Countdown>>) -> Arc<Self> {
        let wait = wait.cloned();
        if let Some(wait) = &wait {
            wait.add();
        }
        let outcome = Outcome::Pending;
        Arc::new(Self { until, state: Mutex::new(State { outcome, wait }) })
    }

    #[must_use]
    pub const fn until(&self) -> Until {
        self.until
    }

    /// Takes the answer as it is now; an error is given once.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut state = self.state.lock();
        match &state.outcome {
            Outcome::Pending => Outcome::Pending,
            Outcome::Appended(info) => Outcome::Appended(*info),
            Outcome::Committed(info) => Outcome::Committed(*info),
            Outcome::Unknown(info) => Outcome::Unknown(*info),
            Outcome::NotLeader => Outcome::NotLeader,
            Outcome::Refused(_) => std::mem::replace(&mut state.outcome, Outcome::NotLeader),
        }
    }

    /// The offset after the batch, once it stands in a log.
    #[must_use]
    pub fn committed_at(&self) -> Option<Offset> {
        match &self.state.lock().outcome {
            Outcome::Appended(info) | Outcome::Committed(info) => Some(info.last_offset.next()),
            _ => None,
        }
    }

    /// Whether nothing was decided yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state.lock().outcome, Outcome::Pending)
    }

    /// Whether another replica leads, as far as the batch is concerned.
    #[must_use]
    pub fn lost_leader(&self) -> bool {
        matches!(self.state.lock().outcome, Outcome::NotLeader | Outcome::Unknown(_))
    }

    pub(crate) fn appended(&self, info: AppendInfo) {
        self.step(|outcome| match outcome {
            Outcome::Pending => Some(Outcome::Appended(info)),
            _ => None,
        });
    }

    pub(crate) fn committed(&self) {
        self.step(|outcome| match outcome {
            Outcome::Appended(info) => Some(Outcome::Committed(*info)),
            _ => None,
        });
    }

    pub(crate) fn refused(&self, error: PartitionError) {
        let mut error = Some(error);
        self.step(|outcome| match outcome {
            Outcome::Pending => error.take().map(Outcome::Refused),
            _ => None,
        });
    }

    pub(crate) fn not_leader(&self) {
        self.step(|outcome| match outcome {
            Outcome::Pending => Some(Outcome::NotLeader),
            _ => None,
        });
    }

    /// Its leader leads no more.
    pub(crate) fn lost(&self) {
        self.step(|outcome| match outcome {
            Outcome::Pending => Some(Outcome::NotLeader),
            Outcome::Appended(info) => Some(Outcome::Unknown(*info)),
            _ => None,
        });
    }

    fn step(&self, next: impl FnOnce(&Outcome) -> Option<Outcome>) {
        let mut state = self.state.lock();
        let Some(outcome) = next(&state.outcome) else { return };
        let goes_on = match &outcome {
            Outcome::Appended(_) => self.until == Until::Committed,
            _ => false,
        };
        state.outcome = outcome;
        let wait = if goes_on { None } else { state.wait.take() };
        drop(state);
        if let Some(wait) = wait {
            wait.done();
        }
    }
}
