//! Who leads a partition now, while leadership moves.
//!
//! Owns: weighing what a leader has said against what the replica here knows already, and waiting until a
//! successor is known. Never: who should lead.

use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId, Uuid};
use ottla_replication::leadership::Claim;
use ottla_replication::raft::Leadership;

use super::current_leader;
use crate::services::Services;

/// How long a client that came to the wrong broker is kept for the sake of the right one's name: it would
/// have to ask for it, and clients wait before they ask again. A hand-over takes a small part of it.
const KEPT_MAX: Duration = Duration::from_millis(250);

/// What leaders have said of a group: the word that counts, and the last one.
pub(super) type Said = (Option<Claim>, Option<Claim>);

/// The newest of what leaders say and what the replica here has seen. A new leader's word comes only once
/// its first entry is committed; the replica here knows it from the first append. Until then those who were
/// in sync under the leader before stay, as far as they live, and all that vote in a new group.
pub(super) fn newest(
    (claim, last): Said,
    local: Option<(Leadership, Vec<NodeId>)>,
    me: NodeId,
    lives: impl Fn(NodeId) -> bool,
) -> Option<Claim> {
    let Some((local, voters)) = local else { return claim };
    let leader = local.leader.map(|replica| replica.node);
    let newer = last.as_ref().is_none_or(|last| last.epoch < local.epoch);
    match leader.filter(|leader| newer && lives(*leader)) {
        Some(leader) => {
            let mut isr = last.map_or(voters, |last| last.isr);
            isr.retain(|node| *node != leader && lives(*node));
            isr.push(leader);
            isr.sort_unstable();
            Some(Claim { leader, epoch: local.epoch, isr })
        }
        // This node's own word, which it has not taken back yet.
        None => claim.filter(|claim| claim.leader != me || leader == Some(me)),
    }
}

/// Waits until another broker is known to lead each of these partitions, or [`KEPT_MAX`] has passed since
/// `from`.
pub(crate) async fn known(services: &Services, partitions: &[(Uuid, i32)], from: MonoTime) {
    let Some(cluster) = services.cluster() else { return };
    let mut claims = cluster.peers.leaderships().subscribe();
    let mut local = cluster.peers.groups().subscribe();
    let known = |(topic, partition): &(Uuid, i32)| {
        let view = current_leader(services, *topic, *partition);
        // A partition that is gone has nobody to wait for.
        view.is_none_or(|view| view.leader.is_some_and(|leader| leader != cluster.me))
    };
    let mut late = services.clock.sleep_until(from.plus(KEPT_MAX));
    loop {
        claims.mark_unchanged();
        local.mark_unchanged();
        if partitions.iter().all(known) {
            return;
        }
        tokio::select! {
            biased;
            () = &mut late => return,
            changed = claims.changed() => if changed.is_err() { return },
            changed = local.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::model::LeaderEpoch;
    use ottla_replication::raft::ReplicaId;

    use super::*;

    const ME: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn claim(leader: NodeId, epoch: i32) -> Option<Claim> {
        Some(Claim { leader, epoch: LeaderEpoch(epoch), isr: vec![ME, leader] })
    }

    fn local(leader: Option<NodeId>, epoch: i32) -> Option<(Leadership, Vec<NodeId>)> {
        let leader = leader.map(|node| ReplicaId { node, directory: Uuid::from_u128(1) });
        Some((Leadership { epoch: LeaderEpoch(epoch), leader, here: false }, vec![ME, B, C]))
    }

    fn found(
        claim: Option<Claim>,
        local: Option<(Leadership, Vec<NodeId>)>,
    ) -> Option<(NodeId, i32)> {
        let found = newest((claim.clone(), claim), local, ME, |_| true)?;
        assert!(found.isr.contains(&found.leader));
        Some((found.leader, found.epoch.get()))
    }

    #[test]
    fn what_the_replica_here_has_seen_counts_where_it_is_newer() {
        assert_eq!(found(claim(B, 4), local(Some(B), 4)), Some((B, 4)));
        assert_eq!(found(claim(ME, 4), local(Some(C), 5)), Some((C, 5)), "it has appended");
        assert_eq!(found(claim(C, 5), local(Some(B), 4)), Some((C, 5)), "the word came first");
        assert_eq!(found(claim(C, 5), None), Some((C, 5)), "there is no replica here");
        assert_eq!(found(None, local(Some(ME), 1)), Some((ME, 1)));
    }

    #[test]
    fn a_leader_that_was_voted_out_here_is_not_named() {
        assert_eq!(found(claim(ME, 4), local(None, 5)), None);
        assert_eq!(found(claim(ME, 4), local(Some(ME), 4)), Some((ME, 4)));
        // A vote is no election: the other may lead still.
        assert_eq!(found(claim(B, 4), local(None, 5)), Some((B, 4)));
    }

    #[test]
    fn who_was_in_sync_and_lives_still_is() {
        let isr =
            |said: Said, dead| Some(newest(said, local(Some(C), 5), ME, |node| node != dead)?.isr);
        assert_eq!(isr((None, claim(B, 4)), B), Some(vec![ME, C]));
        assert_eq!(isr((None, None), NodeId(9)), Some(vec![ME, B, C]), "a new group");
    }

    #[test]
    fn the_dead_lead_nothing() {
        let dead = |of| newest((None, claim(B, 4)), of, ME, |node| node != B && node != C);
        assert_eq!(dead(local(Some(B), 4)), None);
        assert_eq!(dead(local(Some(C), 5)), None);
    }
}
