//! Entering a cluster: from bound sockets to a replica of the metadata log.
//!
//! Owns: the order: links, forming or joining, log directories, the metadata group. Never: what the log says.
//! Invariant: log directories are marked with a cluster's id only once that is decided.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use ottla_config::BrokerConfig;
use ottla_coordinator::forming::{Answer, Asker, Formation};
use ottla_coordinator::metadata::ControllerSettings;
use ottla_protocol::model::{NodeId, PartitionId, Uuid};
use ottla_replication::peer::{Dial, Groups, PeerParts, PeerSettings, Peers};
use ottla_replication::raft::{Group, GroupId, GroupParts, ReplicaId, tell_driver};
use ottla_replication::replicas::{NodeIdentity, OpenError, Replicas};
use ottla_storage::fs::FileSystem;
use tokio::task::JoinSet;

use super::addresses::Addresses;
use super::command::Follower;
use super::control::Control;
use super::forming::{Former, FormingError};
use super::groups::LocalGroups;
use super::identity::{First, Identity, IdentityFile};
use super::port;
use super::{Cluster, ClusterParts};
use crate::clock::Clock;
use crate::metadata_service::{METADATA_TOPIC_ID, MetadataError, MetadataService};
use crate::net::listener::BoundListener;
use crate::services::{RandomSource, Services};
use crate::stop::Stopping;
use crate::wiring::flush_options;

/// What a node enters with.
pub(crate) struct Entry<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) dirs: &'a [std::path::PathBuf],
    pub(crate) clock: Clock,
    pub(crate) random: &'a RandomSource,
    pub(crate) dial: Arc<dyn Dial>,
    /// The listed controllers.
    pub(crate) list: Vec<String>,
    /// Set where this node begins a cluster without others.
    pub(crate) first: Option<String>,
    /// Listeners that peers use, bound.
    pub(crate) ports: Vec<BoundListener>,
    /// Where this node is reached by its peers.
    pub(crate) own_address: String,
}

/// What the rest of the broker is built on.
pub(crate) struct Entered {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) metadata: MetadataService,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) control: Arc<Control>,
    /// Set where the node does not vote.
    pub(crate) follower: Option<Follower>,
    /// Filled once clients may use the ports of peers, too.
    pub(crate) services: Arc<OnceLock<Arc<Services>>>,
}

/// Why a node is not in its cluster.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    #[error(transparent)]
    Forming(#[from] FormingError),
    #[error(transparent)]
    Identity(#[from] super::identity::IdentityError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Config(#[from] ottla_config::ConfigError),
    #[error("the metadata log cannot take part in its group: {0}")]
    Group(#[from] ottla_replication::raft::GroupError),
    #[error("the metadata log has no journal: its log directory is out of use")]
    NoJournal,
    #[error(transparent)]
    Journal(#[from] ottla_replication::raft::journal::JournalError),
}

/// The metadata log's group.
pub(crate) const METADATA_GROUP: GroupId =
    GroupId { topic: METADATA_TOPIC_ID, partition: PartitionId(0) };

pub(crate) async fn enter(
    mut entry: Entry<'_>,
    tasks: &mut JoinSet<()>,
    stopping: &Stopping,
) -> Result<Entered, EnterError> {
    let me = NodeId(entry.config.node.node_id);
    let file = IdentityFile::new(Arc::clone(&entry.fs), entry.dirs.to_vec());
    let first = entry.first.as_deref().map(|address| First { node: me, address });
    let identity = file.read(first.as_ref(), || entry.random.next_uuid())?;
    if first.is_some() {
        // Before anybody is told of it.
        file.write(&identity)?;
    }
    let directories: Vec<Uuid> = entry.dirs.iter().map(|dir| identity.directory(dir)).collect();
    let directory = directories.first().copied().unwrap_or_default();
    let incarnation = entry.random.next_u64();
    let card = Answer {
        node: me.0,
        directory: directory.as_u128(),
        incarnation: u128::from(incarnation),
        list: entry.list.clone(),
        formation: identity.formation.clone(),
        wall_ms: entry.clock.now().wall.0,
    };
    let control = Control::new(card);
    let addresses = Addresses::new(me, &entry.config.node.quorum, peer_listeners(entry.config));
    let groups = Arc::new(Groups::default());
    let clock = Arc::clone(&entry.clock);
    let formed = identity.formation.clone();
    if let Some(formation) = &formed {
        addresses.formed(formation);
    }
    let local = LocalGroups::new(Arc::clone(&groups), Arc::clone(&entry.clock), entry.config);
    let peers = Peers::start(PeerParts {
        me,
        cluster: formed.as_ref().map(|formation| formation.cluster_id.clone()),
        directories,
        incarnation,
        seed: entry.random.next_u64(),
        dial: Arc::clone(&entry.dial),
        addresses: addresses.clone(),
        groups,
        control: control.clone(),
        starter: Some(local.clone()),
        wall: Arc::new(move || clock.now().wall),
        settings: PeerSettings::default(),
    });
    let services = Arc::new(OnceLock::new());
    for bound in std::mem::take(&mut entry.ports) {
        let (peers, services) = (Arc::clone(&peers), Arc::clone(&services));
        tasks.spawn(port::serve(bound, peers, services, stopping.clone()));
    }
    let base = Base { me, peers, addresses, local, control, services };
    let stop = Arc::clone(&base.peers);
    let incarnation = Uuid::from_u128(u128::from(incarnation));
    let asker = Asker { node: me, directory, incarnation, list: entry.list.clone() };
    let entered = base.enter(entry, &file, identity, &asker).await;
    if entered.is_err() {
        // Its links must not speak for a node that does not start.
        stop.stop().await;
    }
    entered
}

/// What is there before the log directories are opened.
struct Base {
    me: NodeId,
    peers: Arc<Peers>,
    addresses: Arc<Addresses>,
    local: Arc<LocalGroups>,
    control: Arc<Control>,
    services: Arc<OnceLock<Arc<Services>>>,
}

impl Base {
    /// Forms the cluster or finds it, where that has not happened before, and takes part in it.
    async fn enter(
        self,
        entry: Entry<'_>,
        file: &IdentityFile,
        mut identity: Identity,
        asker: &Asker,
    ) -> Result<Entered, EnterError> {
        let formation = match identity.formation.clone() {
            Some(formation) => formation,
            None => {
                let former = Former {
                    peers: &self.peers,
                    control: &self.control,
                    file,
                    clock: &entry.clock,
                    random: entry.random,
                };
                former.run(asker, &mut identity).await?
            }
        };
        self.addresses.formed(&formation);
        self.peers.set_cluster(formation.cluster_id.clone());
        self.peers.addresses_changed();
        self.build(entry, &identity, &formation).await
    }

    /// Opens the log directories as the cluster's, and takes part in its metadata group.
    async fn build(
        self,
        entry: Entry<'_>,
        identity: &Identity,
        formation: &Formation,
    ) -> Result<Entered, EnterError> {
        let Self { me, peers, addresses, local, control, services } = self;
        let who = NodeIdentity {
            node: me,
            cluster_id: Some(formation.cluster_id.clone()),
            new_cluster_id: Uuid::nil(),
        };
        let mut ids = entry.dirs.iter().map(|dir| identity.directory(dir));
        let flush = flush_options(&entry.clock);
        let new_id = || ids.next().unwrap_or_default();
        let replicas = Arc::new(Replicas::open(entry.fs, &who, entry.dirs, flush, new_id)?);
        local.serve(&peers, &replicas);
        let settings = ControllerSettings::from_static(entry.config.effective().clone())?;
        let now = entry.clock.now();
        let metadata = MetadataService::open_one_of_several(&replicas, settings, now)?;
        let (group, voter) =
            metadata_group(&metadata, &replicas, &peers, &local, formation, me).await?;
        metadata.join(Arc::clone(&group));
        let follower = (!voter).then(|| Follower {
            node: me.0,
            directory: group.replica().directory.as_u128(),
            address: entry.own_address,
        });
        let parts = ClusterParts { me, peers, metadata: group, addresses, groups: local };
        let cluster = Cluster::new(parts);
        Ok(Entered { replicas, metadata, cluster, control, follower, services })
    }
}

/// Listeners by which peers reach a broker: controller listeners, and the brokers' own where a node has none.
pub(crate) fn peer_listeners(config: &BrokerConfig) -> Vec<String> {
    let mut names = controller_listeners(config);
    names.push(config.listeners.inter_broker.clone());
    names
}

/// The names of listeners that controllers use among themselves.
pub(crate) fn controller_listeners(config: &BrokerConfig) -> Vec<String> {
    let all = config.listeners.listeners.iter();
    let controllers =
        all.filter(|listener| listener.role == ottla_config::listener::ListenerRole::Controller);
    let mut names: Vec<String> = controllers.map(|listener| listener.name.clone()).collect();
    if !names.iter().any(|name| name == "CONTROLLER") {
        names.push("CONTROLLER".to_owned());
    }
    names
}

async fn metadata_group(
    metadata: &MetadataService,
    replicas: &Replicas,
    peers: &Arc<Peers>,
    local: &LocalGroups,
    formation: &Formation,
    me: NodeId,
) -> Result<(Arc<Group>, bool), EnterError> {
    let partition = Arc::clone(metadata.partition());
    let directory = replicas.directory_of(partition.name()).unwrap_or_default();
    let replica = ReplicaId { node: me, directory };
    let journal = replicas.journal_of(partition.name()).ok_or(EnterError::NoJournal)??;
    let parts =
        GroupParts { id: METADATA_GROUP, replica, partition, journal, settings: local.settings() };
    let formed: BTreeSet<ReplicaId> = formation
        .voters
        .iter()
        .map(|voter| ReplicaId {
            node: NodeId(voter.node),
            directory: Uuid::from_u128(voter.directory),
        })
        .collect();
    let sole = formed.len() == 1 && formed.contains(&replica);
    if sole {
        // What the node kept alone, if it did, becomes the group's.
        Group::adopt(&parts).await?;
    }
    let group = Group::start(parts, peers.network(METADATA_GROUP)).await?;
    // Voters may have come and gone since the cluster was formed.
    let known: BTreeSet<ReplicaId> = group.membership().voter_ids().collect();
    let voters = if known.is_empty() { formed } else { known };
    let voter = voters.contains(&replica);
    group.set_preference(voters.iter().map(|voter| voter.node).collect());
    if voter && !sole {
        group.initialize(voters).await?;
    } else if voters.len() == 1 && voter {
        // There is nobody to wait for.
        group.elect().await;
    }
    peers.groups().insert(METADATA_GROUP, group.clone());
    // Last: should it have failed already, the driver hears of a group that it knows.
    tell_driver(&group, peers.groups());
    Ok((group, voter))
}
