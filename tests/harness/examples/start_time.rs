//! How long a broker inside a process takes: `cargo run --release -p ottla-harness --example start_time`.
//!
//! Owns: the figure of the README: from `TestCluster::builder()` to one record acknowledged, and from
//! there to gone. Never: judges it; `tests/budgets/run` does.

use std::time::{Duration, Instant};

use ottla_harness::TestCluster;

const ROUNDS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), ottla_harness::HarnessError> {
    let (mut ready, mut acknowledged, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let cluster = TestCluster::builder().topic("orders", 1).start().await?;
        ready.push(began.elapsed());
        cluster.produce("orders", 0, &[(b"key", b"value")]).await?;
        acknowledged.push(began.elapsed());
        let ended = Instant::now();
        drop(cluster);
        gone.push(ended.elapsed());
    }
    show(&mut ready, "ready");
    show(&mut acknowledged, "acknowledged");
    show(&mut gone, "gone");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a program for people and scripts")]
fn show(times: &mut [Duration], what: &str) {
    times.sort_unstable();
    let millis = |at: usize| times[at].as_secs_f64() * 1e3;
    println!("{what} {:.3} {:.3} {:.3}", millis(ROUNDS / 2), millis(0), millis(ROUNDS - 1));
}
