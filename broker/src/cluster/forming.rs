//! Asks the listed controllers until there is a cluster.
//!
//! Owns: the rounds, and what the log says while they go on. Never: the decision
//! (`coordinator::forming`). Invariant: a formation is on the disk before anybody is told of it.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::forming::{Answer, Asker, Formation, Round, Verdict, decide};
use ottla_protocol::model::kafka_uuid_text;
use ottla_replication::peer::{PeerError, Peers, Refusal};

use super::control::Control;
use super::identity::{Identity, IdentityError, IdentityFile};
use crate::clock::Clock;
use crate::services::RandomSource;

/// Between two rounds; a formation is found this late at worst.
const ROUND_EVERY: Duration = Duration::from_millis(50);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// Between two lines about what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Remains of this node's last process are gone after this long; what is there then is a twin.
const REMAINS_MAX: Duration = Duration::from_secs(3);
/// A clock that is off by more is worth a word.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum FormingError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What forming works with.
pub(crate) struct Former<'a> {
    pub(crate) peers: &'a Arc<Peers>,
    pub(crate) control: &'a Control,
    pub(crate) file: &'a IdentityFile,
    pub(crate) clock: &'a Clock,
    pub(crate) random: &'a RandomSource,
}

impl Former<'_> {
    /// Runs rounds until this node belongs to a cluster, which is then on its disk.
    ///
    /// # Errors
    /// What somebody has to change first.
    pub(crate) async fn run(
        &self,
        me: &Asker,
        identity: &mut Identity,
    ) -> Result<Formation, FormingError> {
        let mut said = None;
        let began = self.clock.now().mono;
        loop {
            let (round, twin) = self.ask(me).await;
            if let Some(reason) = twin
                && self.clock.now().mono.since(began) > REMAINS_MAX
            {
                return Err(FormingError::Refused(reason));
            }
            let formation = match decide(me, &round) {
                Verdict::Refuse(reason) => return Err(FormingError::Refused(reason)),
                Verdict::Form(voters) => {
                    let cluster_id = kafka_uuid_text(self.random.next_uuid());
                    tracing::info!(
                        cluster_id,
                        voters = voters.len(),
                        "this node forms the cluster"
                    );
                    Some(Formation { cluster_id, voters })
                }
                Verdict::Join(formation) => {
                    tracing::info!(
                        cluster_id = formation.cluster_id,
                        "this node joins the cluster"
                    );
                    Some(formation)
                }
                Verdict::Wait(reasons) => {
                    let now = self.clock.now().mono;
                    if said.is_none_or(|at| now.since(at) > SAY_EVERY) {
                        if said.is_some() {
                            tracing::warn!(
                                "no cluster yet: {}; a cluster begins once every listed controller \
                                 is up: start it, or correct its address in \
                                 controller.quorum.voters or controller.quorum.bootstrap.servers",
                                reasons.join("; ")
                            );
                        }
                        said = Some(now);
                    }
                    None
                }
            };
            if let Some(formation) = formation {
                self.check_clocks(&round);
                identity.formation = Some(formation.clone());
                self.file.write(identity)?;
                self.control.say(|card| card.formation = Some(formation.clone()));
                return Ok(formation);
            }
            let next = self.clock.now().mono.plus(ROUND_EVERY);
            self.clock.sleep_until(next).await;
        }
    }

    /// Asks everybody; beside the answers, why this process is not the only one of its node, if so.
    async fn ask(&self, me: &Asker) -> (Round, Option<String>) {
        let asked = me.list.iter().map(|address| async move {
            let answer = self.peers.probe(address, ANSWER_WITHIN).await;
            let twin = match &answer {
                Err(PeerError::Refused(twin @ Refusal::DuplicateNode { .. })) => {
                    Some(twin.to_string())
                }
                _ => None,
            };
            let answer = match answer {
                Ok(info) => serde_json::from_slice::<Answer>(&info.card)
                    .map_err(|error| format!("its answer is not readable: {error}")),
                Err(error) => Err(error.to_string()),
            };
            (address.clone(), answer, twin)
        });
        let (mut round, mut reason) = (Round::new(), None);
        for (address, answer, twin) in futures_util::future::join_all(asked).await {
            round.insert(address, answer);
            reason = reason.or(twin);
        }
        (round, reason)
    }

    fn check_clocks(&self, round: &Round) {
        let now = self.clock.now().wall.0;
        for (address, answer) in round {
            let Ok(answer) = answer else { continue };
            let skew = answer.wall_ms.saturating_sub(now);
            if Duration::from_millis(skew.unsigned_abs()) > CLOCK_SKEW_MAX {
                tracing::warn!(
                    "the clock of node {} at {address} is {} s off this node's: timestamps and \
                     retention follow clocks; set both by NTP",
                    answer.node,
                    skew / 1_000
                );
            }
        }
    }
}
