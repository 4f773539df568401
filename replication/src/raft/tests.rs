//! Groups of three replicas on simulated disks and a simulated network, in simulated time.
//!
//! Every run is a function of its seed. A failing seed is replayed with
//! `OTTLA_SEED=<seed> cargo test -p ottla-replication <test>`.

mod adopting;
mod cluster;
#[cfg(target_os = "linux")]
mod cost;
mod crashes;
mod failures;
mod faults;
mod handover;
mod network;
mod promises;
mod scenarios;
mod shipping;
mod suite;
