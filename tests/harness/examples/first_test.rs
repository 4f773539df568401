//! A first test against a broker of its own: `cargo run -p ottla-harness --example first_test`.
//!
//! Owns: showing what a user's test looks like. Never: more than that.

use ottla_harness::TestCluster;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ottla_harness::HarnessError> {
    let began = std::time::Instant::now();
    let cluster = TestCluster::builder().topic("orders", 3).start().await?;
    let started = began.elapsed();

    // Give `cluster.bootstrap()` to the code under test, with any Kafka client; or use the two helpers.
    cluster.produce("orders", 0, &[(b"alice", b"3 apples"), (b"bob", b"1 pear")]).await?;
    let records = cluster.records("orders").await?;
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].value.as_deref(), Some(&b"1 pear"[..]));

    show(&format!("{} was ready after {started:?} and holds {records:#?}", cluster.bootstrap()));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "an example shows what it did")]
fn show(text: &str) {
    println!("{text}");
}
