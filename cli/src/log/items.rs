//! What a dump meets, as JSON and as a line for people.
//!
//! Owns: both forms of every item. Never: reads files. Invariant: an item's JSON names its kind in
//! `item`.

use ottla_protocol::model::kafka_uuid_text;
use ottla_protocol::records::BatchHeader;
use ottla_storage::checkpoint::CheckpointKind;
use ottla_storage::offline::dump::{CrcState, Item};
use ottla_storage::offline::internal::{InternalDecoder, Value as Field};
use ottla_storage::offline::records::{Control, FoundRecord};
use serde_json::{Map, Value, json};

use crate::record::json::bytes;

/// The JSON of an item; `topic` is the one whose folder is being read.
pub(super) fn item_json(item: &Item, topic: Option<&str>, decoder: &InternalDecoder) -> Value {
    match item {
        Item::Partition { path, partition } => json!({
            "item": "partition",
            "path": path.display().to_string(),
            "topic": partition.as_ref().map(|partition| partition.topic.to_string()),
            "partition": partition.as_ref().map(|partition| partition.partition.0),
        }),
        Item::File(path) => json!({ "item": "file", "path": path.display().to_string() }),
        Item::Batch { position, header, crc } => batch(*position, header, *crc),
        Item::Record(record) => record_json(record, topic, decoder),
        Item::OffsetEntry { offset, position } => {
            json!({ "item": "offset-entry", "offset": offset.0, "position": position })
        }
        Item::TimeEntry { timestamp, offset } => {
            json!({ "item": "time-entry", "timestamp": timestamp.0, "offset": offset.0 })
        }
        Item::AbortedTransaction(aborted) => json!({
            "item": "aborted-transaction",
            "producer_id": aborted.producer_id.0,
            "first_offset": aborted.first_offset.0,
            "last_offset": aborted.last_offset.0,
            "last_stable_offset": aborted.last_stable.0,
        }),
        Item::Producer { id, entry } => json!({
            "item": "producer",
            "producer_id": id.0,
            "epoch": entry.epoch.0,
            "coordinator_epoch": entry.coordinator_epoch,
            "last_timestamp": entry.last_timestamp.0,
            "transaction_first_offset": entry.txn_first.map(|offset| offset.0),
        }),
        Item::Epoch(entry) => {
            json!({ "item": "epoch", "epoch": entry.epoch.0, "start_offset": entry.start.0 })
        }
        Item::TopicId(id) => json!({ "item": "topic-id", "id": kafka_uuid_text(*id) }),
        Item::Seal(seal) => json!({
            "item": "seal",
            "base_offset": seal.base.0,
            "next_offset": seal.next_offset.0,
            "log_bytes": seal.log_bytes,
        }),
        Item::Checkpoint { kind, partition, offset } => json!({
            "item": "checkpoint",
            "kind": checkpoint(*kind),
            "topic": partition.topic.to_string(),
            "partition": partition.partition.0,
            "offset": offset.0,
        }),
        Item::MetaProperties(meta) => json!({
            "item": "meta-properties",
            "cluster_id": meta.cluster_id,
            "node_id": meta.node_id.0,
            "directory_id": meta.directory_id.map(kafka_uuid_text),
        }),
        Item::CleanShutdown { broker_epoch } => {
            json!({ "item": "clean-shutdown", "broker_epoch": broker_epoch })
        }
        Item::Finding(finding) => json!({
            "item": "finding",
            "severity": format!("{:?}", finding.severity()).to_lowercase(),
            "path": finding.path.display().to_string(),
            "finding": finding.kind.to_string(),
        }),
    }
}

const fn checkpoint(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::RecoveryPoint => "recovery-point",
        CheckpointKind::LogStart => "log-start",
        CheckpointKind::Replication => "high-watermark",
        CheckpointKind::Cleaner => "cleaner",
    }
}

fn batch(position: u64, header: &BatchHeader, crc: CrcState) -> Value {
    json!({
        "item": "batch",
        "position": position,
        "base_offset": header.base_offset.0,
        "last_offset": header.last_offset().0,
        "records": header.records_count,
        "bytes": header.size(),
        "leader_epoch": header.leader_epoch.0,
        "codec": header.attributes.codec().map(|codec| codec.name()),
        "base_timestamp": header.base_timestamp.0,
        "max_timestamp": header.max_timestamp.0,
        "producer_id": header.producer_id.0,
        "producer_epoch": header.producer_epoch.0,
        "base_sequence": header.base_sequence,
        "transactional": header.attributes.is_transactional(),
        "control": header.attributes.is_control(),
        "crc": header.crc,
        "crc_valid": crc == CrcState::Good,
    })
}

fn record_json(record: &FoundRecord, topic: Option<&str>, decoder: &InternalDecoder) -> Value {
    let mut fields = json!({
        "item": "record",
        "offset": record.offset.0,
        "timestamp": record.timestamp.0,
        "key": bytes(record.key.as_deref()),
        "value": bytes(record.value.as_deref()),
    });
    let Some(map) = fields.as_object_mut() else { return fields };
    if !record.headers.is_empty() {
        let headers = record
            .headers
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": bytes(value.as_deref()) }));
        map.insert("headers".to_owned(), headers.collect());
    }
    if let Some(control) = &record.control {
        map.insert("control".to_owned(), control_json(control));
    }
    let decoded = topic
        .and_then(|topic| decoder.decode(topic, record.key.as_deref(), record.value.as_deref()));
    if let Some(decoded) = decoded {
        let value = decoded.value.as_ref().map(field_json);
        let text = json!({
            "type": decoded.name,
            "key": field_json(&decoded.key),
            "value": value,
        });
        map.insert("decoded".to_owned(), text);
        // The bytes say nothing more than what was decoded.
        map.remove("key");
        map.remove("value");
    }
    fields
}

fn control_json(control: &Control) -> Value {
    match control {
        Control::Commit { coordinator_epoch } => {
            json!({ "type": "commit", "coordinator_epoch": coordinator_epoch })
        }
        Control::Abort { coordinator_epoch } => {
            json!({ "type": "abort", "coordinator_epoch": coordinator_epoch })
        }
        Control::Other(kind) => json!({ "type": kind }),
        Control::Damaged => json!({ "type": "damaged" }),
    }
}

fn field_json(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Int(value) => json!(value),
        Field::Text(text) => json!(text),
        Field::Bytes(value) => bytes(Some(value)),
        Field::Id(id) => json!(kafka_uuid_text(*id)),
        Field::List(list) => list.iter().map(field_json).collect(),
        Field::Struct(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), field_json(value)))
                .collect::<Map<String, Value>>(),
        ),
    }
}

/// The line for people: the item's kind and its fields, files and partitions as headings.
pub(super) fn line(json: &Value) -> String {
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match json.get("item").and_then(Value::as_str) {
        Some("partition" | "file") => format!("{} {}", text("item"), text("path")),
        Some(kind) => {
            let indent = if kind == "record" { "    " } else { "  " };
            let fields: Vec<String> = json
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, value)| name.as_str() != "item" && !value.is_null())
                .map(|(name, value)| match value {
                    // Control characters would run wild on a terminal; JSON escapes them.
                    Value::String(text) if !text.contains(char::is_control) => {
                        format!("{name}={text}")
                    }
                    other => format!("{name}={other}"),
                })
                .collect();
            format!("{indent}{kind} {}", fields.join(" "))
        }
        None => json.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::model::Offset;

    #[test]
    fn lines_name_kind_and_fields() {
        let item = Item::OffsetEntry { offset: Offset(7), position: 99 };
        let json = item_json(&item, None, &InternalDecoder::new());
        assert_eq!(line(&json), "  offset-entry offset=7 position=99");
        let file = item_json(&Item::File("/a/b".into()), None, &InternalDecoder::new());
        assert_eq!(line(&file), "file /a/b");
    }
}
