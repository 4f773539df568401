//! A connection's bytes: a socket of the operating system, or what a simulation puts in its place.
//!
//! Owns: reading and writing without waiting, whichever it is. Never: frames, or which of the two.
//! The socket's branch is a direct call: the seam costs a comparison.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much of a simulated stream one read takes at most.
const READ_MAX: usize = 64 * 1024;

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> ByteStream for T {}

/// An open connection.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Custom(Box<dyn ByteStream>),
}

impl Stream {
    /// The operating system's socket, where there is one: for `sendfile`.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Custom(_) => None,
        }
    }

    /// Reads once into the room that `buffer` has. Ready with 0 is the end of the stream; pending, the
    /// task is woken when there is more.
    pub(crate) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let stream = match self {
            Self::Tcp(stream) => {
                return loop {
                    match stream.try_read_buf(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            ready!(stream.poll_read_ready(cx))?;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => break Poll::Ready(read),
                    }
                };
            }
            Self::Custom(stream) => stream,
        };
        let room = (buffer.capacity() - buffer.len()).clamp(1, READ_MAX);
        let mut bytes = vec![0; room];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Writes once. Pending, the task is woken when there is room.
    pub(crate) fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                match stream.try_write_vectored(parts) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(stream.poll_write_ready(cx))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    written => return Poll::Ready(written),
                }
            },
            Self::Custom(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    /// Takes what came and was not read, up to about `bytes_max`, and forgets it.
    pub(crate) fn discard(&mut self, bytes_max: usize) {
        let Self::Tcp(stream) = self else { return };
        let mut buffer = BytesMut::with_capacity(READ_MAX.min(bytes_max));
        let mut taken = 0;
        while taken < bytes_max {
            buffer.clear();
            match stream.try_read_buf(&mut buffer) {
                Ok(bytes) if bytes > 0 => taken += bytes,
                _ => return,
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Custom(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Custom(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_parts(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Custom(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Custom(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Custom(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_stream_of_the_callers_carries_what_a_socket_would() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut stream = Stream::Custom(Box::new(near));
        far.write_all(b"request").await.unwrap();
        let mut buffer = BytesMut::with_capacity(4);
        let read = poll_fn(|cx| stream.poll_read_buf(cx, &mut buffer)).await.unwrap();
        assert_eq!((read, &buffer[..]), (4, &b"requ"[..]));
        let parts = [IoSlice::new(b"an"), IoSlice::new(b"swer")];
        let written = poll_fn(|cx| stream.poll_write_parts(cx, &parts)).await.unwrap();
        let mut answer = vec![0; written];
        far.read_exact(&mut answer).await.unwrap();
        assert!(b"answer".starts_with(&answer) && written > 0);
        drop(far);
        buffer.reserve(16);
        while poll_fn(|cx| stream.poll_read_buf(cx, &mut buffer)).await.unwrap() > 0 {}
        assert_eq!(&buffer[..], b"request");
    }
}
