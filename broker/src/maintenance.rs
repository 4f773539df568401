//! The broker's periodic work.
//!
//! Owns: when retention, compaction, checkpoints and expiry run, at what rate, and that they end with
//! the broker. Never: what they do to a log. Disk work runs on the blocking pool, a step at a time.

mod compaction;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::services::Services;
use crate::stop::Stopping;

/// How often removed files are looked at.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(15);
/// How often `flush.ms` is looked at (Kafka's `log.flush.scheduler.interval.ms` is never by default).
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether log directories are there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A step of maintenance: blocking work on the services.
type Step = fn(&Services);

/// Starts all periodic work; it ends when `stopping` says so.
pub(crate) fn spawn(tasks: &mut JoinSet<()>, services: &Arc<Services>, stopping: &Stopping) {
    let config = services.configuration();
    let log = &config.broker.log;
    let mut steps: Vec<(Duration, Step)> = vec![
        (log.recovery_checkpoint_interval, recovery_points),
        (log.start_offset_checkpoint_interval, log_starts),
        (log.producer_id_expiration_check_interval, producers),
        (REMOVAL_INTERVAL, removals),
        (FLUSH_INTERVAL, flushes),
        (PROBE_INTERVAL, directories),
    ];
    if log.cleaner.enabled {
        steps.push((log.cleaner.backoff, compaction::run));
    }
    for (interval, step) in steps {
        let every = Schedule { first: interval, interval };
        tasks.spawn(periodic(Arc::clone(services), every, step, stopping.clone()));
    }
    let first = log.initial_task_delay.min(log.retention_check_interval);
    let every = Schedule { first, interval: log.retention_check_interval };
    tasks.spawn(periodic(Arc::clone(services), every, retention, stopping.clone()));
}

/// When a step runs.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// After the start.
    first: Duration,
    /// After each run.
    interval: Duration,
}

async fn periodic(services: Arc<Services>, schedule: Schedule, step: Step, mut stopping: Stopping) {
    let mut pause = schedule.first;
    while stopping.pause(&services.clock, pause).await.is_continue() {
        pause = schedule.interval;
        let worker = Arc::clone(&services);
        if services.host.on_disk(move || step(&worker)).await.is_err() {
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

fn producers(services: &Services) {
    services.replicas.expire_producers(services.clock.now());
}

fn removals(services: &Services) {
    services.replicas.remove_deleted(services.clock.now());
}

fn directories(services: &Services) {
    services.replicas.probe_directories();
}

fn flushes(services: &Services) {
    services.replicas.flush_due(services.clock.now());
}
