//! Who votes on the metadata, as an operator changes it.
//!
//! Owns: asking who votes, taking a vote away, giving one. Never: when, or how often.

use std::io::{self, ErrorKind};
use std::time::Duration;

use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_quorum_response::ReplicaState;
use kafka_protocol::messages::{
    AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::ErrorCode;
use uuid::Uuid;

use crate::client::Connection;

const METADATA: &str = "__cluster_metadata";
const DESCRIBE_VERSION: i16 = 2;
const CHANGE_VERSION: i16 = 0;
/// For one that is to vote to have the whole log.
const CATCH_UP_MILLIS: i32 = 3_000;
/// Beyond it, for a majority.
const DEADLINE: Duration = Duration::from_secs(8);

/// A replica of the metadata log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Voter {
    pub(super) node: i32,
    directory: Uuid,
}

impl Voter {
    fn of(state: &ReplicaState) -> Self {
        Self { node: state.replica_id.0, directory: state.replica_directory_id }
    }
}

/// Those who vote, and those who only follow the log.
pub(super) async fn describe(connection: &mut Connection) -> io::Result<(Vec<Voter>, Vec<Voter>)> {
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA)))
        .with_partitions(vec![PartitionData::default()]);
    let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
    let answer = connection.call(DESCRIBE_VERSION, &request, DEADLINE).await?;
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let quorum = partitions.next().ok_or(ErrorKind::UnexpectedEof)?;
    if quorum.error_code != 0 || answer.error_code != 0 {
        let code = ErrorCode::from_code(quorum.error_code.max(answer.error_code));
        return Err(io::Error::other(format!("DescribeQuorum: {code:?}")));
    }
    let all = |states: &[ReplicaState]| states.iter().map(Voter::of).collect();
    Ok((all(&quorum.current_voters), all(&quorum.observers)))
}

pub(super) async fn add(connection: &mut Connection, voter: Voter) -> io::Result<i16> {
    let request = AddRaftVoterRequest::default()
        .with_cluster_id(None)
        .with_timeout_ms(CATCH_UP_MILLIS)
        .with_voter_id(voter.node)
        .with_voter_directory_id(voter.directory);
    Ok(connection.call(CHANGE_VERSION, &request, DEADLINE).await?.error_code)
}

pub(super) async fn remove(connection: &mut Connection, voter: Voter) -> io::Result<i16> {
    let request = RemoveRaftVoterRequest::default()
        .with_cluster_id(None)
        .with_voter_id(voter.node)
        .with_voter_directory_id(voter.directory);
    Ok(connection.call(CHANGE_VERSION, &request, DEADLINE).await?.error_code)
}
