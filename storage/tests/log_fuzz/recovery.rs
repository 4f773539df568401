//! Ends of processes and machines, and what a log is afterwards.

use std::path::Path;

use ottla_protocol::model::Offset;
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::sim::{DiskError, Op, OpMatcher};
use ottla_storage::{AfterRecoveryPoint, LogError, LogHealth, MinOneBatch, Shutdown};

use crate::driver::{DIR, History, Stop};

impl History {
    pub(crate) fn failing_sync(&mut self) {
        self.append();
        if self.crashed || !self.log().needs_flush() {
            return;
        }
        let synced = self.synced;
        self.fs.fail_next(OpMatcher::op(Op::SyncData), DiskError::Io);
        let result = self.log().flush_now();
        self.fs.clear_faults();
        if let Err(error) = result {
            if matches!(self.log().health(), LogHealth::Offline(_)) {
                let start = self.model.start;
                let log = self.log.as_ref().unwrap();
                assert!(!log.is_writable());
                // What was synced is still there to be read.
                if start < synced && self.fs.exists(Path::new(DIR)).is_ok() {
                    let _ = log.read(start, 100, synced, MinOneBatch::Yes);
                }
                if self.fs.exists(Path::new(DIR)).is_ok() && self.random.chance(700_000) {
                    // A new process on the same machine: the page cache holds, as clean, what the
                    // disk does not. What it accepts it must be able to keep.
                    self.power_stays();
                    self.log = None;
                    self.fs.kill_process();
                    return self.recover(synced, Stop::Process);
                }
            }
            self.failed(&error);
        } else {
            self.on_flushed();
        }
    }

    /// The machine loses power.
    pub(crate) fn crash(&mut self) {
        self.log = None;
        self.fs.crash();
        self.fs.clear_faults();
        self.recover(self.synced, Stop::Machine);
    }

    /// The process dies; what it wrote stays.
    pub(crate) fn kill(&mut self) {
        self.power_stays();
        if self.fs.exists(Path::new(DIR)).is_err() {
            // It went already, in a write whose failure costs nothing.
            return self.crash();
        }
        self.log = None;
        self.fs.kill_process();
        let all = self.model.end;
        self.recover(all, Stop::Process);
    }

    pub(crate) fn close(&mut self) {
        let now = self.now();
        match self.log().close_clean(now) {
            Err(error) => self.failed(&error),
            Ok(()) => {
                let before = self.log().producers().clone();
                self.recovery_point = self.log().recovery_point();
                assert_eq!(self.recovery_point, self.model.end);
                self.log_start = self.model.start;
                self.synced = self.model.end;
                self.log = None;
                self.power_stays();
                if self.random.chance(500_000) {
                    self.fs.crash();
                }
                let (log, report) = self.open(Shutdown::Clean, AfterRecoveryPoint::Report);
                assert_eq!(report.damage, None);
                assert_eq!(report.torn, None);
                assert_eq!(report.scanned_bytes, 0);
                let known = |state: &ottla_storage::producer_state::ProducerState| {
                    state.iter().map(|(id, entry)| (id, entry.clone())).collect::<Vec<_>>()
                };
                assert_eq!(known(log.producers()), known(&before));
                assert_eq!(log.log_start(), self.model.start);
                self.log = Some(log);
                self.compare();
            }
        }
    }

    /// Opens after a stop in the middle of whatever, and brings the model to what was recovered.
    pub(crate) fn recover(&mut self, at_least: Offset, stop: Stop) {
        self.crashed = true;
        let after = match self.random.chance(500_000) {
            true => AfterRecoveryPoint::Cut,
            false => AfterRecoveryPoint::Report,
        };
        if stop == Stop::Machine && self.random.chance(200_000) {
            // The power goes again while the log is being opened.
            self.fs.power_off_at(self.fs.calls() + self.random.below(60));
            match self.try_open(Shutdown::Unclean, after) {
                Ok((log, _)) => drop(log),
                Err(LogError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            self.fs.crash();
        }
        let (mut log, report) = self.open(Shutdown::Unclean, after);
        let doubt = std::mem::take(&mut self.doubt);
        let mut at_least = at_least;
        if let Some(end) = doubt.truncated {
            at_least = at_least.min(end);
        }
        if let Some(start) = doubt.restarted {
            at_least = Offset::ZERO;
            if log.log_end() == start && log.log_start() == start {
                self.model.restart(start);
            }
        }
        if let Some(damage) = &report.damage {
            // Holes in what was never synced may be reported, and healed by cutting.
            assert_eq!(after, AfterRecoveryPoint::Report, "{damage}; {}", self.recovery_point);
            assert!(damage.from >= at_least, "{damage}; synced {at_least}");
            assert!(!log.is_writable());
            log.truncate_to(damage.from, self.now()).unwrap();
            assert!(log.is_writable());
        }
        if let Some(start) = doubt.restarted.filter(|_| self.compacts()) {
            // Who began it ends it: what is left half way is not to be judged by what was cleaned.
            log.truncate_fully_and_start_at(start, self.now()).unwrap();
            self.model.restart(start);
        }
        let end = log.log_end();
        assert!(
            end >= at_least,
            "lost what was synced: ends at {end}, synced {at_least}, {report:?}",
        );
        let (doubt_deleted, doubt_restarted) = (doubt.deleted, doubt.restarted);
        for batch in doubt.appended {
            if batch.base() == self.model.end && batch.next() <= end {
                self.model.push(batch);
            }
        }
        assert!(
            end <= self.model.end,
            "{end} > {}: {report:?}; {doubt_restarted:?}",
            self.model.end,
        );
        self.model.truncate(end);
        // Deletions below the checkpointed start are for good, later ones may have been undone.
        let start = log.log_start();
        assert!(
            doubt_deleted || start <= self.model.start.max(self.log_start),
            "starts at {start} and not {}; {doubt_restarted:?}",
            self.model.start,
        );
        self.model.start = start;
        self.synced = log.flushed();
        self.log = Some(log);
        if self.compacts() {
            // A cleaning that was under way got anywhere.
            self.take_over_cleaned();
        }
        self.compare();
        // As a broker does after an unclean start.
        self.flush();
    }
}
