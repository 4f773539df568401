//! `ottla log` on files that a real Kafka wrote: every verb on every kind of path, nothing is changed.
//!
//! Owns: the command lines, exit codes and the shape of lines. Never: needs a broker.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");
const SEGMENT: &str = "transactions-0/00000000000000000003.log";
const INDEX: &str = "transactions-0/00000000000000000003.index";
const TIME_INDEX: &str = "transactions-0/00000000000000000003.timeindex";
const ABORTED: &str = "transactions-0/00000000000000000003.txnindex";
const SNAPSHOT: &str = "transactions-0/00000000000000000030.snapshot";
const PARTITION: &str = "transactions-0";
const TARGETS: [&str; 7] = [SEGMENT, INDEX, TIME_INDEX, ABORTED, SNAPSHOT, PARTITION, ""];

struct Done {
    code: i32,
    out: String,
    errors: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.errors))
    }

    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A copy of the samples: a data directory of Kafka's.
fn samples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/records");
    for sample in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        let name = sample.file_name().unwrap();
        if !sample.is_dir() || name == "data-directory" {
            continue;
        }
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&sample).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|of| of != "txt") {
                std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    folder
}

fn log(root: &Path, verb: &str, path: &str, more: &[&str]) -> Done {
    let output = Command::new(OTTLA)
        .args(["log", verb])
        .arg(root.join(path))
        .args(more)
        .env_clear()
        .output()
        .unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Every file's bytes and time of change.
fn state(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let changed = file.metadata().unwrap().modified().unwrap();
            files.insert(file.path(), (std::fs::read(file.path()).unwrap(), changed));
        }
    }
    files
}

#[test]
fn every_verb_answers_on_every_path_and_changes_nothing() {
    let folder = samples();
    let root = folder.path();
    let before = state(root);
    for target in TARGETS {
        let dumped = log(root, "dump", target, &["--records", "--format", "json"]);
        assert_eq!(dumped.code, 0, "{target}: {}", dumped.errors);
        assert!(dumped.lines().iter().all(|item| item["item"].is_string()), "{target}");
        assert!(dumped.out.lines().count() > 1, "{target}");
        assert_eq!(log(root, "dump", target, &[]).code, 0, "{target}");
        let stat = log(root, "stat", target, &["--format", "json"]);
        assert_eq!(stat.code, 0, "{target}: {}", stat.errors);
        let items = stat.json()["items"].as_array().unwrap().len();
        assert_eq!(items, if target.is_empty() { 14 } else { 1 }, "{target}");
        let verified = log(root, "verify", target, &["--format", "json"]);
        assert_eq!(verified.code, 0, "{target}: {}{}", verified.out, verified.errors);
        assert_eq!(verified.json()["errors"], serde_json::json!([]), "{target}");
        for verb in ["find", "export"] {
            let done = log(root, verb, target, &["--format", "json"]);
            if [SEGMENT, PARTITION, ""].contains(&target) {
                assert_eq!(done.code, 0, "{verb} {target}: {}", done.errors);
                assert!(done.out.lines().count() >= 15, "{verb} {target}");
            } else {
                assert_eq!(done.code, 1, "{verb} {target}");
                let said = done.json()["errors"][0]["message"].to_string();
                assert!(said.contains("holds no records; name a segment"), "{said}");
            }
        }
    }
    assert_eq!(state(root), before, "they only read");
}

#[test]
fn an_exported_line_has_the_record() {
    let folder = samples();
    let done = log(folder.path(), "export", "codec-gzip-0", &["--format", "json"]);
    let lines = done.lines();
    assert_eq!(lines.len(), 10);
    let fields: Vec<&str> = lines[1].as_object().unwrap().keys().map(String::as_str).collect();
    for name in ["offset", "timestamp", "key", "value", "headers"] {
        assert!(fields.contains(&name), "{fields:?}");
    }
    assert_eq!(lines[1]["offset"], 1);
    assert_eq!(lines[1]["timestamp"], 1_700_000_001_000_i64);
    assert_eq!(lines[1]["key"], "key-1");
    assert_eq!(lines[1]["headers"][0], serde_json::json!({ "key": "h1", "value": "hv1" }));
    assert_eq!(lines[0]["key"], Value::Null);
}

#[test]
fn formats_that_a_stream_cannot_have_are_refused() {
    let folder = samples();
    for verb in ["dump", "find", "export"] {
        for format in ["yaml", "tsv"] {
            let done = log(folder.path(), verb, PARTITION, &["--format", format]);
            assert_eq!(done.code, 2, "{verb} {format}: {}", done.out);
        }
    }
    for verb in ["stat", "verify"] {
        for format in ["table", "wide", "json", "yaml", "tsv"] {
            let done = log(folder.path(), verb, PARTITION, &["--format", format]);
            assert_eq!(done.code, 0, "{verb} {format}: {}", done.errors);
        }
    }
}

#[test]
fn records_of_internal_topics_are_decoded() {
    let folder = samples();
    for (topic, name) in [
        ("__consumer_offsets-4", "ShareGroupMetadata"),
        ("__consumer_offsets-7", "OffsetCommit"),
        ("__consumer_offsets-7", "GroupMetadata"),
        ("__transaction_state-7", "TransactionLog"),
    ] {
        let done = log(folder.path(), "dump", topic, &["--records", "--format", "json"]);
        let found = done.lines().into_iter().find(|item| item["decoded"]["type"] == name);
        let key = found.map(|item| item["decoded"]["key"].clone());
        assert!(key.is_some_and(|key| key.is_object()), "{name} in {topic}");
    }
}

#[test]
fn damage_ends_with_three() {
    let folder = samples();
    let root = folder.path();
    let path = root.join(SEGMENT);
    let sound = std::fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for target in [SEGMENT, PARTITION, ""] {
        let done = log(root, "verify", target, &["--format", "json"]);
        assert_eq!(done.code, 3, "{target}: {}", done.errors);
        let damaged = done.json()["items"][0]["worst"] == "damage";
        assert!(damaged, "{}", done.out);
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is repaired");
    // What a broker mends by itself is none: an index can be made again, a torn end is cut.
    std::fs::write(&path, &sound[..sound.len() - 10]).unwrap();
    assert_eq!(log(root, "verify", SEGMENT, &[]).code, 0);
    std::fs::write(&path, &sound).unwrap();
    let index = root.join("indexed-0/00000000000000000000.index");
    let mut bytes = std::fs::read(&index).unwrap();
    bytes[7] ^= 4;
    std::fs::write(&index, &bytes).unwrap();
    let done = log(root, "verify", "indexed-0", &["--format", "json"]);
    assert_eq!((done.code, &done.json()["items"][0]["worst"]), (0, &"repairable".into()));
    assert_eq!(log(root, "find", PARTITION, &["--key", "nobody"]).code, 3);
    assert_eq!(log(root, "verify", "absent", &[]).code, 1);
}
