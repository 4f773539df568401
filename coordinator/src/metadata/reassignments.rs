//! Moving replicas to other brokers (KIP-455).
//!
//! Owns: [`AlterPartitionReassignments`] and what is under way, with the rules of Kafka's
//! `ReplicationControlManager.alterPartitionReassignment`. Never: copies data; replicas report when
//! they are in sync. Invariant: while a reassignment is under way, `replicas` holds old and new
//! ones, and completing or cancelling it never leaves a partition without an in-sync replica.

use std::collections::BTreeMap;

use ottla_protocol::model::{NodeId, PartitionId, Uuid};

use super::assignment;
use super::decide::{Command, DecideContext, Decision};
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
        context: &mut DecideContext<'_>,
    ) -> Decision<AlterPartitionReassignmentsReply> {
        let mut changes: BTreeMap<(Uuid, PartitionId), PartitionChange> = BTreeMap::new();
        let mut reply = AlterPartitionReassignmentsReply::new();
        for TopicReassignments { topic, partitions } in self.topics {
            let mut results = Vec::with_capacity(partitions.len());
            for (partition, target) in partitions {
                let wanted = alter(image, &topic, partition, target.as_deref(), self.factor_change);
                let result = wanted.map(|(id, state, wanted)| {
                    let change = PartitionChange::of(id, partition);
                    let change = wanted.change(image, context, state, change);
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

fn alter<'a>(
    image: &'a MetadataImage,
    topic: &str,
    partition: PartitionId,
    target: Option<&[NodeId]>,
    factor_change: FactorChange,
) -> Result<(Uuid, &'a PartitionImage, Target), ControllerError> {
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
    Ok((known.id, state, wanted))
}

/// The leader of a partition says that its group consists of the wanted replicas by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompleteReassignment {
    pub topic_id: Uuid,
    pub partition: PartitionId,
    /// What the leader acted on; a reassignment that was changed since is not complete.
    pub partition_epoch: i32,
}

impl Command for CompleteReassignment {
    /// Whether it was still wanted.
    type Reply = bool;

    fn decide(self, image: &MetadataImage, context: &mut DecideContext<'_>) -> Decision<bool> {
        let state = image
            .topic_by_id(self.topic_id)
            .and_then(|topic| topic.partition(self.partition))
            .filter(|state| {
                state.is_reassigning() && state.partition_epoch == self.partition_epoch
            });
        let Some(state) = state else { return Decision::answer(false) };
        let stays = |node: &&NodeId| !state.removing.contains(node);
        let replicas: Vec<NodeId> = state.replicas.iter().filter(stays).copied().collect();
        let isr = replicas.clone();
        let target = Target { replicas, isr, adding: Vec::new(), removing: Vec::new() };
        let change = PartitionChange::of(self.topic_id, self.partition);
        let records =
            vec![MetadataRecord::PartitionChange(target.change(image, context, state, change))];
        Decision { records, reply: true }
    }
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
    Ok(Target { replicas, isr: state.isr.clone(), adding, removing })
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
    fn change(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
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
                state.directory_of(*node).unwrap_or_else(|| context.directory_on(image, *node))
            })
            .collect();
        change.directories = (directories != state.directories).then_some(directories);
        let keys = state.keys_for(&self.replicas, |_, key| key);
        change.keys = (keys != state.keys).then_some(keys);
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
