//! Who takes part in which group.
//!
//! Owns: the ids of groups and of replicas. Never: addresses.

use std::fmt;

use ottla_protocol::model::{NodeId, PartitionId, Uuid};

/// A Raft group: one partition of one topic. The cluster's metadata is one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId {
    pub topic: Uuid,
    pub partition: PartitionId,
}

/// One replica of a group, by the node and the log directory that hold it.
///
/// The directory is part of the identity because a directory that comes back empty has forgotten its
/// votes and its log: it gets a new id when it is formatted, and so is another voter than the one that
/// was lost (Kafka's KIP-853 identifies voters the same way).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ReplicaId {
    pub node: NodeId,
    pub directory: Uuid,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.directory)
    }
}
