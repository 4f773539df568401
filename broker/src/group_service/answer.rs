//! A shard's reply on its way to the handler.
//!
//! Owns: waiting for the reply, then for what makes it true, and for how long. Never: a deadline
//! for the reply itself: the shard answers every request in the end, and a client that went away drops
//! this.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::group::{GroupError, Reply};
use ottla_protocol::model::{LeaderEpoch, Offset};
use ottla_replication::partition::{Isolation, Partition};
use ottla_replication::raft::Group;
use ottla_replication::wait::{Waiting, Watch};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use crate::clock::Clock;

/// A reply with what makes it true.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) reply: Reply,
    pub(super) written: Written,
}

/// What a shard has read and written by some moment.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// Up to this high watermark; in a log with several replicas, of this leader in this epoch.
    Upto(Offset, Option<LeaderEpoch>),
    /// Up to this batch, in a log with several.
    Batch { ledger: Arc<Ledger>, number: u64 },
}

impl Written {
    pub(super) fn is_committed(&self, partition: &Partition) -> bool {
        match self {
            Self::Upto(offset, epoch) => {
                // In this order: what was committed before the epoch ended, was of that epoch.
                partition.high_watermark() >= *offset && lasts(partition, *epoch)
            }
            Self::Batch { ledger, number } => ledger.is_committed(*number),
        }
    }

    async fn committed(self, partition: &Arc<Partition>) -> Result<(), GroupError> {
        match self {
            Self::Upto(offset, epoch) => wait_until_committed(partition, offset, epoch).await,
            Self::Batch { ledger, number } => ledger.committed(number).await,
        }
    }
}

fn lasts(partition: &Partition, epoch: Option<LeaderEpoch>) -> bool {
    epoch.is_none_or(|epoch| partition.leads_in(epoch))
}

/// How long a reply waits for its commit: `offsets.commit.timeout.ms`.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) clock: Clock,
    pub(super) timeout: Duration,
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
    pub(super) patience: Patience,
    /// Has to say that nobody else has led meanwhile, for what another could have changed.
    pub(super) confirm: Option<Arc<Group>>,
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
    /// When the log failed before the reply's records were committed, or they were not in time.
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
        let true_by_now = async {
            written.committed(&self.partition).await?;
            match &self.confirm {
                Some(group) => group.confirm().await.map_err(|_| GroupError::NotCoordinator),
                None => Ok(()),
            }
        };
        let Patience { clock, timeout } = self.patience;
        let late = clock.sleep_until(clock.now().mono.plus(timeout));
        tokio::select! {
            biased;
            truth = true_by_now => truth.map(|()| reply),
            // As Kafka: it may be committed in the end, and the client asks again.
            () = late => Err(GroupError::CoordinatorNotAvailable),
        }
    }
}

async fn wait_until_committed(
    partition: &Arc<Partition>,
    committed_at: Offset,
    epoch: Option<LeaderEpoch>,
) -> Result<(), GroupError> {
    let is_committed = || partition.high_watermark() >= committed_at;
    loop {
        if is_committed() && lasts(partition, epoch) {
            return Ok(());
        }
        if partition.is_offline() {
            return Err(GroupError::NotCoordinator);
        }
        let watch = Watch::for_bytes(1);
        let seen = Offset(committed_at.get() - 1);
        let guard = partition.watch(&watch, Isolation::ReadUncommitted, seen);
        if guard.is_none() && !is_committed() {
            // Nothing to wait for, and not committed: the partition has stopped serving.
            return Err(GroupError::NotCoordinator);
        }
        // Asked once the watch stands there, which the end of a leadership fires.
        if !lasts(partition, epoch) {
            return Err(GroupError::NotCoordinator);
        }
        Waiting(watch).await;
    }
}
