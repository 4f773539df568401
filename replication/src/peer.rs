//! The brokers of a cluster among themselves.
//!
//! Owns: links to the other brokers, what travels on them, who is alive, and the elections that follow.
//! Never: what a control call means, where brokers live (both are the embedder's), how a group decides.
//!
//! ```text
//!   openraft ──> ReplicaClient ─┐                                    ┌─> Groups ──> a group
//!   broker ────> Peers::call ───┼─> Link ──one TCP connection──> Visit ─┼─> ControlService
//!   heartbeats ─────────────────┘   (calls)    each way                 └─> LeadershipTable
//! ```
//!
//! Of each ordered pair of brokers the first connects to the second, sends its requests there and gets
//! the answers back; a second connection carries snapshots while there are any.
//!
//! Invariant: requests of one group from one leader arrive in the order in which they were sent. Every
//! call ends: with an answer, at its deadline, or with its connection.

mod calls;
mod connect;
pub mod control;
pub mod dial;
mod driving;
pub mod error;
mod frame;
pub mod groups;
mod heartbeat;
pub mod hello;
mod link;
mod links;
pub mod network;
mod outbound;
pub(crate) mod pace;
mod raft_codec;
mod server;
pub mod settings;
mod shared;
mod throttle;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{NodeId, Uuid};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use control::{ControlError, ControlKind, ControlService};
pub use dial::{AddressBook, Dial, PeerStream, TcpDial};
pub use error::{Fault, LinkError, PeerError, Refusal};
pub use groups::{
    GroupAnswer, GroupFault, GroupLeadership, GroupRpc, GroupStarter, Groups, IncomingSnapshot,
    SnapshotSink, SnapshotSource,
};
pub use hello::{MAGIC, PeerInfo};
pub use network::GroupNetwork;
pub use raft_codec::SnapshotMeta;
pub use settings::PeerSettings;
pub use shared::{PeerProblem, WallClock};
pub use throttle::{Throttle, ThrottleSettings, ThrottledReplicas};
pub use wire::CodecError;

use self::calls::Calls;
use self::connect::{Connected, FIRST_SEQUENCE, connect};
use self::driving::Driving;
use self::frame::{FrameKind, OutFrame};
use self::hello::Lane;
use self::links::Links;
use self::outbound::Outbound;
use self::server::Visitors;
use self::shared::{Shared, SharedParts};
use self::wire::WireWrite;
use crate::leadership::LeadershipTable;
use crate::liveness::Liveness;
use crate::raft::GroupId;

/// What [`Peers`] is made of.
pub struct PeerParts {
    pub me: NodeId,
    /// None until the cluster is formed or joined.
    pub cluster: Option<String>,
    pub directories: Vec<Uuid>,
    /// Another one for each start of the process.
    pub incarnation: u64,
    /// Of the jitter in waiting times.
    pub seed: u64,
    pub dial: Arc<dyn Dial>,
    pub addresses: Arc<dyn AddressBook>,
    pub groups: Arc<Groups>,
    pub control: Arc<dyn ControlService>,
    /// Starts stopped groups again.
    pub starter: Option<Arc<dyn GroupStarter>>,
    pub wall: WallClock,
    pub settings: PeerSettings,
}

impl fmt::Debug for PeerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerParts").field("me", &self.me).finish_non_exhaustive()
    }
}

/// The other brokers, as this one sees them.
pub struct Peers {
    shared: Arc<Shared>,
    links: Arc<Links>,
    visitors: Visitors,
    driving: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

impl Peers {
    /// Begins to connect to all brokers of the address book, and to watch over the groups. To be called
    /// within a tokio runtime.
    #[must_use]
    pub fn start(parts: PeerParts) -> Arc<Self> {
        let shared = Arc::new(Shared::new(SharedParts {
            me: parts.me,
            cluster: parts.cluster,
            directories: parts.directories,
            incarnation: parts.incarnation,
            seed: parts.seed,
            dial: parts.dial,
            addresses: parts.addresses,
            groups: parts.groups,
            control: parts.control,
            wall: parts.wall,
            settings: parts.settings,
        }));
        let runtime = tokio::runtime::Handle::current();
        let links = Arc::new(Links::new(Arc::clone(&shared), runtime));
        let driving = Driving::new(Arc::clone(&links), parts.starter);
        let task = tokio::spawn(driving.run());
        let peers = Arc::new(Self {
            shared,
            links,
            visitors: Visitors::default(),
            driving: Mutex::new(Some(task)),
        });
        peers.addresses_changed();
        peers
    }

    /// Serves a connection that a peer made, of which [`MAGIC`] was read, until it ends.
    pub async fn accept(&self, stream: impl PeerStream) {
        let met = |node| self.links.met(node);
        let error = server::serve(&self.shared, &self.visitors, stream, met).await;
        tracing::debug!(%error, "a connection from a peer ended");
    }

    /// Asks another broker to do something.
    ///
    /// # Errors
    /// It is not connected, did not answer in time, or said no.
    pub async fn call(
        &self,
        to: NodeId,
        kind: ControlKind,
        body: Bytes,
        allowed: Duration,
    ) -> Result<Bytes, PeerError> {
        if self.shared.addresses.address(to).is_none() {
            return Err(PeerError::NoAddress(to));
        }
        let connection = self.links.link(to, Lane::Requests).current()?;
        let request = control_request(kind, body);
        let waiting =
            connection.request(&self.shared, FrameKind::Control, request, allowed).await?;
        link::answer(waiting).await
    }

    /// Asks whoever is at `address`, whose node id need not be known.
    ///
    /// # Errors
    /// As [`Self::call`], and when the two do not belong together.
    pub async fn call_at(
        &self,
        address: &str,
        kind: ControlKind,
        body: Bytes,
        allowed: Duration,
    ) -> Result<(PeerInfo, Bytes), PeerError> {
        let asking = async {
            let connected = self.connect_to(address).await?;
            let Connected { info, mut read, mut write, mut frames } = connected;
            let (out, calls) = (Outbound::new(usize::MAX), Calls::default());
            let (correlation, waiting) = calls.begin(self.shared.now(), allowed, None)?;
            let (head, payload) = control_request(kind, body);
            out.push_bounded(OutFrame::new(FrameKind::Control, correlation, head, payload));
            let reading = async {
                let frame = frames.next(&mut read, || {}).await?;
                calls.end(frame)
            };
            let done = tokio::select! {
                biased;
                done = reading => done,
                end = out.write(&mut write, FIRST_SEQUENCE) => end.map_err(LinkError::Io),
            };
            done.map_err(|error| PeerError::Broken(Arc::new(error)))?;
            Ok((info, link::answer(waiting).await?))
        };
        let asked = tokio::time::timeout(allowed, asking).await;
        asked.unwrap_or(Err(PeerError::Timeout(allowed)))
    }

    /// Who is at `address`.
    ///
    /// # Errors
    /// Nobody, or somebody who does not belong here.
    pub async fn probe(&self, address: &str, allowed: Duration) -> Result<PeerInfo, PeerError> {
        let asked = tokio::time::timeout(allowed, self.connect_to(address)).await;
        asked.unwrap_or(Err(PeerError::Timeout(allowed))).map(|connected| connected.info)
    }

    async fn connect_to(&self, address: &str) -> Result<Connected, PeerError> {
        connect(&self.shared, address, None, Lane::Probe).await.map_err(|error| match error {
            LinkError::Refused(refusal) => PeerError::Refused(refusal),
            error => PeerError::Broken(Arc::new(error)),
        })
    }

    /// The address book has other nodes or other addresses than before.
    pub fn addresses_changed(&self) {
        self.links.keep(&self.shared.addresses.nodes());
    }

    /// The cluster is formed or joined.
    pub fn set_cluster(&self, id: impl Into<String>) {
        self.shared.set_cluster(id.into());
    }

    /// The log directories have other ids than before. Peers learn it with their next connection.
    pub fn set_directories(&self, ids: Vec<Uuid>) {
        self.shared.set_directories(ids);
    }

    #[must_use]
    pub fn me(&self) -> NodeId {
        self.shared.me
    }

    /// What is known of a peer; this node itself is alive.
    #[must_use]
    pub fn liveness(&self, node: NodeId) -> Liveness {
        if node == self.shared.me { Liveness::Alive } else { self.shared.liveness(node) }
    }

    /// Whether requests can be sent to a peer now.
    #[must_use]
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.links.is_connected(node)
    }

    /// What replicas that catch up may cost.
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.shared.throttle
    }

    /// The time from a heartbeat to its answer, the last one of each peer.
    #[must_use]
    pub fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        self.shared.round_trips()
    }

    /// What an operator should know of, as it is now.
    #[must_use]
    pub fn problems(&self) -> Vec<PeerProblem> {
        self.shared.problems()
    }

    /// The network of one group, for openraft. `S` is the group's snapshot.
    #[must_use]
    pub fn network<S: SnapshotSource>(&self, group: GroupId) -> GroupNetwork<S> {
        GroupNetwork::new(Arc::clone(&self.links), group)
    }

    #[must_use]
    pub fn leaderships(&self) -> &Arc<LeadershipTable> {
        &self.shared.table
    }

    #[must_use]
    pub fn groups(&self) -> &Arc<Groups> {
        &self.shared.groups
    }

    /// This node is about to stop: from now on none of its replicas stands for election.
    pub fn retire(&self) {
        self.shared.retire();
    }

    /// Ends all links and the driver. Connections from peers end by themselves.
    pub async fn stop(&self) {
        self.shared.stop();
        let driving = self.driving.lock().take();
        if let Some(task) = driving {
            let _ended = task.await;
        }
    }
}

fn control_request(kind: ControlKind, body: Bytes) -> (Vec<u8>, Vec<Bytes>) {
    let mut head = OutFrame::buffer();
    head.put_varint(u64::from(kind.0));
    head.put_raw(&body);
    (head, Vec::new())
}

#[cfg(test)]
mod tests;
