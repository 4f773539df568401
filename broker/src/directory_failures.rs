//! What a broker does when a log directory fails under it.
//!
//! Owns: the order: partitions offline, groups closed, cluster told; and when nothing is left to
//! serve (Kafka's `LogManager.handleLogDirFailure`, KIP-112, KIP-858). Never: finds out that a
//! directory failed. Invariant: without the directory of the metadata log, or without any, the broker
//! ends: what it would answer could not be relied on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_replication::replicas::FailedDirectory;
use tokio::sync::watch;

use crate::cluster::{self, command::Order, command::OrderAnswer};
use crate::metadata_service::METADATA_TOPIC;
use crate::services::Services;
use crate::stop::Stopping;

/// For telling the controller (the default of Kafka's `log.dir.failure.timeout.ms`).
const TELL_WITHIN: Duration = Duration::from_secs(30);

/// Says why the broker cannot go on.
pub(crate) type Halt = watch::Sender<Option<String>>;

/// Directories that failed while the broker was starting; the cluster is not told of them yet.
#[derive(Debug, Default)]
pub(crate) struct Early(Vec<FailedDirectory>);

/// Watches while the broker starts: completes with the reason when it cannot go on.
pub(crate) async fn watch_start(services: &Services, early: &mut Early) -> String {
    loop {
        tokio::select! {
            biased;
            () = services.replicas.failure() => {}
            reason = metadata_ended(services) => return reason,
        }
        let failed = services.replicas.settle_failures();
        if let Some(reason) = end(services, &failed) {
            return reason;
        }
        early.0.extend(failed);
    }
}

/// Deals with failures until the broker stops, or cannot go on.
pub(crate) async fn run(
    services: Arc<Services>,
    mut stopping: Stopping,
    halt: Halt,
    Early(early): Early,
) {
    if !early.is_empty() {
        settle(&services, early).await;
    }
    loop {
        tokio::select! {
            biased;
            () = stopping.stopped() => return,
            () = services.replicas.failure() => {}
            reason = metadata_ended(&services) => {
                tracing::error!(reason, "the broker ends");
                halt.send_replace(Some(reason));
                return;
            }
        }
        let failed = services.replicas.settle_failures();
        if failed.is_empty() {
            continue;
        }
        let reason = match end(&services, &failed) {
            Some(reason) => Some(reason),
            None => settle(&services, failed).await,
        };
        if let Some(reason) = reason {
            tracing::error!(reason, "the broker ends");
            halt.send_replace(Some(reason));
            return;
        }
    }
}

/// Completes when this node's replica of the metadata has ended by itself, for want of space or the like.
/// What it would answer from then on stands still: as Kafka's controller does, it begins anew.
async fn metadata_ended(services: &Services) -> String {
    let Some(cluster) = services.cluster() else { return std::future::pending().await };
    let mut changes = cluster.peers.groups().subscribe();
    loop {
        if let Some(reason) = cluster.metadata.failure() {
            return format!(
                "this node's replica of {METADATA_TOPIC} has stopped ({reason}): without it nothing can \
                 be decided. Mend that, e.g. make room on its disk, and start the broker again"
            );
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Why the broker cannot go on without these directories.
fn end(services: &Services, failed: &[FailedDirectory]) -> Option<String> {
    let metadata = failed
        .iter()
        .find(|dir| dir.partitions.iter().any(|partition| *partition.topic == *METADATA_TOPIC));
    if let Some(FailedDirectory { path, reason, .. }) = metadata {
        return Some(format!(
            "log directory {} failed ({reason}), which holds {METADATA_TOPIC}: without it nothing \
             can be decided. Mend that disk and start the broker again",
            path.display()
        ));
    }
    if services.replicas.any_online() {
        return None;
    }
    let paths = |path: &Path| path.display().to_string();
    let all: Vec<String> = failed.iter().map(|dir| paths(&dir.path)).collect();
    let reason = failed.iter().map(|dir| dir.reason.as_str()).collect::<Vec<_>>().join("; ");
    Some(format!(
        "all log directories have failed, {} last ({reason}). Mend their disks and start the broker \
         again",
        all.join(" and ")
    ))
}

/// Why the broker cannot go on, if nobody could be told.
async fn settle(services: &Arc<Services>, failed: Vec<FailedDirectory>) -> Option<String> {
    for FailedDirectory { path, reason, partitions, .. } in &failed {
        tracing::error!(path = %path.display(), reason, partitions = partitions.len(),
            "log directory failed: its partitions are offline until it is mended and the broker \
             started again");
    }
    services.groups.close_offline();
    let directories = failed.iter().map(|dir| dir.id.as_u128()).collect();
    let order = Order::DirectoriesFailed { directories };
    match cluster::order(services, &order, TELL_WITHIN).await {
        Ok(OrderAnswer::Refused { code, message }) => {
            tracing::error!(code, message, "the failed directory is not noted");
            None
        }
        Ok(_) => None,
        // Others would go on asking this broker for what it has lost (Kafka halts as well).
        Err(_) if services.is_draining() => None,
        Err(code) => Some(format!(
            "a log directory failed, and no controller could be told within {} s ({code}): mend the \
             directory, or the way to the controllers, and start the broker again",
            TELL_WITHIN.as_secs()
        )),
    }
}
