//! Committing, fetching, deleting and expiring offsets.

use std::time::Duration;

use ottla_protocol::model::{ProducerId, Uuid};

use super::bench::*;
use crate::group::classic::GroupState;
use crate::group::record::{OffsetValue, group_tombstone, offset_record, offset_tombstone};
use crate::group::reply::{FetchedOffset, FetchedTopic, GroupError, Reply, TopicOutcome};
use crate::group::request::{
    DeleteOffsetsRequest, DeleteTopic, DeletedTopic, FetchOffsetsRequest, FetchTopic, Input,
    JoinRequest, MissingGroup, OffsetCommitRequest, Stability,
};
use crate::group::settings::GroupSettings;
use crate::group::shard::{GroupShard, ReplayRecord, TransactionResult};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn delete(bench: &mut Bench, topic: &str) -> Result<Vec<TopicOutcome>, GroupError> {
    let token = bench.token();
    let topics = vec![DeleteTopic { topic: topic.into(), partitions: vec![0, 1] }];
    let request = DeleteOffsetsRequest { group_id: GROUP.into(), topics };
    bench.step(Input::DeleteOffsets(token, request));
    match &bench.replies[&token] {
        Reply::DeleteOffsets(result) => result.clone(),
        other => panic!("answered {other:?}"),
    }
}

fn fetch_all(bench: &mut Bench) -> Vec<FetchedTopic> {
    let token = bench.token();
    let (topics, stability) = (None, Stability::Any);
    let request = FetchOffsetsRequest { group_id: GROUP.into(), topics, stability };
    bench.step(Input::FetchOffsets(token, request));
    match &bench.replies[&token] {
        Reply::FetchOffsets(topics) => topics.clone(),
        other => panic!("answered {other:?}"),
    }
}

#[test]
fn a_consumer_without_membership_makes_a_simple_group() {
    let mut bench = Bench::new();
    let token = bench.token();
    let records = bench.step(Input::CommitOffsets(token, simple_commit("t", 7)));
    let value = OffsetValue {
        offset: 7,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: bench.now().wall,
        expire_timestamp: None,
        topic_id: Uuid::nil(),
    };
    assert_eq!(records, [offset_record(GROUP, "t", 0, &value)]);
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.fetch("t", 0), 7);
    assert_eq!(bench.fetch("t", 1), -1);
    assert_eq!(bench.fetch("u", 0), -1);
}

#[test]
fn epoch_metadata_and_topic_id_come_back() {
    let mut bench = Bench::new();
    let mut request = simple_commit("t", 7);
    let id = Uuid::from_u128(42);
    request.topics[0].topic_id = id;
    request.topics[0].partitions[0].leader_epoch = 5;
    request.topics[0].partitions[0].metadata = Some("note".into());
    bench.commit(request).unwrap();
    bench.restart();
    let expected = |topic_id| FetchedTopic {
        topic: "t".into(),
        topic_id,
        partitions: vec![FetchedOffset {
            partition: 0,
            offset: 7,
            leader_epoch: 5,
            metadata: "note".into(),
            error: None,
        }],
    };
    assert_eq!(fetch_all(&mut bench), [expected(Uuid::nil())]);
    for (wanted, offset) in [(Uuid::nil(), 7), (id, 7), (Uuid::from_u128(43), -1)] {
        let token = bench.token();
        let topic = FetchTopic { topic: "t".into(), topic_id: wanted, partitions: vec![0] };
        let (topics, stability) = (Some(vec![topic]), Stability::Any);
        let request = FetchOffsetsRequest { group_id: GROUP.into(), topics, stability };
        bench.step(Input::FetchOffsets(token, request));
        let Reply::FetchOffsets(topics) = &bench.replies[&token] else { panic!() };
        assert_eq!(topics[0].partitions[0].offset, offset, "asked with {wanted}");
    }
}

#[test]
fn metadata_is_bounded_in_utf16_units() {
    let mut bench = Bench::new();
    let with = |metadata: String| {
        let mut request = simple_commit("t", 1);
        request.topics[0].partitions[0].metadata = Some(metadata.into());
        request
    };
    assert_eq!(bench.commit(with("x".repeat(4096))), Ok(()));
    assert_eq!(bench.commit(with("\u{e9}".repeat(4096))), Ok(()), "8192 bytes, 4096 units");
    let too_large = Err(GroupError::OffsetMetadataTooLarge);
    assert_eq!(bench.commit(with("x".repeat(4097))), too_large);
    assert_eq!(bench.commit(with("\u{1f600}".repeat(2049))), too_large);
    assert_eq!(bench.log.len(), 2);
}

#[test]
fn commits_are_checked_against_the_membership() {
    let mut bench = Bench::new();
    let with = |member: &str, generation| member_commit(member, generation, "t", 1);
    assert_eq!(bench.commit(with("x", 1)), Err(GroupError::GroupIdNotFound));
    let old =
        OffsetCommitRequest { missing_group: MissingGroup::IllegalGeneration, ..with("x", 1) };
    assert_eq!(bench.commit(old), Err(GroupError::IllegalGeneration));

    let ids = bench.stable(&["a", "b"]);
    let fenced = OffsetCommitRequest { instance_id: Some("i".into()), ..with(&ids[0], 1) };
    let cases = [
        (with(&ids[0], 1), Ok(())),
        (with(&ids[0], 2), Err(GroupError::IllegalGeneration)),
        (with(&ids[0], 0), Err(GroupError::IllegalGeneration)),
        (with("x", 1), Err(GroupError::UnknownMemberId)),
        (with("", -1), Err(GroupError::UnknownMemberId)),
        (with("", 1), Err(GroupError::UnknownMemberId)),
        (fenced, Err(GroupError::UnknownMemberId)),
    ];
    for (request, expected) in cases {
        assert_eq!(bench.commit(request.clone()), expected, "{request:?}");
    }
    let a = bench.join(rejoin("a", &ids[0]));
    assert_eq!(bench.commit(with(&ids[1], 1)), Ok(()), "members may commit before they rejoin");
    let b = bench.join(rejoin("b", &ids[1]));
    assert_eq!(bench.commit(with(&ids[1], 2)), Err(GroupError::RebalanceInProgress));
    bench.settle(&[a, b]);
    bench.leave(&[(&ids[0], None), (&ids[1], None)]);
    assert_eq!(bench.commit(with(&ids[0], 3)), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.commit(with("", -1)), Ok(()), "an administrator resets an empty group");
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.pass_ms(9_000);
    bench.commit(member_commit(&ids[0], 1, "t", 1)).unwrap();
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&ids[0], 1), Ok(()));
}

#[test]
fn offsets_in_use_are_not_deleted() {
    let mut bench = Bench::new();
    assert_eq!(delete(&mut bench, "t"), Err(GroupError::GroupIdNotFound));
    bench.commit(simple_commit("t", 1)).unwrap();
    bench.commit(simple_commit("u", 2)).unwrap();
    let ids = bench.stable(&["a"]);
    let outcomes = delete(&mut bench, "t").unwrap();
    let errors: Vec<_> = outcomes[0].partitions.iter().map(|p| p.error).collect();
    assert_eq!(errors, [Some(GroupError::GroupSubscribedToTopic); 2]);
    let written = bench.log.len();
    let outcomes = delete(&mut bench, "u").unwrap();
    assert!(outcomes[0].partitions.iter().all(|p| p.error.is_none()));
    assert_eq!(bench.log[written..], [offset_tombstone(GROUP, "u", 0)], "one was committed");
    bench.leave(&[(&ids[0], None)]);
    delete(&mut bench, "t").unwrap();
    assert_eq!(fetch_all(&mut bench), []);
}

#[test]
fn groups_of_other_protocols_must_be_empty_to_lose_offsets() {
    let mut bench = Bench::new();
    bench.join(JoinRequest { protocol_type: "connect".into(), ..old_join("w") });
    bench.form();
    assert_eq!(delete(&mut bench, "t"), Err(GroupError::NonEmptyGroup));
}

#[test]
fn offsets_of_deleted_topics_go() {
    let mut bench = Bench::new();
    bench.commit(simple_commit("t", 1)).unwrap();
    bench.commit(simple_commit("u", 2)).unwrap();
    bench.commit(OffsetCommitRequest { group_id: "h".into(), ..simple_commit("t", 3) }).unwrap();
    let deleted = |id| vec![DeletedTopic { name: "t".into(), id: Uuid::from_u128(id) }];
    let records = bench.step(Input::TopicsDeleted(deleted(9)));
    assert_eq!(records, [offset_tombstone(GROUP, "t", 0), offset_tombstone("h", "t", 0)]);
    assert_eq!((bench.fetch("t", 0), bench.fetch("u", 0)), (-1, 2));
    // One that says which topic it is of goes with that one alone.
    let mut again = simple_commit("t", 4);
    again.topics[0].topic_id = Uuid::from_u128(10);
    bench.commit(again).unwrap();
    assert_eq!(bench.step(Input::TopicsDeleted(deleted(9))), []);
    assert_eq!(bench.fetch("t", 0), 4);
    let records = bench.step(Input::TopicsDeleted(deleted(10)));
    assert_eq!(records, [offset_tombstone(GROUP, "t", 0)]);
}

#[test]
fn simple_groups_offsets_expire_by_their_commit() {
    let mut bench = Bench::new();
    bench.commit(simple_commit("t", 1)).unwrap();
    bench.pass(3 * DAY);
    bench.commit(simple_commit("u", 2)).unwrap();
    let records = bench.pass(4 * DAY);
    assert_eq!(records, [offset_tombstone(GROUP, "t", 0)]);
    let records = bench.pass(3 * DAY);
    assert_eq!(records, [offset_tombstone(GROUP, "u", 0), group_tombstone(GROUP)]);
    assert!(bench.shard.groups.is_empty());
}

#[test]
fn a_groups_offsets_expire_a_retention_after_it_became_empty() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.commit(member_commit(&ids[0], 1, "t", 1)).unwrap();
    bench.leave(&[(&ids[0], None)]);
    bench.pass(7 * DAY);
    assert_eq!(bench.fetch("t", 0), 1);
    let records = bench.pass(Duration::from_secs(600));
    assert_eq!(records, [offset_tombstone(GROUP, "t", 0), group_tombstone(GROUP)]);
}

#[test]
fn only_unsubscribed_topics_of_a_stable_group_expire() {
    let mut bench = Bench::with(GroupSettings {
        initial_rebalance_delay: Duration::from_millis(1),
        offsets_retention: Duration::from_secs(60),
        retention_check_interval: Duration::from_secs(5),
        ..Default::default()
    });
    let ids = bench.stable(&["a"]);
    bench.commit(member_commit(&ids[0], 1, "t", 1)).unwrap();
    bench.commit(member_commit(&ids[0], 1, "u", 2)).unwrap();
    let mut records = Vec::new();
    for _ in 0..13 {
        records.extend(bench.pass_ms(5_000));
        bench.heartbeat(&ids[0], 1).unwrap();
    }
    assert_eq!(records, [offset_tombstone(GROUP, "u", 0)]);
    assert_eq!(bench.fetch("t", 0), 1);
}

#[test]
fn old_clients_say_how_long_an_offset_lives() {
    let mut bench = Bench::new();
    let short = OffsetCommitRequest { retention_ms: Some(60_000), ..simple_commit("t", 1) };
    bench.commit(short).unwrap();
    bench.restart();
    bench.pass(Duration::from_secs(599));
    assert_eq!(bench.fetch("t", 0), 1, "nobody looked yet");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.fetch("t", 0), -1);
}

#[test]
fn a_transactions_offsets_wait_for_its_end() {
    let producer = ProducerId(5);
    let record = |offset| {
        let value = OffsetValue {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_timestamp: Bench::new().now().wall,
            expire_timestamp: None,
            topic_id: Uuid::nil(),
        };
        offset_record(GROUP, "t", 0, &value)
    };
    let fetch = |shard: &mut GroupShard, stability| {
        let topic = FetchTopic { topic: "t".into(), topic_id: Uuid::nil(), partitions: vec![0] };
        let request =
            FetchOffsetsRequest { group_id: GROUP.into(), topics: Some(vec![topic]), stability };
        let token = crate::group::ReplyToken(1);
        let now = Bench::new().now();
        let mut effects = shard.step(now, Input::FetchOffsets(token, request));
        let Some((_, Reply::FetchOffsets(topics))) = effects.replies.pop() else { panic!() };
        let found = &topics[0].partitions[0];
        (found.offset, found.error)
    };
    for (result, after) in [(TransactionResult::Commit, 2), (TransactionResult::Abort, 1)] {
        let mut shard = GroupShard::new(GroupSettings::default());
        for (offset, transaction) in [(1, None), (2, Some(producer))] {
            let record = record(offset);
            let (key, value) = (&record.key[..], record.value.as_deref());
            shard.replay(ReplayRecord { key, value, transaction }).unwrap();
        }
        assert_eq!(fetch(&mut shard, Stability::Any), (1, None));
        let unstable = Some(GroupError::UnstableOffsetCommit);
        assert_eq!(fetch(&mut shard, Stability::Required), (-1, unstable));
        shard.replay_marker(producer, result);
        assert_eq!(fetch(&mut shard, Stability::Required), (after, None));
    }
    // A plain commit after the transaction's wins, whatever the order of the marker.
    let mut shard = GroupShard::new(GroupSettings::default());
    for (offset, transaction) in [(2, Some(producer)), (3, None)] {
        let record = record(offset);
        let (key, value) = (&record.key[..], record.value.as_deref());
        shard.replay(ReplayRecord { key, value, transaction }).unwrap();
    }
    shard.replay_marker(producer, TransactionResult::Commit);
    assert_eq!(fetch(&mut shard, Stability::Required), (3, None));
}

#[test]
fn records_that_cannot_be_read_are_reported_and_strangers_skipped() {
    let mut shard = GroupShard::new(GroupSettings::default());
    let replay = |shard: &mut GroupShard, key: &[u8], value: Option<&[u8]>| {
        shard.replay(ReplayRecord { key, value, transaction: None })
    };
    assert_eq!(replay(&mut shard, &[0, 3, 0, 1, b'g'], Some(&[0, 0])), Ok(()));
    assert!(replay(&mut shard, &[0, 2, 0, 9, b'g'], None).is_err());
    let key = offset_tombstone("g", "t", 0).key;
    assert!(replay(&mut shard, &key, Some(&[0, 4, 1])).is_err());
    assert!(shard.groups.is_empty());
}
