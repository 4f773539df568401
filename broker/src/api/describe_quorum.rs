//! DescribeQuorum (key 55), versions 0-2.
//!
//! Behaviour: who keeps the metadata log and how far each replica is (KIP-595, KIP-836, KIP-853). Only
//! `__cluster_metadata` partition 0 has a quorum; here it is this node alone.
//! Differences from Apache Kafka: there is no controller listener, so no endpoints are listed.

use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::TopicPartition;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::metadata_service::METADATA_TOPIC;

#[derive(Debug)]
pub(crate) struct DescribeQuorum;

impl ApiHandler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const NAME: &'static str = "DescribeQuorum";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &RequestContext,
        request: DescribeQuorumRequest,
    ) -> Reply<DescribeQuorumResponse> {
        // As Kafka: either exactly the one partition that has a quorum, or unknown partitions.
        let known = matches!(request.topics.as_slice(), [topic] if is_metadata(topic));
        let topics = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic
                    .partitions
                    .iter()
                    .map(|asked| if known { quorum(ctx) } else { unknown(asked.partition_index) })
                    .collect();
                TopicData::default()
                    .with_topic_name(topic.topic_name.clone())
                    .with_partitions(partitions)
            })
            .collect();
        let mut response = DescribeQuorumResponse::default()
            .with_error_message(Some(wire::text("")))
            .with_topics(topics);
        if known && ctx.version >= 2 {
            let node = Node::default().with_node_id(BrokerId(ctx.services.node_id.0));
            response = response.with_nodes(vec![node]);
        }
        Reply::message(response)
    }
}

fn is_metadata(topic: &AskedTopic) -> bool {
    let one = matches!(topic.partitions.as_slice(), [only] if only.partition_index == 0);
    one && **topic.topic_name == *METADATA_TOPIC
}

fn unknown(index: i32) -> PartitionData {
    let code = ErrorCode::UnknownTopicOrPartition;
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code.code())
        .with_error_message(Some(wire::text(wire::UNKNOWN_TOPIC)))
}

fn quorum(ctx: &RequestContext) -> PartitionData {
    let name = TopicPartition::new(METADATA_TOPIC, 0);
    let Some(log) = ctx.services.replicas.partition(&name) else { return unknown(0) };
    let id = BrokerId(ctx.services.node_id.0);
    let mut voter =
        ReplicaState::default().with_replica_id(id).with_log_end_offset(log.log_end().0);
    if ctx.version >= 1 {
        voter = voter
            .with_last_fetch_timestamp(ctx.now.wall.0)
            .with_last_caught_up_timestamp(ctx.now.wall.0);
    }
    if ctx.version >= 2 {
        let directory = ctx.services.replicas.directory_of(&name).unwrap_or_default();
        voter = voter.with_replica_directory_id(directory);
    }
    PartitionData::default()
        .with_error_message(Some(wire::text("")))
        .with_leader_id(id)
        .with_leader_epoch(log.leader_epoch().0)
        .with_high_watermark(log.high_watermark().0)
        .with_current_voters(vec![voter])
}
