//! A running cluster, for async tests.
//!
//! Owns: the brokers, the temporary directory and what a client needs to know. Never: looks inside a
//! broker; everything goes over the socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_broker::BrokerOptions;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::builder::{Builder, Plan};
use crate::client::{self, TestRecord};
use crate::error::HarnessError;
use crate::host::{End, Host, Started};
use crate::topics;

/// One broker or several in this process; dropping it ends them at once.
#[derive(Debug)]
pub struct TestCluster {
    // Dropped in this order: the brokers must be gone before their directories go.
    nodes: Vec<Node>,
    bootstrap: String,
    data: Data,
}

/// One broker, running or not.
#[derive(Debug)]
struct Node {
    host: Option<Host>,
    options: BrokerOptions,
    started: Started,
}

/// Where the data is, if it is on a disk.
#[derive(Debug)]
struct Data(Option<TempDir>);

impl Drop for Data {
    /// After a panic the data is evidence.
    fn drop(&mut self) {
        if let (Some(directory), true) = (self.0.take(), std::thread::panicking()) {
            let path = directory.keep();
            report(&format!("the broker's data stays in {}", path.display()));
        }
    }
}

#[allow(clippy::print_stderr, reason = "a panicking test has no other way to say where to look")]
fn report(line: &str) {
    eprintln!("ottla-harness: {line}");
}

type Ready = oneshot::Receiver<Result<Started, HarnessError>>;

impl Node {
    fn spawn(options: &BrokerOptions) -> Result<(Host, Ready), HarnessError> {
        let (tell, told) = oneshot::channel();
        let ready = move |outcome| drop(tell.send(outcome));
        Ok((Host::spawn(options.clone(), ready)?, told))
    }

    /// The options for a start after the first one: the same port, and other random values.
    fn again(&self) -> BrokerOptions {
        let mut options = self.options.clone();
        let values = &mut options.config.static_values;
        // Clients come back to the port that they know.
        let listeners = values.get("listeners").map_or("", String::as_str);
        let listeners: Vec<String> = listeners
            .split(',')
            .map(|of| match of.starts_with("PLAINTEXT://") && !self.started.bootstrap.is_empty() {
                true => format!("PLAINTEXT://{}", self.started.bootstrap),
                false => of.to_owned(),
            })
            .collect();
        values.insert("listeners".to_owned(), listeners.join(","));
        options.seed = options.seed.map(|seed| seed.wrapping_add(1));
        options
    }

    fn end(&mut self, how: End) {
        if let Some(mut host) = self.host.take() {
            host.end(how);
        }
    }
}

impl TestCluster {
    /// One broker in memory, on a free port of 127.0.0.1, ready to be used.
    ///
    /// # Errors
    /// Whatever keeps the broker from starting.
    pub async fn start() -> Result<Self, HarnessError> {
        Self::builder().start().await
    }

    /// To say more: brokers, topics, settings, disk, seed.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) async fn launch(plan: Plan) -> Result<Self, HarnessError> {
        let Plan { options, topics, temporary } = plan;
        let data = Data(temporary);
        // All at once: brokers that form a cluster wait for each other.
        let spawned = options.iter().map(Node::spawn).collect::<Result<Vec<_>, _>>()?;
        let mut nodes = Vec::with_capacity(spawned.len());
        for ((host, ready), options) in spawned.into_iter().zip(options) {
            let started = ready.await.map_err(|_| HarnessError::Gone)??;
            nodes.push(Node { host: Some(host), options, started });
        }
        let all: Vec<&str> = nodes.iter().map(|node| &*node.started.bootstrap).collect();
        let cluster = Self { bootstrap: all.join(","), nodes, data };
        topics::create(cluster.address_of(1), &topics).await?;
        Ok(cluster)
    }

    /// What a client takes as its bootstrap servers: `127.0.0.1:PORT`, one for each broker.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The address of one broker, by its node id: 1 and up.
    ///
    /// # Panics
    /// There is no such broker.
    #[must_use]
    pub fn address_of(&self, node: i32) -> &str {
        &self.node(node).started.bootstrap
    }

    /// The ids of the brokers that run.
    #[must_use]
    pub fn running(&self) -> Vec<i32> {
        (1..).zip(&self.nodes).filter(|(_, node)| node.host.is_some()).map(|(id, _)| id).collect()
    }

    fn node(&self, node: i32) -> &Node {
        let at = usize::try_from(node - 1).unwrap_or(usize::MAX);
        self.nodes.get(at).unwrap_or_else(|| panic!("there is no broker {node}"))
    }

    fn node_mut(&mut self, node: i32) -> &mut Node {
        let at = usize::try_from(node - 1).unwrap_or(usize::MAX);
        self.nodes.get_mut(at).unwrap_or_else(|| panic!("there is no broker {node}"))
    }

    /// The settings a librdkafka or Java client needs, by their names there.
    #[must_use]
    pub fn client_config(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("bootstrap.servers".to_owned(), self.bootstrap.clone())])
    }

    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.node(1).started.cluster_id
    }

    /// Where health and metrics of the first broker are served, when `ottla.http.listener` was set.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.http_address_of(1)
    }

    /// The same of any broker.
    #[must_use]
    pub fn http_address_of(&self, node: i32) -> Option<&str> {
        self.node(node).started.http.as_deref()
    }

    /// The temporary directory of a cluster on disk. Of several brokers each has a folder in it.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.data.0.as_ref().map(TempDir::path)
    }

    /// The log directory of one broker.
    #[must_use]
    pub fn data_dir_of(&self, node: i32) -> PathBuf {
        let values = &self.node(node).options.config.static_values;
        values.get("log.dirs").map(PathBuf::from).unwrap_or_default()
    }

    /// A static setting of one broker.
    #[must_use]
    pub fn config_of(&self, node: i32, key: &str) -> Option<String> {
        self.node(node).options.config.static_values.get(key).cloned()
    }

    /// Stops all brokers cleanly and starts them on the same data and ports; clients reconnect by
    /// themselves. Memory logs stay, too.
    ///
    /// # Errors
    /// Whatever keeps a broker from starting.
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        self.stop_all();
        self.start_all().await
    }

    /// Stops all brokers cleanly.
    pub fn stop_all(&mut self) {
        for node in &mut self.nodes {
            node.end(End::Clean);
        }
    }

    /// Waits until the first broker ends by itself, because its disks failed, and gives its reason.
    ///
    /// # Errors
    /// When it was ended in another way.
    pub async fn halted(&self) -> Result<String, HarnessError> {
        let host = self.node(1).host.as_ref().ok_or(HarnessError::Gone)?;
        host.halted().await.ok_or(HarnessError::Gone)
    }

    /// Ends a broker at once, as kill -9 does: nothing is flushed, nobody is told.
    pub fn kill(&mut self, node: i32) {
        self.node_mut(node).end(End::Abrupt);
    }

    /// Ends a broker as SIGTERM does: it hands over and drains.
    pub fn stop_node(&mut self, node: i32) {
        self.node_mut(node).end(End::Clean);
    }

    /// Starts a broker that was ended, on the same data and ports, and waits until it serves.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start_node(&mut self, node: i32) -> Result<(), HarnessError> {
        let of = self.node_mut(node);
        of.end(End::Abrupt);
        let (host, ready) = Node::spawn(&of.again())?;
        of.host = Some(host);
        of.started = ready.await.map_err(|_| HarnessError::Gone)??;
        Ok(())
    }

    /// Starts every broker that was ended, side by side.
    ///
    /// # Errors
    /// Whatever keeps one from starting.
    pub async fn start_all(&mut self) -> Result<(), HarnessError> {
        let mut starting = Vec::new();
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(_, of)| of.host.is_none()) {
            let (host, ready) = Node::spawn(&node.again())?;
            node.host = Some(host);
            starting.push((at, ready));
        }
        for (at, ready) in starting {
            match ready.await.map_err(|_| HarnessError::Gone)? {
                Ok(started) => self.nodes[at].started = started,
                Err(error) => {
                    // It may be tried again.
                    self.nodes[at].end(End::Abrupt);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The node that leads a partition, as the running brokers say; waits until there is one.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<i32, HarnessError> {
        let any = self.any_running();
        Ok(client::leader(any, topic, partition).await?.0)
    }

    /// The node that is the active controller.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn controller(&self) -> Result<i32, HarnessError> {
        client::controller(self.any_running()).await
    }

    fn any_running(&self) -> &str {
        let running = self.nodes.iter().find(|node| node.host.is_some());
        running.map_or("", |node| &node.started.bootstrap)
    }

    /// Appends records (key and value) to one partition with acks=all; the first one's offset. Of several
    /// brokers, the partition's leader is asked, and found anew where it has moved: the records may then
    /// stand in the log twice.
    ///
    /// # Errors
    /// The broker's error code.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[(&[u8], &[u8])],
    ) -> Result<i64, HarnessError> {
        if self.nodes.len() == 1 {
            return client::produce(self.address_of(1), (topic, partition), records).await;
        }
        client::produce_to_leader(self.any_running(), (topic, partition), records).await
    }

    /// All committed records of a topic, partition by partition in the order of their offsets.
    ///
    /// # Errors
    /// The broker's error code.
    pub async fn records(&self, topic: &str) -> Result<Vec<TestRecord>, HarnessError> {
        client::records(self.any_running(), topic).await
    }

    /// Answers what was accepted and closes the logs, then ends; a drop does neither.
    pub fn stop(mut self) {
        for node in &mut self.nodes {
            node.end(End::Clean);
        }
    }
}
