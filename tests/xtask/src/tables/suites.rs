//! The table of other people's suites: `results/suites.json`, explained by `reasons.json`.
//!
//! Owns: the wording, and that each failure has a reason and each reason a failure. Never: judges a
//! case; the script compared it with what a real Kafka gets.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{RESULTS, json, markdown};

const REASONS: &str = "tests/evidence/reasons.json";
const SUITES: &str = "suites.json";

/// Names of the suites as the README has them, in its order.
const NAMES: &[(&str, &str)] = &[
    ("kcat", "kcat 1.7.1, scripted cases"),
    ("kafka-python", "kafka-python 3.0.12, `test/integration`"),
    ("rust-rdkafka", "rust-rdkafka 0.39.0, its own tests"),
    ("librdkafka", "librdkafka 2.15.1, its tests 0001-0089"),
    ("java-tools", "Kafka's own tools 4.3.1, scripted cases"),
];

pub(super) fn render(root: &Path) -> Result<String> {
    let results = json(&root.join(RESULTS).join(SUITES))?;
    let reasons = json(&root.join(REASONS))?;
    table(&results, &reasons)
}

/// Failures without a reason, and reasons without a failure.
pub(super) fn unexplained(root: &Path) -> Result<Vec<String>> {
    let results = json(&root.join(RESULTS).join(SUITES))?;
    Ok(compare(&results, &json(&root.join(REASONS))?))
}

fn table(results: &Value, reasons: &Value) -> Result<String> {
    let mut rows = Vec::new();
    for (suite, name) in NAMES.iter().filter(|(suite, _)| !results[*suite].is_null()) {
        let number = |field: &str| {
            results[*suite][field].as_u64().with_context(|| format!("{SUITES}: {suite} {field}"))
        };
        let mut by_reason: BTreeMap<&str, u32> = BTreeMap::new();
        for case in cases(&results[*suite]["worse"]) {
            let reason = reasons[*suite][case].as_str().unwrap_or("unexplained");
            *by_reason.entry(reason).or_default() += 1;
        }
        let rest: Vec<String> =
            by_reason.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
        let passes = format!("{} of {}", number("passed")?, number("required")?);
        rows.push(vec![(*name).to_owned(), passes, rest.join("; ")]);
    }
    Ok(markdown(&["suite", "passes", "the rest needs"], &rows))
}

fn compare(results: &Value, reasons: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (suite, _) in NAMES {
        for case in cases(&results[*suite]["worse"]) {
            if reasons[*suite][case].is_null() {
                problems.push(format!("{REASONS}: {suite} {case} fails and has no reason"));
            }
        }
        for case in cases(&reasons[*suite]) {
            if results[*suite]["worse"][case].is_null() {
                problems.push(format!("{REASONS}: {suite} {case} has a reason and does not fail"));
            }
        }
    }
    problems
}

fn cases(object: &Value) -> Vec<&str> {
    object.as_object().map(|cases| cases.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_are_counted_by_reason_and_must_have_one() {
        let results =
            json!({"kcat": {"required": 34, "passed": 31, "worse": {"a": {}, "b": {}, "c": {}}}});
        let reasons = json!({"kcat": {"a": "transactions", "b": "transactions", "d": "ACLs"}});
        let text = table(&results, &reasons).unwrap();
        let row = "| kcat 1.7.1, scripted cases | 31 of 34 | transactions (2); unexplained (1) |";
        assert_eq!(text.lines().nth(2), Some(row));
        let found = compare(&results, &reasons);
        let expected = ["kcat c fails and has no reason", "kcat d has a reason and does not fail"];
        assert_eq!(found, expected.map(|problem| format!("{REASONS}: {problem}")));
    }
}
