//! The machine that a broker runs on: the operating system's, or one that a simulation plays.
//!
//! Owns: where sockets come from and on which thread work waits for a disk. Never: what is said over
//! a socket, or what the work is. Invariant: on a simulated host no thread is started, so that one
//! seed gives one history.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ottla_replication::peer::{Dial, PeerStream};

use crate::net::stream::{ByteStream, Stream};

/// A future that a [`SimulatedNetwork`] hands out.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Where a broker runs.
#[derive(Clone, Debug, Default)]
pub enum Host {
    /// Sockets and threads of the operating system.
    #[default]
    System,
    /// The caller's network, and no thread but the caller's.
    Simulated(Arc<dyn SimulatedNetwork>),
}

/// Links between brokers are dialed where the broker runs.
impl Dial for Host {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerStream>>> {
        Box::pin(async move {
            let stream = Host::dial(self, address).await?;
            Ok(Box::new(stream) as Box<dyn PeerStream>)
        })
    }
}

/// A network in place of the operating system's.
pub trait SimulatedNetwork: Send + Sync + fmt::Debug {
    /// Listens at one address of this host.
    fn bind(&self, address: SocketAddr) -> Pending<'_, Box<dyn SimulatedListener>>;
    /// Connects to `host:port`.
    fn dial<'a>(&'a self, to: &'a str) -> Pending<'a, Box<dyn ByteStream>>;
}

/// A listening socket of a [`SimulatedNetwork`].
pub trait SimulatedListener: Send + Sync + fmt::Debug {
    fn address(&self) -> SocketAddr;
    /// The next connection, its own address and its peer's.
    fn accept(&self) -> Pending<'_, Accepted>;
}

/// A connection that came in.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Box<dyn ByteStream>,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// The work panicked, or the runtime is gone; the panic was told by the runtime.
#[derive(Debug, thiserror::Error)]
#[error("work on a disk did not end")]
pub(crate) struct Unfinished;

impl Host {
    /// Connects to a peer, `host:port`.
    ///
    /// # Errors
    /// Those of the network.
    pub(crate) async fn dial(&self, to: &str) -> io::Result<Stream> {
        match self {
            Self::System => {
                let stream = tokio::net::TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Simulated(network) => Ok(Stream::Custom(network.dial(to).await?)),
        }
    }

    /// Runs work that waits for a disk, where it holds up nobody else.
    ///
    /// # Errors
    /// When the work panicked.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        match self {
            Self::System => tokio::task::spawn_blocking(work).await.map_err(|_| Unfinished),
            Self::Simulated(_) => Ok(work()),
        }
    }

    /// As [`Self::on_disk`], for work that nobody waits for.
    pub(crate) fn start_on_disk(&self, work: impl FnOnce() + Send + 'static) {
        match self {
            Self::System => drop(tokio::task::spawn_blocking(work)),
            Self::Simulated(_) => drop(tokio::spawn(async move { work() })),
        }
    }
}
