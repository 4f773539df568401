//! What can go wrong between two brokers, with cause and cure.
//!
//! Owns: the errors of calls, of connections, and of the far side, and their form on the wire. Never: an
//! answer to a Kafka client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::NodeId;

use super::wire::{CodecError, WireReader, WireWrite};

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    #[error(
        "no address is known for node {0}: it has never registered, or is missing from \
         controller.quorum.voters"
    )]
    NoAddress(NodeId),
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// It may or may not have been carried out.
    #[error("the connection broke before the answer came: {0}")]
    Broken(Arc<LinkError>),
    /// It may or may not have been carried out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the answer cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    #[error("this broker is stopping")]
    Stopping,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer closed the connection")]
    Ended,
    #[error("bytes without sense: {0}")]
    Codec(#[from] CodecError),
    #[error("a frame of {bytes} bytes is outside the bounds of a frame (at most {max})")]
    FrameSize { bytes: usize, max: usize },
    #[error("frame {got} came where frame {expected} was due: the network lost or repeated bytes")]
    Sequence { expected: u32, got: u32 },
    #[error("a frame of this kind has no place here")]
    OutOfPlace,
    #[error("the peer has not answered a heartbeat for {0:?}")]
    Silent(Duration),
    #[error("the peer takes in no more requests for {0:?}")]
    Stalled(Duration),
    #[error("connecting took longer than {0:?}")]
    ConnectTimeout(Duration),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this broker is stopping")]
    Stopping,
}

impl LinkError {
    /// Nobody listens at the address: the process is gone, rather than slow or cut off.
    #[must_use]
    pub fn is_nobody_there(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Why one broker does not talk to another.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the peer speaks version {theirs} of the broker protocol and this node up to {ours}; upgrade \
         the older of the two"
    )]
    Version { ours: u16, theirs: u16 },
    #[error(
        "node {node} belongs to cluster {theirs} and not to {ours}: an address in \
         controller.quorum.voters or bootstrap.servers leads to another cluster, or log.dirs was \
         copied from one"
    )]
    Cluster { node: NodeId, ours: String, theirs: String },
    #[error(
        "the address of node {expected} leads to node {actual}: correct the address, or the node.id of \
         that broker"
    )]
    Node { expected: NodeId, actual: NodeId },
    #[error(
        "two brokers run with node.id={node}; give each its own, and never start a copy of a broker's \
         log.dirs beside it"
    )]
    DuplicateNode { node: NodeId },
    #[error("the broker is stopping")]
    Stopping,
}

/// What the far side says instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    #[error("the node has no replica of this partition, or has not opened it yet")]
    NoSuchGroup,
    #[error("the partition's replica is in another log directory than the one addressed")]
    OtherDirectory,
    #[error("the partition's replica has stopped: {0}")]
    Stopped(String),
    #[error("the snapshot cannot be taken in: {0}")]
    Snapshot(String),
    #[error("the request cannot be read: {0}")]
    Unreadable(String),
    /// What [`super::ControlService`] said.
    #[error("{message} (code {code})")]
    Control { code: u16, message: String },
}

/// Longest text that is sent with an error.
const TEXT_MAX: usize = 1024;

fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(TEXT_MAX);
    out.put_bytes(text.get(..end).unwrap_or_default().as_bytes());
}

impl Fault {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::NoSuchGroup => out.push(0),
            Self::OtherDirectory => out.push(1),
            Self::Stopped(reason) => {
                out.push(2);
                put_text(out, reason);
            }
            Self::Snapshot(reason) => {
                out.push(3);
                put_text(out, reason);
            }
            Self::Unreadable(reason) => {
                out.push(4);
                put_text(out, reason);
            }
            Self::Control { code, message } => {
                out.push(5);
                out.put_varint(u64::from(*code));
                put_text(out, message);
            }
        }
    }

    pub(crate) fn read(read: &mut WireReader) -> Result<Self, CodecError> {
        Ok(match read.u8("a fault")? {
            0 => Self::NoSuchGroup,
            1 => Self::OtherDirectory,
            2 => Self::Stopped(read.text("a reason")?),
            3 => Self::Snapshot(read.text("a reason")?),
            4 => Self::Unreadable(read.text("a reason")?),
            5 => Self::Control {
                code: u16::try_from(read.varint("a code")?)
                    .map_err(|_| CodecError::Overflow("a code"))?,
                message: read.text("a message")?,
            },
            tag => return Err(CodecError::Tag { what: "a fault", tag }),
        })
    }
}

impl Refusal {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version { ours, theirs } => {
                out.push(0);
                out.put_varint(u64::from(*ours));
                out.put_varint(u64::from(*theirs));
            }
            Self::Cluster { node, ours, theirs } => {
                out.push(1);
                out.put_node(*node);
                put_text(out, ours);
                put_text(out, theirs);
            }
            Self::Node { expected, actual } => {
                out.push(2);
                out.put_node(*expected);
                out.put_node(*actual);
            }
            Self::DuplicateNode { node } => {
                out.push(3);
                out.put_node(*node);
            }
            Self::Stopping => out.push(4),
        }
    }

    pub(crate) fn read(read: &mut WireReader) -> Result<Self, CodecError> {
        let version = |read: &mut WireReader| {
            u16::try_from(read.varint("a version")?).map_err(|_| CodecError::Overflow("a version"))
        };
        Ok(match read.u8("a refusal")? {
            0 => Self::Version { ours: version(read)?, theirs: version(read)? },
            1 => Self::Cluster {
                node: read.node()?,
                ours: read.text("a cluster id")?,
                theirs: read.text("a cluster id")?,
            },
            2 => Self::Node { expected: read.node()?, actual: read.node()? },
            3 => Self::DuplicateNode { node: read.node()? },
            4 => Self::Stopping,
            tag => return Err(CodecError::Tag { what: "a refusal", tag }),
        })
    }
}
