//! Kafka's DumpLogSegments reads what we wrote, with no complaint.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ottla_protocol::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    Batch, BatchBuilder, Codec, Compression, ControlType, EndTxnMarker, HEADER, NewRecord,
};
use ottla_storage::fs::os::OsFileSystem;
use ottla_storage::{AppendOrigin, LeaderAppend, LeaderBatch, LogSettings, PartitionLog};

use super::{context, now};

/// Where the kit's `kafka` is, if anywhere.
fn kit() -> Option<PathBuf> {
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
    let settings =
        LogSettings { segment_bytes: 6_000, index_interval_bytes: 300, ..LogSettings::default() };
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
            builder
                .push(NewRecord {
                    timestamp: Timestamp(now().wall.get() + i64::from(round) * 10 + record),
                    key: Some(b"key"),
                    value: Some(value.as_bytes()),
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
    let mut files: Vec<String> = std::fs::read_dir(&dir)
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
            .arg(&kit)
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
        // What Kafka says of its own segments after the first, too.
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
            let base = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(line.contains("-1 is") && segments.contains(&Offset(base)), "{line}");
        }
    }
    let text = dump(&["--deep-iteration", "--print-data-log"]);
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
