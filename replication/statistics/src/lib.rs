//! The histograms that openraft fills for each group, without their memory.
//!
//! Owns: the part of `base2histogram`'s interface that openraft uses, as of openraft 0.10.0-alpha.37.
//! Never: keeps a figure. Nobody reads those statistics: ours are counted where they arise, and are in
//! the broker's metrics. The real ones cost 26 MB of a process, tables of buckets for widths that
//! openraft does not use, and 35 KB of every replica (replication/tests/cost.rs).

use std::fmt;
use std::marker::PhantomData;

/// Takes every value and keeps none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    pub const fn record(&mut self, _value: u64) {}

    pub const fn record_n(&mut self, _value: u64, _count: u64) {}

    /// Always those of an empty histogram.
    #[must_use]
    pub const fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: 0,
            p0_1: 0,
            p1: 0,
            p5: 0,
            p10: 0,
            p50: 0,
            p90: 0,
            p99: 0,
            p99_9: 0,
        }
    }
}

/// Percentiles of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}

/// A chart of nothing.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart;

impl AsciiChart {
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the name that openraft calls")]
    pub fn add<T>(self, _name: impl Into<String>, _histogram: Histogram<T>) -> Self {
        self
    }

    #[must_use]
    pub const fn detailed(self) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}
