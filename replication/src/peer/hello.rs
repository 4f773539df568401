//! How two brokers introduce themselves.
//!
//! Owns: the first message of each side, and the checks that decide whether they talk. Never: sockets,
//! or what a clock that is off means for records.
//!
//! The side that connects sends [`MAGIC`] and a Hello; the other answers with the same words about
//! itself, or with a [`Refusal`].

use bytes::Bytes;
use ottla_protocol::model::{NodeId, Timestamp, Uuid};

use super::error::Refusal;
use super::wire::{CodecError, WireReader, WireWrite, put_option};

/// The first bytes of a connection between brokers. As a Kafka frame they would announce 1.3 GB.
pub const MAGIC: [u8; 8] = *b"OTTLAPR1";

/// The version of everything behind [`MAGIC`].
pub const VERSION: u16 = 2;

/// Hello frames are no longer than this; nothing is known of the sender yet.
pub(crate) const HELLO_BYTES_MAX: usize = 256 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lane {
    /// Appends, votes, heartbeats, control calls.
    Requests,
    /// Snapshots and segments, which are large and may wait.
    Bulk,
    /// A question to an address whose node is not known: no heartbeats.
    Probe,
}

/// In the place of a directory: the replica goes by an id of its own, which follows.
pub(crate) const BY_KEY: u8 = u8::MAX;

/// What a broker says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    pub node: NodeId,
    /// None while it belongs to no cluster.
    pub cluster: Option<String>,
    /// The ids of its log directories; requests name a directory by its place here.
    pub directories: Vec<Uuid>,
    /// Another one for each start of the process.
    pub incarnation: u64,
    /// Its clock when it sent this.
    pub wall: Timestamp,
    /// The words of [`super::ControlService::card`].
    pub card: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub version: u16,
    pub lane: Lane,
    /// The node that is expected at the address, if it is known.
    pub to: Option<NodeId>,
    pub from: PeerInfo,
}

impl Hello {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.version));
        out.push(match self.lane {
            Lane::Requests => 0,
            Lane::Bulk => 1,
            Lane::Probe => 2,
        });
        put_option(out, self.to.as_ref(), |out, node| out.put_node(*node));
        put_info(out, &self.from);
    }

    pub(crate) fn read(head: Bytes) -> Result<Self, CodecError> {
        let mut read = WireReader::new(head);
        let version = u16::try_from(read.varint("a version")?)
            .map_err(|_| CodecError::Overflow("a version"))?;
        let lane = match read.u8("a lane")? {
            0 => Lane::Requests,
            1 => Lane::Bulk,
            2 => Lane::Probe,
            tag => return Err(CodecError::Tag { what: "a lane", tag }),
        };
        let to = read.option("a node", WireReader::node)?;
        let from = read_info(&mut read)?;
        // What follows is of a later version, which may add but not change.
        Ok(Self { version, lane, to, from })
    }

    /// Whether the node that `me` describes talks to the one that sent this.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check(&self, me: &PeerInfo) -> Result<(), Refusal> {
        if self.version < VERSION {
            return Err(Refusal::Version { ours: VERSION, theirs: self.version });
        }
        check_cluster(me, &self.from)?;
        if let Some(expected) = self.to.filter(|expected| *expected != me.node) {
            return Err(Refusal::Node { expected, actual: me.node });
        }
        if self.from.node == me.node && self.from.incarnation != me.incarnation {
            return Err(Refusal::DuplicateNode { node: me.node });
        }
        Ok(())
    }
}

/// Whether the node that `me` describes goes on with the one that answered.
///
/// # Errors
/// Why it does not.
pub(crate) fn check_answer(
    me: &PeerInfo,
    expected: Option<NodeId>,
    them: &PeerInfo,
) -> Result<(), Refusal> {
    if let Some(expected) = expected.filter(|expected| *expected != them.node) {
        return Err(Refusal::Node { expected, actual: them.node });
    }
    if them.node == me.node && them.incarnation != me.incarnation {
        return Err(Refusal::DuplicateNode { node: me.node });
    }
    check_cluster(me, them)
}

fn check_cluster(me: &PeerInfo, them: &PeerInfo) -> Result<(), Refusal> {
    match (&me.cluster, &them.cluster) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            Err(Refusal::Cluster { node: them.node, ours: ours.clone(), theirs: theirs.clone() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn put_info(out: &mut Vec<u8>, info: &PeerInfo) {
    out.put_node(info.node);
    put_option(out, info.cluster.as_ref(), |out, id| out.put_bytes(id.as_bytes()));
    out.put_len(info.directories.len());
    for id in &info.directories {
        out.put_uuid(*id);
    }
    out.put_varint(info.incarnation);
    out.put_signed(info.wall.get());
    out.put_bytes(&info.card);
}

pub(crate) fn read_info(read: &mut WireReader) -> Result<PeerInfo, CodecError> {
    Ok(PeerInfo {
        node: read.node()?,
        cluster: read.option("a cluster id", |read| read.text("a cluster id"))?,
        directories: read.list("directories", 16, WireReader::uuid)?,
        incarnation: read.varint("an incarnation")?,
        wall: Timestamp(read.signed("a clock")?),
        card: read.bytes("a card")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(node: i32, cluster: Option<&str>) -> PeerInfo {
        PeerInfo {
            node: NodeId(node),
            cluster: cluster.map(str::to_owned),
            directories: vec![Uuid::from_u128(7), Uuid::from_u128(8)],
            incarnation: 99,
            wall: Timestamp(1_700_000_000_000),
            card: Bytes::from_static(b"empty"),
        }
    }

    fn hello(from: PeerInfo) -> Hello {
        Hello { version: VERSION, lane: Lane::Requests, to: Some(NodeId(2)), from }
    }

    #[test]
    fn a_hello_comes_back_and_may_be_longer_in_a_later_version() {
        let sent = hello(info(1, Some("abc")));
        let mut out = Vec::new();
        sent.put(&mut out);
        assert_eq!(Hello::read(out.clone().into()), Ok(sent.clone()));
        out.extend_from_slice(b"later");
        assert_eq!(Hello::read(out.clone().into()), Ok(sent));
        for len in 0..out.len() - 5 {
            assert!(Hello::read(out[..len].to_vec().into()).is_err(), "{len}");
        }
    }

    #[test]
    fn nodes_of_one_cluster_or_of_none_yet_talk() {
        for (ours, theirs) in
            [(None, None), (Some("a"), None), (None, Some("a")), (Some("a"), Some("a"))]
        {
            assert_eq!(hello(info(1, theirs)).check(&info(2, ours)), Ok(()));
            assert_eq!(check_answer(&info(1, theirs), Some(NodeId(2)), &info(2, ours)), Ok(()));
        }
    }

    #[test]
    fn each_wrong_peer_is_refused_with_its_cause() {
        let cluster = hello(info(1, Some("a"))).check(&info(2, Some("b"))).unwrap_err();
        assert!(cluster.to_string().contains("belongs to cluster a and not to b"), "{cluster}");

        let node = hello(info(1, None)).check(&info(3, None)).unwrap_err();
        assert_eq!(node, Refusal::Node { expected: NodeId(2), actual: NodeId(3) });

        let mut twin = info(2, None);
        twin.incarnation = 100;
        let refusal = hello(twin.clone()).check(&info(2, None)).unwrap_err();
        assert_eq!(refusal, Refusal::DuplicateNode { node: NodeId(2) });
        assert_eq!(check_answer(&info(2, None), None, &twin).unwrap_err(), refusal);

        let mut old = hello(info(1, None));
        old.version = 0;
        assert_eq!(old.check(&info(2, None)), Err(Refusal::Version { ours: VERSION, theirs: 0 }));
    }
}
