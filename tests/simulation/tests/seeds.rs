//! What CI runs of the simulation: the same seed twice, hundreds of seeds, and known bugs put back.
//!
//! A failing seed is printed with the command that replays it.

use std::process::{Command, Output};

/// How long faults go on in one seed here, in simulated milliseconds.
const MILLIS: &str = "5000";

fn simulation(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla-simulation"));
    command.args(words).args(["--millis", MILLIS]);
    command.output().expect("the simulation starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every seed of a range passes.
fn passes(scenario: &str, first: u64, seeds: u64) {
    let output = simulation(&["soak", scenario, &first.to_string(), &seeds.to_string()]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn one_seed_gives_one_trace() {
    for (scenario, seed) in [("single", "11"), ("single", "12"), ("cluster", "3")] {
        let [first, second] = [0, 1].map(|_| text(&simulation(&["run", scenario, seed])));
        assert!(first.contains("trace="), "{first}");
        assert_eq!(first, second, "{scenario} {seed}: two processes, two histories");
    }
}

#[test]
fn one_broker_keeps_its_promises() {
    passes("single", 1, 30);
}

#[test]
fn no_order_of_lost_blocks_matters() {
    passes("holes", 1, 20);
}

#[test]
fn three_brokers_forget_nothing_over_quick_restarts() {
    passes("restarts", 1001, 20);
}

/// A bug that is put back is found by one of the first 200 seeds: by what clients or replicas hold, not
/// by slowness.
fn is_found(scenario: &str, bug: &str) {
    for seed in 1..=200_u64 {
        let output = simulation(&["run", scenario, &seed.to_string(), "--bug", bug]);
        assert_ne!(output.status.code(), Some(2), "{bug} is not known");
        let text = text(&output);
        if text.lines().any(|line| line.starts_with("  C") || line.starts_with("  panic")) {
            return;
        }
    }
    panic!("{bug} was not found in 200 seeds of {scenario}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found("single", "ack-before-fsync");
    is_found("cluster", "ack-before-fsync");
}

#[test]
fn batches_that_are_appended_again_are_found() {
    is_found("single", "no-dedup");
    is_found("cluster", "no-dedup");
}

#[test]
fn damage_that_is_cut_off_is_found() {
    is_found("rot", "truncate-on-bad-checksum");
}
