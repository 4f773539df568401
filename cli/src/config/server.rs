//! `ottla config show` and `ottla config check`: a server's configuration before it runs.
//!
//! Owns: the listing with origins and the verdict on a file. Never: starts anything, connects.

use std::path::PathBuf;

use clap::Args;
use ottla_config::catalog;
use ottla_config::key::Scope;
use ottla_config::value::Kind;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;
use crate::server::environment;
use crate::server::sources::{of_file, origin_text};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("KEY", "name"),
    Column::text("VALUE", "value"),
    Column::text("ORIGIN", "origin"),
];

pub(super) const NOTES: &[Column] = &[Column::text("NOTE", "note")];

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The file that `serve -c` would read
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    file: Option<PathBuf>,
    /// A key as `serve --set` would take it
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Say where each value came from; it always does
    #[arg(long)]
    origin: bool,
    /// Also the keys that nobody set, with their defaults
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// A server configuration: TOML, or Kafka's server.properties
    file: PathBuf,
}

#[derive(Serialize, Debug)]
struct Item {
    name: String,
    value: Option<String>,
    origin: String,
}

/// What the server would run with.
pub(super) fn show(args: &ShowArgs) -> Report {
    let loaded = match of_file(args.file.as_deref(), environment(), &args.settings) {
        Ok(loaded) => loaded,
        Err(failures) => {
            return Report::table("config show", COLUMNS, Vec::new()).with_errors(failures);
        }
    };
    let mut items: Vec<Item> = loaded
        .values
        .iter()
        .map(|(name, value)| Item {
            name: name.clone(),
            value: Some(hidden(name, value)),
            origin: loaded.origins.get(name).map(origin_text).unwrap_or_default(),
        })
        .collect();
    if args.all {
        let unset = catalog::keys(Scope::Broker)
            .filter(|key| !loaded.values.contains_key(key.name))
            .map(|key| Item {
                name: key.name.to_owned(),
                value: key.default.map(str::to_owned),
                origin: "default".to_owned(),
            });
        items.extend(unset);
        items.sort_by(|left, right| left.name.cmp(&right.name));
    }
    let mut report = Report::table("config show", COLUMNS, rows::all(&items));
    report.notes.extend(loaded.notes);
    report
}

/// Whether the server would take the file; exit code 3 when it would not.
pub(super) fn check(args: &CheckArgs) -> Report {
    match of_file(Some(&args.file), Vec::new(), &[]) {
        Ok(loaded) => {
            let checked = ottla_config::BrokerConfig::from_layers(&loaded.layers());
            let items: Vec<_> =
                loaded.notes.iter().map(|note| serde_json::json!({ "note": note })).collect();
            let mut report = Report::table("config check", NOTES, items);
            match checked {
                Ok(_) => {
                    report.text = Some(String::new());
                    let count = loaded.values.len();
                    report.notes = loaded.notes;
                    report.notes.push(format!("{}: {count} keys, valid", args.file.display()));
                }
                Err(error) => {
                    let failure = Failure::new(
                        "BAD_CONFIG",
                        error.to_string(),
                        crate::exit::Exit::ConditionNotMet,
                    );
                    report.errors.push(failure.about(args.file.display().to_string()));
                }
            }
            report
        }
        Err(failures) => {
            let failures = failures.into_iter().map(|mut failure| {
                if failure.code == "BAD_CONFIG" {
                    failure.exit = crate::exit::Exit::ConditionNotMet;
                }
                failure
            });
            Report::table("config check", NOTES, Vec::new()).with_errors(failures.collect())
        }
    }
}

fn hidden(name: &str, value: &str) -> String {
    let secret = catalog::lookup(Scope::Broker, name).is_some_and(|key| key.kind == Kind::Password);
    if secret { "(secret)".to_owned() } else { value.to_owned() }
}
