//! Whether a batch is synced file by file or with the whole disk.
//!
//! Owns: the rule, and what it learns from how long both took. Never: asks the time itself, syncs.
//!
//! # Why it learns
//!
//! `syncfs` writes what anybody left dirty on the disk. Usually that is little, and one call beats
//! two already. Beside a process that writes gigabytes it takes seconds, where a few files would
//! take milliseconds each. So the rule compares estimates once it has both, and looks again now and
//! then, as the other process may have gone.

use std::time::Duration;

/// When one sync of the disk replaces the syncs of single files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncPolicy {
    /// Up to so many files and folders are always synced one by one.
    pub single_max: usize,
    /// Up to so many may be, where the disk is much slower as a whole.
    pub single_limit: usize,
}

impl Default for SyncPolicy {
    /// Measured on ext4 (storage/benches/flush.rs): a `fdatasync` costs as much as a `syncfs`, so
    /// that the second file decides it, quiet or loaded.
    fn default() -> Self {
        Self { single_max: 1, single_limit: 64 }
    }
}

/// How a batch is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Singly,
    WholeDisk,
}

/// After so many batches that avoided the disk as a whole it is tried again.
const RETRY_AFTER: u32 = 64;
/// A cost has to be beaten by this factor: estimates are rough, and `syncfs` scales.
const MARGIN: u32 = 2;

/// The rule with what it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SyncChoice {
    policy: SyncPolicy,
    /// Of one file.
    single_cost: Option<Duration>,
    disk_cost: Option<Duration>,
    avoided: u32,
}

impl SyncChoice {
    pub(super) const fn new(policy: SyncPolicy) -> Self {
        Self { policy, single_cost: None, disk_cost: None, avoided: 0 }
    }

    pub(super) fn choose(&mut self, files: usize) -> Way {
        if files <= self.policy.single_max {
            return Way::Singly;
        }
        let count = u32::try_from(files).unwrap_or(u32::MAX);
        let avoids = files <= self.policy.single_limit
            && match (self.single_cost, self.disk_cost) {
                (Some(single), Some(disk)) => {
                    single.saturating_mul(count).saturating_mul(MARGIN) < disk
                }
                _ => false,
            };
        if avoids && self.avoided < RETRY_AFTER {
            self.avoided += 1;
            return Way::Singly;
        }
        self.avoided = 0;
        Way::WholeDisk
    }

    /// A batch of so many files took so long.
    pub(super) fn learn(&mut self, way: Way, files: usize, took: Duration) {
        // What a batch that is never synced one by one took says nothing about a small one.
        if way == Way::WholeDisk && files > self.policy.single_limit {
            return;
        }
        let (cost, took) = match way {
            Way::Singly => {
                let count = u32::try_from(files.max(1)).unwrap_or(u32::MAX);
                (&mut self.single_cost, took / count)
            }
            Way::WholeDisk => (&mut self.disk_cost, took),
        };
        // An eighth of the new one: a single hiccup changes no rule.
        *cost = Some(cost.map_or(took, |old| old - old / 8 + took / 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn one_file_is_synced_alone_and_more_with_the_disk() {
        let mut choice = SyncChoice::new(SyncPolicy::default());
        assert_eq!(
            [1, 2, 500].map(|files| choice.choose(files)),
            [Way::Singly, Way::WholeDisk, Way::WholeDisk]
        );
        choice.learn(Way::Singly, 1, MILLI);
        choice.learn(Way::WholeDisk, 10, MILLI * 2);
        assert_eq!(choice.choose(2), Way::WholeDisk, "as dear, and it scales");
    }

    #[test]
    fn a_disk_that_others_fill_is_avoided_for_a_while() {
        let mut choice = SyncChoice::new(SyncPolicy::default());
        choice.learn(Way::Singly, 4, MILLI * 4);
        choice.learn(Way::WholeDisk, 10, MILLI * 800);
        let ways: Vec<Way> = (0..66).map(|_| choice.choose(10)).collect();
        assert_eq!(ways[..64], [Way::Singly; 64]);
        assert_eq!(ways[64..], [Way::WholeDisk, Way::Singly], "it looks again now and then");
        assert_eq!(choice.choose(65), Way::WholeDisk, "many are never synced one by one");
        for _ in 0..40 {
            choice.learn(Way::WholeDisk, 10, MILLI);
        }
        assert_eq!(choice.choose(10), Way::WholeDisk, "the other one is gone");
        choice.learn(Way::WholeDisk, 1000, MILLI * 800);
        assert_eq!(choice.choose(10), Way::WholeDisk, "a large batch has a right to be slow");
    }
}
