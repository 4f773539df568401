//! Members of a classic consumer group that commit offsets.
//!
//! Owns: joining, heartbeats, commits that only grow, commits of a generation that is over. Never:
//! reads records, or judges.

use std::io::{self, Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::ErrorCode;

use crate::client::Connection;
use crate::history::{Kind, Op};
use crate::random::Random;
use crate::workload::Desk;

const DEADLINE: Duration = Duration::from_secs(3);
/// A join waits for the others.
const JOIN_DEADLINE: Duration = Duration::from_secs(6);
const SESSION_MILLIS: i32 = 2_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn refused(what: &str, code: i16) -> Error {
    Error::other(format!("{what}: {:?}", ErrorCode::from_code(code)))
}

/// One member.
#[derive(Debug)]
pub struct MemberTask {
    pub desk: Desk,
    pub group: Arc<str>,
    pub name: String,
    pub random: Random,
}

/// What a member was given.
#[derive(Clone, Debug)]
struct Held {
    member: StrBytes,
    generation: i32,
    partitions: Vec<i32>,
}

/// A partition that this member owns, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Position {
    partition: i32,
    next: i64,
}

impl MemberTask {
    /// Takes part until the desk says to finish.
    pub async fn run(mut self) {
        let mut member = StrBytes::default();
        let mut before: Option<Held> = None;
        while !self.desk.is_finishing() {
            if let Err(error) = self.take_part(&mut member, &mut before).await {
                tracing::debug!(name = self.name, %error, "member begins again");
                let pause = self.random.millis(10..150);
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn take_part(
        &mut self,
        member: &mut StrBytes,
        before: &mut Option<Held>,
    ) -> io::Result<()> {
        let mut connection = self.coordinator().await?;
        let held = match self.join(&mut connection, member).await {
            Ok(held) => held,
            Err(error) => {
                if error.to_string().contains("UnknownMemberId") {
                    *member = StrBytes::default();
                }
                return Err(error);
            }
        };
        if let Some(old) = before.replace(held.clone())
            && old.generation < held.generation
            && self.random.one_in(3)
        {
            self.commit_late(&mut connection, &old).await?;
        }
        let worked = self.work(&mut connection, &held).await;
        let (group, generation) = (self.group.to_string(), held.generation);
        let op = Op::Revoked { group, member: held.member.to_string(), generation };
        self.desk.history.record(&self.name, Kind::Ok, op);
        worked
    }

    async fn coordinator(&mut self) -> io::Result<Connection> {
        let asked = *self.random.pick(&self.desk.nodes).ok_or(ErrorKind::NotFound)?;
        let mut connection = Connection::open(&Desk::host(asked), DEADLINE).await?;
        let request = FindCoordinatorRequest::default().with_key(text(&self.group));
        let found = connection.call(2, &request, DEADLINE).await?;
        if found.error_code != 0 {
            return Err(refused("FindCoordinator", found.error_code));
        }
        Connection::open(&Desk::host(found.node_id.0), DEADLINE).await
    }

    async fn join(&self, connection: &mut Connection, member: &mut StrBytes) -> io::Result<Held> {
        let mut joined = self.ask_to_join(connection, member).await?;
        if ErrorCode::from_code(joined.error_code) == ErrorCode::MemberIdRequired {
            *member = joined.member_id;
            joined = self.ask_to_join(connection, member).await?;
        }
        if joined.error_code != 0 {
            return Err(refused("JoinGroup", joined.error_code));
        }
        *member = joined.member_id.clone();
        let assignments =
            if joined.leader == joined.member_id { self.assign(&joined) } else { Vec::new() };
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(member.clone())
            .with_assignments(assignments);
        let synced = connection.call(3, &request, JOIN_DEADLINE).await?;
        if synced.error_code != 0 {
            return Err(refused("SyncGroup", synced.error_code));
        }
        let partitions: Vec<i32> = synced.assignment.iter().map(|byte| i32::from(*byte)).collect();
        let generation = joined.generation_id;
        let op = Op::Assigned {
            group: self.group.to_string(),
            member: member.to_string(),
            generation,
            partitions: partitions.iter().map(|p| (self.desk.topic.to_string(), *p)).collect(),
        };
        self.desk.history.record(&self.name, Kind::Ok, op);
        Ok(Held { member: member.clone(), generation, partitions })
    }

    async fn ask_to_join(
        &self,
        connection: &mut Connection,
        member: &StrBytes,
    ) -> io::Result<JoinGroupResponse> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("simulation"))
            .with_metadata(Bytes::from_static(b"0"));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_session_timeout_ms(SESSION_MILLIS)
            .with_rebalance_timeout_ms(SESSION_MILLIS)
            .with_member_id(member.clone())
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        connection.call(5, &request, JOIN_DEADLINE).await
    }

    /// A byte for each partition, round robin over the members.
    fn assign(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let mut parts = vec![Vec::new(); joined.members.len()];
        for partition in 0..self.desk.partitions {
            let turn = usize::try_from(partition).unwrap_or(0) % parts.len().max(1);
            if let Some(part) = parts.get_mut(turn) {
                part.push(u8::try_from(partition).unwrap_or(u8::MAX));
            }
        }
        let with = |(member, part): (&_, Vec<u8>)| {
            let member: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember =
                member;
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(part.into())
        };
        joined.members.iter().zip(parts).map(with).collect()
    }

    /// Heartbeats and commits until the group moves on.
    async fn work(&mut self, connection: &mut Connection, held: &Held) -> io::Result<()> {
        let mut positions = Vec::new();
        for partition in &held.partitions {
            let next = self.committed(connection, *partition).await?.max(0);
            positions.push(Position { partition: *partition, next });
        }
        while !self.desk.is_finishing() {
            let request = HeartbeatRequest::default()
                .with_group_id(GroupId(text(&self.group)))
                .with_generation_id(held.generation)
                .with_member_id(held.member.clone());
            let beat = connection.call(2, &request, DEADLINE).await?;
            if beat.error_code != 0 {
                return Err(refused("Heartbeat", beat.error_code));
            }
            for position in &mut positions {
                if self.random.one_in(2) {
                    position.next += 1 + i64::try_from(self.random.below(5)).unwrap_or(0);
                    self.commit(connection, held, *position).await?;
                }
            }
            let pause = self.random.millis(20..200);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// A commit of a generation that is over: must be refused.
    async fn commit_late(&self, connection: &mut Connection, old: &Held) -> io::Result<()> {
        let Some(partition) = old.partitions.first() else { return Ok(()) };
        let position = Position { partition: *partition, next: 1 };
        let _refused = self.commit(connection, old, position).await;
        Ok(())
    }

    async fn committed(&self, connection: &mut Connection, partition: i32) -> io::Result<i64> {
        let (group, topic) = (self.group.to_string(), self.desk.topic.to_string());
        let op = |offset| Op::FetchCommitted {
            group: group.clone(),
            topic: topic.clone(),
            partition,
            offset,
        };
        self.desk.history.record(&self.name, Kind::Invoke, op(-1));
        let asked = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text(&self.desk.topic)))
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_topics(Some(vec![asked]));
        let answer = connection.call(5, &request, DEADLINE).await?;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let found = found.ok_or(ErrorKind::UnexpectedEof)?;
        let code = if answer.error_code == 0 { found.error_code } else { answer.error_code };
        if code != 0 {
            return Err(refused("OffsetFetch", code));
        }
        self.desk.history.record(&self.name, Kind::Ok, op(found.committed_offset));
        Ok(found.committed_offset)
    }

    async fn commit(
        &self,
        connection: &mut Connection,
        held: &Held,
        position: Position,
    ) -> io::Result<()> {
        let op = Op::Commit {
            group: self.group.to_string(),
            member: held.member.to_string(),
            generation: held.generation,
            topic: self.desk.topic.to_string(),
            partition: position.partition,
            offset: position.next,
        };
        self.desk.history.record(&self.name, Kind::Invoke, op.clone());
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(position.partition)
            .with_committed_offset(position.next);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(&self.desk.topic)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id_or_member_epoch(held.generation)
            .with_member_id(held.member.clone())
            .with_topics(vec![topic]);
        let answer = connection.call(7, &request, DEADLINE).await?;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let code = found.ok_or(ErrorKind::UnexpectedEof)?.error_code;
        if code != 0 {
            self.desk.history.record(&self.name, Kind::Info, op);
            return Err(refused("OffsetCommit", code));
        }
        self.desk.history.record(&self.name, Kind::Ok, op);
        Ok(())
    }
}
