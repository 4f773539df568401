//! What readers saw over time: C13 and C14.
//!
//! Owns: what was readable stays readable, log starts move only forwards and only by request. Never:
//! compares values (see `log`).

use std::collections::BTreeMap;

use super::{Findings, Tp};
use crate::history::{Event, Kind, Op, Poll};

#[derive(Debug, Default)]
struct Partition {
    /// Highest end of what was read, and the highest log start seen.
    readable_to: i64,
    log_start: i64,
    /// The highest offset that anybody ever asked to delete below.
    delete_asked: i64,
    rotten: bool,
    last: bool,
    high_watermark: i64,
}

pub(super) fn check(events: &[Event], findings: &mut Findings) {
    let mut all: BTreeMap<Tp, Partition> = BTreeMap::new();
    for event in events {
        match (&event.op, event.kind) {
            (Op::Poll(poll), Kind::Ok) => seen(&mut all, poll, Final::No, findings),
            (Op::FinalRead(poll), Kind::Ok) => seen(&mut all, poll, Final::Yes, findings),
            (Op::DeleteRecords { topic, partition, before }, Kind::Invoke) => {
                let state = all.entry((topic.clone(), *partition)).or_default();
                state.delete_asked = state.delete_asked.max(*before);
            }
            (Op::Rotten { topic, partition }, _) => {
                all.entry((topic.clone(), *partition)).or_default().rotten = true;
            }
            (Op::OutOfRange { topic, partition, node, from }, _) => {
                let tp = (topic.clone(), *partition);
                let state = all.entry(tp.clone()).or_default();
                let readable = *from >= state.delete_asked && *from <= state.readable_to;
                if readable && !state.rotten {
                    let what = format!(
                        "{tp:?} node {node}: out of range at {from}, though it was read up to {}",
                        state.readable_to
                    );
                    findings.add("C13", what);
                }
            }
            (Op::Unexpected { what }, _) => findings.add("answer", what.clone()),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Final {
    Yes,
    No,
}

fn seen(all: &mut BTreeMap<Tp, Partition>, poll: &Poll, last: Final, findings: &mut Findings) {
    let tp = (poll.topic.clone(), poll.partition);
    let state = all.entry(tp.clone()).or_default();
    if state.rotten {
        return;
    }
    let node = poll.node;
    if poll.log_start > state.delete_asked {
        let what = format!(
            "{tp:?} node {node}: log start {} although nobody asked to delete beyond {}",
            poll.log_start, state.delete_asked
        );
        findings.add("C14", what);
    }
    if let Some((offset, _)) = poll.records.iter().find(|(offset, _)| *offset < poll.from) {
        findings.add("C14", format!("{tp:?} node {node}: asked from {}, got {offset}", poll.from));
    }
    if let Some((offset, _)) = poll.records.iter().find(|(at, _)| *at >= poll.high_watermark) {
        let what = format!(
            "{tp:?} node {node}: {offset} is beyond the high watermark {}",
            poll.high_watermark
        );
        findings.add("C13", what);
    }
    state.log_start = state.log_start.max(poll.log_start);
    let end = poll.records.last().map_or(poll.from, |(offset, _)| offset + 1);
    state.readable_to = state.readable_to.max(end.min(poll.high_watermark));
    state.high_watermark = state.high_watermark.max(poll.high_watermark);
    if last == Final::Yes {
        state.last = true;
        if poll.high_watermark < state.high_watermark {
            let what = format!(
                "{tp:?} node {node}: the high watermark ends at {} and was {}",
                poll.high_watermark, state.high_watermark
            );
            findings.add("C13", what);
        }
    }
}
