//! Random histories of one log on a simulated disk, compared with a model in memory.
//!
//! Each seed is a history: appends of plain, idempotent and transactional batches, flushes, rolls,
//! truncation, retention, deletion of records, full disks, failing syncs, and crashes of the process
//! and of the machine, also in the middle of an operation. After each step the log is compared
//! with the model; after a crash the recovered log is to be a prefix of it that has everything
//! synced, or the damage is reported.
//!
//! `LOG_FUZZ_SEED=n cargo test -p ottla-storage --test log_fuzz` replays one history;
//! `LOG_FUZZ_SEEDS=n` runs that many, from `LOG_FUZZ_FROM` on.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test: what is not as it should be ends it, and says which seed it was"
)]

mod compaction;
mod comparing;
mod damage;
mod driver;
mod model;
mod recovery;

use driver::History;

/// Histories per run; each has up to a hundred steps.
const SEEDS: u64 = 400;

fn run(kind: &str, seeds: u64, history: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("LOG_FUZZ_SEED") {
        return history(seed);
    }
    let seeds = number("LOG_FUZZ_SEEDS").unwrap_or(seeds);
    let from = number("LOG_FUZZ_FROM").unwrap_or(0);
    for seed in from..from + seeds {
        if let Err(panic) = std::panic::catch_unwind(|| history(seed)) {
            eprintln!("{kind}: seed {seed} failed; replay with LOG_FUZZ_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn histories_with_crashes() {
    run("histories_with_crashes", SEEDS, |seed| History::new(seed).run(100));
}

/// Histories that once found something that is mended.
#[test]
fn histories_that_failed_once() {
    for seed in [5, 136, 239, 1361, 4252, 4773, 25416, 40280] {
        History::new(seed).run(100);
    }
    for seed in [475, 1441, 7423, 12394, 31198, 53087] {
        damage::history(History::new(seed));
    }
    for seed in [1, 5, 42, 46, 84, 234, 474, 551, 4449, 10695, 3139, 10710, 13909] {
        History::compacted(seed).run(100);
    }
    for seed in [46, 614] {
        damage::history(History::compacted(seed));
    }
}

#[test]
fn histories_with_rot() {
    run("histories_with_rot", SEEDS, |seed| damage::history(History::new(seed)));
}

#[test]
fn histories_with_compaction() {
    run("histories_with_compaction", SEEDS, |seed| History::compacted(seed).run(100));
}

#[test]
fn histories_with_compaction_and_rot() {
    run("histories_with_compaction_and_rot", SEEDS, |seed| {
        damage::history(History::compacted(seed));
    });
}
