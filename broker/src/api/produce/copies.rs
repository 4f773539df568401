//! acks=all where `min.insync.replicas` asks for more than a majority.
//!
//! Owns: the wait for the replicas beyond those that commit, and Kafka's words when they do not come.
//! Never: what is committed: consumers may see a record before its producer is told.

use std::sync::Arc;

use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{Offset, Uuid};
use ottla_replication::partition::{Outcome, Partition, Submission};
use ottla_replication::raft::Group;

use super::{Outcome as PartitionOutcome, Sent, TopicOutcome};
use crate::api::handler::RequestContext;
use crate::cluster;
use crate::services::Services;
use crate::topics::TopicEntry;

/// How many replicas of a partition have to have a batch.
pub(super) struct Copies {
    group: Arc<Group>,
    topic: Uuid,
    index: i32,
    wanted: usize,
}

impl Copies {
    /// `None` where a majority is enough.
    pub(super) fn wanted(topic: &TopicEntry, index: i32, group: Arc<Group>) -> Option<Self> {
        let wanted = usize::try_from(topic.config.min_insync_replicas).unwrap_or(usize::MAX);
        // Of two replicas, too, a majority is two.
        if wanted <= 2 || wanted <= group.majority() {
            return None;
        }
        Some(Self { group, topic: topic.id, index, wanted })
    }

    fn in_sync(&self, services: &Services) -> usize {
        cluster::in_sync(services, self.topic, self.index).unwrap_or(0)
    }

    /// Waits until as many replicas have the batch, or too few are in sync, or another leads.
    pub(super) async fn wait(&self, ctx: &RequestContext, submission: &Submission) {
        let Outcome::Committed(info) = submission.outcome() else { return };
        let Some(cluster) = ctx.services.cluster() else { return };
        let at = info.last_offset.next();
        let mut changes = cluster.peers.leaderships().subscribe();
        while self.in_sync(&ctx.services) >= self.wanted {
            tokio::select! {
                biased;
                () = self.group.replicated(at, self.wanted) => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// What a producer is told of a batch that is committed up to `at`.
    pub(super) fn verdict(
        &self,
        services: &Services,
        partition: &Partition,
        at: Offset,
    ) -> ErrorCode {
        if self.group.copies(at) >= self.wanted {
            ErrorCode::None
        } else if !partition.is_leader() {
            ErrorCode::NotLeaderOrFollower
        } else if self.in_sync(services) < self.wanted {
            ErrorCode::NotEnoughReplicasAfterAppend
        } else {
            ErrorCode::RequestTimedOut
        }
    }
}

impl TopicOutcome {
    pub(super) fn copies(&self) -> impl Iterator<Item = (&Copies, &Submission)> {
        self.partitions.iter().filter_map(|outcome| match &outcome.result {
            Ok((_, Sent::Submitted(submission, Some(copies)))) => Some((copies, &**submission)),
            _ => None,
        })
    }

    /// Whether there is something to wait for, beside the commit.
    pub(super) fn has_to_wait(&self) -> bool {
        self.copies().next().is_some() || self.partitions.iter().any(PartitionOutcome::lost_leader)
    }
}

/// Waits for replicas beyond a majority, where a topic wants them.
pub(super) async fn copied(ctx: &RequestContext, topics: &[TopicOutcome]) {
    for (copies, submission) in topics.iter().flat_map(TopicOutcome::copies) {
        copies.wait(ctx, submission).await;
    }
}
