//! Produce: every version, codec and acks, and every way in which a batch may be wrong.
//!
//! Owns the validator's cases. Invariant: after the wrong ones each topic is read back, so that
//! nothing refused was kept.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, latest, produce_body, topic, topic_with, versions};
use crate::batch::{Batch, CODECS, Record, time};
use crate::codec::hex;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("produce-codecs", codecs),
    ("produce-unsupported", unsupported),
    ("produce-routing", routing),
    ("produce-wrong-batches", wrong_batches),
    ("produce-accepted-oddities", oddities),
    ("produce-topic-settings", settings),
    ("produce-old-formats", old_formats),
];

/// Reads a partition back, uncompressed summary of every batch.
fn read_back(s: &mut Session, label: &str, topic: &str, partition: i32) -> Result<()> {
    let fetch = json!({"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 0, "MaxBytes": 10_000_000, "Topics": [
        {"Topic": topic, "Partitions": [{"Partition": partition, "FetchOffset": 0, "PartitionMaxBytes": 10_000_000}]}]});
    s.ask(label, "Fetch", 11, &fetch).map(drop)
}

fn codecs(s: &mut Session) -> Result<()> {
    let id = topic(s, "pr-codecs", 1)?;
    for v in versions("Produce").iter().filter(|v| *v >= 3) {
        for (codec, number) in CODECS {
            for acks in [1, -1] {
                let records = Batch::of(3).with(|b| b.attributes = number).hex();
                let mut body = produce_body("pr-codecs", 0, &records);
                body["Acks"] = acks.into();
                if v >= 13 {
                    body["TopicData"][0]["TopicId"] = id.clone().into();
                }
                s.ask(&format!("{codec} acks {acks}"), "Produce", v, &body)?;
            }
        }
    }
    read_back(s, "all of it", "pr-codecs", 0)
}

fn unsupported(s: &mut Session) -> Result<()> {
    topic(s, "pr-unsupported", 1)?;
    for v in 0..=2 {
        s.ask(
            "advertised only",
            "Produce",
            v,
            &produce_body("pr-unsupported", 0, &Batch::of(1).hex()),
        )?;
    }
    Ok(())
}

fn routing(s: &mut Session) -> Result<()> {
    let id = topic(s, "pr-routing", 2)?;
    let good = Batch::of(1).hex();
    for v in [3, 7, 9, 12] {
        s.ask("unknown topic", "Produce", v, &produce_body("pr-nowhere", 0, &good))?;
        s.ask("unknown partition", "Produce", v, &produce_body("pr-routing", 7, &good))?;
        s.ask("negative partition", "Produce", v, &produce_body("pr-routing", -1, &good))?;
        s.ask("bad name", "Produce", v, &produce_body("a/b", 0, &good))?;
        let mut acks = produce_body("pr-routing", 0, &good);
        for wrong in [2, -2] {
            acks["Acks"] = wrong.into();
            s.ask(&format!("acks {wrong}"), "Produce", v, &acks)?;
        }
        s.ask("nothing", "Produce", v, &json!({"Acks": -1, "TimeoutMs": 1000, "TopicData": []}))?;
        let part = |index: i32| json!({"Index": index, "Records": good});
        let several = json!({"Acks": -1, "TimeoutMs": 1000, "TopicData": [
            {"Name": "pr-routing", "PartitionData": [part(0), part(1), part(9)]},
            {"Name": "pr-nowhere", "PartitionData": [part(0)]}]});
        s.ask("several", "Produce", v, &several)?;
        s.ask("no records", "Produce", v, &produce_body("pr-routing", 0, ""))?;
        let mut null = produce_body("pr-routing", 0, "");
        null["TopicData"][0]["PartitionData"][0]["Records"] = Value::Null;
        s.ask_briefly("null records", "Produce", v, &null)?;
    }
    let by_id = |id: &str| {
        let mut body = produce_body("", 0, &good);
        body["TopicData"][0] =
            json!({"TopicId": id, "PartitionData": [{"Index": 0, "Records": good}]});
        body
    };
    let v = latest("Produce");
    s.ask("by id", "Produce", v, &by_id(&id))?;
    s.ask("unknown id", "Produce", v, &by_id("0123456789abcdef0123456789abcdef"))?;
    s.ask("no id", "Produce", v, &by_id(&"0".repeat(32)))?;
    read_back(s, "after", "pr-routing", 0)
}

fn wrong_batches(s: &mut Session) -> Result<()> {
    topic(s, "pr-wrong", 1)?;
    let b = || Batch::of(3);
    let cut = |bytes: Vec<u8>, by: usize| hex(&bytes[..bytes.len() - by]);
    let cases: Vec<(&str, String)> = vec![
        ("crc", b().with(|b| b.crc_error = 1).hex()),
        ("magic 3", b().with(|b| b.magic = 3).hex()),
        ("magic -1", b().with(|b| b.magic = -1).hex()),
        ("magic 0", b().with(|b| b.magic = 0).hex()),
        ("length too short", b().with(|b| b.length_error = -5000).hex()),
        ("length one less", b().with(|b| b.length_error = -1).hex()),
        ("length one more", b().with(|b| b.length_error = 1).hex()),
        ("count too small", b().with(|b| b.count = Some(2)).hex()),
        ("count too large", b().with(|b| b.count = Some(4)).hex()),
        ("count negative", b().with(|b| b.count = Some(-1)).hex()),
        ("count zero", b().with(|b| b.count = Some(0)).hex()),
        ("last offset delta", b().with(|b| b.last_offset_delta = Some(5)).hex()),
        ("last offset delta negative", b().with(|b| b.last_offset_delta = Some(-1)).hex()),
        ("gap", b().with(|b| b.records[2].offset_delta = 5).hex()),
        ("base offset", b().with(|b| b.base_offset = 5).hex()),
        ("empty batch", b().with(|b| b.records.clear()).hex()),
        ("two batches", Batch::of(1).hex() + &Batch::of(1).hex()),
        ("control flag", b().with(|b| b.attributes = 0x20).hex()),
        ("transactional without an id", b().with(|b| b.attributes = 0x10).hex()),
        ("append time flag", b().with(|b| b.attributes = 8).hex()),
        ("codec 5", b().with(|b| b.attributes = 5).hex()),
        ("codec 7", b().with(|b| b.attributes = 7).hex()),
        ("producer id without sequence", b().with(|b| b.producer = (5, 0, -1)).hex()),
        ("producer id without epoch", b().with(|b| b.producer = (5, -1, 0)).hex()),
        (
            "payload is not gzip",
            b().with(|b| (b.attributes, b.payload) = (1, Some(vec![1; 40]))).hex(),
        ),
        (
            "payload is not snappy",
            b().with(|b| (b.attributes, b.payload) = (2, Some(vec![1; 40]))).hex(),
        ),
        (
            "payload is not lz4",
            b().with(|b| (b.attributes, b.payload) = (3, Some(vec![1; 40]))).hex(),
        ),
        (
            "payload is not zstd",
            b().with(|b| (b.attributes, b.payload) = (4, Some(vec![1; 40]))).hex(),
        ),
        ("payload is not records", b().with(|b| b.payload = Some(vec![0xff; 40])).hex()),
        ("cut in the header", cut(b().encode(), b().encode().len() - 20)),
        ("cut in the records", cut(b().encode(), 4)),
        ("eleven bytes", hex(&b().encode()[..11])),
        ("garbage", "ab".repeat(100)),
        ("far future", b().with(|b| b.base_timestamp = time() + 400 * 86_400_000).hex()),
        ("further future", b().with(|b| b.base_timestamp = 32_503_680_000_000).hex()),
    ];
    for v in [3, 8, 12] {
        for (label, records) in &cases {
            s.ask(label, "Produce", v, &produce_body("pr-wrong", 0, records))?;
        }
    }
    for v in [3, 6] {
        s.ask(
            "zstd too early",
            "Produce",
            v,
            &produce_body("pr-wrong", 0, &b().with(|b| b.attributes = 4).hex()),
        )?;
    }
    read_back(s, "what was kept", "pr-wrong", 0)
}

fn oddities(s: &mut Session) -> Result<()> {
    topic(s, "pr-odd", 1)?;
    let b = || Batch::of(3);
    let plain = |key: Option<&[u8]>, value: Option<&[u8]>| Record {
        offset_delta: 0,
        timestamp_delta: 0,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    };
    for (label, records) in [
        ("leader epoch", b().with(|b| b.leader_epoch = 99).hex()),
        ("unknown attribute bits", b().with(|b| b.attributes = 0x100).hex()),
        ("max timestamp", b().with(|b| b.max_timestamp = Some(5)).hex()),
        ("trailing bytes", b().hex() + "0102030405060708"),
        ("backward deltas", b().with(|b| b.records.reverse()).hex()),
        ("sequence without a producer id", b().with(|b| b.producer = (-1, -1, 3)).hex()),
        (
            "timestamp -1",
            b().with(|b| (b.base_timestamp, b.records) = (-1, vec![plain(None, None)])).hex(),
        ),
        ("timestamp 0", b().with(|b| b.base_timestamp = 0).hex()),
        ("nulls", b().with(|b| b.records = vec![plain(None, None)]).hex()),
        ("empty", b().with(|b| b.records = vec![plain(Some(b""), Some(b""))]).hex()),
        ("900 kB", b().with(|b| b.records = vec![plain(None, Some(&vec![7; 900_000]))]).hex()),
        ("too large", b().with(|b| b.records = vec![plain(None, Some(&vec![7; 1_100_000]))]).hex()),
    ] {
        s.ask(label, "Produce", 9, &produce_body("pr-odd", 0, &records))?;
    }
    read_back(s, "what was kept", "pr-odd", 0)
}

fn settings(s: &mut Session) -> Result<()> {
    topic_with(s, "pr-append", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    topic_with(s, "pr-compact", 1, &[("cleanup.policy", "compact")])?;
    topic_with(
        s,
        "pr-bounds",
        1,
        &[("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")],
    )?;
    topic_with(s, "pr-small", 1, &[("max.message.bytes", "200")])?;
    let b = || Batch::of(2);
    let keyless = b().with(|b| b.records[1].key = None);
    let minus = b()
        .with(|b| (b.base_timestamp, b.max_timestamp) = (-1, Some(-1)))
        .with(|b| b.records.iter_mut().for_each(|r| r.timestamp_delta = 0));
    let many = Batch::of(20);
    for (label, topic, batch) in [
        ("append time", "pr-append", b()),
        ("append time, compressed", "pr-append", b().with(|b| b.attributes = 1)),
        ("append time flag from the client", "pr-append", b().with(|b| b.attributes = 8)),
        ("append time, old", "pr-append", b().with(|b| b.base_timestamp = 5)),
        ("compact", "pr-compact", b()),
        ("compact without a key", "pr-compact", keyless),
        ("outside of the bounds", "pr-bounds", b()),
        ("timestamp -1", "pr-bounds", minus),
        ("too large", "pr-small", many),
        ("small enough", "pr-small", Batch::of(1)),
    ] {
        for v in [7, 9] {
            s.ask(label, "Produce", v, &produce_body(topic, 0, &batch.hex()))?;
        }
    }
    for (codec, _) in CODECS {
        let name = format!("pr-to-{codec}");
        let codec = if codec == "none" { "uncompressed" } else { codec };
        topic_with(s, &name, 1, &[("compression.type", codec)])?;
        for (label, from) in CODECS {
            let records = Batch::of(3).with(|b| b.attributes = from).hex();
            s.ask(&format!("{label} to {codec}"), "Produce", 9, &produce_body(&name, 0, &records))?;
        }
        let fetch = json!({"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 0, "MaxBytes": 10_000_000, "Topics": [
            {"Topic": name, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 10_000_000}]}]});
        s.ask("recompressed", "Fetch", 11, &fetch)?;
    }
    read_back(s, "append time", "pr-append", 0)?;
    read_back(s, "compact", "pr-compact", 0)?;
    read_back(s, "bounds", "pr-bounds", 0)?;
    read_back(s, "small", "pr-small", 0)
}

/// Messages of magic 0 and 1, which only old Produce versions may carry.
fn old_formats(s: &mut Session) -> Result<()> {
    topic(s, "pr-old", 1)?;
    // offset, size, crc (wrong on purpose is not needed: the version alone decides), magic,
    // attributes, [time], key, value.
    let message = |magic: u8| {
        let mut body = vec![magic, 0];
        if magic == 1 {
            body.extend(time().to_be_bytes());
        }
        body.extend((-1_i32).to_be_bytes());
        body.extend(3_i32.to_be_bytes());
        body.extend(b"abc");
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        let mut out = 0_i64.to_be_bytes().to_vec();
        out.extend((body.len() as i32 + 4).to_be_bytes());
        out.extend(crc.sum().to_be_bytes());
        out.extend(body);
        out
    };
    for v in [3, 9] {
        for magic in [0, 1] {
            s.ask(
                &format!("magic {magic}"),
                "Produce",
                v,
                &produce_body("pr-old", 0, &hex(&message(magic))),
            )?;
        }
    }
    read_back(s, "nothing", "pr-old", 0)
}
