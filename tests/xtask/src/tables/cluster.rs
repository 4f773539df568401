//! The tables of three nodes, from the files of `tests/evidence/cluster`.
//!
//! Owns: which figures are shown and in which words. Never: leaves out what was measured.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::markdown;

/// How long partitions are without acknowledgements when the node that leads them dies or leaves, and what
/// a new replica costs.
pub(super) fn gaps(failover: &Value, handover: &Value, catchup: &Value) -> Result<String> {
    let mut rows = Vec::new();
    for (data, how) in [(failover, "kill -9"), (handover, "SIGTERM")] {
        for row in data["rows"].as_array().context("rows")? {
            rows.push(vec![
                format!("{how}, {} partitions", number(&row["partitions"], 0)),
                format!("{} of {} ends", number(&row["samples"], 0), number(&row["ends"], 0)),
                number(&row["p50"], 0),
                number(&row["p99"], 0),
                number(&row["max"], 0),
            ]);
        }
    }
    for (key, what) in [
        ("ack_ms_before", "acknowledgements before a replica is added"),
        ("ack_ms_during", "acknowledgements while it gets its log"),
    ] {
        let of = &catchup[key];
        rows.push(vec![
            what.to_owned(),
            number(&of["samples"], 0),
            number(&of["p50"], 1),
            number(&of["p99"], 1),
            number(&of["max"], 1),
        ]);
    }
    let about = [("failover", failover), ("handover", handover), ("a new replica", catchup)];
    let mut text = String::new();
    for (part, data) in about {
        text.push_str(&conditions(part, data)?);
    }
    let header = ["what", "samples", "p50, ms", "p99, ms", "most, ms"];
    text.push_str(&format!("\n{}", markdown(&header, &rows)));
    text.push_str(&format!(
        "\nEach of {} new replicas got {} MB in {} s, {} MB/s.\n",
        number(&catchup["replicas"], 0),
        number(&Value::from(catchup["bytes_each"].as_f64().unwrap_or(0.0) / 1e6), 0),
        number(&catchup["seconds"], 1),
        number(&catchup["mb_per_s_each"], 0),
    ));
    Ok(text)
}

/// Three replicas beside a three-node Kafka.
pub(super) fn load(data: &Value) -> Result<String> {
    let mut rows = Vec::new();
    for row in data["rows"].as_array().context("rows")? {
        for (key, words, places) in
            [("cpu_s_per_gb", "CPU-s per GB", 2), ("records_per_s", "records/s", 0)]
        {
            let of = |side: &str| -> Vec<f64> {
                let rounds = row[side].as_array().map(Vec::as_slice).unwrap_or_default();
                rounds.iter().filter_map(|round| round[key].as_f64()).collect()
            };
            let (kafka, ottla) = (median(of("kafka")), median(of("ottla")));
            let (Some(kafka), Some(ottla)) = (kafka, ottla) else { continue };
            rows.push(vec![
                row["row"].as_str().unwrap_or_default().to_owned(),
                words.to_owned(),
                kafka.text(places),
                ottla.text(places),
                format!("{:.2}", ottla.middle / kafka.middle.max(f64::MIN_POSITIVE)),
            ]);
        }
    }
    let header = ["load", "figure", "Kafka", "Ottla", "Ottla / Kafka"];
    Ok(format!("{}\n{}", conditions("load", data)?, markdown(&header, &rows)))
}

fn conditions(part: &str, data: &Value) -> Result<String> {
    let text = |key: &str| data[key].as_str().with_context(|| format!("{part}: {key}"));
    let load = &data["load"];
    Ok(format!(
        "{part}: {}, {}; load average {} at the start and {} at the end; ottla {}.\n",
        text("date")?,
        text("machine")?,
        number(&load[0], 1),
        number(&load[1], 1),
        text("ottla")?,
    ))
}

struct Median {
    least: f64,
    middle: f64,
    most: f64,
}

impl Median {
    fn text(&self, places: usize) -> String {
        let of = |value: f64| number(&Value::from(value), places);
        format!("{} ({}..{})", of(self.middle), of(self.least), of(self.most))
    }
}

fn median(mut values: Vec<f64>) -> Option<Median> {
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let middle = match values.len() % 2 {
        0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    };
    Some(Median { least, middle, most })
}

/// With commas between thousands; a dash where there is no number.
fn number(value: &Value, places: usize) -> String {
    let Some(value) = value.as_f64() else { return "-".to_owned() };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if rest.is_empty() { out } else { format!("{out}.{rest}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn medians_and_thousands_are_written_out() {
        let data = json!({
            "date": "d", "machine": "m", "load": [1.0, 2.0], "ottla": "abc",
            "rows": [{"row": "r",
                "kafka": [{"cpu_s_per_gb": 4.0, "records_per_s": 1000.0}],
                "ottla": [{"cpu_s_per_gb": 1.0, "records_per_s": 2000.0},
                          {"cpu_s_per_gb": 3.0, "records_per_s": 1_234_567.0}]}],
        });
        let text = load(&data).unwrap();
        assert!(
            text.contains("| r | CPU-s per GB | 4.00 (4.00..4.00) | 2.00 (1.00..3.00) | 0.50 |")
        );
        assert!(text.contains("618,284 (2,000..1,234,567)"), "{text}");
    }
}
