//! A client of the tests: one request at a time as JSON, over the wire of a running broker.
//!
//! Owns: the patience of a wait, and what an unexpected end looks like. Never: retries, or a back door
//! into the broker.

use std::time::Duration;

use ottla_differential::connection::{Connection, Reply, open_response};
use serde_json::Value;

/// Longer than any sound answer takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Client(Connection);

impl Client {
    /// Connects to `host:port`.
    ///
    /// # Panics
    /// When nobody listens there, as every method here does where a test cannot go on.
    #[must_use]
    pub fn open(address: &str) -> Self {
        Self(Connection::open(address).expect("the broker accepts"))
    }

    /// Sends a request and gives its correlation id.
    pub fn send(&mut self, key: i16, version: i16, body: &Value) -> i32 {
        self.0.send(key, version, body).expect("a body of the schema")
    }

    /// The next answer, or how it did not come.
    pub fn reply(&mut self) -> Reply {
        self.0.receive(PATIENCE).expect("a frame of a sound length")
    }

    /// The answer to the request with this correlation id.
    pub fn receive(&mut self, key: i16, version: i16, correlation: i32) -> Value {
        match self.reply() {
            Reply::Answer(frame) => {
                open_response(key, version, correlation, &frame).expect("an answer of the schema")
            }
            other => panic!("key {key} v{version}: {other:?}"),
        }
    }

    pub fn ask(&mut self, key: i16, version: i16, body: &Value) -> Value {
        let correlation = self.send(key, version, body);
        self.receive(key, version, correlation)
    }
}
