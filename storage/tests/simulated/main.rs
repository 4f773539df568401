//! Compaction of logs on a simulated disk, with crashes and faults, against a model in memory.
//!
//! Owns: the crash-at-every-call tests of the cleaner, and its random histories. The log's own histories are in `log_fuzz`.

mod histories;
mod losses;
mod model;
mod swaps;
mod world;
