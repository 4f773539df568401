//! The throttle of replicas that catch up, as configs say it (KIP-73).
//!
//! Owns: the way from `leader.replication.throttled.rate`, `follower.replication.throttled.rate` and the
//! topics' `*.replication.throttled.replicas` to what the links keep. Never: the waits.

use std::collections::BTreeMap;

use ottla_coordinator::metadata::{ConfigResource, MetadataImage, ResourceType};
use ottla_protocol::model::{NodeId, PartitionId, Uuid};
use ottla_replication::peer::{ThrottleSettings, ThrottledReplicas};

use crate::services::Services;

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";

/// Puts in force what the image says.
pub(crate) fn apply(services: &Services, image: &MetadataImage) {
    if let Some(cluster) = services.cluster() {
        cluster.peers.throttle().set(settings(image, services.node_id));
    }
}

fn settings(image: &MetadataImage, me: NodeId) -> ThrottleSettings {
    let nodes = image.brokers().map(|broker| broker.registration.id);
    let rates = nodes.filter_map(|node| Some((node, rate(image, node, FOLLOWER_RATE)?)));
    ThrottleSettings {
        leader_rate: rate(image, me, LEADER_RATE),
        follower_rates: rates.collect(),
        leaders: replicas(image, LEADERS),
        followers: replicas(image, FOLLOWERS),
    }
}

/// A rate of one broker, or else of all.
fn rate(image: &MetadataImage, node: NodeId, key: &str) -> Option<u64> {
    let own = image.config(&ConfigResource::broker(node), key);
    let text = own.or_else(|| image.config(&ConfigResource::cluster_default(), key))?;
    // Kafka's default is the largest number, which bounds nothing.
    text.trim().parse().ok().filter(|rate| *rate > 0 && *rate < i64::MAX.unsigned_abs())
}

fn replicas(image: &MetadataImage, key: &str) -> BTreeMap<Uuid, ThrottledReplicas> {
    let named = image.config_resources(ResourceType::Topic).filter_map(|name| {
        let topic = image.topic(name)?;
        let text = image.config(&ConfigResource::topic(name), key)?.trim();
        Some((topic.id, parse(text)?))
    });
    named.collect()
}

/// `*`, or `partition:broker,...`; what else stands there was refused when it was set.
fn parse(text: &str) -> Option<ThrottledReplicas> {
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(ThrottledReplicas::All);
    }
    let pair = |item: &str| {
        let (partition, node) = item.trim().split_once(':')?;
        Some((PartitionId(partition.parse().ok()?), NodeId(node.parse().ok()?)))
    };
    Some(ThrottledReplicas::These(text.split(',').filter_map(pair).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn replicas_are_all_or_pairs() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("*"), Some(ThrottledReplicas::All));
        let pairs = BTreeSet::from([(PartitionId(0), NodeId(1)), (PartitionId(3), NodeId(2))]);
        assert_eq!(parse("0:1,3:2"), Some(ThrottledReplicas::These(pairs)));
    }
}
