//! The listeners that other brokers use.
//!
//! Owns: telling a link of a broker from a connection of a client by its first bytes, and serving links
//! before the broker serves clients. Never: what is said on either. Invariant: clients are drained at the
//! end as those of any other listener are; links and connections that said nothing are cut.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use ottla_replication::peer::{MAGIC, Peers};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::net::listener::{self, BoundListener, Incoming};
use crate::services::Services;
use crate::stop::Stopping;

/// For the first bytes of a connection.
const FIRST_BYTES_WITHIN: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Links and connections of which nothing was heard yet; further ones wait in the backlog.
const UNKNOWN_MAX: usize = 1_024;

/// Serves links of brokers from the start, and clients once there are services.
pub(crate) async fn serve(
    bound: BoundListener,
    peers: Arc<Peers>,
    services: Arc<OnceLock<Arc<Services>>>,
    mut stop: Stopping,
) {
    let bound = Arc::new(bound);
    let stopping = stop.clone();
    let mut tasks = JoinSet::new();
    let clients = Arc::new(Mutex::new(JoinSet::new()));
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = bound.socket.accept(), if tasks.len() < UNKNOWN_MAX => match accepted {
                Ok(incoming) => {
                    let first = First {
                        bound: Arc::clone(&bound),
                        peers: Arc::clone(&peers),
                        services: Arc::clone(&services),
                        clients: Arc::clone(&clients),
                        stop: stopping.clone(),
                    };
                    tasks.spawn(first.serve(incoming));
                }
                Err(error) => {
                    tracing::warn!(listener = %bound.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(bound);
    tasks.shutdown().await;
    let mut clients = std::mem::take(&mut *clients.lock());
    while clients.join_next().await.is_some() {}
}

struct First {
    bound: Arc<BoundListener>,
    peers: Arc<Peers>,
    services: Arc<OnceLock<Arc<Services>>>,
    /// They end by themselves once the broker stops, after their last answer.
    clients: Arc<Mutex<JoinSet<()>>>,
    stop: Stopping,
}

impl First {
    async fn serve(self, mut incoming: Incoming) {
        let first = first_bytes(&mut incoming);
        let Ok(Ok(first)) = tokio::time::timeout(FIRST_BYTES_WITHIN, first).await else { return };
        if first[..] == MAGIC {
            self.peers.accept(incoming.stream).await;
            return;
        }
        let Some(services) = self.services.get().map(Arc::clone) else { return };
        let Self { bound, stop, clients, .. } = self;
        let mut clients = clients.lock();
        while clients.try_join_next().is_some() {}
        clients.spawn(async move {
            listener::serve_one(&bound, &services, &stop, incoming, first).await;
        });
    }
}

/// The first bytes: the whole magic of a link, or what shows that it is none. (A Kafka frame's length
/// never looks like it.)
async fn first_bytes(incoming: &mut Incoming) -> std::io::Result<BytesMut> {
    let mut first = BytesMut::with_capacity(MAGIC.len());
    while first.len() < MAGIC.len() && MAGIC.starts_with(&first) {
        let room = MAGIC.len() - first.len();
        let mut more = [0; MAGIC.len()];
        let read = incoming.stream.read(&mut more[..room]).await?;
        if read == 0 {
            break;
        }
        first.extend_from_slice(&more[..read]);
    }
    Ok(first)
}
