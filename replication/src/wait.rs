//! Waiting for partitions without a task per wait.
//!
//! Owns: [`Countdown`], which an acks=all produce waits on, and [`Watch`], which a fetch waits on.
//! Never: deadlines (the caller races these futures against its clock), or what was awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Completes when everything that was added to it is done: one per request, shared by all the
/// partitions that the request appended to.
#[derive(Debug)]
pub struct Countdown {
    remaining: AtomicI64,
    waker: Mutex<Option<Waker>>,
}

impl Countdown {
    /// Starts with one hold, which the creator releases by [`Self::done`] when all is registered.
    #[must_use]
    pub fn held() -> Arc<Self> {
        Arc::new(Self { remaining: AtomicI64::new(1), waker: Mutex::new(None) })
    }

    pub fn add(&self) {
        self.remaining.fetch_add(1, Ordering::Relaxed);
    }

    /// One of the awaited things is done, well or badly.
    pub fn done(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        self.remaining.load(Ordering::Acquire) <= 0
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

/// Fires when enough bytes became readable on any of the partitions that it is registered with.
#[derive(Debug)]
pub struct Watch {
    /// Bytes still missing; fired at zero and below.
    missing: AtomicI64,
    waker: Mutex<Option<Waker>>,
}

impl Watch {
    /// Fires after `bytes` (at least one) more bytes became readable.
    #[must_use]
    pub fn for_bytes(bytes: u64) -> Arc<Self> {
        let missing = i64::try_from(bytes.max(1)).unwrap_or(i64::MAX);
        Arc::new(Self { missing: AtomicI64::new(missing), waker: Mutex::new(None) })
    }

    /// Counts `bytes`; true once the watch has fired and need not be told again.
    pub fn credit(&self, bytes: u64) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.missing.fetch_sub(bytes, Ordering::AcqRel);
        if before > bytes {
            return false;
        }
        self.wake();
        true
    }

    /// Fires whatever the count: the partition changed in another way.
    pub fn fire(&self) {
        self.missing.store(0, Ordering::Release);
        self.wake();
    }

    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.missing.load(Ordering::Acquire) <= 0
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

/// The future of a [`Countdown`] or a [`Watch`].
#[derive(Debug)]
pub struct Waiting<T>(pub Arc<T>);

macro_rules! impl_waiting {
    ($type:ty, $ready:ident) => {
        impl Future for Waiting<$type> {
            type Output = ();

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                if self.0.$ready() {
                    return Poll::Ready(());
                }
                *self.0.waker.lock() = Some(cx.waker().clone());
                // Again, because it may have become ready before the waker stood there.
                if self.0.$ready() { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    };
}

impl_waiting!(Countdown, is_done);
impl_waiting!(Watch, has_fired);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_waits_for_all() {
        let countdown = Countdown::held();
        countdown.add();
        countdown.done();
        assert!(!countdown.is_done(), "one is still to come");
        countdown.done();
        assert!(countdown.is_done());
    }

    #[test]
    fn a_watch_fires_at_its_bytes() {
        let watch = Watch::for_bytes(100);
        assert!(!watch.credit(99));
        assert!(!watch.has_fired());
        assert!(watch.credit(1));
        assert!(watch.has_fired());
    }

    #[tokio::test]
    async fn waiting_ends_when_another_thread_completes_it() {
        let countdown = Countdown::held();
        let other = Arc::clone(&countdown);
        let thread = std::thread::spawn(move || other.done());
        Waiting(countdown).await;
        thread.join().expect("thread ends");
    }
}
