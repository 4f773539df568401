//! Idempotence and transactions through the log.

use super::*;
use crate::index::AbortedTxn;

fn from_producer(id: i64, epoch: i16, sequence: i32, transactional: bool) -> LeaderBatch {
    let mut builder = BatchBuilder::new(Compression::NONE).with_producer(
        ProducerId(id),
        ProducerEpoch(epoch),
        sequence,
    );
    if transactional {
        builder = builder.with_transactional();
    }
    leader_batch(build(builder, 1_500, &[b"a", b"b"]))
}

fn marker(id: i64, epoch: i16, kind: ControlType, coordinator_epoch: i32) -> LeaderBatch {
    let marker = EndTxnMarker { kind, coordinator_epoch };
    leader_batch(marker.batch(ProducerId(id), ProducerEpoch(epoch), Timestamp(1_600)).unwrap())
}

fn end(log: &mut PartitionLog, id: i64, kind: ControlType) -> AppendInfo {
    try_append(log, marker(id, 0, kind, 0), AppendOrigin::Coordinator).unwrap()
}

fn error_of(log: &mut PartitionLog, batch: LeaderBatch, origin: AppendOrigin) -> ProducerError {
    match try_append(log, batch, origin) {
        Err(AppendError::Producer(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_five_batches_are_recognised() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    for batch in 0..7 {
        append(&mut log, from_producer(1, 0, batch * 2, false));
    }
    let check = |log: &mut PartitionLog| {
        for batch in 2..7 {
            let again = append(log, from_producer(1, 0, batch * 2, false));
            assert!(again.duplicate);
            assert_eq!(again.first_offset, Offset(i64::from(batch) * 2));
            assert_eq!(again.last_offset, Offset(i64::from(batch) * 2 + 1));
            assert_eq!(again.log_append_time, Timestamp(1_501));
        }
        let older = error_of(log, from_producer(1, 0, 2, false), AppendOrigin::Client);
        assert!(matches!(older, ProducerError::OutOfOrderSequence { .. }));
        assert_eq!(log.log_end(), Offset(14));
    };
    check(&mut log);
    // After a clean restart, after a crash, and after a crash without any snapshot.
    log.close_clean(now(2_000)).unwrap();
    drop(log);
    let mut log = fixture.open_clean();
    check(&mut log);
    drop(log);
    let (mut log, report) = fixture.open(&fixture.context());
    assert!(report.snapshot.is_some());
    check(&mut log);
    drop(log);
    for name in fixture.names().iter().filter(|name| name.ends_with(".snapshot")) {
        fixture.fs.remove_file(&Fixture::path(name)).unwrap();
    }
    let (mut log, report) = fixture.open(&fixture.context());
    assert_eq!(report.snapshot, None);
    check(&mut log);
}

#[test]
fn sequences_and_epochs_follow_kafkas_rules() {
    let mut log = Fixture::small_segments().create();
    append(&mut log, from_producer(1, 0, 5, false));
    let gap = error_of(&mut log, from_producer(1, 0, 9, false), AppendOrigin::Client);
    assert!(matches!(
        gap,
        ProducerError::OutOfOrderSequence { sequence: 9, expected_after: 6, .. }
    ));
    try_append(&mut log, from_producer(1, 0, 99, false), AppendOrigin::Coordinator).unwrap();
    let late = error_of(&mut log, from_producer(1, 2, 3, false), AppendOrigin::Client);
    assert!(matches!(late, ProducerError::OutOfOrderSequence { .. }), "a new epoch begins at 0");
    append(&mut log, from_producer(1, 2, 0, false));
    let fenced = error_of(&mut log, from_producer(1, 1, 0, false), AppendOrigin::Client);
    assert!(matches!(fenced, ProducerError::InvalidEpoch { current: ProducerEpoch(2), .. }));
    // Sequences wrap from the largest to 0.
    append(&mut log, from_producer(2, 0, i32::MAX - 1, false));
    append(&mut log, from_producer(2, 0, 0, false));
    append(&mut log, from_producer(2, 0, 2, false));
    append(&mut log, from_producer(3, 0, i32::MAX, false));
    append(&mut log, from_producer(3, 0, 1, false));
    assert!(append(&mut log, from_producer(3, 0, i32::MAX, false)).duplicate);
}

#[test]
fn open_transactions_hold_the_last_stable_offset() {
    let mut log = Fixture::small_segments().create();
    append(&mut log, from_producer(1, 0, 0, true));
    append(&mut log, from_producer(2, 0, 0, true));
    let high = Offset(100);
    assert_eq!(log.last_stable(log.log_end()), Offset(0));
    let outside = error_of(&mut log, from_producer(1, 0, 2, false), AppendOrigin::Client);
    assert!(matches!(outside, ProducerError::NotTransactional { .. }));
    end(&mut log, 1, ControlType::Commit);
    assert_eq!(log.last_stable(Offset(4)), Offset(0), "its marker is not yet committed");
    assert_eq!(log.last_stable(Offset(5)), Offset(2));
    end(&mut log, 2, ControlType::Abort);
    assert_eq!(log.last_stable(Offset(6)), Offset(6));
    log.on_high_watermark(Offset(6));
    assert_eq!(log.last_stable(high), high);
    let stale = marker(2, 0, ControlType::Abort, -1);
    let fenced = error_of(&mut log, stale, AppendOrigin::Coordinator);
    assert!(matches!(fenced, ProducerError::CoordinatorFenced { .. }));
}

#[test]
fn aborted_transactions_are_listed_and_survive_everything() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    let mut aborted = Vec::new();
    for round in 0..12 {
        let (one, two) = (round * 2 + 1, round * 2 + 2);
        let first = append(&mut log, from_producer(one, 0, 0, true)).first_offset;
        append(&mut log, from_producer(two, 0, 0, true));
        fill_plain(&mut log);
        let last = end(&mut log, one, ControlType::Abort).first_offset;
        aborted.push((one, first, last));
        end(&mut log, two, ControlType::Commit);
    }
    let all = |log: &PartitionLog| -> Vec<(i64, Offset, Offset)> {
        let found = log.aborted_transactions(log.log_start(), log.log_end()).unwrap();
        found.iter().map(|t| (t.producer_id.get(), t.first_offset, t.last_offset)).collect()
    };
    assert_eq!(all(&log), aborted);
    let some: Vec<AbortedTxn> = log.aborted_transactions(Offset(9), Offset(10)).unwrap();
    assert_eq!(some.len(), 1, "only those that overlap");
    let indexes = |fixture: &Fixture| -> Vec<String> {
        fixture.names().into_iter().filter(|name| name.ends_with(".txnindex")).collect()
    };
    assert!(!indexes(&fixture).is_empty());
    drop(log);
    let (mut log, _) = fixture.open(&fixture.context());
    assert_eq!(all(&log), aborted, "after a crash");
    log.close_clean(now(2_000)).unwrap();
    drop(log);
    let log = fixture.open_clean();
    assert_eq!(all(&log), aborted);
    drop(log);
    for name in indexes(&fixture) {
        let original = super::lookups::contents_of(&fixture, &name);
        for at in 0..original.len() {
            let mut damaged = original.clone();
            damaged[at] ^= 0x10;
            super::lookups::write(&fixture, &name, &damaged);
            assert_eq!(all(&fixture.open_clean()), aborted, "{name} flipped at {at}");
        }
        fixture.fs.remove_file(&Fixture::path(&name)).unwrap();
        assert_eq!(all(&fixture.open_clean()), aborted, "{name} removed");
        super::lookups::write(&fixture, &name, &original);
    }
}

fn fill_plain(log: &mut PartitionLog) {
    append(log, batch(1_500, &[b"plain"]));
}

#[test]
fn producers_expire() {
    let mut fixture = Fixture::small_segments();
    fixture.settings.producer_id_expiration = Duration::from_millis(100);
    let mut log = fixture.create();
    append(&mut log, from_producer(1, 0, 0, false));
    append(&mut log, from_producer(2, 0, 0, true));
    log.expire_producers(Timestamp(1_600));
    assert_eq!(log.producers().len(), 2);
    log.expire_producers(Timestamp(1_601));
    let left: Vec<_> = log.producers().iter().map(|(id, _)| id.get()).collect();
    assert_eq!(left, [2], "an open transaction is kept");
}
