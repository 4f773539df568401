//! The addresses that clients are told.
//!
//! Owns: `advertised.listeners` once ports are known, and the `auto` mode that answers per connection.
//! Never: binds or dials.

use std::collections::BTreeMap;
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
    Auto,
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
}

impl Endpoints {
    #[must_use]
    pub fn new(
        node_id: NodeId,
        rack: Option<String>,
        by_listener: BTreeMap<Arc<str>, Advertised>,
    ) -> Self {
        Self { node_id, rack, by_listener }
    }

    /// This broker as the peer of `connection` reaches it.
    #[must_use]
    pub fn own_for(&self, connection: &ConnectionInfo) -> BrokerAddress {
        let (host, port) = match self.by_listener.get(&connection.listener) {
            Some(Advertised::Address { host, port }) => (host.clone(), *port),
            Some(Advertised::Auto) | None => {
                (connection.local.ip().to_canonical().to_string(), connection.local.port())
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
