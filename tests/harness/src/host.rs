//! One broker on a thread of its own.
//!
//! Owns: the thread and its runtime, so that a test that blocks its own thread (as C clients do)
//! can't starve the broker. Never: outlives its `Host`.
//! Invariant: when `end` returns, the broker's tasks, threads and sockets are gone.

use std::thread::JoinHandle;

use ottla_broker::{Broker, BrokerOptions};
use tokio::sync::{oneshot, watch};

use crate::error::HarnessError;

/// What a started broker tells about itself.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) bootstrap: String,
    pub(crate) cluster_id: String,
    pub(crate) http: Option<String>,
}

/// How a broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As SIGTERM: what was accepted is answered, logs are flushed and closed.
    Clean,
    /// At once, without a flush.
    Abrupt,
}

#[derive(Debug)]
pub(crate) struct Host {
    end: Option<oneshot::Sender<End>>,
    halted: watch::Receiver<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts the thread; `ready` is called on it once, with the outcome.
    pub(crate) fn spawn(
        options: BrokerOptions,
        ready: impl FnOnce(Result<Started, HarnessError>) + Send + 'static,
    ) -> Result<Self, HarnessError> {
        let (end, ended) = oneshot::channel();
        let (halt, halted) = watch::channel(None);
        // One worker beside the thread itself: no more idle threads than a test can afford.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread =
            std::thread::Builder::new().name("ottla-test".to_owned()).spawn(move || {
                let reason = runtime.block_on(serve(options, ready, ended));
                // Its sockets are closed with the runtime: whoever is told finds nobody there.
                drop(runtime);
                // Nobody may wait for it.
                let _unheard = halt.send(reason);
            })?;
        Ok(Self { end: Some(end), halted, thread: Some(thread) })
    }

    /// Completes when the broker ended by itself, with its reason; `None` when it was ended.
    pub(crate) async fn halted(&self) -> Option<String> {
        let mut halted = self.halted.clone();
        halted.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Ends the broker and waits until it is gone.
    pub(crate) fn end(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            // An error means that the thread has ended by itself, because the start failed.
            let _gone = end.send(how);
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the broker's thread was printed there and must not hide the test's own.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end(End::Abrupt);
    }
}

/// Runs a broker to its end; gives the reason when it ended by itself.
async fn serve(
    options: BrokerOptions,
    ready: impl FnOnce(Result<Started, HarnessError>),
    mut ended: oneshot::Receiver<End>,
) -> Option<String> {
    // A broker of several waits for the others as it starts, and may be ended meanwhile.
    let broker = tokio::select! {
        started = Broker::start(options) => match started {
            Ok(broker) => broker,
            Err(error) => {
                ready(Err(error.into()));
                return None;
            }
        },
        _ = &mut ended => return None,
    };
    let started = Started {
        bootstrap: broker.bootstrap(),
        cluster_id: broker.cluster_id(),
        http: broker.http_address().map(|address| address.to_string()),
    };
    ready(Ok(started));
    tokio::select! {
        biased;
        how = ended => {
            if let Ok(End::Clean) = how {
                broker.shutdown().await;
            }
            None
        }
        // As the process would end: at once.
        reason = broker.halted() => Some(reason),
    }
}
