//! The tables of three nodes, from the files of `tests/evidence/cluster`.
//!
//! Owns: which figures are shown and in which words. Never: leaves out what was measured.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::markdown;

/// How long partitions are without acknowledgements when the node that leads them dies or leaves.
pub(super) fn gaps(failover: &Value, handover: &Value) -> Result<String> {
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
    let about = [("failover", failover), ("handover", handover)];
    let mut text = String::new();
    for (part, data) in about {
        text.push_str(&conditions(part, data)?);
    }
    let header = ["what", "samples", "p50, ms", "p99, ms", "most, ms"];
    text.push_str(&format!("\n{}", markdown(&header, &rows)));
    Ok(text)
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
    fn each_size_is_a_row_with_thousands_written_out() {
        let data = |p50: f64| {
            json!({
                "date": "d", "machine": "m", "load": [1.0, 2.0], "ottla": "abc",
                "rows": [{"partitions": 200, "ends": 10, "samples": 319,
                    "p50": p50, "p99": 2239.04, "max": 1_234_567.0}],
            })
        };
        let text = gaps(&data(1875.9), &data(12.0)).unwrap();
        assert!(
            text.contains(
                "| kill -9, 200 partitions | 319 of 10 ends | 1,876 | 2,239 | 1,234,567 |"
            ),
            "{text}"
        );
        assert!(text.contains("| SIGTERM, 200 partitions | 319 of 10 ends | 12 |"), "{text}");
    }
}
