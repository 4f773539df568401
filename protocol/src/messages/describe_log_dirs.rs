//! DescribeLogDirs up to v5 (KIP-1066), which kafka-protocol has up to v4.
//!
//! Owns: the top level of request and response, and a directory's result with its cordon. Never:
//! changes what lies below a result. Invariant: up to v4, kafka-protocol's own encoding.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as kafka;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response as kafka_response;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsTopic;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange,
};

use super::wire::{
    get_array, get_len, get_string, get_tags, put_array, put_len, put_string, put_tags,
};

const VERSIONS: VersionRange = VersionRange { min: 1, max: 5 };

/// The newest version that kafka-protocol has.
const KAFKA_PROTOCOL: i16 = 4;

/// In requests, v5 is the same on the wire as v4.
const fn alias(version: i16) -> i16 {
    if version == 5 { KAFKA_PROTOCOL } else { version }
}

/// Asks what lies in the log directories of a broker.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DescribeLogDirsRequest {
    /// Null asks for all topics.
    pub topics: Option<Vec<DescribableLogDirTopic>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

/// What lies in them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DescribeLogDirsResponse {
    pub throttle_time_ms: i32,
    /// Since v3.
    pub error_code: i16,
    pub results: Vec<DescribeLogDirsResult>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

/// One directory.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribeLogDirsResult {
    pub error_code: i16,
    /// Its absolute path.
    pub log_dir: StrBytes,
    pub topics: Vec<DescribeLogDirsTopic>,
    /// Of the volume it lies on, in bytes; -1 is unknown. Since v4.
    pub total_bytes: i64,
    /// Of the volume it lies on, in bytes; -1 is unknown. Since v4.
    pub usable_bytes: i64,
    /// Whether no new replica is placed in it. Since v5.
    pub is_cordoned: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeLogDirsRequest {
    #[must_use]
    pub fn with_topics(mut self, value: Option<Vec<DescribableLogDirTopic>>) -> Self {
        self.topics = value;
        self
    }

    fn as_kafka(&self) -> kafka::DescribeLogDirsRequest {
        kafka::DescribeLogDirsRequest::default()
            .with_topics(self.topics.clone())
            .with_unknown_tagged_fields(self.unknown_tagged_fields.clone())
    }
}

impl DescribeLogDirsResponse {
    #[must_use]
    pub fn with_throttle_time_ms(mut self, value: i32) -> Self {
        self.throttle_time_ms = value;
        self
    }

    #[must_use]
    pub fn with_error_code(mut self, value: i16) -> Self {
        self.error_code = value;
        self
    }

    #[must_use]
    pub fn with_results(mut self, value: Vec<DescribeLogDirsResult>) -> Self {
        self.results = value;
        self
    }

    fn as_kafka(&self) -> kafka::DescribeLogDirsResponse {
        kafka::DescribeLogDirsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_error_code(self.error_code)
            .with_results(self.results.iter().map(DescribeLogDirsResult::as_kafka).collect())
            .with_unknown_tagged_fields(self.unknown_tagged_fields.clone())
    }
}

impl DescribeLogDirsResult {
    #[must_use]
    pub fn with_error_code(mut self, value: i16) -> Self {
        self.error_code = value;
        self
    }

    #[must_use]
    pub fn with_log_dir(mut self, value: StrBytes) -> Self {
        self.log_dir = value;
        self
    }

    #[must_use]
    pub fn with_topics(mut self, value: Vec<DescribeLogDirsTopic>) -> Self {
        self.topics = value;
        self
    }

    #[must_use]
    pub fn with_total_bytes(mut self, value: i64) -> Self {
        self.total_bytes = value;
        self
    }

    #[must_use]
    pub fn with_usable_bytes(mut self, value: i64) -> Self {
        self.usable_bytes = value;
        self
    }

    fn as_kafka(&self) -> kafka_response::DescribeLogDirsResult {
        kafka_response::DescribeLogDirsResult::default()
            .with_error_code(self.error_code)
            .with_log_dir(self.log_dir.clone())
            .with_topics(self.topics.clone())
            .with_total_bytes(self.total_bytes)
            .with_usable_bytes(self.usable_bytes)
            .with_unknown_tagged_fields(self.unknown_tagged_fields.clone())
    }

    fn from_kafka(result: kafka_response::DescribeLogDirsResult) -> Self {
        Self {
            error_code: result.error_code,
            log_dir: result.log_dir,
            topics: result.topics,
            total_bytes: result.total_bytes,
            usable_bytes: result.usable_bytes,
            is_cordoned: false,
            unknown_tagged_fields: result.unknown_tagged_fields,
        }
    }
}

impl Default for DescribeLogDirsResult {
    fn default() -> Self {
        Self::from_kafka(kafka_response::DescribeLogDirsResult::default())
    }
}

impl Encodable for DescribeLogDirsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        self.as_kafka().encode(buf, alias(version))
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        self.as_kafka().compute_size(alias(version))
    }
}

impl Decodable for DescribeLogDirsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        let request = kafka::DescribeLogDirsRequest::decode(buf, alias(version))?;
        Ok(Self { topics: request.topics, unknown_tagged_fields: request.unknown_tagged_fields })
    }
}

impl Encodable for DescribeLogDirsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        if version != 5 {
            return self.as_kafka().encode(buf, version);
        }
        buf.put_i32(self.throttle_time_ms);
        buf.put_i16(self.error_code);
        put_len(buf, self.results.len())?;
        for result in &self.results {
            buf.put_i16(result.error_code);
            put_string(buf, &result.log_dir)?;
            put_array(buf, &result.topics, KAFKA_PROTOCOL)?;
            buf.put_i64(result.total_bytes);
            buf.put_i64(result.usable_bytes);
            buf.put_u8(u8::from(result.is_cordoned));
            put_tags(buf, &result.unknown_tagged_fields)?;
        }
        put_tags(buf, &self.unknown_tagged_fields)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut out = BytesMut::new();
        self.encode(&mut out, version)?;
        Ok(out.len())
    }
}

impl Decodable for DescribeLogDirsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        if version != 5 {
            let response = kafka::DescribeLogDirsResponse::decode(buf, version)?;
            let results = response.results.into_iter().map(DescribeLogDirsResult::from_kafka);
            return Ok(Self {
                throttle_time_ms: response.throttle_time_ms,
                error_code: response.error_code,
                results: results.collect(),
                unknown_tagged_fields: response.unknown_tagged_fields,
            });
        }
        let throttle_time_ms = buf.try_get_i32()?;
        let error_code = buf.try_get_i16()?;
        let mut results = Vec::new();
        for _ in 0..get_len(buf)? {
            results.push(DescribeLogDirsResult {
                error_code: buf.try_get_i16()?,
                log_dir: get_string(buf)?,
                topics: get_array(buf, KAFKA_PROTOCOL)?,
                total_bytes: buf.try_get_i64()?,
                usable_bytes: buf.try_get_i64()?,
                is_cordoned: buf.try_get_u8()? != 0,
                unknown_tagged_fields: get_tags(buf)?,
            });
        }
        let unknown_tagged_fields = get_tags(buf)?;
        Ok(Self { throttle_time_ms, error_code, results, unknown_tagged_fields })
    }
}

impl Message for DescribeLogDirsRequest {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Message for DescribeLogDirsResponse {
    const VERSIONS: VersionRange = VERSIONS;
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl HeaderVersion for DescribeLogDirsRequest {
    fn header_version(version: i16) -> i16 {
        kafka::DescribeLogDirsRequest::header_version(alias(version))
    }
}

impl HeaderVersion for DescribeLogDirsResponse {
    fn header_version(version: i16) -> i16 {
        kafka::DescribeLogDirsResponse::header_version(alias(version))
    }
}

impl Request for DescribeLogDirsRequest {
    const KEY: i16 = <kafka::DescribeLogDirsRequest as Request>::KEY;
    type Response = DescribeLogDirsResponse;
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn sample() -> DescribeLogDirsResponse {
        let topic = DescribeLogDirsTopic::default()
            .with_name(kafka::TopicName("orders".into()))
            .with_partitions(vec![
                kafka_response::DescribeLogDirsPartition::default().with_partition_size(77),
            ]);
        let result = DescribeLogDirsResult {
            is_cordoned: true,
            ..DescribeLogDirsResult::default()
                .with_log_dir("/data".into())
                .with_topics(vec![topic])
                .with_usable_bytes(9)
        };
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    #[test]
    fn version_5_is_version_4_and_a_cordon() {
        let mut out = BytesMut::new();
        sample().encode(&mut out, 5).expect("encodable");
        assert_eq!(sample().compute_size(5).expect("encodable"), out.len());
        assert_eq!(DescribeLogDirsResponse::decode(&mut out.clone(), 5).expect("sound"), sample());
        let mut older = BytesMut::new();
        sample().encode(&mut older, 4).expect("encodable");
        // The cordon stands before the tags of the result, which stand before those of the whole.
        let tags = older.split_off(older.len() - 2);
        older.put_u8(1);
        older.extend_from_slice(&tags);
        assert_eq!(out, older);
        for cut in 0..out.len() {
            assert!(DescribeLogDirsResponse::decode(&mut out.clone().split_to(cut), 5).is_err());
        }
    }
}
