//! What two brokers tell each other all the time.
//!
//! Owns: the form of a heartbeat and of its answer. Never: when one is sent, or what follows.

use bytes::Bytes;
use ottla_protocol::model::Timestamp;

use super::wire::{CodecError, GROUP_BYTES_MIN, WireReader, WireWrite, put_option};
use crate::leadership::{Announcement, Announcements};

/// "I am here, this is what I lead and how many groups run": one for each pair of brokers, whatever the
/// number of groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heartbeat {
    pub wall: Timestamp,
    pub news: Announcements,
    /// [`super::groups::Groups::begun`] of the sender.
    pub begun: u64,
}

/// "I have heard you."
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeartbeatAnswer {
    pub wall: Timestamp,
    /// [`Announcements::upto`] of the heartbeat.
    pub upto: u64,
}

impl Heartbeat {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_signed(self.wall.get());
        out.put_varint(self.news.upto);
        out.put_len(self.news.changes.len());
        for change in &self.news.changes {
            out.put_group(&change.group);
            out.put_epoch(change.epoch);
            put_option(out, change.isr.as_ref(), |out, isr| {
                out.put_len(isr.len());
                for node in isr {
                    out.put_node(*node);
                }
            });
        }
        out.put_varint(self.begun);
    }

    pub(crate) fn read(head: Bytes) -> Result<Self, CodecError> {
        let mut read = WireReader::new(head);
        let wall = Timestamp(read.signed("a clock")?);
        let upto = read.varint("a number")?;
        let changes = read.list("leaderships", GROUP_BYTES_MIN + 2, |read| {
            Ok(Announcement {
                group: read.group()?,
                epoch: read.epoch()?,
                isr: read.option("replicas", |read| read.list("replicas", 1, WireReader::node))?,
            })
        })?;
        let begun = read.varint("a number of groups")?;
        Ok(Self { wall, news: Announcements { upto, changes }, begun })
    }
}

impl HeartbeatAnswer {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_signed(self.wall.get());
        out.put_varint(self.upto);
    }

    pub(crate) fn read(head: Bytes) -> Result<Self, CodecError> {
        let mut read = WireReader::new(head);
        let wall = Timestamp(read.signed("a clock")?);
        Ok(Self { wall, upto: read.varint("a number")? })
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::model::{LeaderEpoch, NodeId, PartitionId, Uuid};

    use super::*;
    use crate::raft::GroupId;

    #[test]
    fn a_heartbeat_comes_back_and_a_cut_one_is_refused() {
        let group = GroupId { topic: Uuid::from_u128(5), partition: PartitionId(3) };
        let changes = vec![
            Announcement { group, epoch: LeaderEpoch(4), isr: Some(vec![NodeId(1), NodeId(2)]) },
            Announcement { group, epoch: LeaderEpoch(5), isr: None },
        ];
        let sent =
            Heartbeat { wall: Timestamp(-1), news: Announcements { upto: 9, changes }, begun: 300 };
        let mut out = Vec::new();
        sent.put(&mut out);
        assert_eq!(Heartbeat::read(out.clone().into()), Ok(sent));
        for len in 0..out.len() {
            assert!(Heartbeat::read(out[..len].to_vec().into()).is_err(), "{len}");
        }
    }
}
