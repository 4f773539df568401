//! The same cluster for code without an async runtime.
//!
//! Owns: waiting with a channel instead of a future. Never: behaves otherwise than the async form.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

use crate::builder::{Builder, Plan};
use crate::client::{self, TestRecord};
use crate::cluster::State;
use crate::error::HarnessError;
use crate::host::{End, Host};

/// One broker in this process; dropping it ends it at once. See [`crate::TestCluster`].
#[derive(Debug)]
pub struct TestCluster {
    host: Host,
    state: State,
}

impl TestCluster {
    /// One broker in memory, on a free port of 127.0.0.1, ready to be used.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub fn start() -> Result<Self, HarnessError> {
        crate::TestCluster::builder().start_blocking()
    }

    /// To say more; end with [`Builder::start_blocking`].
    #[must_use]
    pub fn builder() -> Builder {
        crate::TestCluster::builder()
    }

    pub(crate) fn launch(mut plan: Plan) -> Result<Self, HarnessError> {
        let topics = std::mem::take(&mut plan.topics);
        let (tell, told) = mpsc::channel();
        let ready = move |outcome| drop(tell.send(outcome));
        let host = Host::spawn(plan.options.clone(), topics, ready)?;
        let started = told.recv().map_err(|_| HarnessError::Gone)??;
        Ok(Self { host, state: State::new(plan, started) })
    }

    /// What a client takes as its bootstrap server: `127.0.0.1:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.state.started.bootstrap
    }

    /// The settings a librdkafka or Java client needs, by their names there.
    #[must_use]
    pub fn client_config(&self) -> BTreeMap<String, String> {
        self.state.client_config()
    }

    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.state.started.cluster_id
    }

    /// Where health and metrics are served, when `ottla.http.listener` was set.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.state.started.http.as_deref()
    }

    /// The temporary directory of a cluster on disk.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.state.data_dir()
    }

    /// Stops the broker cleanly and starts it on the same data and port.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.stop_for(|| {})
    }

    /// As [`Self::restart`], with something done to the data between stop and start. After a start
    /// that failed it may be tried again.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub fn stop_for(&mut self, meanwhile: impl FnOnce()) -> Result<(), HarnessError> {
        self.host.end(End::Clean);
        meanwhile();
        let (tell, told) = mpsc::channel();
        let ready = move |outcome| drop(tell.send(outcome));
        self.host = Host::spawn(self.state.again(), Vec::new(), ready)?;
        self.state.started = told.recv().map_err(|_| HarnessError::Gone)??;
        Ok(())
    }

    /// Waits until the broker ends by itself, because its disks failed, and gives its reason.
    ///
    /// # Errors
    /// When it was ended in another way.
    pub fn halted(&self) -> Result<String, HarnessError> {
        wait(async { self.host.halted().await.ok_or(HarnessError::Gone) })
    }

    /// Appends records (key and value) to one partition with acks=all; the first one's offset.
    ///
    /// # Errors
    /// The broker's error code.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[(&[u8], &[u8])],
    ) -> Result<i64, HarnessError> {
        wait(client::produce(self.bootstrap(), (topic, partition), records))
    }

    /// All committed records of a topic, partition by partition in the order of their offsets.
    ///
    /// # Errors
    /// The broker's error code.
    pub fn records(&self, topic: &str) -> Result<Vec<TestRecord>, HarnessError> {
        wait(client::records(self.bootstrap(), topic))
    }

    /// Answers what was accepted and closes the logs, then ends; a drop does neither.
    pub fn stop(mut self) {
        self.host.end(End::Clean);
    }
}

/// Runs one exchange on the caller's thread; the broker has a thread of its own.
fn wait<T>(exchange: impl Future<Output = Result<T, HarnessError>>) -> Result<T, HarnessError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(exchange)
}
