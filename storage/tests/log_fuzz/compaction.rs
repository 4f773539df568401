//! Cleaning the log, and what it may have taken away.
//!
//! Owns: the rules for a record that is gone: superseded by a later one that was cleaned, a
//! tombstone whose time is over, data or marker of a transaction that ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::Offset;
use ottla_protocol::records::BatchIter;
use ottla_storage::cleaner::range::CompactionSettings;
use ottla_storage::cleaner::{CleanError, CleanRun, MapMemory, Unlimited};
use ottla_storage::{LogHealth, MinOneBatch};

use crate::driver::History;
use crate::model::{ModelBatch, ModelRecord};

const DELETE_RETENTION_MILLIS: i64 = 300;

impl History {
    pub(crate) fn clean(&mut self) {
        let settings = CompactionSettings {
            delete_retention: Duration::from_millis(DELETE_RETENTION_MILLIS as u64),
            ..CompactionSettings::default()
        };
        let now = self.now();
        self.say(&format_args!("clean from {}", self.cleaned));
        let log = self.log.as_ref().unwrap();
        let last_stable = log.last_stable(log.flushed());
        let range = match log.cleanable(Some(self.cleaned), last_stable, &settings, now.wall) {
            Ok(range) if range.dirty_bytes > 0 => range,
            Ok(_) => return,
            Err(error) => return self.failed(&error),
        };
        let plan = match log.clean_plan(&range, &settings) {
            Ok(plan) => plan,
            Err(error) => return self.failed(&error),
        };
        // As the driver does: else what lies below it may come back, and was taken for clean.
        self.log_start = self.model.start;
        let end = range.first_uncleanable;
        let touched = log.segments().map(|(base, _)| base).find(|base| *base >= end).unwrap();
        self.say(&format_args!("{range:?}, touches {touched}"));
        // What is flushed is committed here, and so are the ends of transactions in it.
        let touched = touched.max(log.flushed());
        self.model.untouched = self.model.untouched.max(touched);
        self.model.on_clean(end, self.clock);
        let bytes = if self.random.chance(300_000) { 150 } else { 1 << 12 };
        let memory = MapMemory { bytes, seeds: [1, 2] };
        let mut run = match CleanRun::start(plan, memory, now.wall, &mut Unlimited) {
            Ok(run) => run,
            Err(error) => return self.failed(&error),
        };
        loop {
            let group = match run.next_group(&mut Unlimited) {
                Ok(Some(group)) => group,
                Ok(None) => break,
                Err(error) => return self.failed(&error),
            };
            let segments: Vec<_> = self.log().segments().collect();
            let truncated = self.meanwhile();
            if self.crashed {
                return;
            }
            let changed = truncated
                || !self
                    .log()
                    .segments()
                    .collect::<Vec<_>>()
                    .starts_with(&segments[..segments.len() - 1]);
            match self.log().swap_in(group, now) {
                Ok(()) => self.take_over_cleaned(),
                Err(CleanError::Changed) => {
                    assert!(changed, "the segments are what they were");
                    return;
                }
                Err(error) => return self.failed(&error),
            }
            if self.crashed {
                return;
            }
        }
        assert_eq!(self.log().health(), &LogHealth::Healthy);
        // The checkpoint of the cleaner may be an older one after a crash: that is no harm.
        if self.random.chance(700_000) {
            self.cleaned = run.report().cleaned_up_to;
        }
    }

    /// The log is used while it is cleaned; says whether it may have been truncated.
    fn meanwhile(&mut self) -> bool {
        let what = self.random.below(12);
        match what {
            0 | 1 => self.append(),
            2 => self.flush(),
            3 => self.roll(),
            4 => self.truncate(),
            5 => self.retention(),
            6 => self.delete_records(),
            _ => {}
        }
        what == 4
    }

    /// Checks what cleaning left, and takes it over into the model.
    pub(crate) fn take_over_cleaned(&mut self) {
        let log = self.log.as_ref().unwrap();
        let mut bytes = Vec::new();
        let mut at = log.log_start();
        while at < log.log_end() {
            let read = log.read(at, 700, log.log_end(), MinOneBatch::Yes);
            let Ok(part) = read.as_ref().map(|read| read.to_bytes()) else {
                return self.failed(&"a read");
            };
            let (Ok(part), Ok(read)) = (part, read) else { return self.failed(&"a read") };
            if read.next_offset <= at {
                break;
            }
            bytes.extend_from_slice(&part);
            at = read.next_offset;
        }
        let left: Vec<ModelBatch> = BatchIter::new(&bytes)
            .map(|batch| ModelBatch::of(Bytes::copy_from_slice(batch.unwrap().bytes())))
            .collect();
        if let Err(wrong) = self.model.take_over(left, self.clock) {
            panic!("{wrong}\n{:?}", self.log);
        }
    }
}

impl crate::model::Model {
    /// A cleaning of everything below `end` begins.
    fn on_clean(&mut self, end: Offset, clock: i64) {
        self.uncleaned = self.uncleaned.max(end);
        for record in self.batches.iter().flat_map(|batch| &batch.records) {
            if record.offset < end && record.value.is_none() {
                self.tombstones_cleaned.entry(record.offset).or_insert(clock);
            }
        }
    }

    /// Checks that `left`, from the log start on, is what cleaning may leave; it is the log now.
    fn take_over(&mut self, left: Vec<ModelBatch>, clock: i64) -> Result<(), String> {
        let known: BTreeMap<Offset, &ModelBatch> =
            self.history.iter().map(|batch| (batch.base(), batch)).collect();
        let mut present = BTreeSet::new();
        for batch in &left {
            let Some(was) = known.get(&batch.base()) else {
                return Err(format!("a batch at {} that was never appended", batch.base()));
            };
            if batch.next() != was.next() {
                return Err(format!("the batch at {} ends at {}", batch.base(), batch.next()));
            }
            if batch.base() >= self.untouched && batch.bytes != was.bytes {
                return Err(format!("the batch at {} changed", batch.base()));
            }
            let (ours, theirs) = (&batch.header, &was.header);
            let same =
                (ours.producer_id, ours.producer_epoch, ours.base_sequence, ours.leader_epoch)
                    == (
                        theirs.producer_id,
                        theirs.producer_epoch,
                        theirs.base_sequence,
                        theirs.leader_epoch,
                    )
                    && ours.attributes.is_transactional() == theirs.attributes.is_transactional()
                    && ours.attributes.is_control() == theirs.attributes.is_control();
            if !same {
                return Err(format!("the batch at {}: {ours:?} and not {theirs:?}", batch.base()));
            }
            for record in &batch.records {
                if !was.records.contains(record) {
                    return Err(format!("{record:?} was never appended"));
                }
                present.insert(record.offset);
            }
        }
        let aborted = self.aborted();
        let is_aborted = |batch: &ModelBatch| {
            batch.header.attributes.is_transactional()
                && aborted.iter().any(|(id, first, last)| {
                    *id == batch.header.producer_id && (*first..*last).contains(&batch.base())
                })
        };
        let committed: Vec<&ModelRecord> = self
            .history
            .iter()
            .filter(|batch| !batch.header.attributes.is_control() && !is_aborted(batch))
            .flat_map(|batch| &batch.records)
            .collect();
        for batch in self.batches.iter().filter(|batch| batch.next() > self.start) {
            for record in batch.records.iter().filter(|record| record.offset >= self.start) {
                if present.contains(&record.offset) {
                    continue;
                }
                let at = record.offset;
                // What was aborted for good may go with its segment, wherever it lies in it.
                let ended = is_aborted(batch) && at < self.untouched;
                if at >= self.uncleaned && !ended {
                    return Err(format!("{record:?} is gone, and was not cleaned"));
                }
                let ended = ended || batch.header.attributes.is_control();
                let superseded = committed.iter().any(|later| {
                    later.key == record.key && later.offset > at && later.offset < self.uncleaned
                });
                let due = self.tombstones_cleaned.get(&at);
                let over = record.value.is_none()
                    && due.is_some_and(|due| clock >= due + DELETE_RETENTION_MILLIS);
                if over && !ended && !superseded {
                    let revived = committed.iter().find(|r| {
                        r.key == record.key && r.offset < at && present.contains(&r.offset)
                    });
                    if let Some(revived) = revived {
                        return Err(format!("{revived:?} is back without {record:?}"));
                    }
                }
                if !(ended || superseded || over) {
                    return Err(format!(
                        "{record:?} is gone at {clock}: {:?}; aborted {aborted:?}",
                        batch.header
                    ));
                }
            }
        }
        // Below the log start nothing is seen; it may come back with a deletion that is undone.
        let first = left.first().map_or(self.end, ModelBatch::base);
        self.batches.retain(|batch| batch.base() < first && batch.next() <= self.start);
        self.batches.extend(left);
        Ok(())
    }
}
