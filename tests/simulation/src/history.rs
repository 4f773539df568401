//! What clients did and saw: the only thing the checker is given.
//!
//! Owns: the events, their form as JSON lines (which real-process tests write too), the recorder with
//! its hash. Never: judges. A timeout is `info`, never `fail`: `fail` is said only where the answer
//! proves that the effect cannot exist.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// One line of a history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds, monotonic.
    pub t: u64,
    pub proc: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(flatten)]
    pub op: Op,
}

/// A batch that was sent: values are unique numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Produce {
    pub topic: String,
    pub partition: i32,
    /// Who sent it: offsets of one session's values must increase with `seq` in each partition.
    pub session: String,
    pub seq: u64,
    pub values: Vec<u64>,
    /// Of the first value, when acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
}

/// What one fetch showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poll {
    pub topic: String,
    pub partition: i32,
    /// Who answered.
    pub node: i32,
    pub from: i64,
    pub records: Vec<(i64, u64)>,
    pub high_watermark: i64,
    pub log_start: i64,
}

/// An operation. Unless something else is said, `ok` events carry what was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    Produce(Produce),
    Poll(Poll),
    /// A fetch at an offset that was answered with OFFSET_OUT_OF_RANGE.
    OutOfRange {
        topic: String,
        partition: i32,
        node: i32,
        from: i64,
    },
    /// The whole partition, read after everything is healed.
    FinalRead(Poll),
    DeleteRecords {
        topic: String,
        partition: i32,
        before: i64,
    },
    /// What a replica holds below its commit point: (start, end, digest) of ranges of the log.
    Replica {
        topic: String,
        partition: i32,
        node: i32,
        log_start: i64,
        committed: i64,
        batches: Vec<(i64, u64)>,
    },
    /// Ownership of a partition in a group begins.
    Assigned {
        group: String,
        member: String,
        generation: i32,
        partitions: Vec<(String, i32)>,
    },
    /// The member gave everything up, or knows that it was fenced.
    Revoked {
        group: String,
        member: String,
        generation: i32,
    },
    Commit {
        group: String,
        member: String,
        generation: i32,
        topic: String,
        partition: i32,
        offset: i64,
    },
    FetchCommitted {
        group: String,
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// Rot that the scenario put where no good copy is left: the loss of these offsets is allowed, but
    /// never that they turn into others.
    Rotten {
        topic: String,
        partition: i32,
    },
    /// In the end only the last value of each key has to be there (see [`key_of`]).
    Compacted {
        topic: String,
    },
    /// An answer that a correct broker never gives there.
    Unexpected {
        what: String,
    },
    /// A note for whoever reads the history: faults, crashes.
    Note {
        text: String,
    },
}

/// The key of a value in a topic whose records have keys.
#[must_use]
pub const fn key_of(value: u64) -> u64 {
    const KEYS: u64 = 12;
    value % KEYS
}

/// A history as it grows; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct History {
    inner: Arc<Mutex<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    events: Vec<Event>,
    hash: u64,
    told: bool,
}

impl Default for Recorded {
    fn default() -> Self {
        Self { events: Vec::new(), hash: 0xcbf2_9ce4_8422_2325, told: false }
    }
}

impl History {
    /// Also prints every event as it happens.
    #[must_use]
    pub fn telling() -> Self {
        let history = Self::default();
        history.inner.lock().told = true;
        history
    }

    pub fn record(&self, proc: &str, kind: Kind, op: Op) {
        let t = now();
        let event = Event { t, proc: proc.to_owned(), kind, op };
        let line = line_of(&event);
        let mut inner = self.inner.lock();
        inner.hash = fold(inner.hash, line.as_bytes());
        if inner.told {
            let mut out = io::stderr().lock();
            // A closed pipe ends the telling, not the run.
            inner.told = writeln!(out, "{line}").is_ok();
        }
        inner.events.push(event);
    }

    pub fn note(&self, text: impl Into<String>) {
        self.record("nemesis", Kind::Info, Op::Note { text: text.into() });
    }

    /// The loss of this partition's records is allowed.
    pub fn rotten(&self, topic: &str, partition: i32) {
        let op = Op::Rotten { topic: topic.to_owned(), partition };
        self.record("nemesis", Kind::Info, op);
    }

    /// Over every event and its time.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.inner.lock().hash
    }

    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.inner.lock().events.clone()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.lock().events.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As JSON lines.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for event in &self.inner.lock().events {
            writeln!(to, "{}", line_of(event))?;
        }
        Ok(())
    }
}

/// Reads JSON lines; empty ones are skipped.
///
/// # Errors
/// A line that is no event, with its number.
pub fn read(from: impl BufRead) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    for (number, line) in (1..).zip(from.lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let event = serde_json::from_str(&line).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {error}"))
        })?;
        events.push(event);
    }
    Ok(events)
}

fn line_of(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| error.to_string())
}

/// FNV-1a.
#[must_use]
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Simulated time since the start.
fn now() -> u64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_else(crate::world::elapsed);
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
