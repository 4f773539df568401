//! The primitives of the peers' encoding, and a reader that believes no length.
//!
//! Owns: varints, ids, options, length-prefixed bytes. Never: what a message consists of.
//!
//! Invariant: reading never panics, and never allocates for a count or a length that the bytes at hand
//! cannot hold. Slices are taken by reference, not copied.

use bytes::{Buf, Bytes};
use ottla_protocol::model::{LeaderEpoch, NodeId, Offset, PartitionId, Uuid};

use crate::raft::{GroupId, ReplicaId};

/// Why bytes of a peer mean nothing, or a message cannot be encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    #[error("the message ends inside {0}")]
    Short(&'static str),
    #[error("{0} is a number of more than 64 bits, or too large for its kind")]
    Overflow(&'static str),
    #[error("{what} has the unknown tag {tag}")]
    Tag { what: &'static str, tag: u8 },
    #[error("{what} announces {count} items, more than it can hold")]
    Count { what: &'static str, count: u64 },
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    #[error("{0} is not valid UTF-8")]
    Text(&'static str),
    #[error("a membership without sense: {0}")]
    Membership(String),
    #[error("the checksum of the message is wrong")]
    Checksum,
    /// Our fault, not the peer's.
    #[error("an entry cannot be sent: {0}")]
    Unsendable(&'static str),
}

type Decoded<T> = Result<T, CodecError>;

/// Reads a message from its front.
#[derive(Debug)]
pub(crate) struct WireReader {
    bytes: Bytes,
}

impl WireReader {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// # Errors
    /// Bytes follow what was read.
    pub(crate) fn finish(self) -> Decoded<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.bytes.len())) }
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Decoded<u8> {
        self.bytes.try_get_u8().map_err(|_| CodecError::Short(what))
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Decoded<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Overflow(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Overflow(what))
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Decoded<i64> {
        let raw = self.varint(what)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Decoded<u32> {
        u32::try_from(self.varint(what)?).map_err(|_| CodecError::Overflow(what))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Decoded<i32> {
        i32::try_from(self.signed(what)?).map_err(|_| CodecError::Overflow(what))
    }

    /// How many items follow, each of which takes `item_bytes_min` at least.
    pub(crate) fn count(&mut self, what: &'static str, item_bytes_min: usize) -> Decoded<usize> {
        let count = self.varint(what)?;
        let most = self.left() / item_bytes_min.max(1);
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= most)
            .ok_or(CodecError::Count { what, count })
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Decoded<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(CodecError::Tag { what, tag }),
        }
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Decoded<Bytes> {
        if len > self.left() {
            return Err(CodecError::Short(what));
        }
        Ok(self.bytes.split_to(len))
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Decoded<Bytes> {
        let len = self.count(what, 1)?;
        self.take(len, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Decoded<String> {
        let bytes = self.bytes(what)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| CodecError::Text(what))
    }

    pub(crate) fn uuid(&mut self) -> Decoded<Uuid> {
        let bytes = self.take(16, "an id")?;
        bytes.first_chunk::<16>().map(|id| Uuid::from_bytes(*id)).ok_or(CodecError::Short("an id"))
    }

    pub(crate) fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Decoded<T>,
    ) -> Decoded<Option<T>> {
        if self.flag(what)? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        item_bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Decoded<T>,
    ) -> Decoded<Vec<T>> {
        let count = self.count(what, item_bytes_min)?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(crate) fn node(&mut self) -> Decoded<NodeId> {
        self.i32("a node id").map(NodeId)
    }

    pub(crate) fn epoch(&mut self) -> Decoded<LeaderEpoch> {
        self.i32("a leader epoch").map(LeaderEpoch)
    }

    pub(crate) fn offset(&mut self) -> Decoded<Offset> {
        self.signed("an offset").map(Offset)
    }

    pub(crate) fn group(&mut self) -> Decoded<GroupId> {
        let topic = self.uuid()?;
        let partition = PartitionId(self.i32("a partition")?);
        Ok(GroupId { topic, partition })
    }

    pub(crate) fn replica(&mut self) -> Decoded<ReplicaId> {
        let node = self.node()?;
        Ok(ReplicaId { node, directory: self.uuid()? })
    }
}

/// The least bytes of a [`ReplicaId`].
pub(crate) const REPLICA_BYTES_MIN: usize = 17;
/// The least bytes of a [`GroupId`].
pub(crate) const GROUP_BYTES_MIN: usize = 17;

/// Writes a message at the end of a buffer.
pub(crate) trait WireWrite {
    fn put_varint(&mut self, value: u64);
    fn put_raw(&mut self, bytes: &[u8]);

    fn put_signed(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn put_flag(&mut self, value: bool) {
        self.put_raw(&[u8::from(value)]);
    }

    fn put_len(&mut self, len: usize) {
        self.put_varint(len as u64);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_len(bytes.len());
        self.put_raw(bytes);
    }

    fn put_uuid(&mut self, id: Uuid) {
        self.put_raw(id.as_bytes());
    }

    fn put_node(&mut self, node: NodeId) {
        self.put_signed(i64::from(node.get()));
    }

    fn put_epoch(&mut self, epoch: LeaderEpoch) {
        self.put_signed(i64::from(epoch.get()));
    }

    fn put_offset(&mut self, offset: Offset) {
        self.put_signed(offset.get());
    }

    fn put_group(&mut self, group: &GroupId) {
        self.put_uuid(group.topic);
        self.put_signed(i64::from(group.partition.get()));
    }

    fn put_replica(&mut self, replica: &ReplicaId) {
        self.put_node(replica.node);
        self.put_uuid(replica.directory);
    }
}

impl WireWrite for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes `value` behind a flag that says whether it is there.
pub(crate) fn put_option<T>(
    out: &mut Vec<u8>,
    value: Option<&T>,
    put: impl FnOnce(&mut Vec<u8>, &T),
) {
    out.put_flag(value.is_some());
    if let Some(value) = value {
        put(out, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(bytes: &[u8]) -> WireReader {
        WireReader::new(Bytes::copy_from_slice(bytes))
    }

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            out.put_varint(unsigned);
            out.put_signed(signed);
            let mut read = reader(&out);
            prop_assert_eq!(read.varint("n"), Ok(unsigned));
            prop_assert_eq!(read.signed("n"), Ok(signed));
            prop_assert_eq!(read.finish(), Ok(()));
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut bytes = [0xff_u8; 10];
        bytes[9] = 2;
        assert_eq!(reader(&bytes).varint("n"), Err(CodecError::Overflow("n")));
        assert_eq!(reader(&[0xff; 11]).varint("n"), Err(CodecError::Overflow("n")));
        assert_eq!(reader(&[0x80; 3]).varint("n"), Err(CodecError::Short("n")));
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused() {
        let mut out = Vec::new();
        out.put_varint(4);
        out.put_raw(&[0; 33]);
        assert_eq!(reader(&out).count("ids", 17), Err(CodecError::Count { what: "ids", count: 4 }));
        out.put_raw(&[0; 35]);
        assert_eq!(reader(&out).count("ids", 17), Ok(4));
    }
}
