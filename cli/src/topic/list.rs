//! `ottla topic list`.
//!
//! Owns: the list, its sorting and the health filter. Never: reads records.

use clap::{Args, ValueEnum};
use ottla_protocol::model::kafka_uuid_text;
use serde::Serialize;

use crate::client::admin;
use crate::client::metadata::TopicView;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::{rows, select};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("NAME", "name"),
    Column::number("PARTITIONS", "partitions"),
    Column::number("REPLICAS", "replicas"),
    Column::of("SIZE", "size", Kind::Bytes),
    Column::number("UNDER-REPLICATED", "under_replicated").wide(),
    Column::number("OFFLINE", "offline").wide(),
    Column::text("INTERNAL", "internal").wide(),
    Column::text("ID", "id").wide(),
];

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Names or patterns with * and ?; all when there is none
    names: Vec<String>,
    /// Show internal topics, too
    #[arg(long)]
    internal: bool,
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Only topics with offline or under-replicated partitions; exit code 3 when there are any
    #[arg(long)]
    unhealthy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Sort {
    #[default]
    Name,
    /// Most partitions first
    Partitions,
    /// Largest first
    Size,
}

#[derive(Serialize, Clone, Debug)]
struct Item {
    name: String,
    id: String,
    partitions: usize,
    replicas: usize,
    /// Bytes of the leaders' logs; `None` when no broker tells.
    size: Option<i64>,
    under_replicated: usize,
    offline: usize,
    internal: bool,
}

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let selection = select::topics(&client, &args.names).await?;
    // Sizes are worth having, and no reason to fail.
    let sizes = admin::leader_sizes(&client, &selection.view).await.ok();
    let mut items: Vec<Item> = selection
        .topics
        .iter()
        .filter(|topic| args.internal || !topic.internal || args.names.contains(&topic.name))
        .map(|topic| {
            let size = sizes.as_ref().map(|sizes| {
                let of_topic = sizes.iter().filter(|((name, _), _)| *name == topic.name);
                of_topic.map(|(_, size)| size).sum()
            });
            item(topic, size)
        })
        .filter(|item| !args.unhealthy || item.under_replicated + item.offline > 0)
        .collect();
    sort(&mut items, args.sort);
    let mut report = Report::table("topic list", COLUMNS, rows::all(&items));
    report.condition_failed = args.unhealthy && !items.is_empty();
    Ok(report.with_errors(selection.failures))
}

fn item(topic: &TopicView, size: Option<i64>) -> Item {
    let count = |wanted: fn(&crate::client::metadata::PartitionView) -> bool| {
        topic.partitions.iter().filter(|partition| wanted(partition)).count()
    };
    Item {
        name: topic.name.clone(),
        id: kafka_uuid_text(topic.id),
        partitions: topic.partitions.len(),
        replicas: topic.replication_factor(),
        size,
        under_replicated: count(|partition| partition.under_replicated()),
        offline: count(|partition| partition.leader < 0),
        internal: topic.internal,
    }
}

fn sort(items: &mut [Item], by: Sort) {
    match by {
        Sort::Name => items.sort_by(|a, b| a.name.cmp(&b.name)),
        Sort::Partitions => items.sort_by_key(|item| std::cmp::Reverse(item.partitions)),
        Sort::Size => items.sort_by_key(|item| std::cmp::Reverse(item.size)),
    }
}
