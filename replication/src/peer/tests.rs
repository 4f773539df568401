//! Three brokers in one process: over memory with faults and a paused clock, and over TCP.

mod appends;
mod calls;
mod elections;
mod faults;
mod nodes;
mod snapshots;
mod strangers;
