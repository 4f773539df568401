//! The same cluster for code without an async runtime.
//!
//! Owns: waiting on the caller's thread instead of in a future. Never: behaves otherwise than the async
//! form.

use std::collections::BTreeMap;
use std::path::Path;

use crate::builder::{Builder, Plan};
use crate::client::TestRecord;
use crate::error::HarnessError;

/// One broker or several in this process; dropping it ends them at once. See [`crate::TestCluster`].
#[derive(Debug)]
pub struct TestCluster(crate::TestCluster);

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

    pub(crate) fn launch(plan: Plan) -> Result<Self, HarnessError> {
        wait(crate::TestCluster::launch(plan)).map(Self)
    }

    /// What a client takes as its bootstrap servers: `127.0.0.1:PORT`, one for each broker.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        self.0.bootstrap()
    }

    /// The settings a librdkafka or Java client needs, by their names there.
    #[must_use]
    pub fn client_config(&self) -> BTreeMap<String, String> {
        self.0.client_config()
    }

    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.0.cluster_id()
    }

    /// Where health and metrics are served, when `ottla.http.listener` was set.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.0.http_address()
    }

    /// The temporary directory of a cluster on disk.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.0.data_dir()
    }

    /// Stops the brokers cleanly and starts them on the same data and ports.
    ///
    /// # Errors
    /// Whatever keeps a broker from starting.
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        wait(self.0.restart())
    }

    /// As [`Self::restart`], with something done to the data between stop and start. After a start
    /// that failed it may be tried again.
    ///
    /// # Errors
    /// Whatever keeps a broker from starting.
    pub fn stop_for(&mut self, meanwhile: impl FnOnce()) -> Result<(), HarnessError> {
        self.0.stop_all();
        meanwhile();
        wait(self.0.start_all())
    }

    /// Waits until the first broker ends by itself, because its disks failed, and gives its reason.
    ///
    /// # Errors
    /// When it was ended in another way.
    pub fn halted(&self) -> Result<String, HarnessError> {
        wait(self.0.halted())
    }

    /// See [`crate::TestCluster::kill`].
    pub fn kill(&mut self, node: i32) {
        self.0.kill(node);
    }

    /// See [`crate::TestCluster::start_node`].
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub fn start_node(&mut self, node: i32) -> Result<(), HarnessError> {
        wait(self.0.start_node(node))
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
        wait(self.0.produce(topic, partition, records))
    }

    /// All committed records of a topic, partition by partition in the order of their offsets.
    ///
    /// # Errors
    /// The broker's error code.
    pub fn records(&self, topic: &str) -> Result<Vec<TestRecord>, HarnessError> {
        wait(self.0.records(topic))
    }

    /// Answers what was accepted and closes the logs, then ends; a drop does neither.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Runs one exchange on the caller's thread; the brokers have threads of their own.
fn wait<T>(exchange: impl Future<Output = Result<T, HarnessError>>) -> Result<T, HarnessError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(exchange)
}
