//! A shard with a clock and a log, and short words for requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::model::{MonoTime, Now, Timestamp, Uuid};

use crate::group::classic::GroupState;
use crate::group::effects::{Effects, GroupRecord, ReplyToken};
use crate::group::record::{GroupValue, OffsetValue, RecordKey};
use crate::group::reply::{GroupError, JoinReply, Reply, SyncReply};
use crate::group::request::{
    CommitPartition, CommitTopic, FetchOffsetsRequest, FetchTopic, HeartbeatRequest, Input,
    JoinRequest, LeaveRequest, LeavingMember, MemberIdRule, MissingGroup, OffsetCommitRequest,
    Protocol, SkipAssignment, Stability, SyncRequest,
};
use crate::group::settings::GroupSettings;
use crate::group::shard::{GroupShard, ReplayRecord};

pub(super) const GROUP: &str = "g";
pub(super) const WALL_START: i64 = 1_000_000;

/// Runs a shard and checks, after each step, its invariants and that its records make the same.
pub(super) struct Bench {
    pub(super) shard: GroupShard,
    pub(super) settings: GroupSettings,
    pub(super) log: Vec<GroupRecord>,
    pub(super) replies: BTreeMap<ReplyToken, Reply>,
    clock: Duration,
    next: u64,
}

impl Bench {
    /// With the shortest initial delay, as most tests have no use for it.
    pub(super) fn new() -> Self {
        Self::with(GroupSettings {
            initial_rebalance_delay: Duration::from_millis(1),
            ..Default::default()
        })
    }

    pub(super) fn with(settings: GroupSettings) -> Self {
        let mut bench = Self {
            shard: GroupShard::new(settings.clone()),
            settings,
            log: Vec::new(),
            replies: BTreeMap::new(),
            clock: Duration::ZERO,
            next: 0,
        };
        let now = bench.now();
        assert!(bench.shard.finish_load(now).is_empty());
        bench
    }

    pub(super) fn now(&self) -> Now {
        let wall = WALL_START + i64::try_from(self.clock.as_millis()).unwrap();
        Now { mono: MonoTime::from_start(self.clock), wall: Timestamp(wall) }
    }

    pub(super) fn token(&mut self) -> ReplyToken {
        self.next += 1;
        ReplyToken(self.next)
    }

    /// The member id that a join without one gets, if it is the one with this token.
    pub(super) fn uuid(token: ReplyToken) -> Uuid {
        Uuid::from_u128(u128::from(token.0))
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<GroupRecord> {
        let now = self.now();
        let effects = self.shard.step(now, input);
        self.take(effects)
    }

    /// Lets time pass, firing every deadline on the way at its moment.
    pub(super) fn pass(&mut self, span: Duration) -> Vec<GroupRecord> {
        let end = self.clock + span;
        let mut records = Vec::new();
        while let Some(at) = self.shard.deadline().filter(|at| at.since_start() <= end) {
            self.clock = self.clock.max(at.since_start());
            records.extend(self.step(Input::Tick));
        }
        self.clock = end;
        records
    }

    pub(super) fn pass_ms(&mut self, millis: u64) -> Vec<GroupRecord> {
        self.pass(Duration::from_millis(millis))
    }

    /// Lets the first rebalance end: one delay for the first member, one for those after it.
    pub(super) fn form(&mut self) {
        self.pass_ms(2);
    }

    /// The shard is lost and replayed from its log.
    pub(super) fn restart(&mut self) {
        let fresh = self.replayed();
        let lost = std::mem::replace(&mut self.shard, fresh).unload();
        assert!(lost.records.is_empty());
        self.take_replies(lost.replies);
        let now = self.now();
        let effects = self.shard.finish_load(now);
        self.take(effects);
    }

    fn replayed(&self) -> GroupShard {
        let mut shard = GroupShard::new(self.settings.clone());
        for record in &self.log {
            let (key, value) = (&record.key[..], record.value.as_deref());
            shard.replay(ReplayRecord { key, value, transaction: None }).unwrap();
        }
        shard
    }

    fn take(&mut self, effects: Effects) -> Vec<GroupRecord> {
        self.take_replies(effects.replies);
        self.log.extend(effects.records.clone());
        self.shard.validate().unwrap();
        if !effects.records.is_empty() {
            self.check_replay();
        }
        effects.records
    }

    fn take_replies(&mut self, replies: Vec<(ReplyToken, Reply)>) {
        for (token, reply) in replies {
            assert!(token.0 <= self.next, "{token:?} was never given");
            let before = self.replies.insert(token, reply);
            assert_eq!(before, None, "{token:?} is answered twice");
        }
    }

    /// What the records say is what the shard knows, but for rebalances under way.
    fn check_replay(&self) {
        let replayed = self.replayed();
        let offsets = |shard: &GroupShard| -> Vec<(String, String, i32, OffsetValue)> {
            let owned = |(g, t, p, o): (&str, &str, i32, &super::super::CommittedOffset)| {
                (g.to_owned(), t.to_owned(), p, o.value.clone())
            };
            shard.committed().map(owned).collect()
        };
        assert_eq!(offsets(&replayed), offsets(&self.shard));
        assert!(replayed.groups.keys().eq(self.shard.groups.keys()), "groups differ");
        for (id, live) in &self.shard.groups {
            let after = &replayed.groups[id];
            if matches!(live.state, GroupState::Empty | GroupState::Stable) {
                assert_eq!(after.to_value(), live.to_value(), "group {id}");
                assert_eq!(after.state, live.state, "group {id}");
                assert_eq!(after.subscribed, live.subscribed, "group {id}");
            }
        }
    }

    // Requests.

    pub(super) fn join(&mut self, request: JoinRequest) -> ReplyToken {
        let token = self.token();
        let request = JoinRequest { fresh_uuid: Self::uuid(token), ..request };
        self.step(Input::Join(token, request));
        token
    }

    pub(super) fn sync(
        &mut self,
        member: &str,
        generation: i32,
        assignments: &[(&str, &'static [u8])],
    ) -> ReplyToken {
        let token = self.token();
        let assignments = assignments
            .iter()
            .map(|(id, bytes)| (Arc::from(*id), Bytes::from_static(bytes)))
            .collect();
        let request = SyncRequest {
            group_id: GROUP.into(),
            member_id: member.into(),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        self.step(Input::Sync(token, request));
        token
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        let token = self.token();
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            member_id: member.into(),
            instance_id: None,
            generation,
        };
        self.step(Input::Heartbeat(token, request));
        match self.replies.get(&token) {
            Some(Reply::Heartbeat(result)) => *result,
            other => panic!("heartbeat answered {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<Option<GroupError>> {
        let token = self.token();
        let leaving = |(id, instance): &(&str, Option<&str>)| LeavingMember {
            member_id: Arc::from(*id),
            instance_id: instance.map(Arc::from),
        };
        let members = members.iter().map(leaving).collect();
        self.step(Input::Leave(token, LeaveRequest { group_id: GROUP.into(), members }));
        match self.replies.get(&token) {
            Some(Reply::Leave(results)) => results.iter().map(|result| result.error).collect(),
            other => panic!("leave answered {other:?}"),
        }
    }

    pub(super) fn commit(&mut self, request: OffsetCommitRequest) -> Result<(), GroupError> {
        let token = self.token();
        self.step(Input::CommitOffsets(token, request));
        match self.replies.get(&token) {
            Some(Reply::CommitOffsets(Err(error))) => Err(*error),
            Some(Reply::CommitOffsets(Ok(topics))) => {
                topics.iter().flat_map(|t| &t.partitions).try_for_each(|p| match p.error {
                    Some(error) => Err(error),
                    None => Ok(()),
                })
            }
            other => panic!("commit answered {other:?}"),
        }
    }

    /// The committed offset of a partition, as OffsetFetch tells it.
    pub(super) fn fetch(&mut self, topic: &str, partition: i32) -> i64 {
        let token = self.token();
        let topic =
            FetchTopic { topic: topic.into(), topic_id: Uuid::nil(), partitions: vec![partition] };
        self.step(Input::FetchOffsets(
            token,
            FetchOffsetsRequest {
                group_id: GROUP.into(),
                topics: Some(vec![topic]),
                stability: Stability::Any,
            },
        ));
        match self.replies.get(&token) {
            Some(Reply::FetchOffsets(topics)) => topics[0].partitions[0].offset,
            other => panic!("fetch answered {other:?}"),
        }
    }

    // Replies.

    pub(super) fn joined(&self, token: ReplyToken) -> &JoinReply {
        match self.replies.get(&token) {
            Some(Reply::Join(reply)) => reply,
            other => panic!("join {token:?} answered {other:?}"),
        }
    }

    pub(super) fn synced(&self, token: ReplyToken) -> &SyncReply {
        match self.replies.get(&token) {
            Some(Reply::Sync(reply)) => reply,
            other => panic!("sync {token:?} answered {other:?}"),
        }
    }

    pub(super) fn waits(&self, token: ReplyToken) -> bool {
        !self.replies.contains_key(&token)
    }

    pub(super) fn state(&self) -> GroupState {
        self.shard.groups[GROUP].state
    }

    // Situations.

    /// Members without the id round trip, in a stable generation; their ids, leader first.
    pub(super) fn stable(&mut self, clients: &[&str]) -> Vec<String> {
        let tokens: Vec<ReplyToken> =
            clients.iter().map(|client| self.join(old_join(client))).collect();
        self.form();
        self.settle(&tokens)
    }

    /// Lets the leader among joined members assign, and everyone sync.
    pub(super) fn settle(&mut self, tokens: &[ReplyToken]) -> Vec<String> {
        let replies: Vec<JoinReply> = tokens.iter().map(|t| self.joined(*t).clone()).collect();
        let generation = replies[0].generation;
        let leader = replies[0].leader.to_string();
        let mut ids: Vec<String> = replies.iter().map(|r| r.member_id.to_string()).collect();
        ids.sort_by_key(|id| *id != leader);
        let assignments: Vec<(&str, &'static [u8])> =
            ids.iter().map(|id| (id.as_str(), b"work".as_slice())).collect();
        for id in &ids {
            let mine = if *id == leader { assignments.as_slice() } else { &[] };
            let token = self.sync(id, generation, mine);
            assert_eq!(self.synced(token).error, None);
        }
        assert_eq!(self.state(), GroupState::Stable);
        ids
    }
}

/// A consumer that subscribes to topic `t`, as v0-3 of JoinGroup let it join.
pub(super) fn old_join(client: &str) -> JoinRequest {
    JoinRequest {
        group_id: GROUP.into(),
        member_id: "".into(),
        instance_id: None,
        client_id: client.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range")],
        member_id_rule: MemberIdRule::Assigned,
        skip_assignment: SkipAssignment::Unsupported,
        fresh_uuid: Uuid::nil(),
    }
}

pub(super) fn rejoin(client: &str, member_id: &str) -> JoinRequest {
    JoinRequest { member_id: member_id.into(), ..old_join(client) }
}

pub(super) fn static_join(client: &str, instance: &str) -> JoinRequest {
    JoinRequest {
        instance_id: Some(instance.into()),
        member_id_rule: MemberIdRule::Required,
        skip_assignment: SkipAssignment::Supported,
        ..old_join(client)
    }
}

pub(super) fn protocol(name: &str) -> Protocol {
    subscription(name, "t")
}

pub(super) fn subscription(name: &str, topic: &str) -> Protocol {
    let mut metadata = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    metadata.extend(topic.as_bytes());
    metadata.extend([255; 4]);
    Protocol { name: name.into(), metadata: metadata.into() }
}

/// A commit of `offset` for partition 0 of `topic` by nobody in particular.
pub(super) fn simple_commit(topic: &str, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        missing_group: MissingGroup::GroupIdNotFound,
        topics: vec![CommitTopic {
            topic: topic.into(),
            topic_id: Uuid::nil(),
            partitions: vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: None,
            }],
        }],
    }
}

pub(super) fn member_commit(
    member: &str,
    generation: i32,
    topic: &str,
    offset: i64,
) -> OffsetCommitRequest {
    OffsetCommitRequest { member_id: member.into(), generation, ..simple_commit(topic, offset) }
}

/// The group that the last of these records stores.
pub(super) fn stored_group(records: &[GroupRecord]) -> Option<GroupValue> {
    let record = records.last().expect("a record");
    assert!(matches!(RecordKey::decode(&record.key), Ok(RecordKey::Group { .. })));
    record.value.as_ref().map(|value| GroupValue::decode(value).unwrap())
}
