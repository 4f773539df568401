//! The runtime that openraft runs on: tokio's, with smaller channels.
//!
//! Owns: the channels' memory. Never: scheduling.
//!
//! A channel of tokio's has room for 32 messages from its beginning, inside it. openraft makes four for
//! each instance, of messages of a few hundred bytes each, and an idle instance needs none of it. Here a
//! message is in a box of its own while it is on its way.

use std::future::Future;
use std::time::Duration;

use openraft::rt::{
    AsyncRuntime, Mpsc, MpscReceiver, MpscSender, MpscWeakSender, OptionalSend, SendError,
    TryRecvError,
};
use openraft_rt_tokio::TokioRuntime;
use tokio::sync::mpsc;

/// tokio, but for [`SmallMpsc`].
#[derive(Debug)]
pub struct SmallRuntime(TokioRuntime);

impl AsyncRuntime for SmallRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = SmallMpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// A channel of boxes.
#[derive(Debug)]
pub struct SmallMpsc;

#[derive(Debug)]
pub struct SmallSender<T>(mpsc::Sender<Box<T>>);

#[derive(Debug)]
pub struct SmallReceiver<T>(mpsc::Receiver<Box<T>>);

#[derive(Debug)]
pub struct SmallWeakSender<T>(mpsc::WeakSender<Box<T>>);

impl<T> Clone for SmallSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for SmallWeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Mpsc for SmallMpsc {
    type Sender<T: OptionalSend> = SmallSender<T>;
    type Receiver<T: OptionalSend> = SmallReceiver<T>;
    type WeakSender<T: OptionalSend> = SmallWeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(buffer);
        (SmallSender(sender), SmallReceiver(receiver))
    }
}

impl<T: OptionalSend> MpscSender<SmallMpsc, T> for SmallSender<T> {
    async fn send(&self, msg: T) -> Result<(), SendError<T>> {
        self.0.send(Box::new(msg)).await.map_err(|error| SendError(*error.0))
    }

    fn downgrade(&self) -> SmallWeakSender<T> {
        SmallWeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> MpscReceiver<T> for SmallReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.map(|message| *message)
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|message| *message).map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> MpscWeakSender<SmallMpsc, T> for SmallWeakSender<T> {
    fn upgrade(&self) -> Option<SmallSender<T>> {
        self.0.upgrade().map(SmallSender)
    }
}

#[cfg(test)]
mod tests {
    use openraft::rt::testing::Suite;

    use super::*;

    #[test]
    fn openrafts_runtime_suite_passes() {
        Suite::<SmallRuntime>::test_all();
    }
}
