//! The scripted rdkafka (Rust) client. Usage: `compat-rdkafka BOOTSTRAP [CASE...]`.
//!
//! Owns the cases of one client; prints one JSON line per case and asks the runner for restarts (see `check.py`).
//! Never decides what a failure means: the runner counts. Invariant: a case uses topics and groups of its own.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::panic::catch_unwind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(50);

/// Stops the case when a record could not be delivered.
struct Delivered;

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("not delivered: {error}");
        }
    }
}

fn bootstrap() -> String {
    std::env::args().nth(1).expect("usage: compat-rdkafka BOOTSTRAP [CASE...]")
}

fn unique(prefix: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    format!("{prefix}-{}", now.as_nanos())
}

fn client(settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

fn producer(settings: &[(&str, &str)]) -> BaseProducer<Delivered> {
    client(settings).set("acks", "all").create_with_context(Delivered).expect("a producer")
}

fn consumer(group: &str) -> BaseConsumer {
    client(&[
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("topic.metadata.refresh.interval.ms", "500"),
    ])
    .create()
    .expect("a consumer")
}

fn values(count: usize, prefix: &str) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

fn send(producer: &BaseProducer<Delivered>, topic: &str, list: &[String]) {
    for value in list {
        let record = BaseRecord::to(topic).partition(0).key("k").payload(value.as_str());
        producer.send(record).map_err(|(error, _)| error).expect("queued");
        producer.poll(Duration::ZERO);
    }
    producer.flush(LIMIT).expect("flushed");
}

/// `count` records, and not one more within a moment.
fn read(consumer: &BaseConsumer, count: usize) -> Vec<(i64, String)> {
    let deadline = Instant::now() + LIMIT;
    let mut got = Vec::new();
    while got.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records in time", got.len());
        if let Some(message) = consumer.poll(TICK) {
            // A subscription to a topic which the client does not know yet is told so first.
            let Ok(message) = message else { continue };
            let text = String::from_utf8_lossy(message.payload().expect("a value")).into_owned();
            got.push((message.offset(), text));
        }
    }
    assert!(consumer.poll(TICK * 6).is_none(), "one record too many");
    got
}

fn assigned(topic: &str, offset: Offset) -> BaseConsumer {
    let consumer = consumer(&unique("g"));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset).expect("an offset");
    consumer.assign(&list).expect("assigned");
    consumer
}

fn texts(records: &[(i64, String)]) -> Vec<String> {
    records.iter().map(|(_, text)| text.clone()).collect()
}

fn produce_consume() {
    let topic = unique("rust-plain");
    send(&producer(&[]), &topic, &values(1000, "v"));
    let consumer = consumer(&unique("g"));
    consumer.subscribe(&[&topic]).expect("subscribed");
    let got = read(&consumer, 1000);
    assert_eq!(texts(&got), values(1000, "v"));
    assert_eq!(got[999].0, 999);
}

fn codecs() {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let topic = unique("rust-codec");
        send(&producer(&[("compression.type", codec), ("linger.ms", "20")]), &topic, &values(500, "compress me "));
        assert_eq!(texts(&read(&assigned(&topic, Offset::Beginning), 500)), values(500, "compress me "), "{codec}");
    }
}

fn idempotent() {
    let topic = unique("rust-idempotent");
    send(&producer(&[("enable.idempotence", "true"), ("linger.ms", "0")]), &topic, &values(2000, "v"));
    assert_eq!(texts(&read(&assigned(&topic, Offset::Beginning), 2000)), values(2000, "v"));
}

fn held(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer.assignment().expect("an assignment").elements().iter().map(|e| e.partition()).collect()
}

fn until(members: &[&BaseConsumer], wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !wanted() {
        let held: Vec<_> = members.iter().map(|m| held(m)).collect();
        assert!(Instant::now() < deadline, "the group did not settle: {held:?}");
        for member in members {
            member.poll(TICK);
        }
    }
}

fn rebalance() {
    let (topic, group) = (unique("rust-rebalance"), unique("g"));
    send(&producer(&[]), &topic, &values(1, "v"));
    let one = consumer(&group);
    let metadata = one.fetch_metadata(Some(&topic), LIMIT).expect("metadata");
    let all: BTreeSet<i32> = (0..metadata.topics()[0].partitions().len() as i32).collect();
    one.subscribe(&[&topic]).expect("subscribed");
    until(&[&one], || held(&one) == all);
    let two = consumer(&group);
    two.subscribe(&[&topic]).expect("subscribed");
    let settled = || {
        let (a, b) = (held(&one), held(&two));
        a.is_disjoint(&b) && &a | &b == all && (all.len() == 1 || !a.is_empty() && !b.is_empty())
    };
    if all.len() > 1 {
        until(&[&one, &two], settled);
    }
    drop(two);
    until(&[&one], || held(&one) == all);
}

fn seek() {
    let topic = unique("rust-seek");
    let producer = producer(&[]);
    let start = 1_700_000_000_000_i64;
    for i in 0..100 {
        let (value, time) = (format!("v{i}"), start + i * 1000);
        let record = BaseRecord::to(&topic).partition(0).key("k").payload(&value).timestamp(time);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(LIMIT).expect("flushed");
    let consumer = assigned(&topic, Offset::Beginning);
    read(&consumer, 100);
    consumer.seek(&topic, 0, Offset::Offset(42), LIMIT).expect("sought");
    assert_eq!(texts(&read(&consumer, 58))[0], "v42");
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(&topic, 0, Offset::Offset(start + 69_500)).expect("a time");
    let found = consumer.offsets_for_times(times, LIMIT).expect("offsets");
    assert_eq!(found.elements()[0].offset(), Offset::Offset(70));
    assert_eq!(consumer.fetch_watermarks(&topic, 0, LIMIT).expect("watermarks"), (0, 100));
}

fn restart() {
    let (topic, group) = (unique("rust-restart"), unique("g"));
    let producer = producer(&[("enable.idempotence", "true")]);
    let consumer = consumer(&group);
    send(&producer, &topic, &values(500, "v"));
    consumer.subscribe(&[&topic]).expect("subscribed");
    let mut got = read(&consumer, 500);
    consumer.commit_consumer_state(CommitMode::Sync).expect("committed");
    println!("{}", serde_json::json!({"ask": "restart"}));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).expect("the runner's answer");
    assert_eq!(answer.trim(), "restarted");
    send(&producer, &topic, &values(500, "w"));
    got.extend(read(&consumer, 500));
    assert_eq!(texts(&got), [values(500, "v"), values(500, "w")].concat());
    assert_eq!(got[999].0, 999);
}

fn main() {
    let only: Vec<String> = std::env::args().skip(2).collect();
    let cases: [(&str, fn()); 6] = [
        ("produce-consume", produce_consume),
        ("codecs", codecs),
        ("idempotent", idempotent),
        ("rebalance", rebalance),
        ("seek", seek),
        ("restart", restart),
    ];
    for (name, case) in cases {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        let began = Instant::now();
        let detail = match catch_unwind(case) {
            Ok(()) => String::new(),
            Err(panic) => match panic.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => panic.downcast_ref::<&str>().unwrap_or(&"panicked").to_string(),
            },
        };
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{}",
            serde_json::json!({"case": name, "ok": detail.is_empty(), "seconds": seconds, "detail": detail})
        );
        std::io::stdout().flush().expect("standard output");
    }
}
