//! `ottla group lag`: how far behind, in records and in time.
//!
//! Owns: sums by group, topic, partition or member, and the verdict of `--max`. Never: changes
//! anything. Invariant: lag in time is the age of the first record that was not yet committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{GroupOffsets, with_offsets};
use crate::client::Client;
use crate::client::fetcher::{Event, FetchSettings, Fetcher, OutOfRange, Span};
use crate::client::groups;
use crate::client::offsets::{Isolation, Partition};
use crate::client::records::Step;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::{rows, units};

const TOTALS: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::text("MEMBER", "member"),
    Column::number("LAG", "lag"),
    Column::number("MAX-LAG", "max_lag"),
    Column::of("BEHIND", "behind_ms", Kind::Millis),
];

const BY_GROUP: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::number("LAG", "lag"),
    Column::number("MAX-LAG", "max_lag"),
    Column::of("BEHIND", "behind_ms", Kind::Millis),
];

#[derive(Args, Debug)]
pub(crate) struct LagArgs {
    /// Groups; all when there is none
    groups: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Exit with 3 when a line has more lag than this: a number of records, or a span such as 30s
    #[arg(long, value_name = "COUNT or SPAN")]
    max: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum By {
    #[default]
    Group,
    Topic,
    Partition,
    Member,
}

#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
struct Item {
    group: String,
    topic: Option<String>,
    partition: Option<i32>,
    member: Option<String>,
    /// Sum of the partitions.
    lag: i64,
    /// The partition furthest behind.
    max_lag: i64,
    /// Age of the oldest record that is not committed.
    behind_ms: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    Records(i64),
    Span(Duration),
}

/// The columns of the table, which grow with the detail.
pub(super) const fn columns(args: &LagArgs) -> &'static [Column] {
    match args.by {
        By::Group => BY_GROUP,
        By::Topic | By::Partition | By::Member => TOTALS,
    }
}

pub(super) async fn run(context: &Context, args: &LagArgs) -> Result<Report, Failure> {
    let limit = args.max.as_deref().map(limit).transpose()?;
    let client = context.client().await?;
    let names = if args.groups.is_empty() {
        let known = groups::list(&client).await?.into_iter();
        let consumers = known.filter(|g| matches!(g.kind.as_str(), "" | "classic" | "consumer"));
        consumers.map(|group| group.id).collect()
    } else {
        args.groups.clone()
    };
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match with_offsets(&client, name).await {
            Ok(offsets) => {
                let ages = ages(&client, &offsets).await?;
                items.extend(sums(&offsets, &ages, args.by));
            }
            Err(failure) => failures.push(failure),
        }
    }
    let mut report = Report::table("group lag", columns(args), rows::all(&items));
    report.condition_failed =
        limit.is_some_and(|limit| items.iter().any(|item| exceeds(item, limit)));
    Ok(report.with_errors(failures))
}

fn limit(text: &str) -> Result<Limit, Failure> {
    if let Ok(records) = text.parse() {
        return Ok(Limit::Records(records));
    }
    units::parse_duration(text)
        .map(Limit::Span)
        .ok_or_else(|| Failure::usage(format!("--max {text}: write records (100) or a span (30s)")))
}

fn exceeds(item: &Item, limit: Limit) -> bool {
    match limit {
        Limit::Records(records) => item.lag > records,
        Limit::Span(span) => {
            let behind = item.behind_ms.map_or(0, i64::unsigned_abs);
            u128::from(behind) > span.as_millis()
        }
    }
}

/// The age of the first uncommitted record of each partition that is behind.
async fn ages(
    client: &Arc<Client>,
    offsets: &GroupOffsets,
) -> Result<BTreeMap<Partition, i64>, Failure> {
    let behind = |partition: &Partition| offsets.lag(partition).is_some_and(|lag| lag > 0);
    let spans = offsets.partitions().into_iter().filter(behind).filter_map(|partition| {
        let from = offsets.committed.get(&partition)?.offset;
        Some((partition, Span { from, until: Some(from.saturating_add(1)) }))
    });
    let spans: BTreeMap<Partition, Span> = spans.collect();
    let settings = FetchSettings {
        isolation: Isolation::ReadUncommitted,
        max_bytes: 1 << 20,
        partition_max_bytes: 1,
        min_bytes: 1,
        max_wait: Duration::from_millis(100),
        on_out_of_range: OutOfRange::ToStart,
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let mut ages = BTreeMap::new();
    let mut fetcher = Fetcher::start(Arc::clone(client), settings, spans);
    while let Some(event) = fetcher.next().await {
        let Event::Records(mut chunk) = event? else { continue };
        // The next record may be later than the committed offset where the log was compacted.
        chunk.until = None;
        let partition = (chunk.topic.to_string(), chunk.partition);
        let visited = chunk.visit(|record| {
            if record.timestamp >= 0 {
                ages.insert(partition.clone(), (now - record.timestamp).max(0));
            }
            Step::Stop
        });
        // A damaged batch has no age; consumers will say that it is damaged.
        visited.ok();
    }
    Ok(ages)
}

fn sums(offsets: &GroupOffsets, ages: &BTreeMap<Partition, i64>, by: By) -> Vec<Item> {
    let group = &offsets.view.id;
    let mut items: Vec<Item> = Vec::new();
    for partition in offsets.partitions() {
        let Some(lag) = offsets.lag(&partition) else { continue };
        let members = &offsets.view.members;
        let owner = members.iter().find(|member| member.partitions.contains(&partition));
        let behind_ms = ages.get(&partition).copied().or_else(|| (lag == 0).then_some(0));
        let item = Item {
            group: group.clone(),
            topic: matches!(by, By::Topic | By::Partition).then(|| partition.0.clone()),
            partition: (by == By::Partition).then_some(partition.1),
            member: match by {
                By::Member | By::Partition => owner.map(|member| member.member_id.clone()),
                By::Group | By::Topic => None,
            },
            lag,
            max_lag: lag,
            behind_ms,
        };
        let same = items.iter_mut().find(|known| {
            known.topic == item.topic
                && known.partition == item.partition
                && known.member == item.member
        });
        match same {
            Some(known) => {
                known.lag += item.lag;
                known.max_lag = known.max_lag.max(item.max_lag);
                known.behind_ms = known.behind_ms.max(item.behind_ms);
            }
            None => items.push(item),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::groups::{Committed, GroupMemberView, GroupView};

    fn offsets() -> GroupOffsets {
        let partition = |index: i32| ("t".to_owned(), index);
        let committed = |offset| Committed { offset, metadata: String::new() };
        let member = GroupMemberView {
            member_id: "m".to_owned(),
            partitions: vec![partition(0), partition(2)],
            ..GroupMemberView::default()
        };
        GroupOffsets {
            view: GroupView { id: "g".to_owned(), members: vec![member], ..GroupView::default() },
            committed: BTreeMap::from([
                (partition(0), committed(5)),
                (partition(1), committed(10)),
            ]),
            ends: BTreeMap::from([(partition(0), 15), (partition(1), 12), (partition(2), 3)]),
        }
    }

    #[test]
    fn sums_and_maxima() {
        let ages = BTreeMap::from([(("t".to_owned(), 0), 700), (("t".to_owned(), 1), 900)]);
        let group = sums(&offsets(), &ages, By::Group);
        assert_eq!((group[0].lag, group[0].max_lag, group[0].behind_ms), (12, 10, Some(900)));
        let partitions = sums(&offsets(), &ages, By::Partition);
        assert_eq!(partitions.len(), 2, "what was never committed has no lag");
        assert_eq!(partitions[0].member.as_deref(), Some("m"));
        assert_eq!(sums(&offsets(), &ages, By::Member).len(), 2);
    }

    #[test]
    fn limits_are_records_or_spans() {
        let item = &sums(&offsets(), &BTreeMap::new(), By::Group)[0];
        assert!(exceeds(item, limit("11").expect("records")));
        assert!(!exceeds(item, limit("12").expect("records")));
        assert!(!exceeds(item, limit("1s").expect("a span")));
        assert!(limit("soon").is_err());
    }
}
