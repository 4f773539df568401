//! Tells the controller in which log directories this broker's replicas are.
//!
//! Owns: saying it until the controller has heard (Kafka's `AssignmentsManager`, KIP-858). Never: chooses a
//! directory. Invariant: what the metadata says of this broker's replicas is true, a moment after both are
//! known.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{self, command::Order, command::OrderAnswer, command::Whereabouts};
use crate::services::Services;
use crate::stop::Stopping;
use crate::topic_loader;
use ottla_coordinator::metadata::{MetadataDelta, MetadataImage};

/// Between two attempts.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// For one attempt.
const ORDER_WITHIN: Duration = Duration::from_secs(5);

/// Compares each image with the directories until the broker stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    let mut compared: Option<Arc<MetadataImage>> = None;
    loop {
        let image = services.metadata.image();
        let delta = match &compared {
            None => MetadataDelta::everything(&image),
            Some(before) => MetadataDelta::between(before, &image),
        };
        let misplaced = topic_loader::misplaced(&services, &image, &delta);
        if tell(&services, misplaced, &mut stopping).await.is_none() {
            return;
        }
        let seen = image.end();
        compared = Some(image);
        tokio::select! {
            biased;
            () = stopping.stopped() => return,
            () = services.metadata.changed_beyond(seen) => {}
        }
    }
}

/// Says it until it is heard; `None` where the broker stops before.
pub(crate) async fn tell(
    services: &Arc<Services>,
    replicas: Vec<Whereabouts>,
    stopping: &mut Stopping,
) -> Option<()> {
    if replicas.is_empty() {
        return Some(());
    }
    let order = Order::AssignDirectories { replicas };
    loop {
        match cluster::order(services, &order, ORDER_WITHIN).await {
            Ok(OrderAnswer::Refused { code, message }) => {
                tracing::error!(code, message, "the directories of replicas are not noted");
                return Some(());
            }
            Ok(_) => return Some(()),
            Err(code) => tracing::debug!(%code, "the directories of replicas are not noted yet"),
        }
        if stopping.pause(&services.clock, RETRY_EVERY).await.is_break() {
            return None;
        }
    }
}
