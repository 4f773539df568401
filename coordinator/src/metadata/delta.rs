//! What a run of records changed, for those who act on it.
//!
//! Owns: [`MetadataDelta`]. Never: holds values that the new image holds as well, except topics that
//! are gone from it. Invariant: everything that differs between two images is named in the delta of
//! the records between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::model::{NodeId, PartitionId, Uuid};

use super::image::{ConfigResource, MetadataImage, TopicImage};

/// The difference between an image and the one that the records before it gave.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MetadataDelta {
    /// Partitions that are new or differ in assignment or leadership, by topic id.
    pub partitions: BTreeMap<Uuid, BTreeSet<PartitionId>>,
    /// Topics that are gone, as they were; also those that came within the same records.
    pub deleted_topics: Vec<Arc<TopicImage>>,
    /// Resources whose dynamic configs changed. Those of deleted topics are not among them.
    pub configs: BTreeSet<ConfigResource>,
    /// Brokers that came, changed or left.
    pub brokers: BTreeSet<NodeId>,
    /// Features whose level changed.
    pub features: BTreeSet<String>,
    /// How many records were applied.
    pub records: u64,
}

impl MetadataDelta {
    /// The delta from nothing to `image`: what a broker acts on that starts.
    #[must_use]
    pub fn everything(image: &MetadataImage) -> Self {
        Self {
            partitions: image
                .topics()
                .map(|topic| (topic.id, topic.iter().map(|(partition, _)| partition).collect()))
                .collect(),
            deleted_topics: Vec::new(),
            configs: image.all_config_resources().cloned().collect(),
            brokers: image.brokers().map(|broker| broker.registration.id).collect(),
            features: image.features().keys().cloned().collect(),
            records: 0,
        }
    }

    /// Whether nothing changed that anybody acts on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
            && self.deleted_topics.is_empty()
            && self.configs.is_empty()
            && self.brokers.is_empty()
            && self.features.is_empty()
    }

    pub(super) fn partition_changed(&mut self, topic: Uuid, partition: PartitionId) {
        self.partitions.entry(topic).or_default().insert(partition);
    }
}
