//! The cluster's metadata on this node: the log, the image, and the one writer.
//!
//! Owns: `__cluster_metadata-0`, the order of commands, the published image. Never: a rule of a command
//! (those are pure, in `coordinator::metadata`). Invariants: one command at a time; a reply leaves
//! only after its records are durable and applied; readers see whole images.
//!
//! A command goes: decide on the image, append the records as one batch, wait until they are committed,
//! bring the topics of this broker up to date, publish the new image, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_config::topic::Durability;
use ottla_coordinator::metadata::{
    AllocateProducerIds, ApplyError, AssignDirectories, BrokerState, ChangeBrokerState, Command,
    ConfigResource, ControllerError, ControllerSettings, CreateTopics, DecideContext, Decision,
    FormCluster, MetadataDelta, MetadataImage, MetadataRecord, RecordError, RegisterBroker,
    ResourceType,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, Now, Offset, TopicPartition, Uuid};
use ottla_protocol::records::{
    BatchBuilder, BatchHeader, BuildError, Compression, HEADER, NewRecord,
};
use ottla_replication::partition::{Partition, PartitionError};
use ottla_replication::replicas::{History, NewPartition, OpenError, Replicas};
use ottla_replication::wait::{Countdown, Waiting};
use ottla_storage::{AppendOrigin, LeaderAppend, LeaderBatch, LogSettings};
use parking_lot::RwLock;

use crate::replay::{ReplayError, ReplayLimits, replay};
use crate::services::Services;
use crate::topic_loader;

/// The metadata log's partition, as Kafka names it.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
/// Kafka's `Uuid.METADATA_TOPIC_ID`.
pub(crate) const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);
/// The epoch of a metadata log with one voter; Kafka's quorum has no epoch 0 with a leader either.
const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(1);
/// No batch of the metadata log is larger.
const BATCH_BYTES_MAX: u32 = 256 << 20;
const REPLAY_LIMITS: ReplayLimits =
    ReplayLimits { read_bytes: 1 << 20, expanded_bytes_max: BATCH_BYTES_MAX as usize };
const SEGMENT_BYTES: u32 = 16 << 20;
/// A log is shortened when it has this many records for each of a snapshot, and
const LOG_PER_SNAPSHOT: usize = 4;
/// this many more.
const SHORT_LOG: usize = 2_000;

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
    #[error("this broker cannot register: {0:?}")]
    Register(ControllerError),
}

/// The metadata of the cluster.
#[derive(Debug)]
pub(crate) struct MetadataService {
    log: Arc<Partition>,
    image: RwLock<Arc<MetadataImage>>,
    settings: ControllerSettings,
    turn: tokio::sync::Mutex<()>,
    loaded: AtomicBool,
}

impl MetadataService {
    /// Opens the log and replays it.
    ///
    /// # Errors
    /// When the disk fails or the log is damaged.
    pub(crate) fn open(
        replicas: &Replicas,
        settings: ControllerSettings,
        now: Now,
    ) -> Result<Self, MetadataError> {
        let log = replicas.open_partition(
            NewPartition {
                name: TopicPartition::new(METADATA_TOPIC, 0),
                topic_id: METADATA_TOPIC_ID,
                settings: log_settings(),
                durability: Durability::Fsync,
                epoch: FIRST_EPOCH,
                copies: ottla_replication::partition::Copies::One,
                // As Kafka: the first of log.dirs, where nobody says which.
                directory: replicas.directory_ids().first().copied().unwrap_or_default(),
                // Without its log a node would forget every topic: it does not start.
                history: match replicas.is_fresh() {
                    true => History::New,
                    false => History::Existing,
                },
            },
            now,
        )?;
        let image = load(&log)?;
        Ok(Self {
            log,
            image: RwLock::new(Arc::new(image)),
            settings,
            turn: tokio::sync::Mutex::new(()),
            loaded: AtomicBool::new(false),
        })
    }

    /// The newest published image.
    #[must_use]
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.read())
    }

    #[must_use]
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Registers this start of the broker, in a new cluster if there is none yet, then opens every
    /// partition.
    ///
    /// # Errors
    /// When the registration cannot be made durable.
    pub(crate) async fn start(
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
        self.append(&records, now).await?;
        let image = self.shortened(image, now).await;
        let delta = everything(&image);
        topic_loader::apply(services, &image, &delta, History::Existing, now).await;
        let image = self.assigned(services, image, &delta, now).await;
        *self.image.write() = image;
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Carries out a command. Runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// `KafkaStorageError` when the records cannot be made durable.
    pub(crate) async fn submit<C>(
        services: &Arc<Services>,
        command: C,
    ) -> Result<C::Reply, ErrorCode>
    where
        C: Command + Send + 'static,
        C::Reply: Send + 'static,
    {
        let services = Arc::clone(services);
        let task = tokio::spawn(async move {
            let metadata = &services.metadata;
            let _turn = metadata.turn.lock().await;
            let image = metadata.image();
            let decision = metadata.decide(&services, &image, command);
            if decision.records.is_empty() {
                return Ok(decision.reply);
            }
            let now = services.clock.now();
            match metadata.commit(&services, &image, &decision.records, now).await {
                Ok(()) => Ok(decision.reply),
                Err(error) => {
                    tracing::error!(%error, "metadata change failed");
                    Err(ErrorCode::KafkaStorageError)
                }
            }
        });
        task.await.unwrap_or(Err(ErrorCode::UnknownServerError))
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

    async fn commit(
        &self,
        services: &Arc<Services>,
        image: &Arc<MetadataImage>,
        records: &[MetadataRecord],
        now: Now,
    ) -> Result<(), MetadataError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut next = MetadataImage::clone(image);
        let delta = next.apply_all(records)?;
        self.append(records, now).await?;
        let next = self.shortened(next, now).await;
        // Topics are served before they are named: a client that sees one can use it.
        topic_loader::apply(services, &next, &delta, History::New, now).await;
        let next = self.assigned(services, next, &delta, now).await;
        *self.image.write() = next;
        Ok(())
    }

    /// Says in the log in which directories this broker's replicas are, where it had the choice
    /// (KIP-858). A failure is no loss: it is said again with the next change.
    async fn assigned(
        &self,
        services: &Arc<Services>,
        image: Arc<MetadataImage>,
        delta: &MetadataDelta,
        now: Now,
    ) -> Arc<MetadataImage> {
        let assignments = topic_loader::misplaced(services, &image, delta);
        if assignments.is_empty() {
            return image;
        }
        let command = AssignDirectories { broker: services.node_id, assignments };
        let records = self.decide(services, &image, command).records;
        let mut next = MetadataImage::clone(&image);
        let written = match next.apply_all(&records) {
            Ok(_) => self.append(&records, now).await,
            Err(error) => Err(error.into()),
        };
        match written {
            Ok(()) => Arc::new(next),
            Err(error) => {
                tracing::error!(%error, "the directories of replicas are not noted");
                image
            }
        }
    }

    /// Writes a snapshot and lets the log begin with it, where the log has grown long beside what it
    /// says. A failure leaves the log as it was, which is long but right.
    async fn shortened(&self, image: MetadataImage, now: Now) -> Arc<MetadataImage> {
        let records = image.end().since(self.log.watermarks().log_start);
        let worth = image.snapshot_len().saturating_mul(LOG_PER_SNAPSHOT) + SHORT_LOG;
        if usize::try_from(records).unwrap_or(0) < worth {
            return Arc::new(image);
        }
        let snapshot = image.snapshot();
        let first = image.end();
        let mut next = image.clone();
        let written = match next.apply_all(&snapshot) {
            Ok(_) => self.append(&snapshot, now).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "the metadata log is not shortened");
            return Arc::new(image);
        }
        if let Err(error) = self.log.delete_records(first) {
            tracing::warn!(%error, "the metadata log keeps what its snapshot replaces");
        }
        Arc::new(next)
    }

    async fn append(&self, records: &[MetadataRecord], now: Now) -> Result<(), MetadataError> {
        let batch = encode(records, now)?;
        let append = LeaderAppend {
            frame_bytes: batch.payload.len(),
            batches: std::slice::from_ref(&batch),
            origin: AppendOrigin::Coordinator,
        };
        let wait = Countdown::held();
        let appended = self.log.append(&append, now, Some(&wait))?;
        wait.done();
        Waiting(wait).await;
        if self.log.high_watermark() < appended.committed_at {
            return Err(MetadataError::NotDurable);
        }
        Ok(())
    }

    /// A block of producer ids: the first and how many.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub(crate) async fn allocate_producer_ids(
        services: &Arc<Services>,
    ) -> Result<(i64, i64), ErrorCode> {
        let block = Self::submit(services, AllocateProducerIds).await?;
        let block = block.ok_or(ErrorCode::UnknownServerError)?;
        Ok((block.first.get(), block.size))
    }

    /// Creates topics that a client named and that do not exist; gives those that could not be.
    pub(crate) async fn create_missing(
        services: &Arc<Services>,
        names: Vec<String>,
    ) -> Vec<(String, ErrorCode)> {
        let metadata = &services.metadata;
        let brokers = metadata.image().brokers().count();
        let topics =
            names.iter().map(|name| metadata.settings.automatic_topic(name, brokers)).collect();
        let command = CreateTopics { topics, ..CreateTopics::default() };
        match Self::submit(services, command).await {
            Err(code) => names.into_iter().map(|name| (name, code)).collect(),
            Ok(reply) => reply
                .topics
                .into_iter()
                .filter_map(|(name, result)| Some((name, result.err()?.code())))
                // Somebody else was faster, which is just as well.
                .filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists)
                .collect(),
        }
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

/// A delta that names all of an image.
fn everything(image: &MetadataImage) -> MetadataDelta {
    let mut delta = MetadataDelta::default();
    for topic in image.topics() {
        delta.partitions.insert(topic.id, topic.iter().map(|(index, _)| index).collect());
    }
    for name in image.config_resources(ResourceType::Broker) {
        delta.configs.insert(ConfigResource::new(ResourceType::Broker, name));
    }
    delta
}

/// Segments small enough that what a snapshot replaces leaves the disk; batches as large as a command
/// makes them, up to every partition of a large cluster.
fn log_settings() -> LogSettings {
    LogSettings {
        retention_age: None,
        retention_bytes: None,
        segment_bytes: SEGMENT_BYTES,
        max_message_bytes: BATCH_BYTES_MAX,
        ..LogSettings::default()
    }
}

/// One batch of all records: they are applied together or not at all.
fn encode(records: &[MetadataRecord], now: Now) -> Result<LeaderBatch, MetadataError> {
    let failed = |error: BuildError| MetadataError::Batch(error.to_string());
    let mut builder = BatchBuilder::new(Compression::NONE);
    for record in records {
        let value = record
            .encode()
            .map_err(|error| MetadataError::Record { offset: Offset::NONE, error })?;
        builder
            .push(NewRecord { value: Some(&value), ..NewRecord::at(now.wall) })
            .map_err(failed)?;
    }
    let bytes = builder.build().map_err(failed)?;
    let header =
        BatchHeader::parse(&bytes).map_err(|error| MetadataError::Batch(error.to_string()))?;
    Ok(LeaderBatch { header, payload: bytes.slice(HEADER..) })
}

fn load(log: &Partition) -> Result<MetadataImage, MetadataError> {
    let mut image = MetadataImage::starting_at(log.watermarks().log_start);
    // A log may begin amid records whose beginnings are gone: what a snapshot has replaced, and whose
    // start offset was not on disk before a crash. The snapshot then follows.
    let mut gap: Option<ApplyError> = None;
    replay(log, REPLAY_LIMITS, |_, record| {
        let decoded = MetadataRecord::decode(record.value.unwrap_or_default())
            .map_err(|error| MetadataError::Record { offset: record.offset, error })?;
        if decoded == MetadataRecord::Snapshot {
            gap = None;
            image = MetadataImage::starting_at(record.offset);
        }
        if gap.is_none() {
            gap = image.apply_all([&decoded]).err();
        }
        Ok::<_, MetadataError>(())
    })?;
    gap.map_or(Ok(image), |error| Err(error.into()))
}
