//! A running cluster, for async tests.
//!
//! Owns: the host thread, the temporary directory and what a client needs to know. Never: looks
//! inside the broker; everything goes over the socket.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_broker::BrokerOptions;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::builder::{Builder, Plan};
use crate::client::{self, TestRecord};
use crate::error::HarnessError;
use crate::host::{End, Host, Started};

/// One broker in this process; dropping it ends it at once.
#[derive(Debug)]
pub struct TestCluster {
    // Dropped in this order: the broker must be gone before its directory goes.
    host: Host,
    pub(crate) state: State,
}

/// What a cluster knows between two starts.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: BrokerOptions,
    pub(crate) started: Started,
    temporary: Option<TempDir>,
}

impl State {
    pub(crate) fn new(plan: Plan, started: Started) -> Self {
        Self { options: plan.options, started, temporary: plan.temporary }
    }

    /// The options for a start after the first one: the same port, and other random values.
    pub(crate) fn again(&self) -> BrokerOptions {
        let mut options = self.options.clone();
        let listener = format!("PLAINTEXT://{}", self.started.bootstrap);
        options.config.static_values.insert("listeners".to_owned(), listener);
        options.seed = options.seed.map(|seed| seed.wrapping_add(1));
        options
    }

    pub(crate) fn client_config(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("bootstrap.servers".to_owned(), self.started.bootstrap.clone())])
    }

    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.temporary.as_ref().map(TempDir::path)
    }
}

impl Drop for State {
    /// After a panic the data is evidence.
    fn drop(&mut self) {
        if let (Some(directory), true) = (self.temporary.take(), std::thread::panicking()) {
            let path = directory.keep();
            report(&format!("the broker's data stays in {}", path.display()));
        }
    }
}

#[allow(clippy::print_stderr, reason = "a panicking test has no other way to say where to look")]
fn report(line: &str) {
    eprintln!("ottla-harness: {line}");
}

impl TestCluster {
    /// One broker in memory, on a free port of 127.0.0.1, ready to be used.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub async fn start() -> Result<Self, HarnessError> {
        Self::builder().start().await
    }

    /// To say more: topics, settings, disk, seed.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) async fn launch(mut plan: Plan) -> Result<Self, HarnessError> {
        let topics = std::mem::take(&mut plan.topics);
        let (tell, told) = oneshot::channel();
        let ready = move |outcome| drop(tell.send(outcome));
        let host = Host::spawn(plan.options.clone(), topics, ready)?;
        let started = told.await.map_err(|_| HarnessError::Gone)??;
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

    /// Stops the broker cleanly and starts it on the same data and port; clients reconnect by
    /// themselves. Memory logs stay, too.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        self.host.end(End::Clean);
        let (tell, told) = oneshot::channel();
        let ready = move |outcome| drop(tell.send(outcome));
        self.host = Host::spawn(self.state.again(), Vec::new(), ready)?;
        self.state.started = told.await.map_err(|_| HarnessError::Gone)??;
        Ok(())
    }

    /// Waits until the broker ends by itself, because its disks failed, and gives its reason.
    ///
    /// # Errors
    /// When it was ended in another way.
    pub async fn halted(&self) -> Result<String, HarnessError> {
        self.host.halted().await.ok_or(HarnessError::Gone)
    }

    /// Appends records (key and value) to one partition with acks=all; the first one's offset.
    ///
    /// # Errors
    /// The broker's error code.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[(&[u8], &[u8])],
    ) -> Result<i64, HarnessError> {
        client::produce(self.bootstrap(), (topic, partition), records).await
    }

    /// All committed records of a topic, partition by partition in the order of their offsets.
    ///
    /// # Errors
    /// The broker's error code.
    pub async fn records(&self, topic: &str) -> Result<Vec<TestRecord>, HarnessError> {
        client::records(self.bootstrap(), topic).await
    }

    /// Answers what was accepted and closes the logs, then ends; a drop does neither.
    pub fn stop(mut self) {
        self.host.end(End::Clean);
    }
}
