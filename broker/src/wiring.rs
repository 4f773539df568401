//! Start and stop of a broker: the one place where its parts are made and joined.
//!
//! Owns: the order of start (disk, metadata, logs, groups, sockets), ports of `0`, the shutdown.
//! Never: behaviour of the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_config::layers::Values;
use ottla_config::listener::{AdvertisedListeners, Listener, ListenerRole};
use ottla_config::{BrokerConfig, ByteSize, ConfigError, ConfigLayers};
use ottla_coordinator::metadata::{BrokerRecord, ControllerSettings, Endpoint, RegisterBroker};
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
use crate::cluster::addresses::is_every_interface;
use crate::cluster::command::Follower;
use crate::cluster::control::Control;
use crate::cluster::controller::{self, Terms};
use crate::cluster::identity::IdentityFile;
use crate::cluster::membership::{Membership, MembershipError};
use crate::cluster::plan::Plan;
use crate::cluster::start::{self, EnterError, Entered, Entry};
use crate::cluster::{Cluster, groups};
use crate::directory_failures::{self, Early};
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
use crate::replica_directories;
use crate::services::{EdgeLimits, RandomSource, Services};
use crate::stop::{Stop, Stopping};
use crate::topics::Topics;

/// What request frames of all connections may hold in memory where `queued.max.request.bytes` does
/// not say.
const QUEUED_BYTES_DEFAULT: usize = 512 << 20;
/// How long connections may take to finish what they accepted once the broker stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping broker of several waits for a majority to commit what is under way.
const COMMIT_GRACE: Duration = Duration::from_secs(3);

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
    #[error(transparent)]
    Enter(#[from] Box<EnterError>),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A log directory failed that the broker cannot do without.
    #[error("{0}")]
    Directory(String),
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
    /// Its place among others.
    membership: Option<Arc<Membership>>,
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

        let host = options.host;
        let listeners = bind_all(&host, &configuration.broker).await?;
        let http = bind_http(&host, &configuration.broker)?;
        let gateways = gateways(&host, &configuration.broker, &listeners);
        let (stop, stopped) = Stop::new();
        let mut tasks = JoinSet::new();
        let addresses =
            listeners.iter().map(|bound| (Arc::clone(&bound.name), bound.address)).collect();
        let endpoints = endpoints(&configuration.broker, &listeners, gateways);
        let advertised = advertised(&configuration.broker, &listeners);
        let (ports, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|bound| is_for_peers(&configuration.broker, bound));
        let incarnation = random.next_uuid();
        let entry = Entry {
            own_address: own_address(&configuration.broker, &ports, &listeners),
            config: &configuration.broker,
            fs,
            dirs: &dirs,
            clock: Arc::clone(&clock),
            random: &random,
            dial: Arc::new(host.clone()),
            list: Vec::new(),
            first: None,
            ports,
        };
        let (storage, mut ports) = stored(entry, &configuration, &mut tasks, &stopped).await?;
        let (replicas, metadata, several) = storage.parts();
        let registration = registration(&configuration.broker, advertised, incarnation, &replicas);
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
            cluster: several.as_ref().map(|several| Arc::clone(&several.cluster)),
            terms: Terms::default(),
        });
        let (entered, early) = enter(&services, several, registration, &mut tasks, &stopped).await;
        let broker = Self {
            services,
            addresses,
            http: http.as_ref().and_then(|socket| socket.local_addr().ok()),
            stop,
            tasks,
            halted: watch::channel(None).1,
            membership: None,
        };
        ports.extend(listeners);
        broker.serve_once_entered(entered, early, stopped, (ports, http)).await
    }

    /// Serves, unless there is nothing to serve: then everything is let go again, so that the start may be
    /// tried once more.
    async fn serve_once_entered(
        mut self,
        entered: Result<Option<Arc<Membership>>, StartError>,
        early: Early,
        stopped: Stopping,
        sockets: (Vec<BoundListener>, Option<TcpListener>),
    ) -> Result<Self, StartError> {
        match entered {
            Ok(membership) => {
                self.membership = membership;
                Ok(self.serve(stopped, sockets, early).await)
            }
            Err(error) => {
                self.shutdown().await;
                Err(error)
            }
        }
    }

    /// Lets clients in, and begins what runs now and then.
    async fn serve(
        mut self,
        stopped: Stopping,
        (ports, http): (Vec<BoundListener>, Option<TcpListener>),
        early: Early,
    ) -> Self {
        let (services, tasks) = (&self.services, &mut self.tasks);
        services.replicas.resume_moves();
        GroupService::start(services).await;
        for bound in ports {
            tasks.spawn(listener::serve(bound, Arc::clone(services), stopped.clone()));
        }
        if let Some(socket) = http {
            tasks.spawn(crate::http::serve(socket, Arc::clone(services), stopped.clone()));
        }
        tasks.spawn(group_service::run_timers(Arc::clone(services), stopped.clone()));
        maintenance::spawn(tasks, services, &stopped);
        let (halt, halted) = watch::channel(None);
        tasks.spawn(log_dir_moves::run(Arc::clone(services), stopped.clone()));
        tasks.spawn(replica_directories::run(Arc::clone(services), stopped.clone()));
        tasks.spawn(directory_failures::run(Arc::clone(services), stopped, halt, early));
        self.halted = halted;
        self
    }

    /// What to give a client as its bootstrap address.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let config = &self.services.configuration().broker;
        let clients = |name: &str| config.listeners.of_brokers().any(|of| of.name == *name);
        let first = self.addresses.iter().find(|(name, _)| clients(name));
        first.map_or_else(String::new, |(_, address)| reachable(*address))
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
        if self.services.configuration().broker.node.controlled_shutdown {
            if let Some(membership) = &self.membership {
                membership.announce(&self.services).await;
            }
            // Others lead before this one stops to answer.
            groups::leave_all(&self.services).await;
        }
        if let Some(membership) = &self.membership {
            membership.leave(&self.services).await;
        }
        self.services.draining.store(true, Ordering::Release);
        self.stop.now();
        if self.services.cluster().is_some() {
            let drained = async { while self.tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(COMMIT_GRACE, drained).await.is_err() {
                // Where no majority is left nothing is committed any more: whoever waits is told.
                self.end_groups().await;
            }
        }
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!("connections did not drain in time; closing them");
            self.tasks.shutdown().await;
        }
        self.end_groups().await;
        if let Some(cluster) = self.services.cluster() {
            cluster.peers.stop().await;
        }
        let now = self.services.clock.now();
        self.services.replicas.close(now);
    }

    async fn end_groups(&self) {
        if let Some(cluster) = self.services.cluster() {
            cluster.groups.end_all().await;
            cluster.metadata.stop().await;
        }
    }
}

/// Opens the node's logs, alone or as one of several; gives the ports of peers back that nobody serves.
async fn stored(
    mut entry: Entry<'_>,
    configuration: &Configuration,
    tasks: &mut JoinSet<()>,
    stopped: &Stopping,
) -> Result<(Stored, Vec<BoundListener>), StartError> {
    let file = IdentityFile::new(Arc::clone(&entry.fs), entry.dirs.to_vec());
    let numbers: Vec<u16> = entry.ports.iter().map(|port| port.address.port()).collect();
    match Plan::of(entry.config, &file, &numbers) {
        Plan::Alone => {
            let settings = configuration.layers.static_values.clone();
            let node = NodeId(entry.config.node.node_id);
            let disk = (entry.fs, entry.dirs);
            let stored = alone(disk, entry.random, settings, node, &entry.clock)?;
            Ok((stored, entry.ports))
        }
        plan => {
            match plan {
                Plan::Several(list) => entry.list = list,
                Plan::First(address) => {
                    entry.list = vec![address.clone()];
                    entry.first = Some(address);
                }
                Plan::Alone => {}
            }
            let entered = start::enter(entry, tasks, stopped).await.map_err(Box::new)?;
            Ok((Stored::Several(Box::new(entered)), Vec::new()))
        }
    }
}

/// A node's logs, and the others it keeps metadata with.
enum Stored {
    Alone(Arc<Replicas>, Box<MetadataService>),
    Several(Box<Entered>),
}

/// What is left of entering a cluster once services are made.
struct Several {
    cluster: Arc<Cluster>,
    control: Arc<Control>,
    follower: Option<Follower>,
    services: Arc<OnceLock<Arc<Services>>>,
}

impl Stored {
    fn parts(self) -> (Arc<Replicas>, MetadataService, Option<Several>) {
        match self {
            Self::Alone(replicas, metadata) => (replicas, *metadata, None),
            Self::Several(entered) => {
                let Entered { replicas, metadata, cluster, control, follower, services } = *entered;
                (replicas, metadata, Some(Several { cluster, control, follower, services }))
            }
        }
    }
}

fn alone(
    (fs, dirs): (Arc<dyn FileSystem>, &[PathBuf]),
    random: &RandomSource,
    settings: Values,
    node: NodeId,
    clock: &Clock,
) -> Result<Stored, StartError> {
    let new_cluster_id = random.next_uuid();
    let identity = NodeIdentity { node, cluster_id: None, new_cluster_id };
    let flush = flush_options(clock);
    let replicas = Replicas::open(fs, &identity, dirs, flush, || random.next_uuid())?;
    let replicas = Arc::new(replicas);
    let settings = ControllerSettings::from_static(settings)?;
    let metadata = MetadataService::open(&replicas, settings, clock.now())?;
    Ok(Stored::Alone(replicas, Box::new(metadata)))
}

/// What this broker says of itself to the cluster.
fn registration(
    config: &BrokerConfig,
    endpoints: Vec<Endpoint>,
    incarnation: Uuid,
    replicas: &Replicas,
) -> RegisterBroker {
    RegisterBroker {
        id: NodeId(config.node.node_id),
        incarnation,
        rack: config.node.rack.clone(),
        endpoints,
        directories: replicas.directory_ids(),
    }
}

/// Begins alone or takes part; and what failed of the log directories meanwhile.
async fn enter(
    services: &Arc<Services>,
    several: Option<Several>,
    registration: RegisterBroker,
    tasks: &mut JoinSet<()>,
    stopped: &Stopping,
) -> (Result<Option<Arc<Membership>>, StartError>, Early) {
    let mut early = Early::default();
    let entering = async {
        match several {
            None => begin_alone(services, registration).await,
            Some(all) => take_part(services, all, registration, tasks, stopped).await,
        }
    };
    let entered = tokio::select! {
        biased;
        entered = entering => entered,
        // Without its metadata log it would wait for ever to be let in.
        reason = directory_failures::watch_start(services, &mut early) => {
            Err(StartError::Directory(reason))
        }
    };
    (entered, early)
}

async fn begin_alone(
    services: &Arc<Services>,
    registration: RegisterBroker,
) -> Result<Option<Arc<Membership>>, StartError> {
    services.metadata.start_alone(services, registration, services.clock.now()).await?;
    Ok(None)
}

/// Follows the metadata, registers, and begins what a member of a cluster does.
async fn take_part(
    services: &Arc<Services>,
    several: Several,
    registration: RegisterBroker,
    tasks: &mut JoinSet<()>,
    stopped: &Stopping,
) -> Result<Option<Arc<Membership>>, StartError> {
    several.control.serve(services);
    tasks.spawn(MetadataService::follow(Arc::clone(services), stopped.clone()));
    tasks.spawn(controller::run(Arc::clone(services), stopped.clone()));
    tasks.spawn(groups::run_members(Arc::clone(services), stopped.clone()));
    tasks.spawn(GroupService::follow_leadership(Arc::clone(services), stopped.clone()));
    if let Some(every) = services.configuration().broker.node.leader_rebalance {
        tasks.spawn(groups::prefer(Arc::clone(services), every, stopped.clone()));
    }
    let mut endpoints = registration.endpoints;
    name_hosts(&mut endpoints);
    let record = BrokerRecord {
        id: registration.id,
        epoch: 0,
        incarnation: registration.incarnation,
        rack: registration.rack,
        endpoints,
        features: BTreeMap::new(),
        directories: registration.directories,
    };
    let membership = Membership::new(record, several.follower);
    if !services.configuration().broker.node.quorum.is_broker {
        membership.enter_as_controller(services).await?;
        return Ok(None);
    }
    membership.enter(services).await?;
    // Peers were links from the start; clients of their ports find a broker that knows the metadata.
    let _first = several.services.set(Arc::clone(services));
    tasks.spawn(Arc::clone(&membership).run(Arc::clone(services), stopped.clone()));
    Ok(Some(membership))
}

/// Whether other brokers connect to a listener: controller listeners, or that of brokers among themselves
/// where a node has none.
fn is_for_peers(config: &BrokerConfig, bound: &BoundListener) -> bool {
    let role = |name: &str| config.listeners.listeners.iter().find(|of| of.name == *name);
    let controllers =
        config.listeners.listeners.iter().any(|of| of.role == ListenerRole::Controller);
    if controllers {
        return role(&bound.name).is_some_and(|of| of.role == ListenerRole::Controller);
    }
    *bound.name == *config.listeners.inter_broker
}

/// Where peers find this node, as `host:port`.
fn own_address(config: &BrokerConfig, ports: &[BoundListener], all: &[BoundListener]) -> String {
    let Some(port) = ports.first() else { return String::new() };
    let known = advertised(config, std::slice::from_ref(port));
    let host = known.first().map(|end| end.host.clone()).unwrap_or_default();
    let specified = host.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified());
    let host = if specified { host } else { told_host(&advertised(config, all)) };
    if host.contains(':') {
        return format!("[{host}]:{}", port.address.port());
    }
    format!("{host}:{}", port.address.port())
}

/// A host that clients are told is one that peers may use as well.
fn told_host(endpoints: &[Endpoint]) -> String {
    let told = endpoints.iter().find(|end| !is_every_interface(&end.host));
    told.map_or_else(machine_name, |end| end.host.clone())
}

/// Gives listeners on every interface a host that other machines can reach.
fn name_hosts(endpoints: &mut [Endpoint]) {
    let host = told_host(endpoints);
    let unnamed = endpoints.iter_mut().filter(|end| is_every_interface(&end.host));
    unnamed.for_each(|end| end.host.clone_from(&host));
}

/// The name of this machine, as others in its network usually know it.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

fn storage(storage: &Storage, config: &BrokerConfig) -> (Arc<dyn FileSystem>, Vec<PathBuf>) {
    match storage {
        Storage::Disk => (Arc::new(OsFileSystem::new()), config.log.dirs.clone()),
        Storage::Memory => (Arc::new(MemoryFileSystem::new()), vec![PathBuf::from("/ottla")]),
        Storage::Custom(fs) => (Arc::clone(fs), config.log.dirs.clone()),
    }
}

/// The clock lets a flush thread see that another program makes a sync of the disk slow.
pub(crate) fn flush_options(clock: &Clock) -> FlushOptions {
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
    for wanted in &config.listeners.listeners {
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
fn gateways(host: &Host, config: &BrokerConfig, bound: &[BoundListener]) -> BTreeSet<IpAddr> {
    // From outside nobody reaches a loopback address.
    if bound.iter().all(|bound| bound.address.ip().is_loopback()) {
        return BTreeSet::new();
    }
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

/// What this broker says of its listeners to the cluster.
fn advertised(config: &BrokerConfig, bound: &[BoundListener]) -> Vec<Endpoint> {
    let advertised = match &config.listeners.advertised {
        AdvertisedListeners::Fixed(all) => all.as_slice(),
        AdvertisedListeners::Auto => &[],
    };
    let endpoint = |bound: &BoundListener| {
        let fixed = advertised.iter().find(|fixed| fixed.name == *bound.name);
        let host = fixed.and_then(|fixed| fixed.host.clone());
        let port = fixed.map_or(0, |fixed| fixed.port);
        Endpoint {
            listener: bound.name.to_string(),
            host: host.unwrap_or_else(|| bound.address.ip().to_string()),
            port: if port == 0 { bound.address.port() } else { port },
            protocol: "PLAINTEXT".to_owned(),
        }
    };
    bound.iter().map(endpoint).collect()
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
