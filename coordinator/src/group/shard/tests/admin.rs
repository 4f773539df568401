//! Lists, descriptions and deletions of groups.

use std::sync::Arc;

use super::bench::*;
use crate::group::classic::GroupState;
use crate::group::record::{group_tombstone, offset_tombstone};
use crate::group::reply::{DescribedGroup, GroupError, ListedGroup, Reply};
use crate::group::request::{Input, ListGroupsRequest, OffsetCommitRequest};

fn list(bench: &mut Bench, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
    let token = bench.token();
    let owned = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let request = ListGroupsRequest { states: owned(states), types: owned(types) };
    bench.step(Input::ListGroups(token, request));
    match &bench.replies[&token] {
        Reply::ListGroups(groups) => groups.clone(),
        other => panic!("answered {other:?}"),
    }
}

fn describe(bench: &mut Bench, id: &str) -> DescribedGroup {
    let token = bench.token();
    bench.step(Input::DescribeGroups(token, vec![id.into()]));
    match &bench.replies[&token] {
        Reply::DescribeGroups(groups) => groups[0].clone(),
        other => panic!("answered {other:?}"),
    }
}

fn delete(bench: &mut Bench, ids: &[&str]) -> Vec<Option<GroupError>> {
    let token = bench.token();
    bench.step(Input::DeleteGroups(token, ids.iter().map(|id| Arc::from(*id)).collect()));
    match &bench.replies[&token] {
        Reply::DeleteGroups(groups) => groups.iter().map(|group| group.error).collect(),
        other => panic!("answered {other:?}"),
    }
}

#[test]
fn filters_are_by_state_and_type_in_any_case() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let simple = OffsetCommitRequest { group_id: "simple".into(), ..simple_commit("t", 1) };
    bench.commit(simple).unwrap();
    let stable = ListedGroup {
        group_id: GROUP.into(),
        protocol_type: "consumer".into(),
        state: GroupState::Stable,
    };
    let empty = ListedGroup {
        group_id: "simple".into(),
        protocol_type: "".into(),
        state: GroupState::Empty,
    };
    let both = [stable.clone(), empty.clone()];
    assert_eq!(list(&mut bench, &[], &[]), both);
    assert_eq!(list(&mut bench, &["STABLE "], &["Classic"]), [stable]);
    assert_eq!(list(&mut bench, &["empty", "Dead"], &[]), [empty]);
    assert_eq!(list(&mut bench, &["no such state"], &[]), []);
    assert_eq!(list(&mut bench, &[], &["consumer"]), []);
}

#[test]
fn a_description_tells_metadata_only_of_a_stable_group() {
    let mut bench = Bench::new();
    assert_eq!(describe(&mut bench, GROUP).state, None);
    let ids = bench.stable(&["a", "b"]);
    let group = describe(&mut bench, GROUP);
    assert_eq!((group.state, &*group.protocol_type), (Some(GroupState::Stable), "consumer"));
    assert_eq!(&*group.protocol_name, "range");
    assert_eq!(group.members.len(), 2);
    let member = &group.members[0];
    assert_eq!((&*member.client_id, &*member.client_host), ("a", "/127.0.0.1"));
    assert_eq!(
        (&member.metadata, &member.assignment[..]),
        (&protocol("range").metadata, &b"work"[..])
    );
    bench.join(rejoin("a", &ids[0]));
    let group = describe(&mut bench, GROUP);
    assert_eq!(group.state, Some(GroupState::PreparingRebalance));
    assert_eq!(&*group.protocol_name, "");
    assert!(group.members.iter().all(|member| member.metadata.is_empty()));
}

#[test]
fn only_empty_groups_are_deleted_and_their_offsets_with_them() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.commit(member_commit(&ids[0], 1, "t", 3)).unwrap();
    let results = delete(&mut bench, &[GROUP, "no-such-group"]);
    assert_eq!(results, [Some(GroupError::NonEmptyGroup), Some(GroupError::GroupIdNotFound)]);
    bench.leave(&[(&ids[0], None)]);
    let written = bench.log.len();
    assert_eq!(delete(&mut bench, &[GROUP]), [None]);
    assert_eq!(bench.log[written..], [offset_tombstone(GROUP, "t", 0), group_tombstone(GROUP)]);
    assert_eq!(delete(&mut bench, &[GROUP]), [Some(GroupError::GroupIdNotFound)]);
    assert_eq!(bench.fetch("t", 0), -1);
    bench.stable(&["a"]);
}
