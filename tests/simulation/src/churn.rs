//! An operator who moves replicas about while everything else goes on.
//!
//! Owns: reassignments that take replicas away and let them in again, elections of other leaders, changes
//! of who votes on the metadata, and the last reassignment, to all nodes. Never: judges; what is refused
//! or unknown is asked again in time.

mod voters;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::ErrorCode;

use crate::client::Connection;
use crate::history::History;
use crate::random::Random;
use crate::workload::Desk;

const DEADLINE: Duration = Duration::from_secs(3);
const REASSIGN_VERSION: i16 = 0;
const ELECT_VERSION: i16 = 2;

/// What an operator changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Churn {
    Nothing,
    /// Who holds and leads the partitions.
    Replicas,
    /// Also who votes on the metadata.
    ReplicasAndVoters,
}

/// Changes who holds the partitions, again and again.
#[derive(Debug)]
pub struct ChurnTask {
    pub desk: Desk,
    pub random: Random,
    pub churn: Churn,
}

/// The voters on the metadata that are left alone, and that there are in the end.
const VOTERS_MIN: usize = 2;
const VOTERS_LAST: usize = 3;

impl ChurnTask {
    /// Works until the desk says to finish, and then until every node holds every partition.
    pub async fn run(mut self) {
        while !self.desk.is_finishing() {
            let pause = self.random.millis(50..900);
            tokio::time::sleep(pause).await;
            let partition = self.partition();
            let done = match self.random.below(6) {
                0 => self.elect(partition).await,
                1 | 2 if self.churn == Churn::ReplicasAndVoters => self.change_voters().await,
                _ => {
                    let replicas = self.some_nodes();
                    self.reassign(partition, replicas).await
                }
            };
            if let Err(error) = done {
                tracing::debug!(%error, "the operator tries something else");
            }
        }
        for partition in 0..self.desk.partitions {
            self.settle(partition).await;
        }
        if self.churn == Churn::ReplicasAndVoters {
            self.settle_voters().await;
        }
    }

    /// Takes a vote away, or gives one.
    async fn change_voters(&mut self) -> io::Result<ErrorCode> {
        let mut connection = self.open().await?;
        let (voters, observers) = voters::describe(&mut connection).await?;
        let removes = voters.len() > VOTERS_MIN && self.random.one_in(2);
        let from = if removes { &voters } else { &observers };
        let Some(voter) = self.random.pick(from).copied() else { return Ok(ErrorCode::None) };
        let what = format!(
            "{} of n{} on the metadata",
            if removes { "no vote" } else { "a vote" },
            voter.node
        );
        let code = match removes {
            true => voters::remove(&mut connection, voter).await?,
            false => voters::add(&mut connection, voter).await?,
        };
        Ok(note(&self.desk.history, &what, code))
    }

    /// Has at least three nodes vote on the metadata.
    async fn settle_voters(&mut self) {
        loop {
            let settled = async {
                let mut connection = self.open().await?;
                let (voters, observers) = voters::describe(&mut connection).await?;
                if voters.len() < VOTERS_LAST
                    && let Some(voter) = self.random.pick(&observers).copied()
                {
                    let code = voters::add(&mut connection, voter).await?;
                    note(&self.desk.history, &format!("a vote of n{} at last", voter.node), code);
                }
                Ok::<_, io::Error>(voters.len() >= VOTERS_LAST)
            };
            if matches!(settled.await, Ok(true)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Has every node hold the partition. A node may not have heard yet of a move that it is asked about,
    /// so the last one is given again, and every node has to know of it.
    async fn settle(&mut self, partition: i32) {
        let pause = Duration::from_millis(200);
        let all: Vec<i32> = self.desk.nodes.to_vec();
        loop {
            match self.reassign(partition, all.clone()).await {
                Ok(ErrorCode::None) => break,
                Ok(code) => tracing::debug!(?code, partition, "the operator asks again"),
                Err(error) => tracing::debug!(%error, partition, "the operator asks again"),
            }
            tokio::time::sleep(pause).await;
        }
        for node in all {
            while !self.holds_all(node, partition).await {
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn partition(&mut self) -> i32 {
        let count = u64::try_from(self.desk.partitions).unwrap_or(1);
        i32::try_from(self.random.below(count)).unwrap_or(0)
    }

    /// Two or more nodes, in any order.
    fn some_nodes(&mut self) -> Vec<i32> {
        let mut left: Vec<i32> = self.desk.nodes.to_vec();
        let most = left.len() as u64;
        let count = 2 + self.random.below(most.saturating_sub(1));
        let mut chosen = Vec::new();
        while (chosen.len() as u64) < count && !left.is_empty() {
            let at = usize::try_from(self.random.below(left.len() as u64)).unwrap_or(0);
            chosen.push(left.swap_remove(at));
        }
        chosen
    }

    fn topic(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.desk.topic.to_string()))
    }

    async fn open(&mut self) -> io::Result<Connection> {
        let node = self.random.pick(&self.desk.nodes).copied();
        Connection::open(&Desk::host(node.unwrap_or(1)), DEADLINE).await
    }

    async fn reassign(&mut self, partition: i32, replicas: Vec<i32>) -> io::Result<ErrorCode> {
        let mut connection = self.open().await?;
        let named = format!("{replicas:?}");
        let wanted = ReassignablePartition::default()
            .with_partition_index(partition)
            .with_replicas(Some(replicas.into_iter().map(BrokerId).collect()));
        let topic =
            ReassignableTopic::default().with_name(self.topic()).with_partitions(vec![wanted]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(2_000)
            .with_topics(vec![topic]);
        let answer = connection.call(REASSIGN_VERSION, &request, DEADLINE).await?;
        let each = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let code = each.map(|of| of.error_code).next().unwrap_or(answer.error_code);
        Ok(note(&self.desk.history, &format!("partition {partition} to {named}"), code))
    }

    async fn elect(&mut self, partition: i32) -> io::Result<ErrorCode> {
        const PREFERRED: i8 = 0;
        let mut connection = self.open().await?;
        let of =
            TopicPartitions::default().with_topic(self.topic()).with_partitions(vec![partition]);
        let request = ElectLeadersRequest::default()
            .with_election_type(PREFERRED)
            .with_topic_partitions(Some(vec![of]))
            .with_timeout_ms(2_000);
        let answer = connection.call(ELECT_VERSION, &request, DEADLINE).await?;
        let each = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let code = each.map(|of| of.error_code).next().unwrap_or(answer.error_code);
        Ok(note(
            &self.desk.history,
            &format!("partition {partition} to its preferred leader"),
            code,
        ))
    }

    /// Whether `node` knows of a replica on every node, and all of them are in sync.
    async fn holds_all(&self, node: i32, partition: i32) -> bool {
        let topic = Arc::clone(&self.desk.topic);
        let asked = async {
            let mut connection = Connection::open(&Desk::host(node), DEADLINE).await?;
            connection.metadata(&topic).await
        };
        let Ok(metadata) = asked.await else { return false };
        let mut found = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let Some(found) = found.find(|found| found.partition_index == partition) else {
            return false;
        };
        let all = self.desk.nodes.len();
        found.replica_nodes.len() == all && found.isr_nodes.len() == all
    }
}

fn note(history: &History, what: &str, code: i16) -> ErrorCode {
    let code = ErrorCode::from_code(code);
    history.note(format!("move {what}: {code:?}"));
    code
}
