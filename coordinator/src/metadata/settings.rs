//! What the controller knows from its node's configuration.
//!
//! Owns: [`ControllerSettings`], made once from the static configuration. Never: dynamic configs,
//! which are in the image.

use ottla_config::layers::Values;
use ottla_config::{BrokerConfig, ConfigError, ConfigLayers};
use ottla_protocol::model::NodeId;

use super::image::{ConfigResource, MetadataImage};
use super::topic_name;
use super::topics::NewTopic;

/// Defaults and limits of decisions. Read-only keys: they can't change while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    pub node_id: NodeId,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    offsets: InternalTopic,
    transactions: InternalTopic,
    static_values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InternalTopic {
    partitions: i32,
    replication_factor: i16,
    segment_bytes: u64,
}

impl ControllerSettings {
    /// From a node's configuration and the values that it was started with.
    #[must_use]
    pub fn new(config: &BrokerConfig, static_values: Values) -> Self {
        Self {
            node_id: NodeId(config.node.node_id),
            num_partitions: config.topics.partitions_default,
            default_replication_factor: config.topics.replication_factor_default,
            delete_topic_enable: config.topics.delete_enabled,
            offsets: InternalTopic {
                partitions: config.offsets.topic_partitions,
                replication_factor: config.offsets.topic_replication_factor,
                segment_bytes: config.offsets.topic_segment_bytes.bytes(),
            },
            transactions: InternalTopic {
                partitions: config.transactions.topic_partitions,
                replication_factor: config.transactions.topic_replication_factor,
                segment_bytes: config.transactions.topic_segment_bytes.bytes(),
            },
            static_values,
        }
    }

    /// From the values that a node was started with.
    ///
    /// # Errors
    /// A value is refused.
    pub fn from_static(static_values: Values) -> Result<Self, ConfigError> {
        let layers = ConfigLayers::from_static(static_values);
        let config = BrokerConfig::from_layers(&layers)?;
        Ok(Self::new(&config, layers.static_values))
    }

    /// All layers of a broker's configuration as the image has them. Static values are this node's.
    #[must_use]
    pub fn layers(&self, image: &MetadataImage, broker: NodeId) -> ConfigLayers {
        let dynamic = |resource: &ConfigResource| {
            image.configs(resource).map(|map| (**map).clone()).unwrap_or_default()
        };
        ConfigLayers {
            static_values: self.static_values.clone(),
            dynamic_default: dynamic(&ConfigResource::cluster_default()),
            dynamic_broker: dynamic(&ConfigResource::broker(broker)),
        }
    }

    /// The values that the node was started with.
    #[must_use]
    pub const fn static_values(&self) -> &Values {
        &self.static_values
    }

    /// How the broker creates a topic that a client named and that does not exist: an internal one
    /// with what its coordinator needs (Kafka's `AutoTopicCreationManager`), others with defaults.
    ///
    /// `brokers` is how many may hold replicas: a small cluster gets fewer replicas of internal
    /// topics rather than none. Kafka refuses here; a single node must work with no settings.
    #[must_use]
    pub fn automatic_topic(&self, name: &str, brokers: usize) -> NewTopic {
        let internal = match name {
            topic_name::CONSUMER_OFFSETS => Some((&self.offsets, "producer")),
            topic_name::TRANSACTION_STATE => Some((&self.transactions, "uncompressed")),
            _ => None,
        };
        let Some((topic, compression)) = internal else { return NewTopic::with_defaults(name) };
        let most = i16::try_from(brokers.max(1)).unwrap_or(i16::MAX);
        let mut configs = vec![
            ("cleanup.policy".to_owned(), Some("compact".to_owned())),
            ("compression.type".to_owned(), Some(compression.to_owned())),
            ("segment.bytes".to_owned(), Some(topic.segment_bytes.to_string())),
        ];
        if name == topic_name::TRANSACTION_STATE {
            configs.push(("unclean.leader.election.enable".to_owned(), Some("false".to_owned())));
        }
        NewTopic {
            partitions: topic.partitions,
            replication_factor: topic.replication_factor.min(most),
            configs,
            ..NewTopic::with_defaults(name)
        }
    }
}
