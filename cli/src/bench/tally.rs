//! Counts of what was answered in the window, and the figures that come of them.
//!
//! Owns: percentiles (exact: every latency is kept and sorted), rates, ratios. Never: the clock.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What one sender or reader saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    /// Of record batches.
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// Records that were acknowledged and never arrived.
    pub(super) lost: u64,
    latencies: Vec<Duration>,
}

/// The result of a round. Every number has its unit in its name; in a ratio they have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    #[serde(serialize_with = "whole")]
    pub(super) records: f64,
    #[serde(serialize_with = "whole")]
    pub(super) bytes: f64,
    #[serde(serialize_with = "whole")]
    pub(super) seconds: f64,
    #[serde(serialize_with = "whole")]
    pub(super) records_per_s: f64,
    pub(super) mb_per_s: f64,
    #[serde(serialize_with = "whole")]
    pub(super) requests_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
    pub(super) lost: u64,
}

impl Tally {
    pub(super) fn latency(&mut self, latency: Duration) {
        self.latencies.push(latency);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.lost += other.lost;
        self.latencies.extend(other.latencies);
    }

    /// `None` when nothing was measured.
    pub(super) fn figures(mut self, window: Duration) -> Option<Figures> {
        self.latencies.sort_unstable();
        let last = self.latencies.len().checked_sub(1)?;
        // The smallest latency that at least this share of all is not above.
        let at = |share: f64| {
            let rank = (self.latencies.len() as f64 * share).ceil() as usize;
            millis(self.latencies[rank.saturating_sub(1).min(last)])
        };
        let seconds = window.as_secs_f64();
        Some(Figures {
            records: self.records as f64,
            bytes: self.bytes as f64,
            seconds,
            records_per_s: (self.records as f64 / seconds).round(),
            mb_per_s: hundredths(self.bytes as f64 / 1e6 / seconds),
            requests_per_s: (self.requests as f64 / seconds).round(),
            p50_ms: at(0.50),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: millis(self.latencies[last]),
            lost: self.lost,
        })
    }
}

impl Figures {
    /// The medians of `over` divided by those of `under`; 0 where there is nothing to divide by.
    pub(super) fn ratio(over: &[Self], under: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| {
            let below = median(under, field);
            if below == 0.0 { 0.0 } else { hundredths(median(over, field) / below) }
        };
        Self {
            records: of(|f| f.records),
            bytes: of(|f| f.bytes),
            seconds: of(|f| f.seconds),
            records_per_s: of(|f| f.records_per_s),
            mb_per_s: of(|f| f.mb_per_s),
            requests_per_s: of(|f| f.requests_per_s),
            p50_ms: of(|f| f.p50_ms),
            p95_ms: of(|f| f.p95_ms),
            p99_ms: of(|f| f.p99_ms),
            p999_ms: of(|f| f.p999_ms),
            max_ms: of(|f| f.max_ms),
            lost: over.iter().map(|f| f.lost).sum(),
        }
    }
}

/// Counts as integers; a ratio of counts keeps its fraction.
fn whole<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && (0.0..=9e15).contains(value) {
        serializer.serialize_u64(*value as u64)
    } else {
        serializer.serialize_f64(*value)
    }
}

fn median(rounds: &[Figures], field: fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(field).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn millis(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).round() / 1e3
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_occurred() {
        let mut tally =
            Tally { records: 2000, bytes: 4_000_000, requests: 1000, ..Tally::default() };
        (1..=1000).rev().for_each(|ms| tally.latency(Duration::from_millis(ms)));
        let figures = tally.figures(Duration::from_secs(2)).unwrap();
        let found = [figures.p50_ms, figures.p95_ms, figures.p99_ms, figures.p999_ms];
        assert_eq!(found, [500.0, 950.0, 990.0, 999.0]);
        assert_eq!(
            (figures.max_ms, figures.records_per_s, figures.mb_per_s),
            (1000.0, 1000.0, 2.0)
        );
        assert_eq!(Tally::default().figures(Duration::from_secs(1)), None);
    }

    #[test]
    fn ratios_are_of_medians() {
        let rounds = |values: &[f64]| -> Vec<Figures> {
            values.iter().map(|value| Figures { p50_ms: *value, ..Figures::default() }).collect()
        };
        let ratio = Figures::ratio(&rounds(&[9.0, 3.0, 2.0]), &rounds(&[1.0, 3.0]));
        assert_eq!(ratio.p50_ms, 1.5);
        assert_eq!(ratio.mb_per_s, 0.0, "nothing divided by nothing");
    }
}
