//! `ottla config set` and `ottla config unset`.
//!
//! Owns: the arguments. Never: knows more than [`super::change`], which does the work.

use clap::Args;

use super::{Target, change, parse_changes};
use crate::client::configs::Change;
use crate::context::{Context, DryRun};
use crate::failure::Failure;
use crate::output::Report;

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    target: Target,
    /// KEY=VALUE; KEY+=VALUE and KEY-=VALUE add to and take from lists
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Args, Debug)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    target: Target,
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

pub(super) async fn run(context: &Context, args: &SetArgs) -> Result<Report, Failure> {
    let changes = parse_changes(&args.settings)?;
    alter(context, "config set", &args.target, &changes, args.dry_run).await
}

pub(super) async fn run_unset(context: &Context, args: &UnsetArgs) -> Result<Report, Failure> {
    let changes: Vec<_> = args.keys.iter().map(|key| (key.clone(), Change::Delete)).collect();
    alter(context, "config unset", &args.target, &changes, args.dry_run).await
}

async fn alter(
    context: &Context,
    command: &'static str,
    target: &Target,
    changes: &[(String, Change)],
    dry_run: DryRun,
) -> Result<Report, Failure> {
    let resource = target.resource()?;
    let client = context.client().await?;
    change(&client, command, &[resource], changes, dry_run).await
}
