//! The offline checker: is a history one that a correct log could have given?
//!
//! Owns: checks C1-C4, C13, C14, C17 and the groups' C9-C12 of a history. Never: runs anything, or
//! knows where a history came from. Each check is linear, or n log n, per partition.

mod groups;
mod log;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Event;

/// A topic's partition.
pub(crate) type Tp = (String, i32);

/// One thing that must not be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// `C1` to `C17`.
    pub check: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// How much was looked at: a check that saw nothing proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub acknowledged: usize,
    pub unknown: usize,
    pub polled: usize,
    pub partitions_read: usize,
    pub commits: usize,
}

/// What the checker found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    pub counts: Counts,
}

/// Collects violations; the first of each kind and partition tell enough.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Violation>,
    per_check: BTreeMap<&'static str, usize>,
}

impl Findings {
    const PER_CHECK_MAX: usize = 8;

    pub(crate) fn add(&mut self, check: &'static str, what: String) {
        let count = self.per_check.entry(check).or_default();
        *count += 1;
        if *count <= Self::PER_CHECK_MAX {
            self.found.push(Violation { check, what });
        }
    }
}

/// Runs every check.
#[must_use]
pub fn check(events: &[Event]) -> Verdict {
    let mut findings = Findings::default();
    let mut counts = Counts::default();
    log::check(events, &mut findings, &mut counts);
    reads::check(events, &mut findings);
    groups::check(events, &mut findings, &mut counts);
    Verdict { violations: findings.found, counts }
}
