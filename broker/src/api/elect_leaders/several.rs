//! Elections in a cluster: leaders are asked to hand over.
//!
//! Owns: which partitions need it, and Kafka's words where one cannot. Never: a vote. An unclean election is
//! refused with what would lead to a clean one: a group of which a majority is away cannot elect anybody,
//! and making one replica the whole group is not served.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::ElectLeadersResponse;
use kafka_protocol::messages::elect_leaders_response::PartitionResult;
use ottla_coordinator::metadata::{ControllerError, ElectionType, PartitionImage, TopicImage};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, PartitionId};

use super::{Asked, partition_result, refused, topic_result};
use crate::api::wire;
use crate::cluster::groups::{Move, request_moves};
use crate::cluster::view;
use crate::services::Services;

type Results = BTreeMap<(String, PartitionId), (ErrorCode, Option<String>)>;

pub(super) async fn elect(
    services: Arc<Services>,
    election: i8,
    asked: Option<Asked>,
) -> ElectLeadersResponse {
    let election = ElectionType::from(election);
    if let ElectionType::Unknown(code) = election {
        let error = ControllerError::UnknownElectionType(code);
        return refused(asked.unwrap_or_default(), error.code(), error.message());
    }
    let all = asked.is_none();
    let (mut results, moves) = decide(&services, election, asked);
    let mut names = BTreeMap::new();
    for (name, of) in &moves {
        names.insert((of.topic, of.partition), name.clone());
    }
    let moved = request_moves(&services, moves.into_iter().map(|(_, of)| of).collect()).await;
    for (of, code) in moved {
        let Some(name) = names.remove(&(of.topic, of.partition)) else { continue };
        let code = ErrorCode::from_code(code);
        let message = (code != ErrorCode::None).then(|| code.message().to_owned());
        results.insert((name, PartitionId(of.partition)), (code, message));
    }
    let mut topics: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
    for ((topic, partition), (code, message)) in results {
        if all && code == ErrorCode::ElectionNotNeeded {
            continue;
        }
        let result =
            partition_result(partition, code.code()).with_error_message(wire::message(message));
        topics.entry(topic).or_default().push(result);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| topic_result(&topic, partitions));
    ElectLeadersResponse::default().with_replica_election_results(topics.collect())
}

fn decide(
    services: &Services,
    election: ElectionType,
    asked: Option<Asked>,
) -> (Results, Vec<(String, Move)>) {
    let image = services.metadata.image();
    let asked = asked.unwrap_or_else(|| {
        let ids = |topic: &TopicImage| topic.iter().map(|(id, _)| id).collect();
        image.topics().map(|topic| (topic.name.to_string(), ids(topic))).collect()
    });
    let (mut results, mut moves) = (Results::new(), Vec::new());
    for (name, partitions) in asked {
        let topic = image.topic(&name);
        for partition in partitions {
            let decided = match topic.map(|topic| (topic, topic.partition(partition))) {
                None => Err(ControllerError::NoSuchTopic(name.clone())),
                Some((_, None)) => Err(ControllerError::NoSuchPartition(name.clone(), partition)),
                Some((topic, Some(state))) => wanted(services, topic, partition, state, election),
            };
            match decided {
                Ok(of) => moves.push((name.clone(), of)),
                Err(error) => {
                    let message = match (&error, topic) {
                        (ControllerError::EligibleLeadersNotAvailable, Some(topic)) => {
                            Some(no_majority(services, topic, partition))
                        }
                        _ => error.message(),
                    };
                    results.insert((name.clone(), partition), (error.code(), message));
                }
            }
        }
    }
    (results, moves)
}

/// What has to happen before a partition without a majority is led again.
fn no_majority(services: &Services, topic: &TopicImage, partition: PartitionId) -> String {
    let replicas = topic.partition(partition).map(|state| state.replicas.clone());
    let replicas = replicas.unwrap_or_default();
    let reached = |node: &NodeId| {
        let cluster = services.cluster();
        cluster.is_some_and(|of| of.me == *node || of.peers.is_connected(*node))
    };
    let (here, away): (Vec<_>, Vec<_>) = replicas.iter().partition(|node| reached(node));
    let list = |nodes: &[NodeId]| {
        let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
    };
    let needed = replicas.len() / 2 + 1;
    format!(
        "partition {}-{partition} is led by {needed} of its {} replicas agreeing; reached are {}, away are {}. \
         What only those that are away hold was acknowledged and would be lost, so nobody is elected: \
         start {} more of them again",
        topic.name,
        replicas.len(),
        list(&here),
        list(&away),
        needed.saturating_sub(here.len()).max(1),
    )
}

fn wanted(
    services: &Services,
    topic: &TopicImage,
    partition: PartitionId,
    state: &PartitionImage,
    election: ElectionType,
) -> Result<Move, ControllerError> {
    let now = view(services, topic.id, partition, state);
    let preferred = state.preferred_leader();
    match election {
        ElectionType::Unclean if now.leader.is_some() => Err(ControllerError::ElectionNotNeeded),
        ElectionType::Unclean => Err(ControllerError::EligibleLeadersNotAvailable),
        _ if now.leader == preferred => Err(ControllerError::ElectionNotNeeded),
        _ => match preferred.filter(|node| now.leader.is_some() && now.isr.contains(node)) {
            Some(to) => {
                let (topic, partition) = (topic.id.as_u128(), partition.get());
                Ok(Move { topic, partition, to: to.0 })
            }
            None => Err(ControllerError::PreferredLeaderNotAvailable),
        },
    }
}
