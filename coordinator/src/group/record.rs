//! The records of `__consumer_offsets` that classic groups write.
//!
//! Owns: `OffsetCommitKey/Value` and `GroupMetadataKey/Value` as Kafka 4.3 writes them, and every
//! version that it reads. Never: interprets them. Bytes from the log are untrusted: no length is
//! believed before it is checked, and what cannot be read is an error, not a panic.
//!
//! A key starts with its type, a value with its version, both as i16. Types 0 and 1 are an offset,
//! 2 a group; the later group protocols have others, which are kept for them and skipped here.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::model::{Timestamp, Uuid};
use thiserror::Error;

use super::effects::GroupRecord;

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// With an explicit expiry, which only old clients ask for, the last version that can hold it.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_MAX: i16 = 4;
const GROUP_VALUE: i16 = 3;
const GROUP_VALUE_MAX: i16 = 4;
const FIRST_FLEXIBLE: i16 = 4;

#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RecordError {
    #[error("the record of __consumer_offsets ends within {field}")]
    Truncated { field: &'static str },
    #[error("the length {length} of {field} in a record of __consumer_offsets is impossible")]
    Length { field: &'static str, length: i64 },
    #[error("{field} in a record of __consumer_offsets is not UTF-8")]
    NotText { field: &'static str },
    #[error(
        "value version {version} of a {kind} record in __consumer_offsets is newer than this \
         broker reads; start the version that wrote it"
    )]
    Version { kind: &'static str, version: i16 },
    #[error("{field} in a record of __consumer_offsets is null")]
    Null { field: &'static str },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordKey {
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
    },
    Group {
        group: Arc<str>,
    },
    /// A record of another group protocol, or of a later version.
    Other {
        key_type: i16,
    },
}

/// A committed offset as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub commit_timestamp: Timestamp,
    pub expire_timestamp: Option<Timestamp>,
    /// Nil when it is not known.
    pub topic_id: Uuid,
}

/// A classic group as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    /// Empty when it has none yet.
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub state_since: Option<Timestamp>,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// -1 in records that have none.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

pub(crate) fn offset_record(
    group: &str,
    topic: &str,
    partition: i32,
    value: &OffsetValue,
) -> GroupRecord {
    GroupRecord { key: offset_key(group, topic, partition), value: Some(value.encode()) }
}

pub(crate) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord { key: offset_key(group, topic, partition), value: None }
}

pub(crate) fn group_record(group: &str, value: &GroupValue) -> GroupRecord {
    GroupRecord { key: group_key(group), value: Some(value.encode()) }
}

pub(crate) fn group_tombstone(group: &str) -> GroupRecord {
    GroupRecord { key: group_key(group), value: None }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = BytesMut::with_capacity(10 + group.len() + topic.len());
    out.put_i16(OFFSET_KEY);
    put_text(&mut out, group);
    put_text(&mut out, topic);
    out.put_i32(partition);
    out.freeze()
}

fn group_key(group: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + group.len());
    out.put_i16(GROUP_KEY);
    put_text(&mut out, group);
    out.freeze()
}

impl RecordKey {
    /// Reads a record's key.
    ///
    /// # Errors
    /// If the bytes are not a key. Keys of unknown type are [`RecordKey::Other`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input { rest: bytes, version: 0 };
        match input.i16("key type")? {
            0 | OFFSET_KEY => Ok(Self::Offset {
                group: input.text("group")?,
                topic: input.text("topic")?,
                partition: input.i32("partition")?,
            }),
            GROUP_KEY => Ok(Self::Group { group: input.text("group")? }),
            key_type => Ok(Self::Other { key_type }),
        }
    }
}

impl OffsetValue {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(48 + self.metadata.len());
        if let Some(expiry) = self.expire_timestamp {
            out.put_i16(OFFSET_VALUE_WITH_EXPIRY);
            out.put_i64(self.offset);
            put_text(&mut out, &self.metadata);
            out.put_i64(self.commit_timestamp.get());
            out.put_i64(expiry.get());
            return out.freeze();
        }
        out.put_i16(OFFSET_VALUE);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_varint(&mut out, self.metadata.len() + 1);
        out.put_slice(self.metadata.as_bytes());
        out.put_i64(self.commit_timestamp.get());
        if self.topic_id.is_nil() {
            put_varint(&mut out, 0);
        } else {
            // One tagged field: tag 0, 16 bytes.
            out.put_slice(&[1, 0, 16]);
            out.put_slice(self.topic_id.as_bytes());
        }
        out.freeze()
    }

    /// Reads a value of any version.
    ///
    /// # Errors
    /// If the bytes are not such a value, or its version is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input::versioned(bytes, "offset", OFFSET_VALUE_MAX)?;
        let version = input.version;
        let offset = input.i64("offset")?;
        let leader_epoch = if version >= 3 { input.i32("leader epoch")? } else { -1 };
        let metadata = input.text("metadata")?;
        let commit_timestamp = Timestamp(input.i64("commit timestamp")?);
        let expire_timestamp = match version {
            1 => Some(Timestamp(input.i64("expire timestamp")?)).filter(|at| at.get() != -1),
            _ => None,
        };
        let mut topic_id = Uuid::nil();
        input.tags(|tag, field| {
            if tag == 0
                && let Ok(id) = <[u8; 16]>::try_from(field)
            {
                topic_id = Uuid::from_bytes(id);
            }
        })?;
        Ok(Self { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp, topic_id })
    }
}

impl GroupValue {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.members.len() * 256);
        out.put_i16(GROUP_VALUE);
        put_text(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_optional_text(&mut out, self.protocol.as_deref());
        put_optional_text(&mut out, self.leader.as_deref());
        out.put_i64(self.state_since.unwrap_or(Timestamp::NONE).get());
        out.put_i32(i32::try_from(self.members.len()).unwrap_or(i32::MAX));
        for member in &self.members {
            put_text(&mut out, &member.id);
            put_optional_text(&mut out, member.instance_id.as_deref());
            put_text(&mut out, &member.client_id);
            put_text(&mut out, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }

    /// Reads a value of any version.
    ///
    /// # Errors
    /// If the bytes are not such a value, or its version is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input::versioned(bytes, "group", GROUP_VALUE_MAX)?;
        let protocol_type = input.text("protocol type")?;
        let generation = input.i32("generation")?;
        let protocol = input.optional_text("protocol")?;
        let leader = input.optional_text("leader")?;
        let state_since = match input.version {
            0 | 1 => None,
            _ => Some(Timestamp(input.i64("state timestamp")?)).filter(|at| at.get() != -1),
        };
        let count = input.count("members")?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            members.push(MemberValue::decode(&mut input)?);
        }
        input.tags(|_, _| {})?;
        Ok(Self { protocol_type, generation, protocol, leader, state_since, members })
    }
}

impl MemberValue {
    fn decode(input: &mut Input<'_>) -> Result<Self, RecordError> {
        let version = input.version;
        let id = input.text("member id")?;
        let instance_id =
            if version >= 3 { input.optional_text("group instance id")? } else { None };
        let client_id = input.text("client id")?;
        let client_host = input.text("client host")?;
        let rebalance_timeout_ms = if version >= 1 { input.i32("rebalance timeout")? } else { -1 };
        let session_timeout_ms = input.i32("session timeout")?;
        let subscription = input.bytes("subscription")?;
        let assignment = input.bytes("assignment")?;
        input.tags(|_, _| {})?;
        Ok(Self {
            id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}

/// Requests bound every name (`JoinRequest::check`, the protocol's own string limit), so that the
/// cut never happens; it keeps the record readable all the same.
fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(i16::MAX as usize);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    debug_assert_eq!(end, text.len(), "a name too long for a record");
    out.put_i16(i16::try_from(end).unwrap_or(i16::MAX));
    out.put_slice(&text.as_bytes()[..end]);
}

fn put_optional_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// What is left of a key or value.
struct Input<'a> {
    rest: &'a [u8],
    version: i16,
}

impl<'a> Input<'a> {
    fn versioned(bytes: &'a [u8], kind: &'static str, max: i16) -> Result<Self, RecordError> {
        let mut input = Self { rest: bytes, version: 0 };
        input.version = input.i16("value version")?;
        if (0..=max).contains(&input.version) {
            Ok(input)
        } else {
            Err(RecordError::Version { kind, version: input.version })
        }
    }

    fn flexible(&self) -> bool {
        self.version >= FIRST_FLEXIBLE
    }

    fn i16(&mut self, field: &'static str) -> Result<i16, RecordError> {
        self.rest.try_get_i16().map_err(|_| RecordError::Truncated { field })
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, RecordError> {
        self.rest.try_get_i32().map_err(|_| RecordError::Truncated { field })
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, RecordError> {
        self.rest.try_get_i64().map_err(|_| RecordError::Truncated { field })
    }

    fn varint(&mut self, field: &'static str) -> Result<i64, RecordError> {
        let mut value: i64 = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| RecordError::Truncated { field })?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Length { field, length: value })
    }

    fn take(&mut self, field: &'static str, length: i64) -> Result<&'a [u8], RecordError> {
        let size = usize::try_from(length).map_err(|_| RecordError::Length { field, length })?;
        let (taken, rest) =
            self.rest.split_at_checked(size).ok_or(RecordError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn optional_text(&mut self, field: &'static str) -> Result<Option<Arc<str>>, RecordError> {
        let length =
            if self.flexible() { self.varint(field)? - 1 } else { i64::from(self.i16(field)?) };
        if length == -1 {
            return Ok(None);
        }
        let bytes = self.take(field, length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText { field })?;
        Ok(Some(text.into()))
    }

    fn text(&mut self, field: &'static str) -> Result<Arc<str>, RecordError> {
        self.optional_text(field)?.ok_or(RecordError::Null { field })
    }

    fn bytes(&mut self, field: &'static str) -> Result<Bytes, RecordError> {
        let length =
            if self.flexible() { self.varint(field)? - 1 } else { i64::from(self.i32(field)?) };
        self.take(field, length).map(Bytes::copy_from_slice)
    }

    /// A count of structures of at least eight bytes each.
    fn count(&mut self, field: &'static str) -> Result<usize, RecordError> {
        let count =
            if self.flexible() { self.varint(field)? - 1 } else { i64::from(self.i32(field)?) };
        match usize::try_from(count) {
            Ok(fits) if fits <= self.rest.len() / 8 => Ok(fits),
            _ => Err(RecordError::Length { field, length: count }),
        }
    }

    fn tags(&mut self, mut field: impl FnMut(i64, &[u8])) -> Result<(), RecordError> {
        if !self.flexible() {
            return Ok(());
        }
        for _ in 0..self.varint("tagged fields")? {
            let tag = self.varint("tag")?;
            let size = self.varint("tag size")?;
            field(tag, self.take("tagged field", size)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
