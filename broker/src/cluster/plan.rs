//! Alone or one of several: decided before anything else.
//!
//! Owns: reading that off the properties and the disk. Never: asks another node.

use std::net::{TcpListener, ToSocketAddrs};

use ottla_config::BrokerConfig;

use super::identity::IdentityFile;

/// How the node keeps its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// By itself, without another node.
    Alone,
    /// As the first of a cluster that others may join, reached at this address.
    First(String),
    /// With, or from, the nodes at these addresses.
    Several(Vec<String>),
}

impl Plan {
    /// `controller_ports` are the ports that controller listeners got.
    pub(crate) fn of(config: &BrokerConfig, file: &IdentityFile, controller_ports: &[u16]) -> Self {
        let quorum = &config.node.quorum;
        let list = quorum.addresses();
        if file.is_formed() || !quorum.is_controller {
            return Self::Several(list);
        }
        let own = |address: &String| {
            let by_id = |voter: &ottla_config::quorum::QuorumVoter| {
                voter.address == *address && voter.node_id == config.node.node_id
            };
            quorum.voters.iter().any(by_id)
                || (quorum.voters.is_empty() && is_here(address, controller_ports))
        };
        match list.as_slice() {
            [] => Self::Alone,
            [only] if own(only) && controller_ports.is_empty() => Self::Alone,
            [only] if own(only) => Self::First(only.clone()),
            _ => Self::Several(list),
        }
    }
}

/// Whether an address is that of a listener of ours: its port is, and its host is one of this machine.
/// Without a controller listener, one address on this machine can only be meant as our own.
fn is_here(address: &str, controller_ports: &[u16]) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let port = port.parse::<u16>().ok();
    if !controller_ports.is_empty() && !port.is_some_and(|port| controller_ports.contains(&port)) {
        return false;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(mut addresses) = (host, 0).to_socket_addrs() else { return false };
    // Only an address of this machine can be bound.
    addresses.any(|address| TcpListener::bind(address).is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use ottla_config::ConfigLayers;
    use ottla_config::layers::Values;
    use ottla_storage::fs::memory::MemoryFileSystem;

    use super::*;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let mut values: Values =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        values.insert("listeners".into(), "PLAINTEXT://:9092,CONTROLLER://:9093".into());
        values.insert("controller.listener.names".into(), "CONTROLLER".into());
        let config = BrokerConfig::from_layers(&ConfigLayers::from_static(values)).unwrap();
        let file = IdentityFile::new(Arc::new(MemoryFileSystem::new()), vec![PathBuf::from("/a")]);
        Plan::of(&config, &file, &[9093])
    }

    #[test]
    fn a_node_that_lists_nobody_is_alone_and_one_that_lists_itself_is_the_first() {
        assert_eq!(plan(&[]), Plan::Alone);
        let first = |address: &str| Plan::First(address.to_owned());
        assert_eq!(plan(&[("controller.quorum.voters", "1@somewhere:7")]), first("somewhere:7"));
        let key = "controller.quorum.bootstrap.servers";
        assert_eq!(plan(&[(key, "localhost:9093")]), first("localhost:9093"));
        assert_eq!(plan(&[(key, "localhost:9094")]), Plan::Several(vec!["localhost:9094".into()]));
        let two = plan(&[("controller.quorum.voters", "1@localhost:9093,2@b:9093")]);
        assert_eq!(two, Plan::Several(vec!["b:9093".into(), "localhost:9093".into()]));
        let follower = plan(&[("process.roles", "broker"), (key, "localhost:9093")]);
        assert_eq!(follower, Plan::Several(vec!["localhost:9093".into()]));
    }
}
