//! The broker's periodic work.
//!
//! Owns: when retention, checkpoints and expiry run, and that they end with the broker. Never: what
//! they do to a log. Disk work runs on the blocking pool, one step at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::services::Services;
use crate::stop::Stopping;

/// How often removed files are looked at.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(15);

/// A step of maintenance: blocking work on the services.
type Step = fn(&Services);

/// Starts all periodic work; it ends when `stop` turns true.
pub(crate) fn spawn(tasks: &mut JoinSet<()>, services: &Arc<Services>, stop: &Stopping) {
    let config = services.configuration();
    let log = &config.broker.log;
    let steps: [(Duration, Step); 4] = [
        (log.retention_check_interval, retention),
        (log.recovery_checkpoint_interval, recovery_points),
        (log.start_offset_checkpoint_interval, log_starts),
        (REMOVAL_INTERVAL, removals),
    ];
    for (interval, step) in steps {
        tasks.spawn(periodic(Arc::clone(services), interval, step, stop.clone()));
    }
}

async fn periodic(services: Arc<Services>, interval: Duration, step: Step, mut stop: Stopping) {
    loop {
        let next = services.clock.now().mono.plus(interval);
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = services.clock.sleep_until(next) => {}
        }
        let services = Arc::clone(&services);
        if tokio::task::spawn_blocking(move || step(&services)).await.is_err() {
            tracing::error!("a step of maintenance panicked; it runs again at its next turn");
        }
    }
}

fn retention(services: &Services) {
    services.replicas.apply_retention(services.clock.now());
}

fn recovery_points(services: &Services) {
    services.replicas.checkpoint_recovery_points();
}

fn log_starts(services: &Services) {
    services.replicas.checkpoint_log_starts();
}

fn removals(services: &Services) {
    services.replicas.remove_deleted(services.clock.now());
}
