//! Listening sockets and the acceptance of connections.
//!
//! Owns: bound listeners, connection limits (in all and per address), the set of connection tasks,
//! and their drain at shutdown. Never: reads a byte of a connection.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{Connection, End};
use crate::api::handler::ConnectionInfo;
use crate::services::Services;
use crate::stop::Stopping;

const BACKLOG: i32 = 1024;
/// After `accept` failed for want of descriptors or memory, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections are allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// `max.connections`
    pub total: usize,
    /// `max.connections.per.ip`
    pub per_ip: usize,
}

/// A bound socket with the name of its listener.
#[derive(Debug)]
pub(crate) struct BoundListener {
    pub name: Arc<str>,
    pub socket: TcpListener,
    pub address: SocketAddr,
}

/// Binds one address.
///
/// # Errors
/// What the operating system says, e.g. that the port is taken.
pub(crate) fn bind(name: &str, address: SocketAddr) -> io::Result<BoundListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(BoundListener { name: Arc::from(name), socket, address })
}

/// Open connections by peer address, for the limits and the metrics.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTable {
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
    open: AtomicU64,
}

impl ConnectionTable {
    /// Connections that are open now.
    #[must_use]
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    fn admit(self: &Arc<Self>, ip: IpAddr, limits: ConnectionLimits) -> Result<Admission, String> {
        let mut by_ip = self.by_ip.lock();
        if self.open.load(Ordering::Relaxed) >= limits.total as u64 {
            return Err(format!("max.connections={} is reached", limits.total));
        }
        let count = by_ip.entry(ip).or_default();
        if *count >= limits.per_ip {
            return Err(format!("max.connections.per.ip={} is reached for {ip}", limits.per_ip));
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Admission { table: Arc::clone(self), ip })
    }
}

/// One counted connection; uncounted on drop.
#[derive(Debug)]
struct Admission {
    table: Arc<ConnectionTable>,
    ip: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut by_ip = self.table.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
        self.table.open.fetch_sub(1, Ordering::Relaxed);
    }
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
    let admission = match services.connections.admit(peer.ip(), services.edge.limits) {
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
        id: services.connections.next_id.fetch_add(1, Ordering::Relaxed),
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
