//! DescribeLogDirs (key 35), versions 1-5.
//!
//! Behaviour: every log directory with the asked partitions in it, or all of them, and their sizes;
//! version 4 and up the space of its volume (KIP-827), version 5 its cordon (KIP-1066). A directory
//! that is out of use answers KAFKA_STORAGE_ERROR. A replica that is being moved stands in both, in the
//! second as a future one with what it lacks (KIP-113).
//! Differences from Apache Kafka: no directory is ever cordoned.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsTopic,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
};
use ottla_protocol::model::{TopicName, TopicPartition};
use ottla_replication::partition::Partition;
use ottla_replication::replicas::{DirectoryReport, FutureReplica};

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::metadata_service::METADATA_TOPIC;

const UNKNOWN_SPACE: i64 = -1;

#[derive(Debug)]
pub(crate) struct DescribeLogDirs;

impl ApiHandler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const NAME: &'static str = "DescribeLogDirs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=5;

    fn handle(
        ctx: &RequestContext,
        request: DescribeLogDirsRequest,
    ) -> Reply<DescribeLogDirsResponse> {
        let asked: Option<BTreeSet<(String, i32)>> = request.topics.map(|topics| {
            topics
                .iter()
                .flat_map(|topic| {
                    topic.partitions.iter().map(|index| (topic.topic.to_string(), *index))
                })
                .collect()
        });
        let results = ctx
            .services
            .replicas
            .directories()
            .iter()
            .map(|directory| result(directory, asked.as_ref()))
            .collect();
        Reply::message(DescribeLogDirsResponse::default().with_results(results))
    }
}

fn result(
    directory: &DirectoryReport,
    asked: Option<&BTreeSet<(String, i32)>>,
) -> DescribeLogDirsResult {
    let code = match directory.offline {
        None => ErrorCode::None,
        Some(_) => ErrorCode::KafkaStorageError,
    };
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let is_asked = |name: &TopicPartition| {
        let key = (name.topic.to_string(), name.partition.0);
        *name.topic != *METADATA_TOPIC && asked.is_none_or(|asked| asked.contains(&key))
    };
    let online = directory.partitions.iter().filter(|_| directory.offline.is_none());
    for partition in online.filter(|partition| is_asked(partition.name())) {
        topics.entry(partition.name().topic.clone()).or_default().push(described(partition));
    }
    for future in directory.futures.iter().filter(|future| is_asked(&future.name)) {
        topics.entry(future.name.topic.clone()).or_default().push(moving(future));
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| {
            DescribeLogDirsTopic::default()
                .with_name(wire::topic_name(&name))
                .with_partitions(partitions)
        })
        .collect();
    let bytes = |bytes: Option<u64>| {
        bytes.map_or(UNKNOWN_SPACE, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    DescribeLogDirsResult::default()
        .with_error_code(code.code())
        .with_log_dir(wire::text(&directory.path.to_string_lossy()))
        .with_topics(topics)
        .with_total_bytes(bytes(directory.space.map(|space| space.total)))
        .with_usable_bytes(bytes(directory.space.map(|space| space.available)))
}

fn moving(future: &FutureReplica) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(future.name.partition.0)
        .with_partition_size(i64::try_from(future.bytes).unwrap_or(i64::MAX))
        .with_offset_lag(future.lag)
        .with_is_future_key(true)
}

fn described(partition: &Partition) -> DescribeLogDirsPartition {
    let size = partition.inspect(|log, _| log.size_bytes()).unwrap_or(0);
    DescribeLogDirsPartition::default()
        .with_partition_index(partition.name().partition.0)
        .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
        .with_offset_lag(0)
}
