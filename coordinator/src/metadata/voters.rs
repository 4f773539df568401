//! Who may come to and leave the metadata quorum.
//!
//! Owns: the checks of AddRaftVoter and RemoveRaftVoter with Apache Kafka's codes (`AddVoterHandler`,
//! `RemoveVoterHandler`, KIP-853). Never: changes the voters (the metadata log's group does). Invariant: two
//! voters never share a node id, so that a disk that was emptied cannot vote beside its former self.

use std::collections::BTreeSet;
use std::fmt;

use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, Uuid, kafka_uuid_text};

/// The feature that lets voters change.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Its level from which they may.
const RECONFIGURABLE_FROM: i16 = 1;

/// A voter: a node, with the directory that holds its metadata log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VoterKey {
    pub node: NodeId,
    pub directory: Uuid,
}

impl fmt::Display for VoterKey {
    /// As Kafka's `ReplicaKey`, which people and tools know from its messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = kafka_uuid_text(self.directory);
        write!(f, "ReplicaKey(id={}, directoryId={directory})", self.node)
    }
}

impl VoterKey {
    fn is_valid(&self) -> bool {
        self.node.0 >= 0 && !self.directory.is_nil()
    }
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    pub cluster_id: String,
    pub voters: BTreeSet<VoterKey>,
    /// The finalized level of [`KRAFT_VERSION`].
    pub kraft_version: i16,
}

/// Why the voters stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoterError {
    #[error("The given id \"{given}\" doesn't match the cluster id \"{expected}\"")]
    ClusterId { given: String, expected: String },
    #[error("{0} voter request didn't include a valid voter")]
    InvalidVoter(Change),
    #[error("Add voter request didn't include the endpoint for the default listener {0}")]
    NoListener(String),
    #[error(
        "Cluster doesn't support {} voter because the {KRAFT_VERSION} feature is {level}",
        change.doing()
    )]
    NotSupported { change: Change, level: i16 },
    #[error("The voter id for {key} is already part of the set of voters {}.", set(voters))]
    Duplicate { key: VoterKey, voters: BTreeSet<VoterKey> },
    #[error("Cannot remove voter {key} from the set of voters {}", set(voters))]
    NotFound { key: VoterKey, voters: BTreeSet<VoterKey> },
    #[error(
        "Cannot remove voter {0}, the only one: a cluster without voters can decide nothing. Add \
         another one first"
    )]
    Last(VoterKey),
    #[error("Aborted add voter operation for {0} since it is lagging behind")]
    Lagging(VoterKey),
    #[error("Request timed out waiting for leader to handle previous voter change request")]
    Pending,
    #[error("Request timed out waiting for voters to commit the latest voter change")]
    NotCommitted,
}

/// What is to become of a voter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Add,
    Remove,
}

impl Change {
    const fn doing(self) -> &'static str {
        match self {
            Self::Add => "adding",
            Self::Remove => "removing",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "Add",
            Self::Remove => "Remove",
        })
    }
}

fn set(voters: &BTreeSet<VoterKey>) -> String {
    let keys: Vec<String> = voters.iter().map(ToString::to_string).collect();
    format!("[{}]", keys.join(", "))
}

impl VoterError {
    /// The code that clients get.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::ClusterId { .. } => ErrorCode::InconsistentClusterId,
            Self::InvalidVoter(_) | Self::NoListener(_) | Self::Last(_) => {
                ErrorCode::InvalidRequest
            }
            Self::NotSupported { .. } => ErrorCode::UnsupportedVersion,
            Self::Duplicate { .. } => ErrorCode::DuplicateVoter,
            Self::NotFound { .. } => ErrorCode::VoterNotFound,
            Self::Lagging(_) | Self::Pending | Self::NotCommitted => ErrorCode::RequestTimedOut,
        }
    }
}

impl Quorum {
    /// The voters once `key` is one, too. `listens` says whether it named the listener that controllers
    /// use among themselves.
    ///
    /// # Errors
    /// In the order in which Kafka checks.
    pub fn with(
        &self,
        key: VoterKey,
        cluster_id: Option<&str>,
        listener: Result<(), String>,
    ) -> Result<BTreeSet<VoterKey>, VoterError> {
        self.check(key, cluster_id, Change::Add)?;
        listener.map_err(VoterError::NoListener)?;
        self.check_version(Change::Add)?;
        if self.voters.iter().any(|voter| voter.node == key.node) {
            return Err(VoterError::Duplicate { key, voters: self.voters.clone() });
        }
        Ok(self.voters.iter().copied().chain([key]).collect())
    }

    /// The voters once `key` is none of them any more.
    ///
    /// # Errors
    /// As [`Self::with`]; and the last voter stays, for which Kafka has an unknown server error.
    pub fn without(
        &self,
        key: VoterKey,
        cluster_id: Option<&str>,
    ) -> Result<BTreeSet<VoterKey>, VoterError> {
        self.check(key, cluster_id, Change::Remove)?;
        self.check_version(Change::Remove)?;
        let mut left = self.voters.clone();
        if !left.remove(&key) {
            return Err(VoterError::NotFound { key, voters: left });
        }
        if left.is_empty() { Err(VoterError::Last(key)) } else { Ok(left) }
    }

    fn check(
        &self,
        key: VoterKey,
        cluster_id: Option<&str>,
        change: Change,
    ) -> Result<(), VoterError> {
        if let Some(given) = cluster_id.filter(|given| *given != self.cluster_id) {
            let (given, expected) = (given.to_owned(), self.cluster_id.clone());
            return Err(VoterError::ClusterId { given, expected });
        }
        if key.is_valid() { Ok(()) } else { Err(VoterError::InvalidVoter(change)) }
    }

    fn check_version(&self, change: Change) -> Result<(), VoterError> {
        let level = self.kraft_version;
        if level >= RECONFIGURABLE_FROM {
            return Ok(());
        }
        Err(VoterError::NotSupported { change, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(node: i32, directory: u128) -> VoterKey {
        VoterKey { node: NodeId(node), directory: Uuid::from_u128(directory) }
    }

    fn quorum(voters: &[VoterKey]) -> Quorum {
        let voters = voters.iter().copied().collect();
        Quorum { cluster_id: "c".to_owned(), voters, kraft_version: 1 }
    }

    fn code<T: fmt::Debug>(result: Result<T, VoterError>) -> ErrorCode {
        result.unwrap_err().code()
    }

    #[test]
    fn a_voter_comes_and_goes() {
        let two = quorum(&[key(1, 11), key(2, 12)]);
        let three = two.with(key(3, 13), Some("c"), Ok(())).unwrap();
        assert_eq!(three, BTreeSet::from([key(1, 11), key(2, 12), key(3, 13)]));
        assert_eq!(
            two.with(key(3, 13), None, Ok(())).unwrap(),
            three,
            "the cluster id may be left out"
        );
        let three = Quorum { voters: three, ..two.clone() };
        assert_eq!(three.without(key(3, 13), Some("c")).unwrap(), two.voters);
    }

    #[test]
    fn a_disk_that_was_emptied_is_a_voter_of_its_own_and_waits_for_its_former_self_to_go() {
        let two = quorum(&[key(1, 11), key(2, 12)]);
        let emptied = two.with(key(2, 99), None, Ok(())).unwrap_err();
        assert_eq!(emptied.code(), ErrorCode::DuplicateVoter);
        assert_eq!(
            emptied.to_string(),
            "The voter id for ReplicaKey(id=2, directoryId=AAAAAAAAAAAAAAAAAAAAYw) is already part of \
             the set of voters [ReplicaKey(id=1, directoryId=AAAAAAAAAAAAAAAAAAAACw), \
             ReplicaKey(id=2, directoryId=AAAAAAAAAAAAAAAAAAAADA)]."
        );
        assert_eq!(code(two.without(key(2, 99), None)), ErrorCode::VoterNotFound);
        assert_eq!(two.without(key(2, 12), None).unwrap(), BTreeSet::from([key(1, 11)]));
    }

    #[test]
    fn what_is_refused_has_kafkas_codes_in_kafkas_order() {
        let one = quorum(&[key(1, 11)]);
        let fixed = Quorum { kraft_version: 0, ..one.clone() };
        let listener = || Err("CONTROLLER".to_owned());
        assert_eq!(
            code(fixed.with(key(-1, 0), Some("x"), listener())),
            ErrorCode::InconsistentClusterId
        );
        for invalid in [key(-1, 5), key(2, 0)] {
            let added = fixed.with(invalid, None, listener());
            assert_eq!(added, Err(VoterError::InvalidVoter(Change::Add)));
            assert_eq!(code(one.without(invalid, None)), ErrorCode::InvalidRequest);
        }
        assert_eq!(code(fixed.with(key(1, 12), None, listener())), ErrorCode::InvalidRequest);
        assert_eq!(code(fixed.with(key(1, 12), None, Ok(()))), ErrorCode::UnsupportedVersion);
        assert_eq!(code(fixed.without(key(7, 7), None)), ErrorCode::UnsupportedVersion);
        assert_eq!(code(one.with(key(1, 12), None, Ok(()))), ErrorCode::DuplicateVoter);
        assert_eq!(one.without(key(1, 11), None), Err(VoterError::Last(key(1, 11))));
    }
}
