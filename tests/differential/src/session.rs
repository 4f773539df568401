//! One side of the comparison: asks a broker, writes down what it said in a form that two brokers
//! can share.
//!
//! Owns the connections, the transcript and the names given to what a broker chooses (ids, ports,
//! times).
//! Never judges: `compare` does. Invariant: a scenario that takes the same steps leaves transcripts
//! with the same labels.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::batch;
use crate::codec;
use crate::connection::{Connection, Reply, open_response};
use crate::schema::Schemas;

/// How long an answer may take: longer than any wait that a request asks for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a broker is watched that is not expected to answer.
const SILENCE: Duration = Duration::from_millis(1500);

/// Settings whose values belong to one process: addresses and folders.
const LOCAL_CONFIGS: [&str; 6] = [
    "advertised.listeners",
    "listeners",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "log.dir",
    "log.dirs",
];
const DESCRIBE_QUORUM: i16 = 55;

/// One request and what came back.
#[derive(Debug, Clone)]
pub struct Entry {
    pub scenario: String,
    pub label: String,
    pub api: String,
    pub version: i16,
    pub reply: Value,
}

#[derive(Debug)]
pub struct Session {
    address: String,
    connections: BTreeMap<u8, Connection>,
    pending: BTreeMap<u8, (i16, i16, i32, String)>,
    names: BTreeMap<String, String>,
    scenario: String,
    /// The name for the member id of the next answer.
    member: Option<String>,
    pub transcript: Vec<Entry>,
}

impl Session {
    #[must_use]
    pub fn new(address: &str) -> Session {
        Session {
            address: address.to_owned(),
            connections: BTreeMap::new(),
            pending: BTreeMap::new(),
            names: BTreeMap::new(),
            scenario: String::new(),
            member: None,
            transcript: Vec::new(),
        }
    }

    /// Starts a scenario, with fresh connections.
    pub fn begin(&mut self, scenario: &str) {
        scenario.clone_into(&mut self.scenario);
        self.connections.clear();
        self.pending.clear();
    }

    fn line(&mut self, line: u8) -> Result<&mut Connection> {
        if !self.connections.contains_key(&line) {
            self.connections.insert(line, Connection::open(&self.address)?);
        }
        self.connections.get_mut(&line).context("just opened")
    }

    /// Asks on the first connection and notes the answer, which is null when there was none.
    ///
    /// # Errors
    /// When the request does not encode or the broker can't be reached.
    pub fn ask(&mut self, label: &str, api: &str, version: i16, body: &Value) -> Result<Value> {
        self.send(0, label, api, version, body)?;
        self.receive(0, PATIENCE)
    }

    /// As `ask`, for requests that Kafka leaves without an answer.
    ///
    /// # Errors
    /// As `ask`.
    pub fn ask_briefly(
        &mut self,
        label: &str,
        api: &str,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        self.send(0, label, api, version, body)?;
        self.receive(0, SILENCE)
    }

    /// As `ask`, without an entry in the transcript: for setting the scene and for waiting until
    /// something is so.
    ///
    /// # Errors
    /// As `ask`.
    pub fn quietly(&mut self, api: &str, version: i16, body: &Value) -> Result<Value> {
        let before = self.transcript.len();
        let answer = self.ask("quiet", api, version, body);
        self.transcript.truncate(before);
        answer
    }

    /// Sends on a connection of its own number; `receive` gets the answer, so that several can wait
    /// at once.
    ///
    /// # Errors
    /// As `ask`.
    pub fn send(
        &mut self,
        line: u8,
        label: &str,
        api: &str,
        version: i16,
        body: &Value,
    ) -> Result<()> {
        let key = Schemas::get().named(api).key;
        let correlation =
            self.line(line)?.send(key, version, body).with_context(|| label.to_owned())?;
        self.pending.insert(line, (key, version, correlation, label.to_owned()));
        Ok(())
    }

    /// The answer to what was sent on `line`.
    ///
    /// # Errors
    /// When nothing was sent there or the socket fails.
    pub fn receive_on(&mut self, line: u8) -> Result<Value> {
        self.receive(line, PATIENCE)
    }

    /// As `receive_on`, and gives a name to the member id in the answer before that is written
    /// down.
    ///
    /// # Errors
    /// As `receive_on`.
    pub fn receive_named(&mut self, line: u8, name: &str) -> Result<Value> {
        self.member = Some(name.to_owned());
        self.receive(line, PATIENCE)
    }

    /// Joins a group and gives a name to the new member.
    ///
    /// # Errors
    /// As `ask`.
    pub fn join_named(
        &mut self,
        label: &str,
        version: i16,
        body: &Value,
        name: &str,
    ) -> Result<Value> {
        self.send(0, label, "JoinGroup", version, body)?;
        self.receive_named(0, name)
    }

    fn receive(&mut self, line: u8, limit: Duration) -> Result<Value> {
        let (key, version, correlation, label) =
            self.pending.remove(&line).context("nothing was sent")?;
        let reply = self.line(line)?.receive(limit)?;
        let (shown, answer) = match reply {
            Reply::Answer(frame) => match open_response(key, version, correlation, &frame) {
                Ok(answer) => {
                    self.learn(&answer);
                    if let (Some(name), Some(id)) =
                        (self.member.take(), answer["MemberId"].as_str())
                    {
                        self.name(id, &name);
                    }
                    let quorum = key == DESCRIBE_QUORUM;
                    (self.normal(if quorum { "quorum" } else { "" }, &answer), answer)
                }
                Err(e) => (json!({"undecodable": format!("{e:#}")}), Value::Null),
            },
            Reply::Closed => (json!("closed"), Value::Null),
            Reply::Silent => (json!("silent"), Value::Null),
        };
        if answer.is_null() {
            self.connections.remove(&line);
        }
        self.note(&label, &Schemas::get().request(key).name, version, shown);
        Ok(answer)
    }

    /// Sends raw bytes on a connection of their own and notes what came back, undecoded.
    ///
    /// # Errors
    /// When the broker can't be reached.
    pub fn raw(&mut self, label: &str, api: &str, bytes: &[u8]) -> Result<()> {
        let mut connection = Connection::open(&self.address)?;
        connection.send_raw(bytes);
        let shown = match connection.receive(SILENCE)? {
            Reply::Answer(frame) => json!({"answer": codec::hex(&frame[..frame.len().min(6)])}),
            Reply::Closed => json!("closed"),
            Reply::Silent => json!("silent"),
        };
        self.note(label, api, -1, shown);
        Ok(())
    }

    fn note(&mut self, label: &str, api: &str, version: i16, reply: Value) {
        self.transcript.push(Entry {
            scenario: self.scenario.clone(),
            label: label.to_owned(),
            api: api.to_owned(),
            version,
            reply,
        });
    }

    /// Gives a name of the test's own to a value that the broker chose.
    pub fn name(&mut self, value: &str, name: &str) {
        if !value.is_empty() {
            self.names.insert(value.to_owned(), format!("<{name}>"));
        }
    }

    /// Topic ids are named after the topic wherever both stand side by side.
    fn learn(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|v| self.learn(v)),
            Value::Object(map) => {
                let topic =
                    ["Name", "TopicName", "Topic"].iter().find_map(|k| map.get(*k)?.as_str());
                let topic = topic.filter(|name| !name.is_empty());
                if let (Some(topic), Some(id)) = (topic, map.get("TopicId").and_then(Value::as_str))
                    && id.bytes().any(|b| b != b'0')
                {
                    self.names.insert(id.to_owned(), format!("<id of {topic}>"));
                }
                map.values().for_each(|v| self.learn(v));
            }
            _ => {}
        }
    }

    fn normal(&self, field: &str, value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|v| self.normal(field, v)).collect(),
            Value::Object(map) => {
                let local = map
                    .get("Name")
                    .and_then(Value::as_str)
                    .is_some_and(|n| LOCAL_CONFIGS.contains(&n));
                let quorum = field == "quorum";
                map.iter()
                    .map(|(k, v)| match k.as_str() {
                        "Value" if local && !v.is_null() => (k.clone(), "<local>".into()),
                        "HighWatermark" | "LogEndOffset" | "LeaderEpoch" if quorum => {
                            (k.clone(), (v.as_i64() >= Some(0)).into())
                        }
                        _ if quorum && (v.is_array() || v.is_object()) => {
                            (k.clone(), self.normal("quorum", v))
                        }
                        _ => (k.clone(), self.normal(k, v)),
                    })
                    .collect::<Map<_, _>>()
                    .into()
            }
            Value::String(text) => self.normal_text(field, text),
            Value::Number(number) => normal_number(field, number.as_i64().unwrap_or(-1), value),
            other => other.clone(),
        }
    }

    fn normal_text(&self, field: &str, text: &str) -> Value {
        if let Some(name) = self.names.get(text) {
            return name.clone().into();
        }
        let chosen = match field {
            "Records" => {
                let bytes = codec::from_hex(text).unwrap_or_default();
                return batch::summary(&bytes).unwrap_or_else(|e| json!(format!("{e:#}")));
            }
            "TopicId" | "VoterDirectoryId" | "ReplicaDirectoryId" => {
                text.bytes().any(|b| b != b'0')
            }
            "MemberId" | "Leader" | "ClusterId" | "LogDir" => !text.is_empty(),
            "ErrorMessage" | "BatchIndexErrorMessage" | "Documentation" | "Host" => true,
            _ => false,
        };
        if chosen { format!("<{field}>").into() } else { text.into() }
    }
}

/// Numbers that a broker chooses; the rest, throttle times among them, must be the same.
fn normal_number(field: &str, number: i64, value: &Value) -> Value {
    let chosen = match field {
        "Port" | "TotalBytes" | "UsableBytes" | "FinalizedFeaturesEpoch" => number >= 0,
        "ProducerId" | "SessionId" => number > 0 || field == "ProducerId" && number == 0,
        "LogAppendTimeMs" | "LastTimestamp" | "LastFetchTimestamp" | "LastCaughtUpTimestamp" => {
            batch::stamped_by_broker(number)
        }
        _ => false,
    };
    if chosen { format!("<{field}>").into() } else { value.clone() }
}
