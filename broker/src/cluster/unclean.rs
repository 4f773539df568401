//! Unclean elections: a partition whose majority is given up begins anew with the best replica that is left.
//!
//! Owns: asking the replicas what they have, choosing among them, and the words that name what is lost.
//! Never: does it without being asked (`unclean.leader.election.enable` has no effect), or touches a log
//! (`raft::succession` does, once the metadata says so).
//!
//! Invariants: nobody is elected while replicas enough for an ordinary election are there, nor while one that
//! does not answer is heard by the controller; of those that answer the one with the latest entry begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use ottla_coordinator::metadata::PartitionImage;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, NodeId, PartitionId, Uuid};
use ottla_replication::peer::ControlError;
use ottla_replication::raft::GroupId;
use serde::{Deserialize, Serialize};

use super::command::{Order, OrderAnswer};
use super::control::refused;
use super::{Cluster, STANDING};
use crate::services::Services;

/// For the answers of all replicas.
const ASK_WITHIN: Duration = Duration::from_secs(3);
const ORDER_WITHIN: Duration = Duration::from_secs(10);
/// Until the new leader says so.
const LEAD_WITHIN: Duration = Duration::from_secs(15);

/// A topic's id and a partition.
pub(crate) type Of = (u128, i32);

/// What a node says of its replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    of: Of,
    /// Of how many formations of the group it knows.
    formations: u32,
    /// The latest leader epoch that the node heard of.
    epoch: i32,
    /// `None` where no replica runs.
    replica: Option<Has>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Has {
    /// Term and index of the last entry.
    last: Option<(u64, u64)>,
    log_end: i64,
    committed: i64,
    /// It lost nothing that it had acknowledged, and may vote.
    whole: bool,
    voters: Vec<i32>,
}

/// What came of an election: a code of Kafka's, with words in any case.
pub(crate) type Elected = (ErrorCode, String);

/// Answers a broker that asks what this one's replicas have.
pub(crate) fn serve(services: &Services, body: &[u8]) -> Result<Bytes, ControlError> {
    let asked: Vec<Of> = serde_json::from_slice(body)
        .map_err(|error| refused(ErrorCode::InvalidRequest, error.to_string()))?;
    let said: Vec<Said> = asked.into_iter().map(|of| say(services, of)).collect();
    Ok(serde_json::to_vec(&said).unwrap_or_default().into())
}

fn group_of((topic, partition): Of) -> GroupId {
    GroupId { topic: Uuid::from_u128(topic), partition: PartitionId(partition) }
}

fn say(services: &Services, of: Of) -> Said {
    let id = group_of(of);
    let image = services.metadata.image();
    let state = image.topic_by_id(id.topic).and_then(|topic| topic.partition(id.partition));
    let formations = state.map_or(0, PartitionImage::formations);
    let cluster = services.cluster();
    let claim = cluster.and_then(|cluster| cluster.peers.leaderships().last_claim(&id));
    let group = cluster.and_then(|cluster| cluster.groups.get(&id));
    let standing = group.filter(|group| group.failure().is_none()).map(|group| group.standing());
    let heard = [claim.map(|claim| claim.epoch), standing.as_ref().map(|of| of.epoch)];
    Said {
        of,
        formations,
        epoch: heard.into_iter().flatten().max().map_or(0, LeaderEpoch::get),
        replica: standing.map(|of| Has {
            last: of.last,
            log_end: of.log_end.get(),
            committed: of.committed.get(),
            whole: of.whole,
            voters: of.voters.iter().map(|voter| voter.node.0).collect(),
        }),
    }
}

/// Elects a leader for each of these partitions, which have none.
pub(crate) async fn elect(services: &Arc<Services>, wanted: &[Of]) -> BTreeMap<Of, Elected> {
    let Some(cluster) = services.cluster() else { return BTreeMap::new() };
    let image = services.metadata.image();
    let state_of = |of: &Of| {
        let id = group_of(*of);
        image.topic_by_id(id.topic)?.partition(id.partition)
    };
    let nodes: BTreeSet<NodeId> =
        wanted.iter().filter_map(state_of).flat_map(|state| state.replicas.clone()).collect();
    let answers = ask(services, cluster, wanted, &nodes).await;
    let one = |of: Of| {
        let answers = &answers;
        let image = &image;
        async move {
            let id = group_of(of);
            let state = image.topic_by_id(id.topic).and_then(|topic| topic.partition(id.partition));
            let Some(state) = state else {
                let text = "there is no such partition any more".to_owned();
                return (of, (ErrorCode::UnknownTopicOrPartition, text));
            };
            let heard = |node: &NodeId| image.broker(*node).is_some_and(|broker| !broker.fenced);
            match choose(of, state, answers, heard) {
                Ok(choice) => (of, carry_out(services, of, state, choice).await),
                Err(refusal) => (of, (ErrorCode::EligibleLeadersNotAvailable, refusal)),
            }
        }
    };
    join_all(wanted.iter().copied().map(one)).await.into_iter().collect()
}

type Answers = BTreeMap<NodeId, Vec<Said>>;

async fn ask(
    services: &Arc<Services>,
    cluster: &Cluster,
    wanted: &[Of],
    nodes: &BTreeSet<NodeId>,
) -> Answers {
    let body = Bytes::from(serde_json::to_vec(wanted).unwrap_or_default());
    let asked = nodes.iter().map(|node| {
        let body = body.clone();
        async move {
            if *node == cluster.me {
                return Some((*node, wanted.iter().map(|of| say(services, *of)).collect()));
            }
            let answer = cluster.peers.call(*node, STANDING, body, ASK_WITHIN).await.ok()?;
            Some((*node, serde_json::from_slice(&answer).ok()?))
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The replica that begins, and what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    leader: NodeId,
    /// The latest leader epoch that anybody heard of.
    epoch: i32,
    words: String,
}

fn list(nodes: &[NodeId]) -> String {
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

/// Chooses the replica that a group begins anew with, or says why nobody may.
fn choose(
    of: Of,
    state: &PartitionImage,
    answers: &Answers,
    heard: impl Fn(&NodeId) -> bool,
) -> Result<Choice, String> {
    let (here, away): (Vec<NodeId>, Vec<NodeId>) =
        state.replicas.iter().copied().partition(|node| answers.contains_key(node));
    if let Some(alive) = away.iter().find(|node| heard(node)) {
        return Err(format!(
            "replica {alive} does not answer this broker and the controller hears of it, or did a moment ago: \
             it may lead elsewhere. Ask again once it is fenced, or ask another broker"
        ));
    }
    let said = |node: NodeId| answers.get(&node)?.iter().find(|said| said.of == of);
    let current = here.iter().filter_map(|node| said(*node).map(|said| (*node, said)));
    let current: Vec<(NodeId, &Said)> =
        current.filter(|(_, said)| said.formations == state.formations()).collect();
    let replicas: Vec<(NodeId, &Has)> = current
        .iter()
        .filter_map(|(node, said)| said.replica.as_ref().map(|has| (*node, has)))
        .collect();
    let order = |(_, has): &&(NodeId, &Has)| (has.whole, has.last);
    let Some((leader, best)) = replicas.iter().max_by_key(order) else {
        return Err(format!(
            "no replica of it runs: away are {}, and those that are here ({}) have none. Start one of them, \
             or mend its disk",
            list(&away),
            list(&here)
        ));
    };
    let votes = |(node, has): &&(NodeId, &Has)| has.whole && best.voters.contains(&node.0);
    let (voting, needed) = (replicas.iter().filter(votes).count(), best.voters.len() / 2 + 1);
    if best.voters.is_empty() || voting >= needed {
        return Err(format!(
            "{voting} of its {} voters are here, which is enough for an ordinary election: nothing has to be \
             lost. Ask again in a moment",
            best.voters.len()
        ));
    }
    let epoch = current.iter().map(|(_, said)| said.epoch).max().unwrap_or(0);
    let committed = replicas.iter().map(|(_, has)| has.committed).max().unwrap_or(0);
    Ok(Choice { leader: *leader, epoch, words: loss(*leader, best, committed, &away) })
}

/// What is lost, as far as anybody can know.
fn loss(leader: NodeId, best: &Has, committed: i64, away: &[NodeId]) -> String {
    let end = best.log_end;
    let mut words = if committed > end {
        format!("offsets {end} to {} were acknowledged and are LOST; ", committed - 1)
    } else {
        String::new()
    };
    words += &format!(
        "whatever was acknowledged at offset {end} or behind it is LOST: how much that is is unknown, only \
         {} can have had it, and what they have is discarded when they come back. Kept is the log of \
         {leader}, up to offset {end}",
        list(away)
    );
    if best.committed < end {
        let from = best.committed;
        words +=
            &format!("; it is not known whether offsets {from} to {} were acknowledged", end - 1);
    }
    if !best.whole {
        words += "; it was damaged before, so that more may be missing";
    }
    words
}

async fn carry_out(
    services: &Arc<Services>,
    of: Of,
    state: &PartitionImage,
    choice: Choice,
) -> Elected {
    let Some(cluster) = services.cluster() else {
        return (ErrorCode::NotController, "this broker is alone".to_owned());
    };
    let Choice { leader, epoch, words } = choice;
    let order = Order::FormAnew {
        topic: of.0,
        partition: of.1,
        partition_epoch: state.partition_epoch,
        leader: leader.0,
        epoch,
    };
    match cluster.order(services, &order, ORDER_WITHIN).await {
        Ok(OrderAnswer::Refused { code, message }) => {
            return (ErrorCode::from_code(code), message);
        }
        Ok(_) => {}
        Err(code) => return (code, code.message().to_owned()),
    }
    tracing::error!(group = %group_of(of), "UNCLEAN ELECTION: {words}");
    match tokio::time::timeout(LEAD_WITHIN, led(cluster, of, epoch)).await {
        Ok(()) => (ErrorCode::None, words),
        Err(_) => {
            let text = format!("{leader} was made the leader and does not lead yet: {words}");
            (ErrorCode::RequestTimedOut, text)
        }
    }
}

/// Returns once somebody leads in a later epoch.
async fn led(cluster: &Cluster, of: Of, epoch: i32) {
    let table = cluster.peers.leaderships();
    let mut changes = table.subscribe();
    while table.leader(&group_of(of)).is_none_or(|claim| claim.epoch.get() <= epoch) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Of = (7, 0);

    fn state(formation: u32) -> PartitionImage {
        let nodes: Vec<NodeId> = [1, 2, 3].map(NodeId).into();
        let leader = NodeId(1);
        let formed = ottla_coordinator::metadata::Formation {
            number: formation,
            leader,
            epoch: LeaderEpoch(0),
        };
        PartitionImage {
            directories: vec![Uuid::nil(); nodes.len()],
            founders: Vec::new(),
            keys: Vec::new(),
            formation: (formation > 0).then_some(formed),
            isr: nodes.clone(),
            adding: Vec::new(),
            removing: Vec::new(),
            leader,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: nodes,
        }
    }

    fn has(term: u64, index: u64, log_end: i64, committed: i64) -> Option<Has> {
        let last = Some((term, index));
        Some(Has { last, log_end, committed, whole: true, voters: vec![1, 2, 3] })
    }

    fn answers(of: &[(i32, Option<Has>)]) -> Answers {
        let said = |(node, replica): &(i32, Option<Has>)| {
            let said = Said { of: OF, formations: 0, epoch: 10 + node, replica: replica.clone() };
            (NodeId(*node), vec![said])
        };
        of.iter().map(said).collect()
    }

    fn nobody(_: &NodeId) -> bool {
        false
    }

    #[test]
    fn the_latest_entry_counts_and_the_loss_is_named() {
        let two = answers(&[(1, has(4, 90, 500, 480)), (2, has(5, 70, 400, 390))]);
        let mut five = state(0);
        five.replicas = [1, 2, 3, 4, 5].map(NodeId).into();
        let mut said = two;
        for has in said.values_mut().filter_map(|said| said[0].replica.as_mut()) {
            has.voters = vec![1, 2, 3, 4, 5];
        }
        let choice = choose(OF, &five, &said, nobody).unwrap();
        assert_eq!((choice.leader, choice.epoch), (NodeId(2), 12));
        for words in [
            "offsets 400 to 479 were acknowledged and are LOST",
            "at offset 400 or behind it",
            "only 3, 4, 5 can have had it",
            "whether offsets 390 to 399 were acknowledged",
        ] {
            assert!(choice.words.contains(words), "{words}: {}", choice.words);
        }
    }

    #[test]
    fn damage_counts_less_than_a_shorter_log() {
        let mut one = has(5, 70, 400, 390);
        one.as_mut().unwrap().whole = false;
        let choice = choose(OF, &state(0), &answers(&[(1, one.clone())]), nobody).unwrap();
        assert!(choice.words.contains("it was damaged before"), "{}", choice.words);
        let both = answers(&[(1, one), (2, has(4, 9, 30, 30))]);
        assert_eq!(choose(OF, &state(0), &both, nobody).unwrap().leader, NodeId(2));
    }

    #[test]
    fn nobody_is_elected_where_an_ordinary_election_may_come() {
        let refusal = |answers: &Answers, state: &PartitionImage, heard: fn(&NodeId) -> bool| {
            choose(OF, state, answers, heard).unwrap_err()
        };
        let majority = answers(&[(1, has(4, 9, 30, 30)), (2, has(4, 9, 30, 30))]);
        let words = refusal(&majority, &state(0), nobody);
        assert!(words.starts_with("2 of its 3 voters are here"), "{words}");
        let one = answers(&[(1, has(4, 9, 30, 30))]);
        let words = refusal(&one, &state(0), |node| *node == NodeId(3));
        assert!(words.starts_with("replica 3 does not answer"), "{words}");
        let words = refusal(&answers(&[(1, None)]), &state(0), nobody);
        assert!(words.starts_with("no replica of it runs: away are 2, 3"), "{words}");
        let words = refusal(&one, &state(1), nobody);
        assert!(words.starts_with("no replica of it runs"), "it knows of a former group: {words}");
    }
}
