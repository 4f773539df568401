//! Requests that change topics: create, delete, grow, trim; and the sizes of what is on disk.
//!
//! Owns: building these requests per version and reading their answers. Never: asks for consent or
//! prints. Invariant: each function answers once per item that was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
};
use ottla_protocol::error_code::ErrorCode;

use super::error::ClientError;
use super::metadata::ClusterView;
use super::offsets::Partition;
use super::{Client, text};

/// A topic to create. -1 leaves a number to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    /// Brokers of each partition, in order; empty: the broker chooses.
    pub(crate) assignment: Vec<Vec<i32>>,
    pub(crate) configs: Vec<(String, String)>,
}

/// Whether the broker carries a change out or only checks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    Apply,
    ValidateOnly,
}

/// What a broker said about one item.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) code: ErrorCode,
    pub(crate) words: Option<String>,
}

pub(crate) async fn create_topics(
    client: &Client,
    topics: &[NewTopic],
    effect: Effect,
) -> Result<CreateTopicsResponse, ClientError> {
    let timeout = timeout_ms(client);
    client
        .any::<CreateTopicsRequest>(|_| {
            CreateTopicsRequest::default()
                .with_topics(topics.iter().map(creatable).collect())
                .with_timeout_ms(timeout)
                .with_validate_only(effect == Effect::ValidateOnly)
        })
        .await
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let assignments = topic.assignment.iter().zip(0..).map(|(brokers, index)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
    });
    let configs = topic.configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(TopicName(text(&topic.name)))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_assignments(assignments.collect())
        .with_configs(configs.collect())
}

pub(crate) async fn delete_topics(
    client: &Client,
    names: &[String],
) -> Result<Vec<Verdict>, ClientError> {
    let timeout = timeout_ms(client);
    let response = client
        .any::<DeleteTopicsRequest>(|version| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(timeout);
            if version >= 6 {
                let named = names
                    .iter()
                    .map(|name| DeleteTopicState::default().with_name(Some(TopicName(text(name)))));
                request.with_topics(named.collect())
            } else {
                request.with_topic_names(names.iter().map(|name| TopicName(text(name))).collect())
            }
        })
        .await?;
    let verdicts = response.responses.into_iter().map(|topic| Verdict {
        name: topic.name.map(|name| name.0.to_string()).unwrap_or_default(),
        code: ErrorCode::from_code(topic.error_code),
        words: topic.error_message.map(|words| words.to_string()),
    });
    Ok(verdicts.collect())
}

/// Grows topics to the given numbers of partitions.
pub(crate) async fn create_partitions(
    client: &Client,
    topics: &[(String, i32)],
    effect: Effect,
) -> Result<Vec<Verdict>, ClientError> {
    let timeout = timeout_ms(client);
    let response = client
        .any::<CreatePartitionsRequest>(|_| {
            let topics = topics.iter().map(|(name, count)| {
                CreatePartitionsTopic::default()
                    .with_name(TopicName(text(name)))
                    .with_count(*count)
                    .with_assignments(None)
            });
            CreatePartitionsRequest::default()
                .with_topics(topics.collect())
                .with_timeout_ms(timeout)
                .with_validate_only(effect == Effect::ValidateOnly)
        })
        .await?;
    let verdicts = response.results.into_iter().map(|topic| Verdict {
        name: topic.name.0.to_string(),
        code: ErrorCode::from_code(topic.error_code),
        words: topic.error_message.map(|words| words.to_string()),
    });
    Ok(verdicts.collect())
}

/// Deletes the records before each offset; answers each partition's new log start.
pub(crate) async fn delete_records(
    client: &Arc<Client>,
    view: &ClusterView,
    before: &BTreeMap<Partition, i64>,
) -> Result<BTreeMap<Partition, Result<i64, ErrorCode>>, ClientError> {
    let mut by_leader: BTreeMap<i32, Vec<(&Partition, i64)>> = BTreeMap::new();
    let mut answers = BTreeMap::new();
    for (partition, offset) in before {
        let leader = view
            .topic(&partition.0)
            .and_then(|topic| topic.partition(partition.1))
            .map_or(-1, |found| found.leader);
        if leader < 0 {
            answers.insert(partition.clone(), Err(ErrorCode::LeaderNotAvailable));
        } else {
            by_leader.entry(leader).or_default().push((partition, *offset));
        }
    }
    let timeout = timeout_ms(client);
    for (leader, partitions) in by_leader {
        let response = client
            .broker::<DeleteRecordsRequest>(leader, |_| {
                let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
                for ((topic, index), offset) in &partitions {
                    topics.entry(topic).or_default().push(
                        DeleteRecordsPartition::default()
                            .with_partition_index(*index)
                            .with_offset(*offset),
                    );
                }
                let topics = topics.into_iter().map(|(name, partitions)| {
                    DeleteRecordsTopic::default()
                        .with_name(TopicName(text(name)))
                        .with_partitions(partitions)
                });
                DeleteRecordsRequest::default()
                    .with_topics(topics.collect())
                    .with_timeout_ms(timeout)
            })
            .await?;
        for topic in response.topics {
            for found in topic.partitions {
                let code = ErrorCode::from_code(found.error_code);
                let answer = if code.is_none() { Ok(found.low_watermark) } else { Err(code) };
                answers.insert((topic.name.0.to_string(), found.partition_index), answer);
            }
        }
    }
    Ok(answers)
}

/// Bytes on disk of each partition's leader, for those that its broker tells.
pub(crate) async fn leader_sizes(
    client: &Client,
    view: &ClusterView,
) -> Result<BTreeMap<Partition, i64>, ClientError> {
    let leads = |partition: &Partition, id: i32| {
        let topic = view.topic(&partition.0);
        let state = topic.and_then(|topic| topic.partition(partition.1));
        state.is_some_and(|state| state.leader == id)
    };
    let all = replica_sizes(client, view).await?;
    let led = all.into_iter().filter(|((partition, id), _)| leads(partition, *id));
    Ok(led.map(|((partition, _), bytes)| (partition, bytes)).collect())
}

/// Bytes on disk of each replica, by partition and broker.
pub(crate) async fn replica_sizes(
    client: &Client,
    view: &ClusterView,
) -> Result<BTreeMap<(Partition, i32), i64>, ClientError> {
    let mut sizes = BTreeMap::new();
    for broker in &view.brokers {
        let response = log_dirs(client, broker.id).await?;
        for topic in response.results.into_iter().flat_map(|directory| directory.topics) {
            for found in topic.partitions.iter().filter(|found| !found.is_future_key) {
                let partition = (topic.name.0.to_string(), found.partition_index);
                sizes.insert((partition, broker.id), found.partition_size);
            }
        }
    }
    Ok(sizes)
}

pub(crate) async fn log_dirs(
    client: &Client,
    broker: i32,
) -> Result<DescribeLogDirsResponse, ClientError> {
    client
        .broker::<DescribeLogDirsRequest>(broker, |_| {
            DescribeLogDirsRequest::default().with_topics(None)
        })
        .await
}

fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.options().patience.as_millis()).unwrap_or(i32::MAX)
}
