//! Drives replicas that move to another log directory.
//!
//! Owns: one step after the other, the throttle, and that the cluster is told. Never: copies. A move goes
//! on with the next start where the broker stops.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::TopicPartition;
use ottla_replication::raft::GroupId;
use ottla_replication::raft::journal::{Departure, Record};
use ottla_replication::replicas::MoveStep;

use crate::cluster::groups;
use crate::replica_directories;
use crate::services::Services;
use crate::stop::Stopping;
use crate::topic_loader;

/// Kafka's dynamic key: bytes in a second that all moves of a broker copy together.
const THROTTLE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// Until the end of a move is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How much is copied at once where nothing throttles, and the least.
const STEP_BYTES: (u32, u32) = (4 << 20, 64 << 10);

/// Moves replicas, one after the other, until the broker stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: Stopping) {
    loop {
        let Some(name) = services.replicas.next_move() else {
            tokio::select! {
                biased;
                () = stopping.stopped() => return,
                () = services.replicas.move_requested() => continue,
            }
        };
        let (worker, now) = (Arc::clone(&services), services.clock.now());
        let (of, began) = (name.clone(), now.mono);
        let rate = rate(&services);
        // A second's worth at the most, so that a new rate or a stop is seen.
        let most = rate.map_or(STEP_BYTES.0, |rate| u32::try_from(rate).unwrap_or(u32::MAX));
        let most = most.clamp(STEP_BYTES.1, STEP_BYTES.0);
        let step =
            services.host.on_disk(move || worker.replicas.advance_move(&of, most, now)).await;
        let step = match step {
            Ok(MoveStep::Ready) => Ok(finish_stopped(&services, &name).await),
            step => step,
        };
        let pause = match step {
            Ok(MoveStep::Copied(bytes)) => rate.map_or(Duration::ZERO, |rate| time_of(bytes, rate)),
            Ok(MoveStep::Ready) => RETRY_EVERY,
            Ok(MoveStep::Moved { topic_id, directory }) => {
                let identity = services.replicas.identity_of(&name);
                let at = topic_loader::whereabouts(topic_id, name.partition, directory, identity);
                let moved = vec![at];
                if replica_directories::tell(&services, moved, &mut stopping).await.is_none() {
                    return;
                }
                Duration::ZERO
            }
            Ok(MoveStep::Ended) => Duration::ZERO,
            Err(error) => {
                tracing::error!(partition = %name, %error, "moving a replica panicked");
                return;
            }
        };
        if stopping.pause_until(&services.clock, began.plus(pause)).await.is_break() {
            return;
        }
    }
}

/// Ends the move of a replica that belongs to a group: leadership goes elsewhere, the instance stops for the
/// time of the last copy and two renames, and goes on as the same replica from the other directory.
async fn finish_stopped(services: &Arc<Services>, name: &TopicPartition) -> MoveStep {
    let (Some(cluster), Some(partition)) = (services.cluster(), services.replicas.partition(name))
    else {
        return MoveStep::Ready;
    };
    let id = GroupId { topic: partition.topic_id(), partition: name.partition };
    let Some(Ok(journal)) = services.replicas.journal_of(name) else { return MoveStep::Ready };
    groups::hand_over(services, &id).await;
    let work = async {
        // From now on nobody makes a log here under the id that leaves.
        if let Err(error) = journal.commit(&[Record::Moved(id, Departure::Begun)]).await {
            tracing::warn!(partition = %name, %error, "a replica does not move yet");
            return MoveStep::Ready;
        }
        let (worker, of, now) = (Arc::clone(services), name.clone(), services.clock.now());
        let step = services.host.on_disk(move || worker.replicas.finish_group_move(&of, now)).await;
        let step = step.unwrap_or_else(|error| {
            tracing::error!(partition = %name, %error, "moving a replica panicked");
            MoveStep::Ended
        });
        let departure = match step {
            MoveStep::Moved { .. } => Departure::Done,
            _ if partition.is_offline() => return step,
            _ => Departure::Cancelled,
        };
        if let Err(error) = journal.commit(&[Record::Moved(id, departure)]).await {
            tracing::debug!(partition = %name, %error, "the journal goes on to speak of a replica");
        }
        step
    };
    cluster.groups.paused(&id, work).await.unwrap_or(MoveStep::Ready)
}

/// Bytes in a second that may be copied; `None` is no limit.
fn rate(services: &Services) -> Option<u64> {
    let configuration = services.configuration();
    let layers = &configuration.layers;
    let rate = layers.dynamic_broker.get(THROTTLE).or_else(|| layers.dynamic_default.get(THROTTLE));
    rate?.trim().parse().ok()
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
