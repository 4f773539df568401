//! `ottla topic set` and `ottla topic unset`.
//!
//! Owns: the arguments. Never: knows more than [`crate::config::change`], which does the work.

use clap::Args;

use crate::client::configs::{Change, Resource};
use crate::config::{change, parse_changes};
use crate::context::{Context, DryRun};
use crate::failure::Failure;
use crate::output::Report;
use crate::select;

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// Topic, or a pattern with * and ?
    topic: String,
    /// KEY=VALUE; KEY+=VALUE and KEY-=VALUE add to and take from lists
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Args, Debug)]
pub(crate) struct UnsetArgs {
    /// Topic, or a pattern with * and ?
    topic: String,
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

pub(super) async fn run(context: &Context, args: &SetArgs) -> Result<Report, Failure> {
    let changes = parse_changes(&args.settings)?;
    alter(context, ("topic set", &args.topic), &changes, args.dry_run).await
}

pub(super) async fn run_unset(context: &Context, args: &UnsetArgs) -> Result<Report, Failure> {
    let changes: Vec<_> = args.keys.iter().map(|key| (key.clone(), Change::Delete)).collect();
    alter(context, ("topic unset", &args.topic), &changes, args.dry_run).await
}

async fn alter(
    context: &Context,
    (command, topic): (&'static str, &str),
    changes: &[(String, Change)],
    dry_run: DryRun,
) -> Result<Report, Failure> {
    let client = context.client().await?;
    let selection = select::topics(&client, &[topic.to_owned()]).await?;
    let resources: Vec<Resource> =
        selection.topics.into_iter().map(|topic| Resource::Topic(topic.name)).collect();
    let report = change(&client, command, &resources, changes, dry_run).await?;
    Ok(report.with_errors(selection.failures))
}
