//! ElectLeaders (key 43), versions 0-2.
//!
//! Behaviour: the preferred replica becomes the leader again (KIP-183), or, when a person asks for
//! it, any living one (KIP-460). Null partitions are all of them, and only those that changed are
//! answered.
//! Differences from Apache Kafka: topics are ordered by name.

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use ottla_coordinator::metadata::{
    ControllerError, ElectLeaders as ElectLeadersCommand, ElectionType, TopicElections,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::PartitionId;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::metadata_service::MetadataService;

mod several;

#[derive(Debug)]
pub(crate) struct ElectLeaders;

type Asked = Vec<(String, Vec<PartitionId>)>;

impl ApiHandler for ElectLeaders {
    type Request = ElectLeadersRequest;
    const NAME: &'static str = "ElectLeaders";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &RequestContext, request: ElectLeadersRequest) -> Reply<ElectLeadersResponse> {
        let services = ctx.services.clone();
        let partitions: Option<Asked> = request.topic_partitions.map(|topics| {
            let ids = |ids: Vec<i32>| ids.into_iter().map(PartitionId).collect();
            topics
                .into_iter()
                .map(|topic| (topic.topic.to_string(), ids(topic.partitions)))
                .collect()
        });
        let command = ElectLeadersCommand {
            election: ElectionType::from(request.election_type),
            partitions: partitions.clone(),
        };
        if ctx.services.cluster().is_some() {
            return Reply::staged(several::elect(services, request.election_type, partitions));
        }
        Reply::staged(async move {
            let asked = partitions.unwrap_or_default();
            match MetadataService::submit(&services, command).await {
                Ok(Ok(elections)) => ElectLeadersResponse::default()
                    .with_replica_election_results(elections.into_iter().map(result).collect()),
                Ok(Err(error)) => refused(asked, error.code(), error.message()),
                Err(code) => refused(asked, code, None),
            }
        })
    }
}

fn result(topic: TopicElections) -> ReplicaElectionResult {
    let of = |(partition, result): (PartitionId, Result<(), ControllerError>)| {
        let (code, message) = wire::outcome(result);
        partition_result(partition, code).with_error_message(message)
    };
    topic_result(&topic.topic, topic.partitions.into_iter().map(of).collect())
}

fn topic_result(topic: &str, partitions: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default()
        .with_topic(TopicName(wire::text(topic)))
        .with_partition_result(partitions)
}

fn partition_result(partition: PartitionId, code: i16) -> PartitionResult {
    PartitionResult::default().with_partition_id(partition.0).with_error_code(code)
}

/// One code for everything that was asked for.
fn refused(asked: Asked, code: ErrorCode, message: Option<String>) -> ElectLeadersResponse {
    let results = asked
        .iter()
        .map(|(topic, partitions)| {
            let of = |partition: &PartitionId| {
                partition_result(*partition, code.code())
                    .with_error_message(wire::message(message.clone()))
            };
            topic_result(topic, partitions.iter().map(of).collect())
        })
        .collect();
    ElectLeadersResponse::default()
        .with_error_code(code.code())
        .with_replica_election_results(results)
}
