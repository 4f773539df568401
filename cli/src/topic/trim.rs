//! `ottla topic trim`.
//!
//! Owns: the plan (which records go) and the deletion of records. Never: deletes without consent.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::client::offsets::Partition;
use crate::client::{Client, admin};
use crate::context::{Consent, Context, Danger};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::position::{Bounds, Position};
use crate::select::TopicPartitions;
use crate::{bounds, rows, select};

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
    let partitions = select::partitions(&selection.topics, std::slice::from_ref(&wanted))?;
    let (items, mut failures) = plan(&client, &partitions, place).await?;
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
        let partition = (item.topic.clone(), item.partition);
        match answers.get(&partition) {
            Some(Ok(low)) => done.push(Item { new_start: *low, ..item.clone() }),
            Some(Err(code)) => failures.push(Failure::partition(&partition, *code)),
            None => done.push(item.clone()),
        }
    }
    Ok(report(&done).with_errors(failures))
}

async fn plan(
    client: &Arc<Client>,
    partitions: &[Partition],
    place: Position,
) -> Result<(Vec<Item>, Vec<Failure>), Failure> {
    let (found, failures) = bounds::of(client, partitions, Some(place)).await?;
    let items = found.into_iter().map(|((topic, partition), bounds)| {
        let Bounds { start, end, .. } = bounds;
        let new_start = place.resolve(bounds);
        Item { topic, partition, start, new_start, end, deleted: new_start - start }
    });
    Ok((items.collect(), failures))
}
