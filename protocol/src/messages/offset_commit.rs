//! OffsetCommit requests up to v10, which kafka-protocol reads up to v9 (its responses are complete).
//!
//! Owns: version 10, in which topics go by id instead of name (KIP-848). Never: another version's
//! encoding. Invariant: up to v9, kafka-protocol's own.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use bytes::BytesMut;
use kafka_protocol::messages as kafka;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, VersionRange,
};

use super::wire::{
    get_array, get_array_len, get_items, get_nullable_string, get_string, get_tags, get_uuid,
    put_array, put_len, put_nullable_string, put_string, put_tags,
};

const VERSIONS: VersionRange = VersionRange { min: 2, max: 10 };
/// kafka-protocol's last version; parts that did not change since are its.
const KAFKA_PROTOCOL: i16 = 9;

/// Commits offsets of a group.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetCommitRequest(pub kafka::OffsetCommitRequest);

impl Deref for OffsetCommitRequest {
    type Target = kafka::OffsetCommitRequest;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for OffsetCommitRequest {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl From<kafka::OffsetCommitRequest> for OffsetCommitRequest {
    fn from(request: kafka::OffsetCommitRequest) -> Self {
        Self(request)
    }
}

impl Encodable for OffsetCommitRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        if version != 10 {
            return self.0.encode(buf, version);
        }
        put_string(buf, &self.group_id.0)?;
        buf.put_i32(self.generation_id_or_member_epoch);
        put_string(buf, &self.member_id)?;
        put_nullable_string(buf, self.group_instance_id.as_deref())?;
        put_len(buf, self.topics.len())?;
        for topic in &self.topics {
            buf.put_slice(topic.topic_id.as_bytes());
            put_array(buf, &topic.partitions, KAFKA_PROTOCOL)?;
            put_tags(buf, &topic.unknown_tagged_fields)?;
        }
        put_tags(buf, &self.unknown_tagged_fields)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut out = BytesMut::new();
        self.encode(&mut out, version)?;
        Ok(out.len())
    }
}

impl Decodable for OffsetCommitRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        if version != 10 {
            return kafka::OffsetCommitRequest::decode(buf, version).map(Self);
        }
        let mut request = kafka::OffsetCommitRequest::default()
            .with_group_id(get_string(buf)?.into())
            .with_generation_id_or_member_epoch(buf.try_get_i32()?)
            .with_member_id(get_string(buf)?)
            .with_group_instance_id(get_nullable_string(buf)?);
        let topics = get_array_len(buf)?;
        request.topics = get_items(buf, topics, |buf| {
            Ok(OffsetCommitRequestTopic::default()
                .with_topic_id(get_uuid(buf)?)
                .with_partitions(get_array(buf, KAFKA_PROTOCOL)?)
                .with_unknown_tagged_fields(get_tags(buf)?))
        })?;
        request.unknown_tagged_fields = get_tags(buf)?;
        Ok(Self(request))
    }
}

impl Message for OffsetCommitRequest {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for OffsetCommitRequest {
    fn header_version(version: i16) -> i16 {
        // Version 10 is flexible, as version 9 is.
        kafka::OffsetCommitRequest::header_version(version)
    }
}

impl Request for OffsetCommitRequest {
    const KEY: i16 = <kafka::OffsetCommitRequest as Request>::KEY;
    type Response = kafka::OffsetCommitResponse;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::decode_request;

    use crate::messages::offset_commit_request::OffsetCommitRequestPartition;
    use crate::model::Uuid;

    #[test]
    fn version_10_names_topics_by_id() {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(3)
            .with_committed_offset(42)
            .with_committed_leader_epoch(7);
        let topic = OffsetCommitRequestTopic::default()
            .with_topic_id(Uuid::from_u128(5))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest(
            kafka::OffsetCommitRequest::default()
                .with_group_id(kafka_protocol::protocol::StrBytes::from_static_str("g").into())
                .with_generation_id_or_member_epoch(2)
                .with_topics(vec![topic]),
        );
        let mut wire = BytesMut::new();
        request.encode(&mut wire, 10).expect("encodes");
        let mut expected = vec![2, b'g', 0, 0, 0, 2, 1, 0, 2];
        expected.extend(Uuid::from_u128(5).as_bytes());
        expected.extend([2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 1, 0, 0, 0]);
        assert_eq!(wire[..], expected);
        let decoded: OffsetCommitRequest = decode_request(10, wire.freeze()).expect("sound");
        assert_eq!(decoded, request);
    }
}
