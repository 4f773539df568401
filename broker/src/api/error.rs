//! Domain errors to Kafka's error codes, in one place.
//!
//! Owns: [`KafkaError`] for every error of the crates below. Never: messages of single APIs.

use crate::topics::NoPartition;
use ottla_coordinator::group::GroupError;
use ottla_protocol::error_code::ErrorCode;
use ottla_replication::partition::PartitionError;
use ottla_replication::replicas::AlterDirectoryError;
use ottla_storage::{AppendError, LogError, ProducerError, ReadError};

/// An error that a client can be told.
pub(crate) trait KafkaError {
    fn code(&self) -> ErrorCode;
}

impl KafkaError for PartitionError {
    fn code(&self) -> ErrorCode {
        match self {
            // The client refreshes its metadata on this code and learns that the topic is gone.
            Self::Deleted(_) | Self::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
            Self::Offline(_) => ErrorCode::KafkaStorageError,
            Self::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Log(error) => error.code(),
        }
    }
}

impl KafkaError for NoPartition {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::UnknownTopicOrPartition,
            Self::Offline => ErrorCode::KafkaStorageError,
            Self::Elsewhere => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl KafkaError for AlterDirectoryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotALogDirectory(_) => ErrorCode::LogDirNotFound,
            Self::DirectoryOffline(_) | Self::PartitionOffline(_) => ErrorCode::KafkaStorageError,
            Self::NameTooLong => ErrorCode::InvalidTopicException,
            Self::NoReplica(_) => ErrorCode::ReplicaNotAvailable,
        }
    }
}

impl KafkaError for ProducerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::NotTransactional { .. } => ErrorCode::InvalidTxnState,
        }
    }
}

impl KafkaError for AppendError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.code(),
            Self::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::AppendTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::OffsetMismatch { .. } => ErrorCode::UnknownServerError,
            Self::Malformed { .. } => ErrorCode::CorruptMessage,
            Self::DiskFull(_) => ErrorCode::KafkaStorageError,
            Self::Log(error) => error.code(),
        }
    }
}

impl KafkaError for ReadError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            // What is damaged cannot be read from here; clients report this code as corruption.
            Self::Log(LogError::Damaged(_)) => ErrorCode::CorruptMessage,
            Self::Log(error) => error.code(),
        }
    }
}

impl KafkaError for LogError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TopicId { .. } => ErrorCode::InconsistentTopicId,
            Self::Io { .. } | Self::Damaged(_) | Self::Offline { .. } => {
                ErrorCode::KafkaStorageError
            }
        }
    }
}

impl KafkaError for GroupError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownMemberId => ErrorCode::UnknownMemberId,
            Self::MemberIdRequired => ErrorCode::MemberIdRequired,
            Self::FencedInstanceId => ErrorCode::FencedInstanceId,
            Self::IllegalGeneration => ErrorCode::IllegalGeneration,
            Self::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            Self::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
            Self::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
            Self::InvalidGroupId => ErrorCode::InvalidGroupId,
            Self::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            Self::GroupIdNotFound => ErrorCode::GroupIdNotFound,
            Self::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            Self::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
            Self::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            Self::UnstableOffsetCommit => ErrorCode::UnstableOffsetCommit,
            Self::InvalidRequest => ErrorCode::InvalidRequest,
            Self::NotCoordinator => ErrorCode::NotCoordinator,
            Self::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            Self::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            // As Kafka: there is no code for it that group clients understand.
            Self::RecordTooLarge => ErrorCode::UnknownServerError,
        }
    }
}
