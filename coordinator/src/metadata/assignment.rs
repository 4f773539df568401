//! Replicas of partitions: checking a client's list, choosing one, and the records of new partitions.
//!
//! Owns: Kafka's `validateManualPartitionAssignment` and `buildPartitionRegistration`. Never: knows
//! which request asked.

use std::collections::BTreeSet;

use ottla_protocol::model::{LeaderEpoch, NodeId, PartitionId, Uuid};

use super::decide::{DecideContext, default_directory};
use super::error::ControllerError;
use super::image::{MetadataImage, NO_LEADER};
use super::placement::{self, PlacementError, UsableBroker};
use super::random::Random;
use super::record::MetadataRecord;

/// Checks a client's list of replicas. `factor` is what earlier partitions of the topic have.
pub(super) fn check(
    image: &MetadataImage,
    replicas: &[NodeId],
    factor: Option<usize>,
) -> Result<(), ControllerError> {
    if replicas.is_empty() {
        return Err(ControllerError::NoReplicas);
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut before = BTreeSet::new();
    for node in sorted {
        if image.broker(node).is_none() {
            return Err(ControllerError::BrokerNotRegistered(node));
        }
        if !before.insert(node) {
            return Err(ControllerError::BrokerTwice(node));
        }
    }
    match factor {
        Some(before) if before != replicas.len() => {
            Err(ControllerError::InconsistentReplicas { found: replicas.len(), before })
        }
        _ => Ok(()),
    }
}

/// Refuses a list on which nobody could lead.
pub(super) fn require_active(
    image: &MetadataImage,
    partition: PartitionId,
    replicas: &[NodeId],
) -> Result<(), ControllerError> {
    if replicas.iter().any(|node| image.is_active(*node)) {
        Ok(())
    } else {
        Err(ControllerError::AssignedBrokersFenced(partition))
    }
}

/// Chooses replicas for new partitions among the registered brokers.
pub(super) fn place(
    image: &MetadataImage,
    partitions: usize,
    factor: i16,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let brokers = image.brokers().filter(|broker| !broker.in_controlled_shutdown).map(|broker| {
        UsableBroker {
            id: broker.registration.id,
            rack: broker.registration.rack.clone(),
            fenced: broker.fenced,
        }
    });
    placement::place(brokers, partitions, factor, random)
}

/// The record of a new partition: active replicas are in sync, the first of them leads. A partition's
/// only replica goes where its broker likes; of several, each gets a directory here, because the
/// directory is part of who votes.
pub(super) fn new_partition(
    image: &MetadataImage,
    context: &mut DecideContext<'_>,
    topic_id: Uuid,
    partition: PartitionId,
    replicas: Vec<NodeId>,
) -> MetadataRecord {
    let directories = match replicas.as_slice() {
        [only] => vec![default_directory(image, *only)],
        several => several.iter().map(|node| context.directory_on(image, *node)).collect(),
    };
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|node| image.is_active(*node)).collect();
    MetadataRecord::Partition {
        topic_id,
        partition,
        directories,
        leader: isr.first().copied().unwrap_or(NO_LEADER),
        isr,
        replicas,
        leader_epoch: LeaderEpoch::ZERO,
        partition_epoch: 0,
        adding: Vec::new(),
        removing: Vec::new(),
        keys: Vec::new(),
        formation: None,
        founders: Vec::new(),
        founded_in: Vec::new(),
    }
}
