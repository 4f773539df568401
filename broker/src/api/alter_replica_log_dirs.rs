//! AlterReplicaLogDirs (key 34), versions 1-2.
//!
//! Behaviour (KIP-113): a replica is copied to the named directory in the background and then served
//! from there; one that is there already is there (0). One that does not exist yet is made there: until
//! then REPLICA_NOT_AVAILABLE (9) for a partition that the cluster knows, and
//! UNKNOWN_TOPIC_OR_PARTITION (3) for another. A path that is no log directory is LOG_DIR_NOT_FOUND
//! (57), a directory or a replica that is offline KAFKA_STORAGE_ERROR (56).
//! Differences from Apache Kafka: a replica can move while another directory is offline; one that leads a
//! partition with several replicas hands over to another before the last step.

use std::collections::BTreeMap;
use std::path::Path;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::TopicPartition;
use ottla_replication::replicas::AlterDirectoryError;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use crate::metadata_service::METADATA_TOPIC;
use crate::services::Services;
use crate::topics::NoPartition;

#[derive(Debug)]
pub(crate) struct AlterReplicaLogDirs;

impl ApiHandler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const NAME: &'static str = "AlterReplicaLogDirs";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2;

    fn handle(
        ctx: &RequestContext,
        request: AlterReplicaLogDirsRequest,
    ) -> Reply<AlterReplicaLogDirsResponse> {
        let mut topics: BTreeMap<TopicName, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
        for dir in request.dirs {
            let path = Path::new(&*dir.path);
            for topic in dir.topics {
                let results = topics.entry(topic.name.clone()).or_default();
                for index in topic.partitions {
                    let name = TopicPartition::new(topic.name.as_str(), index);
                    results.insert(index, alter(&ctx.services, &name, path));
                }
            }
        }
        let results = topics
            .into_iter()
            .map(|(name, partitions)| {
                let of = |(index, code): (i32, ErrorCode)| {
                    AlterReplicaLogDirPartitionResult::default()
                        .with_partition_index(index)
                        .with_error_code(code.code())
                };
                AlterReplicaLogDirTopicResult::default()
                    .with_topic_name(name)
                    .with_partitions(partitions.into_iter().map(of).collect())
            })
            .collect();
        Reply::message(AlterReplicaLogDirsResponse::default().with_results(results))
    }
}

fn alter(services: &Services, name: &TopicPartition, path: &Path) -> ErrorCode {
    // The metadata log is no topic to clients.
    if *name.topic == *METADATA_TOPIC {
        return ErrorCode::UnknownTopicOrPartition;
    }
    let unique = services.random.next_uuid();
    match services.replicas.alter_directory(name, path, unique) {
        Ok(()) => ErrorCode::None,
        Err(AlterDirectoryError::NoReplica(_)) => match services.topics.by_name(&name.topic) {
            // Known and not open.
            Some(topic)
                if matches!(topic.partition(name.partition.get()), Err(NoPartition::Offline)) =>
            {
                ErrorCode::KafkaStorageError
            }
            Some(topic) if topic.has(name.partition.get()) => ErrorCode::ReplicaNotAvailable,
            _ if services.metadata.image().partition(name).is_some() => {
                ErrorCode::ReplicaNotAvailable
            }
            _ => ErrorCode::UnknownTopicOrPartition,
        },
        Err(error) => error.code(),
    }
}
