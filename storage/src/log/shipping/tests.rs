//! Logs that go to another replica: what arrives is what was there, and a crash at any call to the disk
//! leaves the receiver's old log or the new one.

use ottla_protocol::model::{
    LeaderEpoch, MonoTime, ProducerEpoch, ProducerId, Timestamp, TopicPartition, Uuid,
};
use ottla_protocol::records::{BatchBuilder, Compression, ControlType, EndTxnMarker, NewRecord};

use super::*;
use crate::fs::sim::{DiskError, Op, OpMatcher, SimFileSystem, SimOptions};
use crate::fs::{FileSystem, OpenMode};
use crate::log::MinOneBatch;
use crate::log_dir::{FolderName, FolderStage};
use crate::settings::LogSettings;

const LIVE: &str = "/data/topic-0";

fn now() -> Now {
    let wall = Timestamp(1_700_000_000_000);
    Now { mono: MonoTime::from_start(std::time::Duration::ZERO), wall }
}

fn folder(stage: FolderStage) -> PathBuf {
    let name = FolderName::in_stage(TopicPartition::new("topic", 0), stage, Uuid::from_u128(9));
    Path::new("/data").join(name.text())
}

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed, SimOptions::default());
    fs.create_dir_all(Path::new("/data")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn open(fs: &SimFileSystem, recovery_point: Offset) -> Result<PartitionLog, LogError> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let context = OpenContext {
        recovery_point,
        topic_id: Uuid::from_u128(3),
        ..OpenContext::new(now(), LogResources::new(16, 1 << 20))
    };
    let settings = LogSettings {
        segment_bytes: 300,
        index_interval_bytes: 100,
        cleanup: CleanupPolicy::Compact,
        ..LogSettings::default()
    };
    let (mut log, report) = PartitionLog::open(fs, LIVE.into(), settings, &context)?;
    assert_eq!(report.damage, None);
    log.flush_now()?;
    Ok(log)
}

/// A batch that has `offsets` offsets, of which the first holds a record.
fn batch(base: i64, epoch: i32, offsets: i32, producer: Option<(i64, i32, bool)>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::NONE)
        .with_base_offset(Offset(base))
        .with_leader_epoch(LeaderEpoch(epoch));
    if let Some((id, sequence, transactional)) = producer {
        builder = builder.with_producer(ProducerId(id), ProducerEpoch(0), sequence);
        if transactional {
            builder = builder.with_transactional();
        }
    }
    let value = format!("value at {base}");
    let record = NewRecord {
        key: Some(b"k"),
        value: Some(value.as_bytes()),
        ..NewRecord::at(Timestamp(1_700_000_000_000))
    };
    builder.push(record).unwrap();
    builder.set_last_offset_delta(offsets - 1);
    builder.build().unwrap()
}

/// A log that was compacted, with producers, an aborted transaction, and one that is open.
fn fill(log: &mut PartitionLog) {
    let append =
        |log: &mut PartitionLog, bytes: &Bytes| log.append_as_follower(bytes, now()).unwrap();
    for step in 0..12 {
        // Every third place is a gap.
        let (base, epoch) = (step * 3, 1 + (step / 5) as i32);
        append(log, &batch(base, epoch, 2, Some((step % 2, (step / 2) as i32, false))));
    }
    append(log, &batch(36, 4, 1, Some((7, 0, true))));
    let marker = EndTxnMarker { kind: ControlType::Abort, coordinator_epoch: 0 };
    let marker = marker.batch(ProducerId(7), ProducerEpoch(0), Timestamp(1_700_000_000_000));
    let header =
        *ottla_protocol::records::Batch::parse(&marker.as_ref().unwrap()[..]).unwrap().header();
    let mut bytes = header.assign(Offset(37), LeaderEpoch(4)).to_vec();
    bytes.extend_from_slice(&marker.unwrap()[HEADER..]);
    append(log, &bytes.into());
    append(log, &batch(38, 4, 1, Some((8, 0, true))));
    for step in 0..6 {
        append(log, &batch(39 + step, 5, 1, None));
    }
    log.flush_now().unwrap();
}

/// Everything that a log says up to `bound`.
fn told(log: &PartitionLog, bound: Offset) -> (Offset, Vec<u8>, String, Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut at = log.log_start();
    while at < bound {
        let read = log.read(at, 1 << 20, bound, MinOneBatch::Yes).unwrap();
        if read.is_empty() {
            break;
        }
        bytes.extend_from_slice(&read.to_bytes().unwrap());
        at = read.next_offset;
    }
    let mut epochs = log.epochs().clone();
    epochs.truncate_from_end(bound);
    let producers = snapshot::encode(&log.producers_below(bound).unwrap());
    let aborted = log.aborted_transactions(Offset::ZERO, bound).unwrap().len();
    (log.log_start(), bytes, epochs.to_text(), producers, aborted)
}

fn send(from: &Shipment, to: &PartitionLog, chunk: usize) -> Result<IncomingLog, ShipError> {
    let mut incoming = to.incoming(folder(FolderStage::Future), from.manifest(), now())?;
    let mut at = 0;
    while at < from.bytes() {
        let bytes = from.read(at, chunk).unwrap();
        at += bytes.len() as u64;
        incoming.write(bytes, now())?;
    }
    incoming.finish(b"mark", now())?;
    Ok(incoming)
}

/// What a start does before it opens the logs of a directory.
fn finish_exchange(fs: &SimFileSystem) {
    let (future, aside) = (folder(FolderStage::Future), folder(FolderStage::Deleting));
    if !fs.exists(Path::new(LIVE)).unwrap() && fs.exists(&future).unwrap() {
        assert!(fs.exists(&aside).unwrap(), "no folder of the three is there");
        fs.rename(&future, Path::new(LIVE)).unwrap();
    }
    for path in [future, aside] {
        if fs.exists(&path).unwrap() {
            fs.remove_dir_all(&path).unwrap();
        }
    }
    fs.sync_dir(Path::new("/data")).unwrap();
}

fn source() -> PartitionLog {
    let mut log = open(&disk(1), Offset::ZERO).unwrap();
    fill(&mut log);
    log
}

#[test]
fn what_arrives_is_what_was_there() {
    let source = source();
    assert!(source.segment_count() > 3);
    let bounds: Vec<Offset> = source.segments().map(|(base, _)| base).skip(1).collect();
    // Where a segment begins, within one, and at the end.
    for next in bounds.into_iter().chain([35, 38, 39, 42, 45].map(Offset)) {
        for chunk in [1 << 20, 61, 1000] {
            let fs = disk(2);
            let mut log = open(&fs, Offset::ZERO).unwrap();
            log.append_as_follower(&batch(0, 9, 2, None), now()).unwrap();
            log.flush_now().unwrap();
            fs.sync_dir(Path::new("/data")).unwrap();
            let incoming = send(&source.shipment(next).unwrap(), &log, chunk).unwrap();
            log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap().remove();
            assert_eq!(told(&log, next), told(&source, next), "{next}");
            assert_eq!((log.log_end(), log.flushed()), (next, next));
            assert_eq!(log.mark().unwrap().as_deref(), Some(&b"mark"[..]));
            // It is a log like any other.
            let old_end = log.append_as_follower(&batch(next.get(), 9, 1, None), now()).unwrap();
            assert_eq!(old_end.first_offset, next);
            log.flush_now().unwrap();
            drop(log);
            fs.crash();
            let log = open(&fs, next).unwrap();
            assert_eq!(told(&log, next), told(&source, next), "{next} after a crash");
        }
    }
}

#[test]
fn a_gap_before_the_point_is_kept() {
    let source = source();
    let mut log = open(&disk(2), Offset::ZERO).unwrap();
    // The batch before ends at 35.
    let incoming = send(&source.shipment(Offset(36)).unwrap(), &log, 100).unwrap();
    log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap().remove();
    assert_eq!(log.log_end(), Offset(36));
    assert_eq!(told(&log, Offset(35)), told(&source, Offset(35)));
}

#[test]
fn a_log_without_records_below_the_point_goes_with_its_producers_and_epochs() {
    let mut source = source();
    source.advance_log_start(Offset(39)).unwrap();
    let shipment = source.shipment(Offset(39)).unwrap();
    assert_eq!(shipment.manifest().first, Offset(39));
    let mut log = open(&disk(2), Offset::ZERO).unwrap();
    let incoming = send(&shipment, &log, 100).unwrap();
    log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap().remove();
    assert_eq!((log.log_start(), log.log_end()), (Offset(39), Offset(39)));
    assert_eq!(log.producers().get(ProducerId(1)).unwrap().last_sequence(), 6);
    assert_eq!(log.last_stable(Offset(39)), Offset(38), "a transaction is open");
}

#[test]
fn a_crash_at_any_call_leaves_the_old_log_or_the_new_one() {
    let source = source();
    let next = Offset(38);
    let shipment = source.shipment(next).unwrap();
    let expected = told(&source, next);
    let receiver = |seed| {
        let fs = disk(seed);
        let mut log = open(&fs, Offset::ZERO).unwrap();
        // It went on further than the one that takes its place.
        for step in 0..30 {
            log.append_as_follower(&batch(step * 2, 1, 2, None), now()).unwrap();
        }
        log.flush_now().unwrap();
        fs.sync_dir(Path::new("/data")).unwrap();
        let recovery_point = log.recovery_point();
        (fs, log, recovery_point)
    };
    let exchange = |log: &mut PartitionLog| -> Option<()> {
        let incoming = send(&shipment, log, 500).ok()?;
        log.exchange(incoming, &folder(FolderStage::Deleting), now()).ok().map(|_| ())
    };
    let (calls, before) = {
        let (fs, mut log, _) = receiver(0);
        let before = told(&log, log.log_end());
        let calls = fs.calls();
        exchange(&mut log).unwrap();
        (fs.calls() - calls, before)
    };
    let (mut old, mut new) = (0, 0);
    for call in 0..=calls {
        for seed in 0..3 {
            let (fs, mut log, recovery_point) = receiver(seed ^ call << 8);
            assert_eq!(recovery_point, Offset(60));
            fs.power_off_at(fs.calls() + call);
            let done = exchange(&mut log).is_some();
            drop(log);
            fs.crash();
            finish_exchange(&fs);
            let log = open(&fs, recovery_point).unwrap();
            assert!(log.is_writable(), "call {call}, seed {seed}");
            if log.mark().unwrap().is_some() {
                assert_eq!(told(&log, next), expected, "call {call}, seed {seed}");
                assert_eq!(log.log_end(), next);
                new += 1;
            } else {
                assert!(!done, "call {call}, seed {seed}: it was told to be there");
                assert_eq!(told(&log, log.log_end()), before, "call {call}, seed {seed}");
                old += 1;
            }
        }
    }
    assert!(old > 10 && new > 3, "{old} old, {new} new");
}

#[test]
fn what_is_no_log_is_refused_and_leaves_nothing() {
    let source = source();
    let shipment = source.shipment(Offset(38)).unwrap();
    let manifest = shipment.manifest();
    let fs = disk(2);
    let log = open(&fs, Offset::ZERO).unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < shipment.bytes() {
        all.extend_from_slice(&shipment.read(all.len() as u64, 1000).unwrap());
    }
    let take = |manifest: Manifest, bytes: &[u8]| -> Result<(), ShipError> {
        let mut incoming = log.incoming(folder(FolderStage::Future), manifest, now())?;
        incoming.write(Bytes::copy_from_slice(bytes), now())?;
        incoming.finish(b"mark", now())
    };
    take(manifest, &all).unwrap();
    for cut in (0..all.len()).step_by(41) {
        assert!(take(manifest, &all[..cut]).is_err(), "cut at {cut}");
    }
    let mut survived = Vec::new();
    for bit in (0..all.len() * 8).step_by(47) {
        let mut bad = all.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if take(manifest, &bad).is_ok() {
            survived.push(bit / 8);
        }
    }
    // The base offset of a batch, and its epoch, stand under no checksum.
    let mut at = (manifest.producer_bytes + manifest.epoch_bytes) as usize;
    let mut heads: Vec<_> = std::iter::once(0..at).collect();
    while at < all.len() {
        heads.push(at..at + 16);
        at += frame_len(&all[at..]).unwrap();
    }
    let strange = survived.iter().find(|byte| !heads.iter().any(|head| head.contains(byte)));
    assert_eq!(strange, None);
    assert!(survived.len() < 12, "{survived:?}");
    for manifest in [
        Manifest { next: Offset(37), ..manifest },
        Manifest { log_bytes: manifest.log_bytes + 1, ..manifest },
        Manifest { first: Offset(3), ..manifest },
        Manifest { first: Offset(-3), ..manifest },
        Manifest { first: Offset(50), ..manifest },
        Manifest { producer_bytes: u32::MAX, ..manifest },
        Manifest { producer_bytes: manifest.producer_bytes - 1, ..manifest },
    ] {
        assert!(take(manifest, &all).is_err(), "{manifest:?}");
    }
    assert!(!fs.exists(&folder(FolderStage::Future)).unwrap(), "a folder is left");
    let file = fs.open(&Path::new(LIVE).join("shipped-log"), OpenMode::Read);
    assert!(file.is_err());
}

#[test]
fn a_first_rename_that_fails_outright_leaves_the_log_in_service() {
    let source = source();
    let shipment = source.shipment(Offset(38)).unwrap();
    let fs = disk(2);
    let mut log = open(&fs, Offset::ZERO).unwrap();
    let incoming = send(&shipment, &log, 500).unwrap();
    fs.fail_next(OpMatcher::op(Op::Rename), DiskError::NoSpace);
    let error = log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap_err();
    assert!(matches!(error, ExchangeError::Kept(_)), "{error}");
    assert_eq!(log.health(), &LogHealth::Healthy);
    assert!(!fs.exists(&folder(FolderStage::Future)).unwrap(), "nobody removes it any more");
    log.append_as_follower(&batch(0, 1, 2, None), now()).unwrap();
    log.flush_now().unwrap();
    // Another one that comes takes its place.
    let incoming = send(&shipment, &log, 500).unwrap();
    log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap().remove();
    assert_eq!(told(&log, Offset(38)), told(&source, Offset(38)));
}

#[test]
fn a_rename_that_may_have_happened_takes_the_log_offline() {
    let shipment = source().shipment(Offset(38)).unwrap();
    for (op, error) in [(Op::Rename, DiskError::Io), (Op::SyncDir, DiskError::NoSpace)] {
        let fs = disk(2);
        let mut log = open(&fs, Offset::ZERO).unwrap();
        let incoming = send(&shipment, &log, 500).unwrap();
        fs.fail_next(OpMatcher::op(op), error);
        let error = log.exchange(incoming, &folder(FolderStage::Deleting), now()).unwrap_err();
        assert!(matches!(error, ExchangeError::HalfWay(_)), "{error}");
        assert!(matches!(log.health(), LogHealth::Offline(_)));
    }
}

#[test]
fn a_length_that_cannot_be_makes_nobody_wait_for_the_bytes() {
    let source = source();
    let shipment = source.shipment(Offset(38)).unwrap();
    let side = (shipment.manifest().producer_bytes + shipment.manifest().epoch_bytes) as usize;
    let mut all = Vec::new();
    while (all.len() as u64) < shipment.bytes() {
        all.extend_from_slice(&shipment.read(all.len() as u64, 1000).unwrap());
    }
    let refused = |log_bytes: u64, length: i32| {
        let log = open(&disk(2), Offset::ZERO).unwrap();
        let manifest = Manifest { log_bytes, ..shipment.manifest() };
        let mut incoming = log.incoming(folder(FolderStage::Future), manifest, now()).unwrap();
        let mut rotten = all.clone();
        rotten[side + 8..side + 12].copy_from_slice(&length.to_be_bytes());
        incoming.write(rotten.into(), now()).is_err()
    };
    let whole = shipment.manifest().log_bytes;
    assert!(refused(whole, 1 << 29), "more than is to come");
    assert!(refused(whole, i32::try_from(whole).unwrap() - 11), "a byte more than is to come");
    assert!(refused(1 << 40, i32::MAX - 12), "more than any batch has");
}
