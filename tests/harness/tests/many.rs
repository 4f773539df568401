//! Any number of clusters per process, without a trace.
//!
//! Owns: the count of threads and open files, so it is a binary with one test. Never: anything else.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::time::{Duration, Instant};

use ottla_harness::blocking;

/// How long what was ended may take to be gone from /proc.
const SETTLE: Duration = Duration::from_secs(10);

/// Two hundred clusters, twenty at a time; then the process has as many threads and open files as
/// after the first one (which may have started threads that stay, such as a runtime's).
#[test]
fn hundreds_leave_nothing_behind() {
    let start = || blocking::TestCluster::builder().topic("a", 2).start_blocking().unwrap();
    drop(start());
    let before = (count("task"), count("fd"));
    for _ in 0..10 {
        let together: Vec<_> = (0..20).map(|_| start()).collect();
        for cluster in &together {
            cluster.produce("a", 1, &[(b"k", b"v")]).unwrap();
        }
    }
    let deadline = Instant::now() + SETTLE;
    while (count("task"), count("fd")) > before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = (count("task"), count("fd"));
    assert!(after.0 <= before.0, "threads: {} before, {} after", before.0, after.0);
    assert!(after.1 <= before.1, "open files: {} before, {} after", before.1, after.1);
}

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}
