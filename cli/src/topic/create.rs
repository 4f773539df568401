//! `ottla topic create`.
//!
//! Owns: `NAME[:PARTITIONS[:REPLICAS]]`, settings, and the check-only run on the broker. Never:
//! waits longer than the broker does.

use clap::Args;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use ottla_config::catalog;
use ottla_config::key::Scope;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::kafka_uuid_text;
use serde::Serialize;

use crate::client::admin::{self, Effect, NewTopic};
use crate::config::assignment;
use crate::context::{Context, DryRun};
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("NAME", "name"),
    Column::number("PARTITIONS", "partitions"),
    Column::number("REPLICAS", "replicas"),
    Column::text("STATE", "state"),
    Column::text("ID", "id").wide(),
];

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// NAME, NAME:PARTITIONS or NAME:PARTITIONS:REPLICAS
    #[arg(required = true, value_name = "NAME[:PARTITIONS[:REPLICAS]]")]
    topics: Vec<String>,
    /// Partitions where the name has none; the broker's num.partitions otherwise
    #[arg(long, short)]
    partitions: Option<i32>,
    /// Replicas where the name has none; the broker's default.replication.factor otherwise
    #[arg(long, short, visible_alias = "replication-factor")]
    replicas: Option<i16>,
    /// A setting of the topics, KEY=VALUE; may be repeated
    #[arg(long = "config", short, value_name = "KEY=VALUE")]
    configs: Vec<String>,
    /// Brokers of each partition: 1,2:2,3 puts partition 0 on 1 and 2, partition 1 on 2 and 3
    #[arg(long, value_name = "BROKERS", conflicts_with_all = ["partitions", "replicas"])]
    assignment: Option<String>,
    /// A topic that exists is no failure
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Serialize, Debug)]
struct Item {
    name: String,
    id: Option<String>,
    partitions: Option<i32>,
    replicas: Option<i16>,
    state: &'static str,
}

pub(super) async fn run(context: &Context, args: &CreateArgs) -> Result<Report, Failure> {
    let wanted = plan(args)?;
    let client = context.client().await?;
    let effect = if args.dry_run.dry_run { Effect::ValidateOnly } else { Effect::Apply };
    let response = admin::create_topics(&client, &wanted, effect).await?;
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for topic in &wanted {
        let found = response.topics.iter().find(|answer| answer.name.0.as_str() == topic.name);
        let Some(answer) = found else { continue };
        let code = ErrorCode::from_code(answer.error_code);
        match code {
            ErrorCode::None => items.push(item(answer, effect)),
            ErrorCode::TopicAlreadyExists if args.if_not_exists => {
                items.push(Item { state: "exists", ..item(answer, effect) });
            }
            _ => failures.push(failure(topic, code, answer.error_message.as_deref())),
        }
    }
    if effect == Effect::Apply && !items.is_empty() {
        let names: Vec<&str> = items.iter().map(|item: &Item| item.name.as_str()).collect();
        client.await_topics(&names).await?;
    }
    let mut report = Report::table("topic create", COLUMNS, rows::all(&items));
    report.dry_run = args.dry_run.dry_run;
    Ok(report.with_errors(failures))
}

fn failure(topic: &NewTopic, code: ErrorCode, words: Option<&str>) -> Failure {
    let failure = Failure::refused(&topic.name, code, words);
    match code {
        ErrorCode::TopicAlreadyExists => failure.fix("--if-not-exists makes this no failure"),
        ErrorCode::InvalidConfig => match topic.configs.iter().find_map(|(key, _)| hint(key)) {
            Some(hint) => failure.fix(hint),
            None => failure,
        },
        _ => failure,
    }
}

/// The nearest name when `key` is none that we know; the cluster may know more.
fn hint(key: &str) -> Option<String> {
    if catalog::lookup(Scope::Topic, key).is_some() {
        return None;
    }
    catalog::nearest_name(Scope::Topic, key).map(|name| format!("did you mean \"{name}\"?"))
}

fn item(answer: &CreatableTopicResult, effect: Effect) -> Item {
    let known = !answer.topic_id.is_nil();
    Item {
        name: answer.name.0.to_string(),
        id: known.then(|| kafka_uuid_text(answer.topic_id)),
        partitions: (answer.num_partitions >= 0).then_some(answer.num_partitions),
        replicas: (answer.replication_factor >= 0).then_some(answer.replication_factor),
        state: match effect {
            Effect::Apply => "created",
            Effect::ValidateOnly => "would be created",
        },
    }
}

fn plan(args: &CreateArgs) -> Result<Vec<NewTopic>, Failure> {
    let configs: Result<Vec<_>, _> = args.configs.iter().map(|text| assignment(text)).collect();
    let configs = configs?;
    let placed = args.assignment.as_deref().map(brokers).transpose()?.unwrap_or_default();
    args.topics
        .iter()
        .map(|text| {
            let mut parts = text.split(':');
            let name = parts.next().unwrap_or_default().to_owned();
            let partitions = number(text, parts.next())?.or(args.partitions);
            let replicas = number(text, parts.next())?.or(args.replicas);
            if parts.next().is_some() || name.is_empty() {
                return Err(wrong(text));
            }
            Ok(NewTopic {
                name,
                partitions: partitions.unwrap_or(-1),
                replication_factor: replicas.unwrap_or(-1),
                assignment: placed.clone(),
                configs: configs.clone(),
            })
        })
        .collect()
}

fn number<T: std::str::FromStr>(whole: &str, part: Option<&str>) -> Result<Option<T>, Failure> {
    part.map(|text| text.parse().map_err(|_| wrong(whole))).transpose()
}

fn wrong(text: &str) -> Failure {
    Failure::usage(format!("\"{text}\" is no topic to create: write NAME[:PARTITIONS[:REPLICAS]]"))
}

fn brokers(text: &str) -> Result<Vec<Vec<i32>>, Failure> {
    let ids = |part: &str| -> Result<Vec<i32>, _> { part.split(',').map(str::parse).collect() };
    let all: Result<Vec<_>, std::num::ParseIntError> = text.split(':').map(ids).collect();
    all.map_err(|_| Failure::usage(format!("\"{text}\" is no assignment: write 1,2:2,3")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(topics: &[&str]) -> CreateArgs {
        CreateArgs {
            topics: topics.iter().map(|text| (*text).to_owned()).collect(),
            partitions: Some(4),
            replicas: None,
            configs: vec!["retention.ms=5".to_owned()],
            assignment: None,
            if_not_exists: false,
            dry_run: DryRun::default(),
        }
    }

    #[test]
    fn names_carry_numbers() {
        let planned = plan(&args(&["a", "b:2", "c:3:1"])).expect("valid");
        let numbers: Vec<_> =
            planned.iter().map(|topic| (topic.partitions, topic.replication_factor)).collect();
        assert_eq!(numbers, [(4, -1), (2, -1), (3, 1)]);
        assert_eq!(planned[0].configs, [("retention.ms".to_owned(), "5".to_owned())]);
        for wrong in ["", "a:x", "a:1:2:3", ":1"] {
            assert!(plan(&args(&[wrong])).is_err(), "{wrong}");
        }
        assert_eq!(brokers("1,2:2,3").expect("valid"), [[1, 2], [2, 3]]);
    }
}
