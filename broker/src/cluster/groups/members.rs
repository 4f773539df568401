//! Who belongs to the groups that are led here.
//!
//! Owns: the way from the members a group has to those the metadata wants: let new replicas in, wait until
//! they have everything, make them vote, let old ones go, tell the controller. Never: decides what is
//! wanted (the metadata) or what comes next ([`steps`]). Invariant: one change of a group at a time.

mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::metadata::{PartitionImage, TopicImage};
use ottla_protocol::model::{MonoTime, PartitionId};
use ottla_replication::raft::{Group, GroupError, ReplicaId};

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

/// Looks after the groups until the broker stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    loop {
        let busy = look(&services).await;
        let pause = if busy { BUSY_EVERY } else { IDLE_EVERY };
        if stopping.pause(&services.clock, pause).await.is_break() {
            return;
        }
    }
}

/// One look at every partition whose members differ from what is wanted; whether there was one.
async fn look(services: &Arc<Services>) -> bool {
    let Some(cluster) = services.cluster() else { return false };
    let image = services.metadata.image();
    let mut busy = false;
    for group in cluster.groups.led() {
        let id = group.id();
        let Some(topic) = image.topic_by_id(id.topic) else { continue };
        let Some(state) = topic.partition(id.partition) else { continue };
        let voters = group.membership().voter_ids().collect();
        // Most groups most of the time; progress is not asked for.
        if has_its_members(group.replica(), &voters, state) {
            continue;
        }
        let Some(step) = next_step(&members(&group, voters), state) else { continue };
        busy = true;
        if let Err(error) = take(services, &group, (topic, id.partition, state), step).await {
            tracing::debug!(group = %id, %error, "its members stay as they are for now");
        }
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
