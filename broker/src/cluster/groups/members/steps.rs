//! What comes next on a group's way to the members that the metadata wants.
//!
//! Owns: the decision ([`next_step`]), pure. Never: carries it out. Invariants: a replica votes only once it
//! has everything; the one that goes leads until those that stay all vote, and hands over to one of them.

use std::collections::BTreeSet;

use ottla_coordinator::metadata::PartitionImage;
use ottla_protocol::model::NodeId;
use ottla_replication::raft::ReplicaId;

/// A group as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    /// The leader.
    pub(super) me: ReplicaId,
    pub(super) voters: BTreeSet<ReplicaId>,
    /// Voters and learners.
    pub(super) known: BTreeSet<ReplicaId>,
    /// Followers that had everything a moment ago.
    pub(super) caught_up: BTreeSet<ReplicaId>,
}

/// The next step of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    LetIn(ReplicaId),
    /// New replicas do not have everything yet.
    Wait,
    Vote(BTreeSet<ReplicaId>),
    /// This replica is to go: another one leads the last step.
    HandOver(ReplicaId),
    Report,
}

/// The replicas that a partition shall have in the end; `None` while a directory is not known.
fn target(me: ReplicaId, state: &PartitionImage) -> Option<BTreeSet<ReplicaId>> {
    let stays = state.replicas.iter().filter(|node| !state.removing.contains(node));
    stays
        .map(|node| {
            if *node == me.node {
                return Some(me);
            }
            Some(ReplicaId { node: *node, directory: state.key_of(*node)? })
        })
        .collect()
}

/// Whether nothing is left to do for a group.
pub(super) fn has_its_members(
    me: ReplicaId,
    voters: &BTreeSet<ReplicaId>,
    state: &PartitionImage,
) -> bool {
    !state.is_reassigning() && target(me, state).is_some_and(|target| target == *voters)
}

/// The next step; `None` where the group has its members, or cannot have them yet.
pub(super) fn next_step(members: &Members, state: &PartitionImage) -> Option<Step> {
    let Members { me, voters, known, caught_up } = members;
    let target = target(*me, state)?;
    if voters.is_empty() {
        return None;
    }
    if *voters == target {
        return state.is_reassigning().then_some(Step::Report);
    }
    if let Some(new) = target.iter().find(|replica| !known.contains(replica)) {
        return Some(Step::LetIn(*new));
    }
    let has_all = |replica: &ReplicaId| replica == me || caught_up.contains(replica);
    if !target.difference(voters).all(has_all) {
        let ready: BTreeSet<ReplicaId> =
            target.iter().filter(|of| voters.contains(of) || has_all(of)).copied().collect();
        // After an unclean election nobody knows when the others come back.
        return Some(
            match !state.is_reassigning() && ready.is_superset(voters) && ready != *voters {
                true => Step::Vote(ready),
                false => Step::Wait,
            },
        );
    }
    if target.contains(me) {
        return Some(Step::Vote(target));
    }
    let with_me: BTreeSet<ReplicaId> = target.iter().copied().chain([*me]).collect();
    if *voters != with_me {
        return Some(Step::Vote(with_me));
    }
    let order = |node: NodeId| state.replicas.iter().position(|of| *of == node);
    let heir = target.iter().copied().filter(|of| has_all(of)).min_by_key(|of| order(of.node));
    Some(heir.map_or(Step::Wait, Step::HandOver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::model::{LeaderEpoch, Uuid};

    fn replica(node: i32) -> ReplicaId {
        ReplicaId {
            node: NodeId(node),
            directory: Uuid::from_u128(100 + u128::from(node.unsigned_abs())),
        }
    }

    fn replicas(nodes: &[i32]) -> BTreeSet<ReplicaId> {
        nodes.iter().copied().map(replica).collect()
    }

    /// A partition with these replicas, of which some come and some go.
    fn state(replicas: &[i32], adding: &[i32], removing: &[i32]) -> PartitionImage {
        let nodes = |of: &[i32]| of.iter().copied().map(NodeId).collect::<Vec<_>>();
        PartitionImage {
            replicas: nodes(replicas),
            directories: replicas.iter().map(|node| replica(*node).directory).collect(),
            founders: Vec::new(),
            keys: Vec::new(),
            formation: None,
            isr: nodes(replicas),
            adding: nodes(adding),
            removing: nodes(removing),
            leader: NodeId(replicas[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
        }
    }

    fn members(voters: &[i32], known: &[i32], caught_up: &[i32]) -> Members {
        let (voters, known) = (replicas(voters), replicas(known));
        Members { me: replica(0), voters, known, caught_up: replicas(caught_up) }
    }

    #[test]
    fn growing_lets_in_waits_votes_and_reports() {
        let wanted = state(&[0, 1, 2], &[1, 2], &[]);
        let next = |voters: &[i32], known: &[i32], caught_up: &[i32]| {
            next_step(&members(voters, known, caught_up), &wanted)
        };
        assert_eq!(next(&[0], &[0], &[]), Some(Step::LetIn(replica(1))));
        assert_eq!(next(&[0], &[0, 1], &[]), Some(Step::LetIn(replica(2))));
        assert_eq!(next(&[0], &[0, 1, 2], &[1]), Some(Step::Wait), "2 lags");
        let all = replicas(&[0, 1, 2]);
        assert_eq!(next(&[0], &[0, 1, 2], &[1, 2]), Some(Step::Vote(all)));
        assert_eq!(next(&[0, 1, 2], &[0, 1, 2], &[]), Some(Step::Report));
    }

    #[test]
    fn a_group_that_has_its_members_is_left_alone() {
        let quiet = state(&[0, 1, 2], &[], &[]);
        let settled = |voters: &[i32], state| has_its_members(replica(0), &replicas(voters), state);
        assert!(settled(&[0, 1, 2], &quiet) && !settled(&[0, 1], &quiet));
        assert!(!settled(&[0, 1, 2], &state(&[0, 1, 2], &[2], &[])), "to be reported");
        assert_eq!(next_step(&members(&[0, 1, 2], &[0, 1, 2], &[]), &quiet), None);
        assert_eq!(next_step(&members(&[], &[], &[]), &quiet), None, "nothing is known yet");
    }

    #[test]
    fn the_leader_that_goes_hands_over_to_the_first_that_has_everything() {
        let wanted = state(&[1, 2, 0], &[1, 2], &[0]);
        let next = |voters: &[i32], caught_up: &[i32]| {
            next_step(&members(voters, &[0, 1, 2], caught_up), &wanted)
        };
        assert_eq!(next(&[0], &[1, 2]), Some(Step::Vote(replicas(&[0, 1, 2]))), "it stays for now");
        assert_eq!(next(&[0, 1, 2], &[1, 2]), Some(Step::HandOver(replica(1))));
        assert_eq!(next(&[0, 1, 2], &[2]), Some(Step::HandOver(replica(2))));
        assert_eq!(next(&[0, 1, 2], &[]), Some(Step::Wait));
        let other = Members { me: replica(1), ..members(&[0, 1, 2], &[0, 1, 2], &[]) };
        assert_eq!(
            next_step(&other, &wanted),
            Some(Step::Vote(replicas(&[1, 2]))),
            "the heir ends it"
        );
    }

    #[test]
    fn a_replaced_disk_is_another_replica() {
        let mut wanted = state(&[0, 1, 2], &[], &[]);
        let fresh = ReplicaId { directory: Uuid::from_u128(7), ..replica(2) };
        wanted.directories[2] = fresh.directory;
        let mut now = members(&[0, 1, 2], &[0, 1, 2], &[1]);
        assert_eq!(next_step(&now, &wanted), Some(Step::LetIn(fresh)));
        now.known.insert(fresh);
        assert_eq!(next_step(&now, &wanted), Some(Step::Wait));
        now.caught_up.insert(fresh);
        let voters = BTreeSet::from([replica(0), replica(1), fresh]);
        assert_eq!(next_step(&now, &wanted), Some(Step::Vote(voters)));
    }

    #[test]
    fn what_comes_back_after_an_unclean_election_votes_without_the_rest() {
        let anew = state(&[0, 1, 2], &[], &[]);
        let next = |caught_up: &[i32]| next_step(&members(&[0], &[0, 1, 2], caught_up), &anew);
        assert_eq!(next(&[]), Some(Step::Wait));
        assert_eq!(next(&[1]), Some(Step::Vote(replicas(&[0, 1]))));
        let growing = state(&[0, 1, 2], &[1, 2], &[]);
        let waits = next_step(&members(&[0], &[0, 1, 2], &[1]), &growing);
        assert_eq!(waits, Some(Step::Wait), "a reassignment is one step");
    }

    #[test]
    fn nothing_is_begun_while_a_directory_is_not_known() {
        let mut wanted = state(&[0, 1, 2], &[1, 2], &[]);
        wanted.directories[2] = Uuid::nil();
        assert_eq!(next_step(&members(&[0], &[0], &[]), &wanted), None);
    }
}
