//! `partition.metadata`: the topic's id, beside the log (KIP-516).
//!
//! Owns: the file's text. Never: I/O, or what to do when two ids differ.

use ottla_protocol::model::{Uuid, kafka_uuid_text, parse_kafka_uuid};

/// The file's text for `topic_id`, byte for byte Kafka's (it has no newline at its end).
#[must_use]
pub fn to_text(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", kafka_uuid_text(topic_id))
}

/// Reads what Kafka or [`to_text`] wrote; `None` where it is damaged.
#[must_use]
pub fn parse(text: &str) -> Option<Uuid> {
    let mut version = None;
    let mut topic_id = None;
    for line in text.lines() {
        let (key, value) = line.split_once(": ")?;
        match key {
            "version" => version = Some(value.trim()),
            "topic_id" => topic_id = parse_kafka_uuid(value.trim()),
            _ => {}
        }
    }
    version.filter(|version| *version == "0").and(topic_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_kafkas_file() {
        let kafkas = "version: 0\ntopic_id: XllZ5qQbQgaiuJc61bquJw";
        let id = parse(kafkas).unwrap();
        assert_eq!(to_text(id), kafkas);
        for cut in 0..kafkas.len() {
            assert_eq!(parse(&kafkas[..cut]), None, "cut at {cut}");
        }
        assert_eq!(parse("version: 1\ntopic_id: XllZ5qQbQgaiuJc61bquJw"), None);
    }
}
