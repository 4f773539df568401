//! Pure decisions: what the cluster controller and the coordinators write and answer.
//!
//! Owns: the state machines whose inputs are requests and time and whose outputs are records to
//! append and replies to send. Never: does I/O, asks a clock, draws randomness, or knows a runtime.
//! Invariant: state is a function of the records that were appended plus what is merely waited for.

pub mod forming;
pub mod group;
pub mod metadata;
