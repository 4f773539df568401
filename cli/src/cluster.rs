//! `ottla cluster`: the whole in one view, and whether it is well.
//!
//! Owns: `cluster info` and the verdict of `cluster health`. Never: changes anything (`cluster quorum` may).
//! Invariant: the verdict follows from the metadata alone and is decided by a pure function.

mod quorum;

use clap::Subcommand;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use serde::Serialize;
use serde_json::{Value, json};

use self::quorum::QuorumArgs;
use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::metadata::ClusterView;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;

#[derive(Subcommand, Debug)]
pub(crate) enum ClusterCommand {
    /// Show the cluster's id, brokers and sizes
    Info,
    /// Say whether the cluster is well, and if not, why; exit code 3 when it is not
    Health,
    /// Show who keeps the cluster's metadata and how far each is; exit code 3 without a majority in step
    Quorum(QuorumArgs),
}

const BROKERS: &[Column] = &[
    Column::number("BROKER", "id"),
    Column::text("ADDRESS", "address"),
    Column::text("RACK", "rack"),
    Column::text("CONTROLLER", "controller"),
    Column::number("LEADS", "leads"),
    Column::number("REPLICAS", "replicas"),
];

const CLUSTER: &[Column] = &[
    Column::text("CLUSTER", "cluster_id"),
    Column::number("BROKERS", "broker_count"),
    Column::number("TOPICS", "topics"),
    Column::number("PARTITIONS", "partitions"),
];

const FINDINGS: &[Column] = &[
    Column::text("SEVERITY", "severity"),
    Column::text("SUBJECT", "subject"),
    Column::text("FINDING", "finding"),
];

#[derive(Serialize, Debug)]
struct BrokerItem {
    id: i32,
    address: String,
    rack: Option<String>,
    controller: bool,
    leads: usize,
    replicas: usize,
}

impl ClusterCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Info => "cluster info",
            Self::Health => "cluster health",
            Self::Quorum(args) => args.name(),
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Info => CLUSTER,
            Self::Health => FINDINGS,
            Self::Quorum(_) => quorum::COLUMNS,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Info => info(context).await,
            Self::Health => health(context).await,
            Self::Quorum(args) => args.run(context).await,
        }
    }
}

async fn info(context: &Context) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(None).await?;
    let controller = controller(&client, &view).await?;
    let brokers = broker_items(&view, controller);
    let item = json!({
        "cluster_id": view.cluster_id,
        "controller": controller,
        "broker_count": brokers.len(),
        "topics": view.topics.len(),
        "partitions": view.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(),
        "brokers": brokers,
    });
    let report = Report::table("cluster info", CLUSTER, vec![item]);
    Ok(report.with_view("Brokers", BROKERS, rows::all(&brokers)))
}

fn broker_items(view: &ClusterView, controller: i32) -> Vec<BrokerItem> {
    let partitions = || view.topics.iter().flat_map(|topic| &topic.partitions);
    let item = |broker: &crate::client::metadata::BrokerView| BrokerItem {
        id: broker.id,
        address: broker.address(),
        rack: broker.rack.clone(),
        controller: broker.id == controller,
        leads: partitions().filter(|partition| partition.leader == broker.id).count(),
        replicas: partitions().filter(|p| p.replicas.contains(&broker.id)).count(),
    };
    view.brokers.iter().map(item).collect()
}

/// The controller by DescribeCluster; Metadata names a random broker since KRaft.
async fn controller(client: &Client, view: &ClusterView) -> Result<i32, ClientError> {
    let answer: Result<DescribeClusterResponse, ClientError> =
        client.any::<DescribeClusterRequest>(|_| DescribeClusterRequest::default()).await;
    match answer {
        Ok(response) => Ok(response.controller_id.0),
        Err(ClientError::Unsupported { .. }) => Ok(view.controller),
        Err(error) => Err(error),
    }
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: &'static str,
    subject: String,
    finding: String,
}

async fn health(context: &Context) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(None).await?;
    let controller = controller(&client, &view).await?;
    let mut found = findings(&view, controller);
    for broker in &view.brokers {
        if let Err(error) = client.open(&broker.address()).await {
            found.push(Finding {
                severity: "error",
                subject: format!("broker {}", broker.id),
                finding: format!("cannot be reached: {error}"),
            });
        }
    }
    Ok(verdict(&found))
}

fn verdict(found: &[Finding]) -> Report {
    let unhealthy = found.iter().any(|finding| finding.severity == "error");
    let item = json!({ "healthy": !unhealthy, "findings": found });
    let mut report = Report::table("cluster health", FINDINGS, rows::all(found));
    report.items = vec![item];
    report.condition_failed = unhealthy;
    if found.is_empty() {
        report.text = Some("healthy\n".to_owned());
        if let Some(view) = report.views.first_mut() {
            view.rows =
                vec![json!({ "severity": "ok", "subject": Value::Null, "finding": "healthy" })];
        }
    }
    report
}

/// What the metadata alone says is wrong.
fn findings(view: &ClusterView, controller: i32) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |subject: String, finding: String| {
        found.push(Finding { severity: "error", subject, finding });
    };
    if controller < 0 {
        add("controller".to_owned(), "nobody leads the cluster's metadata".to_owned());
    }
    for topic in &view.topics {
        let listed = |wanted: fn(&crate::client::metadata::PartitionView) -> bool| {
            let indexes = topic.partitions.iter().filter(|p| wanted(p)).map(|p| p.index);
            indexes.collect::<Vec<i32>>()
        };
        let leaderless = listed(|partition| partition.leader < 0);
        let behind = listed(|partition| partition.leader >= 0 && partition.under_replicated());
        if !leaderless.is_empty() {
            let text = format!("no leader for partitions {}", ranges(&leaderless));
            add(format!("topic {}", topic.name), text);
        }
        if !behind.is_empty() {
            let text = format!("replicas behind in partitions {}", ranges(&behind));
            add(format!("topic {}", topic.name), text);
        }
    }
    found
}

/// `0-3,7`: the inverse of a partition list.
fn ranges(sorted: &[i32]) -> String {
    let mut parts: Vec<(i32, i32)> = Vec::new();
    for index in sorted {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => parts.push((*index, *index)),
        }
    }
    let text = |(from, to): &(i32, i32)| {
        if from == to { from.to_string() } else { format!("{from}-{to}") }
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::metadata::{PartitionView, TopicView};

    fn partition(index: i32, leader: i32, in_sync: &[i32]) -> PartitionView {
        PartitionView {
            index,
            leader,
            replicas: vec![1, 2],
            in_sync: in_sync.to_vec(),
            ..PartitionView::default()
        }
    }

    #[test]
    fn findings_name_topic_and_partitions() {
        let topic = TopicView {
            name: "t".to_owned(),
            partitions: vec![
                partition(0, -1, &[]),
                partition(1, -1, &[]),
                partition(2, 1, &[1]),
                partition(3, 1, &[1, 2]),
            ],
            ..TopicView::default()
        };
        let view = ClusterView { topics: vec![topic], ..ClusterView::default() };
        let found = findings(&view, 1);
        let texts: Vec<&str> = found.iter().map(|finding| finding.finding.as_str()).collect();
        assert_eq!(texts, ["no leader for partitions 0-1", "replicas behind in partitions 2"]);
        assert!(verdict(&found).condition_failed);
        assert!(!verdict(&[]).condition_failed);
        assert_eq!(findings(&ClusterView::default(), -1).len(), 1);
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }
}
