//! Requests about replicas: moves, elections, the quorum, brokers that leave.
//!
//! Owns: building these requests and reading their answers. Never: decides where a replica goes.

use kafka_protocol::messages::add_raft_voter_request::Listener;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AddRaftVoterRequest as FirstAddRaftVoterRequest, AlterPartitionReassignmentsRequest,
    DescribeQuorumRequest, DescribeQuorumResponse, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, RemoveRaftVoterRequest, TopicName, UnregisterBrokerRequest,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::messages::AddRaftVoterRequest;
use ottla_protocol::model::Uuid;

use super::error::ClientError;
use super::offsets::Partition;
use super::{Client, text};

/// What a broker said about one partition.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) partition: Partition,
    pub(crate) code: ErrorCode,
    pub(crate) words: Option<String>,
}

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) partition: Partition,
    pub(crate) replicas: Vec<i32>,
    pub(crate) adding: Vec<i32>,
    pub(crate) removing: Vec<i32>,
}

fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.deadline().left().as_millis()).unwrap_or(i32::MAX)
}

/// Starts moves; no replicas cancels one.
pub(crate) async fn reassign(
    client: &Client,
    wanted: &[(Partition, Option<Vec<i32>>)],
) -> Result<Vec<Answer>, ClientError> {
    let timeout = timeout_ms(client);
    let topics: Vec<ReassignableTopic> = wanted
        .iter()
        .map(|((topic, index), replicas)| {
            let replicas = replicas.as_ref().map(|ids| ids.iter().map(|id| (*id).into()).collect());
            let partition = ReassignablePartition::default()
                .with_partition_index(*index)
                .with_replicas(replicas);
            ReassignableTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(vec![partition])
        })
        .collect();
    let response = client
        .any::<AlterPartitionReassignmentsRequest>(|_| {
            AlterPartitionReassignmentsRequest::default()
                .with_timeout_ms(timeout)
                .with_topics(topics.clone())
        })
        .await?;
    let all = ErrorCode::from_code(response.error_code);
    if !all.is_none() {
        let words = response.error_message.map(|words| words.to_string());
        let answer = |(partition, _): &(Partition, _)| Answer {
            partition: partition.clone(),
            code: all,
            words: words.clone(),
        };
        return Ok(wanted.iter().map(answer).collect());
    }
    let answers = response.responses.into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.into_iter().map(move |partition| Answer {
            partition: (name.clone(), partition.partition_index),
            code: ErrorCode::from_code(partition.error_code),
            words: partition.error_message.map(|words| words.to_string()),
        })
    });
    Ok(answers.collect())
}

/// Moves that are under way, by topic and partition.
pub(crate) async fn moves(client: &Client) -> Result<Vec<Move>, ClientError> {
    let timeout = timeout_ms(client);
    let response = client
        .any::<ListPartitionReassignmentsRequest>(|_| {
            ListPartitionReassignmentsRequest::default().with_timeout_ms(timeout).with_topics(None)
        })
        .await?;
    let ids = |nodes: Vec<kafka_protocol::messages::BrokerId>| {
        nodes.into_iter().map(|node| node.0).collect::<Vec<i32>>()
    };
    let mut moves: Vec<Move> = response
        .topics
        .into_iter()
        .flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |partition| Move {
                partition: (name.clone(), partition.partition_index),
                replicas: ids(partition.replicas),
                adding: ids(partition.adding_replicas),
                removing: ids(partition.removing_replicas),
            })
        })
        .collect();
    moves.sort_by(|left, right| left.partition.cmp(&right.partition));
    Ok(moves)
}

/// Which leader is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Election {
    /// The first replica.
    Preferred,
    /// Any that is left, at the price of what it lacks.
    Unclean,
}

/// Elects leaders.
pub(crate) async fn elect(
    client: &Client,
    election: Election,
    partitions: &[Partition],
) -> Result<Vec<Answer>, ClientError> {
    let timeout = timeout_ms(client);
    let topics: Vec<TopicPartitions> = partitions
        .iter()
        .map(|(topic, index)| {
            TopicPartitions::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(vec![*index])
        })
        .collect();
    let response = client
        .any::<ElectLeadersRequest>(|_| {
            ElectLeadersRequest::default()
                .with_election_type(i8::from(election == Election::Unclean))
                .with_timeout_ms(timeout)
                .with_topic_partitions(Some(topics.clone()))
        })
        .await?;
    let answers = response.replica_election_results.into_iter().flat_map(|topic| {
        let name = topic.topic.to_string();
        topic.partition_result.into_iter().map(move |partition| Answer {
            partition: (name.clone(), partition.partition_id),
            code: ErrorCode::from_code(partition.error_code),
            words: partition.error_message.map(|words| words.to_string()),
        })
    });
    Ok(answers.collect())
}

/// The metadata quorum as its leader sees it.
pub(crate) async fn quorum(client: &Client) -> Result<DescribeQuorumResponse, ClientError> {
    let topic = TopicData::default()
        .with_topic_name(TopicName(text("__cluster_metadata")))
        .with_partitions(vec![PartitionData::default()]);
    client
        .any::<DescribeQuorumRequest>(|_| {
            DescribeQuorumRequest::default().with_topics(vec![topic.clone()])
        })
        .await
}

/// Takes a broker out of the cluster.
pub(crate) async fn unregister(
    client: &Client,
    id: i32,
) -> Result<(ErrorCode, Option<String>), ClientError> {
    let response = client
        .any::<UnregisterBrokerRequest>(|_| {
            UnregisterBrokerRequest::default().with_broker_id(id.into())
        })
        .await?;
    let words = response.error_message.map(|words| words.to_string());
    Ok((ErrorCode::from_code(response.error_code), words))
}

/// A node with the directory that holds its metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voter {
    pub(crate) node: i32,
    pub(crate) directory: Uuid,
}

/// Lets a node vote on the metadata. `listener` is a name, a host and a port.
pub(crate) async fn add_voter(
    client: &Client,
    voter: Voter,
    cluster: Option<String>,
    listener: Option<(String, String, u16)>,
) -> Result<(ErrorCode, Option<String>), ClientError> {
    let listeners: Vec<Listener> = listener
        .map(|(name, host, port)| {
            Listener::default().with_name(text(&name)).with_host(text(&host)).with_port(port)
        })
        .into_iter()
        .collect();
    let response = client
        .any::<AddRaftVoterRequest>(|_| {
            let fields = FirstAddRaftVoterRequest::default()
                .with_cluster_id(cluster.as_deref().map(text))
                .with_timeout_ms(timeout_ms(client))
                .with_voter_id(voter.node)
                .with_voter_directory_id(voter.directory)
                .with_listeners(listeners.clone());
            AddRaftVoterRequest { fields, ack_when_committed: true }
        })
        .await?
        .0;
    let words = response.error_message.map(|words| words.to_string());
    Ok((ErrorCode::from_code(response.error_code), words))
}

/// Takes a node's vote.
pub(crate) async fn remove_voter(
    client: &Client,
    voter: Voter,
) -> Result<(ErrorCode, Option<String>), ClientError> {
    let response = client
        .any::<RemoveRaftVoterRequest>(|_| {
            RemoveRaftVoterRequest::default()
                .with_cluster_id(None)
                .with_voter_id(voter.node)
                .with_voter_directory_id(voter.directory)
        })
        .await?;
    let words = response.error_message.map(|words| words.to_string());
    Ok((ErrorCode::from_code(response.error_code), words))
}
