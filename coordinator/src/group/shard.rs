//! The groups of one partition of `__consumer_offsets`.
//!
//! Owns: the table of groups, their offsets and deadlines, and the way in (`step`, `replay`). Never:
//! appends or sends. Invariant: what `replay` makes of the records is what `step` made when it
//! wrote them, but for what is merely waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::model::{MonoTime, Now, ProducerId};

use super::classic::{ClassicGroup, GroupState, Turn};
use super::cleanup::expire_offsets;
use super::effects::{Effects, ReplyToken};
use super::offsets::{CommittedOffset, Offsets};
use super::queries::described_nothing;
use super::record::{
    GroupValue, OffsetValue, RecordError, RecordKey, group_record, group_tombstone,
};
use super::reply::{DeletedGroup, GroupError, JoinReply, LeftMember, Reply, SyncReply};
use super::request::{
    DeleteOffsetsRequest, DeletedTopic, Input, JoinRequest, LeaveRequest, MissingGroup,
    OffsetCommitRequest, SyncRequest,
};
use super::settings::GroupSettings;
use super::timers::{TimerKey, TimerKind, Timers};

/// A record read back from the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayRecord<'a> {
    pub key: &'a [u8],
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The producer whose transaction the batch belongs to.
    pub transaction: Option<ProducerId>,
}

/// What a control batch says of a producer's transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionResult {
    Commit,
    Abort,
}

/// See the [module](super) for the rules its driver obeys.
#[derive(Clone, Debug)]
pub struct GroupShard {
    settings: GroupSettings,
    groups: BTreeMap<Arc<str>, ClassicGroup>,
    offsets: Offsets,
    timers: Timers,
    /// `None` while records are replayed.
    next_cleanup: Option<MonoTime>,
}

impl GroupShard {
    /// A shard without groups. Replay the partition's records, then call
    /// [`Self::finish_load`] before the first step.
    #[must_use]
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            next_cleanup: None,
        }
    }

    /// Takes over one record of the log, in the order of the log.
    ///
    /// # Errors
    /// If the record cannot be read. Records of other group protocols are skipped.
    pub fn replay(&mut self, record: ReplayRecord<'_>) -> Result<(), RecordError> {
        match (RecordKey::decode(record.key)?, record.value) {
            (RecordKey::Offset { group, topic, partition }, Some(value)) => {
                let value = OffsetValue::decode(value)?;
                self.ensure_group(&group);
                match record.transaction {
                    None => self.offsets.put(&group, &topic, partition, value),
                    Some(producer) => {
                        self.offsets.put_pending(producer, (&group, &topic, partition), value);
                    }
                }
            }
            (RecordKey::Offset { group, topic, partition }, None) => {
                self.offsets.remove(&group, &topic, partition);
            }
            (RecordKey::Group { group }, Some(value)) => {
                let value = GroupValue::decode(value)?;
                let loaded = ClassicGroup::from_value(Arc::clone(&group), value);
                self.groups.insert(group, loaded);
            }
            (RecordKey::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (RecordKey::Other { key_type }, _) => {
                tracing::debug!(key_type, "skipped a record of another group protocol");
            }
        }
        Ok(())
    }

    /// Takes over a transaction marker of the log.
    pub fn replay_marker(&mut self, producer: ProducerId, result: TransactionResult) {
        match result {
            TransactionResult::Commit => self.offsets.commit_transaction(producer),
            TransactionResult::Abort => self.offsets.abort_transaction(producer),
        }
    }

    /// All records are replayed: sessions start to run, and groups that are larger than the
    /// settings now allow rebalance.
    pub fn finish_load(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        self.next_cleanup = Some(now.mono.plus(self.settings.retention_check_interval));
        let Self { settings, groups, timers, .. } = self;
        for group in groups.values_mut() {
            let mut turn = Turn { now, settings, timers, effects: &mut effects };
            let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
            for member_id in &members {
                group.renew_session(&mut turn, member_id);
            }
            if group.members.len() > settings.max_size {
                group.prepare_rebalance(&mut turn);
            }
        }
        effects
    }

    /// Answers everything the shard holds back, with NOT_COORDINATOR: the partition moves away, or
    /// its log has failed and will be read again.
    #[must_use]
    pub fn unload(self) -> Effects {
        let mut effects = Effects::default();
        for member in self.groups.into_values().flat_map(|group| group.members.into_values()) {
            if let Some(token) = member.awaiting_join {
                let refused = JoinReply::refused(member.id, GroupError::NotCoordinator);
                effects.reply(token, Reply::Join(refused));
            }
            if let Some(token) = member.awaiting_sync {
                let refused = SyncReply::refused(GroupError::NotCoordinator);
                effects.reply(token, Reply::Sync(refused));
            }
        }
        effects
    }

    /// When [`Input::Tick`] is due; never for a shard without groups.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoTime> {
        let cleanup = self.next_cleanup.filter(|_| !self.groups.is_empty());
        match (self.timers.next(), cleanup) {
            (Some(timer), Some(cleanup)) => Some(timer.min(cleanup)),
            (timer, cleanup) => timer.or(cleanup),
        }
    }

    /// Settings that changed apply from the next decision on.
    pub fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// Fires what is due at `now`, then decides on the input.
    pub fn step(&mut self, now: Now, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.fire(now, &mut effects);
        match input {
            Input::Join(token, request) => self.on_join(now, token, &request, &mut effects),
            Input::Sync(token, request) => self.on_sync(now, token, &request, &mut effects),
            Input::Heartbeat(token, request) => {
                let result = match self.turn(now, &request.group_id, &mut effects) {
                    Some((group, mut turn)) => group.on_heartbeat(&mut turn, &request),
                    None => Err(GroupError::UnknownMemberId),
                };
                effects.reply(token, Reply::Heartbeat(result));
            }
            Input::Leave(token, request) => {
                let results = self.on_leave(now, &request, &mut effects);
                effects.reply(token, Reply::Leave(results));
            }
            Input::CommitOffsets(token, request) => {
                let result = self.on_commit(now, &request, &mut effects);
                effects.reply(token, Reply::CommitOffsets(result));
            }
            Input::FetchOffsets(token, request) => {
                let topics = self.offsets.fetch(&request);
                effects.reply(token, Reply::FetchOffsets(topics));
            }
            Input::DeleteOffsets(token, request) => {
                let result = self.on_delete_offsets(&request, &mut effects);
                effects.reply(token, Reply::DeleteOffsets(result));
            }
            Input::ListGroups(token, request) => {
                let groups = self.groups.values().filter(|group| request.admits(group));
                let listed = groups.map(ClassicGroup::listed).collect();
                effects.reply(token, Reply::ListGroups(listed));
            }
            Input::DescribeGroups(token, ids) => {
                let describe = |id: Arc<str>| match self.groups.get(&id) {
                    Some(group) => group.described(),
                    None => described_nothing(id),
                };
                let described = ids.into_iter().map(describe).collect();
                effects.reply(token, Reply::DescribeGroups(described));
            }
            Input::DeleteGroups(token, ids) => {
                let deleted = ids.into_iter().map(|id| self.on_delete(id, &mut effects)).collect();
                effects.reply(token, Reply::DeleteGroups(deleted));
            }
            Input::TopicsDeleted(topics) => self.on_topics_deleted(&topics, &mut effects),
            Input::Tick => {}
        }
        effects
    }

    /// How many groups are in a state, for metrics.
    #[must_use]
    pub fn count_in(&self, state: GroupState) -> usize {
        self.groups.values().filter(|group| group.state == state).count()
    }

    /// Every committed offset, for metrics.
    pub fn committed(&self) -> impl Iterator<Item = (&str, &str, i32, &CommittedOffset)> {
        self.offsets.groups().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(partition, offset)| (&**group, &**topic, *partition, offset))
            })
        })
    }

    /// Says which invariant does not hold. For tests and debug builds: it walks everything.
    ///
    /// # Errors
    /// A sentence that names the group.
    pub fn validate(&self) -> Result<(), String> {
        for group in self.groups.values() {
            group.validate(&self.timers)?;
        }
        match self.offsets.groups().find(|(id, _)| !self.groups.contains_key(*id)) {
            Some((id, _)) => Err(format!("offsets of group {id}, which does not exist")),
            None => Ok(()),
        }
    }

    fn on_join(
        &mut self,
        now: Now,
        token: ReplyToken,
        request: &JoinRequest,
        effects: &mut Effects,
    ) {
        if let Err(error) = request.check(&self.settings) {
            let refused = JoinReply::refused(Arc::clone(&request.member_id), error);
            effects.reply(token, Reply::Join(refused));
            return;
        }
        let exists = self.groups.contains_key(&request.group_id);
        if !exists {
            if !request.member_id.is_empty() {
                let refused =
                    JoinReply::refused(Arc::clone(&request.member_id), GroupError::UnknownMemberId);
                effects.reply(token, Reply::Join(refused));
                return;
            }
            let group = ClassicGroup::new(Arc::clone(&request.group_id), Some(now.wall));
            // Written at once, so that the group is there after a restart, empty (KAFKA-2720).
            effects.records.push(group_record(&group.id, &group.to_value()));
            self.groups.insert(Arc::clone(&request.group_id), group);
        }
        if let Some((group, mut turn)) = self.turn(now, &request.group_id, effects) {
            group.on_join(&mut turn, token, request);
        }
    }

    fn on_sync(
        &mut self,
        now: Now,
        token: ReplyToken,
        request: &SyncRequest,
        effects: &mut Effects,
    ) {
        match self.turn(now, &request.group_id, effects) {
            Some((group, mut turn)) => group.on_sync(&mut turn, token, request),
            None => {
                let refused = SyncReply::refused(GroupError::UnknownMemberId);
                effects.reply(token, Reply::Sync(refused));
            }
        }
    }

    fn on_leave(
        &mut self,
        now: Now,
        request: &LeaveRequest,
        effects: &mut Effects,
    ) -> Vec<LeftMember> {
        if let Some((group, mut turn)) = self.turn(now, &request.group_id, effects) {
            return group.on_leave(&mut turn, &request.members);
        }
        let unknown = |member: &super::request::LeavingMember| LeftMember {
            member_id: Arc::clone(&member.member_id),
            instance_id: member.instance_id.clone(),
            error: Some(GroupError::UnknownMemberId),
        };
        request.members.iter().map(unknown).collect()
    }

    fn on_commit(
        &mut self,
        now: Now,
        request: &OffsetCommitRequest,
        effects: &mut Effects,
    ) -> Result<Vec<super::reply::TopicOutcome>, GroupError> {
        match self.turn(now, &request.group_id, effects) {
            Some((group, mut turn)) => {
                group.check_commit(request)?;
                if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
                    group.renew_session(&mut turn, &request.member_id);
                }
            }
            None if request.generation >= 0 => {
                return Err(match request.missing_group {
                    MissingGroup::IllegalGeneration => GroupError::IllegalGeneration,
                    MissingGroup::GroupIdNotFound => GroupError::GroupIdNotFound,
                });
            }
            None => {}
        }
        let max = self.settings.offset_metadata_max;
        let outcomes = self.offsets.commit(now, max, request, &mut effects.records);
        if self.offsets.of_group(&request.group_id).is_some() {
            self.ensure_group(&request.group_id);
        }
        Ok(outcomes)
    }

    fn on_delete_offsets(
        &mut self,
        request: &DeleteOffsetsRequest,
        effects: &mut Effects,
    ) -> Result<Vec<super::reply::TopicOutcome>, GroupError> {
        let group = self.groups.get(&request.group_id).ok_or(GroupError::GroupIdNotFound)?;
        group.check_delete_offsets()?;
        Ok(self.offsets.delete(group, &request.topics, &mut effects.records))
    }

    fn on_delete(&mut self, group_id: Arc<str>, effects: &mut Effects) -> DeletedGroup {
        let checked = match self.groups.get(&group_id) {
            Some(group) => group.check_delete(),
            None => Err(GroupError::GroupIdNotFound),
        };
        if checked.is_ok() {
            for (topic, partition) in self.offsets.partitions(&group_id) {
                self.offsets.bury(&group_id, &topic, partition, &mut effects.records);
            }
            self.drop_group(&group_id, effects);
        }
        DeletedGroup { group_id, error: checked.err() }
    }

    fn on_topics_deleted(&mut self, topics: &[DeletedTopic], effects: &mut Effects) {
        for topic in topics {
            for group in self.offsets.groups_with(&topic.name) {
                for partition in self.offsets.partitions_of(&group, topic) {
                    self.offsets.bury(&group, &topic.name, partition, &mut effects.records);
                }
            }
        }
    }

    fn fire(&mut self, now: Now, effects: &mut Effects) {
        while let Some(TimerKey { group, kind }) = self.timers.pop_due(now.mono) {
            let Some((group, mut turn)) = self.turn(now, &group, effects) else { continue };
            match kind {
                TimerKind::Join => group.on_join_deadline(&mut turn),
                TimerKind::Sync => group.on_sync_deadline(&mut turn),
                TimerKind::Session(member) => group.on_session_deadline(&mut turn, &member),
            }
        }
        if self.next_cleanup.is_some_and(|at| at <= now.mono) {
            self.next_cleanup = Some(now.mono.plus(self.settings.retention_check_interval));
            self.cleanup(now, effects);
        }
    }

    fn cleanup(&mut self, now: Now, effects: &mut Effects) {
        let retention = self.settings.offsets_retention;
        let mut spent = Vec::new();
        for group in self.groups.values() {
            let records = &mut effects.records;
            let none_left = expire_offsets(group, &mut self.offsets, now.wall, retention, records);
            if none_left && group.state == GroupState::Empty {
                spent.push(Arc::clone(&group.id));
            }
        }
        for group_id in spent {
            self.drop_group(&group_id, effects);
        }
    }

    /// Removes an empty group without offsets, with its record.
    fn drop_group(&mut self, group_id: &Arc<str>, effects: &mut Effects) {
        effects.records.push(group_tombstone(group_id));
        self.timers.cancel_group(group_id);
        self.groups.remove(group_id);
    }

    /// A consumer that commits without being a member gets a group that only holds offsets.
    fn ensure_group(&mut self, group_id: &Arc<str>) {
        if !self.groups.contains_key(group_id) {
            let group = ClassicGroup::new(Arc::clone(group_id), None);
            self.groups.insert(Arc::clone(group_id), group);
        }
    }

    fn turn<'a>(
        &'a mut self,
        now: Now,
        group_id: &str,
        effects: &'a mut Effects,
    ) -> Option<(&'a mut ClassicGroup, Turn<'a>)> {
        let group = self.groups.get_mut(group_id)?;
        let turn = Turn { now, settings: &self.settings, timers: &mut self.timers, effects };
        Some((group, turn))
    }
}

#[cfg(test)]
mod tests;
