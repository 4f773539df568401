//! `ottla bench`: the same load on any cluster that speaks Kafka's protocol, and what it measures.
//!
//! Owns: the options, the bench's own topic, rounds over one or two clusters, the report. Never:
//! sends a request of the load itself (one file per load).
//!
//! What is counted lies between the end of the warm-up and the end of the load. At a fixed rate a
//! latency counts from when its request was due, so that a stall is charged to all that waited
//! behind it; flat out it counts from when the request was written.

mod e2e;
mod fetch;
mod link;
mod pace;
mod produce;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::admin::{self, Effect, NewTopic};
use crate::client::metadata::TopicView;
use crate::client::offsets::{self, Isolation};
use crate::client::{Client, ClientOptions};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::{rows, units};

use pace::Window;
use tally::{Figures, Tally};

#[derive(Subcommand, Debug)]
pub(crate) enum BenchCommand {
    /// Write batches, flat out or at a rate: rate and time to the acknowledgement
    Produce(produce::ProduceArgs),
    /// Read a topic again and again: rate and time of a fetch
    Consume(fetch::ConsumeArgs),
    /// Write at a rate and read at the same time: time from due to arrival
    #[command(visible_alias = "latency")]
    E2e(e2e::E2eArgs),
}

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("CLUSTER", "cluster"),
    Column::number("ROUND", "round"),
    Column::number("RECORDS/S", "records_per_s"),
    Column::number("MB/S", "mb_per_s"),
    Column::number("REQUESTS/S", "requests_per_s"),
    Column::number("P50 MS", "p50_ms"),
    Column::number("P95 MS", "p95_ms").wide(),
    Column::number("P99 MS", "p99_ms"),
    Column::number("P99.9 MS", "p999_ms"),
    Column::number("MAX MS", "max_ms"),
    Column::number("LOST", "lost"),
];

/// What every load has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// A topic that exists; the default is one of the bench's own, deleted at the end
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the bench's own topic
    #[arg(long, short, default_value_t = 1)]
    partitions: i32,
    /// A setting of the bench's own topic, KEY=VALUE; may be repeated
    #[arg(long = "config", short, value_name = "KEY=VALUE")]
    configs: Vec<String>,
    /// How long is measured
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = crate::args::span)]
    duration: Duration,
    /// How long the load runs before that
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = crate::args::span)]
    warm_up: Duration,
    /// How often
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Another cluster to put the same load on, in turns, with the ratio of the medians
    #[arg(long, value_name = "HOST:PORT")]
    compare: Option<String>,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

/// A load to put on one topic of one cluster.
#[derive(Clone, Copy, Debug)]
enum Load<'a> {
    Produce(&'a produce::ProduceArgs),
    Consume(&'a fetch::ConsumeArgs),
    E2e(&'a e2e::E2eArgs),
}

/// Where a round takes place.
#[derive(Clone, Debug)]
struct Site {
    client: Arc<Client>,
    topic: TopicView,
}

#[derive(Serialize, Debug)]
struct Item {
    load: &'static str,
    /// The bootstrap address, or `ratio` for the second cluster's medians over the first's.
    cluster: String,
    round: Option<u32>,
    #[serde(flatten)]
    figures: Figures,
}

impl BenchCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "bench produce",
            Self::Consume(_) => "bench consume",
            Self::E2e(_) => "bench e2e",
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        let (load, common) = match self {
            Self::Produce(args) => (Load::Produce(args), &args.common),
            Self::Consume(args) => (Load::Consume(args), &args.common),
            Self::E2e(args) => (Load::E2e(args), &args.common),
        };
        common.check()?;
        let options = context.settings.client_options()?;
        let mut clusters = vec![(options.bootstrap.join(","), options.clone())];
        if let Some(other) = &common.compare {
            let bootstrap = other.split(',').map(str::to_owned).collect();
            clusters.push((other.clone(), ClientOptions { bootstrap, ..options }));
        }
        let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); clusters.len()];
        let mut items: Vec<Value> = Vec::new();
        for round in 1..=common.rounds {
            for (index, (name, options)) in clusters.iter().enumerate() {
                let figures = run_once(options, common, load).await?;
                let (load, cluster) = (load.name(), name.clone());
                rounds[index].push(figures.clone());
                items.push(rows::one(&Item { load, cluster, round: Some(round), figures }));
            }
        }
        if let [first, second] = &rounds[..] {
            let figures = Figures::ratio(second, first);
            let (load, cluster) = (load.name(), "ratio".to_owned());
            items.push(rows::one(&Item { load, cluster, round: None, figures }));
        }
        let counted = units::duration(common.duration);
        let from = if load.is_paced() { "when they were due" } else { "the writing of a request" };
        let note = format!(
            "{counted} after {} of warm-up; latencies count from {from}",
            units::duration(common.warm_up)
        );
        Ok(Report::table(self.name(), COLUMNS, items).note(note))
    }
}

impl Common {
    fn check(&self) -> Result<(), Failure> {
        if self.duration.is_zero() || self.rounds == 0 || self.partitions < 1 {
            let what = "--duration, --rounds and --partitions must be above 0";
            return Err(Failure::usage(what));
        }
        // The time at which a record was due stands in its value.
        if self.size < e2e::STAMP_BYTES {
            return Err(Failure::usage(format!("--size must be at least {}", e2e::STAMP_BYTES)));
        }
        Ok(())
    }
}

impl Load<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::E2e(_) => "e2e",
        }
    }

    fn is_paced(&self) -> bool {
        match self {
            Self::Produce(args) => args.is_paced(),
            Self::Consume(_) => false,
            Self::E2e(_) => true,
        }
    }
}

/// One round on one cluster, in a topic of its own unless one was named.
async fn run_once(
    options: &ClientOptions,
    common: &Common,
    load: Load<'_>,
) -> Result<Figures, Failure> {
    let client = Client::connect(options.clone()).await?;
    let own = match &common.topic {
        Some(_) => None,
        None => Some(create(&client, common).await?),
    };
    let name = own.as_deref().or(common.topic.as_deref()).unwrap_or_default();
    let measured = measure(&client, name, own.is_some(), common, load).await;
    if let Some(own) = &own {
        admin::delete_topics(&client, std::slice::from_ref(own)).await?;
    }
    let tally = measured?;
    tally.figures(common.duration).ok_or_else(|| {
        Failure::item(name, "NOTHING_MEASURED", "no request was answered while it was measured")
            .fix("give it more time with --duration")
    })
}

async fn measure(
    client: &Arc<Client>,
    name: &str,
    is_own: bool,
    common: &Common,
    load: Load<'_>,
) -> Result<Tally, Failure> {
    let view = client.metadata(Some(&[name])).await?;
    let topic = view.topic(name).cloned().unwrap_or_default();
    if !topic.error.is_none() {
        return Err(Failure::refused(name, topic.error, None));
    }
    let site = Site { client: Arc::clone(client), topic };
    match load {
        Load::Produce(args) => produce::run(&site, args, Window::now(common)).await,
        Load::Consume(args) => {
            if is_own {
                produce::fill(&site, common.size, args.records).await?;
            }
            fetch::run(&site, args, common).await
        }
        Load::E2e(args) => e2e::run(&site, args, common).await,
    }
}

/// Creates the bench's own topic.
async fn create(client: &Arc<Client>, common: &Common) -> Result<String, Failure> {
    let name = format!("ottla-bench-{}-{}", std::process::id(), Context::clock().now_ms);
    let configs: Result<Vec<(String, String)>, Failure> = common
        .configs
        .iter()
        .map(|setting| {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--config {setting}: write KEY=VALUE")))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect();
    let topic = NewTopic {
        name: name.clone(),
        partitions: common.partitions,
        replication_factor: -1,
        assignment: Vec::new(),
        configs: configs?,
    };
    let response = admin::create_topics(client, &[topic], Effect::Apply).await?;
    for answer in &response.topics {
        let code = ErrorCode::from_code(answer.error_code);
        if !code.is_none() {
            return Err(Failure::refused(&*name, code, answer.error_message.as_deref()));
        }
    }
    client.await_topics(&[&name]).await?;
    // Kafka names leaders that do not know of it yet: they are asked until they do.
    let questions = (0..common.partitions).map(|index| ((name.clone(), index), offsets::LATEST));
    offsets::list(client, &questions.collect(), Isolation::ReadUncommitted).await?;
    Ok(name)
}

/// Waits for every thread of a load and adds up what they saw; the first failure ends the load.
async fn collect(mut running: JoinSet<Result<Tally, Failure>>) -> Result<Tally, Failure> {
    let mut sum = Tally::default();
    while let Some(ended) = running.join_next().await {
        let ended = ended.map_err(|error| Failure::item("", "INTERNAL", error.to_string()))?;
        sum.merge(ended?);
    }
    Ok(sum)
}
