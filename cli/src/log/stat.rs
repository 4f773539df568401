//! `ottla log stat`.
//!
//! Owns: one row per partition or segment. Never: judges damage (`verify` does).

use ottla_protocol::model::kafka_uuid_text;
use ottla_storage::offline::stat::{PartitionStat, stat};
use serde_json::{Value, json};

use super::{PathArgs, failure, file_system, watch};
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::progress::Progress;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("SEGMENTS", "segments"),
    Column::number("FIRST", "first_offset"),
    Column::number("NEXT", "next_offset"),
    Column::number("RECORDS", "records"),
    Column::number("BATCHES", "batches"),
    Column::of("SIZE", "log_bytes", Kind::Bytes),
    Column::text("CODECS", "codec_names"),
    Column::of("OLDEST", "min_timestamp", Kind::Time),
    Column::of("NEWEST", "max_timestamp", Kind::Time),
    Column::of("INDEXES", "index_bytes", Kind::Bytes).wide(),
    Column::of("LARGEST-BATCH", "largest_batch_bytes", Kind::Bytes).wide(),
    Column::number("PRODUCERS", "producers").wide(),
    Column::number("CONTROL", "control_batches").wide(),
    Column::number("TRANSACTIONAL", "transactional_batches").wide(),
    Column::number("FINDINGS", "findings").wide(),
    Column::text("PATH", "path").wide(),
];

pub(super) fn run(args: &PathArgs) -> Result<Report, Failure> {
    let fs = file_system();
    let mut progress = Progress::new("read", None);
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for path in &args.paths {
        let mut each = |found: PartitionStat| items.push(item(&found));
        if let Err(error) = stat(&fs, path, &mut each, &mut watch(&mut progress)) {
            failures.push(failure(&error));
        }
    }
    let findings: u64 = items.iter().filter_map(|item| item["findings"].as_u64()).sum();
    let report = Report::table("log stat", COLUMNS, items).with_errors(failures);
    Ok(if findings > 0 {
        report.note(format!("{findings} findings; `ottla log verify` says what they are"))
    } else {
        report
    })
}

fn item(stat: &PartitionStat) -> Value {
    let codecs: Value = stat
        .codecs
        .iter()
        .map(|(name, codec)| {
            json!({
                "codec": name,
                "batches": codec.batches,
                "records": codec.records,
                "payload_bytes": codec.payload_bytes,
            })
        })
        .collect();
    json!({
        "path": stat.path.display().to_string(),
        "topic": stat.partition.as_ref().map(|partition| partition.topic.to_string()),
        "partition": stat.partition.as_ref().map(|partition| partition.partition.0),
        "topic_id": stat.topic_id.map(kafka_uuid_text),
        "segments": stat.segments,
        "log_bytes": stat.log_bytes,
        "index_bytes": stat.index_bytes,
        "first_offset": stat.first_offset.map(|offset| offset.0),
        "next_offset": stat.next_offset.0,
        "batches": stat.batches,
        "records": stat.records,
        "control_batches": stat.control_batches,
        "transactional_batches": stat.transactional_batches,
        "empty_batches": stat.empty_batches,
        "largest_batch_bytes": stat.largest_batch_bytes,
        "min_timestamp": stat.min_timestamp.map(|time| time.0),
        "max_timestamp": stat.max_timestamp.map(|time| time.0),
        "min_leader_epoch": stat.min_leader_epoch,
        "max_leader_epoch": stat.max_leader_epoch,
        "producers": stat.producers.len(),
        "codecs": codecs,
        "codec_names": stat.codecs.keys().collect::<Vec<_>>(),
        "findings": stat.findings.len(),
    })
}
