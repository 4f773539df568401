//! ListOffsets over many partitions: each asked at its leader, retried while leaders move.
//!
//! Owns: the grouping and the retries. Never: interprets times (the caller gives Kafka's numbers).
//! Invariant: one answer per distinct partition and question that was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ListOffsetsRequest, TopicName};
use ottla_protocol::error_code::ErrorCode;

use super::error::ClientError;
use super::metadata::ClusterView;
use super::{Client, text};

/// A partition by topic and index.
pub(crate) type Partition = (String, i32);

/// What to ask of a partition, as Kafka numbers it; other values are times in epoch milliseconds.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const MAX_TIMESTAMP: i64 = -3;

/// Whether records of open transactions count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetAt {
    /// -1: no record answers the question.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

pub(crate) type Answers = BTreeMap<Partition, Result<OffsetAt, ErrorCode>>;

/// Asks every partition of `questions` for the offset at its time.
pub(crate) async fn list(
    client: &Arc<Client>,
    questions: &BTreeMap<Partition, i64>,
    isolation: Isolation,
) -> Result<Answers, ClientError> {
    let mut answers = Answers::new();
    let mut open: BTreeMap<Partition, i64> = questions.clone();
    let mut deadline = client.deadline();
    loop {
        let topics: Vec<&str> = topic_names(&open);
        let view = client.metadata(Some(&topics)).await?;
        let (by_leader, leaderless) = group_by_leader(&view, &open);
        for (partition, code) in leaderless {
            answers.insert(partition, Err(code));
        }
        for (leader, asked) in by_leader {
            match ask(client, leader, &asked, isolation).await {
                Ok(found) => answers.extend(found),
                Err(error) if error.retriable() => {
                    let code = ErrorCode::NetworkException;
                    answers.extend(asked.into_keys().map(|partition| (partition, Err(code))));
                }
                Err(error) => return Err(error),
            }
        }
        open.retain(|partition, _| match answers.get(partition) {
            // A topic that does not exist will not appear while we wait.
            Some(Err(ErrorCode::UnknownTopicOrPartition)) => false,
            Some(Err(code)) => code.retriable(),
            _ => false,
        });
        if open.is_empty() || !deadline.pause().await {
            return Ok(answers);
        }
    }
}

fn topic_names(partitions: &BTreeMap<Partition, i64>) -> Vec<&str> {
    let mut names: Vec<&str> = partitions.keys().map(|(topic, _)| topic.as_str()).collect();
    names.dedup();
    names
}

type ByLeader = BTreeMap<i32, BTreeMap<Partition, i64>>;

fn group_by_leader(
    view: &ClusterView,
    questions: &BTreeMap<Partition, i64>,
) -> (ByLeader, Vec<(Partition, ErrorCode)>) {
    let mut by_leader = ByLeader::new();
    let mut leaderless = Vec::new();
    for (partition, time) in questions {
        let found = view.topic(&partition.0).map(|topic| topic.partition(partition.1));
        match found {
            Some(Some(found)) if found.leader >= 0 => {
                by_leader.entry(found.leader).or_default().insert(partition.clone(), *time);
            }
            Some(Some(_)) => leaderless.push((partition.clone(), ErrorCode::LeaderNotAvailable)),
            _ => leaderless.push((partition.clone(), ErrorCode::UnknownTopicOrPartition)),
        }
    }
    (by_leader, leaderless)
}

async fn ask(
    client: &Arc<Client>,
    leader: i32,
    asked: &BTreeMap<Partition, i64>,
    isolation: Isolation,
) -> Result<Answers, ClientError> {
    let response = client
        .broker::<ListOffsetsRequest>(leader, |version| {
            let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
            for ((topic, index), time) in asked {
                topics.entry(topic).or_default().push(
                    ListOffsetsPartition::default()
                        .with_partition_index(*index)
                        .with_timestamp(*time),
                );
            }
            let topics = topics.into_iter().map(|(name, partitions)| {
                ListOffsetsTopic::default()
                    .with_name(TopicName(text(name)))
                    .with_partitions(partitions)
            });
            let request = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_topics(topics.collect());
            if version >= 2 { request.with_isolation_level(isolation.code()) } else { request }
        })
        .await?;
    let mut answers = Answers::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let code = ErrorCode::from_code(partition.error_code);
            let answer = if code.is_none() {
                Ok(OffsetAt { offset: partition.offset, timestamp: partition.timestamp })
            } else {
                Err(code)
            };
            answers.insert((topic.name.0.to_string(), partition.partition_index), answer);
        }
    }
    for partition in asked.keys() {
        answers.entry(partition.clone()).or_insert(Err(ErrorCode::UnknownTopicOrPartition));
    }
    Ok(answers)
}
