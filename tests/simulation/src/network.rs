//! The simulated network, in the place of the operating system's sockets.
//!
//! Owns: turmoil's TCP behind the broker's seam. Never: faults (see `faults`).

use std::fmt;
use std::net::SocketAddr;

use ottla_broker::ByteStream;
use ottla_broker::host::{Accepted, Pending, SimulatedListener, SimulatedNetwork};
use turmoil::net::{TcpListener, TcpStream};

/// The network of the host that runs.
#[derive(Debug, Default)]
pub struct Turmoil;

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
            Ok(Box::new(stream) as Box<dyn ByteStream>)
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
