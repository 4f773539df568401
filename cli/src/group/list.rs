//! `ottla group list`.
//!
//! Owns: the list with states, members and total lag. Never: changes anything.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::with_offsets;
use crate::client::groups;
use crate::context::Context;
use crate::failure::Failure;
use crate::glob::Glob;
use crate::output::{Column, Report};
use crate::rows;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("STATE", "state"),
    Column::text("TYPE", "type"),
    Column::number("MEMBERS", "members"),
    Column::number("LAG", "lag"),
    Column::text("PROTOCOL", "protocol").wide(),
    Column::number("COORDINATOR", "coordinator").wide(),
];

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Names or patterns with * and ?; all when there is none
    names: Vec<String>,
    /// Only groups in these states, such as Stable or Empty
    #[arg(long, value_delimiter = ',')]
    state: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Sort {
    #[default]
    Name,
    /// Furthest behind first
    Lag,
}

#[derive(Serialize, Debug)]
struct Item {
    group: String,
    state: String,
    #[serde(rename = "type")]
    kind: String,
    members: Option<usize>,
    /// Sum over partitions; `None` when nothing was committed.
    lag: Option<i64>,
    protocol: String,
    coordinator: i32,
}

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let globs: Vec<Glob> = args.names.iter().map(|name| Glob::new(name)).collect();
    let mut listed = groups::list(&client).await?;
    listed.retain(|group| {
        let named = globs.is_empty() || globs.iter().any(|g| g.matches(group.id.as_bytes()));
        let states = &args.state;
        named && (states.is_empty() || states.iter().any(|s| s.eq_ignore_ascii_case(&group.state)))
    });
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for group in listed {
        // Share groups and other kinds have neither members nor offsets in this sense.
        let details = if matches!(group.kind.as_str(), "" | "classic" | "consumer") {
            match with_offsets(&client, &group.id).await {
                Ok(details) => Some(details),
                Err(failure) => {
                    failures.push(failure.about(&group.id));
                    None
                }
            }
        } else {
            None
        };
        let lag = details.as_ref().and_then(|details| {
            let lags: Vec<i64> =
                details.partitions().iter().filter_map(|p| details.lag(p)).collect();
            (!lags.is_empty()).then(|| lags.iter().sum())
        });
        items.push(Item {
            group: group.id,
            state: group.state,
            kind: group.kind,
            members: details.map(|details| details.view.members.len()),
            lag,
            protocol: group.protocol_type,
            coordinator: group.coordinator,
        });
    }
    if args.sort == Sort::Lag {
        items.sort_by_key(|item| std::cmp::Reverse(item.lag));
    }
    Ok(Report::table("group list", COLUMNS, rows::all(&items)).with_errors(failures))
}
