//! Changing who votes on the metadata.
//!
//! Owns: carrying AddRaftVoter and RemoveRaftVoter out on the metadata log's group, where this node leads it.
//! Never: whether that is allowed (`coordinator::metadata::Quorum`). Invariants: one change at a time; a node
//! votes only once it has all of the log, so that its vote costs no time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::metadata::{KRAFT_VERSION, Quorum, VoterError, VoterKey};
use ottla_protocol::model::{MonoTime, TopicPartition};
use ottla_replication::raft::{Group, GroupError, Removed, ReplicaId};

use super::Cluster;
use crate::metadata_service::METADATA_TOPIC;
use crate::services::Services;

/// A follower that had everything this recently may vote.
const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(1_000);
/// Between two looks at a follower that lags.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one that lags is waited for at most.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// For a majority to commit the change (Kafka's `controller.quorum.request.timeout.ms`).
const COMMIT_WITHIN: Duration = Duration::from_secs(10);

/// Why the voters stay, or may have changed all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Refused(#[from] VoterError),
    /// This node is not, or no longer, the active controller.
    #[error("this node does not lead the metadata")]
    NotLeader,
}

/// A node that is to vote.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) key: VoterKey,
    pub(crate) cluster_id: Option<String>,
    /// Names with `host:port`. None at all means those that the node registered with.
    pub(crate) listeners: Vec<(String, String)>,
    pub(crate) within: Duration,
    pub(crate) answer: When,
}

/// When a change is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Committed,
    /// As soon as it is under way.
    Begun,
}

fn replica(key: VoterKey) -> ReplicaId {
    ReplicaId { node: key.node, directory: key.directory }
}

/// Who votes now, alone or not.
fn quorum(services: &Services) -> Quorum {
    let image = services.metadata.image();
    let key = |replica: ReplicaId| VoterKey { node: replica.node, directory: replica.directory };
    let voters = match services.cluster() {
        Some(cluster) => cluster.metadata.membership().voter_ids().map(key).collect(),
        None => {
            let log = TopicPartition::new(METADATA_TOPIC, 0);
            let directory = services.replicas.directory_of(&log).unwrap_or_default();
            BTreeSet::from([VoterKey { node: services.node_id, directory }])
        }
    };
    Quorum {
        cluster_id: image.cluster_id().to_owned(),
        voters,
        kraft_version: image.feature_level(KRAFT_VERSION),
    }
}

/// Lets a node that follows the log vote.
///
/// # Errors
/// Kafka's reasons; `Lagging` also where the node does not follow the log at all.
pub(crate) async fn add(services: &Arc<Services>, addition: Addition) -> Result<(), ChangeError> {
    let key = addition.key;
    let Some(cluster) = services.cluster() else {
        quorum(services).with(key, addition.cluster_id.as_deref(), Ok(()))?;
        // Nobody follows a log that is kept alone.
        return Err(VoterError::Lagging(key).into());
    };
    let turn = Arc::clone(&cluster.voter_change).try_lock_owned();
    let turn = turn.map_err(|_| VoterError::Pending)?;
    if !cluster.controller().here {
        return Err(ChangeError::NotLeader);
    }
    let listener = listener(services, &addition);
    let address = listener.as_ref().ok().cloned().flatten();
    quorum(services).with(key, addition.cluster_id.as_deref(), listener.map(|_| ()))?;
    if let Some(address) = address {
        cluster.addresses.introduce(key.node, address);
        cluster.peers.addresses_changed();
    }
    let deadline = services.clock.now().mono.plus(addition.within.min(CATCH_UP_MAX));
    if !caught_up(services, cluster, key, deadline).await {
        return Err(VoterError::Lagging(key).into());
    }
    tracing::info!(voter = %key, "a node comes to vote on the metadata");
    let group = Arc::clone(&cluster.metadata);
    let change = async move {
        let changed = group.add_voters(BTreeSet::from([replica(key)])).await;
        drop(turn);
        changed
    };
    match addition.answer {
        When::Committed => committed(change).await,
        When::Begun => {
            tokio::spawn(change);
            Ok(())
        }
    }
}

/// Takes a node's vote. It goes on following the log where its directory is still in use.
///
/// # Errors
/// Kafka's reasons.
pub(crate) async fn remove(
    services: &Arc<Services>,
    key: VoterKey,
    cluster_id: Option<&str>,
) -> Result<(), ChangeError> {
    let Some(cluster) = services.cluster() else {
        quorum(services).without(key, cluster_id)?;
        return Ok(());
    };
    let _turn = cluster.voter_change.try_lock().map_err(|_| VoterError::Pending)?;
    if !cluster.controller().here {
        return Err(ChangeError::NotLeader);
    }
    quorum(services).without(key, cluster_id)?;
    let image = services.metadata.image();
    let in_use = image
        .broker(key.node)
        .is_some_and(|broker| broker.registration.directories.contains(&key.directory));
    let then = if in_use { Removed::Stay } else { Removed::Go };
    tracing::info!(voter = %key, ?then, "a node leaves the voters on the metadata");
    let gone = BTreeSet::from([replica(key)]);
    committed(cluster.metadata.remove_voters(gone, then)).await
}

async fn committed(
    change: impl Future<Output = Result<(), GroupError>>,
) -> Result<(), ChangeError> {
    match tokio::time::timeout(COMMIT_WITHIN, change).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(GroupError::NotLeader(_))) => Err(ChangeError::NotLeader),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the voters are not changed");
            Err(VoterError::NotCommitted.into())
        }
        Err(_) => Err(VoterError::NotCommitted.into()),
    }
}

/// Where controllers reach the node: as the request says, or as the node registered. The name of the
/// listener that is missing where neither does.
fn listener(services: &Services, addition: &Addition) -> Result<Option<String>, String> {
    let names = super::start::controller_listeners(&services.configuration().broker);
    let given = addition.listeners.iter().find(|(name, _)| names.contains(name));
    if let Some((_, address)) = given {
        return Ok(Some(address.clone()));
    }
    let image = services.metadata.image();
    let registered = image.broker(addition.key.node).is_some_and(|broker| {
        broker.registration.endpoints.iter().any(|end| names.contains(&end.listener))
    });
    if addition.listeners.is_empty() && registered {
        return Ok(None);
    }
    Err(names.first().cloned().unwrap_or_default())
}

async fn caught_up(
    services: &Services,
    cluster: &Cluster,
    key: VoterKey,
    deadline: MonoTime,
) -> bool {
    loop {
        let now = services.clock.now().mono;
        if has_all(&cluster.metadata, key, now) {
            return true;
        }
        if now >= deadline || services.is_draining() {
            return false;
        }
        services.clock.sleep_until(now.plus(LOOK_EVERY)).await;
    }
}

fn has_all(group: &Group, key: VoterKey, now: MonoTime) -> bool {
    let recent = |at: MonoTime| now.since(at) < CAUGHT_UP_WITHIN;
    let mut followers = group.followers().into_iter();
    followers.any(|of| of.replica == replica(key) && of.caught_up.is_some_and(recent))
}
