//! `ottla cluster quorum`: who keeps the cluster's metadata, and changing that.
//!
//! Owns: the table and its verdict, `quorum add` and `quorum remove` with their guards. Never: changes
//! anything without consent where a majority could be lost.

use clap::{Args, Subcommand};
use kafka_protocol::messages::describe_quorum_response::{PartitionData, ReplicaState};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{Uuid, kafka_uuid_text};
use serde_json::json;

use crate::client::Client;
use crate::client::replicas::{self, Voter};
use crate::context::{Consent, Context, Danger};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Column, Report};

#[derive(Args, Debug)]
pub(crate) struct QuorumArgs {
    #[command(subcommand)]
    change: Option<QuorumChange>,
}

#[derive(Subcommand, Debug)]
enum QuorumChange {
    /// Let a node that follows the metadata vote on it
    Add(AddArgs),
    /// Take the vote of a node, or of a disk that is lost
    Remove(RemoveArgs),
}

#[derive(Args, Debug)]
struct AddArgs {
    /// The node id
    node: i32,
    /// Where controllers reach it, as NAME://HOST:PORT; without it as the node itself has registered
    #[arg(long)]
    listener: Option<String>,
}

#[derive(Args, Debug)]
struct RemoveArgs {
    /// The node id
    node: i32,
    #[command(flatten)]
    danger: Danger,
}

pub(super) const COLUMNS: &[Column] = &[
    Column::number("NODE", "node"),
    Column::text("ROLE", "role"),
    Column::number("LOG-END", "log_end"),
    Column::number("LAG", "lag"),
    Column::number("CAUGHT-UP-MS", "caught_up_ms"),
    Column::text("DIRECTORY", "directory"),
];

/// A voter that had everything this recently is in step.
const IN_STEP_MS: i64 = 10_000;

impl QuorumArgs {
    pub(super) const fn name(&self) -> &'static str {
        match self.change {
            None => "cluster quorum",
            Some(QuorumChange::Add(_)) => "cluster quorum add",
            Some(QuorumChange::Remove(_)) => "cluster quorum remove",
        }
    }

    pub(super) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        let client = context.client().await?;
        let partition = quorum(&client).await?;
        match &self.change {
            None => Ok(show(&partition, self.name())),
            Some(QuorumChange::Add(args)) => add(&client, &partition, args).await,
            Some(QuorumChange::Remove(args)) => remove(context, &client, &partition, args).await,
        }
    }
}

async fn quorum(client: &Client) -> Result<PartitionData, Failure> {
    let response = replicas::quorum(client).await?;
    let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let Some(partition) = partition else {
        return Err(Failure::new("NO_QUORUM", "the broker names no quorum", Exit::ItemFailed));
    };
    let code = ErrorCode::from_code(partition.error_code);
    if code.is_none() {
        return Ok(partition);
    }
    let words = partition.error_message.map(|words| words.to_string());
    Err(Failure::refused("quorum", code, words.as_deref()))
}

/// The time of the newest look at anybody, by the leader's clock.
fn now(partition: &PartitionData) -> i64 {
    let states = partition.current_voters.iter().chain(&partition.observers);
    states.map(|state| state.last_caught_up_timestamp).max().unwrap_or(-1)
}

fn in_step(state: &ReplicaState, now: i64) -> bool {
    let at = state.last_caught_up_timestamp;
    at >= 0 && now.saturating_sub(at) <= IN_STEP_MS
}

/// Whether these voters could decide.
fn decides(voters: &[&ReplicaState], now: i64) -> bool {
    let there = voters.iter().filter(|state| in_step(state, now)).count();
    there > voters.len() / 2
}

fn show(partition: &PartitionData, command: &'static str) -> Report {
    let leader = partition.leader_id.0;
    let states = || {
        let voters = partition.current_voters.iter().map(|state| (state, true));
        voters.chain(partition.observers.iter().map(|state| (state, false)))
    };
    let newest = states().map(|(state, _)| state.log_end_offset).max().unwrap_or_default();
    let now = now(partition);
    let row = |(state, votes): (&ReplicaState, bool)| {
        let at = state.last_caught_up_timestamp;
        json!({
            "node": state.replica_id.0,
            "role": match (state.replica_id.0 == leader, votes) {
                (true, true) => "leader",
                (false, true) => "voter",
                (_, false) => "observer",
            },
            "log_end": state.log_end_offset,
            "lag": newest.saturating_sub(state.log_end_offset),
            "caught_up_ms": (at >= 0).then(|| now.saturating_sub(at)),
            "directory": kafka_uuid_text(state.replica_directory_id),
        })
    };
    let rows: Vec<_> = states().map(row).collect();
    let voters: Vec<&ReplicaState> = partition.current_voters.iter().collect();
    let healthy = leader >= 0 && decides(&voters, now);
    let mut report = Report::table(command, COLUMNS, rows.clone());
    report.items = vec![json!({
        "leader": leader,
        "epoch": partition.leader_epoch,
        "high_watermark": partition.high_watermark,
        "healthy": healthy,
        "replicas": rows,
    })];
    report.condition_failed = !healthy;
    report
}

/// One row: a node whose vote changes.
fn change(command: &'static str, role: &str, state: &ReplicaState) -> Report {
    let directory = kafka_uuid_text(state.replica_directory_id);
    let (node, end) = (state.replica_id.0, state.log_end_offset);
    let row = json!({"node": node, "role": role, "log_end": end, "directory": directory});
    Report::table(command, COLUMNS, vec![row])
}

fn voter(state: &ReplicaState) -> Voter {
    let directory: Uuid = state.replica_directory_id;
    Voter { node: state.replica_id.0, directory }
}

async fn add(
    client: &Client,
    partition: &PartitionData,
    args: &AddArgs,
) -> Result<Report, Failure> {
    let found = partition.observers.iter().find(|state| state.replica_id.0 == args.node);
    let Some(state) = found else {
        let target = format!("node {}", args.node);
        let failure = match partition.current_voters.iter().any(|of| of.replica_id.0 == args.node) {
            true => Failure::item(target, "DUPLICATE_VOTER", "it votes already")
                .fix("nothing is to be done"),
            false => Failure::item(target, "VOTER_NOT_FOUND", "it does not follow the metadata")
                .fix(
                    "start it with controller.quorum.bootstrap.servers naming the controllers, and \
                 repeat this",
                ),
        };
        return Err(failure);
    };
    let listener = args.listener.as_deref().map(listener).transpose()?;
    let cluster = client.metadata(Some(&[])).await?.cluster_id;
    let (code, words) = replicas::add_voter(client, voter(state), cluster, listener).await?;
    let target = format!("node {}", args.node);
    if !code.is_none() {
        return Err(Failure::refused(target, code, words.as_deref()));
    }
    let note = "it votes; name it in controller.quorum.bootstrap.servers of every node, too";
    Ok(change("cluster quorum add", "voter", state).note(note))
}

/// `NAME://HOST:PORT`, taken apart.
fn listener(text: &str) -> Result<(String, String, u16), Failure> {
    let parts = text.split_once("://").and_then(|(name, at)| {
        let (host, port) = at.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((name.to_owned(), host.to_owned(), port.parse().ok()?))
    });
    parts.ok_or_else(|| Failure::usage(format!("{text}: write a listener as NAME://HOST:PORT")))
}

async fn remove(
    context: &Context,
    client: &Client,
    partition: &PartitionData,
    args: &RemoveArgs,
) -> Result<Report, Failure> {
    let is_it = |state: &&ReplicaState| state.replica_id.0 == args.node;
    let target = format!("node {}", args.node);
    let Some(state) = partition.current_voters.iter().find(is_it) else {
        return Err(Failure::item(target, "VOTER_NOT_FOUND", "it does not vote"));
    };
    let left: Vec<&ReplicaState> =
        partition.current_voters.iter().filter(|state| !is_it(state)).collect();
    let plan = || change("cluster quorum remove", "observer", state);
    if !decides(&left, now(partition)) {
        let message = format!(
            "of the {} voters that would be left no majority is in step: nothing could be decided",
            left.len()
        );
        let failure = Failure::item(target, "NO_MAJORITY", message);
        let failure = failure.fix("add a voter, or bring the others back, first");
        return Ok(plan().with_errors(vec![failure]));
    }
    let question = format!("Take the vote of node {}, which leaves {}", args.node, left.len());
    match context.consent(plan(), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(*answer),
        Consent::Given => {}
    }
    let (code, words) = replicas::remove_voter(client, voter(state)).await?;
    if code.is_none() {
        return Ok(plan().note(format!("node {} does not vote any more", args.node)));
    }
    Ok(plan().with_errors(vec![Failure::refused(target, code, words.as_deref())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(node: i32, caught_up: i64) -> ReplicaState {
        ReplicaState::default()
            .with_replica_id(node.into())
            .with_last_caught_up_timestamp(caught_up)
    }

    #[test]
    fn a_majority_of_the_voters_must_be_in_step() {
        let (fresh, late, never) =
            (state(1, 50_000), state(2, 50_000 - IN_STEP_MS - 1), state(3, -1));
        assert!(decides(&[&fresh], 50_000));
        assert!(!decides(&[&fresh, &late], 50_000), "one of two is no majority");
        assert!(decides(&[&fresh, &fresh, &never], 50_000));
        assert!(!decides(&[], 50_000), "somebody has to decide");
    }

    #[test]
    fn a_listener_is_taken_apart() {
        let expected = ("C".to_owned(), "::1".to_owned(), 9093);
        assert_eq!(listener("C://[::1]:9093").unwrap(), expected);
        assert!(listener("h:9093").is_err() && listener("C://h:x").is_err());
    }
}
