//! ListOffsets up to v11 (KIP-1023), which kafka-protocol has up to v10.
//!
//! Owns: the top level of request and response. Never: differs on the wire from v10, as v11 only
//! gives timestamp -6 a meaning. Invariant: up to v10, kafka-protocol's own encoding.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages as kafka;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::list_offsets_request::ListOffsetsTopic;
use kafka_protocol::messages::list_offsets_response::ListOffsetsTopicResponse;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, VersionRange,
};

const VERSIONS: VersionRange = VersionRange { min: 1, max: 11 };

/// The version of kafka-protocol's that is the same on the wire. Versions that do not exist stay
/// as they are, for it to refuse.
const fn alias(version: i16) -> i16 {
    if version == 11 { 10 } else { version }
}

/// Asks for offsets by time.
#[derive(Clone, PartialEq, Debug)]
pub struct ListOffsetsRequest {
    /// -1 from a client, a broker's id from a follower.
    pub replica_id: BrokerId,
    /// 0 is read_uncommitted, 1 read_committed; since v2.
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    /// How long a broker may wait for tiered storage, in milliseconds; since v10.
    pub timeout_ms: i32,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

/// The offsets found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ListOffsetsResponse {
    /// Since v2.
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ListOffsetsRequest {
    #[must_use]
    pub fn with_replica_id(mut self, value: BrokerId) -> Self {
        self.replica_id = value;
        self
    }

    #[must_use]
    pub fn with_isolation_level(mut self, value: i8) -> Self {
        self.isolation_level = value;
        self
    }

    #[must_use]
    pub fn with_topics(mut self, value: Vec<ListOffsetsTopic>) -> Self {
        self.topics = value;
        self
    }

    #[must_use]
    pub fn with_timeout_ms(mut self, value: i32) -> Self {
        self.timeout_ms = value;
        self
    }

    fn as_kafka(&self) -> kafka::ListOffsetsRequest {
        kafka::ListOffsetsRequest::default()
            .with_replica_id(self.replica_id)
            .with_isolation_level(self.isolation_level)
            .with_topics(self.topics.clone())
            .with_timeout_ms(self.timeout_ms)
            .with_unknown_tagged_fields(self.unknown_tagged_fields.clone())
    }
}

impl Default for ListOffsetsRequest {
    fn default() -> Self {
        kafka::ListOffsetsRequest::default().into()
    }
}

impl From<kafka::ListOffsetsRequest> for ListOffsetsRequest {
    fn from(request: kafka::ListOffsetsRequest) -> Self {
        Self {
            replica_id: request.replica_id,
            isolation_level: request.isolation_level,
            topics: request.topics,
            timeout_ms: request.timeout_ms,
            unknown_tagged_fields: request.unknown_tagged_fields,
        }
    }
}

impl ListOffsetsResponse {
    #[must_use]
    pub fn with_throttle_time_ms(mut self, value: i32) -> Self {
        self.throttle_time_ms = value;
        self
    }

    #[must_use]
    pub fn with_topics(mut self, value: Vec<ListOffsetsTopicResponse>) -> Self {
        self.topics = value;
        self
    }

    fn as_kafka(&self) -> kafka::ListOffsetsResponse {
        kafka::ListOffsetsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_topics(self.topics.clone())
            .with_unknown_tagged_fields(self.unknown_tagged_fields.clone())
    }
}

impl From<kafka::ListOffsetsResponse> for ListOffsetsResponse {
    fn from(response: kafka::ListOffsetsResponse) -> Self {
        Self {
            throttle_time_ms: response.throttle_time_ms,
            topics: response.topics,
            unknown_tagged_fields: response.unknown_tagged_fields,
        }
    }
}

impl Encodable for ListOffsetsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        self.as_kafka().encode(buf, alias(version))
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        self.as_kafka().compute_size(alias(version))
    }
}

impl Decodable for ListOffsetsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        kafka::ListOffsetsRequest::decode(buf, alias(version)).map(Self::from)
    }
}

impl Encodable for ListOffsetsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        self.as_kafka().encode(buf, alias(version))
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        self.as_kafka().compute_size(alias(version))
    }
}

impl Decodable for ListOffsetsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        kafka::ListOffsetsResponse::decode(buf, alias(version)).map(Self::from)
    }
}

impl Message for ListOffsetsRequest {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Message for ListOffsetsResponse {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for ListOffsetsRequest {
    fn header_version(version: i16) -> i16 {
        kafka::ListOffsetsRequest::header_version(alias(version))
    }
}

impl HeaderVersion for ListOffsetsResponse {
    fn header_version(version: i16) -> i16 {
        kafka::ListOffsetsResponse::header_version(alias(version))
    }
}

impl Request for ListOffsetsRequest {
    const KEY: i16 = <kafka::ListOffsetsRequest as Request>::KEY;
    type Response = ListOffsetsResponse;
}
