//! Kafka's DumpLogSegments reads what we wrote, with no complaint.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, Codec, Compression, ControlType, EndTxnMarker, HEADER,
    NewRecord,
};
use ottla_storage::cleaner::range::CompactionSettings;
use ottla_storage::cleaner::{CleanRun, MapMemory, Unlimited};
use ottla_storage::fs::os::OsFileSystem;
use ottla_storage::{
    AppendOrigin, CleanupPolicy, LeaderAppend, LeaderBatch, LogSettings, MinOneBatch, PartitionLog,
};

use super::{context, now};

/// Where the kit's `kafka` is, if anywhere.
pub(crate) fn kit() -> Option<PathBuf> {
    let named = std::env::var_os("OTTLA_KAFKA_KIT").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kit/kafka");
    named.into_iter().chain([beside, "/work/shared/kit/kafka".into()]).find(|path| path.exists())
}

fn append(log: &mut PartitionLog, batch: bytes::Bytes, origin: AppendOrigin) {
    let header = *Batch::parse(&batch).unwrap().header();
    let batch = LeaderBatch { header, payload: batch.slice(HEADER..) };
    let append = LeaderAppend { batches: &[batch], origin, frame_bytes: 0 };
    log.append_as_leader(&append, LeaderEpoch(3), now()).unwrap();
}

/// Segments, every codec, producers with more than one batch, committed and aborted transactions.
fn write_log(dir: &Path) -> PartitionLog {
    write_log_with(dir, CleanupPolicy::Delete, |_, _| ("key".to_owned(), false))
}

/// `key` gives a record's key, and whether it is a tombstone.
fn write_log_with(
    dir: &Path,
    cleanup: CleanupPolicy,
    key: impl Fn(i64, i64) -> (String, bool),
) -> PartitionLog {
    let settings = LogSettings {
        segment_bytes: 6_000,
        index_interval_bytes: 300,
        cleanup,
        ..LogSettings::default()
    };
    let fs = Arc::new(OsFileSystem::new());
    let mut log = PartitionLog::create(fs, dir.to_path_buf(), settings, &context()).unwrap();
    for round in 0..60_i32 {
        let codec = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let codec = codec[round as usize % codec.len()];
        let producer = ProducerId(i64::from(round % 3) + 7);
        let sequence = round / 3 * 4;
        let mut builder = BatchBuilder::new(Compression::new(codec, None)).with_producer(
            producer,
            ProducerEpoch(0),
            sequence,
        );
        if producer.get() == 9 {
            builder = builder.with_transactional();
        }
        for record in 0..4_i64 {
            let value = format!("value {record} of round {round}: {}", "abc".repeat(9));
            let (key, tombstone) = key(i64::from(round), record);
            builder
                .push(NewRecord {
                    timestamp: Timestamp(now().wall.get() + i64::from(round) * 10 + record),
                    key: Some(key.as_bytes()),
                    value: Some(value.as_bytes()).filter(|_| !tombstone),
                    headers: &[("header", Some(b"x"))],
                })
                .unwrap();
        }
        append(&mut log, builder.build().unwrap(), AppendOrigin::Client);
        if producer.get() == 9 && round % 2 == 0 {
            let kind = if round % 4 == 0 { ControlType::Abort } else { ControlType::Commit };
            let marker = EndTxnMarker { kind, coordinator_epoch: 1 };
            let marker = marker.batch(producer, ProducerEpoch(0), now().wall).unwrap();
            append(&mut log, marker, AppendOrigin::Coordinator);
        }
    }
    log
}

/// What Kafka's tool says of every file of the log. `gap` says where offsets may be missing.
fn dump_without_complaint(kit: &Path, dir: &Path, gap: impl Fn(i64, i64) -> bool) -> String {
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| {
            [".log", ".index", ".timeindex", ".txnindex", ".snapshot"]
                .iter()
                .any(|suffix| path.ends_with(suffix))
        })
        .collect();
    files.sort();
    let dump = |more: &[&str]| {
        let output = Command::new("python3")
            .arg(kit)
            .args(["tool", "kafka-dump-log", "--files", &files.join(",")])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}\n{errors}");
        text
    };
    for more in [&["--deep-iteration", "--print-data-log"][..], &["--index-sanity-check"]] {
        let text = dump(more);
        let complaints: Vec<&str> = text
            .lines()
            .filter(|line| {
                let lower = line.to_lowercase();
                ["mismatch", "isvalid: false", "invalid", "corrupt", "exception", "out of order"]
                    .iter()
                    .any(|word| lower.contains(word))
            })
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}\n{text}");
        for line in text.lines().filter(|line| line.contains(" is followed by ")) {
            let (before, after) = line.split_once(" is followed by ").unwrap();
            let before = before.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(gap(before, after.trim().parse().unwrap()), "{line}");
        }
    }
    dump(&["--deep-iteration", "--print-data-log"])
}

#[test]
fn kafkas_dump_tool_reads_our_files() {
    let Some(kit) = kit() else {
        eprintln!("no Kafka kit here (OTTLA_KAFKA_KIT): Kafka's dump tool was not asked");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("topic-0");
    let mut log = write_log(&dir);
    log.close_clean(now()).unwrap();
    let segments: Vec<Offset> = log.segments().map(|(base, _)| base).collect();
    assert!(segments.len() > 2);
    let end = log.log_end();
    let aborted = log.aborted_transactions(Offset(0), end).unwrap();
    assert!(!aborted.is_empty());
    drop(log);
    let text = dump_without_complaint(&kit, &dir, |before, after| {
        // What Kafka says of its own segments after the first, too.
        before == -1 && segments.contains(&Offset(after))
    });
    let last = format!("| offset: {} ", end.get() - 1);
    assert!(text.contains(&last), "the last record is there:\n{text}");
    for txn in aborted {
        let line = format!(
            "producerId: {} firstOffset: {} lastOffset: {}",
            txn.producer_id, txn.first_offset, txn.last_offset
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("producerId: 7 producerEpoch: 0 coordinatorEpoch: -1"), "{text}");
}

/// One cleaning of everything but the active segment.
fn clean(log: &mut PartitionLog, from: Offset, now: Now) -> Offset {
    let settings = CompactionSettings {
        delete_retention: Duration::from_secs(60),
        ..CompactionSettings::default()
    };
    let end = log.last_stable(log.log_end());
    let range = log.cleanable(Some(from), end, &settings, now.wall).unwrap();
    let plan = log.clean_plan(&range, &settings).unwrap();
    let memory = MapMemory { bytes: 1 << 16, seeds: [1, 2] };
    let mut run = CleanRun::start(plan, memory, now.wall, &mut Unlimited).unwrap();
    while let Some(group) = run.next_group(&mut Unlimited).unwrap() {
        log.swap_in(group, now).unwrap();
    }
    run.report().cleaned_up_to
}

/// Superseded records, tombstones before and after their time, emptied batches of producers, ends
/// of transactions, in every codec.
#[test]
fn kafkas_dump_tool_reads_our_compacted_files() {
    let Some(kit) = kit() else {
        eprintln!("no Kafka kit here (OTTLA_KAFKA_KIT): Kafka's dump tool was not asked");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("topic-0");
    let mut log = write_log_with(&dir, CleanupPolicy::Compact, |round, record| {
        let key = format!("key-{}", (round * 5 + record) % 17);
        (key, round % 7 == 3)
    });
    log.flush_now().unwrap();
    let (bytes, count) = (log.size_bytes(), log.segment_count());
    let cleaned = clean(&mut log, Offset::ZERO, now());
    assert!(log.size_bytes() < bytes, "{} of {bytes}", log.size_bytes());
    log.update_settings(LogSettings { segment_bytes: 20_000, ..log.settings().clone() });
    let later = Now { wall: Timestamp(now().wall.get() + 120_000), ..now() };
    log.roll(later).unwrap();
    log.flush_now().unwrap();
    clean(&mut log, cleaned, later);
    assert!(log.segment_count() < count, "segments were joined");
    log.close_clean(later).unwrap();
    let mut bounds = std::collections::BTreeSet::new();
    let mut at = log.log_start();
    while at < log.log_end() {
        let read = log.read(at, 1 << 20, log.log_end(), MinOneBatch::Yes).unwrap();
        for batch in BatchIter::new(&read.to_bytes().unwrap()) {
            let batch = batch.unwrap();
            bounds.insert(batch.header().base_offset.get());
            let records = batch.records(1 << 20).unwrap();
            bounds.extend(records.iter().map(|record| record.unwrap().offset.get()));
        }
        at = read.next_offset;
    }
    drop(log);
    // Gaps are what compaction is about; Kafka names those of its own files in the same words. That
    // an offset comes twice, or before a smaller one, it would say in the same words, too.
    let text = dump_without_complaint(&kit, &dir, |before, after| {
        before < after && bounds.contains(&after)
    });
    assert!(text.contains("deleteHorizonMs: OptionalLong["), "{text}");
    assert!(text.contains("count: 0 "), "{text}");
}
