//! Handing the leadership of a group to another replica.
//!
//! Owns: which follower takes over, and seeing to it that one does. Never: whether it is time to.
//!
//! Invariant: a leader that was told to hand over takes no batches until somebody else leads, since openraft
//! has no way back from there: so it is told only once the heir answers and has what the log held a moment
//! ago, then again and again, and if all is in vain its instance ends and is started again as a follower's.

use std::sync::Arc;
use std::time::Duration;

use openraft::alias::InstantOf;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::TypeConfigExt;
use ottla_protocol::model::{LeaderEpoch, MonoTime, NodeId};

use super::{FollowerProgress, Group, GroupError, ReplicaId, TypeConfig};

/// How long a successor is given before the heir is told again: a message is lost, or it has not yet
/// flushed what it has.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Tries with one heir before another one is asked, too.
const TRIES_EACH: u32 = 4;
/// Tries in all.
const TRIES: u32 = 12;
/// A follower that had everything so lately has it in a moment: followers are looked at every second.
const LATELY: Duration = Duration::from_millis(1_500);

impl Group {
    /// The voter that takes over best, among the nodes that are `fit`: the one that stands first in the order
    /// of preference of those that keep up, else the furthest.
    #[must_use]
    pub fn heir(&self, fit: impl Fn(NodeId) -> bool) -> Option<ReplicaId> {
        let mut followers = self.followers();
        followers.retain(|of| of.voter && fit(of.replica.node));
        choose(&followers, &self.preference.lock(), self.log.now().mono)
    }

    /// Moves the leadership to another voter, and returns once this replica leads no more. Batches are taken
    /// until the voter has what the log holds now.
    ///
    /// # Errors
    /// This replica does not lead, or the voter does not answer or lacks too much, or nobody takes over
    /// within two leases; then it goes on by itself.
    pub async fn transfer(self: &Arc<Self>, to: ReplicaId) -> Result<(), GroupError> {
        let leadership = self.leadership();
        if leadership.leader != Some(self.replica()) {
            return Err(GroupError::NotLeader(self.id()));
        }
        if tokio::time::timeout(self.lease, self.reached(to)).await != Ok(true) {
            let text = format!("{to} does not answer or lacks too much to take over");
            return Err(GroupError::Refused(self.id(), text));
        }
        let group = Arc::clone(self);
        let moving = self.runtime.spawn(async move { group.leave(leadership.epoch, to).await });
        match tokio::time::timeout(self.lease * 2, moving).await {
            Ok(Ok(left)) => left,
            Ok(Err(error)) => Err(self.stopped(&error)),
            Err(_) => Err(GroupError::Refused(self.id(), format!("{to} did not take over"))),
        }
    }

    /// Waits until a follower has answered and has what the log holds now; false where it follows no more.
    ///
    /// The heartbeat is not only a question. openraft hands over to nobody who has flushed less than the
    /// leader holds, and a replica that came back counts what it has as flushed only once it is told of it.
    async fn reached(&self, to: ReplicaId) -> bool {
        let (end, asked) = (self.log.partition.log_end(), TypeConfig::now());
        self.heartbeat().await;
        let mut metrics = self.raft.metrics();
        loop {
            let answered = self.answered(to).is_some_and(|at| at >= asked);
            let found = self.followers().into_iter().find(|of| of.replica == to);
            match found {
                Some(of) if of.voter && of.matched >= end && answered => return true,
                Some(of) if of.voter => {}
                _ => return false,
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }

    /// When the last request that a follower has answered was sent.
    fn answered(&self, by: ReplicaId) -> Option<InstantOf<TypeConfig>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let answered = metrics.heartbeat.as_ref()?.get(&by)?.as_ref()?;
        Some(**answered)
    }

    /// Tells heirs to take over until this replica leads no more in `epoch`.
    async fn leave(&self, epoch: LeaderEpoch, to: ReplicaId) -> Result<(), GroupError> {
        let mut heir = to;
        for tries in 1..=TRIES {
            let told = self.raft.trigger().transfer_leader(heir).await;
            told.map_err(|error| self.stopped(&error))?;
            if tokio::time::timeout(AGAIN_AFTER, self.left(epoch)).await.is_ok() {
                return Ok(());
            }
            if tries % TRIES_EACH == 0 {
                let other = self.heir(|node| node != heir.node);
                tracing::warn!(group = %self.id(), %heir, ?other, "an heir does not take over");
                heir = other.unwrap_or(heir);
            }
        }
        let text = "it gave its leadership away, and nobody took it";
        self.log.note_failure(text);
        Err(GroupError::Stopped(self.id(), text.to_owned()))
    }

    /// Completes when this replica does not lead in `epoch`.
    async fn left(&self, epoch: LeaderEpoch) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let now = self.leadership();
            if now.leader != Some(self.replica()) || now.epoch != epoch {
                return;
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

fn choose(
    followers: &[FollowerProgress],
    preference: &[NodeId],
    now: MonoTime,
) -> Option<ReplicaId> {
    let rank = |of: &FollowerProgress| preference.iter().position(|node| *node == of.replica.node);
    let keeps_up = |of: &&FollowerProgress| of.caught_up.is_some_and(|at| now.since(at) <= LATELY);
    let preferred = followers.iter().filter(keeps_up).min_by_key(|of| {
        let rank = rank(of);
        (rank.is_none(), rank)
    });
    let furthest = || followers.iter().max_by_key(|of| of.matched);
    preferred.or_else(furthest).map(|of| of.replica)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::model::{Offset, Uuid};

    use super::*;

    fn follower(node: i32, matched: i64, caught_up_ms: Option<u64>) -> FollowerProgress {
        FollowerProgress {
            replica: ReplicaId { node: NodeId(node), directory: Uuid::from_u128(1) },
            voter: true,
            matched: Offset(matched),
            caught_up: caught_up_ms.map(|ms| MonoTime::from_start(Duration::from_millis(ms))),
        }
    }

    fn chosen(followers: &[FollowerProgress], preference: &[i32]) -> Option<i32> {
        let preference: Vec<NodeId> = preference.iter().copied().map(NodeId).collect();
        let now = MonoTime::from_start(Duration::from_secs(10));
        choose(followers, &preference, now).map(|replica| replica.node.get())
    }

    #[test]
    fn the_preferred_of_those_that_keep_up_takes_over() {
        let both = [follower(2, 90, Some(9_000)), follower(3, 100, Some(9_900))];
        assert_eq!(chosen(&both, &[1, 2, 3]), Some(2), "though it lacks a little");
        assert_eq!(chosen(&both, &[1, 3, 2]), Some(3));
        assert_eq!(chosen(&both, &[]), Some(2), "no order is known");
        let one_lags = [follower(2, 50, Some(5_000)), follower(3, 100, Some(9_900))];
        assert_eq!(chosen(&one_lags, &[1, 2, 3]), Some(3));
    }

    #[test]
    fn the_furthest_does_where_nobody_keeps_up() {
        let both = [follower(2, 60, None), follower(3, 50, Some(1_000))];
        assert_eq!(chosen(&both, &[1, 3, 2]), Some(2));
        assert_eq!(chosen(&[], &[1, 2, 3]), None);
    }
}
