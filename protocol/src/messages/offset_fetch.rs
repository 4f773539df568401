//! OffsetFetch requests up to v10, which kafka-protocol reads up to v9 (its responses are complete).
//!
//! Owns: version 10, in which topics go by id instead of name (KIP-848). Never: another version's
//! encoding. Invariant: up to v9, kafka-protocol's own.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use bytes::BytesMut;
use kafka_protocol::messages as kafka;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, VersionRange,
};

use super::wire::{
    get_array_len, get_items, get_nullable_array_len, get_nullable_string, get_string, get_tags,
    get_uuid, put_len, put_nullable_string, put_string, put_tags, put_varint,
};

const VERSIONS: VersionRange = VersionRange { min: 1, max: 10 };

/// Asks for the committed offsets of groups.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetFetchRequest(pub kafka::OffsetFetchRequest);

impl Deref for OffsetFetchRequest {
    type Target = kafka::OffsetFetchRequest;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for OffsetFetchRequest {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl From<kafka::OffsetFetchRequest> for OffsetFetchRequest {
    fn from(request: kafka::OffsetFetchRequest) -> Self {
        Self(request)
    }
}

impl Encodable for OffsetFetchRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        if version != 10 {
            return self.0.encode(buf, version);
        }
        put_len(buf, self.groups.len())?;
        for group in &self.groups {
            put_string(buf, &group.group_id.0)?;
            put_nullable_string(buf, group.member_id.as_deref())?;
            buf.put_i32(group.member_epoch);
            put_topics(buf, group.topics.as_deref())?;
            put_tags(buf, &group.unknown_tagged_fields)?;
        }
        buf.put_u8(u8::from(self.require_stable));
        put_tags(buf, &self.unknown_tagged_fields)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut out = BytesMut::new();
        self.encode(&mut out, version)?;
        Ok(out.len())
    }
}

impl Decodable for OffsetFetchRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        if version != 10 {
            return kafka::OffsetFetchRequest::decode(buf, version).map(Self);
        }
        let mut request = kafka::OffsetFetchRequest::default();
        let groups = get_array_len(buf)?;
        request.groups = get_items(buf, groups, |buf| {
            Ok(OffsetFetchRequestGroup::default()
                .with_group_id(get_string(buf)?.into())
                .with_member_id(get_nullable_string(buf)?)
                .with_member_epoch(buf.try_get_i32()?)
                .with_topics(get_topics(buf)?)
                .with_unknown_tagged_fields(get_tags(buf)?))
        })?;
        request.require_stable = buf.try_get_u8()? != 0;
        request.unknown_tagged_fields = get_tags(buf)?;
        Ok(Self(request))
    }
}

impl Message for OffsetFetchRequest {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for OffsetFetchRequest {
    fn header_version(version: i16) -> i16 {
        // Version 10 is flexible, as version 9 is.
        kafka::OffsetFetchRequest::header_version(version)
    }
}

impl Request for OffsetFetchRequest {
    const KEY: i16 = <kafka::OffsetFetchRequest as Request>::KEY;
    type Response = kafka::OffsetFetchResponse;
}

fn put_topics(
    buf: &mut impl ByteBufMut,
    topics: Option<&[OffsetFetchRequestTopics]>,
) -> Result<()> {
    let Some(topics) = topics else {
        put_varint(buf, 0);
        return Ok(());
    };
    put_len(buf, topics.len())?;
    for topic in topics {
        buf.put_slice(topic.topic_id.as_bytes());
        put_len(buf, topic.partition_indexes.len())?;
        for index in &topic.partition_indexes {
            buf.put_i32(*index);
        }
        put_tags(buf, &topic.unknown_tagged_fields)?;
    }
    Ok(())
}

fn get_topics(buf: &mut impl ByteBuf) -> Result<Option<Vec<OffsetFetchRequestTopics>>> {
    let Some(len) = get_nullable_array_len(buf)? else { return Ok(None) };
    let topics = get_items(buf, len, |buf| {
        let topic_id = get_uuid(buf)?;
        let indexes = get_array_len(buf)?;
        let indexes = get_items(buf, indexes, |buf| Ok(buf.try_get_i32()?))?;
        Ok(OffsetFetchRequestTopics::default()
            .with_topic_id(topic_id)
            .with_partition_indexes(indexes)
            .with_unknown_tagged_fields(get_tags(buf)?))
    })?;
    Ok(Some(topics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::decode_request;

    use crate::model::Uuid;

    #[test]
    fn version_10_names_topics_by_id() {
        let topic = OffsetFetchRequestTopics::default()
            .with_topic_id(Uuid::from_u128(5))
            .with_partition_indexes(vec![1, 2]);
        let text = kafka_protocol::protocol::StrBytes::from_static_str;
        let some = OffsetFetchRequestGroup::default()
            .with_group_id(text("g").into())
            .with_member_id(Some(text("m")))
            .with_member_epoch(4)
            .with_topics(Some(vec![topic]));
        let all = OffsetFetchRequestGroup::default()
            .with_group_id(text("h").into())
            .with_member_id(None)
            .with_topics(None);
        let request = OffsetFetchRequest(
            kafka::OffsetFetchRequest::default()
                .with_groups(vec![some, all])
                .with_require_stable(true),
        );
        let mut wire = BytesMut::new();
        request.encode(&mut wire, 10).expect("encodes");
        let mut expected = vec![3, 2, b'g', 2, b'm', 0, 0, 0, 4, 2];
        expected.extend(Uuid::from_u128(5).as_bytes());
        expected.extend([3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
        expected.extend([2, b'h', 0, 255, 255, 255, 255, 0, 0, 1, 0]);
        assert_eq!(wire[..], expected);
        let decoded: OffsetFetchRequest = decode_request(10, wire.freeze()).expect("sound");
        assert_eq!(decoded.groups, request.groups);
        assert!(decoded.require_stable);
    }
}
