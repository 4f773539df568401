//! Known bugs that tests put back, to show that they would be found.
//!
//! Owns: the switch, which belongs to a thread: a simulation runs on one. Without tests, and without the
//! feature `defects`, there is no switch and every question is answered "no" at compile time.

/// A bug that this design once had, or could have had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// Raft is told that entries are durable when they are only written.
    AckBeforeSync,
    /// A vote is given before it is durable.
    VoteNotSynced,
    /// A vote is told to be durable while entries before it are not.
    VoteOvertakes,
    /// openraft's `enable_leader_restore`.
    LeaderRestore,
    /// Entries without batches are not waited for before later batches are written.
    RecordlessNotSynced,
    /// A producer's batch is appended again when it is sent again.
    NoDedup,
    /// A log that is damaged where it was durable is cut there and goes on as if nothing had been.
    CutDamage,
}

#[cfg(any(test, feature = "defects"))]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

impl Defect {
    /// Switches a bug on for this thread, or all off.
    #[cfg(any(test, feature = "defects"))]
    pub fn activate(defect: Option<Self>) {
        ACTIVE.set(defect);
    }

    #[cfg(any(test, feature = "defects"))]
    pub(crate) fn is_active(self) -> bool {
        ACTIVE.get() == Some(self)
    }

    #[cfg(not(any(test, feature = "defects")))]
    #[expect(clippy::unused_self, reason = "the switch that tests have")]
    pub(crate) const fn is_active(self) -> bool {
        false
    }
}
