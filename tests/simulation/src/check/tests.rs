//! One hand-made bad history per class of error, and a good one.

use super::check;
use crate::history::{Event, Kind, Op, Poll, Produce};

fn event(t: u64, kind: Kind, op: Op) -> Event {
    Event { t, proc: "p".to_owned(), kind, op }
}

fn produce(kind: Kind, seq: u64, values: &[u64], offset: Option<i64>) -> Event {
    let produce = Produce {
        topic: "t".to_owned(),
        partition: 0,
        session: "s".to_owned(),
        seq,
        values: values.to_vec(),
        offset,
    };
    event(seq, kind, Op::Produce(produce))
}

fn read(records: &[(i64, u64)]) -> Poll {
    Poll {
        topic: "t".to_owned(),
        partition: 0,
        node: 1,
        from: 0,
        records: records.to_vec(),
        high_watermark: records.last().map_or(0, |(offset, _)| offset + 1),
        log_start: 0,
    }
}

fn poll(records: &[(i64, u64)]) -> Event {
    event(9, Kind::Ok, Op::Poll(read(records)))
}

fn last(records: &[(i64, u64)]) -> Event {
    event(10, Kind::Ok, Op::FinalRead(read(records)))
}

/// Two batches of two values, both acknowledged.
fn sent() -> Vec<Event> {
    vec![
        produce(Kind::Invoke, 0, &[10, 11], None),
        produce(Kind::Ok, 0, &[10, 11], Some(0)),
        produce(Kind::Invoke, 2, &[12, 13], None),
        produce(Kind::Ok, 2, &[12, 13], Some(2)),
    ]
}

const GOOD: [(i64, u64); 4] = [(0, 10), (1, 11), (2, 12), (3, 13)];

fn found(events: Vec<Event>) -> Vec<&'static str> {
    let mut checks: Vec<_> = check(&events).violations.iter().map(|v| v.check).collect();
    checks.dedup();
    checks
}

fn with(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut events = sent();
    events.extend(more);
    events
}

#[test]
fn a_good_history_passes_and_is_counted() {
    let verdict = check(&with([poll(&GOOD[..2]), last(&GOOD)]));
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.counts.acknowledged, verdict.counts.polled), (4, 2));
}

#[test]
fn two_values_at_one_offset_are_found() {
    assert!(found(with([produce(Kind::Invoke, 4, &[14], None), poll(&[(0, 14)])])).contains(&"C1"));
}

#[test]
fn a_lost_acknowledged_value_is_found() {
    assert_eq!(found(with([last(&GOOD[..3])])), ["C2"]);
}

/// A topic of which only the last value of each key stays; 10 and 22 have one key.
#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key() {
    let with_later = |records: &[(i64, u64)]| {
        let later = [produce(Kind::Invoke, 4, &[22], None), produce(Kind::Ok, 4, &[22], Some(4))];
        let compacted = event(9, Kind::Info, Op::Compacted { topic: "t".to_owned() });
        found(with(later.into_iter().chain([compacted, poll(&GOOD), last(records)])))
    };
    assert_eq!(with_later(&[(1, 11), (2, 12), (3, 13), (4, 22)]), Vec::<&str>::new());
    assert_eq!(with_later(&[(1, 11), (3, 13), (4, 22)]), ["C2"], "12 has no later value");
    assert_eq!(with_later(&GOOD), ["C2"], "the last value of a key is gone");
}

#[test]
fn a_value_twice_is_found() {
    let mut records = GOOD.to_vec();
    records.push((4, 10));
    assert!(found(with([last(&records)])).contains(&"C3"));
}

#[test]
fn a_value_that_nobody_sent_is_found() {
    let mut records = GOOD.to_vec();
    records.push((4, 99));
    assert_eq!(found(with([last(&records)])), ["C3"]);
}

#[test]
fn a_value_that_was_refused_is_found() {
    let mut records = GOOD.to_vec();
    records.push((4, 14));
    let refused = [produce(Kind::Invoke, 4, &[14], None), produce(Kind::Fail, 4, &[14], None)];
    assert_eq!(found(with(refused.into_iter().chain([last(&records)]))), ["C3"]);
}

#[test]
fn values_out_of_order_are_found() {
    let events = vec![
        produce(Kind::Invoke, 0, &[10], None),
        produce(Kind::Invoke, 1, &[11], None),
        last(&[(0, 11), (1, 10)]),
    ];
    assert_eq!(found(events), ["C4"]);
}

#[test]
fn a_record_that_was_read_and_is_gone_is_found() {
    let unknown = produce(Kind::Invoke, 4, &[14], None);
    let gone = found(with([unknown, poll(&[(4, 14)]), last(&GOOD)]));
    assert!(gone.contains(&"C13"), "{gone:?}");
}

#[test]
fn an_offset_that_was_read_must_not_be_out_of_range() {
    let op = Op::OutOfRange { topic: "t".to_owned(), partition: 0, node: 2, from: 2 };
    assert_eq!(found(with([poll(&GOOD), event(11, Kind::Fail, op)])), ["C13"]);
}

#[test]
fn a_log_start_that_nobody_asked_for_is_found() {
    let mut moved = read(&GOOD[2..]);
    (moved.from, moved.log_start) = (2, 2);
    assert_eq!(found(with([event(9, Kind::Ok, Op::FinalRead(moved))])), ["C14"]);
}

#[test]
fn replicas_that_differ_below_the_commit_point_are_found() {
    let replica = |node, digest| {
        let batches = vec![(0, 7), (2, digest)];
        let (topic, partition) = ("t".to_owned(), 0);
        let op = Op::Replica { topic, partition, node, log_start: 0, committed: 4, batches };
        event(12, Kind::Ok, op)
    };
    assert_eq!(found(vec![replica(1, 8), replica(2, 8)]), Vec::<&str>::new());
    assert_eq!(found(vec![replica(1, 8), replica(2, 9)]), ["C17"]);
}

fn assigned(member: &str, generation: i32) -> Event {
    let partitions = vec![("t".to_owned(), 0)];
    let (group, member) = ("g".to_owned(), member.to_owned());
    event(1, Kind::Ok, Op::Assigned { group, member, generation, partitions })
}

fn commit(kind: Kind, member: &str, generation: i32, offset: i64) -> Event {
    let (group, member, topic) = ("g".to_owned(), member.to_owned(), "t".to_owned());
    event(1, kind, Op::Commit { group, member, generation, topic, partition: 0, offset })
}

fn committed(kind: Kind, offset: i64) -> Event {
    let (group, topic) = ("g".to_owned(), "t".to_owned());
    event(1, kind, Op::FetchCommitted { group, topic, partition: 0, offset })
}

#[test]
fn two_owners_in_one_generation_are_found() {
    assert_eq!(found(vec![assigned("a", 1), assigned("b", 2)]), Vec::<&str>::new());
    assert_eq!(found(vec![assigned("a", 1), assigned("b", 1)]), ["C9"]);
}

#[test]
fn a_generation_that_goes_back_is_found() {
    assert_eq!(found(vec![assigned("a", 2), assigned("a", 1)]), ["C10"]);
}

#[test]
fn a_commit_that_was_shown_and_is_forgotten_is_found() {
    let events = vec![
        commit(Kind::Invoke, "a", 1, 5),
        commit(Kind::Info, "a", 1, 5),
        committed(Kind::Invoke, -1),
        committed(Kind::Ok, 5),
        committed(Kind::Invoke, -1),
        committed(Kind::Ok, -1),
    ];
    assert_eq!(found(events), ["C11"]);
}

#[test]
fn a_commit_that_is_forgotten_is_found() {
    let mut events = vec![
        commit(Kind::Invoke, "a", 1, 5),
        commit(Kind::Ok, "a", 1, 5),
        committed(Kind::Invoke, -1),
        committed(Kind::Ok, 5),
    ];
    assert_eq!(found(events.clone()), Vec::<&str>::new());
    events.extend([committed(Kind::Invoke, -1), committed(Kind::Ok, -1)]);
    assert_eq!(found(events), ["C11"]);
}

#[test]
fn a_commit_by_somebody_else_is_found() {
    let events =
        vec![assigned("a", 1), commit(Kind::Invoke, "b", 1, 5), commit(Kind::Ok, "b", 1, 5)];
    assert_eq!(found(events), ["C12"]);
}

#[test]
fn a_commit_of_an_old_generation_is_found() {
    let events = vec![
        assigned("a", 1),
        assigned("b", 2),
        commit(Kind::Invoke, "a", 1, 5),
        commit(Kind::Ok, "a", 1, 5),
    ];
    assert_eq!(found(events), ["C12"]);
}
