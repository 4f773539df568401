//! A client of the tests: one request at a time as JSON, over the wire of a running broker.
//!
//! Owns: the patience of a wait, and what an unexpected end looks like. Never: retries, or a back door
//! into the broker.

pub mod group;

use std::time::{Duration, Instant};

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

/// Longer than a cluster needs to come to rest, however busy the machine is.
const REST: Duration = Duration::from_secs(60);

/// One request on a connection of its own.
///
/// # Panics
/// Without an answer.
#[must_use]
pub fn ask(address: &str, key: i16, version: i16, body: &Value) -> Value {
    Client::open(address).ask(key, version, body)
}

/// Asks until the answer is as wanted.
///
/// # Panics
/// It never is.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < REST, "{what}: not within {REST:?}");
        // Paces a poll of the cluster.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Shows what brokers log, where `OTTLA_LOG` is set.
pub fn logged() {
    let levels = std::env::var("OTTLA_LOG").unwrap_or_default();
    if !levels.is_empty() {
        let out = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
        let _set_before = out.with_test_writer().try_init();
    }
}
