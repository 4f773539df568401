//! A shard's reply on its way to the handler.
//!
//! Owns: waiting for the reply, then for the commit it depends on. Never: a deadline: the shard
//! answers every request in the end, and a client that went away drops this.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ottla_coordinator::group::{GroupError, Reply};
use ottla_protocol::model::Offset;
use ottla_replication::partition::{Isolation, Outcome, Partition, Submission};
use ottla_replication::wait::{Countdown, Waiting, Watch};
use tokio::sync::oneshot;

/// A reply with what makes it true.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) reply: Reply,
    pub(super) written: Written,
}

/// What a shard has written by some moment.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// Up to this high watermark, in a log with one replica.
    Upto(Offset),
    /// Up to this batch, in a log with several.
    Batch { submission: Arc<Submission>, committed: Committed },
}

/// Completes when a batch is committed, or never will be; for any number of replies.
pub(super) type Committed = Shared<BoxFuture<'static, ()>>;

impl Written {
    /// What a batch that was just given to a group comes to; `told` is the one that it tells.
    pub(super) fn batch(submission: Arc<Submission>, told: Arc<Countdown>) -> Self {
        Self::Batch { submission, committed: Waiting(told).boxed().shared() }
    }

    pub(super) fn is_committed(&self, partition: &Partition) -> bool {
        match self {
            Self::Upto(offset) => partition.high_watermark() >= *offset,
            Self::Batch { submission, .. } => {
                matches!(submission.outcome(), Outcome::Committed(_))
            }
        }
    }

    async fn committed(self, partition: &Arc<Partition>) -> Result<(), GroupError> {
        match self {
            Self::Upto(offset) => wait_until_committed(partition, offset).await,
            Self::Batch { submission, committed } => {
                committed.await;
                match submission.outcome() {
                    Outcome::Committed(_) => Ok(()),
                    _ => Err(GroupError::NotCoordinator),
                }
            }
        }
    }
}

pub(super) type Delivery = Result<Delivered, GroupError>;

/// What [`super::GroupService::submit`] gives.
#[derive(Debug)]
pub(crate) enum Answer {
    Ready(Reply),
    Later(Pending),
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) partition: Arc<Partition>,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    /// The reply is there; its records are not committed yet.
    Uncommitted(Delivered),
    /// Other members must come first.
    Deferred(oneshot::Receiver<Delivery>),
}

impl Answer {
    /// The reply, once it may leave.
    ///
    /// # Errors
    /// When the log failed before the reply's records were committed.
    pub(crate) async fn wait(self) -> Result<Reply, GroupError> {
        match self {
            Self::Ready(reply) => Ok(reply),
            Self::Later(pending) => pending.wait().await,
        }
    }
}

impl Pending {
    async fn wait(self) -> Result<Reply, GroupError> {
        let Delivered { reply, written } = match self.source {
            Source::Uncommitted(delivered) => delivered,
            // A driver never drops a sender without a word, but for its own end.
            Source::Deferred(deferred) => {
                deferred.await.unwrap_or(Err(GroupError::NotCoordinator))?
            }
        };
        written.committed(&self.partition).await?;
        Ok(reply)
    }
}

async fn wait_until_committed(
    partition: &Arc<Partition>,
    committed_at: Offset,
) -> Result<(), GroupError> {
    loop {
        if partition.high_watermark() >= committed_at {
            return Ok(());
        }
        if partition.is_offline() {
            return Err(GroupError::NotCoordinator);
        }
        let watch = Watch::for_bytes(1);
        let seen = Offset(committed_at.get() - 1);
        let guard = partition.watch(&watch, Isolation::ReadUncommitted, seen);
        if guard.is_none() && partition.high_watermark() < committed_at {
            // Nothing to wait for, and not committed: the partition has stopped serving.
            return Err(GroupError::NotCoordinator);
        }
        Waiting(watch).await;
    }
}
