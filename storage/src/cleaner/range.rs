//! Which part of a log can be cleaned, and how much it is worth (Kafka's `LogCleanerManager`).
//!
//! Owns: dirty ratio, minimum and maximum compaction lag, where a cleaning begins and must end.
//! Never: reads a log.

use std::time::Duration;

use ottla_protocol::model::{Offset, Timestamp};

/// `min.cleanable.dirty.ratio` and its relatives, of one topic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CompactionSettings {
    /// `min.cleanable.dirty.ratio`
    pub dirty_ratio_min: f64,
    /// `min.compaction.lag.ms`: a record stays at least this long.
    pub lag_min: Duration,
    /// `max.compaction.lag.ms`: a superseded record goes at the latest after about this long.
    pub lag_max: Option<Duration>,
    /// `delete.retention.ms`: how long readers have to see a tombstone.
    pub delete_retention: Duration,
}

impl Default for CompactionSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            dirty_ratio_min: 0.5,
            lag_min: Duration::ZERO,
            lag_max: None,
            delete_retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A closed segment as the rules see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentAge {
    pub base: Offset,
    pub bytes: u64,
    /// Of its first batch; unknown is the safe answer.
    pub first_timestamp: Option<Timestamp>,
    pub max_timestamp: Option<Timestamp>,
}

/// What the rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct RangeInput<'a> {
    pub log_start: Offset,
    pub log_end: Offset,
    pub last_stable: Offset,
    pub active_base: Offset,
    /// From the cleaner checkpoint.
    pub cleaned_up_to: Option<Offset>,
    /// All but the active one, in order.
    pub closed: &'a [SegmentAge],
    pub now: Timestamp,
}

/// What can be cleaned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanableRange {
    /// Everything below was cleaned.
    pub first_dirty: Offset,
    /// Nothing from here on may be touched: open transactions, the active segment, records that are
    /// too young.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// By how much the oldest dirty record is older than `max.compaction.lag.ms`.
    pub overdue: Duration,
    /// The checkpoint did not fit the log and is to be written anew.
    pub checkpoint_invalid: bool,
}

impl CleanableRange {
    #[must_use]
    pub fn of(input: RangeInput<'_>, settings: &CompactionSettings) -> Self {
        let checkpoint = input.cleaned_up_to.unwrap_or(input.log_start);
        let checkpoint_invalid = checkpoint < input.log_start || checkpoint > input.log_end;
        let first_dirty = if checkpoint_invalid { input.log_start } else { checkpoint };
        let dirty = |index: usize| {
            let end = input.closed.get(index + 1).map_or(input.active_base, |next| next.base);
            end > first_dirty
        };
        let young = (!settings.lag_min.is_zero())
            .then(|| {
                let horizon = input.now.0.saturating_sub(millis(settings.lag_min));
                let is_young =
                    |segment: &SegmentAge| segment.max_timestamp.is_none_or(|max| max.0 > horizon);
                (0..input.closed.len())
                    .find(|index| dirty(*index) && is_young(&input.closed[*index]))
                    .map(|index| input.closed[index].base)
            })
            .flatten();
        let first_uncleanable = input
            .last_stable
            .min(input.active_base)
            .min(young.unwrap_or(input.active_base))
            .max(first_dirty);
        let bytes = |from: Offset, to: Offset| -> u64 {
            let within = input.closed.iter().filter(|s| s.base >= from && s.base < to);
            within.map(|segment| segment.bytes).sum()
        };
        // A segment that is dirty in part counts as dirty, as whole segments are replaced.
        let dirty_from = (0..input.closed.len())
            .find(|index| dirty(*index))
            .map_or(input.active_base, |index| input.closed[index].base);
        // Where the log start has passed an open transaction nothing is decided behind it.
        let nothing = first_uncleanable == first_dirty;
        Self {
            first_dirty,
            first_uncleanable,
            clean_bytes: bytes(Offset::ZERO, dirty_from),
            dirty_bytes: if nothing { 0 } else { bytes(dirty_from, first_uncleanable) },
            overdue: overdue(&input, settings, dirty_from),
            checkpoint_invalid,
        }
    }

    /// The share of dirty bytes, by which logs compete for the cleaner.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether a cleaning is due.
    #[must_use]
    pub fn is_due(&self, settings: &CompactionSettings) -> bool {
        let overdue = !self.overdue.is_zero() && self.dirty_bytes > 0;
        overdue || self.dirty_ratio() > settings.dirty_ratio_min
    }
}

fn overdue(input: &RangeInput<'_>, settings: &CompactionSettings, from: Offset) -> Duration {
    let Some(lag_max) = settings.lag_max else { return Duration::ZERO };
    let oldest = input
        .closed
        .iter()
        .filter(|segment| segment.base >= from)
        .filter_map(|segment| segment.first_timestamp)
        .filter(|first| first.0 > 0)
        .min();
    let until = input.now.0.saturating_sub(millis(lag_max));
    let late = oldest.map_or(0, |oldest| until.saturating_sub(oldest.0));
    Duration::from_millis(u64::try_from(late).unwrap_or(0))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CompactionSettings = CompactionSettings {
        dirty_ratio_min: 0.5,
        lag_min: Duration::ZERO,
        lag_max: None,
        delete_retention: Duration::from_secs(60),
    };

    fn closed() -> [SegmentAge; 3] {
        [0, 1, 2].map(|n| SegmentAge {
            base: Offset(n * 100),
            bytes: 1000,
            first_timestamp: Some(Timestamp(n * 1000 + 1)),
            max_timestamp: Some(Timestamp(n * 1000 + 999)),
        })
    }

    fn input(closed: &[SegmentAge], cleaned: Option<i64>) -> RangeInput<'_> {
        RangeInput {
            log_start: Offset(0),
            log_end: Offset(350),
            last_stable: Offset(350),
            active_base: Offset(300),
            cleaned_up_to: cleaned.map(Offset),
            closed,
            now: Timestamp(10_000),
        }
    }

    #[test]
    fn the_dirty_part_lies_between_the_checkpoint_and_the_active_segment() {
        let closed = closed();
        let range = CleanableRange::of(input(&closed, None), &SETTINGS);
        assert_eq!((range.first_dirty, range.first_uncleanable), (Offset(0), Offset(300)));
        assert_eq!((range.clean_bytes, range.dirty_bytes), (0, 3000));
        assert!(range.is_due(&SETTINGS));
        let range = CleanableRange::of(input(&closed, Some(200)), &SETTINGS);
        assert_eq!((range.clean_bytes, range.dirty_bytes), (2000, 1000));
        assert!(!range.is_due(&SETTINGS), "a third is not above one half");
        let range = CleanableRange::of(input(&closed, Some(300)), &SETTINGS);
        assert_eq!(range.dirty_ratio(), 0.0);
    }

    #[test]
    fn open_transactions_and_young_records_end_it() {
        let closed = closed();
        let open = RangeInput { last_stable: Offset(150), ..input(&closed, None) };
        let range = CleanableRange::of(open, &SETTINGS);
        assert_eq!((range.first_uncleanable, range.dirty_bytes), (Offset(150), 2000));
        let lag = CompactionSettings { lag_min: Duration::from_millis(8500), ..SETTINGS };
        let range = CleanableRange::of(input(&closed, None), &lag);
        assert_eq!(range.first_uncleanable, Offset(100), "its newest record is 8,001 ms old");
    }

    #[test]
    fn a_checkpoint_outside_the_log_is_not_believed() {
        let closed = closed();
        let moved = RangeInput { log_start: Offset(120), ..input(&closed, Some(50)) };
        let range = CleanableRange::of(moved, &SETTINGS);
        assert!(range.checkpoint_invalid);
        assert_eq!(range.first_dirty, Offset(120));
        let truncated = CleanableRange::of(input(&closed, Some(900)), &SETTINGS);
        assert!(truncated.checkpoint_invalid);
        assert_eq!(truncated.first_dirty, Offset(0));
    }

    #[test]
    fn the_maximum_lag_makes_a_log_due_whatever_its_ratio() {
        let closed = closed();
        let lag = CompactionSettings { lag_max: Some(Duration::from_millis(7000)), ..SETTINGS };
        let range = CleanableRange::of(input(&closed, Some(200)), &lag);
        assert_eq!(range.overdue, Duration::from_millis(999));
        assert!(range.is_due(&lag));
        let patient = CompactionSettings { lag_max: Some(Duration::from_secs(9)), ..SETTINGS };
        assert!(!CleanableRange::of(input(&closed, Some(200)), &patient).is_due(&patient));
    }
}
