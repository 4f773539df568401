//! A real Kafka's files, read, summed up, checked; and what damage does to that.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_protocol::model::{ProducerId, Timestamp, TopicPartition};

use super::dump::{CrcState, Depth, Item, dump};
use super::internal::{InternalDecoder, Value};
use super::records::{Control, FoundRecord, Query, RecordItem, records};
use super::stat::{PartitionStat, stat};
use super::verify::verify;
use super::*;
use crate::file_name::{FileKind, SegmentFileName};
use crate::fs::sim::SimRandom;
use crate::fs::{FileSystem, MemoryFileSystem, OpenMode, OsFileSystem};

fn silent() -> impl FnMut(u64) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

fn kafkas(name: &str) -> PathBuf {
    crate::oracle_records().join(name)
}

fn all_records(path: &Path, query: &Query) -> Vec<FoundRecord> {
    let mut found = Vec::new();
    let mut sink = |item| {
        match item {
            RecordItem::Record(record) => found.push(record),
            RecordItem::Finding(finding) => panic!("{finding}"),
            RecordItem::Partition(_) => {}
        }
        ControlFlow::Continue(())
    };
    records(&OsFileSystem::new(), path, query, &mut sink, &mut silent()).unwrap();
    found
}

fn all_items(fs: &dyn FileSystem, path: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let mut sink = |item| {
        items.push(item);
        ControlFlow::Continue(())
    };
    dump(fs, path, Depth::Records, &mut sink, &mut silent()).unwrap();
    items
}

#[test]
fn kafkas_own_logs_are_without_damage() {
    let fs = OsFileSystem::new();
    for entry in fs.list(&crate::oracle_records()).unwrap() {
        let path = kafkas(&entry.name);
        if !path.is_dir() {
            continue;
        }
        let mut bytes = 0;
        let mut progress = |more| {
            bytes += more;
            ControlFlow::Continue(())
        };
        let report = verify(&fs, &path, &mut progress).unwrap();
        let bad: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| finding.severity() > Severity::Notice)
            .map(ToString::to_string)
            .collect();
        assert_eq!(bad, [""; 0], "{}", entry.name);
        assert_eq!(bytes, report.bytes);
        if entry.name != "data-directory" {
            assert_eq!(bytes, total_bytes(&fs, &path).unwrap(), "{}", entry.name);
            assert!(report.batches > 0 && report.records > 0, "{}", entry.name);
        }
    }
}

#[test]
fn paths_are_told_apart() {
    let fs = OsFileSystem::new();
    let is = |name: &str| classify(&fs, &kafkas(name));
    assert_eq!(is("transactions-0").unwrap(), Subject::Partition);
    assert_eq!(is("data-directory").unwrap(), Subject::DataDirectory);
    assert_eq!(is("").unwrap(), Subject::DataDirectory, "it holds partitions");
    let log = SegmentFileName::live(Offset(0), FileKind::Log);
    let path = format!("transactions-0/{}", log.text());
    assert_eq!(is(&path).unwrap(), Subject::SegmentFile(log));
    assert_eq!(is("transactions-0/leader-epoch-checkpoint").unwrap(), Subject::LeaderEpochs);
    assert!(matches!(is("README.md"), Err(OfflineError::Unknown { .. })));
    assert!(matches!(is("absent"), Err(OfflineError::Io { .. })));
    let partition = partition_of(&kafkas(&path)).unwrap();
    assert_eq!(partition, TopicPartition::new("transactions", 0));
}

#[test]
fn sums_are_those_of_kafkas_dump() {
    let fs = OsFileSystem::new();
    let mut stats: Vec<PartitionStat> = Vec::new();
    for name in ["indexed-0", "codec-zstd-0", "transactions-0"] {
        stat(&fs, &kafkas(name), &mut |stat| stats.push(stat), &mut silent()).unwrap();
    }
    let [indexed, zstd, transactions] = &stats[..] else { panic!("three partitions") };
    for (stat, name) in stats.iter().zip(["indexed-0", "codec-zstd-0", "transactions-0"]) {
        let text = std::fs::read_to_string(kafkas(name).join("dump.txt")).unwrap();
        let batches = text.lines().filter(|line| line.starts_with("baseOffset: ")).count();
        assert_eq!(stat.batches, batches as u64, "{name}");
        assert!(stat.topic_id.is_some() && stat.findings.is_empty());
    }
    assert_eq!((indexed.next_offset, indexed.first_offset), (Offset(120), Some(Offset(0))));
    assert!(indexed.index_bytes > 0 && indexed.segments == 1);
    assert_eq!(zstd.codecs["zstd"].records, zstd.records);
    assert!(transactions.control_batches > 0 && transactions.transactional_batches > 0);
    assert!(!transactions.producers.is_empty());
}

#[test]
fn queries_narrow_down() {
    let path = kafkas("indexed-0");
    let all = all_records(&path, &Query::default());
    assert_eq!(all.len(), 120);
    let offsets = |query: &Query| -> Vec<i64> {
        all_records(&path, query).iter().map(|record| record.offset.0).collect()
    };
    let range = Query { from: Some(Offset(50)), to: Some(Offset(53)), ..Query::default() };
    assert_eq!(offsets(&range), [50, 51, 52]);
    let time = all[70].timestamp;
    let at_time =
        Query { from_time: Some(time), to_time: Some(Timestamp(time.0 + 1)), ..Query::default() };
    let expected: Vec<i64> =
        all.iter().filter(|r| r.timestamp == time).map(|r| r.offset.0).collect();
    assert_eq!(offsets(&at_time), expected);
    if let Some(key) = &all[3].key {
        let by_key = Query { key: Some(key.to_vec()), ..Query::default() };
        assert!(offsets(&by_key).contains(&3));
    }
    let nobody = Query { producer: Some(ProducerId(123_456)), ..Query::default() };
    assert_eq!(offsets(&nobody), [0; 0]);
}

#[test]
fn transactions_show_their_markers_and_aborted_ranges() {
    let path = kafkas("transactions-0");
    let records = all_records(&path, &Query::default());
    let commits = records.iter().filter(|r| matches!(r.control, Some(Control::Commit { .. })));
    let aborts = records.iter().filter(|r| matches!(r.control, Some(Control::Abort { .. })));
    let (commits, aborts) = (commits.count(), aborts.count());
    assert!(commits > 0 && aborts > 0, "{commits} {aborts}");
    let items = all_items(&OsFileSystem::new(), &path);
    let aborted = items.iter().filter(|item| matches!(item, Item::AbortedTransaction(_))).count();
    assert_eq!(aborted, aborts);
    assert!(items.iter().any(|item| matches!(item, Item::Producer { .. })));
    assert!(items.iter().any(|item| matches!(item, Item::Epoch(_))));
    assert!(items.iter().any(|item| matches!(item, Item::TopicId(_))));
    let bad = |item: &&Item| matches!(item, Item::Batch { crc: CrcState::Bad, .. });
    assert_eq!(items.iter().filter(bad).count(), 0);
}

#[test]
fn internal_topics_are_decoded_whole() {
    let decoder = InternalDecoder::new();
    let mut names = std::collections::BTreeSet::new();
    for (folder, topic) in [
        ("__consumer_offsets-4", "__consumer_offsets"),
        ("__consumer_offsets-7", "__consumer_offsets"),
        ("__transaction_state-7", "__transaction_state"),
        ("__share_group_state-6", "__share_group_state"),
    ] {
        for record in all_records(&kafkas(folder), &Query::default()) {
            if record.control.is_some() {
                continue;
            }
            let decoded = decoder.decode(topic, record.key.as_deref(), record.value.as_deref());
            let decoded = decoded.unwrap_or_else(|| panic!("{folder} {record:?}"));
            assert_eq!(decoded.value.is_some(), record.value.is_some());
            if decoded.name == "OffsetCommit"
                && let Some(value) = &decoded.value
            {
                assert!(matches!(value.field("offset"), Some(Value::Int(0..))));
                assert!(matches!(decoded.key.field("topic"), Some(Value::Text(_))));
            }
            let mut json = Vec::new();
            decoded.key.write_json(&mut json).unwrap();
            assert!(json.starts_with(b"{\"") && json.ends_with(b"}"));
            names.insert(decoded.name);
        }
    }
    for name in ["OffsetCommit", "GroupMetadata", "TransactionLog", "ShareSnapshot"] {
        assert!(names.contains(name), "{names:?}");
    }
    assert_eq!(decoder.decode("orders", Some(b"\0\x01"), None), None);
    assert_eq!(decoder.decode("__consumer_offsets", Some(b"\0\x01\x7f"), None), None);
    assert!(InternalDecoder::knows("__transaction_state") && !InternalDecoder::knows("orders"));
}

#[test]
fn json_is_escaped() {
    let value = Value::List(vec![
        Value::Text("a\"b\\c\n".into()),
        Value::Null,
        Value::Bool(true),
        Value::Bytes(vec![0, 255]),
    ]);
    let mut json = Vec::new();
    value.write_json(&mut json).unwrap();
    assert_eq!(json, br#"["a\"b\\c\u000a",null,true,"00ff"]"#);
}

/// One partition of Kafka's in memory, to be damaged.
fn copy(name: &str) -> (Arc<MemoryFileSystem>, PathBuf) {
    let fs = Arc::new(MemoryFileSystem::new());
    let to = Path::new("/").join(name);
    fs.create_dir_all(&to).unwrap();
    let os = OsFileSystem::new();
    for entry in os.list(&kafkas(name)).unwrap() {
        if entry.name == "dump.txt" {
            continue;
        }
        let bytes = std::fs::read(kafkas(name).join(&entry.name)).unwrap();
        write(&*fs, &to.join(&entry.name), &bytes);
    }
    (fs, to)
}

fn write(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
}

fn read(fs: &dyn FileSystem, path: &Path) -> Vec<u8> {
    fs.open(path, OpenMode::Read).unwrap().read_bytes_at(0, usize::MAX).unwrap().to_vec()
}

#[test]
fn every_flipped_byte_of_a_log_is_found() {
    let (fs, dir) = copy("transactions-0");
    let log = dir.join(SegmentFileName::live(Offset(0), FileKind::Log).text());
    let good = read(&*fs, &log);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        write(&*fs, &log, &bad);
        let report = verify(&*fs, &dir, &mut silent()).unwrap();
        // The leader epoch is under no checksum, and 16 is a fine epoch to go up to in the last
        // batch.
        let epoch_of_last = bad.len() - at > 61 && report.worst().is_none();
        let worst = report.worst();
        assert!(worst >= Some(Severity::Repairable) || epoch_of_last, "byte {at}: {worst:?}");
    }
}

#[test]
fn damage_in_the_middle_and_a_torn_end_are_two_things() {
    let (fs, dir) = copy("codec-none-0");
    let log = dir.join(SegmentFileName::live(Offset(0), FileKind::Log).text());
    let good = read(&*fs, &log);
    write(&*fs, &log, &good[..good.len() - 1]);
    let report = verify(&*fs, &dir, &mut silent()).unwrap();
    assert_eq!(report.worst(), Some(Severity::Repairable));
    assert!(report.findings.iter().any(|f| matches!(f.kind, FindingKind::TornTail { .. })));

    let (fs, dir) = copy("indexed-0");
    let log = dir.join(SegmentFileName::live(Offset(0), FileKind::Log).text());
    let mut bad = read(&*fs, &log);
    let first = SegmentWalk::open(&*fs, &log).unwrap().next().unwrap();
    let Walked::Batch(first) = first else { panic!("a batch") };
    let second = first.end() as usize;
    bad[second + 8..second + 12].fill(255);
    write(&*fs, &log, &bad);
    let report = verify(&*fs, &dir, &mut silent()).unwrap();
    let frame = report.findings.iter().find_map(|finding| match finding.kind {
        FindingKind::Frame { position, resumes, from, to, .. } => {
            Some((position, resumes, from, to))
        }
        _ => None,
    });
    let (position, resumes, from, to) = frame.expect("found");
    assert_eq!((position, from), (second as u64, first.header.next_offset()));
    assert!(resumes > Some(position) && to > Some(from));
}

#[test]
fn damaged_indexes_are_found() {
    let (fs, dir) = copy("indexed-0");
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        let path = dir.join(SegmentFileName::live(Offset(0), kind).text());
        let good = read(&*fs, &path);
        assert!(!good.is_empty());
        let mut found = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            write(&*fs, &path, &bad);
            found += usize::from(verify(&*fs, &dir, &mut silent()).unwrap().worst().is_some());
        }
        // An offset that is off by little may still lead where it should.
        assert!(found * 3 > good.len() * 2, "{kind:?}: {found} of {}", good.len());
        write(&*fs, &path, &good);
        fs.remove_file(&path).unwrap();
        let report = verify(&*fs, &dir, &mut silent()).unwrap();
        assert!(report.findings.iter().any(|f| matches!(f.kind, FindingKind::Missing)));
        write(&*fs, &path, &good);
    }
}

/// A running Kafka makes its active indexes at full size.
#[test]
fn preallocated_indexes_are_no_damage() {
    for written in [true, false] {
        let (fs, dir) = copy("indexed-0");
        let names: Vec<String> = fs.list(&dir).unwrap().into_iter().map(|e| e.name).collect();
        for name in names.iter().filter(|name| name.ends_with("index")) {
            let file = fs.open(&dir.join(name), OpenMode::ReadWrite).unwrap();
            if !written {
                file.set_len(0).unwrap();
            }
            file.set_len(1 << 20).unwrap();
        }
        let report = verify(&*fs, &dir, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

#[test]
fn nothing_on_a_disk_makes_it_panic() {
    let mut random = SimRandom::new(5);
    let mut names: Vec<String> =
        FileKind::ALL.map(|kind| SegmentFileName::live(Offset(7), kind).text()).to_vec();
    names
        .extend(["leader-epoch-checkpoint", "partition.metadata", "segment-seals"].map(Into::into));
    for seed in 0..300 {
        let fs = MemoryFileSystem::new();
        let dir = Path::new("/orders-0");
        fs.create_dir_all(dir).unwrap();
        for name in &names {
            let len = random.below(400) as usize;
            let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            // Some that get past the first checks.
            if len > 16 && seed % 2 == 0 {
                bytes[0..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 60]);
                bytes[16] = 2;
            }
            write(&fs, &dir.join(name), &bytes);
        }
        let report = verify(&fs, dir, &mut silent()).unwrap();
        assert!(!report.findings.is_empty());
        all_items(&fs, dir);
        stat(&fs, dir, &mut |_| {}, &mut silent()).unwrap();
    }
}

#[test]
fn a_walk_can_be_stopped() {
    let mut calls = 0;
    let mut progress = |_| {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let result = verify(&OsFileSystem::new(), &kafkas("indexed-0"), &mut progress);
    assert!(matches!(result, Err(OfflineError::Stopped)));
    assert_eq!(calls, 3);
}

#[test]
fn a_wrong_epoch_is_one_finding_and_not_one_for_each_batch_behind_it() {
    let (fs, dir) = copy("indexed-0");
    let log = dir.join(SegmentFileName::live(Offset(0), FileKind::Log).text());
    let mut bad = read(&*fs, &log);
    // The lowest byte of the first batch's leader epoch, which is under no checksum.
    bad[15] ^= 4;
    write(&*fs, &log, &bad);
    let report = verify(&*fs, &dir, &mut silent()).unwrap();
    let wrong = |f: &&Finding| matches!(f.kind, FindingKind::EpochOrder { .. });
    assert_eq!(report.findings.iter().filter(wrong).count(), 1);
}
