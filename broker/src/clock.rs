//! The clock seam: both clocks of the process, or clocks that a test sets.
//!
//! Owns: reading time once per request or step, and sleeping until a moment. Never: decides what
//! is due. Everything below the broker takes time as an argument.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_protocol::model::{MonoTime, Now, Timestamp};

/// A sleep that ends at a moment of the monotonic clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
pub trait TimeSource: Send + Sync + fmt::Debug {
    fn now(&self) -> Now;
    /// Completes once `now().mono` is at or past `deadline`.
    fn sleep_until(&self, deadline: MonoTime) -> Sleep;
}

/// A shared time source.
pub type Clock = Arc<dyn TimeSource>;

/// The machine's clocks; the monotonic one counts from this value's creation.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[must_use]
    pub fn shared() -> Clock {
        Arc::new(Self { start: Instant::now() })
    }
}

impl TimeSource for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now {
            mono: MonoTime::from_start(self.start.elapsed()),
            wall: Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    fn sleep_until(&self, deadline: MonoTime) -> Sleep {
        let moment = self.start + deadline.since_start();
        Box::pin(tokio::time::sleep_until(tokio::time::Instant::from_std(moment)))
    }
}

/// Clocks that stand still until a test moves them.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    state: parking_lot::Mutex<ManualState>,
}

#[cfg(test)]
#[derive(Debug, Default)]
struct ManualState {
    elapsed: Duration,
    sleepers: Vec<(MonoTime, tokio::sync::oneshot::Sender<()>)>,
}

#[cfg(test)]
impl ManualClock {
    /// Moves both clocks on and ends the sleeps that are due.
    pub(crate) fn advance(&self, span: Duration) {
        let mut state = self.state.lock();
        state.elapsed += span;
        let now = MonoTime::from_start(state.elapsed);
        let (due, later) = state.sleepers.drain(..).partition(|(deadline, _)| *deadline <= now);
        state.sleepers = later;
        let _woken: Vec<_> = Vec::into_iter(due).map(|(_, sleeper)| sleeper.send(())).collect();
    }
}

#[cfg(test)]
impl TimeSource for ManualClock {
    fn now(&self) -> Now {
        const WALL_START: i64 = 1_700_000_000_000;
        let elapsed = self.state.lock().elapsed;
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Now { mono: MonoTime::from_start(elapsed), wall: Timestamp(WALL_START + millis) }
    }

    fn sleep_until(&self, deadline: MonoTime) -> Sleep {
        let mut state = self.state.lock();
        if deadline <= MonoTime::from_start(state.elapsed) {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = tokio::sync::oneshot::channel();
        state.sleepers.push((deadline, wake));
        Box::pin(async move {
            let _woken_or_forever = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_in_the_past_does_not_wait() {
        let clock = SystemClock::shared();
        clock.sleep_until(MonoTime::default()).await;
        assert!(clock.now().wall > Timestamp(1_600_000_000_000));
    }
}
