//! The configuration of one broker, typed.
//!
//! Owns: the structs that the other crates receive. A dynamic change makes a new `BrokerConfig`
//! from the changed [`ConfigLayers`]; holders swap it as a whole.
//! Never: says where a value came from (see [`crate::loader`] and [`crate::describe`]).
//! Invariant: every field was checked, and the relations of `validate.rs` hold.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::key::Scope;
use crate::layers::{ConfigLayers, Values};
use crate::listener::Listeners;
use crate::quorum::QuorumConfig;
use crate::topic::TopicConfig;
use crate::typed::{Typed, millis_limit};
use crate::units::ByteSize;
use crate::validate;

/// Everything the broker is told.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    pub node: NodeConfig,
    pub listeners: Listeners,
    pub connections: ConnectionsConfig,
    pub http: Option<HttpListener>,
    pub fetch: FetchConfig,
    pub log: LogConfig,
    pub topics: TopicsConfig,
    pub groups: GroupsConfig,
    pub offsets: OffsetsConfig,
    pub transactions: TransactionsConfig,
    effective: Values,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    pub node_id: i32,
    pub rack: Option<String>,
    pub quorum: QuorumConfig,
    /// A broker that was silent for this long is fenced.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// A replica that has not had everything for this long is not in sync.
    pub replica_lag_max: Duration,
    /// Whether brokers move leadership back to preferred replicas, and how often they look.
    pub leader_rebalance: Option<Duration>,
    /// Whether leadership is moved away before a broker stops.
    pub controlled_shutdown: bool,
    pub replica_selector: ReplicaSelector,
}

/// Which replica consumers are sent to (KIP-392).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaSelector {
    #[default]
    Leader,
    /// One in the consumer's rack, where the leader is in another.
    RackAware,
}

/// Limits of sockets and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionsConfig {
    /// Largest request frame.
    pub request_bytes_max: ByteSize,
    /// Memory of requests under way; `None` lets the broker choose.
    pub queued_bytes_max: Option<ByteSize>,
    /// `None` unless it was set: the broker's own default is larger.
    pub listen_backlog: Option<u32>,
    /// `None` unless it was set: the operating system then adapts the buffer to the peer.
    pub receive_buffer: Option<ByteSize>,
    pub send_buffer: Option<ByteSize>,
    pub connections_max: u32,
    pub connections_per_ip_max: u32,
    /// Host name or address to its own limit.
    pub connections_per_ip_overrides: BTreeMap<String, u32>,
    /// Connections accepted in one second.
    pub connection_rate_max: u32,
    /// `None` keeps idle connections.
    pub idle_max: Option<Duration>,
}

/// Where the HTTP port listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// A name or an address without brackets; empty is every interface.
    pub host: String,
    /// 0 is any free port.
    pub port: u16,
}

/// Limits of reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    pub bytes_max: ByteSize,
    pub session_slots_max: u32,
    /// Most partitions in one DescribeTopicPartitions answer.
    pub described_partitions_max: u32,
}

/// Logs on disk and their upkeep. What a topic can override is in [`TopicConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub dirs: Vec<PathBuf>,
    pub retention_check_interval: Duration,
    /// Pause after start before retention first runs.
    pub initial_task_delay: Duration,
    pub recovery_checkpoint_interval: Duration,
    pub start_offset_checkpoint_interval: Duration,
    pub cleaner: CleanerConfig,
    /// How long a silent idempotent producer is remembered.
    pub producer_id_expiration: Duration,
    pub producer_id_expiration_check_interval: Duration,
}

/// Compaction.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    pub enabled: bool,
    pub backoff: Duration,
    pub dedupe_buffer: ByteSize,
    /// Bytes read and written in a second; `f64::MAX` is no limit.
    pub io_bytes_per_second_max: f64,
}

/// The life of topics.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicsConfig {
    pub auto_create: bool,
    pub delete_enabled: bool,
    pub partitions_default: i32,
    pub replication_factor_default: i16,
    /// What a topic without overrides has.
    pub(crate) defaults: TopicConfig,
}

/// Classic consumer groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    pub initial_rebalance_delay: Duration,
    pub session_timeout_min: Duration,
    pub session_timeout_max: Duration,
    pub size_max: u32,
}

/// Committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetsConfig {
    /// How long a group's record may take to be committed.
    pub commit_timeout: Duration,
    pub metadata_bytes_max: ByteSize,
    pub retention: Duration,
    pub retention_check_interval: Duration,
    pub topic_partitions: i32,
    pub topic_replication_factor: i16,
    pub topic_segment_bytes: ByteSize,
}

/// Transactions; not served yet, so nothing but describes read these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionsConfig {
    pub topic_partitions: i32,
    pub topic_replication_factor: i16,
    pub topic_segment_bytes: ByteSize,
}

impl BrokerConfig {
    /// The typed configuration of these layers.
    ///
    /// # Errors
    /// The first value or relation that is refused.
    pub fn from_layers(layers: &ConfigLayers) -> Result<Self, ConfigError> {
        let effective = layers.effective();
        validate::all_values(&effective)?;
        let typed = Typed::new(Scope::Broker, &effective);
        let config = Self {
            node: NodeConfig::from_typed(typed)?,
            listeners: Listeners::from_typed(typed)?,
            connections: ConnectionsConfig::from_typed(typed)?,
            http: HttpListener::parse(&typed.text("ottla.http.listener")?)?,
            fetch: FetchConfig {
                bytes_max: typed.bytes("fetch.max.bytes")?,
                session_slots_max: typed.count("max.incremental.fetch.session.cache.slots")?,
                described_partitions_max: typed.count("max.request.partition.size.limit")?,
            },
            log: LogConfig::from_typed(typed)?,
            topics: TopicsConfig::from_typed(typed, &effective)?,
            groups: GroupsConfig {
                initial_rebalance_delay: typed.millis("group.initial.rebalance.delay.ms")?,
                session_timeout_min: typed.millis("group.min.session.timeout.ms")?,
                session_timeout_max: typed.millis("group.max.session.timeout.ms")?,
                size_max: typed.count("group.max.size")?,
            },
            offsets: OffsetsConfig::from_typed(typed)?,
            transactions: TransactionsConfig::from_typed(typed)?,
            effective: Values::new(),
        };
        validate::relations(&config, typed)?;
        Ok(Self { effective, ..config })
    }

    /// The texts in force, without defaults; for resolving topics.
    pub fn effective(&self) -> &Values {
        &self.effective
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::from_layers(&ConfigLayers::default())
            .expect("the defaults of the catalog are valid, a test says so")
    }
}

impl NodeConfig {
    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            node_id: typed.int("node.id")?,
            rack: typed.optional_text("broker.rack")?,
            quorum: QuorumConfig::from_typed(typed)?,
            session_timeout: typed.millis("broker.session.timeout.ms")?,
            heartbeat_interval: typed.millis("broker.heartbeat.interval.ms")?,
            replica_lag_max: typed.millis("replica.lag.time.max.ms")?,
            leader_rebalance: typed
                .boolean("auto.leader.rebalance.enable")?
                .then(|| typed.long("leader.imbalance.check.interval.seconds"))
                .transpose()?
                .map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            controlled_shutdown: typed.boolean("controlled.shutdown.enable")?,
            replica_selector: ReplicaSelector::of(typed.optional_text("replica.selector.class")?)?,
        })
    }
}

impl ReplicaSelector {
    /// By the name of the class that does the same in Kafka.
    fn of(class: Option<String>) -> Result<Self, ConfigError> {
        match class.as_deref() {
            None | Some("" | "org.apache.kafka.common.replica.LeaderSelector") => Ok(Self::Leader),
            Some("org.apache.kafka.common.replica.RackAwareReplicaSelector") => Ok(Self::RackAware),
            Some(class) => Err(ConfigError::invalid(
                "replica.selector.class",
                class.to_owned(),
                "Ottla runs no Java classes; built in are LeaderSelector and \
                 RackAwareReplicaSelector of org.apache.kafka.common.replica"
                    .to_owned(),
            )),
        }
    }
}

impl ConnectionsConfig {
    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let overrides = typed.text("max.connections.per.ip.overrides")?;
        let when_set = |name| if typed.is_set(name) { typed.bytes_limit(name) } else { Ok(None) };
        Ok(Self {
            request_bytes_max: typed.bytes("socket.request.max.bytes")?,
            queued_bytes_max: typed.bytes_limit("queued.max.request.bytes")?,
            listen_backlog: when_set("socket.listen.backlog.size")?
                .map(|size| u32::try_from(size.bytes()).unwrap_or(u32::MAX)),
            receive_buffer: when_set("socket.receive.buffer.bytes")?,
            send_buffer: when_set("socket.send.buffer.bytes")?,
            connections_max: typed.count("max.connections")?,
            connections_per_ip_max: typed.count("max.connections.per.ip")?,
            connections_per_ip_overrides: per_ip_overrides(&overrides)?,
            connection_rate_max: typed.count("max.connection.creation.rate")?,
            idle_max: typed.millis_limit("connections.max.idle.ms")?,
        })
    }
}

fn per_ip_overrides(text: &str) -> Result<BTreeMap<String, u32>, ConfigError> {
    let mut overrides = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let parsed = pair.rsplit_once(':').and_then(|(host, count)| {
            Some((host.trim().trim_matches(['[', ']']).to_owned(), count.trim().parse().ok()?))
        });
        let Some((host, count)) = parsed else {
            return Err(ConfigError::invalid(
                "max.connections.per.ip.overrides",
                text,
                format!("`{pair}` is not of the form host:count"),
            ));
        };
        overrides.insert(host, count);
    }
    Ok(overrides)
}

impl HttpListener {
    /// Reads `host:port`; empty is off.
    fn parse(text: &str) -> Result<Option<Self>, ConfigError> {
        let refuse = |reason: &str| Err(ConfigError::invalid("ottla.http.listener", text, reason));
        if text.is_empty() {
            return Ok(None);
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let Some((host, port)) = address.rsplit_once(':') else {
            return refuse("write it as host:port, or leave it empty to switch the HTTP port off");
        };
        let Ok(port) = port.parse() else { return refuse("the port is not from 0 to 65535") };
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        Ok(Some(Self { host: host.to_owned(), port }))
    }
}

impl LogConfig {
    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let dirs = match typed.list("log.dirs")? {
            dirs if dirs.is_empty() => typed.list("log.dir")?,
            dirs => dirs,
        };
        Ok(Self {
            dirs: dirs.into_iter().map(PathBuf::from).collect(),
            retention_check_interval: typed.millis("log.retention.check.interval.ms")?,
            initial_task_delay: typed.millis("log.initial.task.delay.ms")?,
            recovery_checkpoint_interval: typed
                .millis("log.flush.offset.checkpoint.interval.ms")?,
            start_offset_checkpoint_interval: typed
                .millis("log.flush.start.offset.checkpoint.interval.ms")?,
            cleaner: CleanerConfig {
                enabled: typed.boolean("log.cleaner.enable")?,
                backoff: typed.millis("log.cleaner.backoff.ms")?,
                dedupe_buffer: typed.bytes("log.cleaner.dedupe.buffer.size")?,
                io_bytes_per_second_max: typed.double("log.cleaner.io.max.bytes.per.second")?,
            },
            producer_id_expiration: typed.millis("producer.id.expiration.ms")?,
            producer_id_expiration_check_interval: typed
                .millis("producer.id.expiration.check.interval.ms")?,
        })
    }
}

impl TopicsConfig {
    fn from_typed(typed: Typed<'_>, effective: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            auto_create: typed.boolean("auto.create.topics.enable")?,
            delete_enabled: typed.boolean("delete.topic.enable")?,
            partitions_default: typed.int("num.partitions")?,
            replication_factor_default: typed.short("default.replication.factor")?,
            defaults: TopicConfig::resolve_over(&Values::new(), effective)?,
        })
    }
}

impl OffsetsConfig {
    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let minutes = typed.long("offsets.retention.minutes")?;
        Ok(Self {
            commit_timeout: typed.millis("offsets.commit.timeout.ms")?,
            metadata_bytes_max: typed.bytes("offset.metadata.max.bytes")?,
            retention: millis_limit(minutes.saturating_mul(60_000)).unwrap_or(Duration::MAX),
            retention_check_interval: typed.millis("offsets.retention.check.interval.ms")?,
            topic_partitions: typed.int("offsets.topic.num.partitions")?,
            topic_replication_factor: typed.short("offsets.topic.replication.factor")?,
            topic_segment_bytes: typed.bytes("offsets.topic.segment.bytes")?,
        })
    }
}

impl TransactionsConfig {
    fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            topic_partitions: typed.int("transaction.state.log.num.partitions")?,
            topic_replication_factor: typed.short("transaction.state.log.replication.factor")?,
            topic_segment_bytes: typed.bytes("transaction.state.log.segment.bytes")?,
        })
    }
}

#[cfg(test)]
mod tests;
