//! The addresses that clients are told.
//!
//! Owns: `advertised.listeners` once ports are known, and the `auto` mode that answers per connection.
//! Never: binds or dials.

pub(crate) mod gateway;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ottla_coordinator::metadata::MetadataImage;
use ottla_protocol::model::NodeId;

use crate::api::handler::ConnectionInfo;

/// What one listener tells its clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advertised {
    Address {
        host: String,
        port: u16,
    },
    /// The address at which this very connection arrived: right for every client that is not
    /// behind address translation.
    AsReached,
    /// The same, but for a client behind the gateway of the container that this is: on the host, which
    /// dialled a published port. It is told `localhost` and that port, where it differs from the
    /// listener's.
    Auto {
        published_port: Option<u16>,
    },
}

/// A broker as a client of one listener reaches it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerAddress {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

/// This broker's addresses by listener name.
#[derive(Debug)]
pub struct Endpoints {
    node_id: NodeId,
    rack: Option<String>,
    by_listener: BTreeMap<Arc<str>, Advertised>,
    /// Of the container that this is; see [`gateway::of_container`].
    gateways: BTreeSet<IpAddr>,
}

impl Endpoints {
    #[must_use]
    pub fn new(
        node_id: NodeId,
        rack: Option<String>,
        by_listener: BTreeMap<Arc<str>, Advertised>,
        gateways: BTreeSet<IpAddr>,
    ) -> Self {
        Self { node_id, rack, by_listener, gateways }
    }

    /// This broker as the peer of `connection` reaches it.
    #[must_use]
    pub fn own_for(&self, connection: &ConnectionInfo) -> BrokerAddress {
        let reached = connection.local;
        let (host, port) = match self.by_listener.get(&connection.listener) {
            Some(Advertised::Address { host, port }) => (host.clone(), *port),
            Some(Advertised::Auto { published_port })
                if self.gateways.contains(&connection.peer.ip().to_canonical()) =>
            {
                ("localhost".to_owned(), published_port.unwrap_or(reached.port()))
            }
            Some(Advertised::Auto { .. } | Advertised::AsReached) | None => {
                (reached.ip().to_canonical().to_string(), reached.port())
            }
        };
        BrokerAddress { id: self.node_id, host, port, rack: self.rack.clone() }
    }

    /// Every broker that a client of `connection` may talk to: those with its listener.
    #[must_use]
    pub fn brokers_for(
        &self,
        connection: &ConnectionInfo,
        image: &MetadataImage,
    ) -> Vec<BrokerAddress> {
        let mut all = vec![self.own_for(connection)];
        for broker in image.brokers() {
            let registration = &broker.registration;
            let id = registration.id;
            if id == self.node_id || broker.fenced {
                continue;
            }
            let listener = &*connection.listener;
            if let Some(end) = registration.endpoints.iter().find(|end| end.listener == listener) {
                let (host, port) = (end.host.clone(), end.port);
                all.push(BrokerAddress { id, host, port, rack: registration.rack.clone() });
            }
        }
        all.sort_by_key(|broker| broker.id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(advertised: Advertised, peer: &str, local: &str) -> (String, u16) {
        let listener: Arc<str> = Arc::from("PLAINTEXT");
        let by_listener = BTreeMap::from([(Arc::clone(&listener), advertised)]);
        let gateways = BTreeSet::from(["172.17.0.1", "fd00::1"].map(|ip| ip.parse().unwrap()));
        let endpoints = Endpoints::new(NodeId(1), None, by_listener, gateways);
        let (peer, local) = (peer.parse().unwrap(), local.parse().unwrap());
        let told = endpoints.own_for(&ConnectionInfo { id: 1, peer, local, listener });
        (told.host, told.port)
    }

    #[test]
    fn a_client_on_the_host_of_a_container_is_told_the_published_port() {
        let auto = Advertised::Auto { published_port: Some(19_092) };
        for peer in ["172.17.0.1:4000", "[::ffff:172.17.0.1]:4000", "[fd00::1]:4000"] {
            let told = told(auto.clone(), peer, "172.17.0.2:9092");
            assert_eq!(told, ("localhost".to_owned(), 19_092), "{peer}");
        }
        let same = Advertised::Auto { published_port: None };
        let told = told(same, "172.17.0.1:4000", "172.17.0.2:9092");
        assert_eq!(told, ("localhost".to_owned(), 9092));
    }

    #[test]
    fn other_clients_are_told_the_address_that_they_used() {
        let auto = Advertised::Auto { published_port: Some(19_092) };
        for (peer, local, host) in [
            ("172.17.0.3:4000", "172.17.0.2:9092", "172.17.0.2"),
            ("127.0.0.1:4000", "127.0.0.1:9092", "127.0.0.1"),
            ("[::1]:4000", "[::1]:9092", "::1"),
            ("[::ffff:10.0.0.9]:4000", "[::ffff:10.0.0.2]:9092", "10.0.0.2"),
        ] {
            assert_eq!(told(auto.clone(), peer, local), (host.to_owned(), 9092), "{peer}");
        }
    }

    #[test]
    fn only_auto_looks_at_the_gateway() {
        let told_as_reached = told(Advertised::AsReached, "172.17.0.1:4000", "172.17.0.2:9092");
        assert_eq!(told_as_reached, ("172.17.0.2".to_owned(), 9092));
        let fixed = Advertised::Address { host: "broker.example".to_owned(), port: 1 };
        let told_fixed = told(fixed, "172.17.0.1:4000", "172.17.0.2:9092");
        assert_eq!(told_fixed, ("broker.example".to_owned(), 1));
    }
}
