//! Making a connection and introducing oneself.
//!
//! Owns: the first exchange on a connection that this node makes. Never: what is sent afterwards.

use std::collections::VecDeque;

use ottla_protocol::model::NodeId;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::dial::PeerStream;
use super::error::{LinkError, Refusal};
use super::frame::{FrameKind, FrameReader, OutFrame};
use super::hello::{
    HELLO_BYTES_MAX, Hello, Lane, MAGIC, PeerInfo, VERSION, check_answer, read_info,
};
use super::outbound::write_all;
use super::shared::Shared;
use super::wire::WireReader;

/// A connection whose two ends know each other.
pub(crate) struct Connected {
    pub(crate) info: PeerInfo,
    pub(crate) read: ReadHalf<Box<dyn PeerStream>>,
    pub(crate) write: WriteHalf<Box<dyn PeerStream>>,
    pub(crate) frames: FrameReader,
}

/// The sequence of the first frame behind the introduction, in both directions.
pub(crate) const FIRST_SEQUENCE: u32 = 1;

/// Connects to `address` and introduces this node.
///
/// # Errors
/// The address leads nowhere, to the wrong peer, or the peer refuses.
pub(crate) async fn connect(
    shared: &Shared,
    address: &str,
    to: Option<NodeId>,
    lane: Lane,
) -> Result<Connected, LinkError> {
    let limit = shared.settings.connect_timeout;
    tokio::time::timeout(limit, introduce(shared, address, to, lane))
        .await
        .unwrap_or(Err(LinkError::ConnectTimeout(limit)))
}

async fn introduce(
    shared: &Shared,
    address: &str,
    to: Option<NodeId>,
    lane: Lane,
) -> Result<Connected, LinkError> {
    let stream = shared.dial.dial(address).await?;
    let (mut read, mut write) = tokio::io::split(stream);
    let me = shared.info();
    let mut head = OutFrame::buffer();
    Hello { version: VERSION, lane, to, from: me.clone() }.put(&mut head);
    let mut pieces = VecDeque::from([bytes::Bytes::from_static(&MAGIC)]);
    pieces.extend(OutFrame::new(FrameKind::Hello, 0, head, Vec::new()).into_pieces(0));
    write_all(&mut write, &mut pieces).await?;
    write.flush().await?;

    let mut frames = FrameReader::new(HELLO_BYTES_MAX);
    let answer = frames.next(&mut read, || {}).await?;
    let mut words = WireReader::new(answer.head);
    let info = match answer.kind {
        FrameKind::Welcome => read_info(&mut words)?,
        FrameKind::Refused => return Err(Refusal::read(&mut words)?.into()),
        _ => return Err(LinkError::OutOfPlace),
    };
    check_answer(&me, to, &info)?;
    frames.set_frame_bytes_max(shared.settings.frame_bytes_max);
    Ok(Connected { info, read, write, frames })
}
