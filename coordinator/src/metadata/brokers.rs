//! Brokers come, take part, leave.
//!
//! Owns: registration, fencing, controlled shutdown and removal of brokers with the rules of Kafka's
//! `ClusterControlManager`, and a new cluster's first records. Never: measures liveness; who does
//! sends these commands. Invariant: an epoch belongs to one start of one broker, and commands of an
//! earlier start are refused.

use ottla_protocol::model::{NodeId, Uuid};

use super::decide::{Command, DecideContext, Decision};
use super::elections::changes_for_broker;
use super::error::ControllerError;
use super::features::SUPPORTED_FEATURES;
use super::image::{BrokerImage, ConfigResource, MetadataImage};
use super::record::{BrokerRecord, Endpoint, MetadataRecord, PartitionChange, ResourceType};

/// Starts a cluster: its id, its features, and what they need. Gives nothing where a cluster exists.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FormCluster {
    /// A new one is drawn where none is given.
    pub cluster_id: Option<String>,
}

impl Command for FormCluster {
    /// The cluster's id.
    type Reply = String;

    fn decide(self, image: &MetadataImage, context: &mut DecideContext<'_>) -> Decision<String> {
        if !image.cluster_id().is_empty() {
            return Decision::answer(image.cluster_id().to_owned());
        }
        let id = self
            .cluster_id
            .unwrap_or_else(|| ottla_protocol::model::kafka_uuid_text(context.random.id()));
        let mut records = vec![MetadataRecord::Cluster { id: id.clone() }];
        records.extend(SUPPORTED_FEATURES.iter().map(|feature| MetadataRecord::Feature {
            name: feature.name.to_owned(),
            level: feature.greatest,
        }));
        // With eligible leader replicas the value has to be the same for everybody (KIP-966), so
        // the one that this node was started with becomes the cluster's.
        let key = "min.insync.replicas";
        let value = context.settings.static_values().get(key).map_or("1", String::as_str);
        records.push(MetadataRecord::Config {
            resource: ResourceType::Broker,
            name: ConfigResource::cluster_default().name,
            key: key.to_owned(),
            value: Some(value.to_owned()),
        });
        Decision { records, reply: id }
    }
}

/// A broker's process started and says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    pub id: NodeId,
    pub incarnation: Uuid,
    pub rack: Option<String>,
    pub endpoints: Vec<Endpoint>,
    pub directories: Vec<Uuid>,
}

impl Command for RegisterBroker {
    /// The epoch of this start.
    type Reply = Result<i64, ControllerError>;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        let before = image.broker(self.id);
        if before.is_some_and(|b| !b.fenced && b.registration.incarnation != self.incarnation) {
            return Decision::answer(Err(ControllerError::DuplicateBrokerRegistration));
        }
        let epoch = image.end().0;
        let features = SUPPORTED_FEATURES
            .iter()
            .map(|feature| (feature.name.to_owned(), (feature.least, feature.greatest)))
            .collect();
        let registration = BrokerRecord {
            id: self.id,
            epoch,
            incarnation: self.incarnation,
            rack: self.rack,
            endpoints: self.endpoints,
            features,
            directories: self.directories,
        };
        let mut records = replaced_directories(image, &registration);
        records.insert(0, MetadataRecord::Broker(registration));
        Decision { records, reply: Ok(epoch) }
    }
}

/// A disk that came back empty is another one: replicas of partitions that have others move from
/// directories that are gone to those that are new, and are built up again from their peers. A
/// partition's only replica stays where it was: what it held is not elsewhere.
fn replaced_directories(image: &MetadataImage, now: &BrokerRecord) -> Vec<MetadataRecord> {
    let Some(before) = image.broker(now.id) else { return Vec::new() };
    let before = &before.registration.directories;
    let fresh: Vec<Uuid> =
        now.directories.iter().copied().filter(|id| !before.contains(id)).collect();
    let gone = |id: &Uuid| before.contains(id) && !now.directories.contains(id);
    if fresh.is_empty() || !before.iter().any(gone) {
        return Vec::new();
    }
    let mut turn = fresh.iter().copied().cycle();
    let mut records = Vec::new();
    for topic in image.topics() {
        for (partition, state) in topic.iter().filter(|(_, state)| state.replicas.len() > 1) {
            if !state.directory_of(now.id).is_some_and(|id| gone(&id)) {
                continue;
            }
            let directories =
                state.replicas.iter().zip(&state.directories).map(|(node, id)| {
                    if *node == now.id { turn.next().unwrap_or(*id) } else { *id }
                });
            let mut change = PartitionChange::of(topic.id, partition);
            change.directories = Some(directories.collect());
            // What it went by is lost with its votes.
            let keys =
                state.keys_for(
                    &state.replicas,
                    |node, key| {
                        if node == now.id { Uuid::nil() } else { key }
                    },
                );
            change.keys = (keys != state.keys).then_some(keys);
            records.push(MetadataRecord::PartitionChange(change));
        }
    }
    records
}

/// How a registered broker takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// It may lead.
    Active,
    /// It is about to stop and hands over first.
    ControlledShutdown,
    /// It is not heard of.
    Fenced,
}

/// Changes how a broker takes part, and the leadership that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeBrokerState {
    pub id: NodeId,
    pub epoch: i64,
    pub state: BrokerState,
}

impl Command for ChangeBrokerState {
    type Reply = Result<(), ControllerError>;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        let broker = match registered(image, self.id) {
            Ok(broker) => broker,
            Err(error) => return Decision::answer(Err(error)),
        };
        let expected = broker.registration.epoch;
        if expected != self.epoch {
            let error = ControllerError::StaleBrokerEpoch { expected, found: self.epoch };
            return Decision::answer(Err(error));
        }
        let fenced = self.state == BrokerState::Fenced;
        let in_controlled_shutdown = self.state == BrokerState::ControlledShutdown;
        if (broker.fenced, broker.in_controlled_shutdown) == (fenced, in_controlled_shutdown) {
            return Decision::answer(Ok(()));
        }
        let mut records = vec![MetadataRecord::BrokerState {
            id: self.id,
            epoch: self.epoch,
            fenced,
            in_controlled_shutdown,
        }];
        records.extend(changes_for_broker(image, self.id, self.state == BrokerState::Active));
        Decision { records, reply: Ok(()) }
    }
}

/// Takes a broker out of the cluster for good (UnregisterBroker, KIP-631).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnregisterBroker {
    pub id: NodeId,
}

impl Command for UnregisterBroker {
    type Reply = Result<(), ControllerError>;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        if let Err(error) = registered(image, self.id) {
            return Decision::answer(Err(error));
        }
        let mut records = changes_for_broker(image, self.id, false);
        records.push(MetadataRecord::BrokerRemoved { id: self.id });
        Decision { records, reply: Ok(()) }
    }
}

/// A broker that has registered.
///
/// # Errors
/// It has not.
pub(super) fn registered(
    image: &MetadataImage,
    id: NodeId,
) -> Result<&BrokerImage, ControllerError> {
    image.broker(id).map(AsRef::as_ref).ok_or(ControllerError::BrokerIdNotRegistered(id))
}

#[cfg(test)]
mod tests;
