//! `ottla config`: settings of topics, brokers and groups.
//!
//! Owns: the sub-command's arguments, and the one way to change settings that `topic set` uses,
//! too. Never: keeps a list of keys of its own (the cluster tells them). Invariant: before a change
//! the current values are read, so that the report says what was and what is.

mod explain;
mod list;
mod server;
mod set;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::Client;
use crate::client::admin::Effect;
use crate::client::configs::{self, Change, ConfigEntry, Resource};
use crate::context::{Context, DryRun};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::select::item_failure;
use crate::{rows, suggest};

pub(crate) const CHANGE_COLUMNS: &[Column] = &[
    Column::text("RESOURCE", "resource"),
    Column::text("NAME", "name"),
    Column::text("KEY", "key"),
    Column::text("BEFORE", "before"),
    Column::text("AFTER", "after"),
];

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Show settings by key
    Get(list::GetArgs),
    /// Change settings
    Set(set::SetArgs),
    /// Return settings to their defaults
    Unset(set::UnsetArgs),
    /// Show all settings
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Say what a setting means, what it is, and why
    Explain(explain::ExplainArgs),
    /// Show what a server would run with, and where each value comes from
    Show(server::ShowArgs),
    /// Check a server's configuration file; exit code 3 when it is refused
    Check(server::CheckArgs),
}

impl ConfigCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Get(_) => "config get",
            Self::Set(_) => "config set",
            Self::Unset(_) => "config unset",
            Self::List(_) => "config list",
            Self::Explain(_) => "config explain",
            Self::Show(_) => "config show",
            Self::Check(_) => "config check",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Get(_) | Self::List(_) => list::COLUMNS,
            Self::Set(_) | Self::Unset(_) => CHANGE_COLUMNS,
            Self::Explain(_) => explain::COLUMNS,
            Self::Show(_) => server::COLUMNS,
            Self::Check(_) => server::NOTES,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Get(args) => list::run_get(context, args).await,
            Self::Set(args) => set::run(context, args).await,
            Self::Unset(args) => set::run_unset(context, args).await,
            Self::List(args) => list::run(context, args).await,
            Self::Explain(args) => explain::run(context, args).await,
            Self::Show(args) => Ok(server::show(args)),
            Self::Check(args) => Ok(server::check(args)),
        }
    }
}

/// Whose settings are meant.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// A topic's settings
    #[arg(long)]
    topic: Option<String>,
    /// A broker's settings, by id; `default` is what all brokers share
    #[arg(long)]
    broker: Option<String>,
    /// A consumer group's settings
    #[arg(long)]
    group: Option<String>,
}

impl Target {
    pub(crate) fn resource(&self) -> Result<Resource, Failure> {
        if let Some(topic) = &self.topic {
            return Ok(Resource::Topic(topic.clone()));
        }
        if let Some(group) = &self.group {
            return Ok(Resource::Group(group.clone()));
        }
        match self.broker.as_deref() {
            None | Some("default") => Ok(Resource::Broker(None)),
            Some(id) => {
                let wrong = || Failure::usage(format!("--broker {id}: write an id, or default"));
                Ok(Resource::Broker(Some(id.parse().map_err(|_| wrong())?)))
            }
        }
    }
}

/// Reads `KEY=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(Failure::usage(format!("\"{text}\": write KEY=VALUE"))),
    }
}

/// Reads `KEY=VALUE`, `KEY+=VALUE` and `KEY-=VALUE`.
pub(crate) fn parse_changes(texts: &[String]) -> Result<Vec<(String, Change)>, Failure> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = assignment(text)?;
            Ok(if let Some(key) = key.strip_suffix('+') {
                (key.to_owned(), Change::Append(value))
            } else if let Some(key) = key.strip_suffix('-') {
                (key.to_owned(), Change::Subtract(value))
            } else {
                (key, Change::Set(value))
            })
        })
        .collect()
}

#[derive(Serialize, Debug, PartialEq, Eq)]
struct ChangeItem {
    resource: &'static str,
    name: String,
    key: String,
    before: Option<String>,
    /// `None`: whatever the default is.
    after: Option<String>,
}

/// Changes settings of resources and reports each key's value before and after.
pub(crate) async fn change(
    client: &Client,
    command: &'static str,
    resources: &[Resource],
    changes: &[(String, Change)],
    dry_run: DryRun,
) -> Result<Report, Failure> {
    let effect = if dry_run.dry_run { Effect::ValidateOnly } else { Effect::Apply };
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for resource in resources {
        let title = resource.name();
        let before = match configs::describe(client, resource).await {
            Ok(entries) => entries,
            Err(error) => {
                failures.push(item_failure(&title, error));
                continue;
            }
        };
        if let Some(failure) = unset_unknown(resource, changes, &before) {
            failures.push(failure);
            continue;
        }
        let verdict = match configs::alter(client, resource, changes, effect).await {
            Ok(verdict) => verdict,
            Err(error) => {
                failures.push(item_failure(&title, error));
                continue;
            }
        };
        if verdict.code.is_none() {
            items.extend(changes.iter().map(|(key, change)| {
                let current = before.iter().find(|entry| entry.name == *key);
                item(resource, key, change, current)
            }));
        } else {
            let failure = Failure::refused(title, verdict.code, verdict.words.as_deref());
            failures.push(match unknown_key(changes, &before) {
                Some(hint) => failure.fix(hint),
                None => failure,
            });
        }
    }
    let mut report = Report::table(command, CHANGE_COLUMNS, rows::all(&items));
    report.dry_run = dry_run.dry_run;
    Ok(report.with_errors(failures))
}

/// A broker takes the removal of a key that does not exist for done; here it is a mistake. Of what all
/// brokers share only the keys that are set are known.
fn unset_unknown(
    resource: &Resource,
    changes: &[(String, Change)],
    entries: &[ConfigEntry],
) -> Option<Failure> {
    if matches!(resource, Resource::Broker(None)) {
        return None;
    }
    let is_known = |key: &str| entries.iter().any(|entry| entry.name == key);
    let (key, _) =
        changes.iter().find(|(key, change)| matches!(change, Change::Delete) && !is_known(key))?;
    let message = format!("there is no setting {key}");
    let failure = Failure::item(resource.name(), "UNKNOWN_CONFIG", message);
    let names = entries.iter().map(|entry| entry.name.as_str());
    Some(match suggest::sentence(key, names) {
        Some(hint) => failure.fix(hint),
        None => failure,
    })
}

/// A suggestion for the first changed key that the resource does not have.
fn unknown_key(changes: &[(String, Change)], entries: &[ConfigEntry]) -> Option<String> {
    let names = || entries.iter().map(|entry| entry.name.as_str());
    let unknown = changes.iter().find(|(key, _)| names().all(|name| name != key))?;
    suggest::sentence(&unknown.0, names())
}

fn item(
    resource: &Resource,
    key: &str,
    change: &Change,
    current: Option<&ConfigEntry>,
) -> ChangeItem {
    let before = current.and_then(|entry| entry.value.clone());
    let list = |value: &Option<String>| -> Vec<String> {
        let text = value.as_deref().unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let after = match change {
        Change::Set(value) => Some(value.clone()),
        Change::Delete => current.and_then(default_value),
        Change::Append(value) => {
            let mut parts = list(&before);
            for added in value.split(',') {
                if !parts.iter().any(|part| part == added) {
                    parts.push(added.to_owned());
                }
            }
            Some(parts.join(","))
        }
        Change::Subtract(value) => {
            let gone: Vec<&str> = value.split(',').collect();
            let mut parts = list(&before);
            parts.retain(|part| !gone.contains(&part.as_str()));
            Some(parts.join(","))
        }
    };
    ChangeItem {
        resource: resource.kind(),
        name: resource.name(),
        key: key.to_owned(),
        before,
        after,
    }
}

/// What remains when the resource's own value is taken away: the next synonym.
fn default_value(entry: &ConfigEntry) -> Option<String> {
    let own = ["DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_CONFIG", "DYNAMIC_GROUP_CONFIG"];
    let rest = entry.synonyms.iter().find(|synonym| !own.contains(&synonym.source));
    rest.and_then(|synonym| synonym.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::configs::Synonym;

    #[test]
    fn changes_parse_and_predict_the_result() {
        let texts = ["a=1", "b+=x,y", "b-=x", "c="].map(str::to_owned);
        let changes = parse_changes(&texts).expect("valid");
        assert_eq!(changes[1], ("b".to_owned(), Change::Append("x,y".to_owned())));
        assert_eq!(changes[3], ("c".to_owned(), Change::Set(String::new())));
        let synonym = |source, value: &str| Synonym {
            name: "b".to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let entry = ConfigEntry {
            name: "b".to_owned(),
            value: Some("x,z".to_owned()),
            source: "DYNAMIC_TOPIC_CONFIG",
            read_only: false,
            sensitive: false,
            kind: "LIST",
            synonyms: vec![synonym("DYNAMIC_TOPIC_CONFIG", "x,z"), synonym("DEFAULT_CONFIG", "d")],
            documentation: None,
        };
        let topic = Resource::Topic("t".to_owned());
        let after = |change: &Change| item(&topic, "b", change, Some(&entry)).after;
        assert_eq!(after(&changes[1].1).as_deref(), Some("x,z,y"));
        assert_eq!(after(&changes[2].1).as_deref(), Some("z"));
        assert_eq!(after(&Change::Delete).as_deref(), Some("d"));
        let wrong = [("bb".to_owned(), Change::Delete)];
        assert_eq!(unknown_key(&wrong, &[entry]).as_deref(), Some("did you mean \"b\"?"));
        assert!(parse_changes(&["nothing".to_owned()]).is_err());
    }
}
