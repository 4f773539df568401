//! Listening sockets and the acceptance of connections.
//!
//! Owns: bound listeners, the set of connection tasks, and their drain at shutdown. Never: reads a
//! byte of a connection, or decides how many there may be (see [`super::limits`]).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{Connection, End};
use crate::api::handler::ConnectionInfo;
use crate::services::Services;
use crate::stop::Stopping;

/// Connections that may wait to be accepted, when the configuration does not say.
const BACKLOG: u32 = 1024;
/// After `accept` failed for want of descriptors or memory, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket with the name of its listener.
#[derive(Debug)]
pub(crate) struct BoundListener {
    pub name: Arc<str>,
    pub socket: TcpListener,
    pub address: SocketAddr,
}

/// What a listening socket and the connections that it accepts are given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketOptions {
    /// `socket.listen.backlog.size`
    pub backlog: Option<u32>,
    /// `socket.receive.buffer.bytes`; without it the operating system adapts the buffer.
    pub receive_buffer: Option<usize>,
    /// `socket.send.buffer.bytes`; likewise.
    pub send_buffer: Option<usize>,
}

/// Binds one address.
///
/// # Errors
/// What the operating system says, e.g. that the port is taken.
pub(crate) fn bind(
    name: &str,
    address: SocketAddr,
    options: SocketOptions,
) -> io::Result<BoundListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit the buffers.
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    let backlog = options.backlog.unwrap_or(BACKLOG);
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(BoundListener { name: Arc::from(name), socket, address })
}

/// Accepts until `stop` turns true, then drains: connections finish what they have accepted.
pub(crate) async fn serve(listener: BoundListener, services: Arc<Services>, mut stop: Stopping) {
    let stopping = stop.clone();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let rate = services.edge.limits.rate;
                    if let Some(turn) = services.connections.pace(services.clock.now().mono, rate) {
                        tokio::select! {
                            biased;
                            () = stop.stopped() => break,
                            () = services.clock.sleep_until(turn) => {}
                        }
                    }
                    accept(&listener, &services, &stopping, &mut tasks, stream, peer);
                },
                Err(error) => {
                    tracing::warn!(listener = %listener.name, %error, "accept failed");
                    let resume = services.clock.now().mono.plus(ACCEPT_PAUSE);
                    services.clock.sleep_until(resume).await;
                }
            },
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

fn accept(
    listener: &BoundListener,
    services: &Arc<Services>,
    stop: &Stopping,
    tasks: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let admission = match services.connections.admit(peer.ip(), &services.edge.limits) {
        Ok(admission) => admission,
        Err(reason) => {
            tracing::warn!(%peer, listener = %listener.name, reason, "connection refused");
            return;
        }
    };
    // Requests and responses are whole messages: waiting for more to send only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY not set");
    }
    let info = Arc::new(ConnectionInfo {
        id: services.connections.next_id(),
        peer,
        local: stream.local_addr().unwrap_or(listener.address),
        listener: Arc::clone(&listener.name),
    });
    let connection = Connection::new(stream, Arc::clone(services), Arc::clone(&info));
    let mut stop = stop.clone();
    let services = Arc::clone(services);
    tasks.spawn(async move {
        let end = connection.run(async move { stop.stopped().await }).await;
        if matches!(end, End::Refused(_)) {
            services.metrics.refused.inc();
        }
        report(&info, end);
        drop(admission);
    });
}

fn report(info: &ConnectionInfo, end: End) {
    let (peer, listener) = (info.peer, &*info.listener);
    match end {
        End::Refused(reason) => {
            tracing::warn!(%peer, listener, reason, "connection closed: request refused");
        }
        End::Io(error) => tracing::debug!(%peer, listener, %error, "connection broke"),
        End::PeerClosed => tracing::trace!(%peer, listener, "connection closed by its peer"),
        End::Idle => tracing::debug!(%peer, listener, "idle connection closed"),
        End::ShuttingDown => tracing::trace!(%peer, listener, "connection drained"),
    }
}
