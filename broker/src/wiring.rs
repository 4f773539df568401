//! Start and stop of a broker: the one place where its parts are made and joined.
//!
//! Owns: the order of start (disk, metadata, logs, groups, sockets), ports of `0`, the shutdown.
//! Never: behaviour of the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_config::listener::{AdvertisedListeners, Listener};
use ottla_config::{BrokerConfig, ByteSize, ConfigError, ConfigLayers};
use ottla_coordinator::metadata::{ControllerSettings, Endpoint, RegisterBroker};
use ottla_protocol::model::{NodeId, Uuid};
use ottla_replication::replicas::{NodeIdentity, OpenError, Replicas};
use ottla_storage::flush::FlushOptions;
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::memory::MemoryFileSystem;
use ottla_storage::fs::os::OsFileSystem;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api;
use crate::clock::{Clock, SystemClock};
use crate::directory_failures;
use crate::endpoints::{Advertised, Endpoints, gateway};
use crate::group_service::{self, GroupService};
use crate::host::Host;
use crate::live_config::{Configuration, LiveConfig};
use crate::log_dir_moves;
use crate::maintenance;
use crate::metadata_service::{MetadataError, MetadataService};
use crate::metrics::Metrics;
use crate::net::budget::ByteBudget;
use crate::net::limits::ConnectionTable;
use crate::net::listener::{self, BoundListener, SocketOptions};
use crate::producer_ids::ProducerIds;
use crate::services::{EdgeLimits, RandomSource, Services};
use crate::stop::Stop;
use crate::topics::Topics;

/// What request frames of all connections may hold in memory where `queued.max.request.bytes` does
/// not say.
const QUEUED_BYTES_DEFAULT: usize = 512 << 20;
/// How long connections may take to finish what they accepted once the broker stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where logs live.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In `log.dirs`.
    Disk,
    /// Nowhere but in memory: gone with the broker.
    Memory,
    /// A file system of the caller's, for tests.
    Custom(Arc<dyn FileSystem>),
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    pub config: ConfigLayers,
    pub storage: Storage,
    /// Decides ids and jitter; from the operating system where it is `None`.
    pub seed: Option<u64>,
    /// The machine's clocks where it is `None`.
    pub clock: Option<Clock>,
    pub host: Host,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot listen on {listener} {address}: {error}. {cure}")]
    Bind { listener: String, address: String, error: io::Error, cure: &'static str },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// A running broker. Dropping it stops it without a drain; call [`Broker::shutdown`] to drain.
#[derive(Debug)]
pub struct Broker {
    services: Arc<Services>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    http: Option<SocketAddr>,
    stop: Stop,
    tasks: JoinSet<()>,
    halted: watch::Receiver<Option<String>>,
}

impl Broker {
    /// Starts a broker on the current tokio runtime. When this returns it serves: topics are loaded,
    /// coordinators are ready, sockets accept.
    ///
    /// # Errors
    /// With the cause and, where there is one, the cure.
    pub async fn start(options: BrokerOptions) -> Result<Self, StartError> {
        let configuration = Configuration::of(options.config)?;
        let clock = options.clock.unwrap_or_else(SystemClock::shared);
        let random = RandomSource::seeded(options.seed.unwrap_or_else(entropy));
        let node_id = NodeId(configuration.broker.node.node_id);
        let (fs, dirs) = storage(&options.storage, &configuration.broker);
        let now = clock.now();

        let host = options.host;
        let listeners = bind_all(&host, &configuration.broker).await?;
        let http = bind_http(&host, &configuration.broker)?;
        let gateways = gateways(&host, &configuration.broker);
        let endpoints = endpoints(&configuration.broker, &listeners, gateways);

        let identity = NodeIdentity { node: node_id, new_cluster_id: random.next_uuid() };
        let flush = flush_options(&clock);
        let replicas =
            Arc::new(Replicas::open(fs, &identity, &dirs, flush, || random.next_uuid())?);
        let static_values = configuration.layers.static_values.clone();
        let settings = ControllerSettings::from_static(static_values)?;
        let metadata = MetadataService::open(&replicas, settings, now)?;
        let registration =
            registration(&configuration.broker, &listeners, &replicas, random.next_uuid());
        let (stop, stopped) = Stop::new();
        let services = Arc::new(Services {
            node_id,
            edge: edge_limits(&configuration.broker),
            endpoints,
            connections: Arc::new(ConnectionTable::default()),
            metrics: Metrics::new(&api::names()),
            topics: Arc::new(Topics::default()),
            groups: GroupService::new(&configuration.broker),
            producer_ids: ProducerIds::default(),
            fetch_sessions: fetch_sessions(&configuration.broker),
            draining: AtomicBool::new(false),
            stopping: stopped.clone(),
            config: LiveConfig::new(configuration),
            random,
            replicas,
            metadata,
            clock,
            host,
        });
        services.metadata.start_alone(&services, registration, now).await?;
        services.replicas.resume_moves();
        GroupService::start(&services).await;

        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        for bound in listeners {
            addresses.push((Arc::clone(&bound.name), bound.address));
            tasks.spawn(listener::serve(bound, Arc::clone(&services), stopped.clone()));
        }
        let http_address = http.as_ref().and_then(|socket| socket.local_addr().ok());
        if let Some(socket) = http {
            let serve = crate::http::serve(socket, Arc::clone(&services), stopped.clone());
            tasks.spawn(serve);
        }
        tasks.spawn(group_service::run_timers(Arc::clone(&services), stopped.clone()));
        maintenance::spawn(&mut tasks, &services, &stopped);
        let (halt, halted) = watch::channel(None);
        tasks.spawn(log_dir_moves::run(Arc::clone(&services), stopped.clone()));
        tasks.spawn(directory_failures::run(Arc::clone(&services), stopped, halt));
        Ok(Self { services, addresses, http: http_address, stop, tasks, halted })
    }

    /// What to give a client as its bootstrap address.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses.first().map_or_else(String::new, |(_, address)| reachable(*address))
    }

    /// Every listener with the address it is bound to.
    #[must_use]
    pub fn listeners(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Where `/metrics` and the health checks are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.services.metadata.image().cluster_id().to_owned()
    }

    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.services.node_id
    }

    /// The parts, for tests of one of them.
    #[cfg(test)]
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Completes when the broker cannot go on, because the disks that it needs have failed, with the
    /// cause and the cure. It is then to be dropped: nothing can be flushed any more.
    pub async fn halted(&self) -> String {
        let mut halted = self.halted.clone();
        let said = halted.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match said {
            Ok(Some(reason)) => reason,
            // The task ended with the broker, which is no halt.
            _ => std::future::pending().await,
        }
    }

    /// Stops accepting, answers what was accepted, flushes, and marks the logs as cleanly closed.
    pub async fn shutdown(mut self) {
        self.services.draining.store(true, Ordering::Release);
        self.stop.now();
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!("connections did not drain in time; closing them");
            self.tasks.shutdown().await;
        }
        let services = Arc::clone(&self.services);
        let now = services.clock.now();
        services.replicas.close(now);
    }
}

fn storage(storage: &Storage, config: &BrokerConfig) -> (Arc<dyn FileSystem>, Vec<PathBuf>) {
    match storage {
        Storage::Disk => (Arc::new(OsFileSystem::new()), config.log.dirs.clone()),
        Storage::Memory => (Arc::new(MemoryFileSystem::new()), vec![PathBuf::from("/ottla")]),
        Storage::Custom(fs) => (Arc::clone(fs), config.log.dirs.clone()),
    }
}

/// The clock lets a flush thread see that another program makes a sync of the disk slow.
fn flush_options(clock: &Clock) -> FlushOptions {
    let clock = Arc::clone(clock);
    FlushOptions { clock: Some(Arc::new(move || clock.now().mono)), ..FlushOptions::default() }
}

async fn bind_all(host: &Host, config: &BrokerConfig) -> Result<Vec<BoundListener>, StartError> {
    let connections = &config.connections;
    let options = SocketOptions {
        backlog: connections.listen_backlog,
        receive_buffer: connections.receive_buffer.map(ByteSize::to_usize),
        send_buffer: connections.send_buffer.map(ByteSize::to_usize),
    };
    let mut bound = Vec::new();
    for wanted in config.listeners.of_brokers() {
        let place = Place::of(wanted);
        let listening = listener::bind(host, &wanted.name, place.address()?, options).await;
        bound.push(listening.map_err(|error| place.refused(error))?);
    }
    Ok(bound)
}

/// Health and metrics are for the operating system's users: a simulated host has none.
fn bind_http(host: &Host, config: &BrokerConfig) -> Result<Option<TcpListener>, StartError> {
    let (Some(http), Host::System) = (&config.http, host) else { return Ok(None) };
    let place = Place { listener: "HTTP", host: &http.host, port: http.port };
    let bound = listener::bind_socket(place.address()?, SocketOptions::default());
    bound.map(Some).map_err(|error| place.refused(error))
}

/// Where one listener is to be, for messages.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    listener: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Place<'a> {
    fn of(listener: &'a Listener) -> Self {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        Self { listener: &listener.name, host, port: listener.port }
    }

    fn address(self) -> Result<SocketAddr, StartError> {
        let mut addresses =
            (self.host, self.port).to_socket_addrs().map_err(|error| self.refused(error))?;
        addresses.next().ok_or_else(|| self.refused(io::ErrorKind::NotFound.into()))
    }

    fn refused(self, error: io::Error) -> StartError {
        StartError::Bind {
            listener: self.listener.to_owned(),
            address: format!("{}:{}", self.host, self.port),
            cure: match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "Another process has this port: choose another, or port 0"
                }
                io::ErrorKind::PermissionDenied => {
                    "Ports below 1024 need privileges: choose a higher one"
                }
                _ => "The host must be an address of this machine",
            },
            error,
        }
    }
}

/// What clients are told, with the ports that were really bound.
fn endpoints(
    config: &BrokerConfig,
    bound: &[BoundListener],
    gateways: BTreeSet<IpAddr>,
) -> Endpoints {
    let mut by_listener = BTreeMap::new();
    for (index, bound) in bound.iter().enumerate() {
        let explicit = match &config.listeners.advertised {
            AdvertisedListeners::Auto => {
                let published_port = config.listeners.published_port.filter(|_| index == 0);
                Some(Advertised::Auto { published_port })
            }
            AdvertisedListeners::Fixed(all) => {
                all.iter().find(|advertised| advertised.name == *bound.name).map(|advertised| {
                    let port =
                        if advertised.port == 0 { bound.address.port() } else { advertised.port };
                    match &advertised.host {
                        Some(host) => Advertised::Address { host: host.clone(), port },
                        None => default_address(bound),
                    }
                })
            }
        };
        let advertised = explicit.unwrap_or_else(|| default_address(bound));
        by_listener.insert(Arc::clone(&bound.name), advertised);
    }
    let node_id = NodeId(config.node.node_id);
    Endpoints::new(node_id, config.node.rack.clone(), by_listener, gateways)
}

/// Said aloud where it applies: it is a guess, and `advertised.listeners` overrides it.
fn gateways(host: &Host, config: &BrokerConfig) -> BTreeSet<IpAddr> {
    if !matches!(host, Host::System) || config.listeners.advertised != AdvertisedListeners::Auto {
        return BTreeSet::new();
    }
    let gateways = gateway::of_container(Path::new("/"));
    for gateway in &gateways {
        tracing::warn!(
            %gateway,
            "advertised.listeners=auto: clients that come through the container's gateway are told \
             localhost, with ottla.published.port or the listener's own; set advertised.listeners \
             for clients on other machines"
        );
    }
    gateways
}

/// Bound to every address, a client is answered with the one it used.
fn default_address(bound: &BoundListener) -> Advertised {
    if bound.address.ip().is_unspecified() {
        return Advertised::AsReached;
    }
    Advertised::Address { host: bound.address.ip().to_string(), port: bound.address.port() }
}

/// What this broker says of itself to the cluster.
fn registration(
    config: &BrokerConfig,
    bound: &[BoundListener],
    replicas: &Replicas,
    incarnation: Uuid,
) -> RegisterBroker {
    let advertised = match &config.listeners.advertised {
        AdvertisedListeners::Fixed(all) => all.as_slice(),
        AdvertisedListeners::Auto => &[],
    };
    let endpoints = bound
        .iter()
        .map(|bound| {
            let fixed = advertised.iter().find(|fixed| fixed.name == *bound.name);
            let host = fixed.and_then(|fixed| fixed.host.clone());
            let port = fixed.map_or(0, |fixed| fixed.port);
            Endpoint {
                listener: bound.name.to_string(),
                host: host.unwrap_or_else(|| bound.address.ip().to_string()),
                port: if port == 0 { bound.address.port() } else { port },
                protocol: "PLAINTEXT".to_owned(),
            }
        })
        .collect();
    RegisterBroker {
        id: NodeId(config.node.node_id),
        incarnation,
        rack: config.node.rack.clone(),
        endpoints,
        directories: replicas.directory_ids(),
    }
}

fn edge_limits(config: &BrokerConfig) -> EdgeLimits {
    let connections = &config.connections;
    let queued = connections.queued_bytes_max.map_or(QUEUED_BYTES_DEFAULT, ByteSize::to_usize);
    EdgeLimits {
        frame_bytes_max: connections.request_bytes_max.to_usize(),
        fetch_bytes_max: u32::try_from(config.fetch.bytes_max.to_usize()).unwrap_or(u32::MAX),
        idle_max: connections.idle_max.unwrap_or(Duration::MAX),
        budget: ByteBudget::new(queued),
    }
}

fn fetch_sessions(config: &BrokerConfig) -> api::fetch::FetchSessions {
    /// Kafka's `min.incremental.fetch.session.eviction.ms`, which is no longer configurable.
    const EVICT_AFTER: Duration = Duration::from_secs(120);
    api::fetch::FetchSessions::new(config.fetch.session_slots_max as usize, EVICT_AFTER)
}

/// An address that a client on this machine can dial.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}

/// A seed from the hasher keys of the standard library, which the operating system gave.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
