//! `ottla partition`: replicas and leaders.
//!
//! Owns: the list, the moves, the elections. Never: a plan (see `plan`), or a change without having shown it
//! where it is asked to.

pub(crate) mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::metadata::PartitionView;
use crate::client::offsets::Partition;
use crate::client::replicas::{self, Answer, Election};
use crate::client::{Client, admin};
use crate::context::{Consent, Context, Danger, DryRun};
use crate::failure::Failure;
use crate::output::{Column, Kind, Report};
use crate::select::TopicPartitions;
use crate::{rows, select, units};
use plan::{Sizes, Step};

/// Between two looks at moves that are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Subcommand, Debug)]
pub(crate) enum PartitionCommand {
    /// List partitions with their leaders and replicas
    List(ListArgs),
    /// Move partitions to these brokers, the preferred leader first
    Move(MoveArgs),
    /// Spread replicas evenly over the brokers; without --apply only show how
    Rebalance(RebalanceArgs),
    /// Give leadership back to preferred replicas, or with --unclean give up a lost majority
    Elect(ElectArgs),
    /// List moves that are under way
    Moves,
    /// Cancel moves that are under way
    Cancel(CancelArgs),
}

const LIST: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("LEADER", "leader"),
    Column::number("EPOCH", "epoch"),
    Column::text("REPLICAS", "replicas"),
    Column::text("IN-SYNC", "in_sync"),
    Column::text("STATE", "state"),
];

const STEPS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::text("FROM", "from"),
    Column::text("TO", "to"),
    Column::of("COPIES", "bytes", Kind::Bytes),
];

const MOVES: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::text("REPLICAS", "replicas"),
    Column::text("ADDING", "adding"),
    Column::text("REMOVING", "removing"),
    Column::of("COPIED", "bytes_copied", Kind::Bytes),
    Column::of("OF", "bytes", Kind::Bytes),
];

const ELECTED: &[Column] =
    &[Column::text("TOPIC", "topic"), Column::number("PARTITION", "partition")];

const LOST: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::text("LOST", "lost"),
];

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// TOPIC, TOPIC:PARTITIONS or a pattern; all where none is named
    topics: Vec<String>,
    /// Only partitions with a replica on this broker
    #[arg(long)]
    broker: Option<i32>,
    /// Only partitions without a leader or with replicas that are behind
    #[arg(long)]
    unhealthy: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MoveArgs {
    /// TOPIC or TOPIC:PARTITIONS
    #[arg(value_name = "TOPIC[:PARTITIONS]")]
    topic: String,
    /// Brokers that shall hold it, such as 1,2,3
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<i32>,
    /// Wait until the replicas have arrived
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Args, Debug)]
pub(crate) struct RebalanceArgs {
    /// Leave this broker without replicas; may be repeated
    #[arg(long, value_name = "ID")]
    exclude_broker: Vec<i32>,
    /// Touch at most this many partitions
    #[arg(long, value_name = "N")]
    max_moves: Option<usize>,
    /// Carry it out
    #[arg(long)]
    apply: bool,
    /// Wait until the replicas have arrived
    #[arg(long, requires = "apply")]
    wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ElectArgs {
    /// TOPIC, TOPIC:PARTITIONS or a pattern; all where none is named
    #[arg(required_if_eq("unclean", "true"))]
    topics: Vec<String>,
    /// Where a majority of the replicas is lost for good: go on with the best one that is left, and lose what
    /// it lacks. What comes back later is discarded
    #[arg(long)]
    unclean: bool,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// Only moves of these topics
    topics: Vec<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Serialize, Debug)]
struct Item {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    epoch: i32,
    replicas: String,
    in_sync: String,
    state: &'static str,
}

#[derive(Serialize, Debug)]
struct StepItem {
    topic: String,
    partition: i32,
    from: String,
    to: String,
    /// What goes over the network.
    bytes: i64,
}

#[derive(Serialize, Debug)]
struct MoveItem {
    topic: String,
    partition: i32,
    replicas: String,
    adding: String,
    removing: String,
    /// What the new replicas have so far, and what the leader has for them.
    bytes_copied: i64,
    bytes: i64,
}

impl PartitionCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "partition list",
            Self::Move(_) => "partition move",
            Self::Rebalance(_) => "partition rebalance",
            Self::Elect(_) => "partition elect",
            Self::Moves => "partition moves",
            Self::Cancel(_) => "partition cancel",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::List(_) => LIST,
            Self::Move(_) | Self::Rebalance(_) => STEPS,
            Self::Elect(args) if args.unclean => LOST,
            Self::Elect(_) => ELECTED,
            Self::Moves | Self::Cancel(_) => MOVES,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::List(args) => list(context, args).await,
            Self::Move(args) => move_to(context, args).await,
            Self::Rebalance(args) => rebalance(context, args).await,
            Self::Elect(args) if args.unclean => give_up(context, args).await,
            Self::Elect(args) => elect(context, args).await,
            Self::Moves => {
                let client = context.client().await?;
                moves_report("partition moves", &client, &replicas::moves(&client).await?).await
            }
            Self::Cancel(args) => cancel(context, args).await,
        }
    }
}

fn ids(nodes: &[i32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn state(partition: &PartitionView) -> &'static str {
    match partition {
        _ if partition.leader < 0 => "leaderless",
        _ if partition.under_replicated() => "behind",
        _ if partition.replicas.first() != Some(&partition.leader) => "not preferred",
        _ => "ok",
    }
}

/// Partitions that are named, each with what is known of it.
async fn named(
    client: &std::sync::Arc<Client>,
    topics: &[String],
) -> Result<(Vec<(Partition, PartitionView)>, Vec<Failure>), Failure> {
    let wanted = topics.iter().map(|text| TopicPartitions::parse(text));
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    if wanted.is_empty() {
        let view = client.metadata(None).await?;
        let all = view.topics.iter().flat_map(|topic| {
            let name = topic.name.clone();
            topic.partitions.iter().map(move |of| ((name.clone(), of.index), of.clone()))
        });
        return Ok((all.collect(), Vec::new()));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for of in &wanted {
        let selection = select::topics(client, std::slice::from_ref(&of.topic)).await?;
        for topic in &selection.topics {
            for index in of.within(topic)? {
                if let Some(partition) = topic.partition(index) {
                    found.push(((topic.name.clone(), index), partition.clone()));
                }
            }
        }
        failures.extend(selection.failures);
    }
    Ok((found, failures))
}

async fn list(context: &Context, args: &ListArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (found, failures) = named(&client, &args.topics).await?;
    let items: Vec<Item> = found
        .into_iter()
        .filter(|(_, of)| args.broker.is_none_or(|id| of.replicas.contains(&id)))
        .map(|((topic, partition), of)| Item {
            topic,
            partition,
            leader: (of.leader >= 0).then_some(of.leader),
            epoch: of.leader_epoch,
            replicas: ids(&of.replicas),
            in_sync: ids(&of.in_sync),
            state: state(&of),
        })
        .filter(|item| !args.unhealthy || ["leaderless", "behind"].contains(&item.state))
        .collect();
    Ok(Report::table("partition list", LIST, rows::all(&items)).with_errors(failures))
}

fn steps_report(command: &'static str, steps: &[Step], sizes: &Sizes) -> Report {
    let item = |step: &Step| StepItem {
        topic: step.partition.0.clone(),
        partition: step.partition.1,
        from: ids(&step.from),
        to: ids(&step.to),
        bytes: plan::copied(step, sizes),
    };
    let items: Vec<StepItem> = steps.iter().map(item).collect();
    Report::table(command, STEPS, rows::all(&items))
}

/// Failures among the answers.
fn refused(answers: Vec<Answer>) -> Vec<Failure> {
    let failed = answers.into_iter().filter(|answer| !answer.code.is_none());
    failed
        .map(|answer| {
            let target = format!("{}-{}", answer.partition.0, answer.partition.1);
            Failure::refused(target, answer.code, answer.words.as_deref())
        })
        .collect()
}

/// Begins the moves of a plan, and waits for them where that is wanted; gives what was refused.
pub(crate) async fn carry_out(
    client: &Client,
    steps: &[Step],
    wait: bool,
) -> Result<Vec<Failure>, Failure> {
    let wanted: Vec<(Partition, Option<Vec<i32>>)> =
        steps.iter().map(|step| (step.partition.clone(), Some(step.to.clone()))).collect();
    let failures = refused(replicas::reassign(client, &wanted).await?);
    while wait && failures.is_empty() && !client.deadline().left().is_zero() {
        let under_way = replicas::moves(client).await?;
        if !under_way.iter().any(|of| steps.iter().any(|step| step.partition == of.partition)) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(failures)
}

async fn move_to(context: &Context, args: &MoveArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (found, mut failures) = named(&client, std::slice::from_ref(&args.topic)).await?;
    let steps: Vec<Step> = found
        .into_iter()
        .filter(|(_, of)| of.replicas != args.to)
        .map(|(partition, of)| Step { partition, from: of.replicas, to: args.to.clone() })
        .collect();
    let sizes = admin::leader_sizes(&client, &client.metadata(None).await?).await?;
    let mut report = steps_report("partition move", &steps, &sizes);
    if args.dry_run.dry_run || steps.is_empty() {
        report.dry_run = args.dry_run.dry_run;
        return Ok(report.with_errors(failures));
    }
    failures.extend(carry_out(&client, &steps, args.wait).await?);
    let note = if args.wait { "the replicas are there" } else { "see `ottla partition moves`" };
    let done = failures.is_empty();
    let report = report.with_errors(failures);
    Ok(if done { report.note(note) } else { report })
}

async fn rebalance(context: &Context, args: &RebalanceArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(None).await?;
    let most = args.max_moves.unwrap_or(usize::MAX);
    let sizes = admin::leader_sizes(&client, &view).await?;
    let steps = plan::rebalance(&view, &sizes, &args.exclude_broker, most);
    let mut report = steps_report("partition rebalance", &steps, &sizes);
    if steps.is_empty() {
        return Ok(report.note("the brokers hold about the same; nothing to do"));
    }
    for (id, (before, after)) in plan::held(&view, &sizes, &steps) {
        let (before, after) = (units::bytes(before), units::bytes(after));
        report = report.note(format!("broker {id} holds {before} now and {after} then"));
    }
    if !args.apply {
        report.dry_run = true;
        return Ok(report.note("repeat it with --apply to carry it out"));
    }
    let failures = carry_out(&client, &steps, args.wait).await?;
    Ok(report.with_errors(failures))
}

async fn elect(context: &Context, args: &ElectArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (found, mut failures) = named(&client, &args.topics).await?;
    let wanted: Vec<Partition> = found
        .into_iter()
        .filter(|(_, of)| of.replicas.first() != Some(&of.leader))
        .map(|(partition, _)| partition)
        .collect();
    if wanted.is_empty() {
        let empty = Report::table("partition elect", ELECTED, Vec::new()).with_errors(failures);
        let note = "preferred replicas lead already; nothing to do";
        return Ok(if empty.errors.is_empty() { empty.note(note) } else { empty });
    }
    if args.danger.dry_run {
        let mut report = Report::table("partition elect", ELECTED, rows_of(wanted.iter()));
        report.dry_run = true;
        return Ok(report.with_errors(failures));
    }
    let answers = replicas::elect(&client, Election::Preferred, &wanted).await?;
    let done = answers.iter().filter(|answer| answer.code.is_none());
    let done = rows_of(done.map(|answer| &answer.partition));
    failures.extend(refused(answers));
    Ok(Report::table("partition elect", ELECTED, done).with_errors(failures))
}

fn rows_of<'a>(partitions: impl Iterator<Item = &'a Partition>) -> Vec<serde_json::Value> {
    let row = |(topic, partition): &Partition| serde_json::json!({ "topic": topic, "partition": partition });
    partitions.map(row).collect()
}

/// Unclean elections of those that have no leader.
async fn give_up(context: &Context, args: &ElectArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let (found, mut failures) = named(&client, &args.topics).await?;
    let wanted: Vec<Partition> =
        found.into_iter().filter(|(_, of)| of.leader < 0).map(|(partition, _)| partition).collect();
    let row = |(topic, partition): &Partition, lost: &str| serde_json::json!({ "topic": topic, "partition": partition, "lost": lost });
    let report = |rows| Report::table("partition elect", LOST, rows);
    if wanted.is_empty() {
        let empty = report(Vec::new()).with_errors(failures);
        let note = "every partition has a leader; nothing to do";
        return Ok(if empty.errors.is_empty() { empty.note(note) } else { empty });
    }
    let plan = wanted.iter().map(|of| row(of, "whatever the replica that is left lacks")).collect();
    let what = units::count(wanted.len(), "partition");
    let question = format!("Give up what is lost of {what}");
    if let Consent::Withheld(report) = context.consent(report(plan), args.danger, &question) {
        return Ok(*report);
    }
    let answers = replicas::elect(&client, Election::Unclean, &wanted).await?;
    let done = answers.iter().filter(|answer| answer.code.is_none());
    let words = |answer: &Answer| answer.words.clone().unwrap_or_default();
    let done = done.map(|answer| row(&answer.partition, &words(answer))).collect();
    failures.extend(refused(answers));
    Ok(report(done).with_errors(failures))
}

async fn moves_report(
    command: &'static str,
    client: &Client,
    moves: &[replicas::Move],
) -> Result<Report, Failure> {
    let sizes = match moves {
        [] => BTreeMap::new(),
        _ => admin::replica_sizes(client, &client.metadata(None).await?).await?,
    };
    let held = |of: &replicas::Move, id: i32| {
        sizes.get(&(of.partition.clone(), id)).copied().unwrap_or_default()
    };
    let item = |of: &replicas::Move| {
        let most = of.replicas.iter().map(|id| held(of, *id)).max().unwrap_or_default();
        let new = i64::try_from(of.adding.len()).unwrap_or(i64::MAX);
        MoveItem {
            topic: of.partition.0.clone(),
            partition: of.partition.1,
            replicas: ids(&of.replicas),
            adding: ids(&of.adding),
            removing: ids(&of.removing),
            bytes_copied: of.adding.iter().map(|id| held(of, *id)).sum(),
            bytes: most.saturating_mul(new),
        }
    };
    let items: Vec<MoveItem> = moves.iter().map(item).collect();
    let report = Report::table(command, MOVES, rows::all(&items));
    Ok(if items.is_empty() { report.note("nothing is being moved") } else { report })
}

async fn cancel(context: &Context, args: &CancelArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let mut moves = replicas::moves(&client).await?;
    moves.retain(|of| args.topics.is_empty() || args.topics.contains(&of.partition.0));
    let mut report = moves_report("partition cancel", &client, &moves).await?;
    if args.dry_run.dry_run || moves.is_empty() {
        report.dry_run = args.dry_run.dry_run;
        return Ok(report);
    }
    let wanted: Vec<(Partition, Option<Vec<i32>>)> =
        moves.iter().map(|of| (of.partition.clone(), None)).collect();
    let failures = refused(replicas::reassign(&client, &wanted).await?);
    Ok(report.with_errors(failures))
}
