//! `ottla topic trim`.
//!
//! Owns: the plan (which records go) and the deletion of records. Never: deletes without consent.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::client::offsets::{self, EARLIEST, Isolation, LATEST, Partition};
use crate::client::{Client, admin};
use crate::context::{Consent, Context, Danger};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::position::{Bounds, Position};
use crate::select::{Selection, TopicPartitions};
use crate::{rows, select};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("START", "start"),
    Column::number("NEW-START", "new_start"),
    Column::number("END", "end"),
    Column::number("DELETED", "deleted"),
];

#[derive(Args, Debug)]
pub(crate) struct TrimArgs {
    /// TOPIC or TOPIC:PARTITIONS
    #[arg(value_name = "TOPIC[:PARTITIONS]")]
    topic: String,
    /// The first record to keep: an offset, +N, -N, end, or @TIME
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    before: String,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Serialize, Clone, Debug)]
struct Item {
    topic: String,
    partition: i32,
    start: i64,
    new_start: i64,
    end: i64,
    deleted: i64,
}

pub(super) async fn run(context: &Context, args: &TrimArgs) -> Result<Report, Failure> {
    let place = Position::parse(&args.before, &Context::clock()).map_err(Failure::usage)?;
    let wanted = TopicPartitions::parse(&args.topic)?;
    let client = context.client().await?;
    let selection = select::topics(&client, std::slice::from_ref(&wanted.topic)).await?;
    let (items, mut failures) = plan(&client, &selection, &wanted, place).await?;
    failures.extend(selection.failures);
    let report = |items: &[Item]| Report::table("topic trim", COLUMNS, rows::all(items));
    let going: Vec<&Item> = items.iter().filter(|item| item.deleted > 0).collect();
    if going.is_empty() {
        let note = "no record lies before that place; nothing to do";
        let empty = report(&items).with_errors(failures);
        return Ok(if empty.errors.is_empty() { empty.note(note) } else { empty });
    }
    let records: i64 = going.iter().map(|item| item.deleted).sum();
    let question = format!("Delete {records} records");
    match context.consent(report(&items), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(answer.with_errors(failures)),
        Consent::Given => {}
    }
    let before = going.iter().map(|item| ((item.topic.clone(), item.partition), item.new_start));
    let answers = admin::delete_records(&client, &selection.view, &before.collect()).await?;
    let mut done = Vec::new();
    for item in &items {
        match answers.get(&(item.topic.clone(), item.partition)) {
            Some(Ok(low)) => done.push(Item { new_start: *low, ..item.clone() }),
            Some(Err(code)) => {
                let target = format!("{}-{}", item.topic, item.partition);
                failures.push(Failure::refused(target, *code, None));
            }
            None => done.push(item.clone()),
        }
    }
    Ok(report(&done).with_errors(failures))
}

async fn plan(
    client: &Arc<Client>,
    selection: &Selection,
    wanted: &TopicPartitions,
    place: Position,
) -> Result<(Vec<Item>, Vec<Failure>), Failure> {
    let mut partitions: Vec<Partition> = Vec::new();
    for topic in &selection.topics {
        let indexes = wanted.within(topic)?;
        partitions.extend(indexes.into_iter().map(|index| (topic.name.clone(), index)));
    }
    let ask = async |time: i64| {
        let questions: BTreeMap<Partition, i64> =
            partitions.iter().map(|partition| (partition.clone(), time)).collect();
        offsets::list(client, &questions, Isolation::ReadUncommitted).await
    };
    let starts = ask(EARLIEST).await?;
    let ends = ask(LATEST).await?;
    let times = match place.time() {
        Some(time) => Some(ask(time).await?),
        None => None,
    };
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for partition in &partitions {
        let (start, end) = match (starts.get(partition), ends.get(partition)) {
            (Some(Ok(start)), Some(Ok(end))) => (start.offset, end.offset),
            (Some(Err(code)), _) | (_, Some(Err(code))) => {
                let target = format!("{}-{}", partition.0, partition.1);
                failures.push(Failure::refused(target, *code, None));
                continue;
            }
            _ => continue,
        };
        let at_time = times.as_ref().and_then(|answers| answers.get(partition));
        let at_time = at_time.and_then(|answer| answer.as_ref().ok()).map(|found| found.offset);
        let bounds = Bounds { start, end, at_time: at_time.filter(|offset| *offset >= 0) };
        let new_start = place.resolve(bounds);
        items.push(Item {
            topic: partition.0.clone(),
            partition: partition.1,
            start,
            new_start,
            end,
            deleted: new_start - start,
        });
    }
    Ok((items, failures))
}
