//! `ottla group describe`.
//!
//! Owns: summary, partitions with lag, and members of groups. Never: changes anything.

use clap::Args;
use serde::Serialize;

use super::{GroupOffsets, with_offsets};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;

pub(super) const SUMMARY: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("STATE", "state"),
    Column::text("TYPE", "type"),
    Column::text("ASSIGNOR", "assignor"),
    Column::number("COORDINATOR", "coordinator"),
    Column::number("MEMBERS", "member_count"),
    Column::number("LAG", "lag"),
];

const PARTITIONS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("COMMITTED", "committed"),
    Column::number("END", "end"),
    Column::number("LAG", "lag"),
    Column::text("MEMBER", "member"),
    Column::text("CLIENT", "client_id"),
    Column::text("HOST", "host"),
    Column::text("METADATA", "metadata").wide(),
];

const MEMBERS: &[Column] = &[
    Column::text("MEMBER", "member"),
    Column::text("CLIENT", "client_id"),
    Column::text("HOST", "host"),
    Column::text("INSTANCE", "instance"),
    Column::number("PARTITIONS", "partitions"),
];

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    #[arg(required = true)]
    groups: Vec<String>,
}

#[derive(Serialize, Debug)]
struct Item {
    group: String,
    state: String,
    #[serde(rename = "type")]
    kind: String,
    assignor: String,
    coordinator: i32,
    member_count: usize,
    lag: Option<i64>,
    partitions: Vec<PartitionItem>,
    members: Vec<MemberItem>,
}

#[derive(Serialize, Debug)]
struct PartitionItem {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
    metadata: Option<String>,
}

#[derive(Serialize, Debug)]
struct MemberItem {
    member: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

pub(super) async fn run(context: &Context, args: &DescribeArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for group in &args.groups {
        match with_offsets(&client, group).await {
            Ok(offsets) => items.push(item(&offsets)),
            Err(failure) => failures.push(failure),
        }
    }
    let mut report = Report::table("group describe", SUMMARY, rows::all(&items));
    for item in &items {
        let title = |part: &str| format!("{part} of {}", item.group);
        report = report
            .with_view(title("Partitions"), PARTITIONS, rows::all(&item.partitions))
            .with_view(title("Members"), MEMBERS, rows::all(&item.members));
    }
    Ok(report.with_errors(failures))
}

fn item(offsets: &GroupOffsets) -> Item {
    let view = &offsets.view;
    let partitions: Vec<PartitionItem> = offsets
        .partitions()
        .into_iter()
        .map(|partition| {
            let owner = view.members.iter().find(|member| member.partitions.contains(&partition));
            let committed = offsets.committed.get(&partition);
            PartitionItem {
                committed: committed.map(|committed| committed.offset),
                end: offsets.ends.get(&partition).copied(),
                lag: offsets.lag(&partition),
                member: owner.map(|member| member.member_id.clone()),
                client_id: owner.map(|member| member.client_id.clone()),
                host: owner.map(|member| member.host.clone()),
                metadata: committed.map(|committed| committed.metadata.clone()),
                topic: partition.0,
                partition: partition.1,
            }
        })
        .collect();
    let lags: Vec<i64> = partitions.iter().filter_map(|partition| partition.lag).collect();
    Item {
        group: view.id.clone(),
        state: view.state.clone(),
        kind: view.kind.clone(),
        assignor: view.assignor.clone(),
        coordinator: view.coordinator,
        member_count: view.members.len(),
        lag: (!lags.is_empty()).then(|| lags.iter().sum()),
        members: view
            .members
            .iter()
            .map(|member| MemberItem {
                member: member.member_id.clone(),
                instance: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                host: member.host.clone(),
                partitions: member.partitions.len(),
            })
            .collect(),
        partitions,
    }
}
