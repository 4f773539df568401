//! ListPartitionReassignments (key 46), version 0.
//!
//! Behaviour: reassignments that are under way (KIP-455), of the named partitions or, for null, of
//! all topics; whatever is not being moved, or does not exist, is left out.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};
use ottla_coordinator::metadata::OngoingReassignment;
use ottla_protocol::model::PartitionId;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct ListPartitionReassignments;

impl ApiHandler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const NAME: &'static str = "ListPartitionReassignments";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &RequestContext,
        request: ListPartitionReassignmentsRequest,
    ) -> Reply<ListPartitionReassignmentsResponse> {
        let asked: Option<Vec<(String, Vec<PartitionId>)>> = request.topics.map(|topics| {
            let ids = |ids: Vec<i32>| ids.into_iter().map(PartitionId).collect();
            topics
                .into_iter()
                .map(|topic| (topic.name.to_string(), ids(topic.partition_indexes)))
                .collect()
        });
        let topics = ctx
            .services
            .metadata
            .image()
            .reassignments(asked.as_deref())
            .into_iter()
            .map(|(topic, ongoing)| {
                OngoingTopicReassignment::default()
                    .with_name(TopicName(wire::text(&topic)))
                    .with_partitions(ongoing.iter().map(described).collect())
            })
            .collect();
        Reply::message(
            ListPartitionReassignmentsResponse::default()
                .with_error_message(None)
                .with_topics(topics),
        )
    }
}

fn described(ongoing: &OngoingReassignment) -> OngoingPartitionReassignment {
    OngoingPartitionReassignment::default()
        .with_partition_index(ongoing.partition.0)
        .with_replicas(wire::broker_ids(&ongoing.replicas))
        .with_adding_replicas(wire::broker_ids(&ongoing.adding))
        .with_removing_replicas(wire::broker_ids(&ongoing.removing))
}
