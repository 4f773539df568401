//! Finding where a log ends, and what of it can be believed.
//!
//! Owns: the scan past the recovery point, telling a torn end from damage, rebuilding epochs and
//! producers. Never: cuts anything that may have been acknowledged: only an end behind which no
//! good batch follows, past the recovery point.
//!
//! # How a bad place is judged
//!
//! ```text
//!   below the recovery point                        damage
//!   past it, a good batch follows somewhere         damage; or, if the context says so, cut,
//!                                                   and what is cut is kept in a file
//!   past it, a whole batch with a wrong offset      the same: a torn write does not look like that
//!   past it, nothing follows                        torn: never acknowledged, cut
//! ```

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::model::{LeaderEpoch, Offset};

use super::open::{AfterRecoveryPoint, OpenContext, Shutdown, latest_below};
use super::{LogHealth, PartitionLog};
use crate::error::{Damage, DamageFault, LogError};
use crate::file_name::{FileKind, SegmentFileName};
use crate::fs::OpenMode;
use crate::known_bugs::KnownBug;
use crate::producer_state::ProducerState;
use crate::producer_state::snapshot::{self, Expiry};
use crate::seal::{Seal, Seals};
use crate::segment::Segment;
use crate::segment::scan::{BatchScan, Gaps, ScanError, find_frame, verify_crc};

/// Ends the names of files that hold what recovery cut.
const ASIDE_SUFFIX: &str = ".aside";

/// An end that was cut off: written in part when the process or the machine stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    pub file: PathBuf,
    pub position: u64,
    pub bytes: u64,
    /// The log's end now.
    pub end: Offset,
    pub fault: DamageFault,
}

/// What opening found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    pub segments: usize,
    /// Bytes of batches that were read and checked.
    pub scanned_bytes: u64,
    pub torn: Option<TornTail>,
    pub damage: Option<Damage>,
    /// Files that were on their way out, or had no log.
    pub removed: Vec<String>,
    /// Files of compaction that got their final names.
    pub swapped: Vec<String>,
    /// The epoch checkpoint was missing or damaged.
    pub epochs_rebuilt: bool,
    /// The snapshot that producer state began with.
    pub snapshot: Option<Offset>,
}

impl RecoveryReport {
    pub(super) fn changed_names(&self) -> bool {
        !self.removed.is_empty() || !self.swapped.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    Yes,
    No,
}

/// A place where the walk over a log stopped.
#[derive(Debug)]
struct BadPlace {
    index: usize,
    position: u64,
    expected: Offset,
    fault: DamageFault,
}

impl PartitionLog {
    /// Sets the log's end, after examining what the context does not vouch for.
    pub(super) fn find_end(
        &mut self,
        ctx: &OpenContext,
        seals: &Seals,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        // Until it is known, nothing may look beyond the segments' own files.
        self.log_end = Offset(i64::MAX);
        let last = self.segments.len() - 1;
        let from = match ctx.shutdown {
            Shutdown::Clean => last,
            Shutdown::Unclean => self.segment_index(ctx.recovery_point),
        };
        let closed = match ctx.shutdown {
            Shutdown::Clean => last + 1,
            Shutdown::Unclean => from,
        };
        let from_base = self.segments[from].base();
        let mut bad = self.check_sealed(closed, seals)?;
        let scan_from = bad.is_none().then(|| match ctx.shutdown {
            Shutdown::Clean => self.walk_to_end(last),
            Shutdown::Unclean => self.scan_from(from, ctx, report),
        });
        let mut end = Offset::ZERO;
        match scan_from.transpose()? {
            Some(Ok(found)) => end = found,
            Some(Err(place)) => bad = Some(place),
            None => {}
        }
        let synced = ctx.recovery_point;
        if bad.is_none() && end < synced {
            let position = self.segments[last].size();
            let fault = DamageFault::EndsEarly { synced, found: end };
            bad = Some(BadPlace { index: last, position, expected: end, fault });
        }
        match bad {
            None => self.log_end = end,
            Some(bad) => self.judge(bad, ctx, report)?,
        }
        if ctx.shutdown == Shutdown::Unclean {
            self.void_stale_seals(seals, from_base)?;
        }
        self.durability.restart(match ctx.shutdown {
            Shutdown::Clean => self.log_end,
            Shutdown::Unclean => ctx.recovery_point.min(self.log_end),
        });
        Ok(())
    }

    /// Takes back what was sealed past the recovery point and is not so: a seal may have reached
    /// the disk before its segment. Believed later, when another segment stands there, it would
    /// pass for damage. What belongs to damage stays as it is.
    fn void_stale_seals(&mut self, seals: &Seals, from: Offset) -> Result<(), LogError> {
        let healthy = self.health == LogHealth::Healthy;
        let segments: BTreeMap<Offset, u64> = self
            .segments
            .iter()
            .chain(&self.stranded)
            .map(|segment| (segment.base(), segment.size()))
            .collect();
        let is_stale = |base: &Offset, seal: &Seal| match segments.get(base) {
            Some(size) => healthy && *size != seal.log_bytes,
            None => true,
        };
        let stale: Vec<Offset> = seals
            .by_base
            .range(from..)
            .filter(|(base, seal)| is_stale(base, seal))
            .map(|(base, _)| *base)
            .collect();
        if stale.is_empty() {
            return Ok(());
        }
        let dir = self.folder.dir.to_path_buf();
        self.seals
            .void(&self.folder, &stale, self.log_end, self.durability.promised())
            .map_err(LogError::io("take back the seals of", &dir))
    }

    /// Whether segments below `to` are as they were when they were closed, by their lengths.
    fn check_sealed(&self, to: usize, seals: &Seals) -> Result<Option<BadPlace>, LogError> {
        for (index, segment) in self.segments[..to].iter().enumerate() {
            let Some(seal) = seals.by_base.get(&segment.base()) else { continue };
            let next = self.segments.get(index + 1).map_or(seal.next_offset, Segment::base);
            let fault = if segment.size() < seal.log_bytes {
                DamageFault::Shortened { sealed: seal.log_bytes, found: segment.size() }
            } else if segment.size() == seal.log_bytes
                && self.gaps() == Gaps::Refused
                && seal.next_offset < next
            {
                DamageFault::EndsEarly { synced: next, found: seal.next_offset }
            } else {
                continue;
            };
            let expected = match self.walk_to_end(index)? {
                Ok(end) => end,
                Err(place) => place.expected,
            };
            let position = segment.size();
            return Ok(Some(BadPlace { index, position, expected, fault }));
        }
        Ok(None)
    }

    /// The end of a segment whose bytes are believed: from the last indexed batch on.
    fn walk_to_end(&self, index: usize) -> Result<Result<Offset, BadPlace>, LogError> {
        let segment = &self.segments[index];
        if let Some(seal) = segment.seal() {
            return Ok(Ok(seal.next_offset));
        }
        let start = segment.opening_start(&self.folder, None)?;
        let mut scan =
            segment.scan(&self.folder, start).map_err(segment.io("read", &self.folder))?;
        loop {
            match scan.advance() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Ok(scan.expected())),
                Err(error) => {
                    return self.bad_place(index, scan.expected(), error).map(Err);
                }
            }
        }
    }

    fn bad_place(
        &self,
        index: usize,
        expected: Offset,
        error: ScanError,
    ) -> Result<BadPlace, LogError> {
        match error {
            ScanError::Io(error) => Err(self.segments[index].io("read", &self.folder)(error)),
            ScanError::Fault { position, fault } => {
                Ok(BadPlace { index, position, expected, fault: fault.into() })
            }
        }
    }

    /// Examines every batch from the recovery point on. Answers the log's end.
    fn scan_from(
        &mut self,
        from: usize,
        ctx: &OpenContext,
        report: &mut RecoveryReport,
    ) -> Result<Result<Offset, BadPlace>, LogError> {
        let mut expected = self.segments[from].base();
        let saved = self.epochs.clone();
        for index in from..self.segments.len() {
            let segment = &self.segments[index];
            let base = segment.base();
            // Gaps that compaction leaves lie within segments; ours keeps the last batch of each. One
            // between segments is what a power cut took.
            if index > from && expected != base {
                let fault = DamageFault::EndsEarly { synced: base, found: expected };
                let position = self.segments[index - 1].size();
                return Ok(Err(BadPlace { index: index - 1, position, expected, fault }));
            }
            let position = if index == from {
                segment.opening_start(&self.folder, Some(ctx.recovery_point))?
            } else {
                0
            };
            if index == from {
                self.forget_epochs(index, position)?;
            }
            match self.scan_segment(index, position, report)? {
                Ok(end) => expected = end,
                Err(place) => return Ok(Err(place)),
            }
        }
        // One that was assigned and has no batch yet.
        if let Some(last) = saved.entries().last().filter(|last| last.start == expected)
            && self.epochs.latest().is_none_or(|latest| latest < last.epoch)
        {
            self.epochs.assign(last.epoch, last.start);
        }
        Ok(Ok(expected))
    }

    /// Past the place where the scan begins only batches say which epochs there were: the file may
    /// be older than a truncation.
    fn forget_epochs(&mut self, index: usize, position: u64) -> Result<(), LogError> {
        let segment = &self.segments[index];
        let start = match position {
            0 => segment.base(),
            _ => segment
                .frame_at(&self.folder, position)?
                .map_or_else(|| segment.base(), |frame| frame.header.base_offset),
        };
        self.change_epochs(start, |epochs| epochs.truncate_from_end(start));
        Ok(())
    }

    /// Examines one segment from `position` on, and indexes it anew from there.
    fn scan_segment(
        &mut self,
        index: usize,
        position: u64,
        report: &mut RecoveryReport,
    ) -> Result<Result<Offset, BadPlace>, LogError> {
        let gaps = self.gaps();
        let interval = self.settings.index_interval_bytes;
        let folder = self.folder.clone();
        let segment = &mut self.segments[index];
        let (base, size) = (segment.base(), segment.size());
        let path = segment.log_path(&folder);
        let file = segment.file(&folder).map_err(LogError::io("open", &path))?;
        // What counts is on the disk: the cache keeps, as clean, pages whose sync failed in a
        // process before this one. Dirty pages stay, and are for the next flush.
        file.forget_cached(position).map_err(LogError::io("read", &path))?;
        // Where the recovery point led us, offsets go on from what is there.
        let start = match position {
            0 => base,
            _ => segment.frame_at(&folder, position)?.map_or(base, |f| f.header.base_offset),
        };
        segment.rewind(&folder, position, start).map_err(LogError::io("index", &path))?;
        let mut scan =
            BatchScan::new(Arc::clone(&file), position..size, base).expecting(start, gaps);
        loop {
            let expected = scan.expected();
            let next = scan.advance().and_then(|frame| match frame {
                Some(frame) => verify_crc(&*file, &frame).map(|()| Some(frame)),
                None => Ok(None),
            });
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(Ok(expected)),
                Err(error) => return self.bad_place(index, expected, error).map(Err),
            };
            report.scanned_bytes += frame.size();
            segment.note(&folder, &frame.header, interval);
            let (epoch, start) = (frame.header.leader_epoch, frame.header.base_offset);
            if self.epochs.latest().is_none_or(|latest| epoch > latest)
                && self.epochs.assign(epoch, start)
            {
                self.durability.epochs_changed(start);
            }
            // It may be in the page cache only: the next flush is to make it durable.
            if frame.end() == size {
                self.durability.file(Arc::clone(&file));
            }
        }
    }

    /// Decides what a bad place is, and sets the log's end before it.
    fn judge(
        &mut self,
        bad: BadPlace,
        ctx: &OpenContext,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        let BadPlace { index, position, expected, fault } = bad;
        let path = self.segments[index].log_path(&self.folder);
        self.log_end = expected;
        let file_len = self.file_len(index)?;
        let next_good = self.good_batch_after(index, position, file_len, expected)?;
        let careless = KnownBug::TruncateOnBadChecksum.is_back();
        let vouched = ctx.shutdown == Shutdown::Clean || expected < ctx.recovery_point;
        let whole = self.whole_batch_at(index, position, file_len)?;
        let doubtful = next_good.is_some() || whole;
        let reported = doubtful && ctx.after_recovery_point == AfterRecoveryPoint::Report;
        if (vouched || reported) && !careless {
            let damage = Damage { file: path, position, from: expected, to: next_good, fault };
            self.confine(index, position, damage.clone());
            report.damage = Some(damage);
            return Ok(());
        }
        let bytes = file_len.saturating_sub(position);
        if doubtful {
            let kept = self.keep_aside(index, position, file_len, expected)?;
            tracing::error!(file = %path.display(), position, %fault, kept = %kept.display(),
                "cutting a bad place and what follows it, none of which was known to be durable");
        } else {
            tracing::warn!(file = %path.display(), position, %fault, "cutting an unfinished end");
        }
        report.torn = Some(TornTail { file: path, position, bytes, end: expected, fault });
        self.cut_behind(index, position, expected)
    }

    /// Copies what stands behind a bad place to a file beside the log, for whoever wants to look.
    fn keep_aside(
        &self,
        index: usize,
        position: u64,
        file_len: u64,
        end: Offset,
    ) -> Result<PathBuf, LogError> {
        const CHUNK: usize = 1 << 20;
        let path = self.unused_aside(end)?;
        let io = || LogError::io("keep what is cut in", &path);
        let aside = self.folder.fs.open(&path, OpenMode::CreateNew).map_err(io())?;
        let mut to = 0;
        for (at, segment) in self.segments.iter().enumerate().skip(index) {
            let range = if at == index { position..file_len } else { 0..segment.size() };
            let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
            for from in range.clone().step_by(CHUNK) {
                let len = usize::try_from(range.end - from).unwrap_or(CHUNK).min(CHUNK);
                let bytes =
                    file.read_bytes_at(from, len).map_err(segment.io("read", &self.folder))?;
                aside.write_all_at(&[IoSlice::new(&bytes)], to).map_err(io())?;
                to += bytes.len() as u64;
            }
        }
        aside.sync_data().map_err(io())?;
        self.folder.fs.sync_dir(&self.folder.dir).map_err(io())?;
        Ok(path)
    }

    /// A name that no file has: where the power went while a hole was being cut, the next start finds
    /// less behind it than this one did.
    fn unused_aside(&self, end: Offset) -> Result<PathBuf, LogError> {
        let name = |attempt: u32| match attempt {
            0 => format!("{:020}{ASIDE_SUFFIX}", end.get()),
            _ => format!("{:020}-{attempt}{ASIDE_SUFFIX}", end.get()),
        };
        let mut attempt = 0;
        loop {
            let path = self.folder.dir.join(name(attempt));
            if !self.folder.fs.exists(&path).map_err(LogError::io("look for", &path))? {
                return Ok(path);
            }
            attempt += 1;
        }
    }

    fn file_len(&self, index: usize) -> Result<u64, LogError> {
        let segment = &self.segments[index];
        let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
        file.len().map_err(segment.io("read", &self.folder))
    }

    /// The base offset of the first good batch behind a bad place.
    fn good_batch_after(
        &self,
        index: usize,
        position: u64,
        file_len: u64,
        expected: Offset,
    ) -> Result<Option<Offset>, LogError> {
        for (at, segment) in self.segments.iter().enumerate().skip(index) {
            let range = if at == index { position + 1..file_len } else { 0..segment.size() };
            let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
            let found = find_frame(&*file, range, segment.base(), expected)
                .map_err(segment.io("read", &self.folder))?;
            if let Some(frame) = found {
                return Ok(Some(frame.header.base_offset));
            }
        }
        Ok(None)
    }

    /// Whether a whole batch with a good CRC stands at a bad place: then what is wrong is its
    /// offset, which the CRC does not cover.
    fn whole_batch_at(&self, index: usize, position: u64, file_len: u64) -> Result<bool, LogError> {
        let segment = &self.segments[index];
        let file = segment.file(&self.folder).map_err(segment.io("open", &self.folder))?;
        crate::segment::scan::is_whole_batch(&*file, position, file_len)
            .map_err(segment.io("read", &self.folder))
    }

    /// The log ends at damage; what is behind it stays on disk and is no part of the log.
    fn confine(&mut self, index: usize, position: u64, damage: Damage) {
        self.stranded.extend(self.segments.drain(index + 1..));
        self.segments[index].confine(position);
        self.log_end = damage.from;
        self.log_start = self.log_start.min(self.log_end);
        self.durability.cut(self.log_end);
        tracing::error!(%damage, "the log is damaged");
        self.health = LogHealth::Damaged(Box::new(damage));
    }

    /// Assigns epochs again from the batches' headers.
    pub(super) fn rebuild_epochs(&mut self, report: &mut RecoveryReport) -> Result<(), LogError> {
        self.epochs.clear();
        let mut found: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for index in 0..self.segments.len() {
            // Fewer than there were, where damage was met.
            let Some(segment) = self.segments.get(index) else { break };
            let base = segment.base();
            let walked = self.walk(index, base, |frame, _| {
                let epoch = frame.header.leader_epoch;
                if found.last().is_none_or(|(latest, _)| epoch > *latest) {
                    found.push((epoch, frame.header.base_offset));
                }
                Ok(())
            });
            self.tolerate(walked, report)?;
        }
        for (epoch, start) in found {
            if start < self.log_end {
                self.change_epochs(start, |epochs| epochs.assign(epoch, start));
                report.epochs_rebuilt = true;
            }
        }
        Ok(())
    }

    /// Damage met on the way ends the log before it, instead of failing the opening.
    fn tolerate(
        &mut self,
        walked: Result<(), LogError>,
        report: &mut RecoveryReport,
    ) -> Result<Lost, LogError> {
        let damage = match walked {
            Ok(()) => return Ok(Lost::No),
            Err(LogError::Damaged(damage)) => *damage,
            Err(error) => return Err(error),
        };
        let base = damage
            .file
            .file_name()
            .and_then(|name| SegmentFileName::parse(name.to_str()?))
            .filter(|name| name.kind == FileKind::Log)
            .map_or(damage.from, |name| name.base);
        let index = self.segment_index(base);
        let position = damage.position;
        report.damage = Some(damage.clone());
        self.confine(index, position, damage);
        Ok(Lost::Yes)
    }

    /// Brings producer state to the log's end: the newest usable snapshot, and the batches since.
    pub(super) fn load_producers(
        &mut self,
        ctx: &OpenContext,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        loop {
            let expiry = Expiry::At(ctx.now.wall, self.settings.producer_id_expiration);
            let (mut state, at, usable) = self.load_snapshot(self.log_end, expiry)?;
            report.snapshot = usable;
            self.drop_unusable_snapshots(usable)?;
            let mut lost = Lost::No;
            let mut index = self.segment_index(at);
            while index < self.segments.len() && lost == Lost::No {
                let from = at.max(self.segments[index].base());
                let walked = self.replay(index, from, &mut state, |_| {});
                lost = self.tolerate(walked, report)?;
                index += 1;
            }
            if lost == Lost::Yes {
                continue;
            }
            state.set_end(self.log_end);
            state.on_log_start(self.log_start);
            self.producers = state;
            break;
        }
        self.producers.expire(ctx.now.wall, self.settings.producer_id_expiration);
        self.drop_snapshots_beyond(self.log_end)
    }

    /// Removes the snapshots behind `usable` up to the log's end, which could not be read: there is
    /// room for better ones.
    fn drop_unusable_snapshots(&mut self, usable: Option<Offset>) -> Result<(), LogError> {
        let first = self.segments.first().map_or(Offset::ZERO, Segment::base);
        let from = usable.map_or(first, Offset::next);
        let bad: Vec<Offset> = self
            .snapshots
            .iter()
            .copied()
            .filter(|at| (from..=self.log_end).contains(at))
            .collect();
        for at in bad {
            let path = self.folder.path(SegmentFileName::live(at, FileKind::ProducerSnapshot));
            self.folder.remove(&path).map_err(LogError::io("remove", &path))?;
            self.snapshots.remove(&at);
        }
        Ok(())
    }

    /// The newest snapshot at or below `limit` that can be read, where it begins, and whether there
    /// was one; else an empty state at the first segment.
    pub(super) fn load_snapshot(
        &self,
        limit: Offset,
        expiry: Expiry,
    ) -> Result<(ProducerState, Offset, Option<Offset>), LogError> {
        let first = self.segments.first().map_or(Offset::ZERO, Segment::base);
        let mut limit = limit;
        // One from before the first segment knows transactions whose ends went with the segments
        // in between: they would stay open for ever.
        while let Some(at) = latest_below(&self.snapshots, limit).filter(|at| *at >= first) {
            if let Some(state) = self.read_snapshot(at, expiry)? {
                return Ok((state, at, Some(at)));
            }
            if at == Offset::ZERO {
                break;
            }
            limit = at.plus(-1);
        }
        Ok((ProducerState::starting_at(first), first, None))
    }

    /// The snapshot at `at`, unless it is missing or damaged.
    pub(super) fn read_snapshot(
        &self,
        at: Offset,
        expiry: Expiry,
    ) -> Result<Option<ProducerState>, LogError> {
        let path = self.folder.path(SegmentFileName::live(at, FileKind::ProducerSnapshot));
        let bytes = self.folder.read_small(&path, 1 << 30).map_err(LogError::io("read", &path))?;
        match snapshot::decode(&bytes.unwrap_or_default(), at, expiry) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a producer snapshot is not used");
                Ok(None)
            }
        }
    }
}
