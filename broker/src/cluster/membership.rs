//! This broker's place in the cluster: it follows the log, registers, and says that it is there.
//!
//! Owns: registration and heartbeats towards the active controller, whoever that is. Never: fences
//! anybody. Invariant: a broker serves clients only after the metadata showed its registration.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_coordinator::metadata::BrokerRecord;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::MonoTime;
use ottla_replication::peer::{PeerProblem, Refusal};

use super::command::{Beat, Follower, Going, Order, OrderAnswer};
use crate::services::Services;
use crate::stop::Stopping;

/// For one order on the way into the cluster; a cluster without a controller is waited for.
const ORDER_WITHIN: Duration = Duration::from_secs(10);
/// A process of the same id that is still heard after this long is no remains of the last start.
const DUPLICATE_MAX: Duration = Duration::from_secs(6);
/// For the word that it is about to stop.
const ANNOUNCE_WITHIN: Duration = Duration::from_millis(500);
/// For the last word.
const LEAVE_WITHIN: Duration = Duration::from_millis(1_500);
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// At most this long between two heartbeats, so that a restart is noticed soon.
const BEAT_EVERY_MAX: Duration = Duration::from_millis(500);
/// Between two lines about what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Why a broker is not let in.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error(
        "another process with node.id={node} is part of the cluster and alive: stop it, or give this \
         one another node.id"
    )]
    DuplicateNode { node: i32 },
    #[error("the controller does not register this broker: {0}")]
    Refused(String),
}

/// The broker's registration.
#[derive(Debug)]
pub(crate) struct Membership {
    record: BrokerRecord,
    /// How it follows the metadata log, where it does not vote.
    follower: Option<Follower>,
    epoch: AtomicI64,
}

impl Membership {
    pub(crate) fn new(record: BrokerRecord, follower: Option<Follower>) -> Arc<Self> {
        Arc::new(Self { record, follower, epoch: AtomicI64::new(-1) })
    }

    /// Enters the cluster: returns once this broker is registered and may lead.
    ///
    /// # Errors
    /// Another process has its id, or it is refused for good.
    pub(crate) async fn enter(&self, services: &Arc<Services>) -> Result<(), MembershipError> {
        self.follow(services).await?;
        self.register(services).await?;
        loop {
            match self.beat(services, Going::On).await {
                Some(OrderAnswer::Beaten { fenced: false }) => return Ok(()),
                // Another controller does not know what the last one had not committed.
                Some(OrderAnswer::Refused { .. }) => self.register(services).await?,
                _ => {}
            }
            pause(services, RETRY_EVERY).await;
        }
    }

    /// Enters the cluster without being one of its brokers: returns once there is metadata.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) async fn enter_as_controller(
        &self,
        services: &Arc<Services>,
    ) -> Result<(), MembershipError> {
        self.follow(services).await?;
        let mut said = services.clock.now().mono;
        let mut hopeless = Lasting::default();
        while services.metadata.image().cluster_id().is_empty() {
            self.hopeless(services, &mut hopeless)?;
            let text = "no majority of the controllers is there: waiting for them";
            waiting(services, &mut said, text);
            pause(services, RETRY_EVERY).await;
        }
        Ok(())
    }

    async fn follow(&self, services: &Arc<Services>) -> Result<(), MembershipError> {
        let (Some(follower), Some(cluster)) = (&self.follower, services.cluster()) else {
            return Ok(());
        };
        let mut said = services.clock.now().mono;
        let mut hopeless = Lasting::default();
        // Without the log it is not known who the controller is: each known node is asked.
        loop {
            let order = serde_json::to_vec(&Order::Follow(follower.clone())).unwrap_or_default();
            for node in ottla_replication::peer::AddressBook::nodes(&*cluster.addresses) {
                let body = bytes::Bytes::from(order.clone());
                let called = cluster.peers.call(node, super::ORDER, body, ORDER_WITHIN).await;
                if called.is_ok() {
                    return Ok(());
                }
            }
            // A founder that lost its disk knows nobody but its former self: those it lists are asked, too.
            let listed = services.configuration().broker.node.quorum.addresses();
            for address in listed.iter().filter(|address| **address != follower.address) {
                let body = bytes::Bytes::from(order.clone());
                let called = cluster.peers.call_at(address, super::ORDER, body, ORDER_WITHIN).await;
                if called.is_ok() {
                    return Ok(());
                }
            }
            self.hopeless(services, &mut hopeless)?;
            waiting(services, &mut said, "no controller lets this node follow the metadata yet");
            pause(services, RETRY_EVERY).await;
        }
    }

    async fn register(&self, services: &Arc<Services>) -> Result<(), MembershipError> {
        let Some(cluster) = services.cluster() else { return Ok(()) };
        let mut said = services.clock.now().mono;
        let (mut hopeless, mut twin) = (Lasting::default(), Lasting::default());
        loop {
            let term = cluster.controller().epoch;
            let order = Order::Register(self.record.clone());
            match cluster.order(services, &order, ORDER_WITHIN).await {
                Ok(OrderAnswer::Registered { epoch }) => {
                    self.epoch.store(epoch, Ordering::Release);
                    return Ok(());
                }
                Ok(OrderAnswer::Refused { code, message }) => {
                    let duplicate = ErrorCode::DuplicateBrokerRegistration.code();
                    if code != duplicate {
                        return Err(MembershipError::Refused(message));
                    }
                    // A controller that has just begun gives everybody some time.
                    let since = Some((term, services.clock.now().mono));
                    if twin.lasts(since, DUPLICATE_MAX) {
                        return Err(MembershipError::DuplicateNode { node: self.record.id.0 });
                    }
                }
                Ok(_) | Err(_) => {
                    self.hopeless(services, &mut hopeless)?;
                    let text = "no majority of the controllers is there: waiting for them";
                    waiting(services, &mut said, text);
                }
            }
            if services.is_draining() {
                return Ok(());
            }
            pause(services, RETRY_EVERY).await;
        }
    }

    /// Nobody will let this node in, whatever it waits for: the others say why, and go on saying it when
    /// the remains of this node's last process are forgotten.
    fn hopeless(&self, services: &Services, seen: &mut Lasting<()>) -> Result<(), MembershipError> {
        let Some(cluster) = services.cluster() else { return Ok(()) };
        let reason = cluster.peers.problems().into_iter().find_map(|problem| match problem {
            PeerProblem::Refused(Refusal::DuplicateNode { .. }) => {
                Some(MembershipError::DuplicateNode { node: self.record.id.0 })
            }
            PeerProblem::Refused(other @ Refusal::Cluster { .. }) => {
                Some(MembershipError::Refused(other.to_string()))
            }
            _ => None,
        });
        let now = services.clock.now().mono;
        let lasts = seen.lasts(reason.as_ref().map(|_| ((), now)), DUPLICATE_MAX);
        reason.filter(|_| lasts).map_or(Ok(()), Err)
    }

    /// Says that this broker is there; `None` where nobody heard it.
    async fn beat(&self, services: &Arc<Services>, intent: Going) -> Option<OrderAnswer> {
        let cluster = services.cluster()?;
        let beat = Beat {
            node: self.record.id.0,
            epoch: self.epoch.load(Ordering::Acquire),
            applied: services.metadata.image().end().0,
            intent,
        };
        let heard = cluster.pass_on(services, &Order::Beat(beat), Duration::from_secs(1)).await;
        heard.ok().map(|done| done.answer)
    }

    /// Keeps the session alive until the broker stops.
    pub(crate) async fn run(self: Arc<Self>, services: Arc<Services>, mut stopping: Stopping) {
        let configured = services.configuration().broker.node.heartbeat_interval;
        let every = configured.min(BEAT_EVERY_MAX);
        while stopping.pause(&services.clock, every).await.is_continue() {
            let refused = match self.beat(&services, Going::On).await {
                Some(OrderAnswer::Refused { code, message }) => Some((code, message)),
                _ => None,
            };
            if let Some((code, message)) = refused {
                tracing::warn!(code, message, "this broker registers again");
                if let Err(error) = self.register(&services).await {
                    tracing::error!(%error, "this broker is out of the cluster");
                }
            }
        }
    }

    /// This broker is about to stop: nobody hands it anything from now on.
    pub(crate) async fn announce(&self, services: &Arc<Services>) {
        self.say(services, Going::Away, ANNOUNCE_WITHIN).await;
    }

    /// The last word: this broker leads nothing any more and stops.
    pub(crate) async fn leave(&self, services: &Arc<Services>) {
        self.say(services, Going::Gone, LEAVE_WITHIN).await;
    }

    async fn say(&self, services: &Arc<Services>, intent: Going, within: Duration) {
        // Without a majority nobody can write it down, and nothing depends on it.
        if tokio::time::timeout(within, self.beat(services, intent)).await.is_err() {
            tracing::info!(?intent, "nobody is told of this: there is no controller");
        }
    }
}

/// Since when something is so without a break, and for the same reason.
#[derive(Debug, Default)]
struct Lasting<K>(Option<(K, MonoTime)>);

impl<K: PartialEq> Lasting<K> {
    /// Notes what is so now, or that nothing is; whether it has been so for longer than `span`.
    fn lasts(&mut self, now: Option<(K, MonoTime)>, span: Duration) -> bool {
        let Some((reason, at)) = now else {
            self.0 = None;
            return false;
        };
        match &self.0 {
            Some((before, since)) if *before == reason => at.since(*since) > span,
            _ => {
                self.0 = Some((reason, at));
                false
            }
        }
    }
}

async fn pause(services: &Services, span: Duration) {
    let next = services.clock.now().mono.plus(span);
    services.clock.sleep_until(next).await;
}

fn waiting(services: &Services, said: &mut MonoTime, text: &str) {
    let now = services.clock.now().mono;
    if now.since(*said) > SAY_EVERY {
        *said = now;
        let problems = services.cluster().map(|cluster| cluster.peers.problems());
        let known = problems.unwrap_or_default();
        let all: Vec<String> =
            std::iter::once(text.to_owned()).chain(known.iter().map(ToString::to_string)).collect();
        tracing::warn!("{}", all.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_so_for_long_and_for_one_reason_counts() {
        let at = |seconds| MonoTime::from_start(Duration::from_secs(seconds));
        let mut lasting = Lasting::default();
        let mut note = |reason: Option<i32>, seconds| {
            lasting.lasts(reason.map(|reason| (reason, at(seconds))), Duration::from_secs(6))
        };
        assert!(!note(Some(1), 100), "it begins, however late");
        assert!(!note(Some(1), 106));
        assert!(note(Some(1), 107));
        assert!(!note(Some(2), 108), "another controller is asked");
        assert!(!note(None, 110));
        assert!(!note(Some(2), 115), "there was a break");
        assert!(note(Some(2), 122));
    }
}
