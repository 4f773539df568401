//! DescribeQuorum (key 55), versions 0-2.
//!
//! Behaviour: who keeps the metadata log and how far each replica is (KIP-595, KIP-836, KIP-853). Only
//! `__cluster_metadata` partition 0 has a quorum: this node alone, or the voters of the cluster as the active
//! controller knows them, whom the request is passed on to.
//! Differences from Apache Kafka: a node that keeps the metadata alone lists no endpoints.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{Offset, Timestamp, TopicPartition};
use ottla_replication::peer::AddressBook;
use ottla_replication::raft::ReplicaId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;
use crate::cluster::addresses::preferred;
use crate::cluster::{self, Cluster};
use crate::metadata_service::METADATA_TOPIC;

#[derive(Debug)]
pub(crate) struct DescribeQuorum;

impl ApiHandler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const NAME: &'static str = "DescribeQuorum";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: DescribeQuorumRequest,
    ) -> Reply<DescribeQuorumResponse> {
        if let Err(code) = ctx.controller().reached() {
            return Reply::message(DescribeQuorumResponse::default().with_error_code(code.code()));
        }
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
            response = response.with_nodes(nodes(ctx));
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

/// Where controllers are, as their peers reach them.
fn nodes(ctx: &RequestContext) -> Vec<Node> {
    let Some(cluster) = ctx.services.cluster() else {
        return vec![Node::default().with_node_id(BrokerId(ctx.services.node_id.0))];
    };
    let names = cluster::start::peer_listeners(&ctx.services.configuration().broker);
    let image = ctx.services.metadata.image();
    let mut nodes: Vec<Node> = Vec::new();
    for voter in cluster.metadata.membership().voter_ids() {
        let registered = image.broker(voter.node).and_then(|broker| {
            let end = preferred(&names, &broker.registration.endpoints)?;
            Some((end.listener.clone(), end.host.clone(), end.port))
        });
        // A node that only votes is no broker.
        let known = || {
            let address = cluster.addresses.address(voter.node)?;
            let (host, port) = address.rsplit_once(':')?;
            Some((names.first()?.clone(), host.to_owned(), port.parse().ok()?))
        };
        let listener = registered.or_else(known).map(|(name, host, port)| {
            let listener = Listener::default().with_name(wire::text(&name));
            listener.with_host(wire::text(&host)).with_port(port)
        });
        let id = BrokerId(voter.node.0);
        let listeners = listener.into_iter().collect();
        nodes.push(Node::default().with_node_id(id).with_listeners(listeners));
    }
    nodes
}

/// The quorum as its leader sees it.
fn quorum_of_several(ctx: &RequestContext, cluster: &Cluster) -> PartitionData {
    let group = &cluster.metadata;
    let log = ctx.services.metadata.partition();
    let voters: BTreeSet<ReplicaId> = group.membership().voter_ids().collect();
    let mut states = vec![(group.replica(), log.log_end(), Some(ctx.now.wall))];
    let mono = ctx.now.mono;
    for follower in group.followers() {
        let at = follower.caught_up.map(|at| {
            let ago = i64::try_from(mono.since(at).as_millis()).unwrap_or(i64::MAX);
            Timestamp(ctx.now.wall.0.saturating_sub(ago))
        });
        states.push((follower.replica, follower.matched, at));
    }
    states.sort_by_key(|(replica, ..)| *replica);
    let state = |(replica, end, at): &(ReplicaId, Offset, Option<Timestamp>)| {
        let mut state = ReplicaState::default()
            .with_replica_id(BrokerId(replica.node.0))
            .with_log_end_offset(end.0);
        if ctx.version >= 1 {
            let at = at.map_or(-1, |at| at.0);
            state = state.with_last_fetch_timestamp(at).with_last_caught_up_timestamp(at);
        }
        if ctx.version >= 2 {
            state = state.with_replica_directory_id(replica.directory);
        }
        state
    };
    let (votes, observes): (Vec<_>, Vec<_>) =
        states.iter().partition(|(replica, ..)| voters.contains(replica));
    let controller = cluster.controller();
    PartitionData::default()
        .with_error_message(Some(wire::text("")))
        .with_leader_id(BrokerId(controller.node.map_or(-1, |node| node.0)))
        .with_leader_epoch(controller.epoch.0)
        .with_high_watermark(log.high_watermark().0)
        .with_current_voters(votes.into_iter().map(state).collect())
        .with_observers(observes.into_iter().map(state).collect())
}

fn quorum(ctx: &RequestContext) -> PartitionData {
    if let Some(cluster) = ctx.services.cluster() {
        return quorum_of_several(ctx, cluster);
    }
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
