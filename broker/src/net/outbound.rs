//! Response bytes into a socket.
//!
//! Owns: the queue of segments that wait for the socket, vectored writes, `sendfile` of file
//! ranges. Never: builds responses or reorders them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use ottla_storage::fs::File;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::response::{ResponseFrame, Segment};

/// How many segments one vectored write takes.
const PARTS_MAX: usize = 64;
/// How much of a file range one `sendfile` asks for.
const SENDFILE_MAX: usize = 1 << 20;
/// How much of a file range is read at once where `sendfile` does not apply.
const READ_MAX: usize = 256 * 1024;

/// Segments in the order in which the client must see them.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Segment>,
    /// Bytes of all segments in the queue.
    len: usize,
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

    /// Writes once; `WouldBlock` when the socket is full.
    pub(crate) fn try_write(&mut self, stream: &TcpStream) -> io::Result<usize> {
        match self.queue.front_mut() {
            None => Ok(0),
            Some(Segment::Bytes(_)) => self.write_bytes(stream),
            Some(Segment::File { file, position, len }) => {
                let (file, position, len) = (Arc::clone(file), *position, *len);
                self.write_file(stream, &file, position, len as usize)
            }
        }
    }

    fn write_bytes(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let mut parts: [IoSlice<'_>; PARTS_MAX] = [IoSlice::new(&[]); PARTS_MAX];
        let mut count = 0;
        for (part, segment) in parts.iter_mut().zip(&self.queue) {
            let Segment::Bytes(bytes) = segment else { break };
            *part = IoSlice::new(bytes);
            count += 1;
        }
        let written = stream.try_write_vectored(&parts[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.consume_bytes(written);
        Ok(written)
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

    fn write_file(
        &mut self,
        stream: &TcpStream,
        file: &Arc<dyn File>,
        position: u64,
        len: usize,
    ) -> io::Result<usize> {
        let Some(os_file) = file.os_file() else {
            return self.load_file(file, position, len);
        };
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut at = position;
            rustix::fs::sendfile(stream, os_file, Some(&mut at), len.min(SENDFILE_MAX))
                .map_err(io::Error::from)
        })?;
        if sent == 0 {
            // The file is shorter than the log said: the frame cannot be completed honestly.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.consume_file(sent);
        Ok(sent)
    }

    /// Replaces the head of a file range by its bytes in memory.
    fn load_file(&mut self, file: &Arc<dyn File>, position: u64, len: usize) -> io::Result<usize> {
        let mut bytes = vec![0; len.min(READ_MAX)];
        file.read_exact_at(&mut bytes, position)?;
        let loaded = bytes.len();
        self.consume_file(loaded);
        self.len += loaded;
        self.queue.push_front(Segment::Bytes(Bytes::from(bytes)));
        Ok(loaded)
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
