//! The error codes of Kafka's protocol, as Kafka 4.3 knows them.
//!
//! Owns: every code with its wire name, whether a client may retry, whether it must refresh its
//! metadata first, and a sentence for people. Never: maps a domain error to a code (that is the
//! broker's `api/error.rs`). Invariant: the table is indexed by code, which the compiler checks.

mod table;

use std::fmt;

/// An error code of the wire. The numbers are Kafka's and never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(i16)]
pub enum ErrorCode {
    UnknownServerError = -1,
    #[default]
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    InvalidFetchSize = 4,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    BrokerNotAvailable = 8,
    ReplicaNotAvailable = 9,
    MessageTooLarge = 10,
    StaleControllerEpoch = 11,
    OffsetMetadataTooLarge = 12,
    NetworkException = 13,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    RecordListTooLarge = 18,
    NotEnoughReplicas = 19,
    NotEnoughReplicasAfterAppend = 20,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    TopicAuthorizationFailed = 29,
    GroupAuthorizationFailed = 30,
    ClusterAuthorizationFailed = 31,
    InvalidTimestamp = 32,
    UnsupportedSaslMechanism = 33,
    IllegalSaslState = 34,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    OperationNotAttempted = 55,
    KafkaStorageError = 56,
    LogDirNotFound = 57,
    SaslAuthenticationFailed = 58,
    UnknownProducerId = 59,
    ReassignmentInProgress = 60,
    DelegationTokenAuthDisabled = 61,
    DelegationTokenNotFound = 62,
    DelegationTokenOwnerMismatch = 63,
    DelegationTokenRequestNotAllowed = 64,
    DelegationTokenAuthorizationFailed = 65,
    DelegationTokenExpired = 66,
    InvalidPrincipalType = 67,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    ListenerNotFound = 72,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    StaleBrokerEpoch = 77,
    OffsetNotAvailable = 78,
    MemberIdRequired = 79,
    PreferredLeaderNotAvailable = 80,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    EligibleLeadersNotAvailable = 83,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ProducerFenced = 90,
    ResourceNotFound = 91,
    DuplicateResource = 92,
    UnacceptableCredential = 93,
    InconsistentVoterSet = 94,
    InvalidUpdateVersion = 95,
    FeatureUpdateFailed = 96,
    PrincipalDeserializationFailure = 97,
    SnapshotNotFound = 98,
    PositionOutOfRange = 99,
    UnknownTopicId = 100,
    DuplicateBrokerRegistration = 101,
    BrokerIdNotRegistered = 102,
    InconsistentTopicId = 103,
    InconsistentClusterId = 104,
    TransactionalIdNotFound = 105,
    FetchSessionTopicIdError = 106,
    IneligibleReplica = 107,
    NewLeaderElected = 108,
    OffsetMovedToTieredStorage = 109,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
    UnknownControllerId = 116,
    UnknownSubscriptionId = 117,
    TelemetryTooLarge = 118,
    InvalidRegistration = 119,
    TransactionAbortable = 120,
    InvalidRecordState = 121,
    ShareSessionNotFound = 122,
    InvalidShareSessionEpoch = 123,
    FencedStateEpoch = 124,
    InvalidVoterKey = 125,
    DuplicateVoter = 126,
    VoterNotFound = 127,
    InvalidRegularExpression = 128,
    RebootstrapRequired = 129,
    StreamsInvalidTopology = 130,
    StreamsInvalidTopologyEpoch = 131,
    StreamsTopologyFenced = 132,
    ShareSessionLimitReached = 133,
}

/// What a client does with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recovery {
    /// The same request fails again.
    Final,
    /// The same request may succeed later.
    Retry,
    /// As `Retry`, once the client has refreshed its metadata.
    Refresh,
}

impl ErrorCode {
    /// How many codes there are.
    pub const COUNT: usize = table::ROWS.len();

    /// The code of a number on the wire. Numbers from a newer Kafka become
    /// [`ErrorCode::UnknownServerError`], as Kafka's own `Errors.forCode` has it.
    #[must_use]
    pub const fn from_code(code: i16) -> Self {
        match Self::known(code) {
            Some(known) => known,
            None => Self::UnknownServerError,
        }
    }

    /// The code of a number on the wire, `None` for a number this version does not know.
    #[must_use]
    pub const fn known(code: i16) -> Option<Self> {
        let index = code.wrapping_add(1);
        if index < 0 || index as usize >= Self::COUNT {
            return None;
        }
        Some(table::ROWS[index as usize].0)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `NOT_LEADER_OR_FOLLOWER`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().2
    }

    /// A sentence for people; answers with a message field carry it when there is no better one.
    #[must_use]
    pub const fn message(self) -> &'static str {
        self.row().3
    }

    /// Whether a client may send the same request again and hope.
    #[must_use]
    pub const fn retriable(self) -> bool {
        !matches!(self.row().1, Recovery::Final)
    }

    /// Whether a client refreshes its metadata before it tries again.
    #[must_use]
    pub const fn refreshes_metadata(self) -> bool {
        matches!(self.row().1, Recovery::Refresh)
    }

    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// Every code, in the order of the numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ROWS.iter().map(|row| row.0)
    }

    const fn row(self) -> &'static table::Row {
        &table::ROWS[(self as i16 + 1) as usize]
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_finds_its_code() {
        for code in ErrorCode::all() {
            assert_eq!(ErrorCode::from_code(code.code()), code);
            assert!(!code.message().is_empty());
        }
        assert_eq!(ErrorCode::COUNT, 135);
    }

    #[test]
    fn unknown_numbers_fall_back() {
        for number in [i16::MIN, -2, 134, i16::MAX] {
            assert_eq!(ErrorCode::known(number), None);
            assert_eq!(ErrorCode::from_code(number), ErrorCode::UnknownServerError);
        }
    }

    #[test]
    fn flags_are_kafkas() {
        assert!(ErrorCode::NotLeaderOrFollower.refreshes_metadata());
        assert!(ErrorCode::CorruptMessage.retriable());
        assert!(!ErrorCode::CorruptMessage.refreshes_metadata());
        assert!(!ErrorCode::UnknownServerError.retriable());
        assert_eq!(ErrorCode::all().filter(|code| code.retriable()).count(), RETRIABLE);
        assert_eq!(ErrorCode::all().filter(|code| code.refreshes_metadata()).count(), REFRESHING);
    }

    /// Counted in what a Kafka 4.3.1 says of its own codes.
    const RETRIABLE: usize = 32;
    const REFRESHING: usize = 15;
}
