//! The simulation: brokers in simulated time, with simulated networks and disks, from one seed.
//!
//! ```text
//!   scenario ── builds hosts (world, disk, network), clients (client, workload), faults
//!        │                                                  │ what they did and saw
//!        └── steps simulated time, crashes, partitions      v
//!                                                        history ──> check
//! ```
//!
//! Owns: the world that the product's own code runs in, and the judgement of what clients saw. Never:
//! a second implementation of anything that is judged; threads; more than one seed in a process
//! (tokio and others keep counters that outlive a run).

pub mod check;
pub mod churn;
pub mod client;
pub mod disk;
pub mod faults;
pub mod groups;
pub mod history;
pub mod network;
pub mod random;
pub mod scenario;
pub mod workload;
pub mod world;
