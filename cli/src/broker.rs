//! `ottla broker`: what single brokers offer, and taking one out of work or out of the cluster.
//!
//! Owns: `broker apis`, `broker drain` and `broker remove`. Never: a plan of moves (that is
//! `partition::plan`), or a change without consent where it cannot be undone.

use std::time::Duration;

use clap::{Args, Subcommand};
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use crate::client::connection::{Connection, api_name};
use crate::client::metadata::ClusterView;
use crate::client::offsets::Partition;
use crate::client::{admin, replicas};
use crate::context::{Consent, Context, Danger, DryRun};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::partition::plan::{self, Step};
use crate::select::item_failure;
use crate::{partition, rows};

/// Between two looks at what a broker leads.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Subcommand, Debug)]
pub(crate) enum BrokerCommand {
    /// List the APIs of each broker with their versions
    Apis(ApisArgs),
    /// Move leadership away from a broker, so that it can be stopped without a pause
    Drain(DrainArgs),
    /// Move all replicas off a broker; once it is stopped, take it out of the cluster
    Remove(RemoveArgs),
}

const COLUMNS: &[Column] = &[
    Column::number("BROKER", "broker"),
    Column::number("KEY", "key"),
    Column::text("API", "api"),
    Column::number("MIN", "min"),
    Column::number("MAX", "max"),
];

const STEPS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::text("FROM", "from"),
    Column::text("TO", "to"),
];

const FEATURES: &[Column] = &[
    Column::number("BROKER", "broker"),
    Column::text("FEATURE", "feature"),
    Column::number("LEVEL", "level"),
    Column::number("MIN", "min"),
    Column::number("MAX", "max"),
];

#[derive(Args, Debug)]
pub(crate) struct ApisArgs {
    /// Only this broker
    #[arg(long)]
    broker: Option<i32>,
}

#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    id: i32,
    /// Wait until it leads nothing any more
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    id: i32,
    /// Wait until the replicas have arrived elsewhere
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Serialize, Debug)]
struct Item {
    broker: i32,
    key: i16,
    api: String,
    min: i16,
    max: i16,
}

#[derive(Serialize, Debug)]
struct Feature {
    broker: i32,
    feature: String,
    /// `None`: not finalized.
    level: Option<i16>,
    min: i16,
    max: i16,
}

impl BrokerCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Apis(_) => "broker apis",
            Self::Drain(_) => "broker drain",
            Self::Remove(_) => "broker remove",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Apis(_) => COLUMNS,
            Self::Drain(_) | Self::Remove(_) => STEPS,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Apis(args) => apis(context, args).await,
            Self::Drain(args) => drain(context, args).await,
            Self::Remove(args) => remove(context, args).await,
        }
    }
}

fn steps(command: &'static str, steps: &[Step]) -> Report {
    let ids = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows = steps.iter().map(|step| {
        let (topic, partition) = &step.partition;
        let (from, to) = (ids(&step.from), ids(&step.to));
        serde_json::json!({ "topic": topic, "partition": partition, "from": from, "to": to })
    });
    Report::table(command, STEPS, rows.collect())
}

fn led_by(view: &ClusterView, id: i32) -> Vec<Partition> {
    let all = view.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |partition| (topic.name.clone(), partition))
    });
    let led = all.filter(|(_, partition)| partition.leader == id && partition.replicas.len() > 1);
    led.map(|(topic, partition)| (topic, partition.index)).collect()
}

/// Another replica becomes the preferred leader of what this broker should lead, and then leads it.
/// Partitions with one replica stay: nobody else has them.
async fn drain(context: &Context, args: &DrainArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(None).await?;
    let plan = plan::demote(&view, args.id);
    let led = led_by(&view, args.id);
    let mut report = steps("broker drain", &plan);
    if args.dry_run.dry_run {
        report.dry_run = true;
        return Ok(report);
    }
    let mut failures = partition::carry_out(&client, &plan, false).await?;
    if !led.is_empty() && failures.is_empty() {
        let answers = replicas::elect(&client, replicas::Election::Preferred, &led).await?;
        let needless = |answer: &replicas::Answer| {
            answer.code.is_none() || answer.code == ErrorCode::ElectionNotNeeded
        };
        failures.extend(answers.into_iter().filter(|answer| !needless(answer)).map(|answer| {
            let target = format!("{}-{}", answer.partition.0, answer.partition.1);
            Failure::refused(target, answer.code, answer.words.as_deref())
        }));
    }
    while args.wait && failures.is_empty() && !client.deadline().left().is_zero() {
        if led_by(&client.metadata(None).await?, args.id).is_empty() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let note = format!(
        "broker {} leads {} partitions less; `ottla partition rebalance` and `elect` spread them again",
        args.id,
        led.len()
    );
    let done = failures.is_empty();
    let report = report.with_errors(failures);
    Ok(if done { report.note(note) } else { report })
}

async fn remove(context: &Context, args: &RemoveArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(None).await?;
    let holds = |id: i32| {
        let partitions = view.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.filter(|partition| partition.replicas.contains(&id)).count()
    };
    let alive = view.brokers.iter().any(|broker| broker.id == args.id);
    let sizes = admin::leader_sizes(&client, &view).await?;
    let plan: Vec<Step> = plan::rebalance(&view, &sizes, &[args.id], usize::MAX)
        .into_iter()
        .filter(|step| step.from.contains(&args.id))
        .collect();
    let report = steps("broker remove", &plan);
    if holds(args.id) > plan.len() {
        let message = format!(
            "broker {} holds {} partitions, and only {} of them fit on the others",
            args.id,
            holds(args.id),
            plan.len()
        );
        let failure = Failure::new("NO_ROOM", message, Exit::ItemFailed)
            .fix("add a broker, or lower the replication factor of those topics first");
        return Ok(report.with_errors(vec![failure]));
    }
    let question = format!("Take broker {} out of the cluster", args.id);
    let report = match context.consent(report, args.danger, &question) {
        Consent::Withheld(answer) => return Ok(*answer),
        Consent::Given => steps("broker remove", &plan),
    };
    if !plan.is_empty() {
        let failures = partition::carry_out(&client, &plan, args.wait).await?;
        let note = "its replicas move; repeat this once they are there and the broker is stopped";
        let done = failures.is_empty();
        let report = report.with_errors(failures);
        return Ok(if done { report.note(note) } else { report });
    }
    if alive {
        return Ok(report.note("it holds nothing any more; stop it and repeat this"));
    }
    let (code, words) = replicas::unregister(&client, args.id).await?;
    if code.is_none() {
        return Ok(report.note(format!("broker {} is no part of the cluster any more", args.id)));
    }
    let target = format!("broker {}", args.id);
    Ok(report.with_errors(vec![Failure::refused(target, code, words.as_deref())]))
}

async fn apis(context: &Context, args: &ApisArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(Some(&[])).await?;
    let (mut items, mut features, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let wanted = view.brokers.iter().filter(|b| args.broker.is_none_or(|id| id == b.id));
    let mut any = false;
    for broker in wanted {
        any = true;
        match client.open(&broker.address()).await {
            Ok(connection) => read(broker.id, &connection, &mut items, &mut features),
            Err(error) => failures.push(item_failure(&format!("broker {}", broker.id), error)),
        }
    }
    if let (Some(id), false) = (args.broker, any) {
        let message = "there is no such broker";
        failures.push(Failure::item(format!("broker {id}"), "BROKER_NOT_AVAILABLE", message));
    }
    let report = Report::table("broker apis", COLUMNS, rows::all(&items));
    Ok(report.with_view("Features", FEATURES, rows::all(&features)).with_errors(failures))
}

fn read(id: i32, connection: &Connection, items: &mut Vec<Item>, features: &mut Vec<Feature>) {
    let answer = connection.api_versions();
    let mut apis: Vec<Item> = answer
        .api_keys
        .iter()
        .map(|api| Item {
            broker: id,
            key: api.api_key,
            api: api_name(api.api_key),
            min: api.min_version,
            max: api.max_version,
        })
        .collect();
    apis.sort_by_key(|item| item.key);
    items.append(&mut apis);
    let mut supported: Vec<Feature> = answer
        .supported_features
        .iter()
        .map(|feature| Feature {
            broker: id,
            feature: feature.name.to_string(),
            level: answer
                .finalized_features
                .iter()
                .find(|finalized| finalized.name == feature.name)
                .map(|finalized| finalized.max_version_level),
            min: feature.min_version,
            max: feature.max_version,
        })
        .collect();
    supported.sort_by(|left, right| left.feature.cmp(&right.feature));
    features.append(&mut supported);
}
