//! How fast something may go on.
//!
//! Owns: a rate with a burst, over time that is given. Never: sleeps, or asks a clock.

use std::time::Duration;

use ottla_protocol::model::MonoTime;

/// A bucket that fills at a rate and holds a burst. Taking more than it holds leaves a debt, which is the
/// time to wait before the next.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    level: f64,
    filled: MonoTime,
}

impl Pace {
    pub(crate) fn new(per_second: u64, burst: u64, now: MonoTime) -> Self {
        let burst = burst.max(1) as f64;
        Self { per_second: per_second.max(1) as f64, burst, level: burst, filled: now }
    }

    /// Takes `amount`, and says how long to wait until as much has come in again.
    pub(crate) fn take(&mut self, amount: u64, now: MonoTime) -> Duration {
        self.fill(now);
        self.level -= amount as f64;
        if self.level >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.level / self.per_second).min(3600.0))
    }

    /// Takes one if there is one.
    pub(crate) fn try_one(&mut self, now: MonoTime) -> bool {
        self.fill(now);
        let there = self.level >= 1.0;
        if there {
            self.level -= 1.0;
        }
        there
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Another rate from `now` on.
    pub(crate) fn set_per_second(&mut self, per_second: f64, now: MonoTime) {
        self.fill(now);
        self.per_second = per_second.max(1.0);
    }

    fn fill(&mut self, now: MonoTime) {
        let came = now.since(self.filled).as_secs_f64() * self.per_second;
        self.level = (self.level + came).min(self.burst);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_free_and_a_debt_is_waited_for() {
        let mut pace = Pace::new(1_000, 500, at(0));
        assert_eq!(pace.take(500, at(0)), Duration::ZERO);
        assert_eq!(pace.take(250, at(0)), Duration::from_millis(250));
        assert_eq!(pace.take(0, at(250)), Duration::ZERO);
        assert!(!pace.try_one(at(250)));
        assert!(pace.try_one(at(252)));
        // An hour fills no more than the burst.
        assert_eq!(pace.take(500, at(3_600_000)), Duration::ZERO);
        assert!(!pace.try_one(at(3_600_000)));
    }
}
