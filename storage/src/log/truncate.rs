//! Making a log shorter: at its end, at its start, or altogether.
//!
//! Owns: the order in which files go, so that a crash in between leaves a shorter or the old log.
//! Never: decides that something is to be cut.

use std::sync::Arc;

use ottla_protocol::model::{Now, Offset};

use super::append::is_full;
use super::{LogHealth, PartitionLog};
use crate::error::{LogError, ReadError};
use crate::file_name::{FileKind, SegmentFileName};
use crate::producer_state::ProducerState;
use crate::producer_state::snapshot::Expiry;
use crate::segment::Segment;

impl PartitionLog {
    /// Removes every record from `offset` on; where it lies within a batch, that batch goes whole.
    /// Durable on return. Answers the log's new end. A damaged log is healthy after it.
    ///
    /// # Errors
    ///
    /// The log is offline, or its files cannot be changed. A full disk leaves the log as it was.
    pub fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<Offset, LogError> {
        if let LogHealth::Offline(_) = self.health {
            self.writable()?;
        }
        let damaged = self.health != LogHealth::Healthy;
        if offset >= self.log_end && !damaged {
            return Ok(self.log_end);
        }
        let first = self.segments.first().map_or(Offset::ZERO, Segment::base);
        if offset < first {
            self.truncate_fully_and_start_at(offset, now)?;
            return Ok(offset);
        }
        let offset = offset.min(self.log_end);
        let index = self.segment_index(offset);
        let segment = &self.segments[index];
        let (position, end) = match segment.locate(&self.folder, offset) {
            Ok(Some(frame)) => (frame.position, frame.header.base_offset.min(offset)),
            Ok(None) => (segment.size(), offset),
            // Whoever cuts at damage that was found since the log was opened.
            Err(LogError::Damaged(damage)) if damage.from <= offset => {
                (damage.position, damage.from)
            }
            Err(error) => return Err(error),
        };
        self.cut_behind(index, position, end)?;
        self.reload_producers(now).inspect_err(|error| self.without_producers(error))?;
        self.health = LogHealth::Healthy;
        self.check_step();
        Ok(end)
    }

    /// Removes everything; the log goes on at `start`.
    ///
    /// # Errors
    ///
    /// As [`Self::truncate_to`].
    pub fn truncate_fully_and_start_at(&mut self, start: Offset, now: Now) -> Result<(), LogError> {
        if let LogHealth::Offline(_) = self.health {
            self.writable()?;
        }
        self.restart_at(start, now)?;
        self.health = LogHealth::Healthy;
        self.check_step();
        Ok(())
    }

    /// Records below `offset` are not to be read any more (DeleteRecords, KIP-107). Their segments
    /// go with the next [`delete_old_segments`](Self::delete_old_segments). Answers the log start.
    ///
    /// # Errors
    ///
    /// `offset` lies behind the log's end.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<Offset, ReadError> {
        if offset > self.log_end {
            let (start, end) = (self.log_start, self.log_end);
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        if offset > self.log_start {
            self.log_start = offset;
            self.change_epochs(offset, |epochs| epochs.truncate_from_start(offset));
            self.producers.on_log_start(offset);
            self.check_step();
        }
        Ok(self.log_start)
    }

    /// Where the log was cut on purpose, until it is durable again as far as it was before: whoever noted
    /// until then that it was durable beyond finds nothing missing.
    #[must_use]
    pub const fn cut_at(&self) -> Option<Offset> {
        self.seals.cut_at()
    }

    /// Cuts the log at `position` of a segment, where `end` is; what lies behind goes. The log is
    /// offline where that fails half way.
    pub(super) fn cut_behind(
        &mut self,
        index: usize,
        position: u64,
        end: Offset,
    ) -> Result<(), LogError> {
        let changed = self.segments[index..].iter().map(Segment::base);
        let bases: Vec<Offset> = changed.chain(self.stranded.iter().map(Segment::base)).collect();
        self.announce_cut(&bases, end)?;
        self.cut_files_behind(index, position, end)
            .inspect_err(|error| self.go_offline(format!("a truncation failed: {error}")))
    }

    /// Notes durably that the segments from `bases` on are about to be cut at `at`. Nothing of them has been
    /// touched by then: a full disk is waited out.
    fn announce_cut(&mut self, bases: &[Offset], at: Offset) -> Result<(), LogError> {
        let promised = self.durability.promised();
        let noted = match self.seals.announce(&self.folder, bases, at, promised) {
            Err(error) if is_full(&error) => {
                return Err(LogError::io("note a truncation in", &self.folder.dir)(error));
            }
            Ok(Some(file)) => file.sync_data(),
            result => result.map(|_| ()),
        };
        self.truncations += 1;
        noted.map_err(|error| {
            self.go_offline(format!("a truncation could not be noted: {error}"));
            LogError::io("note a truncation in", &self.folder.dir)(error)
        })
    }

    fn cut_files_behind(
        &mut self,
        index: usize,
        position: u64,
        end: Offset,
    ) -> Result<(), LogError> {
        // From the last one backwards: a crash in between leaves a log without holes.
        let mut gone: Vec<Segment> = self.segments.drain(index + 1..).collect();
        gone.append(&mut self.stranded);
        gone.sort_by_key(|segment| std::cmp::Reverse(segment.base()));
        for segment in &mut gone {
            self.remove_files(segment)?;
        }
        let folder = self.folder.clone();
        let segment = &mut self.segments[index];
        let fail = segment.io("truncate", &folder);
        segment.cut(&folder, position, end).map_err(fail)?;
        self.tail.clear();
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.durability.cut(end);
        self.change_epochs(end, |epochs| epochs.truncate_from_end(end));
        self.drop_snapshots_beyond(end)
    }

    pub(super) fn restart_at(&mut self, start: Offset, now: Now) -> Result<(), LogError> {
        let bases: Vec<Offset> = self.segments.iter().map(Segment::base).collect();
        self.announce_cut(&bases, start)?;
        let dir = self.folder.dir.to_path_buf();
        let mut gone: Vec<Segment> = self.segments.drain(..).collect();
        gone.append(&mut self.stranded);
        gone.sort_by_key(|segment| std::cmp::Reverse(segment.base()));
        let removed = gone.iter_mut().try_for_each(|segment| self.remove_files(segment));
        // Before there is a new segment: one at its base would be believed.
        let cleared = removed.and_then(|()| self.drop_snapshots_beyond(Offset::NONE));
        let created = cleared.and_then(|()| {
            Segment::create(&self.folder, start, now.wall)
                .map_err(LogError::io("create a segment in", &dir))
        });
        match created {
            Ok(segment) => self.segments.push(segment),
            Err(error) => {
                // Without its segments the log cannot go on in this process.
                gone.sort_by_key(Segment::base);
                self.segments = gone;
                self.go_offline(format!("its files could not be replaced: {error}"));
                return Err(error);
            }
        }
        self.tail.clear();
        self.log_start = start;
        self.log_end = start;
        self.durability.restart(start);
        self.durability.dir(dir);
        self.change_epochs(Offset::ZERO, |epochs| {
            epochs.clear();
            true
        });
        self.producers = ProducerState::starting_at(start);
        Ok(())
    }

    /// Removes a segment's files at once, durably: if the segment before it were gone after a crash
    /// and this one were not, there would be a hole. Readers that have them open go on reading.
    fn remove_files(&mut self, segment: &mut Segment) -> Result<(), LogError> {
        segment.forget_handles(&self.folder);
        // The log last: indexes without a log are orphans, a log without indexes is readable.
        for kind in
            [FileKind::TransactionIndex, FileKind::TimeIndex, FileKind::OffsetIndex, FileKind::Log]
        {
            let path = self.folder.path(segment.name(kind));
            self.folder.remove(&path).map_err(LogError::io("remove", &path))?;
        }
        self.sync_names()
    }

    /// Makes the folder's names durable; the log is offline where that fails.
    pub(super) fn sync_names(&mut self) -> Result<(), LogError> {
        let dir = Arc::clone(&self.folder.dir);
        self.folder.fs.sync_dir(&dir).map_err(|error| {
            self.fail_flush(&error);
            LogError::io("sync", &dir)(error)
        })
    }

    /// What is known of producers is as of a longer log: no batch may be compared with it.
    fn without_producers(&mut self, error: &LogError) {
        match (error, &self.health) {
            (LogError::Damaged(damage), _) => self.health = LogHealth::Damaged(damage.clone()),
            (_, LogHealth::Damaged(_)) => {}
            _ => self.go_offline(format!("its producers could not be read again: {error}")),
        }
    }

    /// Producer state as of the log's end, from a snapshot and the batches after it.
    fn reload_producers(&mut self, now: Now) -> Result<(), LogError> {
        let expiry = Expiry::At(now.wall, self.settings.producer_id_expiration);
        let (mut state, at, _) = self.load_snapshot(self.log_end, expiry)?;
        for index in self.segment_index(at)..self.segments.len() {
            let from = at.max(self.segments[index].base());
            self.replay(index, from, &mut state, |_| {})?;
        }
        state.set_end(self.log_end);
        state.on_log_start(self.log_start);
        self.producers = state;
        Ok(())
    }

    /// Removes snapshots above `end`, durably: one that came back would be believed.
    pub(super) fn drop_snapshots_beyond(&mut self, end: Offset) -> Result<(), LogError> {
        let gone = self.snapshots.split_off(&end.next());
        for offset in &gone {
            let name = SegmentFileName::live(*offset, FileKind::ProducerSnapshot);
            let path = self.folder.path(name);
            self.folder.remove(&path).map_err(LogError::io("remove", &path))?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.sync_names()
    }
}

#[cfg(test)]
mod tests;
