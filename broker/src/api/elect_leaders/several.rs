//! Elections in a cluster: leaders are asked to hand over.
//!
//! Owns: which partitions need it, and Kafka's words where one cannot. Never: a vote. An unclean election
//! makes one replica the whole group (`cluster::unclean`); its answer names what is lost, also with code 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::ElectLeadersResponse;
use kafka_protocol::messages::elect_leaders_response::PartitionResult;
use ottla_coordinator::metadata::{ControllerError, ElectionType, PartitionImage, TopicImage};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::PartitionId;

use super::{Asked, partition_result, refused, topic_result};
use crate::api::wire;
use crate::cluster::groups::{Move, request_moves};
use crate::cluster::{unclean, view};
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
    let Decided { mut results, moves, unclean } = decide(&services, election, asked);
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
    let leaderless: Vec<unclean::Of> = unclean.keys().copied().collect();
    for (of, (code, words)) in unclean::elect(&services, &leaderless).await {
        let Some(name) = unclean.get(&of) else { continue };
        results.insert((name.clone(), PartitionId(of.1)), (code, Some(words)));
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

/// What is to be done, and what is known already.
#[derive(Default)]
struct Decided {
    results: Results,
    moves: Vec<(String, Move)>,
    /// Partitions without a leader, by the topic's name.
    unclean: BTreeMap<unclean::Of, String>,
}

fn decide(services: &Services, election: ElectionType, asked: Option<Asked>) -> Decided {
    let image = services.metadata.image();
    let asked = asked.unwrap_or_else(|| {
        let ids = |topic: &TopicImage| topic.iter().map(|(id, _)| id).collect();
        image.topics().map(|topic| (topic.name.to_string(), ids(topic))).collect()
    });
    let mut all = Decided::default();
    for (name, partitions) in asked {
        let topic = image.topic(&name);
        for partition in partitions {
            let decided = match topic.map(|topic| (topic, topic.partition(partition))) {
                None => Err(ControllerError::NoSuchTopic(name.clone())),
                Some((_, None)) => Err(ControllerError::NoSuchPartition(name.clone(), partition)),
                Some((topic, Some(state))) => wanted(services, topic, partition, state, election),
            };
            match decided {
                Ok(Wanted::Move(of)) => all.moves.push((name.clone(), of)),
                Ok(Wanted::Unclean(of)) => {
                    all.unclean.insert(of, name.clone());
                }
                Err(error) => {
                    let refusal = (error.code(), error.message());
                    all.results.insert((name.clone(), partition), refusal);
                }
            }
        }
    }
    all
}

enum Wanted {
    Move(Move),
    Unclean(unclean::Of),
}

fn wanted(
    services: &Services,
    topic: &TopicImage,
    partition: PartitionId,
    state: &PartitionImage,
    election: ElectionType,
) -> Result<Wanted, ControllerError> {
    let now = view(services, topic.id, partition, state);
    let preferred = state.preferred_leader();
    match election {
        ElectionType::Unclean if now.leader.is_some() => Err(ControllerError::ElectionNotNeeded),
        ElectionType::Unclean if state.replicas.len() > 1 => {
            Ok(Wanted::Unclean((topic.id.as_u128(), partition.get())))
        }
        ElectionType::Unclean => Err(ControllerError::EligibleLeadersNotAvailable),
        _ if now.leader == preferred => Err(ControllerError::ElectionNotNeeded),
        _ => match preferred.filter(|node| now.leader.is_some() && now.isr.contains(node)) {
            Some(to) => {
                let (topic, partition) = (topic.id.as_u128(), partition.get());
                Ok(Wanted::Move(Move { topic, partition, to: to.0 }))
            }
            None => Err(ControllerError::PreferredLeaderNotAvailable),
        },
    }
}
