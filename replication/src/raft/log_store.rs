//! openraft's view of a replica's log.
//!
//! Owns: the translation of openraft's storage traits to [`GroupLog`]. Never: keeps anything itself.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};

use super::group_log::GroupLog;
use super::{Entry, LogId, TypeConfig, Vote};

/// The log of one replica, as openraft uses it. Clones are the same.
#[derive(Clone)]
pub(super) struct LogStore {
    log: Arc<GroupLog>,
    /// Bytes of batches in one answer to replication, but for a first batch that is larger.
    read_bytes_max: u64,
}

impl LogStore {
    pub(super) const fn new(log: Arc<GroupLog>, read_bytes_max: u64) -> Self {
        Self { log, read_bytes_max }
    }
}

impl LogStore {
    /// An error ends the instance.
    fn told(&self, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &result {
            self.log.note_failure(&error.to_string());
        }
        result
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.log.with_map(|map| {
            let (start, end) = (start.max(map.first()), end.min(map.next()));
            (start..end).filter_map(|index| map.entry(index)).collect()
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.vote())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.log.check_sound()?;
        Ok(self.log.with_map(|map| {
            let (start, end) = (start.max(map.first()), end.min(map.next()));
            let mut left = self.read_bytes_max;
            let mut entries = Vec::new();
            for index in start..end {
                let bytes = map.slot(index).map_or(0, |slot| slot.bytes.into());
                if bytes > left && !entries.is_empty() {
                    break;
                }
                left = left.saturating_sub(bytes);
                entries.extend(map.entry(index));
            }
            entries
        }))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(self.log.with_map(|map| LogState {
            last_purged_log_id: map.purged().map(|point| point.log_id()),
            last_log_id: map.last().map(|point| point.log_id()),
        }))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.told(self.log.save_vote(vote).await)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        self.told(self.log.append(entries.into_iter(), callback).await)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.told(self.log.truncate(last.map_or(0, |last| last.index + 1)).await)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.told(self.log.purge(&upto).await)
    }
}
