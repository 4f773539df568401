//! InitProducerId, the idempotent producer, DescribeProducers.
//!
//! Owns sequences and epochs. Transactions are asked for only as far as they are refused.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, produce_body, topic, until, versions};
use crate::batch::Batch;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] =
    &[("init-producer-id", init), ("idempotence", idempotence), ("describe-producers", describe)];

fn init(s: &mut Session) -> Result<()> {
    let plain = json!({"TransactionalId": null, "TransactionTimeoutMs": 60000});
    until("the first block of producer ids", || {
        Ok(s.quietly("InitProducerId", 4, &plain)?["ErrorCode"] == 0)
    })?;
    for v in versions("InitProducerId").iter() {
        let body = |id: Value, producer: i64, epoch: i16| json!({"TransactionalId": id, "TransactionTimeoutMs": 60000, "ProducerId": producer, "ProducerEpoch": epoch});
        s.ask("new", "InitProducerId", v, &body(Value::Null, -1, -1))?;
        s.ask("empty transactional id", "InitProducerId", v, &body("".into(), -1, -1))?;
        if v >= 3 {
            s.ask("only an id", "InitProducerId", v, &body(Value::Null, 5, -1))?;
            s.ask("only an epoch", "InitProducerId", v, &body(Value::Null, -1, 5))?;
            s.ask("both", "InitProducerId", v, &body(Value::Null, 5, 5))?;
        }
    }
    Ok(())
}

fn new_producer(s: &mut Session) -> Result<i64> {
    let body = json!({"TransactionalId": null, "TransactionTimeoutMs": 60000});
    Ok(s.quietly("InitProducerId", 4, &body)?["ProducerId"].as_i64().unwrap_or(-1))
}

fn idempotence(s: &mut Session) -> Result<()> {
    topic(s, "idem", 2)?;
    let id = new_producer(s)?;
    let other = new_producer(s)?;
    let from = |id: i64, epoch: i16, sequence: i32, count: usize| {
        let records = Batch::of(count).with(|b| b.producer = (id, epoch, sequence)).hex();
        produce_body("idem", 0, &records)
    };
    for v in [7, 9, 12] {
        let epoch = v;
        let steps: [(&str, Value); 24] = [
            ("first", from(id, epoch, 0, 2)),
            ("second", from(id, epoch, 2, 3)),
            ("second again", from(id, epoch, 2, 3)),
            ("first again", from(id, epoch, 0, 2)),
            ("part of an old one", from(id, epoch, 2, 2)),
            ("gap", from(id, epoch, 9, 1)),
            ("backwards", from(id, epoch, 1, 1)),
            ("older epoch", from(id, epoch - 1, 5, 1)),
            ("newer epoch, not from zero", from(id, epoch + 1, 5, 1)),
            ("third", from(id, epoch, 5, 1)),
            ("fourth", from(id, epoch, 6, 1)),
            ("fifth", from(id, epoch, 7, 1)),
            ("sixth", from(id, epoch, 8, 1)),
            ("seventh", from(id, epoch, 9, 1)),
            ("the last five: third", from(id, epoch, 5, 1)),
            ("beyond the last five: first", from(id, epoch, 0, 2)),
            ("newer epoch from zero", from(id, epoch + 1, 0, 1)),
            ("old epoch now", from(id, epoch, 10, 1)),
            ("unknown producer in the middle", from(777_777 + i64::from(v), 0, 5, 1)),
            ("and on", from(777_777 + i64::from(v), 0, 6, 1)),
            ("producer id -2", from(-2, 0, 0, 1)),
            ("no producer", from(-1, -1, -1, 1)),
            ("near the wrap", from(other, epoch, i32::MAX, 2)),
            ("after the wrap", from(other, epoch, 1, 1)),
        ];
        for (label, body) in steps {
            s.ask(label, "Produce", v, &body)?;
        }
    }
    let wrap = new_producer(s)?;
    for (label, sequence, count) in [
        ("to the end of the sequence", i32::MAX - 1, 1),
        ("over the wrap", i32::MAX, 3),
        ("behind the wrap", 2, 1),
        ("over the wrap again", i32::MAX, 3),
    ] {
        s.ask(label, "Produce", 9, &from(wrap, 0, sequence, count))?;
    }
    let records = Batch::of(1).with(|b| b.producer = (id, 50, 0));
    let transactional = records.with(|b| b.attributes = 0x10).hex();
    s.ask("transactional flag", "Produce", 9, &produce_body("idem", 1, &transactional))?;
    let fetch = json!({"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 0, "MaxBytes": 1_000_000, "Topics": [
        {"Topic": "idem", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1_000_000}]}]});
    s.ask("what was kept", "Fetch", 11, &fetch)?;
    Ok(())
}

fn describe(s: &mut Session) -> Result<()> {
    topic(s, "dpr", 2)?;
    let id = new_producer(s)?;
    for (sequence, count) in [(0, 2), (2, 3)] {
        let records = Batch::of(count).with(|b| b.producer = (id, 4, sequence)).hex();
        s.quietly("Produce", 9, &produce_body("dpr", 0, &records))?;
    }
    for (label, topics) in [
        ("both partitions", json!([{"Name": "dpr", "PartitionIndexes": [0, 1]}])),
        ("unknown partition", json!([{"Name": "dpr", "PartitionIndexes": [9]}])),
        ("unknown topic", json!([{"Name": "dpr-nowhere", "PartitionIndexes": [0]}])),
        ("bad name", json!([{"Name": "a/b", "PartitionIndexes": [0]}])),
        ("none", json!([])),
    ] {
        s.ask(label, "DescribeProducers", 0, &json!({"Topics": topics}))?;
    }
    Ok(())
}
