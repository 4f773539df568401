//! How empty nodes become one cluster, and how a node finds the cluster it belongs to.
//!
//! Owns: the decision ([`decide`]) from what the listed peers answered in one round. Never: asks anybody
//! or writes anything; who does persists a [`Formation`] before it tells it to anybody.
//!
//! One node alone may form: the one with the lowest id of the list, and only when every listed peer
//! answered in the same round that it is empty and has the same list. It persists the formation; the
//! others find it by asking, and persist it before they act on it. So two formations would take two
//! lowest ids. A node that holds data never forms, and an empty one that finds a cluster joins it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::{NodeId, Uuid};
use serde::{Deserialize, Serialize};

/// A node that votes on the cluster's metadata, with where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Voter {
    pub node: i32,
    /// The log directory that holds its metadata log: a disk that comes back empty is another voter.
    pub directory: u128,
    /// `host:port` of its controller listener.
    pub address: String,
}

/// A cluster as it was formed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    pub cluster_id: String,
    pub voters: Vec<Voter>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub node: i32,
    pub directory: u128,
    /// Random for each start of a process: two processes never share it.
    pub incarnation: u128,
    /// Addresses of the nodes that shall form, sorted.
    pub list: Vec<String>,
    /// The cluster it belongs to.
    pub formation: Option<Formation>,
    /// Its clock, in milliseconds since 1970.
    pub wall_ms: i64,
}

/// This node, as it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub node: NodeId,
    pub directory: Uuid,
    pub incarnation: Uuid,
    /// As in the properties, sorted and without repetition.
    pub list: Vec<String>,
}

/// What one listed peer answered in this round, or why it did not.
pub type Round = BTreeMap<String, Result<Answer, String>>;

/// What a round means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ask again later; with the reasons, for whoever looks at the log.
    Wait(Vec<String>),
    /// This node forms the cluster with these voters.
    Form(Vec<Voter>),
    /// There is a cluster.
    Join(Formation),
    /// It cannot work before somebody changes something.
    Refuse(String),
}

/// Decides what the answers of one round mean for `me`, which is empty. The answer at the own address is
/// recognised by its incarnation.
#[must_use]
pub fn decide(me: &Asker, round: &Round) -> Verdict {
    let incarnation = me.incarnation.as_u128();
    let answered: BTreeMap<&str, &Answer> = round
        .iter()
        .filter_map(|(address, answer)| Some((address.as_str(), answer.as_ref().ok()?)))
        .collect();
    for (address, answer) in &answered {
        if answer.node == me.node.0 && answer.incarnation != incarnation {
            return Verdict::Refuse(format!(
                "node {} is at {address} already, so this process would be a second one of that id: \
                 give one of them another node.id",
                me.node
            ));
        }
    }
    if let Some(verdict) = joined(&answered) {
        return verdict;
    }
    let mut reasons: Vec<String> = round
        .iter()
        .filter_map(|(address, answer)| Some(format!("{address}: {}", answer.as_ref().err()?)))
        .collect();
    for (address, answer) in &answered {
        if answer.list != me.list {
            reasons.push(format!(
                "node {} at {address} has another list of controllers ({}), and this node has ({}): \
                 set controller.quorum.bootstrap.servers or controller.quorum.voters to the same on both",
                answer.node,
                answer.list.join(","),
                me.list.join(",")
            ));
        }
    }
    if !reasons.is_empty() {
        return Verdict::Wait(reasons);
    }
    form(me, &answered)
}

/// A cluster that a peer belongs to.
fn joined(answered: &BTreeMap<&str, &Answer>) -> Option<Verdict> {
    let mut found: Option<(&str, &Formation)> = None;
    for (address, answer) in answered {
        let Some(formation) = &answer.formation else { continue };
        match found {
            Some((other, known)) if known.cluster_id != formation.cluster_id => {
                return Some(Verdict::Refuse(format!(
                    "{other} is of cluster {} and {address} of cluster {}: list the controllers of \
                     one cluster",
                    known.cluster_id, formation.cluster_id
                )));
            }
            Some(_) => {}
            None => found = Some((address, formation)),
        }
    }
    found.map(|(_, formation)| Verdict::Join(formation.clone()))
}

fn form(me: &Asker, answered: &BTreeMap<&str, &Answer>) -> Verdict {
    let mut ids = BTreeSet::new();
    if let Some((address, twice)) = answered.iter().find(|(_, answer)| !ids.insert(answer.node)) {
        return Verdict::Refuse(format!(
            "node {} stands in the list of controllers twice, the second time at {address}: give each \
             node its own node.id, and name each once",
            twice.node
        ));
    }
    let complete = me.list.iter().all(|address| answered.contains_key(address.as_str()));
    if !complete || answered.is_empty() {
        return Verdict::Wait(vec!["not every listed controller was asked".to_owned()]);
    }
    let lowest = answered.values().min_by_key(|answer| answer.node);
    match lowest {
        Some(lowest) if lowest.incarnation == me.incarnation.as_u128() => {
            let voter = |(address, answer): (&&str, &&Answer)| Voter {
                node: answer.node,
                directory: answer.directory,
                address: (*address).to_owned(),
            };
            let mut voters: Vec<Voter> = answered.iter().map(voter).collect();
            voters.sort();
            Verdict::Form(voters)
        }
        Some(lowest) => Verdict::Wait(vec![format!("node {} forms the cluster", lowest.node)]),
        None => Verdict::Wait(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
