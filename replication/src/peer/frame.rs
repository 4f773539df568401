//! Frames between peers.
//!
//! Owns: the head of a frame, its checksum and sequence, cutting frames out of what was read. Never:
//! what a message means.
//!
//! ```text
//!   u32 length of what follows | u32 sequence | u32 crc | u64 correlation | u8 kind | u32 head bytes
//!   | head | payload
//! ```
//!
//! The crc covers the length, and what stands behind it up to the end of the head; payloads are
//! record batches, which have checksums of their own that the log checks. The sequence counts the
//! frames of one direction of a connection: a frame that was lost or repeated on the way ends the
//! connection.
//!
//! Invariant: memory grows with the bytes that came, not with the length that was announced.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::LinkError;
use super::wire::CodecError;

const PREFIX: usize = 4;
/// Sequence, crc, correlation, kind, head bytes.
const FIXED: usize = 4 + 4 + 8 + 1 + 4;
/// All that precedes the head.
pub(crate) const FRAME_HEAD: usize = PREFIX + FIXED;
const CRC_FROM: usize = PREFIX + 8;

/// What is read at least at once.
const READ_MIN: usize = 16 * 1024;
/// Up to this length a frame's announced size is trusted for one allocation.
const TRUSTED_LEN: usize = 1024 * 1024;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FrameKind {
    Hello = 1,
    Welcome = 2,
    Refused = 3,
    Heartbeat = 8,
    Append = 16,
    Vote = 17,
    PreVote = 18,
    Transfer = 19,
    SnapshotBegin = 20,
    SnapshotChunk = 21,
    SnapshotEnd = 22,
    /// The sender has given it up.
    SnapshotCancel = 23,
    Control = 32,
    /// What was asked for; its form follows from the question.
    Answer = 64,
    /// Why there is no answer.
    Fault = 65,
}

impl FrameKind {
    fn from_wire(tag: u8) -> Result<Self, CodecError> {
        use FrameKind as K;
        [
            K::Hello,
            K::Welcome,
            K::Refused,
            K::Heartbeat,
            K::Append,
            K::Vote,
            K::PreVote,
            K::Transfer,
            K::SnapshotBegin,
            K::SnapshotChunk,
            K::SnapshotEnd,
            K::SnapshotCancel,
            K::Control,
            K::Answer,
            K::Fault,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == tag)
        .ok_or(CodecError::Tag { what: "a frame", tag })
    }
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub correlation: u64,
    pub kind: FrameKind,
    pub head: Bytes,
    pub payload: Bytes,
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        FRAME_HEAD + self.head.len() + self.payload.len()
    }
}

/// A frame to be sent. The sequence is filled in when it is written.
#[derive(Debug)]
pub(crate) struct OutFrame {
    head: Vec<u8>,
    pub payload: Vec<Bytes>,
    len: usize,
}

impl OutFrame {
    /// A buffer for the head, with room for what precedes it.
    pub(crate) fn buffer() -> Vec<u8> {
        let mut head = Vec::with_capacity(128);
        head.resize(FRAME_HEAD, 0);
        head
    }

    /// `head` must have begun as [`Self::buffer`].
    pub(crate) fn new(
        kind: FrameKind,
        correlation: u64,
        mut head: Vec<u8>,
        payload: Vec<Bytes>,
    ) -> Self {
        let len = head.len() + payload.iter().map(Bytes::len).sum::<usize>();
        let head_bytes = head.len() - FRAME_HEAD;
        put_u32(&mut head, 0, len - PREFIX);
        if let Some(place) = head.get_mut(CRC_FROM..CRC_FROM + 8) {
            place.copy_from_slice(&correlation.to_be_bytes());
        }
        if let Some(place) = head.get_mut(CRC_FROM + 8) {
            *place = kind as u8;
        }
        put_u32(&mut head, CRC_FROM + 9, head_bytes);
        let crc = checksum(len - PREFIX, head.get(CRC_FROM..).unwrap_or_default());
        put_u32(&mut head, PREFIX + 4, crc as usize);
        Self { head, payload, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The pieces to write, in order.
    pub(crate) fn into_pieces(mut self, sequence: u32) -> impl Iterator<Item = Bytes> {
        put_u32(&mut self.head, PREFIX, sequence as usize);
        std::iter::once(Bytes::from(self.head))
            .chain(self.payload)
            .filter(|piece| !piece.is_empty())
    }
}

fn checksum(len: usize, covered: &[u8]) -> u32 {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    crc32c::crc32c_append(crc32c::crc32c(&len.to_be_bytes()), covered)
}

fn put_u32(head: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    if let Some(place) = head.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Cuts frames out of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
    sequence: u32,
}

impl FrameReader {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max, sequence: 0 }
    }

    /// Once the peer is known, its frames may be longer.
    pub(crate) fn set_frame_bytes_max(&mut self, max: usize) {
        self.frame_bytes_max = max;
    }

    /// A frame that is there already.
    ///
    /// # Errors
    /// The bytes are no frame, or not the one that is due: the connection is of no more use.
    pub(crate) fn cut(&mut self) -> Result<Option<Frame>, LinkError> {
        let Some(len) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < PREFIX + len {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(PREFIX + len).freeze();
        if self.buffer.is_empty() {
            // An idle connection holds no memory.
            self.buffer = BytesMut::new();
        }
        let crc_of = bytes.slice(CRC_FROM..);
        bytes.advance(PREFIX);
        let sequence = bytes.get_u32();
        let crc = bytes.get_u32();
        let correlation = bytes.get_u64();
        let kind = bytes.get_u8();
        let head_bytes = bytes.get_u32() as usize;
        if head_bytes > bytes.len() {
            return Err(CodecError::Short("a frame").into());
        }
        let covered = crc_of.get(..FRAME_HEAD - CRC_FROM + head_bytes).unwrap_or_default();
        if checksum(len, covered) != crc {
            return Err(CodecError::Checksum.into());
        }
        if sequence != self.sequence {
            return Err(LinkError::Sequence { expected: self.sequence, got: sequence });
        }
        self.sequence = self.sequence.wrapping_add(1);
        let head = bytes.split_to(head_bytes);
        Ok(Some(Frame { correlation, kind: FrameKind::from_wire(kind)?, head, payload: bytes }))
    }

    /// The next frame. Losing the future loses no bytes. `heard` is called when bytes come.
    ///
    /// # Errors
    /// As [`Self::cut`], and when the stream ends or breaks.
    pub(crate) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
        heard: impl Fn(),
    ) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(frame);
            }
            self.make_room()?;
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(LinkError::Ended);
            }
            heard();
        }
    }

    fn announced(&self) -> Result<Option<usize>, LinkError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len < FIXED || len > self.frame_bytes_max {
            return Err(LinkError::FrameSize { bytes: len, max: self.frame_bytes_max });
        }
        Ok(Some(len))
    }

    fn make_room(&mut self) -> Result<(), LinkError> {
        let missing = match self.announced()? {
            Some(len) => (PREFIX + len).saturating_sub(self.buffer.len()),
            None => READ_MIN,
        };
        // Beyond the trusted length the buffer at most doubles per read.
        let wanted = missing.clamp(READ_MIN, TRUSTED_LEN.max(self.buffer.len()));
        if self.buffer.capacity() - self.buffer.len() < wanted.min(READ_MIN) || wanted > READ_MIN {
            self.buffer.reserve(wanted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
