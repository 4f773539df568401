//! Who belongs to the groups that are led here.
//!
//! Owns: the way from the members a group has to those the metadata wants: let new replicas in, wait until
//! they have everything, make them vote, let old ones go, tell the controller. Never: decides what is
//! wanted (the metadata) or what comes next ([`steps`]). Invariant: one change of a group at a time; groups
//! do not wait for each other.

mod steps;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use ottla_coordinator::metadata::{PartitionImage, TopicImage};
use ottla_protocol::model::{MonoTime, PartitionId};
use ottla_replication::raft::{Group, GroupError, GroupId, ReplicaId};

use self::steps::{Members, Step, has_its_members, next_step};
use crate::cluster::command::Order;
use crate::services::Services;
use crate::stop::Stopping;

/// Between two looks while something is under way, and otherwise.
const BUSY_EVERY: Duration = Duration::from_millis(100);
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// A replica that had everything this recently may vote.
const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(1_000);
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// For one step; a change of voters whose new ones have died meanwhile takes longer.
const STEP_WITHIN: Duration = Duration::from_secs(20);
/// Groups that are changed side by side.
const AT_ONCE: usize = 32;

/// Looks after the groups until the broker stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    let mut under_way = UnderWay::default();
    loop {
        let busy = look(&services, &mut under_way);
        let pause = if busy { BUSY_EVERY } else { IDLE_EVERY };
        let mut resting = std::pin::pin!(stopping.pause(&services.clock, pause));
        loop {
            tokio::select! {
                biased;
                flow = &mut resting => match flow {
                    ControlFlow::Break(()) => return,
                    ControlFlow::Continue(()) => break,
                },
                () = under_way.advance() => {}
            }
        }
    }
}

/// Steps of groups, side by side: one whose other replicas are away holds up no other.
#[derive(Default)]
struct UnderWay {
    groups: BTreeSet<GroupId>,
    steps: FuturesUnordered<BoxFuture<'static, GroupId>>,
}

impl UnderWay {
    fn begin(&mut self, id: GroupId, step: impl Future<Output = ()> + Send + 'static) {
        self.groups.insert(id);
        self.steps.push(Box::pin(async move {
            // A change that takes longer goes on by itself: the group's membership shows it.
            let _late = tokio::time::timeout(STEP_WITHIN, step).await;
            id
        }));
    }

    /// Carries the steps on until one has ended; for ever where there is none.
    async fn advance(&mut self) {
        match self.steps.next().await {
            Some(id) => {
                self.groups.remove(&id);
            }
            None => std::future::pending().await,
        }
    }
}

/// One look at every partition whose members differ from what is wanted; whether there was one.
fn look(services: &Arc<Services>, under_way: &mut UnderWay) -> bool {
    let Some(cluster) = services.cluster() else { return false };
    let image = services.metadata.image();
    let mut busy = false;
    for group in cluster.groups.led() {
        let id = group.id();
        if under_way.groups.contains(&id) || under_way.groups.len() >= AT_ONCE {
            busy = true;
            continue;
        }
        let Some(topic) = image.topic_by_id(id.topic) else { continue };
        let Some(state) = topic.partition(id.partition) else { continue };
        let voters = group.membership().voter_ids().collect();
        // Most groups most of the time; progress is not asked for.
        if has_its_members(group.replica(), &voters, state) {
            continue;
        }
        let Some(step) = next_step(&members(&group, voters), state) else { continue };
        busy = true;
        if step == Step::Wait {
            continue;
        }
        let (services, topic, state) = (Arc::clone(services), Arc::clone(topic), state.clone());
        under_way.begin(id, async move {
            if let Err(error) = take(&services, &group, (&topic, id.partition, &state), step).await
            {
                tracing::debug!(group = %id, %error, "its members stay as they are for now");
            }
        });
    }
    busy
}

/// The group as this replica, its leader, sees it.
fn members(group: &Group, voters: BTreeSet<ReplicaId>) -> Members {
    let (membership, now) = (group.membership(), group.now().mono);
    let recent = |at: MonoTime| now.since(at) < CAUGHT_UP_WITHIN;
    let followers = group.followers().into_iter();
    let caught_up = followers.filter(|of| of.caught_up.is_some_and(recent));
    Members {
        me: group.replica(),
        voters,
        known: membership.nodes().map(|(id, _)| *id).collect(),
        caught_up: caught_up.map(|of| of.replica).collect(),
    }
}

async fn take(
    services: &Arc<Services>,
    group: &Arc<Group>,
    (topic, partition, state): (&Arc<TopicImage>, PartitionId, &PartitionImage),
    step: Step,
) -> Result<(), GroupError> {
    match step {
        Step::Wait => Ok(()),
        Step::LetIn(replica) => {
            tracing::info!(topic = %topic.name, %partition, %replica, "a replica is let in");
            group.add_learner(replica).await
        }
        Step::Vote(voters) => {
            tracing::info!(topic = %topic.name, %partition, voters = voters.len(), "new voters");
            group.change_voters(voters).await
        }
        Step::HandOver(to) => group.transfer(to).await,
        Step::Report => {
            let Some(cluster) = services.cluster() else { return Ok(()) };
            let order = Order::Reassigned {
                topic: topic.name.to_string(),
                partition: partition.get(),
                partition_epoch: state.partition_epoch,
            };
            if let Err(code) = cluster.order(services, &order, ORDER_WITHIN).await {
                tracing::debug!(%code, "the controller is not told yet");
            }
            Ok(())
        }
    }
}
