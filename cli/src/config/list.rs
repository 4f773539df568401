//! `ottla config get` and `ottla config list`.
//!
//! Owns: the table of settings. Never: changes them.

use clap::Args;
use ottla_config::catalog;
use ottla_config::key::{ConfigKey, Scope, UpdateMode};
use ottla_config::value::Kind;

use super::Target;
use crate::client::configs::{self, ConfigEntry};
use crate::context::Context;
use crate::failure::Failure;
use crate::glob::Glob;
use crate::output::{Column, Report};
use crate::{rows, suggest};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("KEY", "name"),
    Column::text("VALUE", "value"),
    Column::text("SOURCE", "source"),
    Column::text("TYPE", "type").wide(),
    Column::text("READ-ONLY", "read_only").wide(),
    Column::text("SENSITIVE", "sensitive").wide(),
];

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    /// Keys, or patterns with * and ?
    #[arg(required = true)]
    keys: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Without one: every key that this release knows, with its default, without asking a broker
    #[command(flatten)]
    target: Option<Target>,
    /// Only what differs from the default
    #[arg(long)]
    non_default: bool,
}

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<Report, Failure> {
    let Some(target) = &args.target else {
        let known: Vec<ConfigEntry> =
            catalog::areas().flat_map(|(_, keys)| keys).map(known).collect();
        return Ok(Report::table("config list", COLUMNS, rows::all(&known)));
    };
    let client = context.client().await?;
    let mut entries = configs::describe(&client, &target.resource()?).await?;
    entries.retain(|entry| !args.non_default || entry.source != "DEFAULT_CONFIG");
    Ok(Report::table("config list", COLUMNS, rows::all(&without_docs(entries))))
}

/// A key as its declaration has it.
fn known(key: &ConfigKey) -> ConfigEntry {
    let source = match key.scope {
        Scope::Broker => "BROKER_DEFAULT",
        Scope::Topic => "TOPIC_DEFAULT",
        Scope::Group => "GROUP_DEFAULT",
        Scope::ClientMetrics => "CLIENT_METRICS_DEFAULT",
    };
    ConfigEntry {
        name: key.name.to_owned(),
        value: key.default.map(str::to_owned),
        source,
        read_only: key.scope == Scope::Broker && key.update == UpdateMode::ReadOnly,
        sensitive: key.kind == Kind::Password,
        kind: key.kind.name(),
        synonyms: Vec::new(),
        documentation: None,
    }
}

pub(super) async fn run_get(context: &Context, args: &GetArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let entries = configs::describe(&client, &args.target.resource()?).await?;
    let (found, failures) = pick(entries, &args.keys);
    let report = Report::table("config get", COLUMNS, rows::all(&without_docs(found)));
    Ok(report.with_errors(failures))
}

fn pick(entries: Vec<ConfigEntry>, keys: &[String]) -> (Vec<ConfigEntry>, Vec<Failure>) {
    let globs: Vec<(&String, Glob)> = keys.iter().map(|key| (key, Glob::new(key))).collect();
    let missing = |(key, glob): &(&String, Glob)| {
        let found = entries.iter().any(|entry| glob.matches(entry.name.as_bytes()));
        if found {
            return None;
        }
        let failure = Failure::item(key.as_str(), "UNKNOWN_CONFIG", "there is no such setting");
        let names = entries.iter().map(|entry| entry.name.as_str());
        Some(match suggest::sentence(key, names) {
            Some(hint) => failure.fix(hint),
            None => failure,
        })
    };
    let failures = globs.iter().filter_map(missing).collect();
    let wanted =
        |entry: &ConfigEntry| globs.iter().any(|(_, glob)| glob.matches(entry.name.as_bytes()));
    (entries.into_iter().filter(wanted).collect(), failures)
}

/// The documentation is `explain`'s; in a list it drowns the values.
fn without_docs(mut entries: Vec<ConfigEntry>) -> Vec<ConfigEntry> {
    for entry in &mut entries {
        entry.documentation = None;
    }
    entries
}
