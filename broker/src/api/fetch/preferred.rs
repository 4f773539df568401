//! Which replica a consumer had better read from (KIP-392).
//!
//! Owns: Kafka's `RackAwareReplicaSelector` and the replicas it may choose from. Never: reads a log.
//! Source of the rules: `ReplicaManager.findPreferredReadReplica`.

use std::cmp::Reverse;

use kafka_protocol::messages::fetch_request::FetchRequest;
use ottla_config::ReplicaSelector;
use ottla_coordinator::metadata::MetadataImage;
use ottla_protocol::model::{NodeId, Offset};
use ottla_replication::partition::Partition;
use ottla_replication::raft::FollowerProgress;

use super::FOLLOWERS_FROM;
use super::read::Reader;
use crate::api::handler::RequestContext;
use crate::services::Services;

/// A consumer that told its rack, on a broker that minds.
#[derive(Clone, Debug)]
pub(super) struct RackOfReader {
    rack: Box<str>,
    listener: std::sync::Arc<str>,
}

impl RackOfReader {
    pub(super) fn of(ctx: &RequestContext, request: &FetchRequest, reader: Reader) -> Option<Self> {
        let node = &ctx.services.config.get().broker.node;
        let minds = node.replica_selector == ReplicaSelector::RackAware
            && ctx.version >= FOLLOWERS_FROM
            && reader == Reader::Consumer
            && ctx.services.cluster().is_some()
            && !request.rack_id.is_empty();
        minds.then(|| Self {
            rack: request.rack_id.as_str().into(),
            listener: std::sync::Arc::clone(&ctx.connection.listener),
        })
    }

    /// The follower to read `from` instead; `None` where this replica does not lead, or is as good.
    pub(super) fn choose(
        &self,
        services: &Services,
        partition: &Partition,
        from: Offset,
    ) -> Option<NodeId> {
        let group = partition.group().filter(|_| partition.is_leader())?;
        let image = services.metadata.image();
        if self.is_mine(&image, services.node_id) || from < partition.watermarks().log_start {
            return None;
        }
        let isr = services.cluster()?.leadership(&group.id())?.isr;
        let followers = group.followers();
        let near = followers
            .iter()
            .filter(|of| isr.contains(&of.replica.node) && self.is_mine(&image, of.replica.node));
        most_caught_up(near, from)
    }

    /// A broker in the reader's rack that the reader can reach.
    fn is_mine(&self, image: &MetadataImage, node: NodeId) -> bool {
        let Some(broker) = image.broker(node).filter(|broker| !broker.fenced) else { return false };
        let of = &broker.registration;
        of.rack.as_deref() == Some(&*self.rack)
            && of.endpoints.iter().any(|end| *end.listener == *self.listener)
    }
}

/// The furthest of those that have what is asked for (Kafka's `ReplicaView.comparator`).
fn most_caught_up<'a>(
    near: impl Iterator<Item = &'a FollowerProgress>,
    from: Offset,
) -> Option<NodeId> {
    near.filter(|of| of.matched >= from)
        .max_by_key(|of| (of.matched, of.caught_up, Reverse(of.replica.node)))
        .map(|of| of.replica.node)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_protocol::model::{MonoTime, Uuid};
    use ottla_replication::raft::ReplicaId;

    use super::*;

    fn follower(node: i32, matched: i64, caught_up_s: u64) -> FollowerProgress {
        FollowerProgress {
            replica: ReplicaId { node: NodeId(node), directory: Uuid::from_u128(1) },
            voter: true,
            matched: Offset(matched),
            caught_up: Some(MonoTime::from_start(Duration::from_secs(caught_up_s))),
        }
    }

    #[test]
    fn only_who_has_the_offset_is_chosen_and_the_furthest_of_them() {
        let all = [follower(1, 10, 5), follower(2, 12, 5), follower(3, 12, 7)];
        let chosen = |from| most_caught_up(all.iter(), Offset(from));
        assert_eq!(chosen(12), Some(NodeId(3)), "had everything more lately");
        assert_eq!(chosen(13), None, "nobody has it");
        assert_eq!(most_caught_up(all[..1].iter(), Offset(10)), Some(NodeId(1)), "all read, waits");
    }
}
