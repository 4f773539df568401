//! Committed offsets, and those of transactions that are still open.
//!
//! Owns: the offset tables of a shard and OffsetCommit, OffsetFetch and OffsetDelete below the
//! group's own checks (Kafka's `OffsetMetadataManager`). Never: decides who may commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::model::{Now, ProducerId, Timestamp, Uuid};

use super::classic::{ClassicGroup, GroupState};
use super::effects::GroupRecord;
use super::record::{OffsetValue, offset_record, offset_tombstone};
use super::reply::{FetchedOffset, FetchedTopic, GroupError, PartitionOutcome, TopicOutcome};
use super::request::{
    CommitPartition, CommitTopic, DeleteTopic, DeletedTopic, FetchOffsetsRequest,
    OffsetCommitRequest, Stability,
};

/// An offset that a group has committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    pub value: OffsetValue,
    /// Orders commits of transactions against the others.
    pub(crate) sequence: u64,
}

type ByPartition = BTreeMap<i32, CommittedOffset>;
type ByTopic = BTreeMap<Arc<str>, ByPartition>;
type ByGroup = BTreeMap<Arc<str>, ByTopic>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    committed: ByGroup,
    /// Offsets that a transaction will commit when it does.
    pending: BTreeMap<ProducerId, ByGroup>,
    next_sequence: u64,
}

impl Offsets {
    pub(crate) fn of_group(&self, group: &str) -> Option<&ByTopic> {
        self.committed.get(group)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &ByTopic)> {
        self.committed.iter()
    }

    pub(crate) fn put(&mut self, group: &Arc<str>, topic: &Arc<str>, at: i32, value: OffsetValue) {
        let offset = self.in_sequence(value);
        put_into(&mut self.committed, group, topic, at, offset);
    }

    pub(crate) fn put_pending(
        &mut self,
        producer: ProducerId,
        (group, topic, partition): (&Arc<str>, &Arc<str>, i32),
        value: OffsetValue,
    ) {
        let offset = self.in_sequence(value);
        let by_group = self.pending.entry(producer).or_default();
        put_into(by_group, group, topic, partition, offset);
    }

    /// A tombstone: what is pending goes too.
    pub(crate) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        remove_from(&mut self.committed, group, topic, partition);
        for by_group in self.pending.values_mut() {
            remove_from(by_group, group, topic, partition);
        }
        self.pending.retain(|_, by_group| !by_group.is_empty());
    }

    /// A transaction has ended: its offsets are committed unless newer ones are.
    pub(crate) fn commit_transaction(&mut self, producer: ProducerId) {
        for (group, topics) in self.pending.remove(&producer).unwrap_or_default() {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    let newer = self
                        .get(&group, &topic, partition)
                        .is_some_and(|existing| existing.sequence > offset.sequence);
                    if !newer {
                        put_into(&mut self.committed, &group, &topic, partition, offset);
                    }
                }
            }
        }
    }

    pub(crate) fn abort_transaction(&mut self, producer: ProducerId) {
        self.pending.remove(&producer);
    }

    pub(crate) fn has_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|by_group| {
            let found = by_group.get(group).and_then(|t| t.get(topic)).map(|p| p.get(&partition));
            found.flatten().is_some()
        })
    }

    pub(crate) fn has_open_transaction(&self, group: &str) -> bool {
        self.pending.values().any(|by_group| by_group.contains_key(group))
    }

    pub(crate) fn get(&self, group: &str, topic: &str, at: i32) -> Option<&CommittedOffset> {
        self.committed.get(group)?.get(topic)?.get(&at)
    }

    /// Every partition of a group with an offset, committed or pending, once.
    pub(crate) fn partitions(&self, group: &str) -> Vec<(Arc<str>, i32)> {
        let pending = self.pending.values().filter_map(|by_group| by_group.get(group));
        let mut all: Vec<(Arc<str>, i32)> = self
            .committed
            .get(group)
            .into_iter()
            .chain(pending)
            .flatten()
            .flat_map(|(topic, partitions)| partitions.keys().map(|p| (Arc::clone(topic), *p)))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// The partitions of a group with an offset, committed or pending, of this very topic; offsets that
    /// do not say which topic of the name they are of count, too.
    pub(crate) fn partitions_of(&self, group: &str, topic: &DeletedTopic) -> Vec<i32> {
        let pending = self.pending.values().filter_map(|by_group| by_group.get(group));
        let offsets = self.committed.get(group).into_iter().chain(pending);
        let mut all: Vec<i32> = offsets
            .filter_map(|topics| topics.get(&topic.name))
            .flatten()
            .filter(|(_, offset)| !differ(offset.value.topic_id, topic.id))
            .map(|(partition, _)| *partition)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Every group with an offset, committed or pending, of the topic.
    pub(crate) fn groups_with(&self, topic: &str) -> Vec<Arc<str>> {
        let pending = self.pending.values().flatten();
        let mut groups: Vec<Arc<str>> = self
            .committed
            .iter()
            .chain(pending)
            .filter(|(_, topics)| topics.contains_key(topic))
            .map(|(group, _)| Arc::clone(group))
            .collect();
        groups.sort();
        groups.dedup();
        groups
    }

    pub(crate) fn commit(
        &mut self,
        now: Now,
        metadata_max: usize,
        request: &OffsetCommitRequest,
        records: &mut Vec<GroupRecord>,
    ) -> Vec<TopicOutcome> {
        let expiry = request
            .retention_ms
            .map(|retention| Timestamp(now.wall.get().saturating_add(retention)));
        let mut outcomes = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let too_large =
                    partition.metadata.as_ref().is_some_and(|m| exceeds(m, metadata_max));
                if !too_large {
                    let value = offset_value(now, expiry, topic, partition);
                    records.push(offset_record(
                        &request.group_id,
                        &topic.topic,
                        partition.partition,
                        &value,
                    ));
                    self.put(&request.group_id, &topic.topic, partition.partition, value);
                }
                let error = too_large.then_some(GroupError::OffsetMetadataTooLarge);
                partitions.push(PartitionOutcome { partition: partition.partition, error });
            }
            let (name, topic_id) = (Arc::clone(&topic.topic), topic.topic_id);
            outcomes.push(TopicOutcome { topic: name, topic_id, partitions });
        }
        outcomes
    }

    pub(crate) fn fetch(&self, request: &FetchOffsetsRequest) -> Vec<FetchedTopic> {
        let group = &request.group_id;
        let committed = self.committed.get(group);
        let read = |topic: &Arc<str>, id: Uuid, partition: i32| {
            if request.stability == Stability::Required && self.has_pending(group, topic, partition)
            {
                return no_offset(partition, Some(GroupError::UnstableOffsetCommit));
            }
            match committed.and_then(|t| t.get(topic)).and_then(|p| p.get(&partition)) {
                Some(offset) if !differ(offset.value.topic_id, id) => FetchedOffset {
                    partition,
                    offset: offset.value.offset,
                    leader_epoch: offset.value.leader_epoch,
                    metadata: Arc::clone(&offset.value.metadata),
                    error: None,
                },
                _ => no_offset(partition, None),
            }
        };
        match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|wanted| FetchedTopic {
                    topic: Arc::clone(&wanted.topic),
                    topic_id: wanted.topic_id,
                    partitions: wanted
                        .partitions
                        .iter()
                        .map(|partition| read(&wanted.topic, wanted.topic_id, *partition))
                        .collect(),
                })
                .collect(),
            None => committed
                .into_iter()
                .flatten()
                .map(|(topic, partitions)| FetchedTopic {
                    topic: Arc::clone(topic),
                    topic_id: Uuid::nil(),
                    partitions: partitions.keys().map(|p| read(topic, Uuid::nil(), *p)).collect(),
                })
                .collect(),
        }
    }

    pub(crate) fn delete(
        &mut self,
        group: &ClassicGroup,
        topics: &[DeleteTopic],
        records: &mut Vec<GroupRecord>,
    ) -> Vec<TopicOutcome> {
        let mut outcomes = Vec::with_capacity(topics.len());
        for wanted in topics {
            let subscribed = group.is_subscribed_to(&wanted.topic);
            let error = subscribed.then_some(GroupError::GroupSubscribedToTopic);
            for partition in &wanted.partitions {
                if !subscribed {
                    self.bury(&group.id, &wanted.topic, *partition, records);
                }
            }
            let outcome = |partition: &i32| PartitionOutcome { partition: *partition, error };
            outcomes.push(TopicOutcome {
                topic: Arc::clone(&wanted.topic),
                topic_id: Uuid::nil(),
                partitions: wanted.partitions.iter().map(outcome).collect(),
            });
        }
        outcomes
    }

    /// Removes an offset, with its record, if there is one.
    pub(crate) fn bury(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
        records: &mut Vec<GroupRecord>,
    ) {
        if self.get(group, topic, partition).is_some() || self.has_pending(group, topic, partition)
        {
            records.push(offset_tombstone(group, topic, partition));
            self.remove(group, topic, partition);
        }
    }

    fn in_sequence(&mut self, value: OffsetValue) -> CommittedOffset {
        self.next_sequence += 1;
        CommittedOffset { value, sequence: self.next_sequence }
    }
}

impl ClassicGroup {
    /// Whether these words may commit offsets (`ClassicGroup.validateOffsetCommit`).
    pub(crate) fn check_commit(&self, request: &OffsetCommitRequest) -> Result<(), GroupError> {
        let empty = self.state == GroupState::Empty;
        if request.generation < 0 && empty {
            // Consumers without membership, and administrators.
            return Ok(());
        }
        let names_a_member = request.generation >= 0
            || !request.member_id.is_empty()
            || request.instance_id.is_some();
        if !names_a_member {
            return Err(GroupError::UnknownMemberId);
        }
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }
}

fn offset_value(
    now: Now,
    expiry: Option<Timestamp>,
    topic: &CommitTopic,
    partition: &CommitPartition,
) -> OffsetValue {
    // The stored version with an expiry has room for neither epoch nor topic id.
    let plain = expiry.is_none();
    OffsetValue {
        offset: partition.offset,
        leader_epoch: if plain { partition.leader_epoch } else { -1 },
        metadata: partition.metadata.clone().unwrap_or_else(|| "".into()),
        commit_timestamp: now.wall,
        expire_timestamp: expiry,
        topic_id: if plain { topic.topic_id } else { Uuid::nil() },
    }
}

/// Java counts UTF-16 units, never more than there are bytes.
fn exceeds(metadata: &str, max: usize) -> bool {
    metadata.len() > max && metadata.encode_utf16().count() > max
}

/// Two ids that are both known and not the same.
fn differ(stored: Uuid, wanted: Uuid) -> bool {
    !stored.is_nil() && !wanted.is_nil() && stored != wanted
}

fn no_offset(partition: i32, error: Option<GroupError>) -> FetchedOffset {
    FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: "".into(), error }
}

fn put_into(
    by_group: &mut ByGroup,
    group: &Arc<str>,
    topic: &Arc<str>,
    partition: i32,
    offset: CommittedOffset,
) {
    // Looks up before it inserts: nearly every commit is for a partition that is known.
    let known = by_group.get_mut(group).and_then(|topics| topics.get_mut(topic));
    match known {
        Some(partitions) => {
            partitions.insert(partition, offset);
        }
        None => {
            let topics = by_group.entry(Arc::clone(group)).or_default();
            topics.entry(Arc::clone(topic)).or_default().insert(partition, offset);
        }
    }
}

fn remove_from(by_group: &mut ByGroup, group: &str, topic: &str, partition: i32) {
    let Some(topics) = by_group.get_mut(group) else { return };
    let Some(partitions) = topics.get_mut(topic) else { return };
    partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        by_group.remove(group);
    }
}
