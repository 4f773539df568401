//! What `ottla produce` says of records that the broker refuses, and of those behind them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use ottla_harness::blocking::TestCluster;

fn ottla(cluster: &TestCluster, words: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(words.split(' '))
        .env_clear()
        .env("OTTLA_BOOTSTRAP_SERVERS", cluster.bootstrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn nothing_is_sent_or_reported_behind_a_refused_record() {
    let cluster = TestCluster::builder()
        .topic_with("t", |topic| topic.config("max.message.bytes", "200"))
        .start_blocking()
        .expect("a cluster");
    let lines = format!("fits\n{}\nfits\nfits\n", "x".repeat(300));
    let produced = ottla(&cluster, "produce t -X batch.size=1 -X acks=1", &lines);
    let said = String::from_utf8(produced.stderr).expect("text");
    assert!(said.starts_with("1 record to t-0 at offset 0\n"), "{said}");
    assert!(said.contains("[MESSAGE_TOO_LARGE]"), "{said}");
    assert_eq!(produced.status.code(), Some(1));
    let read = ottla(&cluster, "consume t -e", "");
    assert_eq!(String::from_utf8(read.stdout).expect("text"), "fits\n");
}
