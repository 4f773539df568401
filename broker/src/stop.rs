//! The signal that a broker stops.
//!
//! Owns: one flag that turns true once, and waiting for it. Never: what stops, or in which order.

use tokio::sync::watch;

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
}
