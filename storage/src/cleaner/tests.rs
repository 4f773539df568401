//! What survives a cleaning, on segments made by hand: the rules one by one, then at random.

use std::io::IoSlice;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, ProducerEpoch, Timestamp};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, Codec, Compression, ControlType, EndTxnMarker, NewRecord,
};

use super::*;
use crate::fs::sim::SimRandom;
use crate::fs::{MemoryFileSystem, OpenMode};

const SEEDS: [u64; 2] = [7, 9];
const HORIZON: i64 = 1000;

/// Segments in memory that are cleaned as a log's would be.
struct Shelf {
    fs: Arc<dyn FileSystem>,
    segments: BTreeMap<Offset, Vec<u8>>,
    end: Offset,
    aborted: Vec<AbortedTxn>,
    producers: BTreeMap<ProducerId, LastRecord>,
    segment_bytes: u64,
    map_bytes: usize,
}

/// What a reader finds.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    offset: i64,
    key: Option<String>,
    value: Option<String>,
}

impl Shelf {
    fn new() -> Self {
        let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
        fs.create_dir_all(Path::new("/t-0")).unwrap();
        Self {
            fs,
            segments: BTreeMap::from([(Offset(0), Vec::new())]),
            end: Offset(0),
            aborted: Vec::new(),
            producers: BTreeMap::new(),
            segment_bytes: 1 << 20,
            map_bytes: 1 << 20,
        }
    }

    fn roll(&mut self) {
        self.segments.insert(self.end, Vec::new());
    }

    fn push(&mut self, batch: &Bytes) {
        let header = *Batch::parse(batch).unwrap().header();
        let mut bytes = header.assign(self.end, LeaderEpoch(3)).to_vec();
        bytes.extend_from_slice(&batch[ottla_protocol::records::HEADER..]);
        self.segments.last_entry().unwrap().get_mut().extend_from_slice(&bytes);
        self.end = self.end.plus(i64::from(header.last_offset_delta) + 1);
    }

    /// One batch of these keys and values at this time.
    fn put(&mut self, time: i64, records: &[(&str, Option<&str>)]) {
        self.push(&batch(BatchBuilder::new(Compression::NONE), time, records));
    }

    fn put_by(&mut self, producer: i64, sequence: i32, records: &[(&str, Option<&str>)]) {
        let builder = BatchBuilder::new(Compression::NONE)
            .with_producer(ProducerId(producer), ProducerEpoch(0), sequence)
            .with_transactional();
        self.push(&batch(builder, 1, records));
    }

    fn end_transaction(&mut self, producer: i64, kind: ControlType, first: i64) {
        if kind == ControlType::Abort {
            self.aborted.push(AbortedTxn {
                producer_id: ProducerId(producer),
                first_offset: Offset(first),
                last_offset: self.end,
                last_stable: self.end,
            });
        }
        let marker = EndTxnMarker { kind, coordinator_epoch: 0 };
        let batch = marker.batch(ProducerId(producer), ProducerEpoch(0), Timestamp(1)).unwrap();
        self.push(&batch);
    }

    /// Where the active segment begins.
    fn active(&self) -> Offset {
        *self.segments.last_key_value().unwrap().0
    }

    fn plan(&self, first_dirty: i64) -> CleanPlan {
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        let segments = bases.windows(2).map(|pair| {
            let path = Path::new("/t-0").join(format!("{}.source", pair[0]));
            let log = self.fs.open(&path, OpenMode::Create).unwrap();
            let bytes = &self.segments[&pair[0]];
            log.set_len(0).unwrap();
            log.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
            SourceSegment {
                base: pair[0],
                next_base: pair[1],
                log,
                log_bytes: bytes.len() as u64,
                offset_index_bytes: 0,
                time_index_bytes: 0,
            }
        });
        CleanPlan {
            fs: Arc::clone(&self.fs),
            dir: "/t-0".into(),
            segments: segments.collect(),
            truncations: 0,
            first_dirty: Offset(first_dirty),
            first_uncleanable: self.active(),
            aborted: self.aborted.clone(),
            producers: self.producers.clone(),
            delete_retention_millis: HORIZON,
            segment_bytes: self.segment_bytes,
            index_bytes_max: 1 << 20,
            index_interval_bytes: 4096,
        }
    }

    fn clean_from(&mut self, first_dirty: i64, now: i64) -> CleanReport {
        let memory = MapMemory { bytes: self.map_bytes, seeds: SEEDS };
        let plan = self.plan(first_dirty);
        let mut run = CleanRun::start(plan, memory, Timestamp(now), &mut Unlimited).unwrap();
        while let Some(group) = run.next_group(&mut Unlimited).unwrap() {
            self.swap(group);
        }
        *run.report()
    }

    fn clean(&mut self, now: i64) -> CleanReport {
        self.clean_from(0, now)
    }

    fn swap(&mut self, group: CleanedGroup) {
        for (base, bytes) in &group.replaced {
            assert_eq!(self.segments.remove(base).map(|old| old.len() as u64), Some(*bytes));
        }
        let read = |kind| {
            let name = SegmentFileName { base: group.base(), kind, stage: FileStage::Cleaned };
            let file = self.fs.open(&group.dir.join(name.text()), OpenMode::Read).unwrap();
            file.read_bytes_at(0, usize::MAX).unwrap()
        };
        let log = read(FileKind::Log);
        assert_eq!(group.seal.log_bytes, log.len() as u64);
        for (kind, seal) in [
            (FileKind::OffsetIndex, group.seal.offset_index),
            (FileKind::TimeIndex, group.seal.time_index),
        ] {
            assert_eq!(crc32c::crc32c(&read(kind)), seal.crc);
        }
        self.segments.insert(group.base(), log.to_vec());
        group.discard(&*self.fs);
    }

    fn batches(&self) -> Vec<(i64, i64, i32)> {
        let all = self.segments.values().flat_map(|bytes| BatchIter::new(bytes));
        all.map(|batch| {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let header = batch.header();
            (header.base_offset.0, header.last_offset().0, header.records_count)
        })
        .collect()
    }

    /// Everything but control records.
    fn records(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for batch in self.segments.values().flat_map(|bytes| BatchIter::new(bytes)) {
            let batch = batch.unwrap();
            if batch.header().attributes.is_control() {
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            for record in &batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                found.push(Found {
                    offset: record.offset.0,
                    key: record.key.map(text),
                    value: record.value.map(text),
                });
            }
        }
        found
    }

    fn shown(&self) -> Vec<String> {
        let text = |record: Found| {
            let value = record.value.unwrap_or_else(|| "-".to_owned());
            format!("{}:{}={value}", record.offset, record.key.unwrap_or_default())
        };
        self.records().into_iter().map(text).collect()
    }
}

fn batch(mut builder: BatchBuilder, time: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    for (key, value) in records {
        builder
            .push(NewRecord {
                key: Some(key.as_bytes()),
                value: value.map(str::as_bytes),
                ..NewRecord::at(Timestamp(time))
            })
            .unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]);
    shelf.roll();
    shelf.put(2, &[("b", Some("4")), ("c", Some("5"))]);
    shelf.roll();
    shelf.put(3, &[("a", Some("active"))]);
    let report = shelf.clean(10);
    assert_eq!(shelf.shown(), ["2:a=3", "3:b=4", "4:c=5", "5:a=active"]);
    assert_eq!(shelf.batches(), [(0, 2, 1), (3, 4, 2), (5, 5, 1)], "ends of batches stay");
    assert_eq!(shelf.segments.len(), 2, "both became one");
    assert_eq!(report.cleaned_up_to, Offset(5));
    assert_eq!((report.records_read, report.records_kept, report.keys), (5, 3, 3));
}

#[test]
fn a_clean_part_loses_what_the_dirty_part_supersedes() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1"))]);
    shelf.put(1, &[("b", Some("2"))]);
    shelf.roll();
    shelf.put(2, &[("a", Some("3"))]);
    shelf.roll();
    let report = shelf.clean_from(2, 10);
    assert_eq!(shelf.shown(), ["1:b=2", "2:a=3"]);
    assert_eq!(report.keys, 1, "only the dirty part is mapped");
}

#[test]
fn the_last_batch_stays_though_it_is_empty() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1"))]);
    shelf.put(1, &[("b", Some("2"))]);
    shelf.roll();
    shelf.put(2, &[("a", Some("3")), ("b", Some("4"))]);
    shelf.roll();
    shelf.segment_bytes = 1;
    shelf.clean(10);
    assert_eq!(shelf.batches(), [(1, 1, 0), (2, 3, 2)], "no group forgets where it ended");
}

#[test]
fn tombstones_go_after_their_horizon() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1")), ("b", Some("2"))]);
    shelf.put(2, &[("a", None)]);
    shelf.put(2, &[("c", Some("3"))]);
    shelf.roll();
    shelf.clean(100);
    assert_eq!(shelf.shown(), ["1:b=2", "2:a=-", "3:c=3"]);
    let horizons: Vec<Option<Timestamp>> = BatchIter::new(&shelf.segments[&Offset(0)])
        .map(|batch| batch.unwrap().header().delete_horizon())
        .collect();
    assert_eq!(horizons, [None, Some(Timestamp(100 + HORIZON)), None]);
    shelf.clean(99 + HORIZON);
    assert_eq!(shelf.shown(), ["1:b=2", "2:a=-", "3:c=3"], "the horizon is set once");
    shelf.clean(100 + HORIZON);
    assert_eq!(shelf.shown(), ["1:b=2", "3:c=3"]);
    let times: Vec<i64> = BatchIter::new(&shelf.segments[&Offset(0)])
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let records = batch.records(100).unwrap();
            records.iter().map(|record| record.unwrap().timestamp.0).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(times, [1, 2], "rewriting keeps the records' own times");
}

#[test]
fn records_without_a_key_go() {
    let mut shelf = Shelf::new();
    let mut builder = BatchBuilder::new(Compression::NONE);
    builder.push(NewRecord::at(Timestamp(1))).unwrap();
    shelf.push(&builder.build().unwrap());
    shelf.put(1, &[("a", Some("1"))]);
    shelf.roll();
    assert_eq!(shelf.clean(10).records_invalid, 1);
    assert_eq!(shelf.shown(), ["1:a=1"]);
}

#[test]
fn aborted_records_go_first_and_their_marker_after_the_horizon() {
    let mut shelf = Shelf::new();
    shelf.put_by(1, 0, &[("a", Some("aborted"))]);
    shelf.put_by(2, 0, &[("b", Some("committed"))]);
    shelf.end_transaction(1, ControlType::Abort, 0);
    shelf.end_transaction(2, ControlType::Commit, 1);
    shelf.put_by(1, 1, &[("c", Some("later"))]);
    shelf.end_transaction(1, ControlType::Commit, 4);
    shelf.put(2, &[("z", Some("end"))]);
    shelf.roll();
    shelf.clean(100);
    assert_eq!(shelf.shown(), ["1:b=committed", "4:c=later", "6:z=end"]);
    assert_eq!(shelf.batches().len(), 6, "all three markers are there");
    // Nothing of the aborted transaction was met any more, so its marker gets a horizon; the
    // index entry is gone with the records.
    shelf.aborted.clear();
    shelf.clean(200);
    assert_eq!(shelf.batches().len(), 6);
    shelf.clean(200 + HORIZON);
    let left: Vec<i64> = shelf.batches().iter().map(|batch| batch.0).collect();
    assert_eq!(left, [1, 3, 4, 5, 6], "committed records keep their markers");
}

#[test]
fn an_aborted_record_hides_no_committed_one() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("good"))]);
    shelf.put_by(1, 0, &[("a", Some("aborted"))]);
    shelf.end_transaction(1, ControlType::Abort, 1);
    shelf.roll();
    shelf.clean(100);
    assert_eq!(shelf.shown(), ["0:a=good"]);
}

#[test]
fn the_last_batch_of_a_producer_stays_for_its_sequence() {
    let mut shelf = Shelf::new();
    let builder =
        BatchBuilder::new(Compression::NONE).with_producer(ProducerId(5), ProducerEpoch(2), 40);
    shelf.push(&batch(builder, 1, &[("a", Some("1")), ("b", Some("2"))]));
    shelf.put(2, &[("a", Some("3")), ("b", Some("4"))]);
    shelf.roll();
    let last = LastRecord { last_data_offset: Some(Offset(1)), epoch: ProducerEpoch(2) };
    shelf.producers.insert(ProducerId(5), last);
    shelf.clean(10);
    let header = *Batch::parse(&shelf.segments[&Offset(0)]).unwrap().header();
    assert_eq!((header.records_count, header.base_sequence, header.last_sequence()), (0, 40, 41));
    assert_eq!(header.producer_epoch, ProducerEpoch(2));
    shelf.producers.clear();
    shelf.clean(10);
    assert_eq!(shelf.batches(), [(2, 3, 2)], "an expired producer needs nothing");
}

#[test]
fn a_full_map_cleans_what_it_has_seen() {
    let mut shelf = Shelf::new();
    for round in 0..4 {
        for key in 0..20 {
            shelf.put(1, &[(&format!("k{key}"), Some(&format!("{round}")))]);
        }
    }
    shelf.roll();
    shelf.map_bytes = 12 * SLOT_BYTES;
    let report = shelf.clean(10);
    assert!(report.map_full);
    assert_eq!(report.cleaned_up_to, Offset(10), "ten keys had room");
    assert_eq!(shelf.records().len(), 80, "and nothing supersedes them so far");
    let mut dirty = report.cleaned_up_to.0;
    for _ in 0..20 {
        dirty = shelf.clean_from(dirty, 10).cleaned_up_to.0;
    }
    assert_eq!(dirty, 80);
    assert!(shelf.records().len() < 80);
    let newest = shelf.records().into_iter().filter(|record| record.offset >= 60).count();
    assert_eq!(newest, 20);
}

#[test]
fn damage_stops_a_cleaning_and_leaves_no_file() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1"))]);
    shelf.put(1, &[("a", Some("2"))]);
    shelf.roll();
    let bytes = shelf.segments.get_mut(&Offset(0)).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let memory = MapMemory { bytes: 1 << 10, seeds: SEEDS };
    let error = CleanRun::start(shelf.plan(0), memory, Timestamp(9), &mut Unlimited).unwrap_err();
    let position = at as u64 / 2 + 1;
    assert!(
        matches!(error, CleanError::Damaged { base: Offset(0), position: p, .. } if p <= position),
        "{error}"
    );
    assert!(shelf.fs.list(Path::new("/t-0")).unwrap().iter().all(|e| e.name.ends_with(".source")));
}

#[test]
fn the_budget_counts_and_stops() {
    let mut shelf = Shelf::new();
    for _ in 0..50 {
        shelf.put(1, &[("a", Some("0123456789"))]);
    }
    shelf.roll();
    let bytes = shelf.segments[&Offset(0)].len() as u64;
    let memory = MapMemory { bytes: 1 << 10, seeds: SEEDS };
    let mut spent = 0;
    let mut budget = |more| {
        spent += more;
        ControlFlow::Continue(())
    };
    let mut run = CleanRun::start(shelf.plan(0), memory, Timestamp(9), &mut budget).unwrap();
    run.next_group(&mut budget).unwrap().unwrap().discard(&*shelf.fs);
    assert_eq!(spent, bytes * 2 + run.report().bytes_kept, "mapped, read, written");
    for stop_at in 0..3 {
        let mut calls = 0;
        let mut budget = |_| {
            calls += 1;
            if calls > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let result = CleanRun::start(shelf.plan(0), memory, Timestamp(9), &mut budget)
            .and_then(|mut run| run.next_group(&mut budget));
        assert!(matches!(result, Err(CleanError::Stopped)));
        let names = shelf.fs.list(Path::new("/t-0")).unwrap();
        assert!(names.iter().all(|entry| entry.name.ends_with(".source")), "{names:?}");
    }
}

#[test]
fn an_unchanged_segment_is_not_replaced() {
    let mut shelf = Shelf::new();
    shelf.put(1, &[("a", Some("1")), ("b", Some("2"))]);
    shelf.roll();
    let memory = MapMemory { bytes: 1 << 10, seeds: SEEDS };
    let mut run = CleanRun::start(shelf.plan(0), memory, Timestamp(9), &mut Unlimited).unwrap();
    assert!(run.next_group(&mut Unlimited).unwrap().is_none());
    assert_eq!(run.report().cleaned_up_to, Offset(2));
}

/// Random puts, deletes, codecs, rolls and cleanings; the newest value of every key must stay, old
/// ones below the dirty part must go, and no offset may change its record.
fn random_history(seed: u64) {
    let mut random = SimRandom::new(seed);
    let mut shelf = Shelf::new();
    shelf.segment_bytes = 500 + random.below(5000);
    let mut written: BTreeMap<i64, Found> = BTreeMap::new();
    let (mut dirty, mut now) = (0, 0);
    for _ in 0..200 {
        now += random.below(200) as i64;
        match random.below(10) {
            0 if !shelf.segments.last_key_value().unwrap().1.is_empty() => shelf.roll(),
            1 => {
                dirty = shelf.clean_from(dirty, now).cleaned_up_to.0;
                check(&shelf, &written, dirty, seed);
            }
            _ => {
                let codec = Codec::ALL[random.below(5) as usize];
                let mut builder = BatchBuilder::new(Compression::new(codec, None));
                for _ in 0..=random.below(5) {
                    let key = format!("key-{}", random.below(12));
                    let value = (random.below(5) > 0).then(|| format!("{}", random.below(1000)));
                    let record = NewRecord {
                        key: Some(key.as_bytes()),
                        value: value.as_deref().map(str::as_bytes),
                        ..NewRecord::at(Timestamp(now))
                    };
                    let offset = shelf.end.0 + i64::from(builder.records_count());
                    builder.push(record).unwrap();
                    written.insert(offset, Found { offset, key: Some(key), value });
                }
                shelf.push(&builder.build().unwrap());
            }
        }
    }
}

fn check(shelf: &Shelf, written: &BTreeMap<i64, Found>, dirty: i64, seed: u64) {
    let found = shelf.records();
    assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "seed {seed}");
    let mut newest: BTreeMap<&Option<String>, &Found> = BTreeMap::new();
    for record in written.values() {
        newest.insert(&record.key, record);
    }
    for record in &found {
        assert_eq!(Some(record), written.get(&record.offset), "seed {seed}");
        let later = written
            .range(record.offset + 1..dirty.max(record.offset + 1))
            .any(|(_, later)| later.key == record.key);
        assert!(!later, "seed {seed}: {record:?} is superseded below {dirty}");
    }
    for record in newest.values().filter(|record| record.value.is_some()) {
        assert!(found.contains(record), "seed {seed}: {record:?} is lost");
    }
    let end = shelf.batches().last().map_or(0, |batch| batch.1 + 1);
    assert_eq!(Offset(end), shelf.end, "seed {seed}: the end stays known");
}

#[test]
fn random_histories_lose_nothing_that_is_current() {
    for seed in 0..60 {
        random_history(seed);
    }
}
