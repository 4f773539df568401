//! Which brokers are heard of, as the active controller counts it.
//!
//! Owns: [`BrokerSessions`], the times of the last heartbeats (Kafka's `BrokerHeartbeatManager`). Never: a
//! clock, or the log: what follows is a command like any other. Invariant: a controller that has just
//! taken over gives every broker a whole session before it fences one.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId};

use super::brokers::{BrokerState, ChangeBrokerState};
use super::image::MetadataImage;

/// Last heartbeats by broker.
#[derive(Debug)]
pub struct BrokerSessions {
    /// `broker.session.timeout.ms`
    timeout: Duration,
    heard: BTreeMap<NodeId, (i64, MonoTime)>,
}

impl BrokerSessions {
    /// For a controller that begins at `now`.
    #[must_use]
    pub fn begin(timeout: Duration, image: &MetadataImage, now: MonoTime) -> Self {
        let heard = image
            .brokers()
            .map(|broker| (broker.registration.id, (broker.registration.epoch, now)))
            .collect();
        Self { timeout, heard }
    }

    /// A broker in this epoch was heard at `now`.
    pub fn hear(&mut self, broker: NodeId, epoch: i64, now: MonoTime) {
        self.heard.insert(broker, (epoch, now));
    }

    /// How long a broker has been silent; `None` where it was never heard.
    #[must_use]
    pub fn silence(&self, broker: NodeId, now: MonoTime) -> Option<Duration> {
        self.heard.get(&broker).map(|(_, at)| now.since(*at))
    }

    /// Brokers to be fenced at `now`: active ones whose session is over.
    #[must_use]
    pub fn expired(&self, image: &MetadataImage, now: MonoTime) -> Vec<ChangeBrokerState> {
        image
            .brokers()
            .filter(|broker| !broker.fenced)
            .filter(|broker| {
                let id = broker.registration.id;
                self.silence(id, now).is_none_or(|silence| silence > self.timeout)
            })
            .map(|broker| ChangeBrokerState {
                id: broker.registration.id,
                epoch: broker.registration.epoch,
                state: BrokerState::Fenced,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::testing::Cluster;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_silent_broker_is_fenced_once_its_session_is_over() {
        let mut cluster = Cluster::of(2);
        let mut sessions = BrokerSessions::begin(Duration::from_secs(9), &cluster.image, at(100));
        assert_eq!(sessions.expired(&cluster.image, at(109)), []);
        let epoch = cluster.image.broker(NodeId(1)).unwrap().registration.epoch;
        sessions.hear(NodeId(1), epoch, at(105));
        let expired = sessions.expired(&cluster.image, at(110));
        assert_eq!(expired.iter().map(|of| of.id).collect::<Vec<_>>(), [NodeId(0)]);
        for change in expired {
            cluster.run(change).unwrap();
        }
        assert_eq!(sessions.expired(&cluster.image, at(111)), [], "once");
        assert_eq!(sessions.expired(&cluster.image, at(115)).len(), 1);
        assert_eq!(sessions.silence(NodeId(7), at(0)), None);
    }
}
