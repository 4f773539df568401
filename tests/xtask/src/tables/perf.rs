//! The tables of speed and latency, from the files of the kit's `perf versus`.
//!
//! Owns: which figures are shown and how numbers are written. Never: leaves out a row that was
//! measured because of what it says. Invariant: medians with the least and the most, and a ratio.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::markdown;

/// A figure of a row: its key in the kit's file and its words.
type Figure = (&'static str, &'static str);

const CPU_GB: Figure = ("cpu_s_per_gb", "CPU-s per GB");
const CPU_REQUEST: Figure = ("cpu_us_per_request", "CPU-µs per request");
const RECORDS: Figure = ("records_per_s", "records/s");
const P50: Figure = ("p50_ms", "p50, ms");
const P99: Figure = ("p99_ms", "p99, ms");

/// Rows with their words and the figures that tell something there.
const ROWS: &[(&str, &str, &[Figure])] = &[
    ("start-to-first-ack", "start to first acknowledged record", &[("start_ms", "ms")]),
    ("idle-fresh", "idle, fresh", &[("rss_mb", "memory, MB"), ("cpu_percent", "CPU, %")]),
    ("produce-100b-1p", "produce 100 B, 1 partition", &[CPU_GB, RECORDS]),
    ("produce-1k-1p", "produce 1 KiB, 1 partition", &[CPU_GB, RECORDS]),
    ("produce-16k-1p", "produce 16 KiB, 1 partition", &[CPU_GB, RECORDS]),
    ("produce-100b-16p", "produce 100 B, 16 partitions", &[CPU_GB, RECORDS]),
    ("produce-1k-256p", "produce 1 KiB, 256 partitions", &[CPU_GB, RECORDS]),
    ("produce-1k-1000p", "produce 1 KiB, 1,000 partitions", &[CPU_GB, RECORDS]),
    (
        "produce-unbatched-100b",
        "produce 100 B, one record a request",
        &[CPU_REQUEST, ("records_per_s", "requests/s")],
    ),
    ("produce-lz4", "produce JSON in lz4", &[CPU_GB, RECORDS]),
    ("consume-100b-1p", "consume 100 B", &[CPU_GB, RECORDS]),
    ("consume-1k-1p", "consume 1 KiB", &[CPU_GB, RECORDS]),
    ("consume-fanout-10", "ten consumers of one topic", &[CPU_GB, RECORDS]),
    ("consume-cold", "consume from the disk", &[CPU_GB, RECORDS]),
    ("connections-1000", "1,000 idle connections", &[("cpu_percent", "CPU, %")]),
    ("e2e-500", "500 records/s, end to end", &[P50, P99]),
    ("produce-latency", "acknowledgement at half of the peak", &[P50, P99]),
];

/// Rows that only latency is asked of.
const LATENCY: &[&str] = &["e2e-500", "produce-latency"];
/// Rows that wait for a flush more than for anything else, and the figures of theirs that show it.
const FLUSHED: &[(&str, &[Figure])] = &[
    ("produce-1k-1p", &[RECORDS]),
    ("produce-1k-256p", &[RECORDS]),
    ("produce-1k-1000p", &[RECORDS]),
    ("e2e-500", &[P50, P99]),
    ("produce-latency", &[P50, P99]),
];

/// Every row of one run but the latencies.
pub(super) fn speed(data: &Value) -> Result<String> {
    let mut rows = Vec::new();
    for (row, words, figures) in ROWS.iter().filter(|(row, ..)| !LATENCY.contains(row)) {
        rows.extend(compared(&data["rows"][*row], words, figures));
    }
    let header = ["load", "figure", "Kafka", "Ottla", "Ottla / Kafka"];
    Ok(format!("{}\n\n{}", conditions(data)?, markdown(&header, &rows)))
}

/// What waits for the disk, by who syncs before an acknowledgement: nobody, both, only Ottla.
pub(super) fn durability(nobody: &Value, both: &Value, ottla: &Value) -> Result<String> {
    let mut rows = Vec::new();
    for (data, who) in [(nobody, "nobody"), (both, "both"), (ottla, "Ottla")] {
        for (row, figures) in FLUSHED {
            let words = ROWS.iter().find(|(name, ..)| name == row).map_or(*row, |found| found.1);
            let found = compared(&data["rows"][*row], words, figures);
            rows.extend(found.into_iter().map(|mut cells| {
                cells.insert(0, who.to_owned());
                cells
            }));
        }
    }
    let floor = figures(&both["rows"]["floor-ping-fsync"]["floor"], "p50_ms");
    let floor = floor.map_or_else(|| "-".to_owned(), |found| found.text());
    let header = ["fsync", "load", "figure", "Kafka", "Ottla", "Ottla / Kafka"];
    Ok(format!(
        "{}\n{}\nThe floor of the latter, a bare round trip over loopback with `write` and \
         `fdatasync` and no broker: p50 {floor} ms.\n\n{}",
        conditions(nobody)?,
        conditions(both)?,
        markdown(&header, &rows)
    ))
}

fn compared(row: &Value, words: &str, shown: &[Figure]) -> Vec<Vec<String>> {
    shown
        .iter()
        .filter_map(|(key, name)| {
            let kafka = figures(&row["kafka"], key)?;
            let ottla = figures(&row["ottla"], key)?;
            let ratio = number(ottla.median / kafka.median);
            let words = words.to_owned();
            Some(vec![words, (*name).to_owned(), kafka.text(), ottla.text(), ratio])
        })
        .collect()
}

/// One sentence on the run: machine, rounds, load.
fn conditions(data: &Value) -> Result<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let machine = data.get("machine").context("a perf file without a machine")?;
    Ok(format!(
        "{}, {} ({} cores, {} GiB), medians of {} interleaved rounds (least..most); load average {} at \
         the start and {} at the end; {}.",
        text(&data["date"]),
        text(&machine["cpu"]),
        text(&machine["cores"]),
        text(&machine["memory_gib"]),
        text(&data["rounds"]),
        text(&data["load_start"]),
        text(&data["load_end"]),
        text(&data["note"]),
    ))
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

/// A figure over the rounds; `None` where no round has it, or a median has nothing to divide by.
fn figures(rounds: &Value, key: &str) -> Option<Spread> {
    let mut found: Vec<f64> =
        rounds.as_array()?.iter().filter_map(|round| round[key].as_f64()).collect();
    found.sort_by(f64::total_cmp);
    let (least, most) = (*found.first()?, *found.last()?);
    let middle = found.len() / 2;
    let median = if found.len() % 2 == 1 {
        found[middle]
    } else {
        f64::midpoint(found[middle - 1], found[middle])
    };
    (median > 0.0).then_some(Spread { least, median, most })
}

impl Spread {
    fn text(&self) -> String {
        if self.least == self.most {
            return number(self.median);
        }
        format!("{} ({}..{})", number(self.median), number(self.least), number(self.most))
    }
}

/// Three significant digits, and none after the point from 100 on.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => thousands(value.round() as u64),
        value if value >= 99.5 => format!("{value:.0}"),
        value if value >= 9.95 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_short() {
        let shown = [1_234_567.4, 999.6, 55.55, 0.123].map(number);
        assert_eq!(shown, ["1,234,567", "1000", "55.5", "0.12"]);
    }

    #[test]
    fn medians_with_the_range_and_the_ratio() {
        let rounds = |values: [f64; 3]| values.map(|p50| json!({"p50_ms": p50})).to_vec();
        let row = json!({"kafka": rounds([4.0, 2.0, 3.0]), "ottla": rounds([1.5, 1.5, 1.5])});
        let found = compared(&row, "a load", &[P50, P99]);
        assert_eq!(found, [["a load", "p50, ms", "3.00 (2.00..4.00)", "1.50", "0.50"]]);
    }
}
