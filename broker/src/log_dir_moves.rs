//! Drives replicas that move to another log directory.
//!
//! Owns: one step after the other, the throttle, and that the cluster is told. Never: copies. A move goes
//! on with the next start where the broker stops.

use std::sync::Arc;
use std::time::Duration;

use ottla_replication::replicas::MoveStep;

use crate::replica_directories;
use crate::services::Services;
use crate::stop::Stopping;

/// Kafka's dynamic key: bytes in a second that all moves of a broker copy together.
const THROTTLE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

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
        let pause = match step {
            Ok(MoveStep::Copied(bytes)) => rate.map_or(Duration::ZERO, |rate| time_of(bytes, rate)),
            Ok(MoveStep::Moved { topic_id, directory }) => {
                let moved = vec![(topic_id, name.partition, directory)];
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
