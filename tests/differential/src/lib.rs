//! Kafka's protocol from the tester's side, and the comparison of two brokers that is made with it.
//!
//! Owns an encoder and decoder of its own, driven by `schemas.txt` (every request and response that
//! Kafka 4.3 serves, at every version), so that a mistake in the broker's codec can't hide behind
//! the same mistake here.
//! Never: a dependency on the broker's crates.
//! Invariant: a request is a JSON object with the field names of Kafka's definitions; what is left
//! out has its default.

pub mod batch;
pub mod codec;
pub mod compare;
pub mod connection;
pub mod sample;
pub mod scenario;
pub mod schema;
pub mod session;
