//! The group coordinator's driver: shards of groups over the partitions of `__consumer_offsets`.
//!
//! Owns: which partitions are loaded, the way from a request to its shard and of its reply back, the
//! timer of all shards. Never: decides anything about a group (that is `coordinator::group`).
//! Invariant: a partition has one shard at most; no reply leaves before everything its shard had
//! written by then is committed.
//!
//! ```text
//!   handler ─ submit ─> Driver (lock) ─ step ─> records ─> Partition::append
//!      ^                   |                                   |
//!      └──── Answer <──────┴── reply, held until committed <───┘        timers ─ tick ─> Driver
//! ```

mod answer;
mod driver;
mod ledger;
mod load;
mod timers;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_config::BrokerConfig;
use ottla_coordinator::group::{
    BATCH_OVERHEAD, DeletedTopic, GroupError, GroupSettings, Input, ReplyToken, partition_for,
};
use ottla_protocol::model::{LeaderEpoch, Now, Offset, TopicName, TopicPartition};
use ottla_replication::partition::Partition;
use parking_lot::Mutex;

pub(crate) use answer::Answer;
use answer::Patience;
use driver::Driver;
use timers::Deadlines;
pub(crate) use timers::run as run_timers;

use crate::services::Services;
use crate::stop::Stopping;
use crate::topics::TopicEntry;

/// Where groups and their offsets are kept.
pub(crate) use ottla_coordinator::metadata::topic_name::CONSUMER_OFFSETS as OFFSETS_TOPIC;

/// A group's committed offset, for metrics.
#[derive(Clone, Debug)]
pub(crate) struct GroupOffset {
    pub(crate) group: TopicName,
    pub(crate) partition: TopicPartition,
    pub(crate) offset: Offset,
}

#[derive(Debug)]
enum Slot {
    /// The log is being replayed.
    Loading(Loading),
    Ready(Arc<Driver>),
    /// The log could not be replayed in this epoch: it is not tried again before another, which is a
    /// new leadership or a restart.
    Failed(Arc<Partition>, LeaderEpoch),
}

#[derive(Debug)]
struct Loading {
    partition: Arc<Partition>,
    /// Topics that were deleted meanwhile.
    deleted: Vec<DeletedTopic>,
}

impl Slot {
    fn loading(partition: &Arc<Partition>) -> Self {
        Self::Loading(Loading { partition: Arc::clone(partition), deleted: Vec::new() })
    }

    /// The driver of a partition, or why it is not loaded now; `None` where it may be loaded anew.
    fn driver(&self, partition: &Arc<Partition>) -> Option<Result<Arc<Driver>, GroupError>> {
        match self {
            Self::Ready(driver) => driver.serves(partition).then(|| Ok(Arc::clone(driver))),
            Self::Loading(loading) => Arc::ptr_eq(&loading.partition, partition)
                .then_some(Err(GroupError::CoordinatorLoadInProgress)),
            Self::Failed(failed, epoch) => {
                let same = Arc::ptr_eq(failed, partition) && partition.leader_epoch() == *epoch;
                same.then_some(Err(GroupError::NotCoordinator))
            }
        }
    }
}

/// All group shards of this broker.
#[derive(Debug)]
pub(crate) struct GroupService {
    settings: GroupSettings,
    /// `offsets.commit.timeout.ms`
    commit_timeout: Duration,
    /// `offsets.topic.num.partitions`, until the topic exists.
    partitions_default: NonZeroU32,
    slots: Mutex<BTreeMap<i32, Slot>>,
    deadlines: Arc<Deadlines>,
    closed: AtomicBool,
}

impl GroupService {
    #[must_use]
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let partitions = u32::try_from(config.offsets.topic_partitions).ok();
        Self {
            settings: settings(config),
            commit_timeout: config.offsets.commit_timeout,
            partitions_default: partitions.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
            slots: Mutex::default(),
            deadlines: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Loads every shard whose log is there, before the broker serves.
    pub(crate) async fn start(services: &Arc<Services>) {
        let Some(entry) = services.topics.by_name(OFFSETS_TOPIC) else { return };
        let loader = Arc::clone(services);
        let loading = services.host.on_disk(move || {
            for (index, partition) in entry.partitions() {
                // Others are loaded by whoever leads them, once it does.
                if partition.group().is_none() && partition.is_leader() {
                    loader.groups.slots.lock().insert(index, Slot::loading(partition));
                    loader.groups.load(&loader, index, partition);
                }
            }
        });
        if loading.await.is_err() {
            tracing::error!("loading consumer groups panicked; some groups are not served");
        }
    }

    /// Loads what this broker comes to lead and gives up what it leads no more, until the broker stops.
    pub(crate) async fn follow_leadership(services: Arc<Services>, mut stopping: Stopping) {
        let Some(cluster) = services.cluster() else { return };
        let mut changes = cluster.peers.leaderships().subscribe();
        loop {
            changes.borrow_and_update();
            services.groups.settle(&services);
            tokio::select! {
                biased;
                () = stopping.stopped() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn settle(&self, services: &Arc<Services>) {
        for driver in self.drivers().iter().filter(|driver| driver.is_deposed()) {
            driver.close(GroupError::NotCoordinator);
        }
        let Some(entry) = services.topics.by_name(OFFSETS_TOPIC) else { return };
        for (index, partition) in entry.partitions() {
            if is_established(partition) {
                // Nobody asked: whether it is there already or loads makes no difference.
                let _loaded_or_loading = self.driver(services, index, partition);
            }
        }
    }

    /// A topic's partitions are served now.
    pub(crate) fn topic_changed(&self, services: &Arc<Services>, topic: &str) {
        if topic == OFFSETS_TOPIC && services.cluster().is_some() {
            self.settle(services);
        }
    }

    pub(crate) fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Gives a request to the shard that owns `group_id`. Its effects on the group are done when
    /// this returns; only the reply may take longer.
    ///
    /// # Errors
    /// When the shard is not here, or still loads.
    pub(crate) fn submit(
        &self,
        services: &Arc<Services>,
        group_id: &str,
        now: Now,
        input: impl FnOnce(ReplyToken) -> Input,
    ) -> Result<Answer, GroupError> {
        let entry = self.offsets_topic(services)?;
        let index = partition_for(group_id, self.partition_count(Some(&entry))).get();
        let partition = entry.partition(index).map_err(|_| GroupError::NotCoordinator)?;
        self.driver(services, index, &partition)?.submit(now, input)
    }

    /// Gives a request to every shard of this broker, in the order of partitions.
    ///
    /// # Errors
    /// When a shard still loads: what it has would be missing.
    pub(crate) fn submit_to_all(
        &self,
        services: &Arc<Services>,
        now: Now,
        mut input: impl FnMut(ReplyToken) -> Input,
    ) -> Result<Vec<Answer>, GroupError> {
        let entry = match self.offsets_topic(services) {
            Ok(entry) => entry,
            Err(GroupError::NotCoordinator) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut answers = Vec::with_capacity(entry.partition_count());
        for (index, partition) in entry.partitions() {
            let answer = self
                .driver(services, index, partition)
                .and_then(|driver| driver.submit(now, &mut input));
            match answer {
                Ok(answer) => answers.push(answer),
                Err(GroupError::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }

    /// Every committed offset of the groups that this broker coordinates.
    #[must_use]
    pub(crate) fn committed_offsets(&self) -> Vec<GroupOffset> {
        self.drivers().iter().flat_map(|driver| driver.committed_offsets()).collect()
    }

    /// The partition that a group belongs to.
    pub(crate) fn partition_of(&self, services: &Services, group_id: &str) -> i32 {
        let entry = services.topics.by_name(OFFSETS_TOPIC);
        partition_for(group_id, self.partition_count(entry.as_deref())).get()
    }

    /// Whether a group's partition can be served here.
    pub(crate) fn serves(&self, services: &Services, group_id: &str) -> bool {
        services.topics.by_name(OFFSETS_TOPIC).is_some_and(|entry| {
            let index = partition_for(group_id, self.partition_count(Some(&entry))).get();
            entry.partition(index).is_ok_and(|partition| !partition.is_offline())
        })
    }

    /// Log directories failed: groups whose partitions are in them are not served any more.
    pub(crate) fn close_offline(&self) {
        for driver in self.drivers().iter().filter(|driver| driver.is_offline()) {
            driver.close(GroupError::NotCoordinator);
        }
    }

    /// Offsets of a topic that is gone are forgotten.
    pub(crate) fn topic_deleted(&self, topic: &DeletedTopic, now: Now) {
        if *topic.name == *OFFSETS_TOPIC {
            let slots = std::mem::take(&mut *self.slots.lock());
            for slot in slots.into_values() {
                if let Slot::Ready(driver) = slot {
                    driver.close(GroupError::NotCoordinator);
                }
            }
            return;
        }
        let mut ready = Vec::new();
        for slot in self.slots.lock().values_mut() {
            match slot {
                Slot::Ready(driver) => ready.push(Arc::clone(driver)),
                Slot::Loading(loading) => loading.deleted.push(topic.clone()),
                Slot::Failed(..) => {}
            }
        }
        for driver in ready {
            driver.forget_topics(vec![topic.clone()], now);
        }
    }

    /// The broker stops: nobody waits for a rebalance any longer, and none begins.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for driver in self.drivers() {
            driver.close(GroupError::NotCoordinator);
        }
    }

    fn offsets_topic(&self, services: &Services) -> Result<Arc<TopicEntry>, GroupError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        services.topics.by_name(OFFSETS_TOPIC).ok_or(GroupError::NotCoordinator)
    }

    fn partition_count(&self, entry: Option<&TopicEntry>) -> NonZeroU32 {
        entry
            .and_then(|entry| u32::try_from(entry.partition_count()).ok())
            .and_then(NonZeroU32::new)
            .unwrap_or(self.partitions_default)
    }

    fn drivers(&self) -> Vec<Arc<Driver>> {
        let slots = self.slots.lock();
        let ready = slots.values().filter_map(|slot| match slot {
            Slot::Ready(driver) => Some(Arc::clone(driver)),
            Slot::Loading(_) | Slot::Failed(..) => None,
        });
        ready.collect()
    }

    /// The driver of a partition. One that is not loaded yet, or whose log has failed and may be
    /// read again, is loaded on the way: at once if its log is empty, else in the background.
    fn driver(
        &self,
        services: &Arc<Services>,
        index: i32,
        partition: &Arc<Partition>,
    ) -> Result<Arc<Driver>, GroupError> {
        let before = {
            let mut slots = self.slots.lock();
            if let Some(driver) = slots.get(&index).and_then(|slot| slot.driver(partition)) {
                return driver;
            }
            if partition.is_offline() || !partition.is_leader() {
                return Err(GroupError::NotCoordinator);
            }
            // What came before this leader is read only once all of it is committed.
            if !is_established(partition) {
                return Err(GroupError::CoordinatorLoadInProgress);
            }
            slots.insert(index, Slot::loading(partition))
        };
        let before = match before {
            Some(Slot::Ready(driver)) => Some(driver),
            _ => None,
        };
        if let Some(driver) = &before {
            driver.close(GroupError::NotCoordinator);
        }
        let under_way = before.filter(|driver| !driver.ledger().is_settled());
        let marks = partition.watermarks();
        if under_way.is_none() && marks.log_start == marks.log_end {
            self.load(services, index, partition);
            return self.loaded(index, partition);
        }
        let (loader, partition) = (Arc::clone(services), Arc::clone(partition));
        let load = move || loader.groups.load(&loader, index, &partition);
        match under_way {
            None => services.host.start_on_disk(load),
            Some(driver) => {
                let host = services.host.clone();
                tokio::spawn(async move {
                    // What is to be in the log must be there before it is read.
                    driver.ledger().settled().await;
                    host.start_on_disk(load);
                });
            }
        }
        Err(GroupError::CoordinatorLoadInProgress)
    }

    fn loaded(&self, index: i32, partition: &Arc<Partition>) -> Result<Arc<Driver>, GroupError> {
        match self.slots.lock().get(&index) {
            Some(Slot::Ready(driver)) if driver.serves(partition) => Ok(Arc::clone(driver)),
            _ => Err(GroupError::NotCoordinator),
        }
    }

    /// Replays a partition's log and puts its shard to work, in the slot that was taken for it. Blocks
    /// on the disk.
    fn load(&self, services: &Services, index: i32, partition: &Arc<Partition>) {
        let mut settings = self.settings.clone();
        if let Some(topic) = services.topics.by_name(OFFSETS_TOPIC) {
            let batch_max = topic.config.max_message_bytes.to_usize();
            settings.record_bytes_max = batch_max.saturating_sub(BATCH_OVERHEAD);
        }
        let epoch = partition.leader_epoch();
        let loaded = match load::shard(partition, settings) {
            Ok(shard) => {
                let (clock, timeout) = (Arc::clone(&services.clock), self.commit_timeout);
                let deadlines = Arc::clone(&self.deadlines);
                let patience = Patience { clock, timeout };
                let driver = Driver::new(index, partition, epoch, deadlines, patience);
                driver.begin(shard, services.clock.now());
                Some(Arc::new(driver))
            }
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error,
                    "consumer groups of this partition are not served");
                None
            }
        };
        self.put(index, partition, epoch, loaded, || services.clock.now());
    }

    /// Puts what a load came to into its slot, unless that is another's by now.
    fn put(
        &self,
        index: i32,
        partition: &Arc<Partition>,
        epoch: LeaderEpoch,
        loaded: Option<Arc<Driver>>,
        now: impl Fn() -> Now,
    ) {
        loop {
            let deleted = {
                let mut slots = self.slots.lock();
                let deleted = match slots.get_mut(&index) {
                    Some(Slot::Loading(own)) if Arc::ptr_eq(&own.partition, partition) => {
                        std::mem::take(&mut own.deleted)
                    }
                    _ => return,
                };
                if deleted.is_empty() || loaded.is_none() {
                    slots.insert(
                        index,
                        match loaded {
                            Some(driver) => Slot::Ready(driver),
                            None => Slot::Failed(Arc::clone(partition), epoch),
                        },
                    );
                    return;
                }
                deleted
            };
            if let Some(driver) = &loaded {
                driver.forget_topics(deleted, now());
            }
        }
    }

    fn tick(&self, index: i32, now: Now) {
        let driver = match self.slots.lock().get(&index) {
            Some(Slot::Ready(driver)) => Arc::clone(driver),
            _ => return,
        };
        driver.tick(now);
    }
}

/// Whether this broker leads a partition and everything before its time is committed.
fn is_established(partition: &Partition) -> bool {
    match partition.group() {
        None => partition.is_leader(),
        Some(group) => group.leadership().here && partition.is_leader(),
    }
}

fn settings(config: &BrokerConfig) -> GroupSettings {
    GroupSettings {
        max_size: config.groups.size_max as usize,
        initial_rebalance_delay: config.groups.initial_rebalance_delay,
        min_session_timeout: config.groups.session_timeout_min,
        max_session_timeout: config.groups.session_timeout_max,
        offset_metadata_max: config.offsets.metadata_bytes_max.to_usize(),
        offsets_retention: config.offsets.retention,
        retention_check_interval: config.offsets.retention_check_interval,
        ..GroupSettings::default()
    }
}

#[cfg(test)]
mod tests;
