//! The records of the metadata log: what was decided, in the order it was decided.
//!
//! Owns: [`MetadataRecord`], its text on disk (one JSON object per record value, `v` first) and its
//! bounds. Never: decides anything, or knows where the bytes are kept. Invariants: `decode` is total,
//! refuses what a newer version wrote, and `decode(encode(r)) == r`; numbers are Kafka's.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, NodeId, PartitionId, ProducerId, TopicName, Uuid};
use serde::{Deserialize, Serialize};

use super::text;

/// The version this code writes, and the newest it reads.
pub const RECORD_VERSION: u32 = 1;

/// The longest record value that is read or written, in bytes. A config value of a megabyte is far
/// above anything Kafka's clients send; a registration with thousands of endpoints as well.
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// One decided fact. Applying all records of the log in order gives the
/// [`MetadataImage`](super::MetadataImage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MetadataRecord {
    /// Everything before is forgotten: the records after this one, of the same batch, are all there
    /// is. It lets the log begin here.
    Snapshot,
    /// The cluster's identity, first of every log.
    Cluster { id: String },
    /// A new topic without partitions yet.
    Topic {
        #[serde(with = "text::topic")]
        name: TopicName,
        #[serde(with = "text")]
        id: Uuid,
    },
    /// A new partition of a topic; partitions of a topic are added densely from 0.
    Partition {
        #[serde(with = "text")]
        topic_id: Uuid,
        #[serde(with = "text")]
        partition: PartitionId,
        #[serde(with = "text")]
        replicas: Vec<NodeId>,
        #[serde(with = "text")]
        directories: Vec<Uuid>,
        #[serde(with = "text")]
        isr: Vec<NodeId>,
        #[serde(with = "text")]
        leader: NodeId,
        #[serde(with = "text")]
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        /// Not empty only in a snapshot, for a partition that is being reassigned.
        #[serde(with = "text", default, skip_serializing_if = "Vec::is_empty")]
        adding: Vec<NodeId>,
        #[serde(with = "text", default, skip_serializing_if = "Vec::is_empty")]
        removing: Vec<NodeId>,
        /// The same, for one whose replicas do not all go by their directories' ids.
        #[serde(with = "text", default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Uuid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        formation: Option<Formation>,
        /// Only in a snapshot, for one whose replicas changed since it was made: those of the beginning, and
        /// their directories.
        #[serde(with = "text", default, skip_serializing_if = "Vec::is_empty")]
        founders: Vec<NodeId>,
        #[serde(with = "text", default, skip_serializing_if = "Vec::is_empty")]
        founded_in: Vec<Uuid>,
    },
    /// What changed of a partition; the partition epoch grows by one with each.
    PartitionChange(PartitionChange),
    /// The topic with its partitions and its configs is gone.
    TopicRemoved {
        #[serde(with = "text")]
        id: Uuid,
    },
    /// One dynamic config; no value takes it away.
    Config { resource: ResourceType, name: String, key: String, value: Option<String> },
    /// A broker came with these properties and is fenced until it is told otherwise.
    Broker(BrokerRecord),
    /// A registered broker may lead partitions or not.
    BrokerState {
        #[serde(with = "text")]
        id: NodeId,
        epoch: i64,
        fenced: bool,
        in_controlled_shutdown: bool,
    },
    /// The log directories of a registered broker that are in use now.
    BrokerDirectories {
        #[serde(with = "text")]
        id: NodeId,
        #[serde(with = "text")]
        directories: Vec<Uuid>,
    },
    /// The broker was taken out of the cluster.
    BrokerRemoved {
        #[serde(with = "text")]
        id: NodeId,
    },
    /// Producer ids below this one have been given to brokers in blocks.
    ProducerIds {
        #[serde(with = "text")]
        next: ProducerId,
    },
    /// The finalized level of a feature; 0 takes it away.
    Feature { name: String, level: i16 },
}

/// What changed of one partition. Fields that are `None` stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionChange {
    #[serde(with = "text")]
    pub topic_id: Uuid,
    #[serde(with = "text")]
    pub partition: PartitionId,
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<NodeId>>,
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<Vec<Uuid>>,
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub isr: Option<Vec<NodeId>>,
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub adding: Option<Vec<NodeId>>,
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub removing: Option<Vec<NodeId>>,
    /// A new leader, or the same one in a new epoch: the leader epoch grows whenever this is set.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// What replicas go by, in their order; nil for one that goes by its directory's id.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<Uuid>>,
    /// The group is formed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formation: Option<Formation>,
}

impl PartitionChange {
    /// A change of nothing yet.
    #[must_use]
    pub fn of(topic_id: Uuid, partition: PartitionId) -> Self {
        Self {
            topic_id,
            partition,
            replicas: None,
            directories: None,
            isr: None,
            adding: None,
            removing: None,
            leader: None,
            keys: None,
            formation: None,
        }
    }

    /// Whether applying this would change nothing but the epoch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::of(self.topic_id, self.partition)
    }
}

/// A group that was formed anew from one replica, because a majority of the former one was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Formation {
    /// Counts the formations of the partition, from 1.
    pub number: u32,
    /// The node whose replica it began with.
    #[serde(with = "text")]
    pub leader: NodeId,
    /// No leader before had a later epoch, as far as was known.
    #[serde(with = "text")]
    pub epoch: LeaderEpoch,
}

/// What a broker says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRecord {
    #[serde(with = "text")]
    pub id: NodeId,
    /// Grows with every registration; commands of an older incarnation are refused by it.
    pub epoch: i64,
    /// A random id of this start of the process.
    #[serde(with = "text")]
    pub incarnation: Uuid,
    pub rack: Option<String>,
    pub endpoints: Vec<Endpoint>,
    /// Supported (least, greatest) level by feature.
    pub features: BTreeMap<String, (i16, i16)>,
    /// Ids of its log directories.
    #[serde(with = "text")]
    pub directories: Vec<Uuid>,
}

/// One advertised listener of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
    /// As `listener.security.protocol.map` names it, such as `PLAINTEXT`.
    pub protocol: String,
}

/// What a config belongs to. The numbers are those of the wire (`ConfigResource.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceType {
    Topic,
    /// A broker by its id, or every broker where the name is empty.
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ResourceType {
    /// Every type, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];

    #[must_use]
    pub const fn id(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    #[must_use]
    pub fn from_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }
}

/// Why bytes are not a metadata record, or a record has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(
        "a metadata record of {bytes} bytes is longer than the {RECORD_BYTES_MAX} allowed: the log \
         is damaged, or was not written by this program"
    )]
    TooLong { bytes: usize },
    #[error(
        "a metadata record has version {found} and this program reads up to {RECORD_VERSION}: \
         start the version of ottla that wrote it, or a newer one"
    )]
    NewerVersion { found: u32 },
    #[error("a metadata record is not readable ({cause}): the log is damaged")]
    Malformed { cause: String },
}

#[derive(Serialize)]
struct VersionedRef<'a> {
    v: u32,
    #[serde(flatten)]
    record: &'a MetadataRecord,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl MetadataRecord {
    /// The record value.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for a value that could not be read back.
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        let text = serde_json::to_vec(&VersionedRef { v: RECORD_VERSION, record: self })
            .map_err(|e| RecordError::Malformed { cause: e.to_string() })?;
        if text.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong { bytes: text.len() });
        }
        Ok(text.into())
    }

    /// Reads what [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// For anything else; never panics, and allocates no more than a small multiple of the input.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong { bytes: value.len() });
        }
        let malformed = |e: serde_json::Error| RecordError::Malformed { cause: e.to_string() };
        let Version { v } = serde_json::from_slice(value).map_err(malformed)?;
        if v > RECORD_VERSION {
            return Err(RecordError::NewerVersion { found: v });
        }
        let mut object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(value).map_err(malformed)?;
        object.remove("v");
        serde_json::from_value(serde_json::Value::Object(object)).map_err(malformed)
    }
}

#[cfg(test)]
mod tests;
