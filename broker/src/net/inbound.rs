//! Frames out of a socket's bytes.
//!
//! Owns: the read buffer of one connection, how it grows, and the cut into frames. Never: decodes.
//! Invariant: memory grows with the bytes that came, not with the length that was announced.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};

use super::stream::Stream;

/// What is read at least at once.
const READ_MIN: usize = 16 * 1024;
/// Up to this length a frame's announced size is trusted for one allocation.
const TRUSTED_LEN: usize = 1024 * 1024;
/// Length of the size prefix.
const PREFIX: usize = 4;

/// The bytes that were read and not yet cut into frames.
#[derive(Debug)]
pub(crate) struct Inbound {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

/// What stands at the head of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A whole frame of this many bytes (without prefix) can be taken.
    Frame(usize),
    /// A frame of this many bytes was announced and is not complete.
    Partial(usize),
    /// Not even a prefix.
    Empty,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("a frame of {len} bytes is above socket.request.max.bytes={max}")]
    TooLarge { len: i64, max: usize },
    #[error("a frame length of {len} is negative")]
    Negative { len: i64 },
}

impl Inbound {
    /// For a stream of which these bytes were read already.
    pub(crate) fn beginning_with(first: BytesMut, frame_bytes_max: usize) -> Self {
        Self { buffer: first, frame_bytes_max }
    }

    pub(crate) fn head(&self) -> Result<Head, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(Head::Empty) };
        let len = i32::from_be_bytes(*prefix);
        let Ok(size) = usize::try_from(len) else {
            return Err(FrameError::Negative { len: i64::from(len) });
        };
        if size > self.frame_bytes_max {
            return Err(FrameError::TooLarge { len: i64::from(len), max: self.frame_bytes_max });
        }
        let complete = self.buffer.len() - PREFIX >= size;
        Ok(if complete { Head::Frame(size) } else { Head::Partial(size) })
    }

    /// Takes a frame that [`Self::head`] said is whole.
    pub(crate) fn take(&mut self, size: usize) -> Bytes {
        self.buffer.advance(PREFIX);
        self.buffer.split_to(size).freeze()
    }

    /// Gives the buffer back while nothing is in it: an idle connection holds none.
    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads once. Ready with 0 is the end of the stream; pending, the task is woken for more.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let read = stream.poll_read_buf(cx, &mut self.buffer);
        if read.is_pending() {
            self.release();
        }
        read
    }

    fn make_room(&mut self) {
        let wanted = match self.head() {
            Ok(Head::Partial(size)) => {
                let missing = (size + PREFIX).saturating_sub(self.buffer.len());
                // Beyond the trusted length the buffer at most doubles per read.
                missing.clamp(1, TRUSTED_LEN.max(self.buffer.len()))
            }
            _ => READ_MIN,
        };
        if self.buffer.capacity() - self.buffer.len() < wanted.min(READ_MIN) || wanted > READ_MIN {
            self.buffer.reserve(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8], max: usize) -> Inbound {
        let mut inbound = Inbound::beginning_with(BytesMut::new(), max);
        inbound.buffer.extend_from_slice(bytes);
        inbound
    }

    #[test]
    fn frames_are_cut_in_order() {
        let mut inbound = with(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 1], 100);
        assert_eq!(inbound.head(), Ok(Head::Frame(2)));
        assert_eq!(&inbound.take(2)[..], &[7, 8]);
        assert_eq!(inbound.head(), Ok(Head::Frame(0)));
        assert_eq!(inbound.take(0).len(), 0);
        assert_eq!(inbound.head(), Ok(Head::Partial(9)));
    }

    #[test]
    fn absurd_lengths_are_refused_before_any_memory_is_taken() {
        assert_eq!(
            with(&[0x7f, 0xff, 0xff, 0xff], 100).head(),
            Err(FrameError::TooLarge { len: i64::from(i32::MAX), max: 100 })
        );
        assert_eq!(with(&[0xff; 4], 100).head(), Err(FrameError::Negative { len: -1 }));
    }

    #[test]
    fn an_announced_length_does_not_grow_the_buffer_beyond_the_trusted_length() {
        let mut inbound = with(&(100 * 1024 * 1024_i32).to_be_bytes(), 200 << 20);
        inbound.make_room();
        assert!(inbound.buffer.capacity() <= 2 * TRUSTED_LEN, "{}", inbound.buffer.capacity());
    }
}
