//! A small Kafka client: connections to the brokers of one cluster, with retries.
//!
//! Owns: bootstrap, the connection pool, routing of a request to any broker, one broker, the
//! controller or a group's coordinator, and the overall patience. Never: knows commands or output.
//! Invariant: every request ends by the deadline that `ClientOptions::patience` sets.

pub(crate) mod admin;
pub(crate) mod configs;
pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod fetcher;
pub(crate) mod groups;
pub(crate) mod member;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod partitioner;
pub(crate) mod producer;
pub(crate) mod records;
pub(crate) mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_protocol::error_code::ErrorCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use connection::Connection;
use error::{Attempt, ClientError};
use metadata::ClusterView;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long a topic may take to appear after it was asked for.
const CREATION_PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How to reach the cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClientOptions {
    /// `host:port` of brokers to ask first.
    pub(crate) bootstrap: Vec<String>,
    pub(crate) client_id: String,
    /// How long one operation may take, with its retries.
    pub(crate) patience: Duration,
    /// How long one attempt to connect may take.
    pub(crate) dial_patience: Duration,
}

type Shared = Arc<Mutex<Connection>>;

/// What a connection is used for; a long poll must not hold up another kind of request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lane {
    Requests,
    Fetch,
    Group,
}

#[derive(Debug)]
pub(crate) struct Client {
    options: ClientOptions,
    /// Where brokers are, as the last metadata had it.
    brokers: parking::Brokers,
    pool: Mutex<BTreeMap<(Lane, i32), Shared>>,
    bootstrap: Mutex<Option<Shared>>,
}

mod parking {
    //! The addresses of brokers, behind a lock that is never held across an await.

    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    #[derive(Debug, Default)]
    pub(crate) struct Brokers(Mutex<BTreeMap<i32, String>>);

    impl Brokers {
        pub(crate) fn address(&self, id: i32) -> Option<String> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
        }

        pub(crate) fn replace(&self, brokers: BTreeMap<i32, String>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = brokers;
        }
    }
}

impl Client {
    /// Connects to the first bootstrap server that answers and reads the list of brokers.
    pub(crate) async fn connect(options: ClientOptions) -> Result<Arc<Self>, ClientError> {
        let client = Arc::new(Self {
            options,
            brokers: parking::Brokers::default(),
            pool: Mutex::default(),
            bootstrap: Mutex::default(),
        });
        client.metadata(Some(&[])).await?;
        Ok(client)
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline { at: Instant::now() + self.options.patience, pause: FIRST_PAUSE }
    }

    /// The cluster's brokers and `topics` (`None`: every topic), as one broker sees them.
    pub(crate) async fn metadata(
        &self,
        topics: Option<&[&str]>,
    ) -> Result<ClusterView, ClientError> {
        let response =
            self.any::<MetadataRequest>(|version| metadata::request(topics, version)).await?;
        let view = ClusterView::from_response(response);
        self.brokers
            .replace(view.brokers.iter().map(|broker| (broker.id, broker.address())).collect());
        Ok(view)
    }

    /// Waits a moment until every one of these new topics can be used: a broker may answer before its
    /// own view of the cluster has a topic. A topic that takes longer is no failure.
    pub(crate) async fn await_topics(&self, names: &[&str]) -> Result<(), ClientError> {
        let mut pauses = Deadline { at: Instant::now() + CREATION_PATIENCE, pause: FIRST_PAUSE };
        loop {
            let view = self.metadata(Some(names)).await?;
            let is_there = |name: &&str| {
                view.topic(name).is_some_and(|topic| {
                    let led = topic.partitions.iter().all(|partition| partition.leader >= 0);
                    topic.error.is_none() && led && !topic.partitions.is_empty()
                })
            };
            if names.iter().all(is_there) || !pauses.pause().await {
                return Ok(());
            }
        }
    }

    /// A topic that is about to be written to: brokers with `auto.create.topics.enable` create it
    /// now, and are given a moment for it. `None`: it does not come to exist.
    pub(crate) async fn topic_for_produce(
        &self,
        name: &str,
    ) -> Result<Option<metadata::TopicView>, ClientError> {
        let mut pauses = Deadline { at: Instant::now() + CREATION_PATIENCE, pause: FIRST_PAUSE };
        loop {
            let response = self
                .any::<MetadataRequest>(|version| {
                    let request = metadata::request(Some(&[name]), version);
                    if version >= 4 {
                        request.with_allow_auto_topic_creation(true)
                    } else {
                        request
                    }
                })
                .await?;
            let view = ClusterView::from_response(response);
            let topic = view.topics.into_iter().next().unwrap_or_default();
            if topic.error.is_none() && !topic.partitions.is_empty() {
                return Ok(Some(topic));
            }
            if !topic.error.is_none() && !topic.error.retriable() {
                return Err(ClientError::refused(format!("topic {name}"), topic.error));
            }
            if !pauses.pause().await {
                return Ok(None);
            }
        }
    }

    /// Sends a request to whichever broker answers.
    pub(crate) async fn any<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let mut deadline = self.deadline();
        loop {
            let attempt = async {
                let shared = self.bootstrap_connection().await?;
                call(&shared, &build, deadline.left()).await
            };
            match attempt.await {
                Err(error @ (ClientError::Unreachable(_) | ClientError::Closed { .. })) => {
                    // A first connection that fails is reported at once: waiting would only hide
                    // a wrong address.
                    if matches!(error, ClientError::Unreachable(_)) || !deadline.pause().await {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    /// Sends a request to broker `id`.
    pub(crate) async fn broker<R: Request>(
        &self,
        id: i32,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.broker_in(Lane::Requests, id, build, self.options.patience).await
    }

    /// The same on the connection of `lane`, with a patience of its own.
    pub(crate) async fn broker_in<R: Request>(
        &self,
        lane: Lane,
        id: i32,
        build: impl Fn(i16) -> R,
        patience: Duration,
    ) -> Result<R::Response, ClientError> {
        let shared = self.connection(lane, id).await?;
        call(&shared, &build, patience).await
    }

    /// The pooled connection to broker `id`, opened when there is none.
    pub(crate) async fn connection(&self, lane: Lane, id: i32) -> Result<Shared, ClientError> {
        let known = self.pool.lock().await.get(&(lane, id)).cloned();
        if let Some(shared) = known
            && !shared.lock().await.broken()
        {
            return Ok(shared);
        }
        let address = self.address(id)?;
        let shared = Arc::new(Mutex::new(self.open(&address).await?));
        self.pool.lock().await.insert((lane, id), Arc::clone(&shared));
        Ok(shared)
    }

    /// The broker that coordinates `group`, waiting until there is one.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<i32, ClientError> {
        let mut deadline = self.deadline();
        loop {
            let response = self
                .any::<FindCoordinatorRequest>(|version| {
                    let key = StrBytes::from_string(group.to_owned());
                    let request = FindCoordinatorRequest::default();
                    if version >= 4 {
                        request.with_coordinator_keys(vec![key])
                    } else {
                        request.with_key(key)
                    }
                })
                .await?;
            let (code, node) = match response.coordinators.first() {
                Some(found) => (found.error_code, found.node_id.0),
                None => (response.error_code, response.node_id.0),
            };
            let code = ErrorCode::from_code(code);
            if code.is_none() {
                if self.brokers.address(node).is_none() {
                    self.metadata(Some(&[])).await?;
                }
                return Ok(node);
            }
            if !code.retriable() || !deadline.pause().await {
                return Err(ClientError::refused(
                    format!("the coordinator of group {group}"),
                    code,
                ));
            }
        }
    }

    /// Where broker `id` is.
    pub(crate) fn address(&self, id: i32) -> Result<String, ClientError> {
        self.brokers.address(id).ok_or(ClientError::NoSuchBroker(id))
    }

    pub(crate) async fn open(&self, address: &str) -> Result<Connection, ClientError> {
        Connection::open(address, &self.options.client_id, self.options.dial_patience).await
    }

    async fn bootstrap_connection(&self) -> Result<Shared, ClientError> {
        let mut slot = self.bootstrap.lock().await;
        if let Some(shared) = slot.as_ref()
            && !shared.lock().await.broken()
        {
            return Ok(Arc::clone(shared));
        }
        let mut attempts = Vec::new();
        for address in &self.options.bootstrap {
            match self.open(address).await {
                Ok(connection) => {
                    let shared = Arc::new(Mutex::new(connection));
                    *slot = Some(Arc::clone(&shared));
                    return Ok(shared);
                }
                Err(ClientError::Unreachable(mut causes)) => attempts.append(&mut causes),
                Err(other) if self.options.bootstrap.len() == 1 => return Err(other),
                Err(other) => {
                    attempts.push(Attempt { address: address.clone(), cause: other.to_string() });
                }
            }
        }
        Err(ClientError::Unreachable(attempts))
    }
}

async fn call<R: Request>(
    shared: &Mutex<Connection>,
    build: &impl Fn(i16) -> R,
    patience: Duration,
) -> Result<R::Response, ClientError> {
    let mut connection = shared.lock().await;
    let version = connection.version_of::<R>()?;
    connection.call(version, &build(version), patience).await
}

/// The end of an operation's patience, and the growing pauses between its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    pause: Duration,
}

impl Deadline {
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Waits before the next attempt; false when there is no time for another.
    pub(crate) async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause >= self.at {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// A string for a request's field.
pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
