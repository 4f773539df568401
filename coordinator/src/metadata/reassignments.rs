//! Moving replicas to other brokers (KIP-455).
//!
//! Owns: [`AlterPartitionReassignments`] and what is under way, with the rules of Kafka's
//! `ReplicationControlManager.alterPartitionReassignment`. Never: copies data; replicas report when
//! they are in sync. Invariant: while a reassignment is under way, `replicas` holds old and new
//! ones, and completing or cancelling it never leaves a partition without an in-sync replica.

use std::collections::BTreeMap;

use ottla_protocol::model::{NodeId, PartitionId, Uuid};

use super::assignment;
use super::decide::{Command, DecideContext, Decision, default_directory};
use super::elections::{Goal, as_set, choose};
use super::error::ControllerError;
use super::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use super::record::{MetadataRecord, PartitionChange};

/// Starts, changes or cancels reassignments (AlterPartitionReassignments).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartitionReassignments {
    pub topics: Vec<TopicReassignments>,
    pub factor_change: FactorChange,
}

/// Whether a reassignment may change how many replicas there are (KIP-860).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FactorChange {
    #[default]
    Allowed,
    Refused,
}

/// New replicas of one topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReassignments {
    pub topic: String,
    /// `None` cancels what is under way.
    pub partitions: Vec<(PartitionId, Option<Vec<NodeId>>)>,
}

/// Results in the request's order.
pub type AlterPartitionReassignmentsReply =
    Vec<(String, Vec<(PartitionId, Result<(), ControllerError>)>)>;

/// A reassignment that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OngoingReassignment {
    pub partition: PartitionId,
    pub replicas: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub removing: Vec<NodeId>,
}

impl MetadataImage {
    /// Reassignments under way: of all topics, or of the named partitions (ListPartitionReassignments).
    #[must_use]
    pub fn reassignments(
        &self,
        of: Option<&[(String, Vec<PartitionId>)]>,
    ) -> Vec<(String, Vec<OngoingReassignment>)> {
        let ongoing = |topic: &TopicImage, partition: PartitionId| {
            let state = topic.partition(partition).filter(|state| state.is_reassigning())?;
            Some(OngoingReassignment {
                partition,
                replicas: state.replicas.clone(),
                adding: state.adding.clone(),
                removing: state.removing.clone(),
            })
        };
        let all: Vec<(String, Vec<OngoingReassignment>)> = match of {
            None => self
                .topics()
                .map(|topic| {
                    let found = topic.iter().filter_map(|(partition, _)| ongoing(topic, partition));
                    (topic.name.to_string(), found.collect())
                })
                .collect(),
            Some(wanted) => wanted
                .iter()
                .filter_map(|(name, partitions)| {
                    let topic = self.topic(name)?;
                    let found = partitions.iter().filter_map(|p| ongoing(topic, *p)).collect();
                    Some((name.clone(), found))
                })
                .collect(),
        };
        all.into_iter().filter(|(_, found)| !found.is_empty()).collect()
    }
}

impl Command for AlterPartitionReassignments {
    type Reply = AlterPartitionReassignmentsReply;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<AlterPartitionReassignmentsReply> {
        let mut changes: BTreeMap<(Uuid, PartitionId), PartitionChange> = BTreeMap::new();
        let mut reply = AlterPartitionReassignmentsReply::new();
        for TopicReassignments { topic, partitions } in self.topics {
            let mut results = Vec::with_capacity(partitions.len());
            for (partition, target) in partitions {
                let decided =
                    alter(image, &topic, partition, target.as_deref(), self.factor_change);
                let result = decided.map(|change| {
                    // Named twice, the last one counts: each is decided on the same image.
                    changes.insert((change.topic_id, partition), change);
                });
                results.push((partition, result));
            }
            reply.push((topic, results));
        }
        let records = changes
            .into_values()
            .filter(|change| !change.is_empty())
            .map(MetadataRecord::PartitionChange)
            .collect();
        Decision { records, reply }
    }
}

fn alter(
    image: &MetadataImage,
    topic: &str,
    partition: PartitionId,
    target: Option<&[NodeId]>,
    factor_change: FactorChange,
) -> Result<PartitionChange, ControllerError> {
    let known = image
        .topic(topic)
        .ok_or_else(|| ControllerError::ReassignedTopicUnknown(topic.to_owned()))?;
    let state = known
        .partition(partition)
        .ok_or_else(|| ControllerError::ReassignedPartitionUnknown(topic.to_owned(), partition))?;
    let wanted = match target {
        Some(target) => start(image, state, target, factor_change)?,
        None => revert(state, topic, partition)?,
    };
    Ok(wanted.change(image, state, PartitionChange::of(known.id, partition)))
}

/// Where a partition shall get to.
struct Target {
    replicas: Vec<NodeId>,
    isr: Vec<NodeId>,
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
}

fn start(
    image: &MetadataImage,
    state: &PartitionImage,
    target: &[NodeId],
    factor_change: FactorChange,
) -> Result<Target, ControllerError> {
    assignment::check(image, target, None)?;
    let original = state.replicas.iter().filter(|node| !state.adding.contains(node)).count();
    if factor_change == FactorChange::Refused && original != target.len() {
        return Err(ControllerError::ReplicationFactorChanged { from: original, to: target.len() });
    }
    let (now, then) = (as_set(&state.replicas), as_set(target));
    let removing: Vec<NodeId> = now.difference(&then).copied().collect();
    let adding: Vec<NodeId> = then.difference(&now).copied().collect();
    let replicas = target.iter().chain(&removing).copied().collect();
    Ok(Target { replicas, isr: state.isr.clone(), adding, removing }.completed())
}

fn revert(
    state: &PartitionImage,
    topic: &str,
    partition: PartitionId,
) -> Result<Target, ControllerError> {
    if !state.is_reassigning() {
        return Err(ControllerError::NoReassignmentInProgress);
    }
    let stays = |node: &&NodeId| !state.adding.contains(node);
    let isr: Vec<NodeId> = state.isr.iter().filter(stays).copied().collect();
    if isr.is_empty() {
        return Err(ControllerError::RevertIsUnclean(topic.to_owned(), partition));
    }
    Ok(Target {
        replicas: state.replicas.iter().filter(stays).copied().collect(),
        isr,
        adding: Vec::new(),
        removing: Vec::new(),
    })
}

impl Target {
    /// The end of the reassignment where every replica that stays is in sync already.
    fn completed(self) -> Self {
        if self.adding.is_empty() && self.removing.is_empty() {
            return self;
        }
        let stays = |node: &&NodeId| !self.removing.contains(node);
        let isr: Vec<NodeId> = self.isr.iter().filter(stays).copied().collect();
        let replicas: Vec<NodeId> = self.replicas.iter().filter(stays).copied().collect();
        if isr.is_empty() || replicas.iter().any(|node| !isr.contains(node)) {
            return self;
        }
        Self { replicas, isr, adding: Vec::new(), removing: Vec::new() }
    }

    fn change(
        self,
        image: &MetadataImage,
        state: &PartitionImage,
        mut change: PartitionChange,
    ) -> PartitionChange {
        let leader = choose(state, &self.replicas, &self.isr, Goal::Keep, |node| {
            image.may_lead(state, node)
        })
        .unwrap_or(NO_LEADER);
        let gone = state.replicas.iter().any(|node| !self.replicas.contains(node));
        if leader != state.leader || gone {
            // Replicas that leave are fenced by a new leader epoch.
            change.leader = Some(leader);
        }
        let directories: Vec<Uuid> = self
            .replicas
            .iter()
            .map(|node| {
                state.directory_of(*node).unwrap_or_else(|| default_directory(image, *node))
            })
            .collect();
        change.directories = (directories != state.directories).then_some(directories);
        let changed = |new: Vec<NodeId>, old: &[NodeId]| (new != old).then_some(new);
        change.replicas = changed(self.replicas, &state.replicas);
        change.isr = changed(self.isr, &state.isr);
        change.adding = changed(self.adding, &state.adding);
        change.removing = changed(self.removing, &state.removing);
        change
    }
}

#[cfg(test)]
mod tests;
