//! What brokers ask of the active controller, beside the requests of clients.
//!
//! Owns: [`Order`] and [`Done`], their text on the wire (JSON: they are rare and small). Never: the
//! bytes of a link, or who asks. Registration and heartbeats are Kafka's BrokerRegistration and
//! BrokerHeartbeat.

use ottla_coordinator::metadata::BrokerRecord;
use serde::{Deserialize, Serialize};

/// What a broker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// A process started. Its epoch is decided by the controller.
    Register(BrokerRecord),
    /// A registered broker is there.
    Beat(Beat),
    /// A node wants to follow the metadata log.
    Follow(Follower),
    /// Topics that a client named are to be created with defaults.
    CreateMissing { names: Vec<String> },
    /// A block of producer ids.
    ProducerIds,
    /// A partition's group has its wanted replicas.
    Reassigned { topic: String, partition: i32, partition_epoch: i32 },
    /// Where replicas of the broker that says so are (AssignReplicasToDirs).
    AssignDirectories { replicas: Vec<Whereabouts> },
    /// An unclean election: the group of a partition begins anew with the replica of `leader`.
    FormAnew { topic: u128, partition: i32, partition_epoch: i32, leader: i32, epoch: i32 },
    /// Log directories of the broker that says so have failed (BrokerHeartbeat's `offlineLogDirs`).
    DirectoriesFailed { directories: Vec<u128> },
}

/// Where a replica is, and what it goes by: `coordinator::metadata::DirectoryAssignment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whereabouts {
    pub(crate) topic: u128,
    pub(crate) partition: i32,
    pub(crate) directory: u128,
    pub(crate) key: Option<u128>,
    pub(crate) formation: u32,
}

/// Kafka's BrokerHeartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) node: i32,
    pub(crate) epoch: i64,
    /// The offset up to which it has applied the metadata log.
    pub(crate) applied: i64,
    pub(crate) intent: Going,
}

/// What a broker is about to do: [`ottla_coordinator::metadata::Intent`] on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Going {
    On,
    /// It hands over what it leads, and then stops.
    Away,
    /// It leads no more.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follower {
    pub(crate) node: i32,
    pub(crate) directory: u128,
    pub(crate) address: String,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The metadata log's end that shows it.
    pub(crate) offset: i64,
    pub(crate) answer: OrderAnswer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderAnswer {
    Registered {
        epoch: i64,
    },
    Beaten {
        fenced: bool,
    },
    Created {
        failed: Vec<(String, i16)>,
    },
    ProducerIds {
        first: i64,
        count: i64,
    },
    Accepted,
    /// Kafka's code, with the cause and the cure.
    Refused {
        code: i16,
        message: String,
    },
}
