//! What handlers ask: one struct of handles, made in `wiring.rs`.
//!
//! Owns: nothing but the handles and readiness. Never: behaviour of its parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::model::NodeId;
use ottla_replication::replicas::Replicas;

use crate::api::fetch::FetchSessions;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::cluster::controller::Terms;
use crate::endpoints::Endpoints;
use crate::group_service::GroupService;
use crate::host::Host;
use crate::live_config::{Configuration, LiveConfig};
use crate::metadata_service::MetadataService;
use crate::metrics::Metrics;
use crate::net::budget::ByteBudget;
use crate::net::limits::ConnectionTable;
use crate::producer_ids::ProducerIds;
use crate::stop::Stopping;
use crate::topics::Topics;

/// The limits of the protocol edge.
#[derive(Debug)]
pub(crate) struct EdgeLimits {
    /// `socket.request.max.bytes`
    pub frame_bytes_max: usize,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: u32,
    /// `connections.max.idle.ms`
    pub idle_max: Duration,
    pub budget: ByteBudget,
}

/// The broker, as its handlers see it.
#[derive(Debug)]
pub(crate) struct Services {
    pub config: LiveConfig,
    pub node_id: NodeId,
    pub clock: Clock,
    pub host: Host,
    pub edge: EdgeLimits,
    pub endpoints: Endpoints,
    pub connections: Arc<ConnectionTable>,
    pub metrics: Metrics,
    pub topics: Arc<Topics>,
    pub replicas: Arc<Replicas>,
    pub metadata: MetadataService,
    pub groups: GroupService,
    pub producer_ids: ProducerIds,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) draining: AtomicBool,
    /// Long polls end with it: they would hold up the drain.
    pub(crate) stopping: Stopping,
    pub(crate) random: RandomSource,
    /// Set where there are other brokers.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) terms: Terms,
}

impl Services {
    /// The configuration as it is now.
    #[must_use]
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        self.config.get()
    }

    /// The other brokers, where there are any.
    #[must_use]
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The node that decides on metadata; -1 while nobody does.
    #[must_use]
    pub(crate) fn controller_id(&self) -> NodeId {
        match &self.cluster {
            None => self.node_id,
            Some(cluster) => cluster.controller().node.unwrap_or(NodeId(-1)),
        }
    }

    /// The checks of `/readyz`, by name.
    #[must_use]
    pub(crate) fn readiness(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("log recovery", true),
            ("metadata", self.metadata.is_loaded()),
            ("log directories", self.replicas.any_online()),
            ("not draining", !self.draining.load(Ordering::Acquire)),
        ]
    }

    /// A number for ids that must not repeat by chance; never for secrets.
    #[must_use]
    pub(crate) fn random_u32(&self) -> u32 {
        (self.random.next_u64() >> 32) as u32
    }
}

/// Seeded random numbers (SplitMix64), so that a test's seed decides all of them.
#[derive(Debug)]
pub(crate) struct RandomSource(AtomicU64);

impl RandomSource {
    #[must_use]
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    #[must_use]
    pub(crate) fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A random (version 4) UUID.
    #[must_use]
    pub(crate) fn next_uuid(&self) -> ottla_protocol::model::Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        ottla_protocol::model::Uuid::from_u128(
            (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (a, b) = (RandomSource::seeded(7), RandomSource::seeded(7));
        assert_eq!(a.next_uuid(), b.next_uuid());
        assert_ne!(a.next_u64(), a.next_u64());
        assert_eq!(a.next_uuid().get_version_num(), 4);
    }
}
