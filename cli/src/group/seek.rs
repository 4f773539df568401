//! `ottla group seek`: move committed offsets.
//!
//! Owns: the plan (from, to and how far) and its execution. Never: moves a group with members: they
//! are named instead. Invariant: what is committed lies within the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use super::existing;
use crate::client::Client;
use crate::client::groups::{self, Committed, Committer, GroupView};
use crate::client::offsets::Partition;
use crate::context::{Consent, Context, Danger};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::position::{Bounds, Position};
use crate::select::TopicPartitions;
use crate::{bounds, rows, select};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("GROUP", "group"),
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("BEFORE", "before"),
    Column::number("AFTER", "after"),
    Column::number("MOVED", "moved"),
];

#[derive(Args, Debug)]
pub(crate) struct SeekArgs {
    group: String,
    /// Where to: start, end, N, +N (after the start), -N (before the end), @TIME
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, required_unless_present = "by")]
    to: Option<String>,
    /// How far from where it is: 100 or -100
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, conflicts_with = "to")]
    by: Option<i64>,
    /// Only these topics, as TOPIC or TOPIC:PARTITIONS; what was committed otherwise
    #[arg(long = "topic", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    #[command(flatten)]
    danger: Danger,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
struct Item {
    group: String,
    topic: String,
    partition: i32,
    before: Option<i64>,
    after: i64,
    /// Records that will be read again (negative) or never (positive).
    moved: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    Place(Position),
    By(i64),
}

pub(super) async fn run(context: &Context, args: &SeekArgs) -> Result<Report, Failure> {
    let goal = match (&args.to, args.by) {
        (Some(text), _) => {
            Goal::Place(Position::parse(text, &Context::clock()).map_err(Failure::usage)?)
        }
        (None, by) => Goal::By(by.unwrap_or_default()),
    };
    let client = context.client().await?;
    let (coordinator, committed) = match existing(&client, &args.group).await {
        Ok(view) => {
            refuse_members(&view)?;
            let committed = groups::committed(&client, &args.group, view.coordinator).await?;
            (view.coordinator, committed)
        }
        // With topics named, a group may be prepared before its first member comes.
        Err(failure) if failure.code == "GROUP_ID_NOT_FOUND" && !args.topics.is_empty() => {
            (client.coordinator(&args.group).await?, BTreeMap::new())
        }
        Err(failure) => return Err(failure),
    };
    let partitions = partitions(&client, &args.topics, &committed).await?;
    let (items, mut failures) = plan(&client, args, goal, &partitions, &committed).await?;
    let report = |items: &[Item]| Report::table("group seek", COLUMNS, rows::all(items));
    if items.is_empty() {
        let nothing = report(&items).with_errors(failures);
        return Ok(nothing.note("the group has committed nothing; name topics with --topic"));
    }
    let question = format!("Move {} offsets of group {}", items.len(), args.group);
    match context.consent(report(&items), args.danger, &question) {
        Consent::Withheld(answer) => return Ok(answer.with_errors(failures)),
        Consent::Given => {}
    }
    let wanted = items.iter().map(|item| {
        let committed = Committed { offset: item.after, metadata: String::new() };
        ((item.topic.clone(), item.partition), committed)
    });
    let group = (args.group.as_str(), coordinator);
    let committer = Committer::administrator();
    let answers = groups::commit(&client, group, &committer, &wanted.collect()).await?;
    let mut done = Vec::new();
    for item in items {
        let partition = (item.topic.clone(), item.partition);
        // What the answer leaves out was not done.
        match answers.get(&partition).copied().unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => done.push(item),
            code => failures.push(Failure::partition(&partition, code)),
        }
    }
    Ok(report(&done).with_errors(failures))
}

fn refuse_members(view: &GroupView) -> Result<(), Failure> {
    if view.members.is_empty() {
        return Ok(());
    }
    let who: Vec<String> = view
        .members
        .iter()
        .map(|member| format!("{} ({}{})", member.client_id, member.member_id, member.host))
        .collect();
    Err(Failure::new(
        "NON_EMPTY_GROUP",
        format!("the group is {} with {} members: {}", view.state, who.len(), who.join(", ")),
        Exit::ItemFailed,
    )
    .about(&view.id)
    .fix("stop them first; offsets of a live group would be overwritten"))
}

async fn partitions(
    client: &Arc<Client>,
    topics: &[String],
    committed: &BTreeMap<Partition, Committed>,
) -> Result<Vec<Partition>, Failure> {
    if topics.is_empty() {
        return Ok(committed.keys().cloned().collect());
    }
    let wanted = TopicPartitions::parse_all(topics)?;
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.topic.clone()).collect();
    let selection = select::topics(client, &names).await?;
    if let Some(failure) = selection.failures.into_iter().next() {
        return Err(failure);
    }
    select::partitions(&selection.topics, &wanted)
}

async fn plan(
    client: &Arc<Client>,
    args: &SeekArgs,
    goal: Goal,
    partitions: &[Partition],
    committed: &BTreeMap<Partition, Committed>,
) -> Result<(Vec<Item>, Vec<Failure>), Failure> {
    let place = match goal {
        Goal::Place(place) => Some(place),
        Goal::By(_) => None,
    };
    let (found, failures) = bounds::of(client, partitions, place).await?;
    let items = found.into_iter().map(|(partition, bounds)| {
        let before = committed.get(&partition).map(|committed| committed.offset);
        let after = target(goal, bounds, before);
        let (topic, partition) = partition;
        let moved = before.map(|before| after - before);
        Item { group: args.group.clone(), topic, partition, before, after, moved }
    });
    Ok((items.collect(), failures))
}

fn target(goal: Goal, bounds: Bounds, before: Option<i64>) -> i64 {
    match goal {
        Goal::Place(place) => place.resolve(bounds),
        Goal::By(count) => {
            let from = before.unwrap_or(bounds.start);
            Position::Offset(from.saturating_add(count)).resolve(bounds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::groups::GroupMemberView;

    #[test]
    fn targets_stay_within_the_log() {
        let bounds = Bounds { start: 10, end: 20, at_time: Some(12) };
        assert_eq!(target(Goal::By(-3), bounds, Some(15)), 12);
        assert_eq!(target(Goal::By(-30), bounds, Some(15)), 10);
        assert_eq!(target(Goal::By(3), bounds, None), 13);
        assert_eq!(target(Goal::Place(Position::Time(0)), bounds, Some(1)), 12);
    }

    #[test]
    fn live_groups_are_refused_with_their_members() {
        let member = GroupMemberView {
            member_id: "m-1".to_owned(),
            client_id: "app".to_owned(),
            host: "/10.0.0.1".to_owned(),
            ..GroupMemberView::default()
        };
        let view = GroupView {
            id: "g".to_owned(),
            state: "Stable".to_owned(),
            members: vec![member],
            ..GroupView::default()
        };
        let failure = refuse_members(&view).expect_err("live");
        assert!(failure.message.contains("app (m-1/10.0.0.1)"), "{}", failure.message);
        assert!(refuse_members(&GroupView::default()).is_ok());
    }
}
