//! `ottla topic describe`.
//!
//! Owns: the summary, the partitions and the settings that differ from the default. Never: changes
//! anything.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use ottla_protocol::model::kafka_uuid_text;
use serde::Serialize;

use crate::client::configs::{self, Resource};
use crate::client::metadata::TopicView;
use crate::client::offsets::{self, Answers, EARLIEST, Isolation, LATEST, Partition};
use crate::client::{Client, admin};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::{rows, select};

pub(super) const SUMMARY: &[Column] = &[
    Column::text("NAME", "name"),
    Column::number("PARTITIONS", "partition_count"),
    Column::number("REPLICAS", "replicas"),
    Column::number("RECORDS", "records"),
    Column::of("SIZE", "size", Kind::Bytes),
    Column::text("ID", "id"),
];

const PARTITIONS: &[Column] = &[
    Column::number("PARTITION", "partition"),
    Column::number("LEADER", "leader"),
    Column::number("EPOCH", "leader_epoch"),
    Column::text("REPLICAS", "replicas"),
    Column::text("IN-SYNC", "in_sync"),
    Column::text("OFFLINE", "offline").wide(),
    Column::number("START", "start"),
    Column::number("END", "end"),
    Column::of("SIZE", "size", Kind::Bytes),
];

const CONFIGS: &[Column] = &[
    Column::text("KEY", "name"),
    Column::text("VALUE", "value"),
    Column::text("SOURCE", "source"),
];

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// Names or patterns with * and ?
    #[arg(required = true)]
    names: Vec<String>,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    section: Vec<Section>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Section {
    Summary,
    Partitions,
    Configs,
}

#[derive(Serialize, Debug)]
struct Item {
    name: String,
    id: String,
    internal: bool,
    partition_count: usize,
    replicas: usize,
    /// End offsets less start offsets; compaction may have left fewer.
    records: Option<i64>,
    size: Option<i64>,
    partitions: Vec<PartitionItem>,
    /// Settings that are not the broker's default.
    configs: Vec<ConfigItem>,
}

#[derive(Serialize, Debug)]
struct PartitionItem {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    offline: Vec<i32>,
    start: Option<i64>,
    end: Option<i64>,
    size: Option<i64>,
}

#[derive(Serialize, Debug)]
struct ConfigItem {
    name: String,
    value: Option<String>,
    source: &'static str,
}

/// What is known about partitions beyond the metadata.
struct Facts {
    starts: Answers,
    ends: Answers,
    sizes: Option<BTreeMap<Partition, i64>>,
}

pub(super) async fn run(context: &Context, args: &DescribeArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let selection = select::topics(&client, &args.names).await?;
    let ask = |time: i64| -> BTreeMap<Partition, i64> {
        let of_topic = |topic: &TopicView| {
            let name = topic.name.clone();
            let indexes: Vec<i32> = topic.partitions.iter().map(|p| p.index).collect();
            indexes.into_iter().map(move |index| ((name.clone(), index), time))
        };
        selection.topics.iter().flat_map(of_topic).collect()
    };
    let facts = Facts {
        starts: offsets::list(&client, &ask(EARLIEST), Isolation::ReadUncommitted).await?,
        ends: offsets::list(&client, &ask(LATEST), Isolation::ReadUncommitted).await?,
        sizes: admin::leader_sizes(&client, &selection.view).await.ok(),
    };
    let mut items = Vec::new();
    let mut failures = selection.failures;
    for topic in &selection.topics {
        let configs = match set_configs(&client, &topic.name).await {
            Ok(configs) => configs,
            Err(failure) => {
                failures.push(failure.about(&topic.name));
                Vec::new()
            }
        };
        items.push(item(topic, &facts, configs));
    }
    Ok(report(&items, &args.section).with_errors(failures))
}

async fn set_configs(client: &Client, topic: &str) -> Result<Vec<ConfigItem>, Failure> {
    let entries = configs::describe(client, &Resource::Topic(topic.to_owned())).await?;
    let set = entries.into_iter().filter(|entry| entry.source != "DEFAULT_CONFIG");
    Ok(set
        .map(|entry| ConfigItem { name: entry.name, value: entry.value, source: entry.source })
        .collect())
}

fn item(topic: &TopicView, facts: &Facts, configs: Vec<ConfigItem>) -> Item {
    let offset = |answers: &Answers, index: i32| {
        answers
            .get(&(topic.name.clone(), index))
            .and_then(|answer| answer.as_ref().ok())
            .map(|found| found.offset)
    };
    let partitions: Vec<PartitionItem> = topic
        .partitions
        .iter()
        .map(|partition| PartitionItem {
            partition: partition.index,
            leader: (partition.leader >= 0).then_some(partition.leader),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
            offline: partition.offline.clone(),
            start: offset(&facts.starts, partition.index),
            end: offset(&facts.ends, partition.index),
            size: facts.sizes.as_ref().map(|sizes| {
                sizes.get(&(topic.name.clone(), partition.index)).copied().unwrap_or(0)
            }),
        })
        .collect();
    Item {
        name: topic.name.clone(),
        id: kafka_uuid_text(topic.id),
        internal: topic.internal,
        partition_count: partitions.len(),
        replicas: topic.replication_factor(),
        records: partitions.iter().map(|p| Some(p.end? - p.start?)).sum(),
        size: partitions.iter().map(|p| p.size).sum(),
        partitions,
        configs,
    }
}

fn report(items: &[Item], sections: &[Section]) -> Report {
    let wants = |section| sections.is_empty() || sections.contains(&section);
    let mut report =
        Report { command: "topic describe", items: rows::all(items), ..Report::default() };
    if wants(Section::Summary) {
        report = Report::table(report.command, SUMMARY, report.items);
    }
    for item in items {
        // One topic needs no title to tell its tables apart.
        let title = |part: &str| format!("{} of {}", part, item.name);
        if wants(Section::Partitions) {
            report = report.with_view(title("Partitions"), PARTITIONS, rows::all(&item.partitions));
        }
        if wants(Section::Configs) {
            report = report.with_view(title("Settings"), CONFIGS, rows::all(&item.configs));
        }
    }
    report
}
