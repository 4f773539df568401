//! Which brokers are heard of, as the active controller counts it.
//!
//! Owns: [`BrokerSessions`], the times of the last heartbeats, and what follows from a [`Heartbeat`] (Kafka's
//! `BrokerHeartbeatManager`). Never: a clock, or the log: what follows is a command like any other.
//! Invariant: a controller that has just taken over gives every broker a whole session before it fences one.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::model::{MonoTime, NodeId, Offset};

use super::brokers::{BrokerState, ChangeBrokerState, registered};
use super::error::ControllerError;
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

/// What a broker says of itself now and then (BrokerHeartbeat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub id: NodeId,
    pub epoch: i64,
    /// The end of what it has applied of the metadata log.
    pub applied: Offset,
    pub intent: Intent,
}

/// Whether a broker wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Stay,
    /// It is about to stop, and hands over what it leads first.
    Leave,
    /// It leads nothing any more.
    Stop,
}

impl Heartbeat {
    /// The change of the broker's state that follows, if any: one that has seen its own registration
    /// takes part, one that leaves is given nothing more to lead, and one that stops takes no part (Kafka's
    /// `calculateNextBrokerState`). There is no way back from leaving but another registration.
    ///
    /// # Errors
    /// The broker is not registered, or has been started again since.
    pub fn decide(
        &self,
        image: &MetadataImage,
    ) -> Result<Option<ChangeBrokerState>, ControllerError> {
        let broker = registered(image, self.id)?;
        let expected = broker.registration.epoch;
        if expected != self.epoch {
            return Err(ControllerError::StaleBrokerEpoch { expected, found: self.epoch });
        }
        // The epoch is the offset of the registration.
        let seen = self.applied > Offset(expected);
        let state = match (self.intent, broker.fenced) {
            (Intent::Stop, false) => BrokerState::Fenced,
            (Intent::Leave, false) if broker.is_active() => BrokerState::ControlledShutdown,
            (Intent::Stay, true) if seen => BrokerState::Active,
            _ => return Ok(None),
        };
        Ok(Some(ChangeBrokerState { id: self.id, epoch: self.epoch, state }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::testing::Cluster;

    #[test]
    fn a_broker_takes_part_once_it_has_seen_its_registration_until_it_stops() {
        let mut cluster = Cluster::of(1);
        let id = NodeId(0);
        let epoch = cluster.image.broker(id).unwrap().registration.epoch;
        let beat =
            |behind: i64, intent| Heartbeat { id, epoch, applied: Offset(epoch + behind), intent };
        let change = |state| Ok(Some(ChangeBrokerState { id, epoch, state }));
        assert_eq!(beat(9, Intent::Stay).decide(&cluster.image), Ok(None), "it is active");
        let leave = beat(9, Intent::Leave).decide(&cluster.image);
        assert_eq!(leave, change(BrokerState::ControlledShutdown));
        cluster.run(leave.unwrap().unwrap()).unwrap();
        for intent in [Intent::Leave, Intent::Stay] {
            assert_eq!(beat(9, intent).decide(&cluster.image), Ok(None), "it leaves");
        }
        let stop = beat(9, Intent::Stop).decide(&cluster.image);
        assert_eq!(stop, change(BrokerState::Fenced));
        cluster.run(stop.unwrap().unwrap()).unwrap();
        for intent in [Intent::Leave, Intent::Stop] {
            assert_eq!(beat(9, intent).decide(&cluster.image), Ok(None), "it is fenced");
        }
        assert_eq!(
            beat(0, Intent::Stay).decide(&cluster.image),
            Ok(None),
            "it has not seen itself"
        );
        assert_eq!(beat(1, Intent::Stay).decide(&cluster.image), change(BrokerState::Active));
    }

    #[test]
    fn a_heartbeat_of_an_earlier_start_is_refused() {
        let cluster = Cluster::of(1);
        let expected = cluster.image.broker(NodeId(0)).unwrap().registration.epoch;
        let beat = |id, epoch| Heartbeat { id, epoch, applied: Offset(99), intent: Intent::Stay };
        assert_eq!(
            beat(NodeId(0), expected - 1).decide(&cluster.image),
            Err(ControllerError::StaleBrokerEpoch { expected, found: expected - 1 })
        );
        assert_eq!(
            beat(NodeId(5), 0).decide(&cluster.image),
            Err(ControllerError::BrokerIdNotRegistered(NodeId(5)))
        );
    }

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
