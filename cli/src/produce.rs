//! `ottla produce TOPIC`: lines or JSON Lines from stdin become records.
//!
//! Owns: reading the input and what a line means. Never: batches or retries (the client's producer
//! does). Invariant: lines arrive byte for byte and in order; the report counts what was
//! acknowledged.

mod input;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::{Codec, Compression, NewRecord};
use serde::Serialize;

use crate::client::Client;
use crate::client::metadata::TopicView;
use crate::client::producer::{Acks, Producer, ProducerSettings, Sent, Target};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Format, Kind, Report};
use crate::progress::Progress;
use crate::record::json;
use crate::settings::Settings;
use crate::{rows, select};

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("RECORDS", "records"),
    Column::number("FIRST-OFFSET", "first_offset"),
    Column::number("LAST-OFFSET", "last_offset"),
    Column::of("BYTES", "bytes", Kind::Bytes),
];

/// Bytes of a batch before compression: half of the broker's default limit.
const BATCH_BYTES: i32 = 512 << 10;

#[derive(Args, Debug)]
pub(crate) struct ProduceArgs {
    topic: String,
    /// Send everything to this partition
    #[arg(long, short)]
    partition: Option<i32>,
    /// What separates key and value in a line; without it lines are values
    #[arg(long, short = 'k', value_name = "SEPARATOR", allow_hyphen_values = true)]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header of every record; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// A value that is this text becomes null (a tombstone)
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// none, gzip, snappy, lz4, zstd; with a level as in zstd:9
    #[arg(long, short = 'z', value_name = "CODEC[:LEVEL]")]
    compression: Option<String>,
    /// 0, 1 or all
    #[arg(long)]
    acks: Option<String>,
    /// What stdin holds; --format json implies json
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Choose partitions anew instead of those in JSON records
    #[arg(long)]
    repartition: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Input {
    /// One record per line
    Lines,
    /// One record per line, as `consume --format json` writes it
    Json,
}

#[derive(Serialize, Debug)]
struct Item {
    topic: String,
    partition: i32,
    records: i64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
    bytes: i64,
}

pub(crate) async fn run(context: &Context, args: &ProduceArgs) -> Result<Report, Failure> {
    let settings = producer_settings(&context.settings, args)?;
    let lines = LineReader::new(args, context.format)?;
    let client = context.client().await?;
    let topic = existing_topic(&client, &args.topic).await?;
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let mut producer = Producer::open(client, &args.topic, partitions, settings).await?;
    let mut input = input::start();
    let mut progress = Progress::new("produced", None);
    let mut number = 0u64;
    while let Some(chunk) = input.recv().await {
        let chunk = chunk.map_err(|error| {
            Failure::usage(format!("stdin cannot be read: {error}")).about(&args.topic)
        })?;
        let mut bytes = 0;
        for line in chunk.lines() {
            number += 1;
            bytes += line.len() as u64;
            if let Err(failure) = lines.push(line, number, &mut producer).await {
                // What came before the mistake is sent; the report says how far it went.
                return Ok(end(&args.topic, producer, vec![failure]).await);
            }
        }
        progress.add(chunk.lines().count() as u64, bytes);
        // Nothing more is waiting: send what there is instead of waiting for company.
        if input.is_empty()
            && producer.holds_records()
            && let Err(error) = producer.flush().await
        {
            return Ok(end(&args.topic, producer, vec![error.into()]).await);
        }
    }
    drop(progress);
    Ok(end(&args.topic, producer, Vec::new()).await)
}

/// The report of what was acknowledged, and of what went wrong before and at the end.
async fn end(topic: &str, producer: Producer, mut failures: Vec<Failure>) -> Report {
    let (sent, ended) = producer.finish().await;
    failures.extend(ended.err().map(Failure::from));
    let mut report = report(&items(topic, sent));
    if !failures.is_empty() {
        report.notes.retain(|_| !report.items.is_empty());
    }
    report.with_errors(failures)
}

fn items(topic: &str, sent: BTreeMap<i32, Sent>) -> Vec<Item> {
    let known = |offset: i64| (offset >= 0).then_some(offset);
    sent.into_iter()
        .map(|(partition, sent)| Item {
            topic: topic.to_owned(),
            partition,
            records: sent.records,
            first_offset: known(sent.first_offset),
            last_offset: known(sent.last_offset),
            bytes: sent.bytes,
        })
        .collect()
}

/// For people the summary goes to stderr: stdout belongs to data, and `produce` has none.
fn report(items: &[Item]) -> Report {
    let mut report = Report::table("produce", COLUMNS, rows::all(items));
    report.text = Some(String::new());
    for item in items {
        let plural = if item.records == 1 { "record" } else { "records" };
        let place = match (item.first_offset, item.last_offset) {
            (Some(first), Some(last)) if first == last => format!(" at offset {first}"),
            (Some(first), Some(last)) => format!(" at offsets {first} to {last}"),
            _ => ", not acknowledged (acks=0)".to_owned(),
        };
        let target = format!("{}-{}", item.topic, item.partition);
        report.notes.push(format!("{} {plural} to {target}{place}", item.records));
    }
    if items.is_empty() {
        report.notes.push("no record: stdin was empty".to_owned());
    }
    report
}

/// The topic; brokers that create topics on first use are given the time to.
async fn existing_topic(client: &Arc<Client>, name: &str) -> Result<TopicView, Failure> {
    if let Some(topic) = client.topic_for_produce(name).await? {
        return Ok(topic);
    }
    let view = client.metadata(None).await?;
    let failure = select::no_such_topic(name, &view);
    Err(match failure.fix.as_deref() {
        Some(hint) if hint.starts_with("did") => failure,
        _ => failure.fix(format!("create it with `ottla topic create {name}`")),
    })
}

fn producer_settings(settings: &Settings, args: &ProduceArgs) -> Result<ProducerSettings, Failure> {
    let acks = match args.acks.as_deref().or_else(|| settings.get("acks")).unwrap_or("all") {
        "0" => Acks::None,
        "1" => Acks::Leader,
        "all" | "-1" => Acks::All,
        other => return Err(Failure::usage(format!("acks={other}: write 0, 1 or all"))),
    };
    let codec = args.compression.as_deref().or_else(|| settings.get("compression.type"));
    let compression = compression(codec.unwrap_or("none"))?;
    let idempotent = settings.switch("enable.idempotence")?;
    if idempotent == Some(true) && acks != Acks::All {
        return Err(Failure::usage("enable.idempotence=true needs acks=all"));
    }
    let batch_bytes = settings.bytes("batch.size", BATCH_BYTES)?;
    Ok(ProducerSettings {
        acks,
        compression,
        batch_bytes: usize::try_from(batch_bytes).unwrap_or(0),
        idempotent: idempotent.unwrap_or(acks == Acks::All),
    })
}

fn compression(text: &str) -> Result<Compression, Failure> {
    let (name, level) = text.split_once(':').unwrap_or((text, ""));
    let wrong = || {
        Failure::usage(format!("compression {text}: write none, gzip, snappy, lz4 or zstd[:LEVEL]"))
    };
    let codec = Codec::from_name(name).ok_or_else(wrong)?;
    let level = match level {
        "" => None,
        level => Some(level.parse().map_err(|_| wrong())?),
    };
    Ok(Compression::new(codec, level))
}

/// The parts of a line.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// What a line of stdin means.
#[derive(Debug)]
struct LineReader {
    json: bool,
    repartition: bool,
    partition: Option<i32>,
    separator: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    null: Option<Vec<u8>>,
    headers: Vec<(String, String)>,
}

impl LineReader {
    fn new(args: &ProduceArgs, format: Format) -> Result<Self, Failure> {
        let headers: Result<Vec<_>, Failure> = args
            .headers
            .iter()
            .map(|text| {
                let split = text.split_once('=');
                let (name, value) = split
                    .ok_or_else(|| Failure::usage(format!("--header {text}: write NAME=VALUE")))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect();
        let implied = if format == Format::Json { Input::Json } else { Input::Lines };
        let separator = args.key_separator.as_deref().map(unescape);
        if separator.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::usage("--key-separator cannot be empty"));
        }
        Ok(Self {
            json: args.input.unwrap_or(implied) == Input::Json,
            repartition: args.repartition,
            partition: args.partition,
            separator,
            key: args.key.as_ref().map(|key| key.clone().into_bytes()),
            null: args.null.as_ref().map(|text| text.clone().into_bytes()),
            headers: headers?,
        })
    }

    async fn push(&self, line: &[u8], number: u64, producer: &mut Producer) -> Result<(), Failure> {
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        if self.json {
            return self.push_json(line, number, now, producer).await;
        }
        let (key, value) = self.split(line, number)?;
        let headers: Vec<(&str, Option<&[u8]>)> = self.own_headers().collect();
        let target = self.partition.map_or(Target::Any, Target::Partition);
        let record = NewRecord { timestamp: now, key, value, headers: &headers };
        Ok(producer.push(target, record).await?)
    }

    async fn push_json(
        &self,
        line: &[u8],
        number: u64,
        now: Timestamp,
        producer: &mut Producer,
    ) -> Result<(), Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let record = json::parse(line).map_err(|error| {
            Failure::usage(format!("line {number} of stdin: {error}"))
                .fix("--input lines takes lines as they are")
        })?;
        let mut headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        headers.extend(self.own_headers());
        let kept = if self.repartition { None } else { record.partition };
        let target = self.partition.or(kept).map_or(Target::Any, Target::Partition);
        let timestamp = record.timestamp.filter(|time| *time >= 0).map_or(now, Timestamp);
        let key = record.key.as_deref().or(self.key.as_deref());
        let new = NewRecord { timestamp, key, value: record.value.as_deref(), headers: &headers };
        Ok(producer.push(target, new).await?)
    }

    fn own_headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
    }

    fn split<'a>(&'a self, line: &'a [u8], number: u64) -> Result<KeyValue<'a>, Failure> {
        let (key, value) = match &self.separator {
            None => (self.key.as_deref(), line),
            Some(separator) => {
                let at = line.windows(separator.len()).position(|window| window == separator);
                let at = at.ok_or_else(|| {
                    let text = String::from_utf8_lossy(separator).into_owned();
                    Failure::usage(format!("line {number} of stdin has no {text:?} after a key"))
                })?;
                (Some(&line[..at]), &line[at + separator.len()..])
            }
        };
        let null = self.null.as_deref() == Some(value);
        Ok((key, (!null).then_some(value)))
    }
}

/// `\t`, `\n`, `\0` and `\\` in a separator.
fn unescape(text: &str) -> Vec<u8> {
    let text = text.replace("\\\\", "\u{0}\u{0}");
    let text = text.replace("\\t", "\t").replace("\\n", "\n").replace("\\0", "\0");
    text.replace("\u{0}\u{0}", "\\").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(separator: Option<&str>, null: Option<&str>) -> LineReader {
        LineReader {
            json: false,
            repartition: false,
            partition: None,
            separator: separator.map(unescape),
            key: None,
            null: null.map(|text| text.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn lines_split_at_the_first_separator() {
        let split = |reader: &LineReader, line: &[u8]| {
            let (key, value) = reader.split(line, 1).expect("a record");
            (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec))
        };
        let owned = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(split(&reader(None, None), b"a:b"), (None, owned("a:b")));
        assert_eq!(split(&reader(Some(":"), None), b"a:b:c"), (owned("a"), owned("b:c")));
        assert_eq!(split(&reader(Some("\\t"), Some("-")), b"a\t-"), (owned("a"), None));
        assert!(reader(Some(":"), None).split(b"ab", 7).is_err());
    }

    #[test]
    fn codecs_have_levels() {
        assert_eq!(compression("zstd:9").expect("known"), Compression::new(Codec::Zstd, Some(9)));
        assert_eq!(compression("none").expect("known"), Compression::NONE);
        assert!(compression("rar").is_err());
        assert!(compression("zstd:high").is_err());
    }
}
