//! Listening sockets and the acceptance of connections.
//!
//! Owns: bound listeners, the set of connection tasks, and their drain at shutdown. Never: reads a
//! byte of a connection, or decides how many there may be (see [`super::limits`]).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::connection::{Connection, End};
use super::limits::{Admission, ConnectionLimits, NotAdmitted};
use super::stream::Stream;
use crate::api::handler::ConnectionInfo;
use crate::host::{Accepted, Host, SimulatedListener};
use crate::live_config::Configuration;
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
    pub socket: Listening,
    pub address: SocketAddr,
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Simulated(Box<dyn SimulatedListener>),
}

/// A connection that was accepted, with its own address and its peer's.
pub(crate) struct Incoming {
    pub(crate) stream: Stream,
    local: Option<SocketAddr>,
    peer: SocketAddr,
}

impl Listening {
    pub(crate) async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                let local = stream.local_addr().ok();
                // Requests and responses are whole messages: waiting for more only adds latency.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "TCP_NODELAY not set");
                }
                Ok(Incoming { stream: Stream::Tcp(stream), local, peer })
            }
            Self::Simulated(listener) => {
                let Accepted { stream, local, peer } = listener.accept().await?;
                Ok(Incoming { stream: Stream::Custom(stream), local: Some(local), peer })
            }
        }
    }
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
pub(crate) async fn bind(
    host: &Host,
    name: &str,
    address: SocketAddr,
    options: SocketOptions,
) -> io::Result<BoundListener> {
    let (socket, address) = match host {
        Host::System => {
            let socket = bind_socket(address, options)?;
            let address = socket.local_addr()?;
            (Listening::Tcp(socket), address)
        }
        Host::Simulated(network) => {
            let listener = network.bind(address).await?;
            let address = listener.address();
            (Listening::Simulated(listener), address)
        }
    };
    Ok(BoundListener { name: Arc::from(name), socket, address })
}

/// Binds one address of the operating system.
///
/// # Errors
/// What the operating system says.
pub(crate) fn bind_socket(address: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
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
    TcpListener::from_std(socket.into())
}

/// Accepts until `stop` turns true, then drains: connections finish what they have accepted.
pub(crate) async fn serve(listener: BoundListener, services: Arc<Services>, mut stop: Stopping) {
    let stopping = stop.clone();
    let mut tasks = JoinSet::new();
    let mut limits = CurrentLimits::of(&services);
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.socket.accept() => match accepted {
                Ok(incoming) => {
                    let rate = limits.get(&services).rate;
                    if let Some(turn) = services.connections.pace(services.clock.now().mono, rate) {
                        tokio::select! {
                            biased;
                            () = stop.stopped() => break,
                            () = services.clock.sleep_until(turn) => {}
                        }
                    }
                    let admitted = tokio::select! {
                        biased;
                        () = stop.stopped() => break,
                        admitted = admit(&services, &mut limits, incoming.peer.ip()) => admitted,
                    };
                    match admitted {
                        Ok(admission) => {
                            let serve = run(
                                &listener,
                                &services,
                                &stopping,
                                incoming,
                                (admission, BytesMut::new()),
                            );
                            tasks.spawn(serve);
                        }
                        Err(reason) => {
                            let (peer, listener) = (incoming.peer, &*listener.name);
                            tracing::warn!(%peer, listener, %reason, "connection refused");
                        }
                    }
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

/// The limits as they are now, made once per configuration.
#[derive(Debug)]
struct CurrentLimits {
    of: Arc<Configuration>,
    limits: ConnectionLimits,
}

impl CurrentLimits {
    fn of(services: &Services) -> Self {
        let of = services.configuration();
        Self { limits: ConnectionLimits::of(&of.broker.connections), of }
    }

    fn get(&mut self, services: &Services) -> &ConnectionLimits {
        if !Arc::ptr_eq(&self.of, &services.configuration()) {
            *self = Self::of(services);
        }
        &self.limits
    }
}

/// Waits for room in a full broker. An address that has too many connections gets no more.
async fn admit(
    services: &Services,
    limits: &mut CurrentLimits,
    peer: IpAddr,
) -> Result<Admission, NotAdmitted> {
    let mut told = false;
    loop {
        let freed = services.connections.freed();
        match services.connections.admit(peer, limits.get(services)) {
            Err(full @ NotAdmitted::Full(_)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("{full}");
                }
                freed.await;
            }
            admitted => return admitted,
        }
    }
}

/// Serves a connection of which `begun` was read already, where there is room for it.
pub(crate) async fn serve_one(
    listener: &BoundListener,
    services: &Arc<Services>,
    stop: &Stopping,
    incoming: Incoming,
    begun: BytesMut,
) {
    match admit(services, &mut CurrentLimits::of(services), incoming.peer.ip()).await {
        Ok(admission) => run(listener, services, stop, incoming, (admission, begun)).await,
        Err(reason) => {
            let (peer, listener) = (incoming.peer, &*listener.name);
            tracing::warn!(%peer, listener, %reason, "connection refused");
        }
    }
}

/// Serves a connection until it ends.
fn run(
    listener: &BoundListener,
    services: &Arc<Services>,
    stop: &Stopping,
    incoming: Incoming,
    (admission, begun): (Admission, BytesMut),
) -> impl Future<Output = ()> + Send + 'static {
    let Incoming { stream, local, peer } = incoming;
    let info = Arc::new(ConnectionInfo {
        id: services.connections.next_id(),
        peer,
        local: local.unwrap_or(listener.address),
        listener: Arc::clone(&listener.name),
    });
    let connection = Connection::new(stream, Arc::clone(services), Arc::clone(&info), begun);
    let mut stop = stop.clone();
    let services = Arc::clone(services);
    async move {
        let end = connection.run(async move { stop.stopped().await }).await;
        if matches!(end, End::Refused(_)) {
            services.metrics.refused.inc();
        }
        report(&info, end);
        drop(admission);
    }
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
