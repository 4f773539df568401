//! What a step of the group coordinator asks the broker to do.
//!
//! Owns: records to append and replies to send, and how the two hang together. Never: does it.

use bytes::Bytes;

use super::reply::Reply;

/// Names a request that waits for its reply. The driver draws it; the shard only hands it back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyToken(pub u64);

/// A record for the shard's partition, already in Kafka's format. Its timestamp is the wall time
/// of the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    pub key: Bytes,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl GroupRecord {
    /// Bytes of key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The outcome of one step. The records belong into one batch; no reply leaves before they, and
/// all records of earlier steps, are committed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Effects {
    pub records: Vec<GroupRecord>,
    /// Every token that was given to the shard comes back exactly once, not always in the step
    /// that took it: JoinGroup and SyncGroup wait for other members.
    pub replies: Vec<(ReplyToken, Reply)>,
}

impl Effects {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    pub(crate) fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.replies.push((token, reply));
    }
}
