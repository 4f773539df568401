//! A shard's reply on its way to the handler.
//!
//! Owns: waiting for the reply, then for the commit it depends on. Never: a deadline: the shard
//! answers every request in the end, and a client that went away drops this.

use std::sync::Arc;

use ottla_coordinator::group::{GroupError, Reply};
use ottla_protocol::model::Offset;
use ottla_replication::partition::{Isolation, Partition};
use ottla_replication::wait::{Waiting, Watch};
use tokio::sync::oneshot;

/// A reply with the high watermark that makes it true.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) reply: Reply,
    pub(super) committed_at: Offset,
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
        let Delivered { reply, committed_at } = match self.source {
            Source::Uncommitted(delivered) => delivered,
            // A driver never drops a sender without a word, but for its own end.
            Source::Deferred(deferred) => {
                deferred.await.unwrap_or(Err(GroupError::NotCoordinator))?
            }
        };
        wait_until_committed(&self.partition, committed_at).await?;
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
