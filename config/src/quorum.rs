//! The nodes that keep the cluster's metadata, as the properties name them.
//!
//! Owns: the syntax and the rules of `process.roles`, `controller.quorum.voters` and
//! `controller.quorum.bootstrap.servers` (Kafka's `QuorumConfig` and `KafkaConfig.validateValues`).
//! Never: resolves names, or says who votes in the end (the cluster itself does).

use std::collections::BTreeSet;

use crate::error::ConfigError;
use crate::listener::{ListenerRole, Listeners};
use crate::typed::Typed;

const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";

/// A node that shall vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumVoter {
    pub node_id: i32,
    /// `host:port` of its controller listener.
    pub address: String,
}

/// What a process is, and where the metadata quorum is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuorumConfig {
    /// It serves clients and holds partitions.
    pub is_broker: bool,
    /// It may vote; otherwise it only follows.
    pub is_controller: bool,
    /// `controller.quorum.voters`; empty when it is not set.
    pub voters: Vec<QuorumVoter>,
    /// `controller.quorum.bootstrap.servers`; empty when it is not set.
    pub bootstrap: Vec<String>,
}

impl QuorumConfig {
    pub(crate) fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let roles = typed.list("process.roles")?;
        let voters = typed.list(VOTERS)?;
        let bootstrap = typed.list(BOOTSTRAP)?;
        Ok(Self {
            is_broker: roles.iter().any(|role| role == "broker"),
            is_controller: roles.iter().any(|role| role == "controller"),
            voters: voters.iter().map(|text| voter(text)).collect::<Result<_, _>>()?,
            bootstrap: bootstrap
                .iter()
                .map(|text| address(BOOTSTRAP, text, text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Where controllers are, sorted, each once; what nodes that form a cluster must agree on.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let listed: BTreeSet<&String> = if self.voters.is_empty() {
            self.bootstrap.iter().collect()
        } else {
            self.voters.iter().map(|voter| &voter.address).collect()
        };
        listed.into_iter().cloned().collect()
    }

    /// Checks what only shows beside the node's id and its listeners.
    pub(crate) fn check(&self, node_id: i32, listeners: &Listeners) -> Result<(), ConfigError> {
        let listed = self.voters.iter().any(|voter| voter.node_id == node_id);
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.voters.iter().find(|voter| !ids.insert(voter.node_id)) {
            return refuse(format!(
                "{VOTERS} names node {} twice: give each node its own id",
                twice.node_id
            ));
        }
        let addresses = self.addresses();
        if !self.is_controller {
            if addresses.is_empty() {
                return refuse(format!(
                    "process.roles=broker needs to know where controllers are: set {BOOTSTRAP} or \
                     {VOTERS}, or add `controller` to process.roles"
                ));
            }
            if listed {
                return refuse(format!(
                    "If process.roles contains just the 'broker' role, the node id {node_id} must not \
                     be included in the set of voters {VOTERS}: take it out there, or add \
                     `controller` to process.roles"
                ));
            }
            return Ok(());
        }
        if !self.is_broker && addresses.is_empty() {
            return refuse(format!(
                "process.roles=controller needs to know where controllers are, itself included: set \
                 {BOOTSTRAP} or {VOTERS}"
            ));
        }
        if !self.voters.is_empty() && !listed {
            return refuse(format!(
                "If process.roles contains the 'controller' role, the node id {node_id} must be \
                 included in the set of voters {VOTERS}: add it there as {node_id}@host:port, or set \
                 node.id to one that is listed"
            ));
        }
        let served = listeners.listeners.iter().any(|of| of.role == ListenerRole::Controller);
        if addresses.len() > 1 && !served {
            return refuse(format!(
                "{} controllers are listed, and this node has no listener for the others: add one \
                 such as CONTROLLER://127.0.0.1:9093 to listeners and CONTROLLER to \
                 controller.listener.names",
                addresses.len()
            ));
        }
        Ok(())
    }
}

fn refuse(sentence: String) -> Result<(), ConfigError> {
    Err(ConfigError::Refused(sentence))
}

/// `id@host:port`, taken apart.
fn voter(text: &str) -> Result<QuorumVoter, ConfigError> {
    let wrong = || {
        ConfigError::invalid(VOTERS, text, "write each voter as id@host:port, such as 1@host1:9093")
    };
    let (id, at) = text.split_once('@').ok_or_else(wrong)?;
    let node_id = id.trim().parse::<i32>().ok().filter(|id| *id >= 0).ok_or_else(wrong)?;
    Ok(QuorumVoter { node_id, address: address(VOTERS, text, at)? })
}

fn address(key: &str, text: &str, at: &str) -> Result<String, ConfigError> {
    let at = at.trim();
    let good = at.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good {
        return Ok(at.to_owned());
    }
    Err(ConfigError::invalid(key, text, "an address is host:port, with a port from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerConfig;
    use crate::layers::{ConfigLayers, Values};

    fn read(pairs: &[(&str, &str)]) -> Result<QuorumConfig, String> {
        let values: Values =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        BrokerConfig::from_layers(&ConfigLayers::from_static(values))
            .map(|config| config.node.quorum)
            .map_err(|error| error.to_string())
    }

    const LISTENERS: [(&str, &str); 2] = [
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("controller.listener.names", "CONTROLLER"),
    ];

    #[test]
    fn both_lists_name_addresses() {
        let [a, b] = LISTENERS;
        let voters = read(&[a, b, ("controller.quorum.voters", "2@b:2, 1@a:1,3@[::1]:3")]).unwrap();
        assert_eq!(voters.addresses(), ["[::1]:3", "a:1", "b:2"]);
        assert_eq!(voters.voters[0], QuorumVoter { node_id: 2, address: "b:2".to_owned() });
        let key = "controller.quorum.bootstrap.servers";
        let bootstrap = read(&[a, b, (key, "y:1,x:1")]).unwrap();
        assert_eq!(bootstrap.addresses(), ["x:1", "y:1"]);
    }

    #[test]
    fn a_node_that_only_votes_needs_no_listener_for_clients() {
        let [_, b] = LISTENERS;
        let (roles, only) = (("process.roles", "controller"), ("listeners", "CONTROLLER://:9093"));
        let read = read(&[roles, only, b, ("controller.quorum.voters", "1@a:9093")]).unwrap();
        assert!(read.is_controller && !read.is_broker);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_cure() {
        let [a, b] = LISTENERS;
        let c = ("listeners", "CONTROLLER://:9093");
        for (pairs, part) in [
            (&[("process.roles", "controller")][..], "take PLAINTEXT out of listeners"),
            (&[("process.roles", "controller"), c, b], "itself included: set"),
            (&[("process.roles", "broker")], "needs to know where controllers are"),
            (
                &[("process.roles", "broker"), ("controller.quorum.voters", "1@a:1")],
                "must not be included",
            ),
            (&[a, b, ("controller.quorum.voters", "2@a:1")], "add it there as 1@host:port"),
            (&[a, b, ("controller.quorum.voters", "1@a:1,1@b:1")], "names node 1 twice"),
            (&[("controller.quorum.voters", "1@a:1,2@b:1")], "no listener for the others"),
            (&[a, b, ("controller.quorum.voters", "a:1")], "write each voter as id@host:port"),
            (&[a, b, ("controller.quorum.voters", "1@a:0")], "an address is host:port"),
        ] {
            let sentence = read(pairs).unwrap_err();
            assert!(sentence.contains(part), "{pairs:?}: {sentence}");
        }
    }
}
