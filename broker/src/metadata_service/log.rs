//! The metadata log on this node: its settings, its batches, reading and appending them.
//!
//! Owns: `__cluster_metadata-0`. Never: what a record means, or who may append.

use std::sync::Arc;

use ottla_config::topic::Durability;
use ottla_coordinator::metadata::{MetadataImage, MetadataRecord};
use ottla_protocol::model::{LeaderEpoch, Now, Offset, TopicPartition, Uuid};
use ottla_protocol::records::{
    BatchBuilder, BatchHeader, BuildError, Compression, HEADER, NewRecord,
};
use ottla_replication::partition::{Copies, Isolation, Outcome, Partition, SubmittedBatch, Until};
use ottla_replication::replicas::{History, NewPartition, Replicas};
use ottla_replication::wait::{Countdown, Waiting, Watch};
use ottla_storage::{AppendOrigin, LeaderBatch, LogSettings};

use super::MetadataError;
use crate::replay::{ReplayLimits, replay_from};

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

#[derive(Debug)]
pub(super) struct MetadataLog {
    partition: Arc<Partition>,
}

/// What a run of committed records made of an image.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) image: MetadataImage,
    /// Where the last snapshot among the records begins: the log may begin there.
    pub(super) snapshot_at: Option<Offset>,
    pub(super) records: u64,
}

impl MetadataLog {
    /// Opens the log, or creates it.
    ///
    /// # Errors
    /// When the disk fails or the log is damaged.
    pub(super) fn open(
        replicas: &Replicas,
        copies: Copies,
        now: Now,
    ) -> Result<Self, MetadataError> {
        let partition = replicas.open_partition(
            NewPartition {
                name: TopicPartition::new(METADATA_TOPIC, 0),
                topic_id: METADATA_TOPIC_ID,
                settings: settings(),
                durability: Durability::Fsync,
                epoch: FIRST_EPOCH,
                copies,
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
        Ok(Self { partition })
    }

    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Where the log begins.
    pub(super) fn start(&self) -> Offset {
        self.partition.watermarks().log_start
    }

    /// What is committed beyond `image`, applied to it.
    ///
    /// # Errors
    /// When the disk fails or the log is damaged.
    pub(super) fn beyond(&self, image: &MetadataImage) -> Result<Applied, MetadataError> {
        let mut next = image.clone();
        let mut applied = Applied { image: image.clone(), snapshot_at: None, records: 0 };
        let marks = self.partition.watermarks();
        if marks.high_watermark <= image.end() {
            return Ok(applied);
        }
        let from = marks.log_start.max(image.end());
        // A log may begin amid records whose beginnings are gone: what a snapshot has replaced, and
        // whose start offset was not on disk before a crash. The snapshot then follows.
        let mut gap = None;
        if from > next.end() {
            next = MetadataImage::starting_at(from);
        }
        let range = (from, Isolation::ReadUncommitted);
        replay_from(&self.partition, range, REPLAY_LIMITS, |_, record| {
            let decoded = MetadataRecord::decode(record.value.unwrap_or_default())
                .map_err(|error| MetadataError::Record { offset: record.offset, error })?;
            if decoded == MetadataRecord::Snapshot {
                gap = None;
                next = MetadataImage::starting_at(record.offset);
                applied.snapshot_at = Some(record.offset);
            }
            if gap.is_none() {
                gap = next.apply_all([&decoded]).err();
            }
            applied.records += 1;
            Ok::<_, MetadataError>(())
        })?;
        applied.image = gap.map_or(Ok(next), Err)?;
        Ok(applied)
    }

    /// Appends the records as one batch and waits until it is committed; the offset after it.
    ///
    /// # Errors
    /// `NotController` where this node does not lead the log, or leads it no more: then the records may
    /// be committed or not. `NotDurable` when the disk fails.
    pub(super) async fn append(
        &self,
        records: &[MetadataRecord],
        now: Now,
    ) -> Result<Offset, MetadataError> {
        let batch = encode(records, now)?;
        let frame_bytes = batch.payload.len();
        let origin = AppendOrigin::Coordinator;
        let wait = Countdown::held();
        let batch = SubmittedBatch { batch, origin, frame_bytes };
        let submission = self.partition.submit(batch, now, Until::Committed, Some(&wait));
        wait.done();
        Waiting(wait).await;
        match submission.outcome() {
            Outcome::Committed(info) => Ok(info.last_offset.next()),
            Outcome::Refused(error) => Err(error.into()),
            Outcome::NotLeader => Err(MetadataError::NotController),
            Outcome::Unknown(_) | Outcome::Pending | Outcome::Appended(_) => {
                let offline = self.partition.is_offline() || self.partition.group().is_none();
                Err(if offline { MetadataError::NotDurable } else { MetadataError::NotController })
            }
        }
    }

    /// Lets the log begin with a snapshot that it holds, on every replica.
    pub(super) async fn begin_at(&self, snapshot: Offset) {
        if snapshot <= self.start() {
            return;
        }
        let begun = match self.partition.group() {
            None => self.partition.delete_records(snapshot).map(|_| ()).map_err(|e| e.to_string()),
            Some(group) if self.partition.is_leader() => {
                group.delete_records(snapshot).await.map(|_| ()).map_err(|e| e.to_string())
            }
            // The leader's word comes by the log.
            Some(_) => Ok(()),
        };
        if let Err(error) = begun {
            tracing::warn!(%error, "the metadata log keeps what its snapshot replaces");
        }
    }

    /// Completes when something beyond `seen` is committed, or the leadership changes.
    pub(super) async fn grown_beyond(&self, seen: Offset) {
        let watch = Watch::for_bytes(1);
        let _registered = self.partition.watch(&watch, Isolation::ReadUncommitted, seen);
        Waiting(watch).await;
    }
}

/// Segments small enough that what a snapshot replaces leaves the disk; batches as large as a command
/// makes them, up to every partition of a large cluster.
fn settings() -> LogSettings {
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
