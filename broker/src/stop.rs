//! The signal that a broker stops.
//!
//! Owns: one flag that turns true once, waiting for it, and pauses that it ends. Never: what stops, or in
//! which order.

use std::ops::ControlFlow;
use std::time::Duration;

use ottla_protocol::model::MonoTime;
use tokio::sync::watch;

use crate::clock::Clock;

/// Says it.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

/// Hears it; clones hear the same.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new() -> (Self, Stopping) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stopping(receiver))
    }

    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Completes when the broker stops, or when nobody is left who could say so.
    pub(crate) async fn stopped(&mut self) {
        let _said_or_gone = self.0.wait_for(|stop| *stop).await;
    }

    /// Waits between two rounds of work; `Break` as soon as the broker stops.
    pub(crate) async fn pause(&mut self, clock: &Clock, span: Duration) -> ControlFlow<()> {
        self.pause_until(clock, clock.now().mono.plus(span)).await
    }

    /// As [`Self::pause`], up to a moment.
    pub(crate) async fn pause_until(&mut self, clock: &Clock, moment: MonoTime) -> ControlFlow<()> {
        tokio::select! {
            biased;
            () = self.stopped() => ControlFlow::Break(()),
            () = clock.sleep_until(moment) => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_pause_ends_in_time_or_with_the_broker() {
        let manual = Arc::new(ManualClock::default());
        let clock: Clock = manual.clone();
        let (stop, mut stopping) = Stop::new();
        {
            let mut pause = std::pin::pin!(stopping.pause(&clock, Duration::from_secs(5)));
            assert!(futures_util::poll!(&mut pause).is_pending());
            manual.advance(Duration::from_secs(5));
            assert_eq!(pause.await, ControlFlow::Continue(()));
        }
        stop.now();
        assert_eq!(stopping.pause(&clock, Duration::from_secs(5)).await, ControlFlow::Break(()));
        assert_eq!(
            stopping.pause(&clock, Duration::ZERO).await,
            ControlFlow::Break(()),
            "even then"
        );
    }
}
