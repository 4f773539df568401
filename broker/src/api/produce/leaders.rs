//! Leaders and replicas, as far as producing needs them.
//!
//! Owns: who leads the partitions that this broker does not, as an answer tells it (KIP-951), and
//! `min.insync.replicas`. Never: who leads or is in sync.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::produce_response::NodeEndpoint;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, NodeId, Uuid};

use super::refusal::Refusal;
use super::{Outcome, Sent, TopicOutcome};
use crate::api::handler::RequestContext;
use crate::api::wire;
use crate::cluster;
use crate::cluster::succession::known;
use crate::topics::TopicEntry;

pub(super) struct Leaders<'a> {
    ctx: &'a RequestContext,
    /// The client is old, or there are no other brokers.
    silent: bool,
    named: BTreeSet<NodeId>,
}

impl<'a> Leaders<'a> {
    pub(super) fn of(ctx: &'a RequestContext, from: i16) -> Self {
        let silent = ctx.version < from || ctx.services.cluster().is_none();
        Self { ctx, silent, named: BTreeSet::new() }
    }

    pub(super) fn find(
        &mut self,
        topic: &TopicProduceData,
        index: i32,
    ) -> Option<(NodeId, LeaderEpoch)> {
        if self.silent {
            return None;
        }
        let entry = topic_of(self.ctx, topic)?;
        let view = cluster::current_leader(&self.ctx.services, entry.id, index)?;
        let leader = view.leader?;
        self.named.insert(leader);
        Some((leader, view.epoch))
    }

    pub(super) fn endpoints(self) -> Vec<NodeEndpoint> {
        let brokers = self.ctx.brokers_among(&self.named);
        brokers
            .into_iter()
            .map(|broker| {
                NodeEndpoint::default()
                    .with_node_id(broker.id.0.into())
                    .with_host(wire::text(&broker.host))
                    .with_port(i32::from(broker.port))
                    .with_rack(broker.rack.as_deref().map(wire::text))
            })
            .collect()
    }
}

impl Outcome {
    /// Another broker leads the partition, or nobody does.
    pub(super) fn lost_leader(&self) -> bool {
        match &self.result {
            Ok((partition, Sent::Submitted(submission, _))) => {
                submission.lost_leader() && !partition.is_offline()
            }
            Ok((_, Sent::Appended(_))) => false,
            Err(refusal) => refusal.code == ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Waits until it is known who leads what this broker does not, or for as long as that is worth it.
pub(super) async fn successors(ctx: &RequestContext, topics: &[TopicOutcome]) {
    known(&ctx.services, &orphaned(ctx, topics), ctx.now.mono).await;
}

/// The partitions that this broker does not lead, or leads no more.
fn orphaned(ctx: &RequestContext, topics: &[TopicOutcome]) -> Vec<(Uuid, i32)> {
    if ctx.services.cluster().is_none() {
        return Vec::new();
    }
    let lost = topics.iter().flat_map(|outcome| {
        let lost = outcome.partitions.iter().filter(|of| of.lost_leader());
        lost.filter_map(|of| Some((topic_of(ctx, &outcome.topic)?.id, of.index)))
    });
    lost.collect()
}

fn topic_of(ctx: &RequestContext, topic: &TopicProduceData) -> Option<Arc<TopicEntry>> {
    let topics = &ctx.services.topics;
    topics.by_id(topic.topic_id).or_else(|| topics.by_name(&topic.name.0))
}

/// `min.insync.replicas` holds for acks=all only. A majority is needed whatever it says.
pub(super) fn enough_replicas(
    ctx: &RequestContext,
    topic: &TopicEntry,
    index: i32,
) -> Result<(), Refusal> {
    let wanted = usize::try_from(topic.config.min_insync_replicas).unwrap_or(usize::MAX);
    let in_sync = cluster::in_sync(&ctx.services, topic.id, index).unwrap_or(1);
    if in_sync >= wanted {
        return Ok(());
    }
    Err(Refusal::of(
        ErrorCode::NotEnoughReplicas,
        format!(
            "min.insync.replicas={wanted} of topic {} is more than its replicas in sync: {in_sync}",
            topic.name
        ),
    ))
}
