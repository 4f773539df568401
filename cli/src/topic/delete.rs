//! `ottla topic delete`.
//!
//! Owns: the plan with what is lost, and the deletion. Never: deletes without consent.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use crate::client::offsets::{self, EARLIEST, Isolation, LATEST};
use crate::client::{Client, admin};
use crate::context::{Consent, Context, Danger};
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::rows;
use crate::select::{self, Selection};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("NAME", "name"),
    Column::number("PARTITIONS", "partitions"),
    Column::number("RECORDS", "records"),
    Column::of("SIZE", "size", Kind::Bytes),
    Column::text("STATE", "state"),
];

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Names or patterns with * and ?
    #[arg(required = true)]
    names: Vec<String>,
    /// A topic that does not exist is no failure
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Serialize, Clone, Debug)]
struct Item {
    name: String,
    partitions: usize,
    records: Option<i64>,
    size: Option<i64>,
    state: &'static str,
}

pub(super) async fn run(context: &Context, args: &DeleteArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let mut selection = select::topics(&client, &args.names).await?;
    if args.if_exists {
        selection.failures.clear();
    }
    let mut items = plan(&client, &selection).await?;
    let report = |items: &[Item]| Report::table("topic delete", COLUMNS, rows::all(items));
    if items.is_empty() {
        return Ok(report(&items).with_errors(selection.failures));
    }
    let count = items.len();
    let question = format!("Delete {count} {}", if count == 1 { "topic" } else { "topics" });
    match context.consent(report(&items), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(answer.with_errors(selection.failures)),
        Consent::Given => {}
    }
    let names: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
    let verdicts = admin::delete_topics(&client, &names).await?;
    let mut failures = selection.failures;
    for verdict in verdicts {
        if verdict.code.is_none()
            || (args.if_exists && verdict.code == ErrorCode::UnknownTopicOrPartition)
        {
            for item in items.iter_mut().filter(|item| item.name == verdict.name) {
                item.state = "deleted";
            }
        } else {
            items.retain(|item| item.name != verdict.name);
            let words = verdict.words.as_deref();
            failures.push(Failure::refused(verdict.name, verdict.code, words));
        }
    }
    Ok(report(&items).with_errors(failures))
}

async fn plan(client: &Arc<Client>, selection: &Selection) -> Result<Vec<Item>, Failure> {
    let partitions = |time: i64| -> BTreeMap<_, _> {
        let topics = selection.topics.iter();
        topics
            .flat_map(|topic| {
                topic.partitions.iter().map(move |p| ((topic.name.clone(), p.index), time))
            })
            .collect()
    };
    let isolation = Isolation::ReadUncommitted;
    let starts = offsets::list(client, &partitions(EARLIEST), isolation).await?;
    let ends = offsets::list(client, &partitions(LATEST), isolation).await?;
    let sizes = admin::leader_sizes(client, &selection.view).await.ok();
    let items = selection.topics.iter().map(|topic| {
        let key = |index: i32| (topic.name.clone(), index);
        let records = topic.partitions.iter().map(|partition| {
            let at = |answers: &offsets::Answers| {
                answers.get(&key(partition.index))?.as_ref().ok().map(|found| found.offset)
            };
            Some(at(&ends)? - at(&starts)?)
        });
        Item {
            name: topic.name.clone(),
            partitions: topic.partitions.len(),
            records: records.sum(),
            size: sizes.as_ref().map(|sizes| {
                topic.partitions.iter().filter_map(|p| sizes.get(&key(p.index))).sum()
            }),
            state: "would be deleted",
        }
    });
    Ok(items.collect())
}
