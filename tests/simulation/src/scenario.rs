//! The scenarios: what runs on which host, for how long, with which faults.
//!
//! Owns: the outcome of a run and how its parts are put together. Never: a rule of the product.

pub mod brokers;
mod replicas;

use std::fmt;

use crate::check::{self, Counts, Violation};
use crate::history::{History, fold};

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How long faults go on, in simulated milliseconds.
    pub millis: u64,
    pub history: History,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Over all events with their times, and all calls of all disks.
    pub trace: u64,
    pub events: usize,
    pub crashes: u64,
    pub faults: u64,
    /// Logs that came from a peer as they were, instead of entry by entry.
    pub shipped: u64,
    pub counts: Counts,
    pub violations: Vec<Violation>,
}

/// Numbers of a finished run that the checker does not know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub crashes: u64,
    pub faults: u64,
    pub shipped: u64,
    pub disks: Vec<u64>,
    /// What went wrong beside the history: no progress, a panic.
    pub extra: Vec<Violation>,
}

impl Outcome {
    pub(crate) fn of(plan: &Plan, tally: Tally) -> Self {
        let verdict = check::check(&plan.history.events());
        let mut violations = verdict.violations;
        violations.extend(tally.extra);
        let disks = tally
            .disks
            .iter()
            .fold(plan.history.hash(), |hash, disk| fold(hash, &disk.to_be_bytes()));
        Self {
            seed: plan.seed,
            trace: disks,
            events: plan.history.len(),
            crashes: tally.crashes,
            faults: tally.faults,
            shipped: tally.shipped,
            counts: verdict.counts,
            violations,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        write!(
            f,
            "seed={} trace={:016x} events={} faults={} crashes={} shipped={} acknowledged={} polled={} \
             partitions={} commits={} violations={}",
            self.seed,
            self.trace,
            self.events,
            self.faults,
            self.crashes,
            self.shipped,
            counts.acknowledged,
            counts.polled,
            counts.partitions_read,
            counts.commits,
            self.violations.len()
        )
    }
}
