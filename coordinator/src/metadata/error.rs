//! Why the controller refuses a command, or a part of one.
//!
//! Owns: [`ControllerError`], its error code and the message clients see. Never: anything about
//! transport. Invariant: codes and messages are Apache Kafka 4.3's, because tools and people match
//! them; where Kafka sends no message, [`ControllerError::message`] is `None`.

use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, PartitionId, TopicName};

use super::placement::PlacementError;
use super::topic_name::InvalidTopicName;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    #[error(transparent)]
    InvalidTopicName(#[from] InvalidTopicName),
    #[error("Topic '{0}' already exists.")]
    TopicExists(String),
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    TopicCollides { name: String, existing: TopicName },
    #[error("Duplicate topic name.")]
    DuplicateTopicName,
    #[error("Duplicate topic id.")]
    DuplicateTopicId,
    #[error("Creation of internal topic __cluster_metadata is prohibited.")]
    ClusterMetadataIsNoTopic,
    #[error(
        "A manual partition assignment was specified, but replication factor was not set to -1."
    )]
    AssignmentAndReplicationFactor,
    #[error("A manual partition assignment was specified, but numPartitions was not set to -1.")]
    AssignmentAndPartitions,
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    ReplicationFactorNotPositive,
    #[error("Number of partitions was set to an invalid non-positive value.")]
    PartitionsNotPositive,
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
    #[error("Unable to perform excessively large batch operation.")]
    BatchTooLarge,
    #[error("Found multiple manual partition assignments for partition {0}")]
    AssignedTwice(PartitionId),
    #[error("partitions should be a consecutive 0-based integer sequence")]
    AssignmentNotConsecutive,
    #[error("The manual partition assignment includes an empty replica list.")]
    NoReplicas,
    #[error(
        "The manual partition assignment includes broker {0}, but no such broker is registered."
    )]
    BrokerNotRegistered(NodeId),
    #[error("The manual partition assignment includes the broker {0} more than once.")]
    BrokerTwice(NodeId),
    #[error(
        "The manual partition assignment includes a partition with {found} replica(s), but this is not consistent with previous partitions, which have {before} replica(s)."
    )]
    InconsistentReplicas { found: usize, before: usize },
    #[error(
        "All brokers specified in the manual partition assignment for partition {0} are fenced or in controlled shutdown."
    )]
    AssignedBrokersFenced(PartitionId),
    #[error("Unable to replicate the partition {factor} time(s): {cause}")]
    CannotReplicate { factor: i16, cause: PlacementError },
    #[error(
        "Unable to replicate the partition {0} time(s): All brokers are currently fenced or in controlled shutdown."
    )]
    ReplicasFenced(i16),
    #[error("Neither topic name nor id were specified.")]
    NeitherNameNorId,
    #[error("You may not specify both topic name and topic id.")]
    NameAndId,
    #[error("The provided topic name maps to an ID that was already supplied.")]
    NameOfSuppliedId,
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// As [`UnknownTopic`](Self::UnknownTopic), where Kafka sends no message.
    #[error("")]
    UnknownTopicSilent,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error("Topic deletion is disabled.")]
    TopicDeletionDisabled,
    #[error("Topic already has {0} partition(s).")]
    PartitionsUnchanged(usize),
    #[error(
        "The topic {name} currently has {partitions} partition(s); {count} would not be an increase."
    )]
    PartitionsNotIncreased { name: String, partitions: usize, count: i32 },
    #[error(
        "Attempted to add {additional} additional partition(s), but only {assignments} assignment(s) were specified."
    )]
    AssignmentCount { additional: usize, assignments: usize },
    /// Kafka meets its own limit here without a sentence for it.
    #[error("")]
    UnexpectedlyLarge,
    #[error(transparent)]
    Placement(PlacementError),

    #[error("No such topic as {0}")]
    NoSuchTopic(String),
    #[error("No such partition as {0}-{1}")]
    NoSuchPartition(String, PartitionId),
    #[error("Leader election not needed for topic partition.")]
    ElectionNotNeeded,
    #[error("The preferred leader was not available.")]
    PreferredLeaderNotAvailable,
    #[error("Eligible topic partition leaders are not available.")]
    EligibleLeadersNotAvailable,
    #[error("Unknown election type {0}")]
    UnknownElectionType(i8),
    #[error("Unable to find a topic named {0}.")]
    ReassignedTopicUnknown(String),
    #[error("Unable to find partition {0}:{1}.")]
    ReassignedPartitionUnknown(String, PartitionId),
    #[error("")]
    NoReassignmentInProgress,
    #[error(
        "The replication factor is changed from {from} to {to} but AllowReplicationFactorChange is set to false"
    )]
    ReplicationFactorChanged { from: usize, to: usize },
    #[error(
        "Unable to revert partition assignment for {0}:{1} because it would require an unclean leader election."
    )]
    RevertIsUnclean(String, PartitionId),

    /// A config value or name is refused, with the sentence of its rule.
    #[error("{0}")]
    InvalidConfig(String),
    /// A config request is refused, with the sentence of its rule.
    #[error("{0}")]
    InvalidRequest(String),
    /// A config request that Kafka fails on without a sentence.
    #[error("")]
    Unexpected,
    #[error("The topic '{0}' does not exist.")]
    ConfiguredTopicUnknown(String),
    #[error("No broker with id {0} found.")]
    ConfiguredBrokerUnknown(NodeId),

    #[error(
        "The update failed for all features since the following feature had an error: Invalid update version {level} for feature {feature}. {cause}"
    )]
    InvalidUpdateVersion { feature: String, level: i16, cause: String },
    #[error("The update failed for all features since the following feature had an error: {0}")]
    InvalidMetadataVersion(String),

    #[error("Broker ID {0} is not currently registered")]
    BrokerIdNotRegistered(NodeId),
    #[error("Expected broker epoch {expected}, but got broker epoch {found}.")]
    StaleBrokerEpoch { expected: i64, found: i64 },
    #[error(
        "Another broker is registered with that broker id: if it is gone for good, wait until it is fenced, and if not, give this one another node.id."
    )]
    DuplicateBrokerRegistration,
}

impl ControllerError {
    /// What the client is told in numbers.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidTopicName(_) | Self::TopicCollides { .. } => {
                ErrorCode::InvalidTopicException
            }
            Self::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            Self::DuplicateTopicName
            | Self::DuplicateTopicId
            | Self::ClusterMetadataIsNoTopic
            | Self::AssignmentAndReplicationFactor
            | Self::AssignmentAndPartitions
            | Self::NeitherNameNorId
            | Self::NameAndId
            | Self::NameOfSuppliedId
            | Self::UnknownElectionType(_)
            | Self::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Self::ReplicationFactorNotPositive
            | Self::CannotReplicate { .. }
            | Self::ReplicasFenced(_)
            | Self::ReplicationFactorChanged { .. }
            | Self::Placement(_) => ErrorCode::InvalidReplicationFactor,
            Self::PartitionsNotPositive
            | Self::PartitionsUnchanged(_)
            | Self::PartitionsNotIncreased { .. } => ErrorCode::InvalidPartitions,
            Self::TooManyPartitions | Self::BatchTooLarge => ErrorCode::PolicyViolation,
            Self::AssignedTwice(_)
            | Self::AssignmentNotConsecutive
            | Self::NoReplicas
            | Self::BrokerNotRegistered(_)
            | Self::BrokerTwice(_)
            | Self::InconsistentReplicas { .. }
            | Self::AssignedBrokersFenced(_)
            | Self::AssignmentCount { .. }
            | Self::RevertIsUnclean(..) => ErrorCode::InvalidReplicaAssignment,
            Self::UnknownTopic
            | Self::UnknownTopicSilent
            | Self::NoSuchTopic(_)
            | Self::NoSuchPartition(..)
            | Self::ReassignedTopicUnknown(_)
            | Self::ReassignedPartitionUnknown(..)
            | Self::ConfiguredTopicUnknown(_) => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownTopicId => ErrorCode::UnknownTopicId,
            Self::TopicDeletionDisabled => ErrorCode::TopicDeletionDisabled,
            Self::ElectionNotNeeded => ErrorCode::ElectionNotNeeded,
            Self::PreferredLeaderNotAvailable => ErrorCode::PreferredLeaderNotAvailable,
            Self::EligibleLeadersNotAvailable => ErrorCode::EligibleLeadersNotAvailable,
            Self::NoReassignmentInProgress => ErrorCode::NoReassignmentInProgress,
            Self::InvalidConfig(_) => ErrorCode::InvalidConfig,
            Self::UnexpectedlyLarge | Self::Unexpected => ErrorCode::UnknownServerError,
            Self::InvalidUpdateVersion { .. } | Self::InvalidMetadataVersion(_) => {
                ErrorCode::InvalidUpdateVersion
            }
            Self::BrokerIdNotRegistered(_) | Self::ConfiguredBrokerUnknown(_) => {
                ErrorCode::BrokerIdNotRegistered
            }
            Self::StaleBrokerEpoch { .. } => ErrorCode::StaleBrokerEpoch,
            Self::DuplicateBrokerRegistration => ErrorCode::DuplicateBrokerRegistration,
        }
    }

    /// What the client is told in words; `None` where Kafka says nothing.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let message = self.to_string();
        (!message.is_empty()).then_some(message)
    }
}
