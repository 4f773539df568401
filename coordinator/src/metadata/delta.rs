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

    /// What differs between two images of one cluster, whatever records lie between them.
    #[must_use]
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> Self {
        let mut delta = Self { records: after.end.0.abs_diff(before.end.0), ..Self::default() };
        if !Arc::ptr_eq(&before.topics, &after.topics) {
            for topic in after.topics() {
                let old = before.topic_by_id(topic.id);
                if old.is_some_and(|old| Arc::ptr_eq(old, topic)) {
                    continue;
                }
                for (partition, state) in topic.iter() {
                    if old.and_then(|old| old.partition(partition)) != Some(state) {
                        delta.partition_changed(topic.id, partition);
                    }
                }
            }
            let gone = before.topics().filter(|topic| after.topic_name(topic.id).is_none());
            delta.deleted_topics = gone.cloned().collect();
        }
        let same =
            |resource: &ConfigResource| match (before.configs(resource), after.configs(resource)) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
                (old, new) => old.is_none() && new.is_none(),
            };
        if !Arc::ptr_eq(&before.configs, &after.configs) {
            let deleted: BTreeSet<ConfigResource> = delta
                .deleted_topics
                .iter()
                .map(|topic| ConfigResource::topic(&*topic.name))
                .filter(|resource| after.configs(resource).is_none())
                .collect();
            let all = before.all_config_resources().chain(after.all_config_resources());
            delta.configs = all.filter(|of| !same(of) && !deleted.contains(*of)).cloned().collect();
        }
        if !Arc::ptr_eq(&before.brokers, &after.brokers) {
            let ids = before.brokers().chain(after.brokers()).map(|broker| broker.registration.id);
            delta.brokers = ids.filter(|id| before.broker(*id) != after.broker(*id)).collect();
        }
        let names = before.features().keys().chain(after.features().keys());
        delta.features = names
            .filter(|name| before.features().get(*name) != after.features().get(*name))
            .cloned()
            .collect();
        delta
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
