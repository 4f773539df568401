//! Response bytes into a socket.
//!
//! Owns: the queue of segments that wait for the socket, vectored writes, `sendfile` of file ranges
//! that are in the page cache, and the reading of those that are not, off the worker threads. Never:
//! builds responses or reorders them. Invariant: a frame that a file cannot complete ends the
//! connection, as in Kafka: its length is on the wire already, so that there is no honest answer.
//! The file's directory is told, for everybody else.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ottla_storage::fs::File;
use tokio::io::Interest;
use tokio::task::JoinHandle;

use super::response::{ResponseFrame, Segment};
use super::stream::Stream;

/// How many segments one vectored write takes.
const PARTS_MAX: usize = 64;
/// How much of a file range one `sendfile`, or one read of a cold file, asks for.
const CHUNK_MAX: usize = 512 * 1024;

/// What an attempt to send a file came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    /// There was progress, be it that a read has begun.
    Some,
    /// The socket has to drain first.
    SocketFull,
}

/// Segments in the order in which the client must see them.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Segment>,
    /// Bytes of all segments in the queue.
    len: usize,
    /// The head of the file range at the front of the queue, being read from the disk.
    loading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Outbound {
    pub(crate) fn push(&mut self, frame: ResponseFrame) {
        self.len += frame.len();
        self.queue.extend(frame.into_segments());
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes as much as the socket takes. Ready with `Ok` when all is written.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            if self.loading.is_some() {
                ready!(self.poll_load(cx))?;
            }
            match self.queue.front() {
                None => {}
                Some(Segment::Bytes(_)) => ready!(self.poll_write_bytes(cx, stream))?,
                Some(Segment::File { file, position, len, .. }) => {
                    let (file, position, len) = (Arc::clone(file), *position, *len as usize);
                    match self.write_file(stream, &file, position, len) {
                        Ok(Sent::Some) => {}
                        Ok(Sent::SocketFull) => {
                            if let Some(socket) = stream.socket() {
                                ready!(socket.poll_write_ready(cx))?;
                            }
                        }
                        Err(error) => return Poll::Ready(Err(self.unreadable(error))),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let mut parts: [IoSlice<'_>; PARTS_MAX] = [IoSlice::new(&[]); PARTS_MAX];
        let mut count = 0;
        for (part, segment) in parts.iter_mut().zip(&self.queue) {
            let Segment::Bytes(bytes) = segment else { break };
            *part = IoSlice::new(bytes);
            count += 1;
        }
        let written = ready!(stream.poll_write_parts(cx, &parts[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.consume_bytes(written);
        Poll::Ready(Ok(()))
    }

    fn consume_bytes(&mut self, mut written: usize) {
        self.len = self.len.saturating_sub(written);
        while let Some(Segment::Bytes(bytes)) = self.queue.front_mut() {
            if bytes.len() > written {
                bytes.advance(written);
                return;
            }
            written -= bytes.len();
            self.queue.pop_front();
        }
    }

    /// Sends some of the file range at the front, or begins to read it. An error is the file's.
    fn write_file(
        &mut self,
        stream: &Stream,
        file: &Arc<dyn File>,
        position: u64,
        len: usize,
    ) -> io::Result<Sent> {
        let (Some(os_file), Some(socket)) = (file.os_file(), stream.socket()) else {
            // A file in memory hands out what it holds.
            let bytes = file.read_bytes_at(position, len)?;
            return self.replace_head(bytes).map(|()| Sent::Some);
        };
        let chunk = len.min(CHUNK_MAX);
        if !is_cached(os_file, position + chunk as u64 - 1) {
            self.load(file, position, chunk);
            return Ok(Sent::Some);
        }
        let sent = socket.try_io(Interest::WRITABLE, || {
            let mut at = position;
            rustix::fs::sendfile(socket, os_file, Some(&mut at), chunk).map_err(io::Error::from)
        });
        match sent {
            // The file is shorter than the log said.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => {
                self.consume_file(sent);
                Ok(Sent::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::SocketFull),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Sent::Some),
            // It does not say which of the two failed. A read tells of the file, and writing what
            // was read of the socket.
            Err(_) => {
                self.load(file, position, chunk);
                Ok(Sent::Some)
            }
        }
    }

    /// Begins to read a chunk off this thread.
    fn load(&mut self, file: &Arc<dyn File>, position: u64, chunk: usize) {
        let file = Arc::clone(file);
        let load = move || file.read_bytes_at(position, chunk);
        self.loading = Some(tokio::task::spawn_blocking(load));
    }

    /// The file at the front cannot be read: whoever its disk concerns is told.
    fn unreadable(&self, error: io::Error) -> io::Error {
        if let Some(Segment::File { home, .. }) = self.queue.front() {
            tracing::warn!(%error, "closing a connection: stored bytes of its answer cannot be read");
            if let Some(home) = home {
                home.unreadable(&error);
            }
        }
        error
    }

    /// Waits for the bytes of a cold file, which are read off this thread.
    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(load) = self.loading.as_mut() else { return Poll::Ready(Ok(())) };
        let loaded = ready!(Pin::new(load).poll(cx));
        self.loading = None;
        let read = loaded.map_err(io::Error::other)?;
        let replaced = read.and_then(|bytes| self.replace_head(bytes));
        Poll::Ready(replaced.map_err(|error| self.unreadable(error)))
    }

    /// Puts bytes in the place of the head of the file range at the front.
    fn replace_head(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.consume_file(bytes.len());
        self.len += bytes.len();
        self.queue.push_front(Segment::Bytes(bytes));
        Ok(())
    }

    fn consume_file(&mut self, sent: usize) {
        self.len = self.len.saturating_sub(sent);
        if let Some(Segment::File { position, len, .. }) = self.queue.front_mut() {
            *position += sent as u64;
            *len = len.saturating_sub(u32::try_from(sent).unwrap_or(u32::MAX));
            if *len == 0 {
                self.queue.pop_front();
            }
        }
    }
}

/// Whether a byte of a file can be read without waiting for the disk. Where the system cannot tell,
/// it is assumed to be.
#[cfg(target_os = "linux")]
fn is_cached(file: &std::fs::File, position: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    !matches!(preadv2(file, &mut parts, position, ReadWriteFlags::NOWAIT), Err(Errno::AGAIN))
}

#[cfg(not(target_os = "linux"))]
fn is_cached(_file: &std::fs::File, _position: u64) -> bool {
    true
}

#[cfg(test)]
mod tests;
