//! Brings the topics of this broker in line with a metadata image.
//!
//! Owns: opening and creating partition logs, typed settings, removal of deleted topics. Never: decides
//! what exists. A log that cannot be opened is reported and answers KAFKA_STORAGE_ERROR; the others are
//! served.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use ottla_config::{BrokerConfig, TopicConfig};
use ottla_coordinator::group::DeletedTopic;
use ottla_coordinator::metadata::{
    ConfigResource, LOST_DIRECTORY, MetadataDelta, MetadataImage, PartitionImage, TopicImage,
};
use ottla_protocol::model::{Now, PartitionId, TopicPartition, Uuid};
use ottla_replication::partition::{Copies, Partition};
use ottla_replication::raft::journal::GroupFate;
use ottla_replication::raft::{GroupId, ReplicaId};
use ottla_replication::replicas::{History, NewPartition};
use ottla_storage::LogSettings;

use crate::cluster::command::Whereabouts;
use crate::cluster::groups::{self, Wanted};
use crate::services::Services;
use crate::topics::{Slot, TopicEntry};

/// Applies what `delta` names of `image`. `unseen` is what partitions are that this process did not
/// load yet.
pub(crate) async fn apply(
    services: &Arc<Services>,
    image: &Arc<MetadataImage>,
    delta: &MetadataDelta,
    unseen: History,
    now: Now,
) {
    for gone in &delta.deleted_topics {
        remove(services, gone.id, now).await;
    }
    apply_broker_configs(services, image, delta);
    if !delta.configs.is_empty() {
        crate::cluster::throttle::apply(services, image);
    }
    let changed = changed_topics(image, delta);
    if changed.is_empty() {
        return;
    }
    let loaded = if services.replicas.is_volatile() {
        load(services, image, &changed, unseen, now)
    } else {
        let (loader, image) = (Arc::clone(services), Arc::clone(image));
        let loading = services.host.on_disk(move || load(&loader, &image, &changed, unseen, now));
        let Ok(loaded) = loading.await else {
            tracing::error!("opening partition logs panicked; the topics concerned are not served");
            return;
        };
        loaded
    };
    for topic in loaded {
        serve(services, topic).await;
    }
}

/// A topic whose logs are open.
struct Loaded {
    entry: TopicEntry,
    /// Groups that run here, or are to.
    wanted: Vec<Wanted>,
    /// Replicas that are not to be here any more.
    gone: Vec<Arc<Partition>>,
}

/// Groups begin before clients see their partitions, so that nobody appends without one.
async fn serve(services: &Arc<Services>, loaded: Loaded) {
    /// Groups that are started side by side.
    const AT_ONCE: usize = 32;
    let Loaded { entry, wanted, gone } = loaded;
    if let Some(cluster) = services.cluster() {
        for partition in &gone {
            let id = GroupId { topic: entry.id, partition: partition.name().partition };
            cluster.groups.end(&id).await;
        }
        let mut wanted = wanted.into_iter();
        loop {
            let some: Vec<Wanted> = wanted.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            join_all(some.into_iter().map(|wanted| cluster.groups.ensure(wanted))).await;
        }
    }
    let name = Arc::clone(&entry.name);
    services.topics.put(entry);
    for partition in gone {
        tracing::info!(partition = %partition.name(), "the replica here is removed");
        services.replicas.delete_partition(&partition, GroupFate::GoesOn);
    }
    services.groups.topic_changed(services, &name);
}

fn changed_topics(image: &MetadataImage, delta: &MetadataDelta) -> BTreeSet<Uuid> {
    let mut changed: BTreeSet<Uuid> = delta.partitions.keys().copied().collect();
    for resource in &delta.configs {
        if let Some(topic) = topic_of(resource).and_then(|name| image.topic(name)) {
            changed.insert(topic.id);
        } else if *resource == ConfigResource::cluster_default() {
            changed.extend(image.topics().map(|topic| topic.id));
        }
    }
    changed
}

fn topic_of(resource: &ConfigResource) -> Option<&str> {
    let topic = ottla_coordinator::metadata::ResourceType::Topic;
    (resource.kind == topic).then_some(resource.name.as_str())
}

/// Dynamic broker settings take effect before the topics that inherit from them are looked at.
fn apply_broker_configs(services: &Services, image: &MetadataImage, delta: &MetadataDelta) {
    let own = ConfigResource::broker(services.node_id);
    let default = ConfigResource::cluster_default();
    if !delta.configs.contains(&own) && !delta.configs.contains(&default) {
        return;
    }
    let values = |of| image.configs(of).map(|values| (**values).clone()).unwrap_or_default();
    if let Err(error) = services.config.set_dynamic(values(&default), values(&own)) {
        tracing::error!(%error, "dynamic broker settings are not in force");
    }
    services.connections.look_again();
}

fn load(
    services: &Services,
    image: &MetadataImage,
    changed: &BTreeSet<Uuid>,
    unseen: History,
    now: Now,
) -> Vec<Loaded> {
    let configuration = services.configuration();
    let mut loaded = Vec::new();
    for topic in changed.iter().filter_map(|id| image.topic_by_id(*id)) {
        let overrides = image.topic_configs(&topic.name).map(|of| (**of).clone());
        let config = TopicConfig::resolve(&overrides.unwrap_or_default(), &configuration.broker);
        match config {
            Ok(config) => loaded.push(load_topic(services, topic, config, unseen, now)),
            Err(error) => {
                tracing::error!(topic = %topic.name, %error, "topic is not served: bad settings");
            }
        }
    }
    // Before anybody can ask: at the start nothing listens yet, and later all logs are new.
    services.replicas.flush_opened();
    loaded
}

fn load_topic(
    services: &Services,
    topic: &TopicImage,
    config: TopicConfig,
    unseen: History,
    now: Now,
) -> Loaded {
    let known = services.topics.by_id(topic.id);
    let settings = log_settings(&config, &services.configuration().broker);
    let mut slots = Vec::with_capacity(topic.partitions.len());
    let (mut wanted, mut gone) = (Vec::new(), Vec::new());
    for (index, image) in topic.iter() {
        let open = known.as_ref().and_then(|known| known.partition(index.get()).ok());
        if !image.replicas.contains(&services.node_id) {
            gone.extend(open);
            slots.push(Slot::Elsewhere);
            continue;
        }
        let slot = match open {
            Some(partition) => {
                partition.reconfigure(settings.clone(), config.durability, image.leader_epoch);
                Slot::Here(partition)
            }
            None => {
                let several = image.replicas.len() > 1;
                let new = NewPartition {
                    name: TopicPartition { topic: Arc::clone(&topic.name), partition: index },
                    topic_id: topic.id,
                    settings: settings.clone(),
                    durability: config.durability,
                    epoch: image.leader_epoch,
                    copies: if several { Copies::Several } else { Copies::One },
                    directory: image.directory_of(services.node_id).unwrap_or_default(),
                    history: match &known {
                        // Several replicas can build one of theirs up again.
                        Some(known) if known.has(index.get()) && !several => History::Existing,
                        _ if several => History::New,
                        _ => unseen,
                    },
                };
                match services.replicas.open_unflushed(new, now) {
                    Ok(partition) => Slot::Here(partition),
                    Err(error) => {
                        tracing::error!(topic = %topic.name, partition = %index, %error,
                            "partition is not served");
                        Slot::Offline
                    }
                }
            }
        };
        if let Slot::Here(partition) = &slot {
            wanted.extend(group_of(services, topic, index, image, partition));
        }
        slots.push(slot);
    }
    let metrics = services.metrics.topic(&topic.name);
    let name = Arc::clone(&topic.name);
    let entry = TopicEntry::new(name, topic.id, config, slots, metrics);
    Loaded { entry, wanted, gone }
}

/// The group that a replica here takes part in, if it does.
fn group_of(
    services: &Services,
    topic: &TopicImage,
    index: PartitionId,
    image: &PartitionImage,
    partition: &Arc<Partition>,
) -> Option<Wanted> {
    services.cluster()?;
    let directory = services.replicas.directory_of(partition.name()).unwrap_or_default();
    let here = (ReplicaId { node: services.node_id, directory }, Arc::clone(partition));
    let id = GroupId { topic: topic.id, partition: index };
    let fresh = services.random.next_uuid();
    groups::wanted(id, image, here, partition.is_replicated(), fresh)
}

/// A topic's settings as its logs need them.
fn log_settings(topic: &TopicConfig, broker: &BrokerConfig) -> LogSettings {
    LogSettings {
        producer_id_expiration: broker.log.producer_id_expiration,
        ..LogSettings::from(topic)
    }
}

async fn remove(services: &Services, id: Uuid, now: Now) {
    let Some(entry) = services.topics.remove(id) else { return };
    for (index, partition) in entry.partitions() {
        if let Some(cluster) = services.cluster() {
            cluster.groups.end(&GroupId { topic: id, partition: PartitionId(index) }).await;
        }
        services.replicas.delete_partition(partition, GroupFate::Deleted);
    }
    services.metrics.forget_topic(&entry.name);
    let deleted = DeletedTopic { name: Arc::clone(&entry.name), id: entry.id };
    services.groups.topic_deleted(&deleted, now);
}

/// Where a replica of this broker is.
pub(crate) fn whereabouts(
    topic: Uuid,
    partition: PartitionId,
    directory: Uuid,
    identity: Option<(Uuid, u32)>,
) -> Whereabouts {
    Whereabouts {
        topic: topic.as_u128(),
        partition: partition.get(),
        directory: directory.as_u128(),
        key: identity.map(|(key, _)| key.as_u128()),
        formation: identity.map_or(0, |(_, formation)| formation),
    }
}

/// Where this broker's replicas of changed partitions are, and what they go by, where the image does not say
/// so.
pub(crate) fn misplaced(
    services: &Services,
    image: &MetadataImage,
    delta: &MetadataDelta,
) -> Vec<Whereabouts> {
    let node = services.node_id;
    let mut found = Vec::new();
    for topic in delta.partitions.keys().filter_map(|id| image.topic_by_id(*id)) {
        for (index, partition) in topic.iter() {
            let Some(known) = partition.directory_of(node) else { continue };
            let name = TopicPartition { topic: Arc::clone(&topic.name), partition: index };
            let at = match services.replicas.directory_of(&name) {
                Some(directory) => directory,
                None if image.has_directory_of(partition, node) => LOST_DIRECTORY,
                None => continue,
            };
            let identity = services.replicas.identity_of(&name);
            let news = |(key, formation): (Uuid, u32)| {
                formation >= partition.formations() && partition.key_of(node) != Some(key)
            };
            if at != known || identity.is_some_and(news) {
                found.push(whereabouts(topic.id, index, at, identity));
            }
        }
    }
    found
}
