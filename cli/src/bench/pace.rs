//! When requests are due, and which of them count.
//!
//! Owns: the schedule of a load and the window that is measured. Never: sends anything. Invariant:
//! a schedule does not wait for answers: what was late stays late.

use std::hint;
use std::time::{Duration, Instant};

use super::Common;

/// How long after the end requests that were due before it are still sent and awaited.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// What a wait ends short of, and spins for: the system wakes a thread about so much too late.
const SPIN: Duration = Duration::from_micros(80);

/// The time that is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) begin: Instant,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Window {
    /// The load begins now.
    pub(super) fn now(common: &Common) -> Self {
        let begin = Instant::now();
        let from = begin + common.warm_up;
        Self { begin, from, until: from + common.duration }
    }

    pub(super) fn counts(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Whether a request that was due then is still to be sent. At a fixed rate a backlog is.
    fn admits(&self, due: Instant) -> bool {
        due < self.until && Instant::now() < self.until + GRACE
    }
}

/// The time between two requests of one sender; `None`: as fast as they are answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace(Option<Duration>);

impl Pace {
    /// `records` per second over all senders, of which this one has `share`, in requests of
    /// `records_per_request`.
    pub(super) fn new(records: Option<f64>, share: f64, records_per_request: usize) -> Self {
        let per_second = records.map(|records| records * share / records_per_request as f64);
        Self(per_second.filter(|rate| *rate > 0.0).map(|rate| Duration::from_secs_f64(1.0 / rate)))
    }

    /// Waits until the request `number` is due; the moment its latency counts from. `None`: the
    /// load is over.
    pub(super) fn wait(self, window: &Window, number: u64) -> Option<Instant> {
        let due = match self.0 {
            Some(interval) => window.begin + interval.mul_f64(number as f64),
            None => Instant::now(),
        };
        if !window.admits(due) {
            return None;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left > SPIN {
            std::thread::sleep(left - SPIN);
        }
        while Instant::now() < due {
            hint::spin_loop();
        }
        Some(due)
    }

    /// The moment that says whether a request counts: at a fixed rate when it was due, however late
    /// its answer is; flat out when it was answered.
    pub(super) fn moment(self, due: Instant, answered: Instant) -> Instant {
        if self.0.is_some() { due } else { answered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shared_among_senders_and_batches() {
        assert_eq!(Pace::new(Some(1000.0), 0.5, 10), Pace(Some(Duration::from_millis(20))));
        assert_eq!(Pace::new(None, 0.5, 10), Pace(None));
    }

    #[test]
    fn a_backlog_is_sent_and_nothing_after_the_end() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let window = Window { begin, from: begin, until: begin + second };
        let pace = Pace(Some(Duration::from_nanos(1)));
        assert_eq!(pace.wait(&window, 5), Some(begin + Duration::from_nanos(5)), "late already");
        assert_eq!(pace.wait(&window, 1_000_000_000), None);
        assert_eq!(pace.moment(begin, begin + second), begin);
        assert_eq!(Pace(None).moment(begin, begin + second), begin + second);
    }
}
