//! What a broker asks of a batch before it stores it.
//!
//! Owns: the rules of Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyze` and
//! `LogValidator` for magic 2, in their order, so that the same input gets the same error code.
//! Never: copies or allocates for a record of a sound batch, except where the topic asks for
//! another codec. Invariant: what it returns passes every reader of the log.
//!
//! Compared with a Kafka 4.3.1 batch by batch; it differs on purpose where Kafka
//! - stores a compressed batch whose records have wrong lengths, and its consumers fail: refused;
//! - means to heal the offset deltas of a compressed batch and fails with -1: refused with 87;
//! - fails with -1 over an overlong record length: refused with 87;
//! - fails with -1 to compress anew what has timestamps below -1, or producer id -2: stored.

mod outline;
mod refusal;
mod stream;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::outline::{Outline, outline};
use self::stream::walk_compressed;
use super::attributes::TimestampType;
use super::builder::{BatchBuilder, BuildError};
use super::codec::{Codec, Compression};
use super::cursor::Cursor;
use super::decompress::DecompressError;
use super::header::{BatchError, BatchHeader};
use super::record::{MalformedRecord, RecordIter};
use super::{Batch, HEADER, LOG_OVERHEAD, MAGIC};
use crate::model::{LeaderEpoch, Offset, Timestamp};

pub use self::refusal::{RecordIssue, RecordIssueKind, ValidationError};

/// Who appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOrigin {
    /// A Produce request of this version.
    Client { produce_version: i16 },
    /// A coordinator of this cluster: it may write control batches.
    Coordinator,
}

/// A topic's `compression.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TopicCompression {
    /// `producer`: whatever the producer chose.
    #[default]
    Producer,
    /// This codec, whatever the producer chose.
    Fixed(Compression),
}

/// Whether records may come without a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyRule {
    #[default]
    Optional,
    /// On compacted topics.
    Required,
}

/// The rules of a topic, and of who appends to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidationRules {
    pub origin: AppendOrigin,
    pub compression: TopicCompression,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`
    pub batch_bytes_max: usize,
    pub keys: KeyRule,
    /// How far a batch may expand. Kafka has no such bound; it costs time to check the records of
    /// a compressed batch, and memory to compress them anew.
    pub expanded_bytes_max: usize,
}

impl Default for ValidationRules {
    /// Kafka's defaults, for the newest Produce.
    fn default() -> Self {
        Self {
            origin: AppendOrigin::Client { produce_version: 13 },
            compression: TopicCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            batch_bytes_max: 1_048_588,
            keys: KeyRule::Optional,
            expanded_bytes_max: 256 << 20,
        }
    }
}

/// How the stored batch relates to the one that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// The same but for what the log gives: base offset and leader epoch.
    AsSent,
    /// The same records under a header with another timestamp type or greatest timestamp.
    HeaderChanged,
    /// Records encoded anew, under another codec or with dense offsets.
    Rebuilt,
}

/// A batch that may be stored, less the offset and the epoch that the log gives it.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    /// With `base_offset` and `leader_epoch` as sent; all else as it is to be stored.
    pub header: BatchHeader,
    /// What follows the header: a slice of the request unless it was rebuilt.
    pub payload: Bytes,
    pub stored: Stored,
}

impl ValidatedBatch {
    /// The header to write before the payload.
    #[must_use]
    pub fn head(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER] {
        self.header.assign(base_offset, leader_epoch)
    }

    /// Header and payload in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// How many records it has; at least one.
    #[must_use]
    pub const fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// The greatest timestamp. Kafka's time index pairs it with the batch's last offset.
    #[must_use]
    pub const fn max_timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    /// One contiguous copy of the batch as stored; for logs that are not written vectored.
    #[must_use]
    pub fn to_bytes(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(&self.head(base_offset, leader_epoch));
        out.extend_from_slice(&self.payload);
        Bytes::from(out)
    }
}

/// Checks the records of one partition of a Produce request, or of an internal append.
///
/// # Errors
/// The first rule that is broken, or all records that break one; see [`ValidationError::code`].
pub fn validate(
    records: &Bytes,
    rules: &ValidationRules,
    now: Timestamp,
) -> Result<ValidatedBatch, ValidationError> {
    let size = only_batch(records)?;
    let batch = records.slice(..size);
    // The magic is known to be 2; a batch below 61 bytes is Kafka's "smaller than the overhead".
    let header = BatchHeader::parse(&batch).map_err(|_| ValidationError::TooShort(size))?;
    check_header(&header, &batch, rules)?;
    let payload = batch.slice(HEADER..);
    let source = header.attributes.codec().ok_or(ValidationError::UnknownCodec)?;
    let target = match rules.compression {
        TopicCompression::Producer => source,
        TopicCompression::Fixed(compression) => compression.codec(),
    };
    let control = source == Codec::None && header.attributes.is_control();
    if source != target && !control {
        return rebuild(&header, &payload, rules, now);
    }
    let checked = match source {
        Codec::None => walk_plain(&header, &payload, rules, now)?,
        codec => walk_compressed(codec, &header, &payload, rules, now)?,
    };
    if source != Codec::None && !checked.dense {
        return Err(ValidationError::OffsetDeltas);
    }
    let mut stored = header;
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => checked.max_timestamp,
        TimestampType::LogAppendTime => now,
    };
    stored.set_max_timestamp(rules.timestamp_type, max_timestamp, &payload);
    let changed = if stored == header { Stored::AsSent } else { Stored::HeaderChanged };
    Ok(ValidatedBatch { header: stored, payload, stored: changed })
}

/// Finds the one batch that a Produce request may carry per partition; gives its size.
fn only_batch(records: &[u8]) -> Result<usize, ValidationError> {
    let size = frame(records)?.ok_or(ValidationError::NoBatch)?;
    let magic = records.get(LOG_OVERHEAD + 4).map(|&magic| magic as i8);
    if let Some(magic) = magic
        && magic != MAGIC
    {
        return Err(ValidationError::OldMagic(magic));
    }
    // Fewer bytes than a batch needs may follow, and are cut off.
    match frame(records.get(size..).unwrap_or_default())? {
        Some(_) => Err(ValidationError::SeveralBatches),
        None => Ok(size),
    }
}

/// The size of the batch at the start of `bytes`, `None` when it is not all there. These are the
/// checks of Kafka's `ByteBufferLogInputStream`, whose bound is that of magic 0.
fn frame(bytes: &[u8]) -> Result<Option<usize>, ValidationError> {
    const SMALLEST: i32 = 14;
    let Some(length) = bytes.get(8..LOG_OVERHEAD).and_then(|length| length.first_chunk::<4>())
    else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    if length < SMALLEST {
        return Err(ValidationError::BadLength(length));
    }
    let Some(&magic) = bytes.get(LOG_OVERHEAD + 4) else { return Ok(None) };
    if !(0..=MAGIC).contains(&(magic as i8)) {
        return Err(ValidationError::BadMagic(magic as i8));
    }
    let size = usize::try_from(length).map_or(usize::MAX, |length| length + LOG_OVERHEAD);
    Ok((size <= bytes.len()).then_some(size))
}

fn check_header(
    header: &BatchHeader,
    batch: &[u8],
    rules: &ValidationRules,
) -> Result<(), ValidationError> {
    let client = match rules.origin {
        AppendOrigin::Client { produce_version } => {
            if produce_version < 7 && header.attributes.codec() == Some(Codec::Zstd) {
                return Err(ValidationError::ZstdTooEarly { produce_version });
            }
            if header.base_offset != Offset::ZERO {
                return Err(ValidationError::BaseOffset(header.base_offset));
            }
            true
        }
        AppendOrigin::Coordinator => false,
    };
    if batch.len() > rules.batch_bytes_max {
        return Err(ValidationError::TooLarge { size: batch.len(), max: rules.batch_bytes_max });
    }
    Batch::parse(batch).and_then(|batch| batch.check_crc()).map_err(|error| match error {
        BatchError::Crc { stored, computed } => ValidationError::Crc { stored, computed },
        _ => ValidationError::TooShort(batch.len()),
    })?;
    if header.attributes.codec().is_none() {
        return Err(ValidationError::UnknownCodec);
    }
    // Kafka asks this of clients only; no coordinator of ours writes an empty batch either.
    let (count, last_delta) = (header.records_count, header.last_offset_delta);
    if last_delta < 0 || count <= 0 || i64::from(last_delta) + 1 != i64::from(count) {
        return Err(ValidationError::Count { count, last_offset_delta: last_delta });
    }
    if !client {
        return Ok(());
    }
    if header.attributes.is_control() {
        return Err(ValidationError::Control);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(ValidationError::Sequence(header.base_sequence));
    }
    Ok(())
}

/// What looking at every record found.
struct Checked {
    max_timestamp: Timestamp,
    /// Offset deltas are 0, 1, 2 and so on.
    dense: bool,
}

/// Judges records one by one and remembers what is wrong with them.
struct Checker<'r> {
    rules: &'r ValidationRules,
    now: Timestamp,
    base_timestamp: Timestamp,
    /// The batch's time, where the producer claims to be a broker.
    sent_append_time: Option<Timestamp>,
    index: i32,
    dense: bool,
    max_timestamp: Timestamp,
    issues: Vec<RecordIssue>,
    issues_count: usize,
}

impl<'r> Checker<'r> {
    /// Beyond these, records that break a rule are only counted: what a bad batch makes us keep
    /// must not be larger than the batch.
    const ISSUES_MAX: usize = 1_024;

    fn new(header: &BatchHeader, rules: &'r ValidationRules, now: Timestamp) -> Self {
        Self {
            rules,
            now,
            base_timestamp: header.base_timestamp,
            sent_append_time: match header.attributes.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(header.max_timestamp),
            },
            index: 0,
            dense: true,
            max_timestamp: Timestamp::NONE,
            issues: Vec::new(),
            issues_count: 0,
        }
    }

    #[inline]
    fn on_record(&mut self, record: &Outline) {
        let created = Timestamp(self.base_timestamp.0.wrapping_add(record.timestamp_delta));
        let timestamp = self.sent_append_time.unwrap_or(created);
        self.dense &= record.offset_delta == self.index;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if !record.has_key && self.rules.keys == KeyRule::Required {
            self.refuse(RecordIssueKind::NoKey);
        } else if self.rules.timestamp_type == TimestampType::CreateTime
            && timestamp != Timestamp::NONE
        {
            // Wrapping, as Kafka's: a time near the end of the type is out of bounds either way.
            let age = self.now.0.wrapping_sub(timestamp.0);
            if age > self.rules.timestamp_before_max_ms
                || age.wrapping_neg() > self.rules.timestamp_after_max_ms
            {
                self.refuse(RecordIssueKind::Timestamp {
                    timestamp,
                    earliest: self.now.0.wrapping_sub(self.rules.timestamp_before_max_ms),
                    latest: self.now.0.wrapping_add(self.rules.timestamp_after_max_ms),
                });
            }
        } else if self.sent_append_time.is_some() {
            self.refuse(RecordIssueKind::AppendTimeFromClient);
        }
        self.index = self.index.wrapping_add(1);
    }

    #[cold]
    fn refuse(&mut self, kind: RecordIssueKind) {
        self.issues_count += 1;
        if self.issues.len() < Self::ISSUES_MAX {
            self.issues.push(RecordIssue { index: self.index, kind });
        }
    }

    fn finish(self) -> Result<Checked, ValidationError> {
        if self.issues.is_empty() {
            return Ok(Checked { max_timestamp: self.max_timestamp, dense: self.dense });
        }
        Err(ValidationError::Records { issues: self.issues, count: self.issues_count })
    }
}

fn walk_plain(
    header: &BatchHeader,
    payload: &[u8],
    rules: &ValidationRules,
    now: Timestamp,
) -> Result<Checked, ValidationError> {
    let mut checker = Checker::new(header, rules, now);
    let mut cursor = Cursor::new(payload);
    for _ in 0..header.records_count {
        checker.on_record(&outline(&mut cursor)?);
    }
    if !cursor.rest().is_empty() {
        return Err(MalformedRecord::Trailing.into());
    }
    checker.finish()
}

/// Encodes the records anew with the codec of the topic and dense offsets.
fn rebuild(
    header: &BatchHeader,
    payload: &[u8],
    rules: &ValidationRules,
    now: Timestamp,
) -> Result<ValidatedBatch, ValidationError> {
    let source = header.attributes.codec().ok_or(ValidationError::UnknownCodec)?;
    let compression = match rules.compression {
        TopicCompression::Producer => source.into(),
        TopicCompression::Fixed(compression) => compression,
    };
    let expanded;
    let records = match source {
        Codec::None => payload,
        codec => {
            expanded = super::decompress::decompress(codec, payload, rules.expanded_bytes_max)?;
            &expanded[..]
        }
    };
    let mut checker = Checker::new(header, rules, now);
    let mut builder = BatchBuilder::new(compression).with_producer(
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    );
    if header.attributes.is_transactional() {
        builder = builder.with_transactional();
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.with_append_time(now);
    }
    for (index, record) in RecordIter::new(header, records).enumerate() {
        let record = record?;
        record.check_headers()?;
        checker.on_record(&Outline {
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
        });
        let delta = i32::try_from(index).map_err(|_| BuildError::TooLarge)?;
        builder.push_record(delta, &record)?;
    }
    checker.finish()?;
    let bytes = builder.build()?;
    if bytes.len() > rules.batch_bytes_max {
        return Err(ValidationError::TooLarge { size: bytes.len(), max: rules.batch_bytes_max });
    }
    let header = BatchHeader::parse(&bytes).map_err(|_| ValidationError::TooShort(bytes.len()))?;
    Ok(ValidatedBatch { header, payload: bytes.slice(HEADER..), stored: Stored::Rebuilt })
}
