//! A reader of a group outlives the broker that coordinates it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use ottla_harness::blocking::TestCluster;

/// Ends with the test, also when that fails.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn ottla(bootstrap: &str, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command
        .args(words.split(' '))
        .env_clear()
        .env("OTTLA_BOOTSTRAP_SERVERS", bootstrap)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The node id of a group's coordinator, as `group describe` tells it.
fn coordinator(bootstrap: &str, group: &str) -> i32 {
    let output = ottla(bootstrap, &format!("group describe {group} --format json"))
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, after) = text.split_once("\"coordinator\":").expect(&text);
    let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect(&text)
}

#[test]
fn a_reader_of_a_group_outlives_its_coordinator() {
    let mut cluster = TestCluster::builder()
        .brokers(3)
        .topic_with("t", |t| t.partitions(1).replicas(3))
        .config("group.initial.rebalance.delay.ms", "0")
        .start_blocking()
        .unwrap();
    let bootstrap = cluster.bootstrap().to_owned();
    cluster.produce("t", 0, &[(b"", b"before")]).unwrap();
    let mut reader = Reader(
        ottla(
            &bootstrap,
            "consume t -o start --group g -X session.timeout.ms=30000 -X heartbeat.interval.ms=50",
        )
        .spawn()
        .unwrap(),
    );
    let mut lines = BufReader::new(reader.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "before");
    cluster.kill(coordinator(&bootstrap, "g"));
    cluster.produce("t", 0, &[(b"", b"after")]).unwrap();
    // What was not committed may come once more: a group's reader has everything at least once.
    let mut rest = lines.map(Result::unwrap).skip_while(|line| line == "before");
    assert_eq!(rest.next().as_deref(), Some("after"), "it goes on");
}
