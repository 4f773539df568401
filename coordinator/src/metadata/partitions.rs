//! Adding partitions to topics.
//!
//! Owns: [`CreatePartitions`] with the rules of Kafka's `ReplicationControlManager.createPartitions`.
//! Never: takes partitions away; Kafka can't either. Invariant: new partitions go on densely where
//! the topic ends.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::{NodeId, PartitionId};

use super::assignment;
use super::decide::{Command, DecideContext, Decision, RECORDS_PER_COMMAND_MAX, Validation};
use super::error::ControllerError;
use super::image::{MetadataImage, TopicImage};
use super::record::MetadataRecord;

/// Adds partitions (CreatePartitions).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CreatePartitions {
    pub topics: Vec<GrownTopic>,
    pub validation: Validation,
}

/// A topic and how many partitions it shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrownTopic {
    pub name: String,
    /// All partitions, old and new.
    pub count: i32,
    /// Replicas of the new partitions in order; `None` lets the controller choose.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// What became of each topic: duplicates first, then in the request's order.
pub type CreatePartitionsReply = Vec<(String, Result<(), ControllerError>)>;

impl Command for CreatePartitions {
    type Reply = CreatePartitionsReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<CreatePartitionsReply> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for topic in &self.topics {
            *counts.entry(topic.name.clone()).or_default() += 1;
        }
        let twice: BTreeSet<&String> =
            counts.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name).collect();
        let mut reply: CreatePartitionsReply = twice
            .iter()
            .map(|name| ((*name).clone(), Err(ControllerError::DuplicateTopicName)))
            .collect();
        let mut records = Vec::new();
        for topic in self.topics.iter().filter(|topic| !twice.contains(&topic.name)) {
            let result = grow(image, context, topic).and_then(|new| {
                if records.len() + new.len() > RECORDS_PER_COMMAND_MAX {
                    return Err(ControllerError::UnexpectedlyLarge);
                }
                records.extend(new);
                Ok(())
            });
            reply.push((topic.name.clone(), result));
        }
        Decision { records, reply }.validated(self.validation)
    }
}

fn grow(
    image: &MetadataImage,
    context: &mut DecideContext<'_>,
    wanted: &GrownTopic,
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let topic = image.topic(&wanted.name).ok_or(ControllerError::UnknownTopicSilent)?;
    let partitions = topic.partitions.len();
    let count = usize::try_from(wanted.count).unwrap_or(0);
    if count == partitions {
        return Err(ControllerError::PartitionsUnchanged(partitions));
    }
    if count < partitions {
        return Err(ControllerError::PartitionsNotIncreased {
            name: wanted.name.clone(),
            partitions,
            count: wanted.count,
        });
    }
    let additional = count - partitions;
    let replicas = match &wanted.assignments {
        Some(assignments) => assigned(image, topic, assignments, additional)?,
        None if additional > RECORDS_PER_COMMAND_MAX => {
            return Err(ControllerError::UnexpectedlyLarge);
        }
        None => {
            let factor = i16::try_from(topic.replication_factor()).unwrap_or(i16::MAX);
            let placed = assignment::place(image, additional, factor, &mut context.random)
                .map_err(ControllerError::Placement)?;
            if placed.iter().any(|nodes| !nodes.iter().any(|node| image.is_active(*node))) {
                return Err(ControllerError::ReplicasFenced(factor));
            }
            placed
        }
    };
    let first = i32::try_from(partitions).unwrap_or(i32::MAX);
    Ok((first..)
        .map(PartitionId)
        .zip(replicas)
        .map(|(partition, nodes)| {
            assignment::new_partition(image, context, topic.id, partition, nodes)
        })
        .collect())
}

fn assigned(
    image: &MetadataImage,
    topic: &TopicImage,
    assignments: &[Vec<NodeId>],
    additional: usize,
) -> Result<Vec<Vec<NodeId>>, ControllerError> {
    if assignments.len() != additional {
        return Err(ControllerError::AssignmentCount {
            additional,
            assignments: assignments.len(),
        });
    }
    let first = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    for (partition, nodes) in (first..).map(PartitionId).zip(assignments) {
        assignment::check(image, nodes, Some(topic.replication_factor()))?;
        assignment::require_active(image, partition, nodes)?;
    }
    Ok(assignments.to_vec())
}

#[cfg(test)]
mod tests;
