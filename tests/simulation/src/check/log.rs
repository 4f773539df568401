//! What the logs hold in the end: C1 to C4 and C17.
//!
//! Owns: one value per offset, nothing acknowledged lost, nothing twice, order, equal replicas.
//! Never: what changed over time (see `reads`).

use std::collections::{BTreeMap, BTreeSet};

use super::{Counts, Findings, Tp};
use crate::history::{Event, Kind, Op, Poll, Produce, key_of};

/// All that is known of one partition.
#[derive(Debug, Default)]
struct Partition {
    /// Offset to value, from acknowledgements and all reads.
    at: BTreeMap<i64, u64>,
    /// Value to offset, likewise.
    of: BTreeMap<u64, i64>,
    /// Acknowledged values at their offsets.
    acknowledged: BTreeMap<i64, u64>,
    /// Values that were ever sent, and those that were proven not to be in the log.
    sent: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Per session: (sequence, position in the batch) of each value.
    order: BTreeMap<String, BTreeMap<(u64, usize), u64>>,
    /// The reads after healing.
    last: Vec<Poll>,
    rotten: bool,
    /// A value may go once a later one of its key is there.
    compacted: bool,
}

pub(super) fn check(events: &[Event], findings: &mut Findings, counts: &mut Counts) {
    let mut all: BTreeMap<Tp, Partition> = BTreeMap::new();
    let mut replicas: BTreeMap<Tp, Vec<Replica>> = BTreeMap::new();
    for event in events {
        match (&event.op, event.kind) {
            (Op::Produce(produce), kind) => {
                let tp = (produce.topic.clone(), produce.partition);
                all.entry(tp.clone()).or_default().sent(&tp, produce, kind, findings, counts);
            }
            (Op::Poll(poll), Kind::Ok) => {
                counts.polled += poll.records.len();
                let tp = (poll.topic.clone(), poll.partition);
                all.entry(tp.clone()).or_default().read(&tp, poll, findings);
            }
            (Op::FinalRead(poll), Kind::Ok) => {
                counts.partitions_read += 1;
                let tp = (poll.topic.clone(), poll.partition);
                let partition = all.entry(tp.clone()).or_default();
                partition.read(&tp, poll, findings);
                partition.last.push(poll.clone());
            }
            (Op::Rotten { topic, partition }, _) => {
                all.entry((topic.clone(), *partition)).or_default().rotten = true;
            }
            (Op::Replica { topic, partition, node, log_start, committed, batches }, Kind::Ok) => {
                replicas.entry((topic.clone(), *partition)).or_default().push(Replica {
                    node: *node,
                    log_start: *log_start,
                    committed: *committed,
                    batches: batches.iter().copied().collect(),
                });
            }
            _ => {}
        }
    }
    for event in events {
        if let Op::Compacted { topic } = &event.op {
            let of_it = all.iter_mut().filter(|((name, _), _)| name == topic);
            of_it.for_each(|(_, partition)| partition.compacted = true);
        }
    }
    for (tp, partition) in &all {
        partition.judge(tp, findings, counts);
    }
    for (tp, replicas) in &replicas {
        compare(tp, replicas, findings);
    }
}

impl Partition {
    fn sent(
        &mut self,
        tp: &Tp,
        produce: &Produce,
        kind: Kind,
        findings: &mut Findings,
        counts: &mut Counts,
    ) {
        let session = self.order.entry(produce.session.clone()).or_default();
        for (position, value) in produce.values.iter().enumerate() {
            session.insert((produce.seq, position), *value);
        }
        match (kind, produce.offset) {
            (Kind::Invoke, _) => self.sent.extend(&produce.values),
            (Kind::Fail, _) => self.refused.extend(&produce.values),
            (Kind::Info, _) => counts.unknown += produce.values.len(),
            (Kind::Ok, None) => counts.acknowledged += produce.values.len(),
            (Kind::Ok, Some(base)) => {
                counts.acknowledged += produce.values.len();
                for (offset, value) in (base..).zip(&produce.values) {
                    self.acknowledged.insert(offset, *value);
                    self.place(tp, offset, *value, "acknowledged", findings);
                }
            }
        }
    }

    fn read(&mut self, tp: &Tp, poll: &Poll, findings: &mut Findings) {
        for (offset, value) in &poll.records {
            self.place(tp, *offset, *value, "read", findings);
        }
    }

    /// C1 and C3: an offset has one value, a value one offset.
    fn place(&mut self, tp: &Tp, offset: i64, value: u64, how: &str, findings: &mut Findings) {
        let there = *self.at.entry(offset).or_insert(value);
        if there != value {
            let what = format!("{tp:?} offset {offset} is {there:x}, and {how} as {value:x}");
            findings.add("C1", what);
        }
        let first = *self.of.entry(value).or_insert(offset);
        if first != offset {
            let what = format!("{tp:?} value {value:x} is at {first}, and {how} at {offset}");
            findings.add("C3", what);
        }
    }

    fn judge(&self, tp: &Tp, findings: &mut Findings, counts: &mut Counts) {
        for (offset, value) in &self.at {
            if !self.sent.contains(value) {
                findings.add("C3", format!("{tp:?} offset {offset}: {value:x} was never sent"));
            }
            if self.refused.contains(value) {
                let what = format!("{tp:?} offset {offset}: {value:x} was refused for good");
                findings.add("C3", what);
            }
        }
        for poll in &self.last {
            self.judge_final(tp, poll, findings);
        }
        self.judge_order(tp, findings);
        counts.unknown = counts.unknown.saturating_sub(0);
    }

    /// C2: what was acknowledged, and what was ever read, is there.
    fn judge_final(&self, tp: &Tp, poll: &Poll, findings: &mut Findings) {
        if self.rotten {
            return;
        }
        let held: BTreeMap<i64, u64> = poll.records.iter().copied().collect();
        let node = poll.node;
        let last: BTreeMap<u64, i64> =
            held.iter().map(|(offset, value)| (key_of(*value), *offset)).collect();
        let superseded = |offset: &i64, value: &u64| {
            let later = last.get(&key_of(*value)).is_some_and(|last| last > offset);
            self.compacted && later && !held.contains_key(offset)
        };
        for (offset, value) in self.acknowledged.range(poll.log_start..) {
            if held.get(offset) != Some(value) && !superseded(offset, value) {
                let found = held.get(offset);
                let what = format!(
                    "{tp:?} node {node}: {value:x} acknowledged at {offset}, found {found:x?}; the log \
                     is {}..{}",
                    poll.log_start, poll.high_watermark
                );
                findings.add("C2", what);
            }
        }
        for (offset, value) in self.at.range(poll.log_start..) {
            let there = held.contains_key(offset) || superseded(offset, value);
            if !there && !self.acknowledged.contains_key(offset) {
                let what =
                    format!("{tp:?} node {node}: {value:x} was read at {offset}, and is gone");
                findings.add("C13", what);
            }
        }
        if self.compacted {
            return;
        }
        let mut expected = poll.log_start;
        for offset in held.keys().filter(|offset| **offset >= poll.log_start) {
            if *offset != expected {
                findings.add("C2", format!("{tp:?} node {node}: hole {expected}..{offset}"));
            }
            expected = offset + 1;
        }
    }

    /// C4: offsets of a session's values increase with their sequence.
    fn judge_order(&self, tp: &Tp, findings: &mut Findings) {
        for (session, values) in &self.order {
            let mut before: Option<(i64, u64)> = None;
            for value in values.values() {
                let Some(offset) = self.of.get(value) else { continue };
                if let Some((earlier, other)) = before
                    && earlier >= *offset
                {
                    let what = format!(
                        "{tp:?} session {session}: {value:x} at {offset} was sent after {other:x} at \
                         {earlier}"
                    );
                    findings.add("C4", what);
                }
                before = Some((*offset, *value));
            }
        }
    }
}

/// A replica's committed log.
#[derive(Debug)]
struct Replica {
    node: i32,
    log_start: i64,
    committed: i64,
    /// Base offset to the digest of a batch.
    batches: BTreeMap<i64, u64>,
}

/// C17: replicas hold the same bytes where both have committed ones.
fn compare(tp: &Tp, replicas: &[Replica], findings: &mut Findings) {
    let Some(first) = replicas.iter().max_by_key(|replica| replica.committed) else { return };
    for other in replicas {
        let from = first.log_start.max(other.log_start);
        let to = first.committed.min(other.committed);
        if from >= to {
            continue;
        }
        let ours: Vec<_> = first.batches.range(from..to).collect();
        let theirs: Vec<_> = other.batches.range(from..to).collect();
        // The first batch may begin below a log start that moved into it.
        let differ = ours.iter().zip(&theirs).find(|(a, b)| a != b);
        if let Some((a, b)) = differ {
            let what = format!(
                "{tp:?}: node {} holds {a:x?} where node {} holds {b:x?}",
                first.node, other.node
            );
            findings.add("C17", what);
        } else if ours.len() != theirs.len() {
            let what = format!(
                "{tp:?} {from}..{to}: node {} has {} batches, node {} has {}",
                first.node,
                ours.len(),
                other.node,
                theirs.len()
            );
            findings.add("C17", what);
        }
    }
}
