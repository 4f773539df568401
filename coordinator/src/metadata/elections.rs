//! Choosing leaders among replicas that are in sync.
//!
//! Owns: [`ElectLeaders`] with the rules of Kafka's `ReplicationControlManager.electLeaders`, and the
//! choice itself, which reassignments and broker changes use too. Never: makes a replica that is not
//! in sync the leader unless a person asked for exactly that (KIP-460). Invariant: a leader is in
//! the in-sync set of the same record.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::{NodeId, PartitionId};

use super::decide::{Command, DecideContext, Decision};
use super::error::ControllerError;
use super::image::{MetadataImage, PartitionImage};
use super::record::{MetadataRecord, PartitionChange};

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica of the list.
    Preferred,
    /// Any living replica, at the price of what it lacks.
    Unclean,
    /// What a request said that no version of Kafka knows.
    Unknown(i8),
}

impl From<i8> for ElectionType {
    fn from(code: i8) -> Self {
        match code {
            0 => Self::Preferred,
            1 => Self::Unclean,
            other => Self::Unknown(other),
        }
    }
}

/// Elects leaders (ElectLeaders).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectLeaders {
    pub election: ElectionType,
    /// `None` is every partition.
    pub partitions: Option<Vec<(String, Vec<PartitionId>)>>,
}

/// Results by topic and partition. Of all partitions, those that need no election are left out; an
/// unknown election type is one refusal for everything.
pub type ElectLeadersReply = Result<Vec<TopicElections>, ControllerError>;

/// Results of one topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicElections {
    pub topic: String,
    pub partitions: Vec<(PartitionId, Result<(), ControllerError>)>,
}

impl Command for ElectLeaders {
    type Reply = ElectLeadersReply;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<ElectLeadersReply> {
        if let ElectionType::Unknown(code) = self.election {
            return Decision::answer(Err(ControllerError::UnknownElectionType(code)));
        }
        let mut changes = BTreeMap::new();
        let mut elect = |topic: &str, partition: PartitionId| {
            elect(image, topic, partition, self.election).map(|change| {
                // The same partition twice in a request is one election.
                changes.insert((change.topic_id, partition), change);
            })
        };
        let reply = match &self.partitions {
            None => image
                .topics()
                .map(|topic| TopicElections {
                    topic: topic.name.to_string(),
                    partitions: topic
                        .iter()
                        .map(|(partition, _)| (partition, elect(&topic.name, partition)))
                        .filter(|(_, r)| *r != Err(ControllerError::ElectionNotNeeded))
                        .collect(),
                })
                .collect(),
            Some(topics) => topics
                .iter()
                .map(|(topic, partitions)| TopicElections {
                    topic: topic.clone(),
                    partitions: partitions
                        .iter()
                        .map(|partition| (*partition, elect(topic, *partition)))
                        .collect(),
                })
                .collect(),
        };
        let records = changes.into_values().map(MetadataRecord::PartitionChange).collect();
        Decision { records, reply: Ok(reply) }
    }
}

fn elect(
    image: &MetadataImage,
    topic: &str,
    partition: PartitionId,
    election: ElectionType,
) -> Result<PartitionChange, ControllerError> {
    let known = image.topic(topic).ok_or_else(|| ControllerError::NoSuchTopic(topic.to_owned()))?;
    let state = known
        .partition(partition)
        .ok_or_else(|| ControllerError::NoSuchPartition(topic.to_owned(), partition))?;
    let has_leader = state.leader.0 >= 0;
    match election {
        ElectionType::Preferred if Some(state.leader) == state.preferred_leader() => {
            Err(ControllerError::ElectionNotNeeded)
        }
        ElectionType::Unclean if has_leader => Err(ControllerError::ElectionNotNeeded),
        _ => {
            let goal =
                if election == ElectionType::Unclean { Goal::AnyReplica } else { Goal::Preferred };
            let active = |node| image.may_lead(state, node);
            let mut change = PartitionChange::of(known.id, partition);
            match choose(state, &state.replicas, &state.isr, goal, active) {
                Some(leader) if leader != state.leader => {
                    change.leader = Some(leader);
                    if !state.isr.contains(&leader) {
                        change.isr = Some(vec![leader]);
                    }
                    Ok(change)
                }
                _ if goal == Goal::Preferred => Err(ControllerError::PreferredLeaderNotAvailable),
                _ => Err(ControllerError::EligibleLeadersNotAvailable),
            }
        }
    }
}

/// What a choice of leader is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The first replica, if it may lead.
    Preferred,
    /// The present leader, if it still may.
    Keep,
    /// As `Keep`, and one that is not in sync rather than none.
    AnyReplica,
}

/// The leader among `replicas` of which `isr` are in sync; `None` when nobody may lead.
pub(super) fn choose(
    state: &PartitionImage,
    replicas: &[NodeId],
    isr: &[NodeId],
    goal: Goal,
    active: impl Fn(NodeId) -> bool,
) -> Option<NodeId> {
    let valid = |node: &NodeId| isr.contains(node) && active(*node);
    let preferred = replicas.first().copied().filter(|_| goal == Goal::Preferred);
    preferred
        .filter(valid)
        .or_else(|| Some(state.leader).filter(valid))
        .or_else(|| replicas.iter().copied().find(valid))
        .or_else(|| {
            let any = || replicas.iter().copied().find(|node| active(*node));
            (goal == Goal::AnyReplica).then(any).flatten()
        })
}

/// Changes that a broker's coming or going makes to the partitions that it alone holds: one that may
/// not lead any more leaves them without a leader, one that may takes them again. Partitions with
/// several replicas elect their leaders by themselves: of them the log says nothing, so that a failover
/// writes nothing.
pub(super) fn changes_for_broker(
    image: &MetadataImage,
    broker: NodeId,
    active_after: bool,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (partition, state) in topic.iter() {
            if state.replicas != [broker] {
                continue;
            }
            let mut change = PartitionChange::of(topic.id, partition);
            let stays = active_after && image.has_directory_of(state, broker);
            let active = |node| if node == broker { stays } else { image.may_lead(state, node) };
            let mut isr = state.isr.clone();
            if !stays && isr.len() > 1 && isr.contains(&broker) {
                isr.retain(|node| *node != broker);
                change.isr = Some(isr.clone());
            }
            let leader = choose(state, &state.replicas, &isr, Goal::Keep, active)
                .unwrap_or(super::image::NO_LEADER);
            if leader != state.leader {
                change.leader = Some(leader);
            }
            if !change.is_empty() {
                records.push(MetadataRecord::PartitionChange(change));
            }
        }
    }
    records
}

/// Replicas without order, for comparing lists.
pub(super) fn as_set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

#[cfg(test)]
mod tests;
