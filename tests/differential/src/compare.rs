//! Two transcripts side by side: which answers differ, where, and which of the differences are
//! meant.
//!
//! Owns the list of intended differences (`differences.json`: a pattern and a reason each) and the
//! report.
//! Never hides: an intended difference that no longer occurs is reported as stale.
//! Invariant: elements of arrays are matched by what identifies them, so a missing one does not
//! shift the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::session::Entry;

/// A difference that was looked at and is meant.
#[derive(Debug, Clone, Deserialize)]
pub struct Intended {
    /// `api/scenario/label/path`, with `*` for anything.
    pub pattern: String,
    /// What the reference must have said there; anything when it is not given.
    #[serde(default)]
    pub kafka: Option<Value>,
    pub reason: String,
}

impl Intended {
    fn covers(&self, place: &str, reference: Option<&Value>) -> bool {
        let said = reference.cloned().unwrap_or_else(|| "(absent)".into());
        let as_expected = match &self.kafka {
            // JSON has one null only: in the list it is written as a word.
            Some(Value::String(text)) if text == "null" => said.is_null(),
            Some(value) => *value == said,
            None => true,
        };
        as_expected && matches(&self.pattern, place)
    }
}

/// One place at which the two answers are not the same.
#[derive(Debug, Clone)]
pub struct Difference {
    pub place: String,
    pub version: i16,
    pub a: Value,
    pub b: Value,
    pub reason: Option<String>,
}

#[derive(Debug, Default, Clone)]
pub struct Count {
    pub versions: BTreeSet<i16>,
    pub compared: usize,
    pub differ: usize,
    pub intended: usize,
}

#[derive(Debug, Default)]
pub struct Report {
    pub apis: BTreeMap<String, Count>,
    pub differences: Vec<Difference>,
    pub stale: Vec<String>,
}

/// Compares entry by entry; the scenarios must have taken the same steps.
#[must_use]
pub fn compare(a: &[Entry], b: &[Entry], intended: &[Intended]) -> Report {
    let mut report = Report::default();
    let mut used = BTreeSet::new();
    for (left, right) in pairs(a, b) {
        let entry = left.or(right).expect("one of a pair");
        let mut found = Vec::new();
        match (left, right) {
            (Some(l), Some(r)) => diff("", Some(&l.reply), Some(&r.reply), &mut found),
            _ => found.push((
                String::new(),
                left.map(|l| l.reply.clone()),
                right.map(|r| r.reply.clone()),
            )),
        }
        let count = report.apis.entry(entry.api.clone()).or_default();
        count.versions.insert(entry.version);
        count.compared += 1;
        let mut open = false;
        let any = !found.is_empty();
        for (path, x, y) in found {
            let place = format!("{}/{}/{}/{path}", entry.api, entry.scenario, entry.label);
            let hit = intended.iter().position(|i| i.covers(&place, x.as_ref()));
            used.extend(hit);
            open |= hit.is_none();
            report.differences.push(Difference {
                place,
                version: entry.version,
                a: x.unwrap_or_else(|| "(absent)".into()),
                b: y.unwrap_or_else(|| "(absent)".into()),
                reason: hit.map(|i| intended[i].reason.clone()),
            });
        }
        count.differ += usize::from(open);
        count.intended += usize::from(any && !open);
    }
    report.stale = (0..intended.len())
        .filter(|i| !used.contains(i))
        .map(|i| intended[i].pattern.clone())
        .collect();
    report
}

/// Entries of both sides with the same scenario, label and version, in the order of the first side.
fn pairs<'a>(a: &'a [Entry], b: &'a [Entry]) -> Vec<(Option<&'a Entry>, Option<&'a Entry>)> {
    let mut seen: BTreeMap<(&str, &str, &str, i16), usize> = BTreeMap::new();
    let mut keyed = |entries: &'a [Entry]| {
        seen.clear();
        let mut keys = Vec::new();
        for e in entries {
            let key = (e.scenario.as_str(), e.label.as_str(), e.api.as_str(), e.version);
            let nth = seen.entry(key).or_insert(0);
            keys.push(((key, *nth), e));
            *nth += 1;
        }
        keys
    };
    let left = keyed(a);
    let mut right: BTreeMap<_, _> = keyed(b).into_iter().collect();
    let mut all: Vec<_> = left.into_iter().map(|(key, e)| (Some(e), right.remove(&key))).collect();
    all.extend(right.into_values().map(|e| (None, Some(e))));
    all
}

type Found = Vec<(String, Option<Value>, Option<Value>)>;

fn diff(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Found) {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            names.into_iter().for_each(|n| diff(&join(n), x.get(n), y.get(n), found));
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => {
            let (x, y) = (keyed_elements(x), keyed_elements(y));
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for n in names {
                diff(&format!("{path}[{n}]"), x.get(n).copied(), y.get(n).copied(), found);
            }
        }
        _ if a == b => {}
        _ => found.push((path.to_owned(), a.cloned(), b.cloned())),
    }
}

/// What tells the elements of an array apart, the most telling first.
const IDENTITIES: [&str; 17] = [
    "Name",
    "TopicName",
    "Topic",
    "TopicId",
    "ResourceName",
    "GroupId",
    "GroupInstanceId",
    "MemberId",
    "Key",
    "ApiKey",
    "NodeId",
    "BrokerId",
    "ConfigName",
    "PartitionIndex",
    "Partition",
    "Index",
    "PartitionId",
];

/// Elements by identity; plain values and nameless ones by their place, after sorting (Kafka's
/// order is a hash's order).
fn keyed_elements(items: &[Value]) -> BTreeMap<String, &Value> {
    let mut sorted: Vec<(String, &Value)> = items
        .iter()
        .map(|v| {
            let name = IDENTITIES.iter().find_map(|k| match v.get(*k)? {
                Value::Null => None,
                Value::String(s) => Some(s.clone()),
                other => Some(other.to_string()),
            });
            (name.unwrap_or_default(), v)
        })
        .collect();
    sorted.sort_by_cached_key(|(name, v)| (name.clone(), v.to_string()));
    let mut out = BTreeMap::new();
    for (name, value) in sorted {
        let nth = (0..).find(|n| !out.contains_key(&element_key(&name, *n))).unwrap_or(0);
        out.insert(element_key(&name, nth), value);
    }
    out
}

fn element_key(name: &str, nth: usize) -> String {
    match (name, nth) {
        ("", nth) => format!("#{nth:03}"),
        (name, 0) => name.to_owned(),
        (name, nth) => format!("{name}#{nth}"),
    }
}

/// A pattern with `*` against a text, from the first character to the last.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(part) => {
            part.is_empty() || text.len() >= first.len() + part.len() && text.ends_with(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(label: &str, reply: Value) -> Entry {
        Entry {
            scenario: "s".into(),
            label: label.into(),
            api: "Metadata".into(),
            version: 1,
            reply,
        }
    }

    #[test]
    fn order_does_not_matter_and_a_missing_element_is_named() {
        let a = [entry("l", json!({"Topics": [{"Name": "x", "E": 0}, {"Name": "y", "E": 1}]}))];
        let b = [entry("l", json!({"Topics": [{"Name": "y", "E": 1}]}))];
        let report = compare(&a, &b, &[]);
        assert_eq!(report.differences.len(), 1);
        assert_eq!(report.differences[0].place, "Metadata/s/l/Topics[x]");
        assert_eq!(compare(&a, &a, &[]).differences.len(), 0);
    }

    #[test]
    fn an_intended_difference_is_counted_apart_and_a_stale_one_is_told() {
        let (a, b) = ([entry("l", json!({"E": 0}))], [entry("l", json!({"E": 1}))]);
        let intended =
            |p: &str| Intended { pattern: p.into(), kafka: None, reason: "meant".into() };
        let report = compare(&a, &b, &[intended("Metadata/*/E"), intended("Fetch/*")]);
        assert_eq!((report.apis["Metadata"].differ, report.apis["Metadata"].intended), (0, 1));
        assert_eq!(report.stale, ["Fetch/*"]);
    }

    #[test]
    fn patterns_match_whole_places() {
        assert!(
            matches("a/*/c", "a/b/c")
                && matches("*", "x")
                && matches("a*", "abc")
                && matches("abc", "abc")
        );
        assert!(!matches("a/*/c", "a/b/cd") && !matches("b*", "abc") && !matches("ab", "abc"));
    }

    #[test]
    fn an_answer_that_only_one_side_gave_differs() {
        assert_eq!(compare(&[entry("l", json!(1))], &[], &[]).apis["Metadata"].differ, 1);
    }
}
