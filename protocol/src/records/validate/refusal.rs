//! Why a batch is refused.
//!
//! Owns: the errors of validation, their codes, their words. Never: validates.
//! Invariant: each error has the code that Kafka 4.3 answers.

use crate::error_code::ErrorCode;
use crate::model::{Offset, Timestamp};
use crate::records::Codec;
use crate::records::builder::BuildError;
use crate::records::decompress::DecompressError;
use crate::records::record::MalformedRecord;

/// Why a batch may not be stored. The display text is fit for `error_message` of an answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValidationError {
    #[error("there is no whole record batch in the records of the partition")]
    NoBatch,
    #[error("there is more than one record batch for the partition")]
    SeveralBatches,
    #[error("message format {0} is not supported: write record batches of magic 2")]
    OldMagic(i8),
    #[error("magic {0} does not exist")]
    BadMagic(i8),
    #[error("a batch length of {0} is too small")]
    BadLength(i32),
    #[error("a batch of {0} bytes is smaller than its own header")]
    TooShort(usize),
    #[error("the batch is damaged: its CRC is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("the batch has {size} bytes and max.message.bytes is {max}")]
    TooLarge { size: usize, max: usize },
    #[error("the batch expands to more than {max} bytes; send smaller batches")]
    ExpandsTooFar { max: usize },
    #[error("zstd needs Produce v7 or later, not v{produce_version}")]
    ZstdTooEarly { produce_version: i16 },
    #[error("the batch names a compression codec that does not exist")]
    UnknownCodec,
    #[error("the {codec} data of the batch is damaged: {reason}")]
    Undecompressable { codec: Codec, reason: String },
    #[error("the records cannot be compressed for the topic: {0}")]
    Uncompressable(String),
    #[error("a producer's batch begins at offset 0, not {0}")]
    BaseOffset(Offset),
    #[error("a last offset delta of {last_offset_delta} does not go with {count} records")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("the offset deltas of a compressed batch must be 0, 1, 2 and so on")]
    OffsetDeltas,
    #[error("producers may not write control batches")]
    Control,
    #[error("a producer with an id numbers its batches from 0, not {0}")]
    Sequence(i32),
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// Records that break a rule of the topic; at most 1,024 of the `count` are listed.
    #[error("{count} of the records were refused; the first: {}", first(issues))]
    Records { issues: Vec<RecordIssue>, count: usize },
}

/// One refused record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordIssue {
    /// Of the record in its batch, for `batch_index` of the answer (Produce v8, KIP-467).
    pub index: i32,
    pub kind: RecordIssueKind,
}

/// What is wrong with a record. The display text is fit for `batch_index_error_message`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordIssueKind {
    #[error("the topic is compacted and the record has no key")]
    NoKey,
    #[error("timestamp {timestamp} is outside the topic's bounds, {earliest} to {latest}")]
    Timestamp { timestamp: Timestamp, earliest: i64, latest: i64 },
    #[error("only brokers set the timestamp type LogAppendTime")]
    AppendTimeFromClient,
}

fn first(issues: &[RecordIssue]) -> RecordIssueKind {
    // `Records` is only made with at least one.
    issues.first().map_or(RecordIssueKind::NoKey, |issue| issue.kind)
}

impl ValidationError {
    /// The code for the partition's answer.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadMagic(_) | Self::BadLength(_) | Self::TooShort(_) | Self::Crc { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::TooLarge { .. } | Self::ExpandsTooFar { .. } => ErrorCode::MessageTooLarge,
            Self::ZstdTooEarly { .. } => ErrorCode::UnsupportedCompressionType,
            // Kafka lets these escape as an unforeseen failure.
            Self::UnknownCodec | Self::Undecompressable { .. } | Self::Uncompressable(_) => {
                ErrorCode::UnknownServerError
            }
            Self::Records { issues, .. }
                if issues.iter().any(|issue| issue.kind != RecordIssueKind::NoKey) =>
            {
                ErrorCode::InvalidTimestamp
            }
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::OffsetDeltas
            | Self::Control
            | Self::Sequence(_)
            | Self::Malformed(_)
            | Self::Records { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The records to name one by one in the answer; empty unless records broke a topic's rule.
    #[must_use]
    pub fn issues(&self) -> &[RecordIssue] {
        match self {
            Self::Records { issues, .. } => issues,
            _ => &[],
        }
    }
}

impl From<DecompressError> for ValidationError {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::UnknownCodec => Self::UnknownCodec,
            DecompressError::TooLarge { bytes_max } => Self::ExpandsTooFar { max: bytes_max },
            DecompressError::Damaged { codec, reason } => Self::Undecompressable { codec, reason },
        }
    }
}

impl From<BuildError> for ValidationError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TooLarge => {
                Self::TooLarge { size: i32::MAX as usize, max: i32::MAX as usize }
            }
            BuildError::Compress(reason) => Self::Uncompressable(reason),
        }
    }
}
