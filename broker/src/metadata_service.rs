//! The cluster's metadata on this node: the log, the image, and the one writer.
//!
//! Owns: `__cluster_metadata-0`, the order of commands, the published image. Never: a rule of a command
//! (those are pure, in `coordinator::metadata`). Invariants: one command at a time; a reply leaves
//! only after its records are durable and applied; readers see whole images.
//!
//! A command goes: decide on the image, append the records as one batch, wait until they are committed;
//! then, on every node alike, the committed records are read from the log and applied, the topics of
//! this broker are brought up to date, the new image is published; the command is answered.

mod log;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_coordinator::metadata::{
    ApplyError, BrokerState, ChangeBrokerState, Command, ControllerError, ControllerSettings,
    CreateTopics, DecideContext, Decision, FormCluster, MetadataDelta, MetadataImage,
    MetadataRecord, RecordError, RegisterBroker,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{MonoTime, Now, Offset};
use ottla_replication::partition::{Copies, Partition, PartitionError};
use ottla_replication::raft::Group;
use ottla_replication::replicas::{History, OpenError, Replicas};
use parking_lot::RwLock;
use tokio::sync::watch;

use self::log::MetadataLog;
pub(crate) use self::log::{METADATA_TOPIC, METADATA_TOPIC_ID};
use crate::cluster::{self, command::Order, command::OrderAnswer};
use crate::replay::ReplayError;
use crate::services::Services;
use crate::stop::Stopping;
use crate::topic_loader;

/// A log is shortened when it has this many records for each of a snapshot, and
const LOG_PER_SNAPSHOT: usize = 4;
/// this many more.
const SHORT_LOG: usize = 2_000;
/// For what a client waits for.
const ORDER_WITHIN: Duration = Duration::from_secs(10);
/// How long a command of a broker itself may take before it is made again.
const COMMAND_MAX: Duration = Duration::from_secs(10);

/// Why the metadata could not be loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("the metadata log cannot be opened: {0}")]
    Open(#[from] OpenError),
    #[error("the metadata log cannot be loaded: {0}")]
    Replay(#[from] ReplayError),
    #[error("the metadata log cannot be written: {0}")]
    Log(#[from] PartitionError),
    #[error("the metadata log at offset {offset} is damaged: {error}")]
    Record { offset: Offset, error: RecordError },
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("a batch of metadata records cannot be built: {0}")]
    Batch(String),
    #[error("the metadata log did not become durable; its disk must be checked")]
    NotDurable,
    #[error("this node is not, or no longer, the active controller")]
    NotController,
    #[error("this broker cannot register: {0:?}")]
    Register(ControllerError),
}

/// The metadata of the cluster.
#[derive(Debug)]
pub(crate) struct MetadataService {
    log: MetadataLog,
    image: RwLock<Arc<MetadataImage>>,
    settings: ControllerSettings,
    /// Commands, one at a time.
    turn: tokio::sync::Mutex<()>,
    /// Steps from one image to the next, one at a time.
    applying: tokio::sync::Mutex<()>,
    loaded: AtomicBool,
    /// The end of the published image, for those who wait for it.
    applied: watch::Sender<Offset>,
    /// Keeps the log together with others; empty where this node keeps it alone.
    group: OnceLock<Arc<Group>>,
}

impl MetadataService {
    /// Opens the log and reads what is committed.
    ///
    /// # Errors
    /// When the disk fails or the log is damaged.
    pub(crate) fn open(
        replicas: &Replicas,
        settings: ControllerSettings,
        now: Now,
    ) -> Result<Self, MetadataError> {
        Self::open_log(MetadataLog::open(replicas, Copies::One, now)?, settings)
    }

    /// As [`Self::open`], for a log that several nodes keep: nothing happens before [`Self::join`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_one_of_several(
        replicas: &Replicas,
        settings: ControllerSettings,
        now: Now,
    ) -> Result<Self, MetadataError> {
        Self::open_log(MetadataLog::open(replicas, Copies::Several, now)?, settings)
    }

    fn open_log(log: MetadataLog, settings: ControllerSettings) -> Result<Self, MetadataError> {
        let image = log.beyond(&MetadataImage::starting_at(log.start()))?.image;
        Ok(Self {
            log,
            applied: watch::channel(image.end()).0,
            group: OnceLock::new(),
            image: RwLock::new(Arc::new(image)),
            settings,
            turn: tokio::sync::Mutex::new(()),
            applying: tokio::sync::Mutex::new(()),
            loaded: AtomicBool::new(false),
        })
    }

    /// The newest published image.
    #[must_use]
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.read())
    }

    /// The metadata log.
    #[must_use]
    pub(crate) fn partition(&self) -> &Arc<Partition> {
        self.log.partition()
    }

    /// From now on the group says what is committed, and who may decide.
    pub(crate) fn join(&self, group: Arc<Group>) {
        // Only the first counts, and there is one.
        let _first = self.group.set(group);
    }

    /// Applies what the group commits, until the broker stops.
    pub(crate) async fn follow(services: Arc<Services>, mut stopping: Stopping) {
        /// After the log could not be read.
        const RETRY: Duration = Duration::from_secs(1);
        let metadata = &services.metadata;
        loop {
            if let Err(error) = metadata.catch_up(&services).await {
                tracing::error!(%error, "metadata is not applied");
                tokio::time::sleep(RETRY).await;
            }
            let seen = metadata.image().end();
            tokio::select! {
                biased;
                () = stopping.stopped() => return,
                () = metadata.log.grown_beyond(seen) => {}
            }
        }
    }

    /// Completes once an image is published that ends beyond `seen`.
    pub(crate) async fn changed_beyond(&self, seen: Offset) {
        let mut applied = self.applied.subscribe();
        // The sender lives as long as this.
        let _changed = applied.wait_for(|end| *end > seen).await;
    }

    /// Waits until the published image shows everything below `offset`; not for ever.
    pub(crate) async fn applied(&self, offset: Offset) {
        const MOST: Duration = Duration::from_secs(10);
        let mut applied = self.applied.subscribe();
        let shown = applied.wait_for(|end| *end >= offset);
        if !matches!(tokio::time::timeout(MOST, shown).await, Ok(Ok(_))) {
            tracing::warn!(%offset, "this broker's metadata lags behind the controller's");
        }
    }

    #[must_use]
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Registers this start of a broker that keeps the metadata alone, in a new cluster if there is
    /// none yet, then opens every partition.
    ///
    /// # Errors
    /// When the registration cannot be made durable.
    pub(crate) async fn start_alone(
        &self,
        services: &Arc<Services>,
        registration: RegisterBroker,
        now: Now,
    ) -> Result<(), MetadataError> {
        let _turn = self.turn.lock().await;
        let mut image = MetadataImage::clone(&self.image());
        let cluster_id = Some(services.replicas.cluster_id().to_owned());
        let mut start = Startup { service: self, services, image: &mut image, records: Vec::new() };
        start.decide(FormCluster { cluster_id })?;
        start.register(registration)?;
        let records = start.records;
        self.commit(services, &records, now).await
    }

    /// Carries out a command of this broker's own, in the time that such a one may take.
    ///
    /// # Errors
    /// As [`Self::submit_until`].
    pub(crate) async fn submit<C>(
        services: &Arc<Services>,
        command: C,
    ) -> Result<C::Reply, ErrorCode>
    where
        C: Command + Send + 'static,
        C::Reply: Send + 'static,
    {
        let deadline = services.clock.now().mono.plus(COMMAND_MAX);
        Self::submit_until(services, command, deadline).await
    }

    /// Carries out a command. Once begun it runs to its end, even if the caller goes away.
    ///
    /// # Errors
    /// `KafkaStorageError` when the records cannot be made durable; `RequestTimedOut` at the deadline: a
    /// command that had begun may still be carried out, one that had not is not.
    pub(crate) async fn submit_until<C>(
        services: &Arc<Services>,
        command: C,
        deadline: MonoTime,
    ) -> Result<C::Reply, ErrorCode>
    where
        C: Command + Send + 'static,
        C::Reply: Send + 'static,
    {
        let carried_out = tokio::spawn(Self::carry_out(Arc::clone(services), command, deadline));
        tokio::select! {
            biased;
            done = carried_out => done.unwrap_or(Err(ErrorCode::UnknownServerError)),
            () = services.clock.sleep_until(deadline) => Err(ErrorCode::RequestTimedOut),
        }
    }

    async fn carry_out<C: Command>(
        services: Arc<Services>,
        command: C,
        deadline: MonoTime,
    ) -> Result<C::Reply, ErrorCode> {
        let metadata = &services.metadata;
        let _turn = metadata.turn.lock().await;
        // Who asked was told that it is not done: a controller that was cut off does not do it later.
        if services.clock.now().mono >= deadline {
            return Err(ErrorCode::RequestTimedOut);
        }
        if let Some(group) = metadata.group.get() {
            if !group.leadership().here {
                return Err(ErrorCode::NotController);
            }
            // Everything before this term is committed: decisions see all of it.
            if let Err(error) = metadata.catch_up(&services).await {
                tracing::error!(%error, "metadata is not applied");
                return Err(ErrorCode::KafkaStorageError);
            }
        }
        let decision = metadata.decide(&services, &metadata.image(), command);
        if decision.records.is_empty() {
            return Ok(decision.reply);
        }
        let now = services.clock.now();
        match metadata.commit(&services, &decision.records, now).await {
            Ok(()) => Ok(decision.reply),
            Err(MetadataError::NotController) => Err(ErrorCode::NotController),
            Err(error) => {
                tracing::error!(%error, "metadata change failed");
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    fn decide<C: Command>(
        &self,
        services: &Services,
        image: &MetadataImage,
        command: C,
    ) -> Decision<C::Reply> {
        let seed = services.random.next_uuid().as_u128();
        command.decide(image, &mut DecideContext::new(&self.settings, seed))
    }

    /// Appends records and applies them; then a snapshot, where the log has grown long beside what it
    /// says.
    async fn commit(
        &self,
        services: &Arc<Services>,
        records: &[MetadataRecord],
        now: Now,
    ) -> Result<(), MetadataError> {
        self.log.append(records, now).await?;
        self.catch_up(services).await?;
        let image = self.image();
        let length = image.end().since(self.log.start());
        let worth = image.snapshot_len().saturating_mul(LOG_PER_SNAPSHOT) + SHORT_LOG;
        if usize::try_from(length).unwrap_or(0) < worth {
            return Ok(());
        }
        // A failure leaves the log as it was, which is long but right.
        if let Err(error) = self.log.append(&image.snapshot(), now).await {
            tracing::warn!(%error, "the metadata log is not shortened");
        }
        self.catch_up(services).await.map(|_| ())
    }

    /// Applies what is committed: brings the topics of this broker up to date, then publishes the
    /// image. Gives what changed.
    ///
    /// # Errors
    /// When the log cannot be read; what was published stays.
    pub(crate) async fn catch_up(
        &self,
        services: &Arc<Services>,
    ) -> Result<MetadataDelta, MetadataError> {
        let _applying = self.applying.lock().await;
        let before = self.image();
        let applied = self.log.beyond(&before)?;
        let first = !self.is_loaded();
        if applied.records == 0 && !first {
            return Ok(MetadataDelta::default());
        }
        let image = Arc::new(applied.image);
        let (delta, unseen) = if first {
            (MetadataDelta::everything(&image), History::Existing)
        } else {
            (MetadataDelta::between(&before, &image), History::New)
        };
        // Topics are served before they are named: a client that sees one can use it.
        topic_loader::apply(services, &image, &delta, unseen, services.clock.now()).await;
        let end = image.end();
        *self.image.write() = Arc::clone(&image);
        self.loaded.store(true, Ordering::Release);
        self.applied.send_replace(end);
        if let Some(cluster) = services.cluster()
            && (first || !delta.brokers.is_empty())
            && cluster.addresses.registered(&image)
        {
            cluster.peers.addresses_changed();
        }
        if let Some(snapshot) = applied.snapshot_at {
            self.log.begin_at(snapshot).await;
        }
        Ok(delta)
    }

    /// A block of producer ids: the first and how many.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub(crate) async fn allocate_producer_ids(
        services: &Arc<Services>,
    ) -> Result<(i64, i64), ErrorCode> {
        match cluster::order(services, &Order::ProducerIds, ORDER_WITHIN).await? {
            OrderAnswer::ProducerIds { first, count } => Ok((first, count)),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Creates topics that a client named and that do not exist, through the active controller; gives
    /// those that could not be.
    pub(crate) async fn create_missing(
        services: &Arc<Services>,
        names: Vec<String>,
    ) -> Vec<(String, ErrorCode)> {
        let order = Order::CreateMissing { names: names.clone() };
        let code = match cluster::order(services, &order, ORDER_WITHIN).await {
            Ok(OrderAnswer::Created { failed }) => {
                let failed = failed.into_iter();
                return failed.map(|(name, code)| (name, ErrorCode::from_code(code))).collect();
            }
            Ok(_) => ErrorCode::UnknownServerError,
            Err(code) => code,
        };
        names.into_iter().map(|name| (name, code)).collect()
    }

    /// As [`Self::create_missing`], on the active controller.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub(crate) async fn create_here(
        services: &Arc<Services>,
        names: Vec<String>,
    ) -> Result<Vec<(String, ErrorCode)>, ErrorCode> {
        let metadata = &services.metadata;
        let brokers = metadata.image().brokers().count();
        let topics =
            names.iter().map(|name| metadata.settings.automatic_topic(name, brokers)).collect();
        let command = CreateTopics { topics, ..CreateTopics::default() };
        let reply = Self::submit(services, command).await?;
        Ok(reply
            .topics
            .into_iter()
            .filter_map(|(name, result)| Some((name, result.err()?.code())))
            // Somebody else was faster, which is just as well.
            .filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists)
            .collect())
    }
}

/// The commands of a start, decided one after the other and appended together.
struct Startup<'a> {
    service: &'a MetadataService,
    services: &'a Services,
    image: &'a mut MetadataImage,
    records: Vec<MetadataRecord>,
}

impl Startup<'_> {
    fn decide<C: Command>(&mut self, command: C) -> Result<C::Reply, MetadataError> {
        let decision = self.service.decide(self.services, self.image, command);
        self.image.apply_all(&decision.records)?;
        self.records.extend(decision.records);
        Ok(decision.reply)
    }

    fn register(&mut self, registration: RegisterBroker) -> Result<(), MetadataError> {
        let id = registration.id;
        // The start before this one may have ended without a word: its leadership ends here, so that
        // leader epochs grow with every start.
        if let Some(epoch) = self.image.broker(id).map(|broker| broker.registration.epoch) {
            let fence = ChangeBrokerState { id, epoch, state: BrokerState::Fenced };
            self.decide(fence)?.map_err(MetadataError::Register)?;
        }
        let epoch = self.decide(registration)?.map_err(MetadataError::Register)?;
        let activate = ChangeBrokerState { id, epoch, state: BrokerState::Active };
        self.decide(activate)?.map_err(MetadataError::Register)
    }
}

#[cfg(test)]
mod tests;
