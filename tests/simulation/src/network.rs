//! The simulated network, in the place of the operating system's sockets.
//!
//! Owns: turmoil's TCP behind the broker's seam, connections whose bytes come a second time. Never: other
//! faults (see `faults`).

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ottla_broker::ByteStream;
use ottla_broker::host::{Accepted, Pending, SimulatedListener, SimulatedNetwork};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::random::Random;

/// The network of the host that runs.
#[derive(Debug, Default)]
pub struct Turmoil {
    /// Decides which connections that this host makes are said again.
    repeats: Option<Mutex<Random>>,
}

impl Turmoil {
    /// One that repeats, now and then, all that was said on a connection up to then, on a new one: every
    /// request comes twice, the second time late.
    #[must_use]
    pub const fn repeating(random: Random) -> Self {
        Self { repeats: Some(Mutex::new(random)) }
    }

    /// When the bytes of a new connection come again; most never do.
    fn repeats_after(&self) -> Option<Duration> {
        let mut random = self.repeats.as_ref()?.lock();
        random.one_in(3).then(|| random.millis(50..2_000))
    }
}

/// What was said on a connection, from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    const BYTES_MAX: usize = 256 << 10;

    pub fn note(&self, bytes: &[u8]) {
        let mut said = self.0.lock();
        let room = Self::BYTES_MAX.saturating_sub(said.len());
        said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Says it again, on a connection of its own whose answers nobody hears.
    ///
    /// # Errors
    /// Those of the network.
    pub async fn repeat(&self, to: &str) -> io::Result<()> {
        /// Until everything that was said is carried out.
        const LINGER: Duration = Duration::from_millis(400);
        let bytes = self.0.lock().clone();
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&bytes).await?;
        let mut answers = Vec::new();
        tokio::time::timeout(LINGER, stream.read_to_end(&mut answers)).await??;
        Ok(())
    }
}

/// A connection that is listened to.
#[derive(Debug)]
struct Recorded {
    stream: TcpStream,
    said: Said,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.said.note(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.poll_write(cx, first.map_or(&[], |piece| piece))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl SimulatedNetwork for Turmoil {
    fn bind(&self, address: SocketAddr) -> Pending<'_, Box<dyn SimulatedListener>> {
        Box::pin(async move {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok(Box::new(Listener { socket, address }) as Box<dyn SimulatedListener>)
        })
    }

    fn dial<'a>(&'a self, to: &'a str) -> Pending<'a, Box<dyn ByteStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            let Some(after) = self.repeats_after() else {
                return Ok(Box::new(stream) as Box<dyn ByteStream>);
            };
            let (said, to) = (Said::default(), to.to_owned());
            let again = said.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                if let Err(error) = again.repeat(&to).await {
                    tracing::debug!(%error, to, "nothing is repeated");
                }
            });
            Ok(Box::new(Recorded { stream, said }) as Box<dyn ByteStream>)
        })
    }
}

impl SimulatedListener for Listener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> Pending<'_, Accepted> {
        Box::pin(async move {
            let (stream, peer) = self.socket.accept().await?;
            let local = stream.local_addr()?;
            Ok(Accepted { stream: Box::new(stream), local, peer })
        })
    }
}
