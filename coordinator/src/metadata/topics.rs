//! Creating topics.
//!
//! Owns: [`CreateTopics`] with Kafka's rules of `ReplicationControlManager.createTopics` and of
//! `ControllerApis.createTopics`, and the topics the broker itself creates. Never: looks at
//! permissions. Invariant: one result per named topic, in the request's order, duplicates last.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::{NodeId, PartitionId, TopicName, Uuid};

use super::assignment;
use super::config_rules::{self, EffectiveConfig};
use super::decide::{Command, DecideContext, Decision, RECORDS_PER_COMMAND_MAX, Validation};
use super::error::ControllerError;
use super::image::MetadataImage;
use super::record::{MetadataRecord, ResourceType};
use super::topic_name;

/// Creates topics (CreateTopics, and the broker's own needs).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    pub validation: Validation,
}

/// One topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// -1 is the broker's default.
    pub partitions: i32,
    /// -1 is the broker's default.
    pub replication_factor: i16,
    /// Replicas by partition; empty lets the controller choose.
    pub assignments: Vec<(PartitionId, Vec<NodeId>)>,
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with the broker's defaults, as auto-creation wants it.
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

/// What became of each topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CreateTopicsReply {
    pub topics: Vec<(String, Result<CreatedTopic, ControllerError>)>,
}

/// A topic that was, or would be, created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: Uuid,
    pub partitions: i32,
    pub replication_factor: i16,
    /// What holds for it, by name.
    pub configs: Vec<EffectiveConfig>,
}

impl Command for CreateTopics {
    type Reply = CreateTopicsReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<CreateTopicsReply> {
        let (unique, refused) = split_duplicates(self.topics);
        let mut records = Vec::new();
        let mut reply = CreateTopicsReply::default();
        let too_many = total_partitions(&unique, context) > RECORDS_PER_COMMAND_MAX;
        let names = ExistingNames::of(image, &unique);
        for topic in unique {
            let result = if too_many {
                Err(ControllerError::TooManyPartitions)
            } else {
                names
                    .check(image, &topic.name)
                    .and_then(|()| create(image, context, &topic, &mut records))
            };
            reply.topics.push((topic.name, result));
        }
        if records.len() > RECORDS_PER_COMMAND_MAX {
            // Kafka carries out all topics of a request or, here, none of them.
            records.clear();
            for (_, result) in &mut reply.topics {
                *result = Err(ControllerError::BatchTooLarge);
            }
        }
        reply.topics.extend(refused);
        Decision { records, reply }.validated(self.validation)
    }
}

type Refused = Vec<(String, Result<CreatedTopic, ControllerError>)>;

/// Takes out what is answered without a look at the cluster: names that stand twice (one answer
/// each), and the metadata log's own name.
fn split_duplicates(topics: Vec<NewTopic>) -> (Vec<NewTopic>, Refused) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &topics {
        *counts.entry(topic.name.clone()).or_default() += 1;
    }
    let mut refused = Refused::new();
    let mut told = BTreeSet::new();
    let mut unique = Vec::new();
    for topic in topics {
        let error = if counts.get(&topic.name).is_some_and(|count| *count > 1) {
            ControllerError::DuplicateTopicName
        } else if topic.name == topic_name::CLUSTER_METADATA {
            ControllerError::ClusterMetadataIsNoTopic
        } else {
            unique.push(topic);
            continue;
        };
        if told.insert(topic.name.clone()) {
            refused.push((topic.name, Err(error)));
        }
    }
    (unique, refused)
}

fn total_partitions(topics: &[NewTopic], context: &DecideContext<'_>) -> usize {
    let count = |topic: &NewTopic| match topic.partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(context.settings.num_partitions).unwrap_or(0),
        partitions => usize::try_from(partitions).unwrap_or(0),
    };
    topics.iter().map(count).fold(0, usize::saturating_add)
}

/// Names that new ones can meet.
struct ExistingNames {
    /// By the spelling that metrics use; only filled when a new name can collide.
    unified: BTreeMap<String, TopicName>,
}

impl ExistingNames {
    fn of(image: &MetadataImage, wanted: &[NewTopic]) -> Self {
        let needed = wanted.iter().any(|topic| topic_name::unified(&topic.name).is_some());
        let unified = image
            .topics()
            .filter(|_| needed)
            .filter_map(|topic| Some((topic_name::unified(&topic.name)?, topic.name.clone())))
            .collect();
        Self { unified }
    }

    fn check(&self, image: &MetadataImage, name: &str) -> Result<(), ControllerError> {
        if image.topic(name).is_some() {
            return Err(ControllerError::TopicExists(name.to_owned()));
        }
        topic_name::check(name)?;
        let existing = topic_name::unified(name).and_then(|unified| self.unified.get(&unified));
        match existing {
            Some(existing) => Err(ControllerError::TopicCollides {
                name: name.to_owned(),
                existing: existing.clone(),
            }),
            None => Ok(()),
        }
    }
}

fn create(
    image: &MetadataImage,
    context: &mut DecideContext<'_>,
    topic: &NewTopic,
    records: &mut Vec<MetadataRecord>,
) -> Result<CreatedTopic, ControllerError> {
    let configs = checked_configs(image, context, topic)?;
    let replicas = if topic.assignments.is_empty() {
        placed(image, context, topic)?
    } else {
        assigned(image, topic)?
    };
    let id = loop {
        let id = context.random.id();
        if image.topic_name(id).is_none() {
            break id;
        }
    };
    let effective = config_rules::effective_topic_configs(image, context.settings, &configs);
    let created = CreatedTopic {
        id,
        partitions: i32::try_from(replicas.len()).unwrap_or(i32::MAX),
        replication_factor: replicas
            .first()
            .map_or(0, |nodes| i16::try_from(nodes.len()).unwrap_or(i16::MAX)),
        configs: effective,
    };
    records.push(MetadataRecord::Topic { name: topic.name.as_str().into(), id });
    for (key, value) in configs {
        records.push(MetadataRecord::Config {
            resource: ResourceType::Topic,
            name: topic.name.clone(),
            key,
            value: Some(value),
        });
    }
    for (partition, nodes) in (0..).map(PartitionId).zip(replicas) {
        records.push(assignment::new_partition(image, context, id, partition, nodes));
    }
    Ok(created)
}

fn checked_configs(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    topic: &NewTopic,
) -> Result<BTreeMap<String, String>, ControllerError> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(k, _)| &**k).collect();
    if !nulls.is_empty() {
        return Err(ControllerError::InvalidConfig(format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        )));
    }
    let configs: BTreeMap<String, String> = topic
        .configs
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
        .collect();
    config_rules::check_topic(image, context.settings, &configs)?;
    Ok(configs)
}

/// Replicas as the client wants them.
fn assigned(image: &MetadataImage, topic: &NewTopic) -> Result<Vec<Vec<NodeId>>, ControllerError> {
    if topic.replication_factor != -1 {
        return Err(ControllerError::AssignmentAndReplicationFactor);
    }
    if topic.partitions != -1 {
        return Err(ControllerError::AssignmentAndPartitions);
    }
    let mut by_partition: BTreeMap<PartitionId, Vec<NodeId>> = BTreeMap::new();
    let mut factor = None;
    for (partition, nodes) in &topic.assignments {
        if by_partition.contains_key(partition) {
            return Err(ControllerError::AssignedTwice(*partition));
        }
        assignment::check(image, nodes, factor)?;
        factor = Some(nodes.len());
        assignment::require_active(image, *partition, nodes)?;
        by_partition.insert(*partition, nodes.clone());
    }
    let dense = (0..).map(PartitionId).zip(by_partition.keys()).all(|(want, have)| want == *have);
    if !dense {
        return Err(ControllerError::AssignmentNotConsecutive);
    }
    Ok(by_partition.into_values().collect())
}

/// Replicas as the controller wants them.
fn placed(
    image: &MetadataImage,
    context: &mut DecideContext<'_>,
    topic: &NewTopic,
) -> Result<Vec<Vec<NodeId>>, ControllerError> {
    let factor = match topic.replication_factor {
        -1 => context.settings.default_replication_factor,
        factor if factor > 0 => factor,
        _ => return Err(ControllerError::ReplicationFactorNotPositive),
    };
    let partitions = match topic.partitions {
        -1 => context.settings.num_partitions,
        partitions if partitions > 0 => partitions,
        _ => return Err(ControllerError::PartitionsNotPositive),
    };
    let partitions = usize::try_from(partitions).unwrap_or(0);
    let placed = assignment::place(image, partitions, factor, &mut context.random)
        .map_err(|cause| ControllerError::CannotReplicate { factor, cause })?;
    if placed.iter().any(|nodes| !nodes.iter().any(|node| image.is_active(*node))) {
        return Err(ControllerError::ReplicasFenced(factor));
    }
    Ok(placed)
}

#[cfg(test)]
mod tests;
