//! A running group: the handle that everything outside holds.
//!
//! Owns: the openraft instance of one replica, its settings, its beginning and its end. Never: when
//! elections are held (the driver of the broker asks for them), or how requests travel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::impls::EmptyNode;
use openraft::network::{NetSnapshot, RaftNetworkFactory};
use openraft::raft::VoteResponse;
use openraft::{ChangeMembers, Config, SnapshotPolicy};
use ottla_protocol::model::{MonoTime, NodeId, Offset};
use parking_lot::Mutex;

use super::defects::Defect;
use super::group_log::{Clock, GroupLog, RecoverError, Seat};
use super::journal::{Point, Record};
use super::log_store::LogStore;
use super::pump::Pump;
use super::{
    Batch, GroupId, Journal, Leadership, LeadershipListener, Membership, Proposal, Raft, ReplicaId,
    SnapshotContent, StateMachine, StoredMembership, TypeConfig, Vote,
};
use crate::partition::Partition;
use crate::peer::GroupNetwork;

/// What a group is tuned by.
#[derive(Clone)]
pub struct GroupSettings {
    /// How long a leader's word counts: no replica helps to elect another before, unless the leader says
    /// so. Bounds a failover from below; a batch after a pause as long as this
    /// costs a round of heartbeats first.
    pub lease: Duration,
    /// Bytes of batches in one request to a follower, but for a batch that is larger.
    pub append_bytes_max: u32,
    /// Entries in one request to a follower.
    pub append_entries_max: u64,
    /// A replica that has not had everything for this long is not in sync.
    pub lag_max: Duration,
    pub clock: Clock,
}

impl std::fmt::Debug for GroupSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSettings").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl GroupSettings {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            lease: Duration::from_millis(600),
            append_bytes_max: 1 << 20,
            append_entries_max: 512,
            lag_max: Duration::from_secs(30),
            clock,
        }
    }

    /// openraft's settings. Each that is not a size closes one of its traps; a test fails without it.
    fn config(&self) -> Result<Arc<Config>, GroupError> {
        let lease = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX).max(3);
        let config = Config {
            cluster_name: "ottla".to_owned(),
            // The lease is the election timeout's upper bound. The lower one only jitters ticks, of
            // which there are none.
            election_timeout_min: lease - 1,
            election_timeout_max: lease,
            // What a round of heartbeats may take; the clock sends none.
            heartbeat_interval: (lease / 2).max(1),
            // One driver of the broker holds elections and renews leases, for all groups.
            enable_tick: false,
            enable_heartbeat: false,
            enable_elect: false,
            // A leader that lost what was not synced would go on in its old term, and use an index
            // twice.
            enable_leader_restore: Some(Defect::LeaderRestore.is_active()),
            enable_pre_vote: Some(true),
            // A follower whose log became shorter, through damage or a power cut under
            // `ottla.durability=page-cache`, is sent again what it lost; without it the leader ends.
            allow_log_reversion: Some(true),
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            purge_batch_size: 1,
            max_payload_entries: self.append_entries_max,
            api_channel_size: Some(1024),
            notification_channel_size: Some(1024),
            state_machine_channel_size: Some(128),
            // Six queues of this capacity are made at once, for statistics that nobody reads.
            log_stage_capacity: Some(1),
            backoff: "100ms".to_owned(),
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| GroupError::Settings(error.to_string()))
    }
}

/// What a group is made of.
pub struct GroupParts {
    pub id: GroupId,
    /// This replica.
    pub replica: ReplicaId,
    pub partition: Arc<Partition>,
    /// Of the log directory that holds the partition.
    pub journal: Arc<Journal>,
    pub settings: GroupSettings,
}

impl std::fmt::Debug for GroupParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupParts").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a group cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("group {0}: {1}")]
    Recover(GroupId, RecoverError),
    #[error("the group's settings are wrong: {0}")]
    Settings(String),
    /// The instance has ended.
    #[error("group {0} has stopped: {1}")]
    Stopped(GroupId, String),
    #[error("group {0} is led elsewhere")]
    NotLeader(GroupId),
    #[error("group {0}: {1}")]
    Refused(GroupId, String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far a follower is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerProgress {
    pub replica: ReplicaId,
    pub voter: bool,
    /// Everything below is durable there, as far as this leader knows.
    pub matched: Offset,
    /// When it last had everything that the leader had; `None` if it never had since this replica
    /// leads.
    pub caught_up: Option<MonoTime>,
}

/// What becomes of voters that are removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// They get the log on, without a vote.
    Stay,
    Go,
}

#[derive(Default)]
pub(super) struct Progress {
    /// When it was looked at last, and the log end then.
    looked: Option<(MonoTime, Offset)>,
    pub(super) caught_up: BTreeMap<ReplicaId, MonoTime>,
}

/// One replica of a group.
pub struct Group {
    pub(super) raft: Raft,
    pub(super) log: Arc<GroupLog>,
    pub(super) preference: Mutex<Vec<NodeId>>,
    pub(super) lag_max: Duration,
    pump: Arc<Pump>,
    pub(super) progress: Mutex<Progress>,
    pub(super) lease: Duration,
    pub(super) runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.log.id).field("replica", &self.log.me).finish()
    }
}

impl Group {
    /// Starts a replica from what its log and journal hold. It leads nothing and elects nobody.
    ///
    /// # Errors
    /// Log and journal do not fit together or are damaged: then this replica must not take part.
    pub async fn start(
        parts: GroupParts,
        network: GroupNetwork<SnapshotContent>,
    ) -> Result<Arc<Self>, GroupError> {
        Self::start_over(parts, network).await
    }

    /// [`Self::start`] over another network than the peers' links. openraft's core is generic over it: each
    /// crate that calls this compiles a core of its own (0.9 MB in a release build), which is why the
    /// broker calls the other.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_over<N>(parts: GroupParts, network: N) -> Result<Arc<Self>, GroupError>
    where
        N: RaftNetworkFactory<TypeConfig>,
        N::Network: NetSnapshot<TypeConfig, SnapshotData = SnapshotContent>,
    {
        let GroupParts { id, replica, partition, journal, settings } = parts;
        let config = settings.config()?;
        let clock = Arc::clone(&settings.clock);
        let log = GroupLog::recover(Seat { id, me: replica, partition, journal, clock })
            .await
            .map_err(|error| GroupError::Recover(id, error))?;
        let store = LogStore::new(Arc::clone(&log), settings.append_bytes_max.into());
        let machine = StateMachine::new(Arc::clone(&log));
        let raft = Raft::new(replica, config, network, store, machine)
            .await
            .map_err(|error| GroupError::Stopped(id, error.to_string()))?;
        let pump = Pump::new(raft.clone(), Arc::clone(&log), settings.lease);
        let lease = settings.lease;
        let runtime = tokio::runtime::Handle::current();
        let group = Arc::new(Self {
            raft,
            log,
            preference: Mutex::default(),
            lag_max: settings.lag_max,
            pump,
            progress: Mutex::default(),
            lease,
            runtime,
        });
        group.log.partition.set_group(&group);
        Ok(group)
    }

    /// Makes a log that had one replica the log of a group with that one voter: what is in it becomes
    /// the group's first entries, all of them committed. The group is then started as any other, and
    /// elects its voter. Where there is a group already it does nothing.
    ///
    /// # Errors
    /// The log cannot be read, or the journal not be written.
    pub async fn adopt(parts: &GroupParts) -> Result<(), GroupError> {
        let GroupParts { id, replica, partition, journal, .. } = parts;
        // Whoever follows a leader, or was adopted, has voted; nobody of whom no log is known has. Of an
        // adoption the journal may have the beginning: there was a version that wrote the records one by one.
        if journal.group(*id).is_some_and(|known| !known.away && known.vote.is_some()) {
            return Ok(());
        }
        let recover = |error| GroupError::Recover(*id, error);
        partition.suspend();
        partition
            .maintain(|log, _| log.flush_now())
            .map_err(|error| recover(error.into()))?
            .map_err(|error| recover(error.into()))?;
        let records = first_entries(*id, *replica, partition).map_err(recover)?;
        Ok(journal.commit(&records).await?)
    }

    #[must_use]
    pub fn id(&self) -> GroupId {
        self.log.id
    }

    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.log.me
    }

    #[must_use]
    pub fn partition(&self) -> &Arc<Partition> {
        &self.log.partition
    }

    /// The instance itself, for measurements and tests.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Gives a group that never had one its first voters. Every one of them may call it with the same
    /// set; where there is a membership already it does nothing.
    ///
    /// # Errors
    /// This replica is not among the voters, or has stopped.
    pub async fn initialize(&self, voters: BTreeSet<ReplicaId>) -> Result<(), GroupError> {
        match self.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => {
                Err(GroupError::Refused(self.id(), error.to_string()))
            }
            Err(RaftError::Fatal(error)) => Err(self.stopped(&error)),
        }
    }

    /// Whether the group has, or had, a membership.
    ///
    /// # Errors
    /// The group has stopped.
    pub async fn is_initialized(&self) -> Result<bool, GroupError> {
        self.raft.is_initialized().await.map_err(|error| self.stopped(&error))
    }

    /// Gives a batch to the log. Its submission says what becomes of it.
    pub fn propose(&self, proposal: Arc<Proposal>) {
        self.pump.propose(proposal);
    }

    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.log.leadership()
    }

    /// Has the whole log read through at the next start: what is not as it was written is cut, and got
    /// back from the peers.
    ///
    /// # Errors
    /// The journal's.
    pub async fn verify_at_next_start(&self) -> Result<(), GroupError> {
        Ok(self.log.journal.commit(&[Record::Verify(self.id())]).await?)
    }

    /// Why the instance ended by itself: its log or journal met an error. The listeners of
    /// [`Self::on_leadership`] hear of nobody leading at that moment. After [`Self::stop`] it may be
    /// started again on the same partition, unless that is offline.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.log.failure()
    }

    /// Calls `listener` with the leadership as it is, and with every change of it.
    pub fn on_leadership(&self, listener: LeadershipListener) {
        self.log.listen(listener);
    }

    /// The newest membership that this replica knows.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.raft.metrics().borrow_watched().membership_config.membership().clone()
    }

    /// Asks for an election, after a pre-vote. Nothing happens where this replica has no vote, or
    /// while a leader's lease may be valid.
    pub async fn elect(&self) {
        if !self.log.may_vote() {
            return;
        }
        if let Err(error) = self.raft.trigger().elect(true).await {
            tracing::debug!(group = %self.id(), %error, "no election");
        }
    }

    /// Renews the lease, where this replica leads.
    pub async fn heartbeat(&self) {
        if let Err(error) = self.raft.trigger().heartbeat().await {
            tracing::debug!(group = %self.id(), %error, "no heartbeat");
        }
    }

    /// Where the followers are; empty where this replica does not lead. The more often it is asked,
    /// the more exact is `caught_up`: a follower counts as caught up at the time of the look before,
    /// if it has by now what the log had then (Kafka's rule for the ISR).
    #[must_use]
    pub fn followers(&self) -> Vec<FollowerProgress> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = &metrics.replication else {
            *self.progress.lock() = Progress::default();
            return Vec::new();
        };
        let voters: BTreeSet<ReplicaId> = metrics.membership_config.voter_ids().collect();
        let now = self.log.now().mono;
        let end = self.log.partition.log_end();
        let mut progress = self.progress.lock();
        let looked = progress.looked;
        let matched = |index: u64| {
            let known = self.log.with_map(|map| map.point(index).map(|point| point.end));
            known.unwrap_or(Offset::ZERO)
        };
        let mut followers = Vec::new();
        for (replica, log_id) in replication {
            if *replica == self.replica() {
                continue;
            }
            let matched = log_id.as_ref().map_or(Offset::ZERO, |id| matched(id.index));
            if matched >= end {
                progress.caught_up.insert(*replica, now);
            } else if let Some((at, then)) = looked
                && matched >= then
            {
                progress.caught_up.insert(*replica, at);
            }
            followers.push(FollowerProgress {
                replica: *replica,
                voter: voters.contains(replica),
                matched,
                caught_up: progress.caught_up.get(replica).copied(),
            });
        }
        progress.looked = Some((now, end));
        followers
    }

    /// Adds a replica that gets the log and has no vote.
    ///
    /// # Errors
    /// Not the leader, or another change is under way.
    pub async fn add_learner(&self, replica: ReplicaId) -> Result<(), GroupError> {
        self.renewed().await?;
        if self.membership().get_node(&replica).is_some() {
            return Ok(());
        }
        let added = self.raft.add_learner(replica, EmptyNode {}, false).await;
        added.map(|_| ()).map_err(|error| self.refused(&error))
    }

    /// Makes exactly these replicas the voters, through a joint membership, and removes all others.
    /// Returns once that is committed.
    ///
    /// # Errors
    /// Not the leader, another change is under way, or a new voter is no learner yet.
    pub async fn change_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), GroupError> {
        self.renewed().await?;
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changed = self.raft.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|error| self.refused(&error))
    }

    /// Lets learners vote, beside those who do. Returns once that is committed.
    ///
    /// # Errors
    /// As [`Self::change_voters`].
    pub async fn add_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), GroupError> {
        self.changed(ChangeMembers::AddVoterIds(voters), Removed::Stay).await
    }

    /// Takes the vote of replicas; they stay as learners, or go. Returns once that is committed; a leader
    /// that is among them leads no more then.
    ///
    /// # Errors
    /// As [`Self::change_voters`].
    pub async fn remove_voters(
        &self,
        voters: BTreeSet<ReplicaId>,
        then: Removed,
    ) -> Result<(), GroupError> {
        self.changed(ChangeMembers::RemoveVoters(voters), then).await
    }

    /// Ends replication to learners.
    ///
    /// # Errors
    /// As [`Self::change_voters`].
    pub async fn remove_learners(&self, learners: BTreeSet<ReplicaId>) -> Result<(), GroupError> {
        self.changed(ChangeMembers::RemoveNodes(learners), Removed::Go).await
    }

    async fn changed(
        &self,
        change: ChangeMembers<ReplicaId, EmptyNode>,
        removed: Removed,
    ) -> Result<(), GroupError> {
        self.renewed().await?;
        let changed = self.raft.change_membership(change, removed == Removed::Stay).await;
        changed.map(|_| ()).map_err(|error| self.refused(&error))
    }

    /// Deletes records below `offset` on every replica, and returns where the log starts then.
    ///
    /// # Errors
    /// Not the leader, or `offset` is beyond the high watermark.
    pub async fn delete_records(&self, offset: Offset) -> Result<Offset, GroupError> {
        let marks = self.log.partition.watermarks();
        if offset > marks.high_watermark {
            let high = marks.high_watermark;
            let text = format!("offset {offset} is beyond the high watermark {high}");
            return Err(GroupError::Refused(self.id(), text));
        }
        if offset > marks.log_start {
            self.renewed().await?;
            let written = self.raft.client_write(Batch::LogStart(offset)).await;
            written.map_err(|error| self.refused(&error))?;
        }
        Ok(self.log.partition.watermarks().log_start)
    }

    /// Returns once it is certain that nobody else has led until now: at once while the lease lasts,
    /// else after a round to the voters.
    ///
    /// # Errors
    /// Not the leader, or a majority does not say so within a lease's time.
    pub async fn confirm(&self) -> Result<(), GroupError> {
        match self.raft.get_read_log_id(openraft::ReadPolicy::LeaseRead).await {
            Ok(_) => Ok(()),
            Err(_) => self.renewed().await,
        }
    }

    /// Makes sure that a write is not refused for a lapsed lease.
    async fn renewed(&self) -> Result<(), GroupError> {
        if self.leadership().leader != Some(self.replica()) {
            return Err(GroupError::NotLeader(self.id()));
        }
        let asked = self.raft.get_read_log_id(openraft::ReadPolicy::ReadIndex);
        match tokio::time::timeout(self.lease, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(GroupError::Refused(self.id(), "a majority does not answer".to_owned())),
        }
    }

    /// Ends the instance. Everything that was durable is there when the group is started again.
    pub async fn stop(&self) {
        self.pump.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::debug!(group = %self.id(), %error, "the instance had ended");
        }
        self.log.anchor(&mut self.log.applied.lock());
        self.log.note_stopped();
        self.log.partition.leave_group();
    }

    /// The answer of a replica that forgot what it promised; `None` from all others.
    pub(super) fn no_vote(&self, asked: Vote) -> Option<VoteResponse<TypeConfig>> {
        if self.log.may_vote() {
            return None;
        }
        let last = self.log.with_map(|map| map.last().map(|point| point.log_id()));
        let mut vote = self.log.vote().unwrap_or(asked);
        // What it led, it leads no more.
        vote.committed &= vote.leader_id.voted_for != self.replica();
        Some(VoteResponse::new(vote, last, false))
    }

    /// Whether it remembers all that it promised, and so may lead.
    pub(super) fn may_lead(&self) -> bool {
        self.log.may_vote()
    }

    /// Lets go of the entries whose records all lie below `offset`, as far as they are applied: a
    /// follower that lacks them is told where the log goes on instead.
    pub fn settle(self: &Arc<Self>, offset: Offset) {
        let applied = self.log.applied.lock().last;
        let point = self.log.with_map(|map| map.ending_by(offset));
        let Some(point) = point.filter(|point| applied.is_some_and(|a| point.index <= a.index))
        else {
            return;
        };
        *self.log.snapshot_target.lock() = Some(point);
        let group = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(error) = group.raft.trigger().snapshot().await {
                tracing::debug!(group = %group.id(), %error, "no snapshot");
            }
        });
    }

    /// The same for the sake of compaction, where no replica that keeps up would need a snapshot for it.
    pub fn settle_when_passed(self: &Arc<Self>, offset: Offset) {
        let now = self.log.now().mono;
        let behind = self.followers().into_iter().any(|follower| {
            let keeps_up = follower.caught_up.is_some_and(|at| now.since(at) <= self.lag_max);
            keeps_up && follower.matched < offset
        });
        if !behind {
            self.settle(offset);
        }
    }

    pub(super) fn stopped(&self, error: &impl std::fmt::Display) -> GroupError {
        GroupError::Stopped(self.id(), error.to_string())
    }

    fn refused(&self, error: &impl std::fmt::Display) -> GroupError {
        GroupError::Refused(self.id(), error.to_string())
    }
}

/// What the journal has to say of a log that had one replica until now: its batches are the entries from
/// index 1 on, after a membership of that one replica, and all of them are applied.
fn first_entries(
    id: GroupId,
    replica: ReplicaId,
    partition: &Partition,
) -> Result<Vec<Record>, RecoverError> {
    if partition.inspect(|log, _| log.settings().cleanup.compacts())? {
        return purged_entries(id, replica, partition);
    }
    partition.inspect(|log, marks| {
        let (mut first, mut count) = (None, 0);
        let (mut last_term, mut end) = (0, log.log_end());
        log.headers(log.log_start(), |header| {
            first.get_or_insert(header.base_offset);
            count += 1;
            last_term = u64::try_from(header.leader_epoch.get()).unwrap_or(0);
            end = header.next_offset();
            ControlFlow::Continue(())
        })?;
        let start = Point { index: 0, term: 0, end: first.unwrap_or(marks.log_end) };
        let voters = Membership::new_with_defaults(vec![BTreeSet::from([replica])], []);
        let members = StoredMembership::new(Some(start.log_id()), voters);
        let latest = log.latest_epoch().map_or(0, |epoch| u64::try_from(epoch.get()).unwrap_or(0));
        let mut records =
            vec![Record::Purge(id, start, members), Record::Vote(id, Vote::new(latest, replica))];
        if count > 0 {
            records.push(Record::Anchor(id, Point { index: count, term: last_term, end }));
        }
        Ok(records)
    })?
}

/// The same of a log that is, or was, compacted: its batches are no entries, as they have gaps and may be
/// merged. Other replicas get it as a snapshot.
fn purged_entries(
    id: GroupId,
    replica: ReplicaId,
    partition: &Partition,
) -> Result<Vec<Record>, RecoverError> {
    Ok(partition.inspect(|log, marks| {
        let latest = log.latest_epoch().map_or(0, |epoch| u64::try_from(epoch.get()).unwrap_or(0));
        let start = Point { index: 0, term: latest, end: marks.log_end };
        let voters = Membership::new_with_defaults(vec![BTreeSet::from([replica])], []);
        let members = StoredMembership::new(Some(start.log_id()), voters);
        vec![Record::Purge(id, start, members), Record::Vote(id, Vote::new(latest, replica))]
    })?)
}
