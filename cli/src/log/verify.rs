//! `ottla log verify`.
//!
//! Owns: the table of findings and the exit code. Never: repairs.

use ottla_storage::offline::Severity;
use ottla_storage::offline::verify::{VerifyReport, verify};
use serde_json::{Value, json};

use super::{PathArgs, failure, file_system, watch};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::progress::Progress;
use crate::units;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("SEVERITY", "severity"),
    Column::text("PATH", "path"),
    Column::text("FINDING", "finding"),
];

pub(super) fn run(args: &PathArgs) -> Result<Report, Failure> {
    let fs = file_system();
    let mut progress = Progress::new("verified", None);
    let (mut items, mut rows, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut notes, mut damaged) = (Vec::new(), false);
    for path in &args.paths {
        match verify(&fs, path, &mut watch(&mut progress)) {
            Ok(report) => {
                let found = findings(&report);
                notes.push(summary(&path.display().to_string(), &report));
                damaged |= report.worst() == Some(Severity::Damage);
                items.push(json!({
                    "path": path.display().to_string(),
                    "partitions": report.partitions,
                    "segments": report.segments,
                    "batches": report.batches,
                    "records": report.records,
                    "bytes": report.bytes,
                    "worst": report.worst().map(severity),
                    "findings": found,
                }));
                rows.extend(found);
            }
            Err(error) => failures.push(failure(&error)),
        }
    }
    drop(progress);
    let empty = rows.is_empty();
    let mut report = Report::table("log verify", COLUMNS, rows);
    report.items = items;
    report.notes = notes;
    report.condition_failed = damaged;
    if empty {
        report.text = Some(String::new());
    }
    Ok(report.with_errors(failures))
}

fn findings(report: &VerifyReport) -> Vec<Value> {
    report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": severity(finding.severity()),
                "path": finding.path.display().to_string(),
                "finding": finding.kind.to_string(),
            })
        })
        .collect()
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Repairable => "repairable",
        Severity::Damage => "damage",
    }
}

fn summary(path: &str, report: &VerifyReport) -> String {
    let verdict = match report.worst() {
        None => "good",
        Some(Severity::Notice) => "good, with notices",
        Some(Severity::Repairable) => "a broker repairs it when it starts",
        Some(Severity::Damage) => "damaged",
    };
    format!(
        "{path}: {verdict}; {} partitions, {} segments, {} batches, {} records, {}",
        report.partitions,
        report.segments,
        report.batches,
        report.records,
        units::bytes(i64::try_from(report.bytes).unwrap_or(i64::MAX)),
    )
}
