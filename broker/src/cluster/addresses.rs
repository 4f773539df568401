//! Where the other brokers are, for the links between brokers.
//!
//! Owns: which of several sources counts. Never: resolves a name or dials.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ottla_config::quorum::QuorumConfig;
use ottla_coordinator::forming::Formation;
use ottla_coordinator::metadata::{Endpoint, MetadataImage};
use ottla_protocol::model::NodeId;
use ottla_replication::peer::AddressBook;
use parking_lot::RwLock;

/// Addresses by source; in the order in which they are believed.
#[derive(Debug, Default)]
struct Sources {
    /// `controller.quorum.voters`: what the operator says now.
    configured: BTreeMap<NodeId, String>,
    /// Brokers that registered.
    registered: BTreeMap<NodeId, String>,
    /// The nodes that formed the cluster.
    formed: BTreeMap<NodeId, String>,
    /// Nodes that asked to be let in and are not registered yet.
    introduced: BTreeMap<NodeId, String>,
}

/// The broker's book of addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    me: NodeId,
    /// Listeners that peers may use, the better ones first.
    listeners: Vec<String>,
    sources: RwLock<Sources>,
}

impl Addresses {
    pub(crate) fn new(me: NodeId, quorum: &QuorumConfig, listeners: Vec<String>) -> Arc<Self> {
        let configured =
            quorum.voters.iter().map(|voter| (NodeId(voter.node_id), voter.address.clone()));
        let sources = Sources { configured: configured.collect(), ..Sources::default() };
        Arc::new(Self { me, listeners, sources: RwLock::new(sources) })
    }

    pub(crate) fn formed(&self, formation: &Formation) {
        let voters = formation.voters.iter();
        let voters = voters.map(|voter| (NodeId(voter.node), voter.address.clone()));
        self.sources.write().formed = voters.collect();
    }

    pub(crate) fn introduce(&self, node: NodeId, address: String) {
        self.sources.write().introduced.insert(node, address);
    }

    /// Takes over what brokers registered; says whether anything changed.
    pub(crate) fn registered(&self, image: &MetadataImage) -> bool {
        let mut registered = BTreeMap::new();
        for broker in image.brokers() {
            let of = &broker.registration;
            let end = preferred(&self.listeners, &of.endpoints);
            let usable = end.filter(|end| !is_every_interface(&end.host));
            if let Some(end) = usable {
                let host = &end.host;
                let bracket = host.contains(':') && !host.starts_with('[');
                let host = if bracket { format!("[{host}]") } else { host.clone() };
                registered.insert(of.id, format!("{host}:{}", end.port));
            }
        }
        let mut sources = self.sources.write();
        let changed = sources.registered != registered;
        sources.registered = registered;
        changed
    }
}

/// Whether a host stands for every interface of its machine, which says nothing to other machines.
pub(crate) fn is_every_interface(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Where peers reach a broker: its endpoint of the first of `listeners` that it has.
pub(crate) fn preferred<'a>(
    listeners: &[String],
    endpoints: &'a [Endpoint],
) -> Option<&'a Endpoint> {
    listeners.iter().find_map(|name| endpoints.iter().find(|end| end.listener == *name))
}

impl AddressBook for Addresses {
    fn nodes(&self) -> Vec<NodeId> {
        let sources = self.sources.read();
        let all: BTreeSet<NodeId> =
            [&sources.configured, &sources.registered, &sources.formed, &sources.introduced]
                .into_iter()
                .flat_map(BTreeMap::keys)
                .copied()
                .collect();
        all.into_iter().filter(|node| *node != self.me).collect()
    }

    fn address(&self, node: NodeId) -> Option<String> {
        let sources = self.sources.read();
        [&sources.configured, &sources.registered, &sources.formed, &sources.introduced]
            .into_iter()
            .find_map(|source| source.get(&node).cloned())
    }
}
