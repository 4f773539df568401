//! What a group costs that does nothing.

use std::sync::Arc;

use super::network::{Factory, Net};
use crate::raft::Group;

/// Bytes of memory that the process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn an_idle_replica_costs_a_bounded_number_of_tasks_and_bytes() {
    const GROUPS: u64 = 100;
    super::cluster::simulate(async {
        let mut groups: Vec<Arc<Group>> = Vec::new();
        let net = Net::new(1);
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
        let process = resident();
        let mut before = (0, 0);
        for index in 0..GROUPS + 10 {
            if index == 10 {
                before = (resident(), tasks());
                // What the first group brings for all: openraft's own histograms would be 26 MB.
                let first = before.0.saturating_sub(process);
                assert!(first <= 16 << 20, "{first} bytes for the first groups");
            }
            let parts = super::suite::parts();
            let me = parts.replica;
            let group = Group::start_over(parts, Factory { net: net.clone(), me }).await.unwrap();
            groups.push(group);
        }
        let bytes = resident().saturating_sub(before.0) / GROUPS;
        let tasks = (tasks() - before.1) / GROUPS;
        eprintln!(
            "an idle replica: {tasks} tasks, {bytes} bytes with its log and journal in memory"
        );
        // openraft's own: the core, the state machine, and what they wait in.
        assert!(tasks <= 6, "{tasks} tasks");
        // 58 KB alone; other tests of this process take memory meanwhile.
        assert!(bytes <= 96 << 10, "{bytes} bytes");
    });
}
