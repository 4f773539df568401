//! AlterPartitionReassignments (key 45), versions 0-1.
//!
//! Behaviour: replicas move to other brokers (KIP-455); null replicas cancel what is under way;
//! version 1 can forbid that the replication factor changes (KIP-860).
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, TopicName,
};
use ottla_coordinator::metadata::{
    AlterPartitionReassignments as AlterPartitionReassignmentsCommand, FactorChange,
    TopicReassignments,
};
use ottla_protocol::model::PartitionId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

/// From this version on the client says whether the factor may change.
const FACTOR_CHANGE_FROM: i16 = 1;

#[derive(Debug)]
pub(crate) struct AlterPartitionReassignments;

impl ApiHandler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const NAME: &'static str = "AlterPartitionReassignments";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> Reply<AlterPartitionReassignmentsResponse> {
        let controller = ctx.controller().within(ctx.now, request.timeout_ms);
        let allowed = ctx.version < FACTOR_CHANGE_FROM || request.allow_replication_factor_change;
        let topics = request
            .topics
            .into_iter()
            .map(|topic| TopicReassignments {
                topic: topic.name.to_string(),
                partitions: topic
                    .partitions
                    .into_iter()
                    .map(|of| {
                        let replicas = of.replicas.map(|nodes| wire::node_ids(&nodes));
                        (PartitionId(of.partition_index), replicas)
                    })
                    .collect(),
            })
            .collect();
        let factor_change = if allowed { FactorChange::Allowed } else { FactorChange::Refused };
        let command = AlterPartitionReassignmentsCommand { topics, factor_change };
        Reply::staged(async move {
            let response = AlterPartitionReassignmentsResponse::default()
                .with_error_message(None)
                .with_allow_replication_factor_change(allowed);
            let reply = match controller.submit(command).await {
                Ok(reply) => reply,
                Err(code) => return response.with_error_code(code.code()),
            };
            let topics = reply
                .into_iter()
                .map(|(topic, partitions)| {
                    let of = |(partition, result): (PartitionId, _)| {
                        let (code, message) = wire::outcome(result);
                        ReassignablePartitionResponse::default()
                            .with_partition_index(partition.0)
                            .with_error_code(code)
                            .with_error_message(message)
                    };
                    ReassignableTopicResponse::default()
                        .with_name(TopicName(wire::text(&topic)))
                        .with_partitions(partitions.into_iter().map(of).collect())
                })
                .collect();
            response.with_responses(topics)
        })
    }
}
