//! Time and wall clocks of a run.
//!
//! Owns: simulated time outside hosts, clocks of hosts that jump. Never: real time.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_broker::clock::{Sleep, TimeSource};
use ottla_protocol::model::{MonoTime, Now, Timestamp};

thread_local! {
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Simulated time where no host runs.
#[must_use]
pub fn elapsed() -> Duration {
    ELAPSED.get()
}

/// Told by the scenario between its steps.
pub fn set_elapsed(elapsed: Duration) {
    ELAPSED.set(elapsed);
}

/// The wall clock that a run begins at.
const WALL_START: i64 = 1_700_000_000_000;

/// How far a host's wall clock is off, in milliseconds; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct WallSkew(Arc<AtomicI64>);

impl WallSkew {
    pub fn jump(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// A host's clocks: simulated time, and a wall clock that may jump.
pub struct HostClock {
    start: tokio::time::Instant,
    skew: WallSkew,
}

impl fmt::Debug for HostClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostClock").field("skew", &self.skew).finish_non_exhaustive()
    }
}

impl HostClock {
    /// The clocks of the host that runs now.
    #[must_use]
    pub fn new(skew: WallSkew) -> Self {
        Self { start: tokio::time::Instant::now(), skew }
    }
}

impl TimeSource for HostClock {
    fn now(&self) -> Now {
        let elapsed = turmoil::sim_elapsed().unwrap_or_else(elapsed);
        let wall = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Now {
            mono: MonoTime::from_start(self.start.elapsed()),
            wall: Timestamp(WALL_START + wall + self.skew.0.load(Ordering::Relaxed)),
        }
    }

    fn sleep_until(&self, deadline: MonoTime) -> Sleep {
        // Beyond a century is never; tokio's clock cannot hold every duration.
        let span = deadline.since_start().min(Duration::from_secs(3_000_000_000));
        Box::pin(tokio::time::sleep_until(self.start + span))
    }
}

static PANICS: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

/// Keeps every panic of the process, in a task or not, as a finding.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.lock().push(info.to_string().replace('\n', " "));
    }));
}

/// The panics so far.
#[must_use]
pub fn panics() -> Vec<crate::check::Violation> {
    let all = std::mem::take(&mut *PANICS.lock());
    all.into_iter().map(|what| crate::check::Violation { check: "panic", what }).collect()
}
