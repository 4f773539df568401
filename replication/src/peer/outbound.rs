//! The sending side of one connection.
//!
//! Owns: the queue of frames, its bound, and writing what has gathered in one vectored write. Never: what
//! is in a frame.
//!
//! Frames of all groups gather here while a write is under way, and leave together: under load there are
//! many frames to a write, and none waits for more to come.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::frame::OutFrame;

/// What is taken out of the queue for one round of writing, so that an urgent frame waits for no more.
const ROUND_BYTES: usize = 1024 * 1024;
/// Pieces of one vectored write.
const PIECES_MAX: usize = 128;

#[derive(Debug)]
struct Queued {
    frame: OutFrame,
    /// Given back when the frame was written.
    room: Option<Room>,
}

#[derive(Debug, Default)]
struct Queues {
    urgent: VecDeque<Queued>,
    others: VecDeque<Queued>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Outbound {
    queue: Mutex<Queues>,
    ready: Notify,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// Room for a frame, given back when it is dropped: for a request with its answer, so that what a peer
/// has taken in and not answered is bounded too, and its reader never has to stand still.
pub(crate) type Room = OwnedSemaphorePermit;

/// The connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed;

impl Outbound {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            queue: Mutex::default(),
            ready: Notify::new(),
            room: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// Waits until `bytes` fit, in the order of asking. A frame larger than the whole bound goes alone.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Closed> {
        let bytes = bytes.clamp(1, self.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Closed)
    }

    /// Sends a frame whose room is free again when it was written.
    pub(crate) fn push(&self, frame: OutFrame, room: Room) {
        self.queue.lock().others.push_back(Queued { frame, room: Some(room) });
        self.ready.notify_one();
    }

    /// For what must not wait behind others, and is small: heartbeats.
    pub(crate) fn push_urgent(&self, frame: OutFrame) {
        self.queue.lock().urgent.push_back(Queued { frame, room: None });
        self.ready.notify_one();
    }

    /// For frames whose number is bounded by others': requests that hold their room until they are
    /// answered, and answers, which are bounded by the requests.
    pub(crate) fn push_bounded(&self, frame: OutFrame) {
        self.queue.lock().others.push_back(Queued { frame, room: None });
        self.ready.notify_one();
    }

    /// Nobody waits for room any more.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    fn take(&self, sequence: &mut u32, pieces: &mut VecDeque<Bytes>) -> Vec<Room> {
        let mut queue = self.queue.lock();
        let (mut bytes, mut room) = (0, Vec::new());
        while bytes < ROUND_BYTES {
            let urgent = queue.urgent.pop_front();
            let Some(queued) = urgent.or_else(|| queue.others.pop_front()) else { break };
            bytes += queued.frame.len();
            room.extend(queued.room);
            pieces.extend(queued.frame.into_pieces(*sequence));
            *sequence = sequence.wrapping_add(1);
        }
        room
    }

    /// Writes what is pushed, until the stream breaks. `sequence` is that of the next frame.
    pub(crate) async fn write<W: AsyncWrite + Unpin>(
        &self,
        stream: &mut W,
        mut sequence: u32,
    ) -> io::Result<()> {
        let mut pieces = VecDeque::new();
        loop {
            let room = self.take(&mut sequence, &mut pieces);
            if pieces.is_empty() {
                self.ready.notified().await;
                continue;
            }
            write_all(stream, &mut pieces).await?;
            stream.flush().await?;
            drop(room);
        }
    }
}

/// Writes all pieces, many at a time.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(
    stream: &mut W,
    pieces: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let written = {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&*pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            stream.write_vectored(slices.get(..count).unwrap_or_default()).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(pieces, written);
    }
    Ok(())
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameKind, FrameReader};
    use super::*;

    fn frame(correlation: u64, payload: &[u8]) -> OutFrame {
        let payload = vec![Bytes::copy_from_slice(payload)];
        OutFrame::new(FrameKind::Append, correlation, OutFrame::buffer(), payload)
    }

    #[tokio::test]
    async fn frames_gather_and_an_urgent_one_goes_first() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let out = Outbound::new(1_000_000);
        for correlation in 1..=200 {
            let frame = frame(correlation, &[correlation as u8; 100]);
            let room = out.room(frame.len()).await.unwrap();
            out.push(frame, room);
        }
        out.push_urgent(frame(999, b""));
        let read = async {
            let mut reader = FrameReader::new(1 << 20);
            let mut seen = Vec::new();
            while seen.len() < 201 {
                let frame = reader.next(&mut theirs, || {}).await.unwrap();
                assert!(frame.payload.iter().all(|byte| *byte == frame.correlation as u8));
                seen.push(frame.correlation);
            }
            seen
        };
        let seen = tokio::select! {
            seen = read => seen,
            error = out.write(&mut ours, 0) => panic!("{error:?}"),
        };
        assert_eq!(seen, [vec![999], (1..=200).collect()].concat());
    }

    #[tokio::test]
    async fn a_full_queue_makes_wait_until_something_was_written() {
        let out = Outbound::new(500);
        let large = frame(1, &[0; 10_000]);
        let room = out.room(large.len()).await.unwrap();
        out.push(large, room);
        let mut sink = tokio::io::sink();
        let taken = {
            let mut waiting = std::pin::pin!(out.room(1));
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            tokio::select! {
                biased;
                taken = waiting => taken,
                error = out.write(&mut sink, 0) => panic!("{error:?}"),
            }
        };
        assert!(taken.is_ok());
        let mut second = std::pin::pin!(out.room(500));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        out.close();
        assert_eq!(second.await.err(), Some(Closed));
    }
}
