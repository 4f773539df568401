//! A driver whose partition is a group: what the group refuses, or does not commit in time.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;

use futures_util::FutureExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use ottla_protocol::model::PartitionId;
use ottla_replication::raft::{
    self, Group, GroupId, GroupParts, ReplicaId, Snapshot, SnapshotContent, TypeConfig,
};
use tokio::sync::watch;

use super::*;

/// A network in which nobody is reached.
struct Nobody;

fn unreachable() -> Unreachable<TypeConfig> {
    Unreachable::new(&io::Error::from(io::ErrorKind::HostUnreachable))
}

impl RaftNetworkFactory<TypeConfig> for Nobody {
    type Network = Self;

    async fn new_client(&mut self, _: ReplicaId, _: &EmptyNode) -> Self {
        Self
    }
}

impl RaftNetworkV2<TypeConfig> for Nobody {
    type SnapshotData = SnapshotContent;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: raft::Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(unreachable()))
    }
}

impl Bench {
    fn replica(&self) -> ReplicaId {
        let directory = self.replicas.directory_of(self.partition.name()).expect("it is placed");
        ReplicaId { node: NodeId(0), directory }
    }

    /// Runs the partition's group, whose one voter is this node, and waits until it leads.
    pub(in crate::group_service) async fn lead(&self) -> Arc<Group> {
        let journal = self.replicas.journal_of(self.partition.name()).expect("it is placed");
        let mut settings = raft::GroupSettings::new(Arc::new(now));
        // However slow the machine is, a lease does not lapse by chance.
        settings.lease = Duration::from_secs(600);
        let parts = GroupParts {
            id: GroupId { topic: self.partition.topic_id(), partition: PartitionId(0) },
            replica: self.replica(),
            partition: Arc::clone(&self.partition),
            journal: journal.expect("a fresh disk"),
            settings,
        };
        let group = Group::start_over(parts, Nobody).await.expect("a sound log");
        group.initialize(BTreeSet::from([self.replica()])).await.expect("it may vote");
        let (tell, mut led) = watch::channel(false);
        group.on_leadership(Arc::new(move |_, now| {
            tell.send_replace(now.here);
        }));
        group.elect().await;
        led.wait_for(|leads| *leads).await.expect("the group runs");
        group
    }

    /// From now on nothing is committed: there is another voter, who is never there.
    async fn lose_majority(&self, group: &Arc<Group>) {
        let other = ReplicaId { node: NodeId(1), directory: Uuid::from_u128(99) };
        group.add_learner(other).await.expect("the one voter agrees");
        let voters = BTreeSet::from([self.replica(), other]);
        let changing = Arc::clone(group);
        tokio::spawn(async move { changing.change_voters(voters).await });
        let mut metrics = group.raft().metrics();
        loop {
            let voters = metrics.borrow_watched().membership_config.voter_ids().count();
            if voters == 2 {
                return;
            }
            metrics.changed().await.expect("the group runs");
        }
    }

    fn fill(&self) {
        let write = OpMatcher::op(Op::Write).on("__consumer_offsets");
        self.fs.fail_next(write, DiskError::NoSpace);
    }
}

fn commit_later(driver: &Driver, offset: i64) -> Answer {
    driver.submit(now(), |token| Input::CommitOffsets(token, commit(offset))).expect("a shard")
}

#[tokio::test]
async fn what_a_group_refused_is_never_shown() {
    let bench = Bench::replicated();
    let _group = bench.lead().await;
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    bench.fill();
    assert_eq!(committed(&driver, 2).await, Err(GroupError::NotCoordinator));
    assert!(!driver.serves(&bench.partition), "its state is ahead of the log");
    assert_eq!(fetched(&driver).await, Err(GroupError::NotCoordinator));
    let again = bench.driver();
    assert_eq!(fetched(&again).await, Ok(vec![1]));
    committed(&again, 3).await.expect("there is room again");
    assert_eq!(fetched(&bench.driver()).await, Ok(vec![3]));
}

#[tokio::test]
async fn nothing_behind_a_refused_record_counts() {
    let bench = Bench::replicated();
    let _group = bench.lead().await;
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    let waiting = driver.submit(now(), |token| Input::Join(token, join("h"))).expect("a shard");
    driver.ledger().settled().await;
    bench.fill();
    let (first, second) = (commit_later(&driver, 2), commit_later(&driver, 3));
    assert_eq!(second.wait().await.err(), Some(GroupError::NotCoordinator), "it follows the first");
    assert_eq!(first.wait().await.err(), Some(GroupError::NotCoordinator));
    driver.tick(now());
    match waiting.wait().await {
        Ok(Reply::Join(reply)) => assert_eq!(reply.error, Some(GroupError::NotCoordinator)),
        other => panic!("a join that can never end was answered {other:?}"),
    }
    driver.ledger().settled().await;
    assert_eq!(fetched(&bench.driver()).await, Ok(vec![3]), "the log has it");
}

#[tokio::test]
async fn a_shard_whose_group_has_ended_answers_nobody() {
    let bench = Bench::replicated();
    let group = bench.lead().await;
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    assert_eq!(fetched(&driver).await, Ok(vec![1]));
    group.stop().await;
    assert_eq!(fetched(&driver).await, Err(GroupError::NotCoordinator));
    assert!(!driver.serves(&bench.partition), "another may have taken over");
    let _again = bench.lead().await;
    assert!(!driver.serves(&bench.partition), "another may have led meanwhile");
}

#[tokio::test]
async fn a_client_waits_for_a_commit_no_longer_than_the_timeout() {
    let bench = Bench::replicated();
    let group = bench.lead().await;
    let driver = bench.driver();
    bench.lose_majority(&group).await;
    let mut told = Box::pin(commit_later(&driver, 2).wait());
    assert!(told.as_mut().now_or_never().is_none());
    bench.clock.advance(TIMEOUT);
    assert_eq!(told.await.err(), Some(GroupError::CoordinatorNotAvailable));
}

#[tokio::test]
async fn a_coordinator_that_may_have_been_replaced_shows_no_offset() {
    let bench = Bench::replicated();
    let group = bench.lead().await;
    let driver = bench.driver();
    committed(&driver, 1).await.expect("a sound disk");
    assert_eq!(fetched(&driver).await, Ok(vec![1]));
    bench.lose_majority(&group).await;
    let mut shown = Box::pin(fetched(&driver));
    assert_eq!(shown.as_mut().now_or_never(), None, "the others may have gone on without it");
    bench.clock.advance(TIMEOUT);
    assert_eq!(shown.await, Err(GroupError::CoordinatorNotAvailable));
}
