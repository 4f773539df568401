//! What a cluster looks like: brokers, topics, partitions and who leads them.
//!
//! Owns: the view and its reading from a Metadata answer. Never: asks for it. Invariant: topics are
//! sorted by name and partitions by index.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Uuid;

use super::text;

#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterView {
    pub(crate) cluster_id: Option<String>,
    pub(crate) controller: i32,
    pub(crate) brokers: Vec<BrokerView>,
    pub(crate) topics: Vec<TopicView>,
}

#[derive(Clone, Debug)]
pub(crate) struct BrokerView {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TopicView {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    pub(crate) error: ErrorCode,
    pub(crate) partitions: Vec<PartitionView>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionView {
    pub(crate) index: i32,
    /// -1: nobody.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
    pub(crate) offline: Vec<i32>,
}

pub(super) fn request(topics: Option<&[&str]>, version: i16) -> MetadataRequest {
    let named = topics.map(|names| {
        names
            .iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(text(name)))))
            .collect()
    });
    // No command creates a topic by asking about it.
    let request = MetadataRequest::default().with_topics(named);
    if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}

impl BrokerView {
    /// `host:port`, with brackets around an IPv6 address.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl ClusterView {
    pub(super) fn from_response(response: MetadataResponse) -> Self {
        let mut brokers: Vec<BrokerView> = response
            .brokers
            .into_iter()
            .map(|broker| BrokerView {
                id: broker.node_id.0,
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.map(|rack| rack.to_string()),
            })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        let mut topics: Vec<TopicView> =
            response.topics.into_iter().map(TopicView::from_response).collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Self {
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller: response.controller_id.0,
            brokers,
            topics,
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&TopicView> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

impl TopicView {
    fn from_response(topic: MetadataResponseTopic) -> Self {
        let mut partitions: Vec<PartitionView> =
            topic.partitions.into_iter().map(PartitionView::from_response).collect();
        partitions.sort_by_key(|partition| partition.index);
        Self {
            name: topic.name.map(|name| name.0.to_string()).unwrap_or_default(),
            id: topic.topic_id,
            internal: topic.is_internal,
            error: ErrorCode::from_code(topic.error_code),
            partitions,
        }
    }

    pub(crate) fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }

    pub(crate) fn partition(&self, index: i32) -> Option<&PartitionView> {
        self.partitions.iter().find(|partition| partition.index == index)
    }
}

impl PartitionView {
    fn from_response(partition: MetadataResponsePartition) -> Self {
        let ids = |nodes: Vec<kafka_protocol::messages::BrokerId>| {
            nodes.into_iter().map(|node| node.0).collect::<Vec<i32>>()
        };
        Self {
            index: partition.partition_index,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: ids(partition.replica_nodes),
            in_sync: ids(partition.isr_nodes),
            offline: ids(partition.offline_replicas),
        }
    }

    pub(crate) fn under_replicated(&self) -> bool {
        self.in_sync.len() < self.replicas.len()
    }
}
