//! What must hold of every image, executable.
//!
//! Owns: [`MetadataImage::validate`] and the facts it can find broken. Never: repairs. Called after
//! every command in tests and debug builds, and when a broker has read its log.

use std::collections::BTreeSet;

use ottla_protocol::model::{NodeId, PartitionId, TopicName, Uuid};

use super::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use super::topic_name;

/// An invariant of the image that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("topic '{name}' is indexed by another id than its own {id}")]
    NameAndIdDisagree { name: TopicName, id: Uuid },
    #[error("{names} topic ids stand for {topics} topics")]
    IndexesDiffer { names: usize, topics: usize },
    #[error("topic name '{0}' is not valid")]
    InvalidName(TopicName),
    #[error("partition {partition} of '{topic}': {what}")]
    Partition { topic: TopicName, partition: PartitionId, what: &'static str },
    #[error("an empty map of configs is kept for {0}")]
    EmptyConfigs(String),
    #[error("the next producer id {0} is negative")]
    ProducerId(i64),
}

impl MetadataImage {
    /// Checks every invariant.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn validate(&self) -> Result<(), Broken> {
        if self.names.len() != self.topics.len() {
            return Err(Broken::IndexesDiffer {
                names: self.names.len(),
                topics: self.topics.len(),
            });
        }
        for (name, topic) in self.topics.iter() {
            if *name != topic.name || self.names.get(&topic.id) != Some(name) {
                return Err(Broken::NameAndIdDisagree { name: name.clone(), id: topic.id });
            }
            if topic_name::check(name).is_err() {
                return Err(Broken::InvalidName(name.clone()));
            }
            self.validate_partitions(topic)?;
        }
        if let Some((resource, _)) = self.configs.iter().find(|(_, map)| map.is_empty()) {
            return Err(Broken::EmptyConfigs(resource.name.clone()));
        }
        if self.next_producer_id.0 < 0 {
            return Err(Broken::ProducerId(self.next_producer_id.0));
        }
        Ok(())
    }

    fn validate_partitions(&self, topic: &TopicImage) -> Result<(), Broken> {
        for (partition, image) in topic.iter() {
            if let Err(what) = image.validate() {
                return Err(Broken::Partition { topic: topic.name.clone(), partition, what });
            }
        }
        Ok(())
    }
}

impl PartitionImage {
    fn validate(&self) -> Result<(), &'static str> {
        let replicas: BTreeSet<NodeId> = self.replicas.iter().copied().collect();
        let among = |nodes: &[NodeId]| nodes.iter().all(|node| replicas.contains(node));
        if self.replicas.is_empty() {
            return Err("it has no replicas");
        }
        if replicas.len() != self.replicas.len() {
            return Err("a replica stands twice");
        }
        if self.directories.len() != self.replicas.len() {
            return Err("directories and replicas differ in number");
        }
        if !self.keys.is_empty() && self.keys.len() != self.replicas.len() {
            return Err("keys and replicas differ in number");
        }
        if !among(&self.isr) {
            return Err("an in-sync replica is not a replica");
        }
        if !among(&self.adding) || !among(&self.removing) {
            return Err("a reassigned replica is not a replica");
        }
        if self.adding.iter().any(|node| self.removing.contains(node)) {
            return Err("a replica is both added and removed");
        }
        if self.leader != NO_LEADER && !self.isr.contains(&self.leader) {
            return Err("the leader is not in sync");
        }
        if self.leader_epoch.0 < 0 || self.partition_epoch < self.leader_epoch.0 {
            return Err("the leader epoch is not within the partition epoch");
        }
        Ok(())
    }
}
