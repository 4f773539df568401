//! AddRaftVoter up to v1, which kafka-protocol reads at v0.
//!
//! Owns: version 1, in which an answer may come before the new voters are committed (KIP-1186). Never:
//! another version's encoding. Invariant: at v0, kafka-protocol's own.

use std::ops::Deref;

use anyhow::Result;
use bytes::BytesMut;
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, VersionRange,
};

use super::wire::{
    get_array, get_nullable_string, get_tags, get_uuid, put_array, put_nullable_string, put_tags,
};

const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
/// kafka-protocol's only version; parts that did not change since are its.
const KAFKA_PROTOCOL: i16 = 0;

/// Makes a node vote on the metadata.
#[derive(Clone, PartialEq, Debug)]
pub struct AddRaftVoterRequest {
    pub fields: kafka::AddRaftVoterRequest,
    /// Whether the answer waits until the new voters are committed; the only way before v1.
    pub ack_when_committed: bool,
}

impl Default for AddRaftVoterRequest {
    fn default() -> Self {
        Self { fields: kafka::AddRaftVoterRequest::default(), ack_when_committed: true }
    }
}

impl Deref for AddRaftVoterRequest {
    type Target = kafka::AddRaftVoterRequest;

    fn deref(&self) -> &Self::Target {
        &self.fields
    }
}

impl Encodable for AddRaftVoterRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        if version != 1 {
            return self.fields.encode(buf, version);
        }
        put_nullable_string(buf, self.cluster_id.as_deref())?;
        buf.put_i32(self.timeout_ms);
        buf.put_i32(self.voter_id);
        buf.put_slice(self.voter_directory_id.as_bytes());
        put_array(buf, &self.listeners, KAFKA_PROTOCOL)?;
        buf.put_u8(u8::from(self.ack_when_committed));
        put_tags(buf, &self.unknown_tagged_fields)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut out = BytesMut::new();
        self.encode(&mut out, version)?;
        Ok(out.len())
    }
}

impl Decodable for AddRaftVoterRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        if version != 1 {
            let fields = kafka::AddRaftVoterRequest::decode(buf, version)?;
            return Ok(Self { fields, ack_when_committed: true });
        }
        let fields = kafka::AddRaftVoterRequest::default()
            .with_cluster_id(get_nullable_string(buf)?)
            .with_timeout_ms(buf.try_get_i32()?)
            .with_voter_id(buf.try_get_i32()?)
            .with_voter_directory_id(get_uuid(buf)?)
            .with_listeners(get_array(buf, KAFKA_PROTOCOL)?);
        let ack_when_committed = buf.try_get_i8()? != 0;
        let fields = fields.with_unknown_tagged_fields(get_tags(buf)?);
        Ok(Self { fields, ack_when_committed })
    }
}

impl Message for AddRaftVoterRequest {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for AddRaftVoterRequest {
    fn header_version(_version: i16) -> i16 {
        kafka::AddRaftVoterRequest::header_version(KAFKA_PROTOCOL)
    }
}

impl Request for AddRaftVoterRequest {
    const KEY: i16 = <kafka::AddRaftVoterRequest as Request>::KEY;
    type Response = AddRaftVoterResponse;
}

/// The answer, which is the same in both versions.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AddRaftVoterResponse(pub kafka::AddRaftVoterResponse);

impl Encodable for AddRaftVoterResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, _version: i16) -> Result<()> {
        self.0.encode(buf, KAFKA_PROTOCOL)
    }

    fn compute_size(&self, _version: i16) -> Result<usize> {
        self.0.compute_size(KAFKA_PROTOCOL)
    }
}

impl Decodable for AddRaftVoterResponse {
    fn decode<B: ByteBuf>(buf: &mut B, _version: i16) -> Result<Self> {
        kafka::AddRaftVoterResponse::decode(buf, KAFKA_PROTOCOL).map(Self)
    }
}

impl Message for AddRaftVoterResponse {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for AddRaftVoterResponse {
    fn header_version(_version: i16) -> i16 {
        kafka::AddRaftVoterResponse::header_version(KAFKA_PROTOCOL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::decode_request;
    use crate::model::Uuid;
    use kafka_protocol::messages::add_raft_voter_request::Listener;
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn version_1_says_when_to_answer() {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str("C"))
            .with_host(StrBytes::from_static_str("h"))
            .with_port(0x2384);
        let fields = kafka::AddRaftVoterRequest::default()
            .with_cluster_id(Some(StrBytes::from_static_str("x")))
            .with_timeout_ms(9)
            .with_voter_id(3)
            .with_voter_directory_id(Uuid::from_u128(5))
            .with_listeners(vec![listener]);
        let mut request = AddRaftVoterRequest { fields, ack_when_committed: false };
        let mut wire = BytesMut::new();
        request.encode(&mut wire, 1).expect("encodes");
        let mut expected = vec![2, b'x', 0, 0, 0, 9, 0, 0, 0, 3];
        expected.extend(Uuid::from_u128(5).as_bytes());
        expected.extend([2, 2, b'C', 2, b'h', 0x23, 0x84, 0, 0, 0]);
        assert_eq!(wire, expected);
        let decoded: AddRaftVoterRequest = decode_request(1, wire.freeze()).expect("sound");
        assert_eq!(decoded, request);
        let mut wire = BytesMut::new();
        request.encode(&mut wire, 0).expect("encodes");
        request.ack_when_committed = true;
        let decoded: AddRaftVoterRequest = decode_request(0, wire.freeze()).expect("sound");
        assert_eq!(decoded, request, "version 0 always waits");
    }
}
