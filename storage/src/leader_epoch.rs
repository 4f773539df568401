//! Which leader epoch began at which offset: `leader-epoch-checkpoint` (Kafka's
//! `LeaderEpochFileCache`, KIP-101, KIP-279).
//!
//! Owns: the entries, the questions about them, the file's text. Never: I/O.
//! Invariant: epochs and start offsets both ascend strictly.

use std::fmt::Write as _;

use ottla_protocol::model::{LeaderEpoch, Offset};
use thiserror::Error;

/// One epoch and the first offset that was written in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

/// The epochs of one log, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderEpochCache {
    entries: Vec<EpochEntry>,
}

/// Why the text of a checkpoint could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("leader-epoch-checkpoint line {line}: {reason}; it will be rebuilt from the log")]
pub struct EpochFileError {
    pub line: usize,
    pub reason: &'static str,
}

impl LeaderEpochCache {
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch, or `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that `epoch` begins at `start`. Older knowledge that contradicts it (the same or a
    /// later epoch, or an epoch that starts at or after it) is forgotten, as Kafka does.
    /// Answers whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch::ZERO || start < Offset::ZERO {
            return false;
        }
        if let Some(last) = self.entries.last()
            && last.epoch == epoch
            && start >= last.start
        {
            return false;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start >= start) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start });
        true
    }

    /// The end of `epoch`, as OffsetForLeaderEpoch answers it: the largest epoch not above the
    /// asked one, and the start of the one after it (or `log_end` for the newest).
    /// (`NONE`, `NONE`) where the log cannot know.
    #[must_use]
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset::NONE);
        let Some(latest) = self.latest() else { return UNKNOWN };
        if epoch < LeaderEpoch::ZERO || epoch > latest {
            return UNKNOWN;
        }
        if epoch == latest {
            return (epoch, log_end);
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(next).map_or(log_end, |entry| entry.start);
        // Before the first known epoch: the asked one may have existed, and has no records here.
        let floor = next.checked_sub(1).map_or(epoch, |floor| self.entries[floor].epoch);
        (floor, end)
    }

    /// The epoch that the record at `offset` was written in.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let next = self.entries.partition_point(|entry| entry.start <= offset);
        next.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Forgets epochs that start at or after `end`, the log's new end. Answers whether any did.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets epochs that end at or before `start`, the log's new start; the one that contains it
    /// now begins there. Answers whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let passed = self.entries.partition_point(|entry| entry.start <= start);
        let Some(floor) = passed.checked_sub(1) else { return false };
        if floor == 0 && self.entries[0].start == start {
            return false;
        }
        self.entries.drain(..floor);
        self.entries[0].start = start;
        true
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The checkpoint's text: version, count, a line per epoch.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start);
        }
        text
    }

    /// Reads what Kafka or [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    ///
    /// Where the text is damaged in any way, the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, EpochFileError> {
        let fail = |line, reason| Err(EpochFileError { line, reason });
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some("0") {
            return fail(1, "the version is not 0");
        }
        let Some(count) = lines.next().and_then(|line| line.trim().parse::<usize>().ok()) else {
            return fail(2, "the count is not a number");
        };
        let mut entries: Vec<EpochEntry> = Vec::new();
        for (index, line) in lines.enumerate() {
            let parsed = line.split_once(' ').and_then(|(epoch, start)| {
                Some(EpochEntry {
                    epoch: LeaderEpoch(epoch.parse().ok()?),
                    start: Offset(start.trim_end().parse().ok()?),
                })
            });
            let Some(entry) = parsed else { return fail(index + 3, "not an epoch and an offset") };
            let ascends = entries
                .last()
                .is_none_or(|last| last.epoch < entry.epoch && last.start < entry.start);
            if entry.epoch < LeaderEpoch::ZERO || entry.start < Offset::ZERO || !ascends {
                return fail(index + 3, "epochs and offsets do not ascend");
            }
            entries.push(entry);
        }
        if entries.len() != count {
            return fail(2, "the count does not match the lines");
        }
        // A last line without its newline may have lost digits.
        if !text.ends_with('\n') {
            return fail(entries.len() + 2, "the last line is cut");
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::default();
        for &(epoch, start) in entries {
            assert!(cache.assign(LeaderEpoch(epoch), Offset(start)));
        }
        cache
    }

    #[test]
    fn end_offset_answers_as_kafka() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end = |epoch| cache.end_offset(LeaderEpoch(epoch), Offset(40));
        assert_eq!(end(-1), (LeaderEpoch(-1), Offset(-1)));
        assert_eq!(end(1), (LeaderEpoch(1), Offset(10)), "before the first known");
        assert_eq!(end(2), (LeaderEpoch(2), Offset(20)));
        assert_eq!(end(3), (LeaderEpoch(2), Offset(20)), "a gap answers the floor");
        assert_eq!(end(6), (LeaderEpoch(4), Offset(30)));
        assert_eq!(end(7), (LeaderEpoch(7), Offset(40)));
        assert_eq!(end(8), (LeaderEpoch(-1), Offset(-1)));
        assert_eq!(
            LeaderEpochCache::default().end_offset(LeaderEpoch(0), Offset(9)),
            (LeaderEpoch(-1), Offset(-1))
        );
    }

    #[test]
    fn assigning_removes_what_contradicts() {
        let mut epochs = cache(&[(1, 0), (3, 10), (5, 20)]);
        assert!(!epochs.assign(LeaderEpoch(5), Offset(25)));
        assert!(epochs.assign(LeaderEpoch(6), Offset(10)));
        assert_eq!(epochs, cache(&[(1, 0), (6, 10)]));
        assert!(!epochs.assign(LeaderEpoch(-1), Offset(99)));
    }

    #[test]
    fn truncation_from_both_ends() {
        let mut epochs = cache(&[(1, 0), (3, 10), (5, 20)]);
        assert!(epochs.truncate_from_end(Offset(20)));
        assert_eq!(epochs.latest(), Some(LeaderEpoch(3)));
        assert!(epochs.truncate_from_start(Offset(12)));
        assert_eq!(epochs.entries(), [EpochEntry { epoch: LeaderEpoch(3), start: Offset(12) }]);
        assert!(!epochs.truncate_from_start(Offset(12)));
        assert!(!epochs.truncate_from_start(Offset(3)));
        assert_eq!(epochs.epoch_at(Offset(11)), None);
        assert_eq!(epochs.epoch_at(Offset(12)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn text_is_kafkas_and_every_cut_is_noticed() {
        let epochs = cache(&[(0, 0), (12, 345)]);
        let text = epochs.to_text();
        assert_eq!(text, "0\n2\n0 0\n12 345\n");
        assert_eq!(LeaderEpochCache::parse(&text), Ok(epochs));
        assert_eq!(LeaderEpochCache::parse("0\n0\n"), Ok(LeaderEpochCache::default()));
        for cut in 0..text.len() {
            assert!(LeaderEpochCache::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        for bad in ["1\n0\n", "0\n1\n5 -1\n", "0\n2\n5 1\n4 2\n", "0\n1\nx y\n"] {
            assert!(LeaderEpochCache::parse(bad).is_err(), "{bad:?}");
        }
    }
}
