//! Records turn one image into the next.
//!
//! Owns: [`MetadataImage::apply`] and [`MetadataImage::to_records`], its inverse for snapshots.
//! Never: decides; a record that contradicts the image is damage, not a case. Invariants: the same
//! records in the same order give equal images; an image that others hold is copied where it
//! changes, never changed under them.

use std::sync::Arc;

use ottla_protocol::model::{NodeId, PartitionId, TopicName, Uuid};

use super::delta::MetadataDelta;
use super::image::{BrokerImage, ConfigResource, MetadataImage, PartitionImage, TopicImage};
use super::record::{BrokerRecord, MetadataRecord, PartitionChange};

/// A record that contradicts what the log said before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("the metadata log names topic id {0}, which it never created: the log is damaged")]
    UnknownTopicId(Uuid),
    #[error("the metadata log names broker {0}, which never registered: the log is damaged")]
    UnknownBroker(NodeId),
    #[error(
        "the metadata log changes partition {partition} of '{topic}', which it never created: the \
         log is damaged"
    )]
    UnknownPartition { topic: TopicName, partition: PartitionId },
    #[error(
        "the metadata log adds partition {partition} to '{topic}', which has {partitions}: the log \
         is damaged"
    )]
    PartitionOutOfOrder { topic: TopicName, partition: PartitionId, partitions: usize },
    #[error("the metadata log creates topic '{0}' twice: the log is damaged")]
    TopicTwice(TopicName),
}

impl MetadataImage {
    /// Applies one record and notes in `delta` what it changed.
    ///
    /// # Errors
    /// When the record contradicts the image; the image is then as it was.
    pub fn apply(
        &mut self,
        record: &MetadataRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Snapshot => *self = Self::starting_at(self.end),
            MetadataRecord::Cluster { id } => self.cluster_id = id.as_str().into(),
            MetadataRecord::Topic { name, id } => self.apply_topic(name, *id)?,
            MetadataRecord::Partition { topic_id, partition, .. } => {
                self.apply_partition(record, *topic_id, *partition)?;
                delta.partition_changed(*topic_id, *partition);
            }
            MetadataRecord::PartitionChange(change) => {
                self.apply_change(change)?;
                delta.partition_changed(change.topic_id, change.partition);
            }
            MetadataRecord::TopicRemoved { id } => self.apply_topic_removed(*id, delta)?,
            MetadataRecord::Config { resource, name, key, value } => {
                let resource = ConfigResource::new(*resource, name.as_str());
                self.apply_config(&resource, key, value.as_deref());
                delta.configs.insert(resource);
            }
            MetadataRecord::Broker(registration) => {
                self.apply_broker(registration);
                delta.brokers.insert(registration.id);
            }
            MetadataRecord::BrokerState { id, fenced, in_controlled_shutdown, .. } => {
                let broker = Arc::make_mut(&mut self.brokers)
                    .get_mut(id)
                    .map(Arc::make_mut)
                    .ok_or(ApplyError::UnknownBroker(*id))?;
                broker.fenced = *fenced;
                broker.in_controlled_shutdown = *in_controlled_shutdown;
                delta.brokers.insert(*id);
            }
            MetadataRecord::BrokerDirectories { id, directories } => {
                let broker = Arc::make_mut(&mut self.brokers)
                    .get_mut(id)
                    .map(Arc::make_mut)
                    .ok_or(ApplyError::UnknownBroker(*id))?;
                broker.registration.directories.clone_from(directories);
                delta.brokers.insert(*id);
            }
            MetadataRecord::BrokerRemoved { id } => {
                if !self.brokers.contains_key(id) {
                    return Err(ApplyError::UnknownBroker(*id));
                }
                Arc::make_mut(&mut self.brokers).remove(id);
                delta.brokers.insert(*id);
            }
            MetadataRecord::ProducerIds { next } => self.next_producer_id = *next,
            MetadataRecord::Feature { name, level } => {
                let features = Arc::make_mut(&mut self.features);
                if *level == 0 {
                    features.remove(name);
                } else {
                    features.insert(name.clone(), *level);
                }
                delta.features.insert(name.clone());
            }
        }
        self.end = self.end.next();
        delta.records += 1;
        Ok(())
    }

    /// Applies records in order.
    ///
    /// # Errors
    /// At the first record that contradicts the image; those before it are applied.
    pub fn apply_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<MetadataDelta, ApplyError> {
        let mut delta = MetadataDelta::default();
        for record in records {
            self.apply(record, &mut delta)?;
        }
        Ok(delta)
    }

    fn apply_topic(&mut self, name: &TopicName, id: Uuid) -> Result<(), ApplyError> {
        if self.topics.contains_key(name) || self.names.contains_key(&id) {
            return Err(ApplyError::TopicTwice(name.clone()));
        }
        Arc::make_mut(&mut self.names).insert(id, name.clone());
        let topic = TopicImage { name: name.clone(), id, partitions: Vec::new() };
        Arc::make_mut(&mut self.topics).insert(name.clone(), Arc::new(topic));
        Ok(())
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut TopicImage, ApplyError> {
        let unknown = ApplyError::UnknownTopicId(id);
        let Some(name) = self.names.get(&id) else { return Err(unknown) };
        Arc::make_mut(&mut self.topics).get_mut(name).map(Arc::make_mut).ok_or(unknown)
    }

    fn apply_partition(
        &mut self,
        record: &MetadataRecord,
        topic_id: Uuid,
        partition: PartitionId,
    ) -> Result<(), ApplyError> {
        let topic = self.topic_mut(topic_id)?;
        if usize::try_from(partition.0).ok() != Some(topic.partitions.len()) {
            return Err(ApplyError::PartitionOutOfOrder {
                topic: topic.name.clone(),
                partition,
                partitions: topic.partitions.len(),
            });
        }
        if let MetadataRecord::Partition {
            replicas,
            directories,
            isr,
            leader,
            leader_epoch,
            partition_epoch,
            adding,
            removing,
            keys,
            formation,
            founders,
            founded_in,
            ..
        } = record
        {
            topic.partitions.push(PartitionImage {
                replicas: replicas.clone(),
                directories: directories.clone(),
                keys: keys.clone(),
                formation: *formation,
                founders: founders.iter().copied().zip(founded_in.iter().copied()).collect(),
                isr: isr.clone(),
                adding: adding.clone(),
                removing: removing.clone(),
                leader: *leader,
                leader_epoch: *leader_epoch,
                partition_epoch: *partition_epoch,
            });
        }
        Ok(())
    }

    fn apply_change(&mut self, change: &PartitionChange) -> Result<(), ApplyError> {
        let topic = self.topic_mut(change.topic_id)?;
        let found = usize::try_from(change.partition.0)
            .ok()
            .filter(|index| *index < topic.partitions.len());
        let Some(index) = found else {
            return Err(ApplyError::UnknownPartition {
                topic: topic.name.clone(),
                partition: change.partition,
            });
        };
        let image = &mut topic.partitions[index];
        let set = |to: &mut Vec<NodeId>, from: &Option<Vec<NodeId>>| {
            if let Some(nodes) = from {
                to.clone_from(nodes);
            }
        };
        if change.replicas.is_some() || change.directories.is_some() {
            image.founders = image.founders();
        }
        set(&mut image.replicas, &change.replicas);
        set(&mut image.isr, &change.isr);
        set(&mut image.adding, &change.adding);
        set(&mut image.removing, &change.removing);
        if let Some(directories) = &change.directories {
            image.directories.clone_from(directories);
        }
        if let Some(keys) = &change.keys {
            image.keys.clone_from(keys);
        }
        image.formation = change.formation.or(image.formation);
        if let Some(leader) = change.leader {
            image.leader = leader;
            image.leader_epoch.0 = image.leader_epoch.0.saturating_add(1);
        }
        image.partition_epoch = image.partition_epoch.saturating_add(1);
        Ok(())
    }

    fn apply_topic_removed(
        &mut self,
        id: Uuid,
        delta: &mut MetadataDelta,
    ) -> Result<(), ApplyError> {
        let unknown = ApplyError::UnknownTopicId(id);
        let Some(name) = self.names.get(&id).cloned() else { return Err(unknown) };
        Arc::make_mut(&mut self.names).remove(&id);
        let topic = Arc::make_mut(&mut self.topics).remove(&name).ok_or(unknown)?;
        let configs = ConfigResource::topic(&*name);
        if self.configs.contains_key(&configs) {
            Arc::make_mut(&mut self.configs).remove(&configs);
        }
        delta.configs.remove(&configs);
        delta.partitions.remove(&id);
        delta.deleted_topics.push(topic);
        Ok(())
    }

    fn apply_config(&mut self, resource: &ConfigResource, key: &str, value: Option<&str>) {
        let configs = Arc::make_mut(&mut self.configs);
        match value {
            Some(value) => {
                let of = configs.entry(resource.clone()).or_default();
                Arc::make_mut(of).insert(key.to_owned(), value.to_owned());
            }
            None => {
                let Some(of) = configs.get_mut(resource) else { return };
                let of = Arc::make_mut(of);
                of.remove(key);
                if of.is_empty() {
                    configs.remove(resource);
                }
            }
        }
    }

    fn apply_broker(&mut self, registration: &BrokerRecord) {
        let broker = BrokerImage {
            registration: registration.clone(),
            fenced: true,
            in_controlled_shutdown: false,
        };
        Arc::make_mut(&mut self.brokers).insert(registration.id, Arc::new(broker));
    }

    /// The records of a snapshot: applied to any image they give this one, but for
    /// [`end`](Self::end). To be appended as one batch, after which the log may begin with it.
    #[must_use]
    pub fn snapshot(&self) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Snapshot];
        records.extend(self.to_records());
        records
    }

    /// Records that give this image when they are applied to an empty one, but for
    /// [`end`](Self::end).
    #[must_use]
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Cluster { id: self.cluster_id().to_owned() }];
        for (name, level) in self.features.iter() {
            records.push(MetadataRecord::Feature { name: name.clone(), level: *level });
        }
        for broker in self.brokers.values() {
            records.push(MetadataRecord::Broker(broker.registration.clone()));
            if !broker.fenced || broker.in_controlled_shutdown {
                records.push(MetadataRecord::BrokerState {
                    id: broker.registration.id,
                    epoch: broker.registration.epoch,
                    fenced: broker.fenced,
                    in_controlled_shutdown: broker.in_controlled_shutdown,
                });
            }
        }
        for topic in self.topics.values() {
            records.push(MetadataRecord::Topic { name: topic.name.clone(), id: topic.id });
            for (partition, image) in topic.iter() {
                records.push(snapshot_partition(topic.id, partition, image));
            }
        }
        for (resource, configs) in self.configs.iter() {
            records.extend(configs.iter().map(|(key, value)| MetadataRecord::Config {
                resource: resource.kind,
                name: resource.name.clone(),
                key: key.clone(),
                value: Some(value.clone()),
            }));
        }
        if self.next_producer_id.0 != 0 {
            records.push(MetadataRecord::ProducerIds { next: self.next_producer_id });
        }
        records
    }
}

fn snapshot_partition(
    topic_id: Uuid,
    partition: PartitionId,
    image: &PartitionImage,
) -> MetadataRecord {
    MetadataRecord::Partition {
        topic_id,
        partition,
        replicas: image.replicas.clone(),
        directories: image.directories.clone(),
        isr: image.isr.clone(),
        leader: image.leader,
        leader_epoch: image.leader_epoch,
        partition_epoch: image.partition_epoch,
        adding: image.adding.clone(),
        removing: image.removing.clone(),
        keys: image.keys.clone(),
        formation: image.formation,
        founders: image.founders.iter().map(|(node, _)| *node).collect(),
        founded_in: image.founders.iter().map(|(_, directory)| *directory).collect(),
    }
}
