//! `ottla topic offsets`.
//!
//! Owns: start, end, stable end and the offset at a time, per partition. Never: reads records.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::client::offsets::{
    self, Answers, EARLIEST, Isolation, LATEST, MAX_TIMESTAMP, Partition,
};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::select::TopicPartitions;
use crate::{rows, select, units};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("START", "start"),
    Column::number("END", "end"),
    Column::number("STABLE", "stable").wide(),
    Column::number("RECORDS", "records"),
    Column::of("NEWEST", "newest_time", Kind::Time).wide(),
    Column::number("AT", "at"),
    Column::of("AT-TIME", "at_time", Kind::Time).wide(),
];

#[derive(Args, Debug)]
pub(crate) struct OffsetsArgs {
    /// Topics, as NAME or NAME:PARTITIONS
    #[arg(required = true, value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Also the first offset at or after this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
}

#[derive(Serialize, Debug)]
struct Item {
    topic: String,
    partition: i32,
    start: Option<i64>,
    end: Option<i64>,
    /// Where readers of committed records stop.
    stable: Option<i64>,
    records: Option<i64>,
    newest_time: Option<i64>,
    at: Option<i64>,
    at_time: Option<i64>,
}

pub(super) async fn run(context: &Context, args: &OffsetsArgs) -> Result<Report, Failure> {
    let clock = Context::clock();
    let at = args.at.as_deref().map(|text| {
        let plain = text.strip_prefix('@').unwrap_or(text);
        units::parse_time(plain, clock.now_ms, &clock.zone).ok_or_else(|| {
            Failure::usage(format!("--at {text}: write RFC 3339, a date, epoch or -1h"))
        })
    });
    let at = at.transpose()?;
    let wanted = TopicPartitions::parse_all(&args.topics)?;
    let client = context.client().await?;
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.topic.clone()).collect();
    let selection = select::topics(&client, &names).await?;
    let mut failures = selection.failures;
    let mut partitions: Vec<Partition> = Vec::new();
    for topic in &selection.topics {
        match select::partitions_of(topic, &wanted) {
            Ok(of_topic) => partitions.extend(of_topic),
            Err(failure) => failures.push(failure),
        }
    }
    let ask = async |time: i64, isolation: Isolation| {
        let questions: BTreeMap<Partition, i64> =
            partitions.iter().map(|partition| (partition.clone(), time)).collect();
        offsets::list(&client, &questions, isolation).await
    };
    let plain = Isolation::ReadUncommitted;
    let starts = ask(EARLIEST, plain).await?;
    let ends = ask(LATEST, plain).await?;
    let stables = ask(LATEST, Isolation::ReadCommitted).await?;
    let newest = ask(MAX_TIMESTAMP, plain).await?;
    let at_times = match at {
        Some(time) => Some(ask(time, plain).await?),
        None => None,
    };
    let mut items = Vec::new();
    for partition in &partitions {
        if let Some(Err(code)) = ends.get(partition) {
            failures.push(Failure::partition(partition, *code));
            continue;
        }
        let found = |answers: &Answers| {
            answers.get(partition).and_then(|answer| answer.as_ref().ok().copied())
        };
        let (start, end) = (found(&starts).map(|o| o.offset), found(&ends).map(|o| o.offset));
        let at = at_times.as_ref().and_then(&found);
        items.push(Item {
            topic: partition.0.clone(),
            partition: partition.1,
            start,
            end,
            stable: found(&stables).map(|answer| answer.offset),
            records: end.zip(start).map(|(end, start)| end - start),
            newest_time: found(&newest).map(|answer| answer.timestamp).filter(|time| *time >= 0),
            at: at.map(|answer| answer.offset).filter(|offset| *offset >= 0),
            at_time: at.map(|answer| answer.timestamp).filter(|time| *time >= 0),
        });
    }
    Ok(Report::table("topic offsets", COLUMNS, rows::all(&items)).with_errors(failures))
}
