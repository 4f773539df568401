//! AlterReplicaLogDirs (key 34), versions 1-2.
//!
//! Behaviour: a replica that is already in the named directory is there (0); one that does not exist
//! is unknown (3); a path that is no log directory is LOG_DIR_NOT_FOUND (57) for everything in it.
//! Differences from Apache Kafka: replicas can't move between directories yet (KIP-113): where Kafka
//! would copy, the answer is UNSUPPORTED_VERSION (35).

use std::collections::BTreeMap;
use std::path::Path;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{TopicPartition, Uuid};

use super::handler::{ApiHandler, Reply, RequestContext};
use crate::services::Services;

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
        let directories = ctx.services.replicas.directories();
        let mut topics: BTreeMap<TopicName, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
        for dir in request.dirs {
            let path = Path::new(&*dir.path);
            let wanted = directories.iter().find(|known| known.path == path).map(|known| known.id);
            for topic in dir.topics {
                let results = topics.entry(topic.name.clone()).or_default();
                for index in topic.partitions {
                    let name = TopicPartition::new(topic.name.as_str(), index);
                    results.insert(index, alter(&ctx.services, &name, wanted));
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

fn alter(services: &Services, name: &TopicPartition, wanted: Option<Uuid>) -> ErrorCode {
    let Some(wanted) = wanted else { return ErrorCode::LogDirNotFound };
    match services.replicas.directory_of(name) {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(here) if here == wanted => ErrorCode::None,
        Some(_) => ErrorCode::UnsupportedVersion,
    }
}
