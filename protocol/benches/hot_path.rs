//! What a produced batch and a fetch answer cost: `cargo bench -p ottla-protocol --profile profiling`.
//!
//! Owns: times per operation and per byte. Never: judges them; a time on a shared machine is no
//! test. Invariant: each line also counts allocations, which are the same on every machine.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_allocations::Counting;
use ottla_protocol::frame::{ResponseHead, encode_request, parse_request};
use ottla_protocol::guard::{Admitted, check};
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::*;
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::validate::ValidationRules;
use ottla_protocol::records::{Batch, BatchBuilder, Codec, NewRecord, TimestampType, validate};
use ottla_protocol::rope::Rope;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f` for half a second; the best of many rounds is what the code costs, the rest is the
/// machine's.
fn bench<T>(name: &str, bytes: usize, mut f: impl FnMut() -> T) {
    for _ in 0..3 {
        black_box(f());
    }
    let start = Instant::now();
    let (mut best, mut rounds) = (Duration::MAX, 0u64);
    let allocations = ottla_allocations::calls();
    while start.elapsed() < Duration::from_millis(500) {
        let round = Instant::now();
        black_box(f());
        best = best.min(round.elapsed());
        rounds += 1;
    }
    let allocations = ottla_allocations::calls() - allocations;
    let nanos = best.as_nanos() as f64;
    println!(
        "{name:48} {nanos:>12.0} ns {:>8.2} GB/s {:>8.1} allocations",
        bytes as f64 / nanos,
        allocations as f64 / rounds as f64,
    );
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Half noise, half text: compresses to about half.
fn batch(codec: Codec, record: usize, total: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec.into());
    let mut state = 1u64;
    while builder.size() < total {
        let value: Vec<u8> = (0..record)
            .map(|n| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if n % 2 == 0 { (state >> 56) as u8 } else { b'a' }
            })
            .collect();
        let record = NewRecord { value: Some(&value), ..NewRecord::at(NOW) };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("it builds")
}

fn validation() {
    let rules = ValidationRules { batch_bytes_max: 64 << 20, ..ValidationRules::default() };
    let append_time = ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    for (record, total) in [(1_000, 1_000), (100, 16_000), (100, 1_000_000), (1_000, 1_000_000)] {
        let bytes = batch(Codec::None, record, total);
        let name = format!("{total} B of {record} B records");
        bench(&format!("crc {name}"), bytes.len(), || {
            Batch::parse(&bytes).expect("a batch").check_crc()
        });
        bench(&format!("validate {name}"), bytes.len(), || validate(&bytes, &rules, NOW));
        bench(&format!("validate, append time, {name}"), bytes.len(), || {
            validate(&bytes, &append_time, Timestamp(NOW.0 + 1))
        });
    }
    for codec in Codec::ALL {
        for (record, total) in [(100, 16_000), (1_000, 1_000_000)] {
            let bytes = batch(codec, record, total);
            bench(&format!("validate {total} B of {record} B, {codec}"), total, || {
                validate(&bytes, &rules, NOW)
            });
        }
    }
}

fn requests() {
    for (name, total) in [("1 KB", 1_000), ("1 MB", 1_000_000)] {
        let records = batch(Codec::None, 100, total);
        let partition = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(TopicName("orders".into()))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
        let frame = encode_request(12, 1, Some("bench"), &request).expect("encodable").slice(4..);
        let body = parse_request(&frame).expect("sound").body;
        bench(&format!("guard Produce {name}"), frame.len(), || check(0, 12, &body));
        bench(&format!("header, guard, decode Produce {name}"), frame.len(), || {
            let request = parse_request(&frame).expect("sound");
            let admitted = Admitted::new(0, request.head.api_version, request.body);
            admitted.expect("sound").decode::<ProduceRequest>()
        });
    }
    let topics: Vec<_> = (0..1_000)
        .map(|n| {
            let name = TopicName(StrBytes::from_string(format!("topic-{n}")));
            metadata_request::MetadataRequestTopic::default().with_name(Some(name))
        })
        .collect();
    let request = MetadataRequest::default().with_topics(Some(topics));
    let frame = encode_request(12, 1, Some("bench"), &request).expect("encodable").slice(4..);
    let body = parse_request(&frame).expect("sound").body;
    bench("guard Metadata of 1000 topics", body.len(), || check(3, 12, &body));
    bench("guard, decode Metadata of 1000 topics", body.len(), || {
        decode_request::<MetadataRequest>(12, body.clone())
    });
}

fn fetch() {
    let head = ResponseHead { correlation_id: 1, flexible: true };
    for (partitions, size) in [(1, 1_000_000), (100, 16_000), (100, 0)] {
        let records = Bytes::from(vec![7; size]);
        let partitions: Vec<_> = (0..partitions)
            .map(|index| {
                PartitionData::default()
                    .with_partition_index(index)
                    .with_records(Some(records.clone()))
            })
            .collect();
        let kept: Vec<Bytes> = partitions.iter().filter_map(|p| p.records.clone()).collect();
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let name = format!("Fetch of {} x {size} B", kept.len());
        let total = kept.len() * size;
        bench(&format!("{name}, rope"), total, || {
            let mut rope = Rope::<Infallible>::new();
            kept.iter().for_each(|bytes| rope.keep(bytes));
            rope.encode(head, &response, 16)
        });
        bench(&format!("{name}, flat"), total, || {
            Rope::<Infallible>::new().encode(head, &response, 16)
        });
    }
}

fn main() {
    validation();
    requests();
    fetch();
}
