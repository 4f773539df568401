//! `ottla group delete` and `ottla group delete-offsets`.
//!
//! Owns: both plans and their execution. Never: deletes without consent.

use clap::Args;
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use super::{GroupOffsets, with_offsets};
use crate::client::groups;
use crate::client::offsets::Partition;
use crate::context::{Consent, Context, Danger};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;
use crate::select::{TopicPartitions, item_failure};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("BEFORE", "before"),
    Column::number("MEMBERS", "members"),
    Column::number("OFFSETS", "offsets"),
    Column::text("STATE", "state"),
];

pub(super) const OFFSET_COLUMNS: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("COMMITTED", "committed"),
    Column::text("STATE", "state"),
];

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    #[arg(required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteOffsetsArgs {
    group: String,
    /// What to forget, as TOPIC or TOPIC:PARTITIONS
    #[arg(required = true, value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Serialize, Clone, Debug)]
struct Item {
    group: String,
    before: String,
    members: usize,
    offsets: usize,
    state: &'static str,
}

#[derive(Serialize, Clone, Debug)]
struct OffsetItem {
    group: String,
    topic: String,
    partition: i32,
    committed: i64,
    state: &'static str,
}

pub(super) async fn run(context: &Context, args: &DeleteArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for group in &args.groups {
        match with_offsets(&client, group).await {
            Ok(offsets) => items.push(Item {
                group: group.clone(),
                before: offsets.view.state,
                members: offsets.view.members.len(),
                offsets: offsets.committed.len(),
                state: "would be deleted",
            }),
            Err(failure) => failures.push(failure),
        }
    }
    let report = |items: &[Item]| Report::table("group delete", COLUMNS, rows::all(items));
    if items.is_empty() {
        return Ok(report(&items).with_errors(failures));
    }
    let count = items.len();
    let question = format!("Delete {count} {}", if count == 1 { "group" } else { "groups" });
    match context.consent(report(&items), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(answer.with_errors(failures)),
        Consent::Given => {}
    }
    let mut done = Vec::new();
    for item in items {
        match groups::delete(&client, &item.group).await {
            Ok(code) if code.is_none() => done.push(Item { state: "deleted", ..item }),
            Ok(code) => {
                let failure = Failure::refused(&item.group, code, None);
                failures.push(if item.members > 0 {
                    failure.fix("stop its members first; `ottla group describe` names them")
                } else {
                    failure
                });
            }
            Err(error) => failures.push(item_failure(&item.group, error)),
        }
    }
    Ok(report(&done).with_errors(failures))
}

pub(super) async fn run_offsets(
    context: &Context,
    args: &DeleteOffsetsArgs,
) -> Result<Report, Failure> {
    let wanted = TopicPartitions::parse_all(&args.topics)?;
    let client = context.client().await?;
    let offsets = with_offsets(&client, &args.group).await?;
    let (items, mut failures) = plan(&args.group, &wanted, &offsets);
    let report = |items: &[OffsetItem]| {
        Report::table("group delete-offsets", OFFSET_COLUMNS, rows::all(items))
    };
    if items.is_empty() {
        return Ok(report(&items).with_errors(failures));
    }
    let question = format!("Delete {} offsets of group {}", items.len(), args.group);
    match context.consent(report(&items), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(answer.with_errors(failures)),
        Consent::Given => {}
    }
    let partitions: Vec<Partition> =
        items.iter().map(|item| (item.topic.clone(), item.partition)).collect();
    let answers = groups::delete_offsets(&client, &args.group, &partitions).await?;
    let mut done = Vec::new();
    for item in items {
        let partition = (item.topic.clone(), item.partition);
        // What the answer leaves out was not done.
        match answers.get(&partition).copied().unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => done.push(OffsetItem { state: "deleted", ..item }),
            code => failures.push(Failure::partition(&partition, code)),
        }
    }
    Ok(report(&done).with_errors(failures))
}

fn plan(
    group: &str,
    wanted: &[TopicPartitions],
    offsets: &GroupOffsets,
) -> (Vec<OffsetItem>, Vec<Failure>) {
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for asked in wanted {
        let before = items.len();
        let matching = offsets.committed.iter().filter(|((topic, index), _)| {
            *topic == asked.topic
                && (asked.partitions.is_empty() || asked.partitions.contains(index))
        });
        items.extend(matching.map(|((topic, index), committed)| OffsetItem {
            group: group.to_owned(),
            topic: topic.clone(),
            partition: *index,
            committed: committed.offset,
            state: "would be deleted",
        }));
        if items.len() == before {
            let message = format!("group {group} has committed nothing there");
            failures.push(Failure::item(&asked.topic, "NO_OFFSET", message));
        }
    }
    (items, failures)
}
