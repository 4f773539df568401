//! One cleaning of one log, without its lock: map the dirty keys, then write group after group anew.
//!
//! Owns: the order of the steps and the report. Never: changes the log's own files; each group is
//! handed back to be swapped in under the lock.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_protocol::model::{Offset, ProducerId, Timestamp};
use ottla_protocol::records::Batch;

use super::filter::{Filter, Outcome, Place, RECORDS_BYTES_MAX, marker_of};
use super::group::{GroupLimits, group};
use super::offset_map::OffsetMap;
use super::reader::BatchReader;
use super::transactions::{CleanedTransactions, Verdict};
use super::writer::SegmentWriter;
use super::{BatchFault, CleanBudget, CleanError, CleanPlan, CleanReport, CleanedGroup};
use super::{MapMemory, SourceSegment};

/// A cleaning that is under way.
pub struct CleanRun {
    plan: CleanPlan,
    map: OffsetMap,
    groups: VecDeque<Vec<SourceSegment>>,
    transactions: CleanedTransactions,
    dirty_producers: BTreeMap<ProducerId, Offset>,
    now: Timestamp,
    report: CleanReport,
}

impl std::fmt::Debug for CleanRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CleanRun")
            .field("dir", &self.plan.dir)
            .field("groups", &self.groups.len())
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl CleanRun {
    /// Reads the dirty part and remembers where each key stands last.
    ///
    /// # Errors
    /// The disk's, damage in the log, or the budget's stop.
    pub fn start(
        mut plan: CleanPlan,
        memory: MapMemory,
        now: Timestamp,
        budget: &mut dyn CleanBudget,
    ) -> Result<Self, CleanError> {
        let records = plan.first_uncleanable.since(plan.first_dirty).max(0) as u64;
        let mut map = OffsetMap::new(memory.bytes, records, memory.seeds);
        let mut report = CleanReport::default();
        let dirty_producers = map_keys(&plan, &mut map, &mut report, budget)?;
        report.keys = map.len() as u64;
        report.cleaned_up_to = map.latest().next().max(plan.first_dirty);
        let mut sources = std::mem::take(&mut plan.segments);
        sources.retain(|segment| segment.base < report.cleaned_up_to);
        let limits =
            GroupLimits { segment_bytes: plan.segment_bytes, index_bytes: plan.index_bytes_max };
        let mut transactions = CleanedTransactions::new(plan.first_uncleanable);
        let first = sources.first().map_or(Offset::ZERO, |segment| segment.base);
        transactions.expect(plan.aborted.iter().filter(|txn| txn.last_offset >= first).copied());
        let groups = group(sources, limits).into();
        Ok(Self { plan, map, groups, transactions, dirty_producers, now, report })
    }

    /// Writes the next group's `.cleaned` files; `None` when all is done. The group is to be swapped
    /// in before the next one, or discarded.
    ///
    /// # Errors
    /// The disk's, damage in the log, or the budget's stop. Files that were begun are removed.
    pub fn next_group(
        &mut self,
        budget: &mut dyn CleanBudget,
    ) -> Result<Option<CleanedGroup>, CleanError> {
        while let Some(sources) = self.groups.pop_front() {
            match self.clean(&sources, budget) {
                Ok((cleaned, Changed::Yes)) => return Ok(Some(cleaned)),
                // Nothing to gain from a copy of itself.
                Ok((cleaned, Changed::No)) => cleaned.discard(&*self.plan.fs),
                Err(error) => {
                    if let Some(first) = sources.first() {
                        super::remove_cleaned(&*self.plan.fs, &self.plan.dir, first.base);
                    }
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// What was done so far; `cleaned_up_to` is true once every group was swapped in.
    #[must_use]
    pub fn report(&self) -> &CleanReport {
        &self.report
    }

    fn clean(
        &mut self,
        sources: &[SourceSegment],
        budget: &mut dyn CleanBudget,
    ) -> Result<(CleanedGroup, Changed), CleanError> {
        let filter = Filter {
            map: &self.map,
            producers: &self.plan.producers,
            dirty_producers: &self.dirty_producers,
            first_uncleanable: self.plan.first_uncleanable,
            now: self.now,
            delete_retention_millis: self.plan.delete_retention_millis,
        };
        let base = sources.first().map_or(Offset::ZERO, |segment| segment.base);
        // The final names of the swap before this one: opening takes a `.swap` beside a `.cleaned`
        // for half of a group, as Kafka does, and removes it.
        let io = |source| CleanError::Io { base, source };
        self.plan.fs.sync_dir(&self.plan.dir).map_err(io)?;
        let interval = self.plan.index_interval_bytes;
        let mut writer = SegmentWriter::create(&*self.plan.fs, &self.plan.dir, base, interval)?;
        let mut changed = if sources.len() > 1 { Changed::Yes } else { Changed::No };
        // Empty segments behind the last bytes do not hide where the group ends.
        let last = sources.iter().rposition(|segment| segment.log_bytes > 0);
        for (index, source) in sources.iter().enumerate() {
            let mut reader = BatchReader::new(source);
            while let Some(bytes) = reader.next(budget)? {
                let at_end = Some(index) == last && reader.is_at_end();
                let place = if at_end { Place::End } else { Place::Inside };
                self.report.bytes_read += bytes.len() as u64;
                let kept = keep(&filter, &mut self.transactions, place, &bytes, &mut self.report)
                    .map_err(|fault| reader.inside(&bytes, fault))?;
                let Some(kept) = kept else {
                    changed = Changed::Yes;
                    continue;
                };
                if kept != bytes {
                    changed = Changed::Yes;
                }
                let header = *Batch::parse(&kept)
                    .map_err(|fault| reader.inside(&bytes, fault.into()))?
                    .header();
                self.report.bytes_kept += kept.len() as u64;
                writer.append(&header, kept, budget)?;
            }
        }
        let replaced = sources.iter().map(|segment| (segment.base, segment.log_bytes)).collect();
        let aborted = self.transactions.take_kept();
        let group = writer.finish(&aborted, replaced, budget)?;
        Ok((CleanedGroup { truncations: self.plan.truncations, ..group }, changed))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changed {
    Yes,
    No,
}

/// The batch as it stays, if it does.
fn keep(
    filter: &Filter<'_>,
    transactions: &mut CleanedTransactions,
    place: Place,
    bytes: &Bytes,
    report: &mut CleanReport,
) -> Result<Option<Bytes>, BatchFault> {
    let batch = Batch::parse(bytes)?;
    let filtered = filter.apply(&batch, place, transactions)?;
    report.records_read += u64::try_from(batch.header().records_count).unwrap_or(0);
    report.records_kept += filtered.records_kept;
    report.records_invalid += filtered.records_invalid;
    Ok(match filtered.outcome {
        Outcome::Dropped => None,
        Outcome::Kept => Some(bytes.clone()),
        Outcome::Rewritten(bytes) => Some(bytes),
    })
}

/// Fills the map from the dirty part, until its end or until it is full. Answers where each
/// producer's last batch in that part is.
fn map_keys(
    plan: &CleanPlan,
    map: &mut OffsetMap,
    report: &mut CleanReport,
    budget: &mut dyn CleanBudget,
) -> Result<BTreeMap<ProducerId, Offset>, CleanError> {
    let mut producers = BTreeMap::new();
    let (start, end) = (plan.first_dirty, plan.first_uncleanable);
    let mut transactions = CleanedTransactions::new(end);
    transactions.expect(plan.aborted.iter().filter(|txn| txn.last_offset >= start).copied());
    for segment in &plan.segments {
        if segment.next_base <= start || segment.base >= end {
            continue;
        }
        let mut reader = BatchReader::new(segment);
        while let Some(bytes) = reader.next(budget)? {
            report.bytes_mapped += bytes.len() as u64;
            let batch =
                Batch::parse(&bytes).map_err(|fault| reader.inside(&bytes, fault.into()))?;
            let header = batch.header();
            if header.last_offset() < start {
                continue;
            }
            // Behind the end nothing is decided: a transaction there may still be aborted.
            if header.last_offset() >= end {
                return Ok(producers);
            }
            if header.has_producer_id() && !header.attributes.is_control() {
                producers.insert(header.producer_id, header.last_offset());
            }
            let full = map_batch(&batch, start, map, &mut transactions)
                .map_err(|fault| reader.inside(&bytes, fault))?;
            if full {
                report.map_full = true;
                return Ok(producers);
            }
            map.cover(header.last_offset());
        }
        // Offsets that no batch has are as clean as can be.
        map.cover(segment.next_base.min(end).plus(-1));
    }
    Ok(producers)
}

/// Whether the map ran full within the batch.
fn map_batch(
    batch: &Batch<'_>,
    start: Offset,
    map: &mut OffsetMap,
    transactions: &mut CleanedTransactions,
) -> Result<bool, BatchFault> {
    let header = batch.header();
    if header.attributes.is_control() {
        transactions.on_control(header, marker_of(batch)?);
        return Ok(false);
    }
    if transactions.on_batch(header) == Verdict::Discardable {
        return Ok(false);
    }
    for record in &batch.records(RECORDS_BYTES_MAX)? {
        let record = record?;
        if let Some(key) = record.key
            && record.offset >= start
            && map.put(key, record.offset).is_err()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
