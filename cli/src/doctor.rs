//! `ottla doctor`: the way of a client, step by step, with the line to change where it breaks.
//!
//! Owns: the steps, their order and the verdict. Never: changes anything, except one record with
//! --write. Invariant: a step that cannot run because an earlier one failed is not reported as
//! failed.

mod path;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::client::Client;
use crate::client::connection::Connection;
use crate::client::fetcher::{Event, FetchSettings, Fetcher, OutOfRange, Span};
use crate::client::metadata::ClusterView;
use crate::client::offsets::Isolation;
use crate::client::producer::{Acks, Producer, ProducerSettings, Target};
use crate::client::records::Step as Visit;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::{rows, units};

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("STEP", "step"),
    Column::text("TARGET", "target"),
    Column::text("RESULT", "result"),
    Column::of("TOOK", "took_ms", Kind::Millis),
    Column::text("DETAIL", "detail"),
];

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Also write one record to this topic and read it back
    #[arg(long, value_name = "TOPIC")]
    write: Option<String>,
}

/// How a step ended.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

/// One step of the way.
#[derive(Serialize, Clone, Debug)]
struct Step {
    step: &'static str,
    target: String,
    result: Outcome,
    took_ms: i64,
    detail: String,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Measures a step.
#[derive(Debug)]
struct Timer {
    step: &'static str,
    target: String,
    began: Instant,
}

impl Timer {
    fn start(step: &'static str, target: impl Into<String>) -> Self {
        Self { step, target: target.into(), began: Instant::now() }
    }

    fn end(self, result: Outcome, detail: impl Into<String>) -> Step {
        Step {
            step: self.step,
            target: self.target,
            result,
            took_ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
            detail: detail.into(),
            fix: None,
        }
    }
}

impl Step {
    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

pub(crate) async fn run(context: &Context, args: &DoctorArgs) -> Result<Report, Failure> {
    let options = context.settings.client_options()?;
    let mut steps = Vec::new();
    let mut reached = None;
    for address in &options.bootstrap {
        if let Some(connection) = path::connect(address, &options, &mut steps).await {
            reached.get_or_insert_with(|| (address.clone(), connection));
        }
    }
    if let Some((address, connection)) = reached {
        drop(connection);
        let timer = Timer::start("metadata", address.as_str());
        match Client::connect(options).await {
            Ok(client) => {
                let view = client.metadata(None).await?;
                steps.push(timer.end(Outcome::Ok, summary(&view)));
                dial_advertised(&client, &view, &address, &mut steps).await;
                if let Some(topic) = &args.write {
                    steps.push(round_trip(&client, topic).await);
                }
            }
            Err(error) => steps.push(timer.end(Outcome::Failed, error.to_string())),
        }
    }
    Ok(report(&steps))
}

fn summary(view: &ClusterView) -> String {
    format!(
        "cluster {}, {}, {}",
        view.cluster_id.as_deref().unwrap_or("without id"),
        units::count(view.brokers.len(), "broker"),
        units::count(view.topics.len(), "topic")
    )
}

/// Connects to what the brokers tell clients to connect to: where most setups break.
async fn dial_advertised(
    client: &Client,
    view: &ClusterView,
    bootstrap: &str,
    steps: &mut Vec<Step>,
) {
    for broker in &view.brokers {
        let address = broker.address();
        let mut found: Vec<Step> = Vec::new();
        let connection = path::connect(&address, client.options(), &mut found).await;
        let Some(worst) = found.pop() else { continue };
        let step = Step { step: "advertised", target: format!("{} {address}", broker.id), ..worst };
        steps.push(match &connection {
            Some(connection) => misrouted(step, view, connection),
            None => step.fix(path::advertised_fix(broker, bootstrap)),
        });
    }
}

/// An advertised address may lead to some other Kafka.
fn misrouted(step: Step, view: &ClusterView, connection: &Connection) -> Step {
    let apis = connection.api_versions().api_keys.len();
    let cluster = view.cluster_id.as_deref().unwrap_or("?");
    Step { detail: format!("reachable, {apis} APIs, cluster {cluster}"), ..step }
}

async fn round_trip(client: &Arc<Client>, topic: &str) -> Step {
    let timer = Timer::start("write", topic);
    match write_and_read(client, topic).await {
        Ok(place) => timer.end(Outcome::Ok, format!("a record went to {place} and came back")),
        Err(failure) => {
            let step = timer.end(Outcome::Failed, failure.message);
            match failure.fix {
                Some(fix) => step.fix(fix),
                None => step,
            }
        }
    }
}

async fn write_and_read(client: &Arc<Client>, topic: &str) -> Result<String, Failure> {
    let found = client.topic_for_produce(topic).await?.ok_or_else(|| {
        Failure::item(topic, "UNKNOWN_TOPIC_OR_PARTITION", "there is no such topic")
            .fix(format!("ottla topic create {topic}"))
    })?;
    let settings = ProducerSettings {
        acks: Acks::All,
        compression: ottla_protocol::records::Compression::NONE,
        batch_bytes: 4096,
        idempotent: false,
    };
    let partitions = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
    let mut producer = Producer::open(Arc::clone(client), topic, partitions, settings).await?;
    let now = ottla_protocol::model::Timestamp(jiff::Timestamp::now().as_millisecond());
    let value = format!("ottla doctor {} {}", std::process::id(), now.0);
    let record = ottla_protocol::records::NewRecord {
        value: Some(value.as_bytes()),
        ..ottla_protocol::records::NewRecord::at(now)
    };
    producer.push(Target::Any, record).await?;
    let (sent, ended) = producer.finish().await;
    ended?;
    let Some((partition, sent)) = sent.into_iter().next() else {
        return Err(Failure::item(topic, "NOT_SENT", "the record was not sent"));
    };
    let span = Span { from: sent.first_offset, until: Some(sent.first_offset + 1) };
    let spans = BTreeMap::from([((topic.to_owned(), partition), span)]);
    let settings = FetchSettings {
        isolation: Isolation::ReadUncommitted,
        max_bytes: 1 << 20,
        partition_max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait: Duration::from_millis(500),
        on_out_of_range: OutOfRange::Fail,
    };
    let mut fetcher = Fetcher::start(Arc::clone(client), settings, spans);
    let mut same = false;
    while let Some(event) = fetcher.next().await {
        if let Event::Records(chunk) = event? {
            let visited = chunk.visit(|record| {
                same |= record.value == Some(value.as_bytes());
                Visit::Next
            });
            visited
                .map_err(|damaged| Failure::item(topic, "CORRUPT_MESSAGE", damaged.to_string()))?;
        }
    }
    if !same {
        return Err(Failure::item(topic, "NOT_READ", "the record did not come back as written"));
    }
    Ok(format!("{topic}-{partition} at offset {}", sent.first_offset))
}

fn report(steps: &[Step]) -> Report {
    let failed: Vec<&Step> = steps.iter().filter(|s| s.result == Outcome::Failed).collect();
    let verdict = match failed.first() {
        None if steps.iter().any(|step| step.result == Outcome::Warning) => {
            "clients can work with this cluster, with the warnings above".to_owned()
        }
        None => "clients can work with this cluster".to_owned(),
        Some(first) => {
            format!("clients fail at {} ({}): {}", first.step, first.target, first.detail)
        }
    };
    let mut report = Report::table("doctor", COLUMNS, rows::all(steps));
    report.items = vec![json!({
        "healthy": failed.is_empty(),
        "verdict": verdict,
        "steps": steps,
    })];
    report.condition_failed = !failed.is_empty();
    report.notes.push(verdict);
    for fix in steps.iter().filter_map(|step| step.fix.as_deref()) {
        report.notes.push(format!("  {fix}"));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_verdict() {
        let ok = Timer::start("dns", "h").end(Outcome::Ok, "1.2.3.4");
        let bad = Timer::start("tcp", "h:1").end(Outcome::Failed, "refuses connections");
        let good = report(std::slice::from_ref(&ok));
        assert!(!good.condition_failed);
        let report = report(&[ok, bad.fix("start it")]);
        assert!(report.condition_failed);
        assert_eq!(report.notes[0], "clients fail at tcp (h:1): refuses connections");
        assert_eq!(report.notes[1], "  start it");
    }
}
