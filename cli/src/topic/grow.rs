//! `ottla topic grow`.
//!
//! Owns: the new number of partitions. Never: moves records; keys go to other partitions
//! afterwards, which is said.

use clap::Args;
use serde::Serialize;

use crate::client::admin::{self, Effect};
use crate::context::{Context, DryRun};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::{rows, select};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("NAME", "name"),
    Column::number("BEFORE", "before"),
    Column::number("AFTER", "after"),
];

#[derive(Args, Debug)]
pub(crate) struct GrowArgs {
    topic: String,
    /// The number of partitions to have, or +N for N more
    #[arg(allow_hyphen_values = true)]
    partitions: String,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Serialize, Debug)]
struct Item {
    name: String,
    before: i32,
    after: i32,
}

pub(super) async fn run(context: &Context, args: &GrowArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let selection = select::topics(&client, std::slice::from_ref(&args.topic)).await?;
    let mut items = Vec::new();
    for topic in &selection.topics {
        let before = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let after = target(&args.partitions, before)?;
        items.push(Item { name: topic.name.clone(), before, after });
    }
    let mut failures = selection.failures;
    if !items.is_empty() {
        let wanted: Vec<_> = items.iter().map(|item| (item.name.clone(), item.after)).collect();
        let effect = if args.dry_run.dry_run { Effect::ValidateOnly } else { Effect::Apply };
        for verdict in admin::create_partitions(&client, &wanted, effect).await? {
            if !verdict.code.is_none() {
                items.retain(|item| item.name != verdict.name);
                let words = verdict.words.as_deref();
                failures.push(Failure::refused(verdict.name, verdict.code, words));
            }
        }
    }
    let mut report = Report::table("topic grow", COLUMNS, rows::all(&items)).with_errors(failures);
    report.dry_run = args.dry_run.dry_run;
    if !report.items.is_empty() {
        report = report.note("records stay where they are; new records of a key may go elsewhere");
    }
    Ok(report)
}

fn target(text: &str, before: i32) -> Result<i32, Failure> {
    let wrong = || Failure::usage(format!("\"{text}\" is no number of partitions: write N or +N"));
    if let Some(more) = text.strip_prefix('+') {
        let more: i32 = more.parse().map_err(|_| wrong())?;
        return before.checked_add(more).ok_or_else(wrong);
    }
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_absolute_or_more() {
        assert_eq!(target("6", 4).ok(), Some(6));
        assert_eq!(target("+6", 4).ok(), Some(10));
        assert!(target("many", 4).is_err());
        assert!(target("+2147483647", 4).is_err());
    }
}
