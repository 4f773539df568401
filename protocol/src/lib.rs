//! The wire: model newtypes, error codes, frames, guarded decoding, rope encoding, record batches.
//!
//! Owns: everything that turns bytes of Kafka's protocol into values and back, and the names of
//! those values. Never: does I/O, asks the time, knows a broker, a disk or a runtime.
//! Invariant: bytes from outside never panic and never allocate more than a small multiple of
//! their size.

pub mod error_code;
pub mod frame;
pub mod guard;
pub mod messages;
pub mod model;
pub mod records;
pub mod rope;
mod varint;

pub use error_code::ErrorCode;
