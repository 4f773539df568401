//! Records as JSON Lines: what `consume --format json` writes, `produce --format json` reads.
//!
//! Owns: both directions. Never: loses a byte: what is not UTF-8 becomes `{"base64": "..."}`.
//! Invariant: reading what was written gives the same partition, time, key, value and headers.

use serde_json::{Value, json};

use super::base64;
use crate::client::records::RecordView;

/// A record to produce, read from a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JsonRecord {
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A key, value or header value.
pub(crate) fn bytes(value: Option<&[u8]>) -> Value {
    match value {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => json!({ "base64": base64::encode(bytes) }),
        },
    }
}

pub(crate) fn headers(record: &RecordView<'_>) -> Value {
    let each = record
        .headers
        .iter()
        .map(|(key, value)| json!({ "key": String::from_utf8_lossy(key), "value": bytes(*value) }));
    Value::Array(each.collect())
}

/// The line of a record, without the line break.
pub(crate) fn line(record: &RecordView<'_>) -> String {
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": bytes(record.key),
        "value": bytes(record.value),
        "headers": headers(record),
    })
    .to_string()
}

pub(crate) fn parse(line: &[u8]) -> Result<JsonRecord, String> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        return Err("a record must be a JSON object".to_owned());
    };
    let mut record = JsonRecord::default();
    if let Some(partition) = fields.remove("partition").filter(|value| !value.is_null()) {
        let number = partition.as_i64().and_then(|number| i32::try_from(number).ok());
        record.partition = Some(number.ok_or("\"partition\" must be a number")?);
    }
    if let Some(timestamp) = fields.remove("timestamp").filter(|value| !value.is_null()) {
        record.timestamp =
            Some(timestamp.as_i64().ok_or("\"timestamp\" must be epoch milliseconds")?);
    }
    record.key = read_bytes("key", fields.remove("key"))?;
    record.value = read_bytes("value", fields.remove("value"))?;
    match fields.remove("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for entry in list {
                let Some(Value::String(key)) = entry.get("key") else {
                    return Err("a header needs a \"key\"".to_owned());
                };
                let value = read_bytes("header value", entry.get("value").cloned())?;
                record.headers.push((key.clone(), value));
            }
        }
        Some(Value::Object(map)) => {
            for (key, value) in map {
                record.headers.push((key, read_bytes("header value", Some(value))?));
            }
        }
        Some(_) => return Err("\"headers\" must be a list or an object".to_owned()),
    }
    // What a consumer knows and a producer cannot choose.
    fields.remove("topic");
    fields.remove("offset");
    match fields.keys().next() {
        Some(other) => Err(format!("\"{other}\" is no field of a record")),
        None => Ok(record),
    }
}

fn read_bytes(name: &str, value: Option<Value>) -> Result<Option<Vec<u8>>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.into_bytes())),
        Some(Value::Object(map)) => match (map.get("base64"), map.len()) {
            (Some(Value::String(text)), 1) => base64::decode(text)
                .map(Some)
                .ok_or_else(|| format!("the base64 of \"{name}\" is damaged")),
            // A document as value is written as it stands.
            _ => Ok(Some(Value::Object(map).to_string().into_bytes())),
        },
        Some(other) => Ok(Some(other.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_the_inverse_of_writing() {
        let record = RecordView {
            topic: "t",
            partition: 3,
            offset: 42,
            timestamp: 7,
            key: Some(b"k\xff"),
            value: None,
            headers: vec![(b"a", Some(b"1")), (b"a", None)],
        };
        let read = parse(line(&record).as_bytes()).expect("our own line");
        assert_eq!(read.partition, Some(3));
        assert_eq!(read.timestamp, Some(7));
        assert_eq!(read.key.as_deref(), record.key);
        assert_eq!(read.value, None);
        let headers = [("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)];
        assert_eq!(read.headers, headers);
    }

    #[test]
    fn hand_written_lines_are_read() {
        let read = parse(br#"{"key":1,"value":{"a":[1]},"headers":{"h":"x"}}"#).expect("read");
        assert_eq!(read.key.as_deref(), Some(&b"1"[..]));
        assert_eq!(read.value.as_deref(), Some(&br#"{"a":[1]}"#[..]));
        assert_eq!(read.headers, [("h".to_owned(), Some(b"x".to_vec()))]);
        for (wrong, part) in [
            ("[]", "object"),
            ("{", "not JSON"),
            (r#"{"vaule":1}"#, "vaule"),
            (r#"{"value":{"base64":"!"}}"#, "base64"),
            (r#"{"partition":"x"}"#, "partition"),
        ] {
            let error = parse(wrong.as_bytes()).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
    }
}
