//! The seam to the network.
//!
//! Owns: how a connection to an address is made, and where addresses come from. Never: what is said on
//! a connection. In a simulation another [`Dial`] takes the place of [`TcpDial`].

use std::io;

use futures_util::future::BoxFuture;
use ottla_protocol::model::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a peer: TCP, TLS over it, or anything that a test makes.
pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> PeerStream for T {}

/// Makes connections.
pub trait Dial: Send + Sync {
    /// Connects to `address`, which is `host:port`. The caller has a deadline of its own.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerStream>>>;
}

/// Says where the other brokers are.
pub trait AddressBook: Send + Sync {
    /// All brokers that this one should be connected to. This node itself may be among them.
    fn nodes(&self) -> Vec<NodeId>;
    /// `host:port` of a node's controller listener.
    fn address(&self, node: NodeId) -> Option<String>;
}

/// TCP of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerStream>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            // Frames are gathered before they are written: waiting for more only adds latency.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn PeerStream>)
        })
    }
}
