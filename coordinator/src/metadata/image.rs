//! The state of the cluster at one point of the metadata log.
//!
//! Owns: [`MetadataImage`] and its parts, reading them, and their invariants ([`MetadataImage::validate`]).
//! Never: changes by anything but [`MetadataImage::apply`](super::MetadataImage::apply) of a record.
//! Invariants: a clone costs a few reference counts; topics by name and by id agree; partitions of a
//! topic are dense from 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::model::{
    LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TopicName, TopicPartition, Uuid,
};

use super::directories::{LOST_DIRECTORY, UNASSIGNED_DIRECTORY};
use super::record::{BrokerRecord, Formation, ResourceType};

/// "No leader" where a leader's id is expected.
pub const NO_LEADER: NodeId = NodeId(-1);

/// Everything the metadata log says, up to and without [`end`](Self::end).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MetadataImage {
    pub(super) end: Offset,
    pub(super) cluster_id: Arc<str>,
    pub(super) topics: Arc<BTreeMap<TopicName, Arc<TopicImage>>>,
    pub(super) names: Arc<BTreeMap<Uuid, TopicName>>,
    pub(super) configs: Arc<BTreeMap<ConfigResource, Arc<ConfigMap>>>,
    pub(super) brokers: Arc<BTreeMap<NodeId, Arc<BrokerImage>>>,
    pub(super) features: Arc<BTreeMap<String, i16>>,
    pub(super) next_producer_id: ProducerId,
}

/// The dynamic configs of one resource, by key.
pub type ConfigMap = BTreeMap<String, String>;

/// What a config belongs to, by type and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: String,
}

impl ConfigResource {
    pub fn new(kind: ResourceType, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }

    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(ResourceType::Topic, name)
    }

    #[must_use]
    pub fn broker(id: NodeId) -> Self {
        Self::new(ResourceType::Broker, id.to_string())
    }

    /// What holds for every broker that has no value of its own.
    #[must_use]
    pub fn cluster_default() -> Self {
        Self::new(ResourceType::Broker, "")
    }
}

/// One topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub name: TopicName,
    pub id: Uuid,
    /// By index.
    pub partitions: Vec<PartitionImage>,
}

impl TopicImage {
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }

    /// Partitions with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &PartitionImage)> {
        (0..).map(PartitionId).zip(&self.partitions)
    }

    /// How many replicas the first partition has, which is Kafka's idea of a topic's factor.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }
}

/// One partition's assignment and leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The replicas of the beginning, and their directories, once they are not the present ones any more. A
    /// group begins with them, however much was decided before it could.
    pub founders: Vec<(NodeId, Uuid)>,
    /// What replicas go by in their group that do not go by their directory's id, in the order of
    /// `replicas`; nil for one that does. Empty where all do.
    pub keys: Vec<Uuid>,
    /// Who the group was formed anew from, where an unclean election did that.
    pub formation: Option<Formation>,
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment brings; they stand in `replicas` too.
    pub adding: Vec<NodeId>,
    /// Replicas that a reassignment takes away when the new ones are in sync.
    pub removing: Vec<NodeId>,
    /// [`NO_LEADER`] while no in-sync replica is up.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of this partition.
    pub partition_epoch: i32,
}

impl PartitionImage {
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The first replica, which leads when nothing is in its way.
    #[must_use]
    pub fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    /// The log directory of a replica.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == node)?;
        self.directories.get(at).copied()
    }

    /// What a replica goes by in its group: the id of the directory it began in, or one that it got
    /// since. `None` while neither is known.
    #[must_use]
    pub fn key_of(&self, node: NodeId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == node)?;
        let key = self.keys.get(at).copied().filter(|key| !key.is_nil());
        let known = |id: &Uuid| *id != UNASSIGNED_DIRECTORY && *id != LOST_DIRECTORY;
        key.or_else(|| self.directories.get(at).copied().filter(known))
    }

    /// The keys of `replicas`, each as `choose` has it from what it is now; nil is the directory's id.
    /// Empty where none is another.
    pub(super) fn keys_for(
        &self,
        replicas: &[NodeId],
        choose: impl Fn(NodeId, Uuid) -> Uuid,
    ) -> Vec<Uuid> {
        let now = |node: &NodeId| {
            let at = self.replicas.iter().position(|replica| replica == node);
            at.and_then(|at| self.keys.get(at).copied()).unwrap_or_default()
        };
        let keys: Vec<Uuid> = replicas.iter().map(|node| choose(*node, now(node))).collect();
        if keys.iter().all(Uuid::is_nil) { Vec::new() } else { keys }
    }

    /// The replicas that the group begins with, each with its directory.
    #[must_use]
    pub fn founders(&self) -> Vec<(NodeId, Uuid)> {
        if !self.founders.is_empty() {
            return self.founders.clone();
        }
        self.replicas.iter().copied().zip(self.directories.iter().copied()).collect()
    }

    /// How often the group was formed anew.
    #[must_use]
    pub fn formations(&self) -> u32 {
        self.formation.map_or(0, |formation| formation.number)
    }
}

/// A registered broker and whether it takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    pub registration: BrokerRecord,
    /// A fenced broker leads nothing and is shown to no client.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
}

impl BrokerImage {
    /// Whether the broker may lead partitions and join in-sync sets.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

impl MetadataImage {
    /// Nothing, for a log whose first record has this offset.
    #[must_use]
    pub fn starting_at(first: Offset) -> Self {
        Self { end: first, ..Self::default() }
    }

    /// About how many records a snapshot has: enough to see whether one is worth it.
    #[must_use]
    pub fn snapshot_len(&self) -> usize {
        let partitions: usize = self.topics().map(|topic| topic.partitions.len() + 1).sum();
        partitions + self.configs.len() + 2 * self.brokers.len() + self.features.len()
    }

    /// The offset of the next record of the metadata log.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// The cluster's id; empty before the first record.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// A topic by id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The name of a topic id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// Topics by name, in order.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// Topics from `name` on, in the order of their names.
    pub fn topics_from(&self, name: &str) -> impl DoubleEndedIterator<Item = &Arc<TopicImage>> {
        self.topics
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    #[must_use]
    pub fn partition(&self, of: &TopicPartition) -> Option<&PartitionImage> {
        self.topics.get(&of.topic)?.partition(of.partition)
    }

    /// Every broker that ever registered and was not taken out.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerImage>> {
        self.brokers.values()
    }

    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id)
    }

    /// Whether the broker is registered and may lead.
    #[must_use]
    pub fn is_active(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }

    /// The dynamic configs of a resource; `None` where it has none.
    #[must_use]
    pub fn configs(&self, of: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.configs.get(of)
    }

    /// The dynamic configs of a topic; `None` where it has none.
    #[must_use]
    pub fn topic_configs(&self, name: &str) -> Option<&Arc<ConfigMap>> {
        self.configs.get(&ConfigResource::topic(name))
    }

    /// One dynamic config.
    #[must_use]
    pub fn config(&self, of: &ConfigResource, key: &str) -> Option<&str> {
        self.configs.get(of)?.get(key).map(String::as_str)
    }

    /// Resources of a type that have dynamic configs, in the order of their names.
    pub fn config_resources(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        self.configs
            .range(ConfigResource::new(kind, "")..)
            .take_while(move |(resource, _)| resource.kind == kind)
            .map(|(resource, _)| resource.name.as_str())
    }

    /// Every resource that has dynamic configs.
    pub fn all_config_resources(&self) -> impl Iterator<Item = &ConfigResource> {
        self.configs.keys()
    }

    /// Finalized features and their levels.
    #[must_use]
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The finalized level of a feature; 0 where it is off or unknown.
    #[must_use]
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The first producer id that no block has been given of.
    #[must_use]
    pub const fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}
