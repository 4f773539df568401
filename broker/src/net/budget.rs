//! The byte budget that all connections of a broker share.
//!
//! Owns: how many bytes of request frames may be in memory at once. Never: who is refused; a
//! connection that finds no room stops reading, so the pressure reaches the client through TCP.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit stands for this many bytes, so that the semaphore's 32-bit counts reach far enough.
const GRAIN: usize = 1024;

/// A pool of bytes. Cloning shares the pool.
#[derive(Clone, Debug)]
pub(crate) struct ByteBudget {
    permits: Arc<Semaphore>,
    capacity: u32,
}

/// Bytes taken from the pool; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation(
    #[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl ByteBudget {
    #[must_use]
    pub(crate) fn new(bytes: usize) -> Self {
        let capacity = u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX >> 4).max(1);
        Self { permits: Arc::new(Semaphore::new(capacity as usize)), capacity }
    }

    /// A frame larger than the whole pool takes all of it, so that it can still be served alone.
    fn grains(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX).min(self.capacity)
    }

    /// Takes `bytes` if they are there now.
    #[must_use]
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Reservation> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.grains(bytes)).ok().map(Reservation)
    }

    /// Waits, in turn, until `bytes` are there.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Reservation> {
        let permits = Arc::clone(&self.permits);
        permits.acquire_many_owned(self.grains(bytes)).await.ok().map(Reservation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_refuses_until_bytes_come_back() {
        let budget = ByteBudget::new(10 * GRAIN);
        let held = budget.try_take(9 * GRAIN).expect("room for nine");
        assert!(budget.try_take(2 * GRAIN).is_none());
        drop(held);
        assert!(budget.try_take(2 * GRAIN).is_some());
    }

    #[test]
    fn a_frame_larger_than_the_pool_is_served_alone() {
        let budget = ByteBudget::new(4 * GRAIN);
        let held = budget.try_take(100 * GRAIN).expect("takes all of it");
        assert!(budget.try_take(1).is_none());
        drop(held);
    }
}
