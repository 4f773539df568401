//! The cluster controller: what the metadata log says, and what may be appended to it.
//!
//! ```text
//!   command ──decide(image)──> records + reply         (pure: no clock, no disk, no randomness of its own)
//!                                │       └ leaves once the records are durable
//!                    log append ─┤
//!                                └─apply──> the next MetadataImage + MetadataDelta for who acts on it
//! ```
//!
//! Owns: [`MetadataImage`], [`MetadataRecord`], [`MetadataDelta`] and every decision as a [`Command`].
//! Never: appends, waits, or knows whether one node or a quorum keeps the log. Invariants: replaying
//! the records gives the same image; [`MetadataImage::validate`] holds after every command; refusals
//! have Kafka's codes and messages.

mod apply;
mod assignment;
mod brokers;
mod config_rules;
mod configs;
mod decide;
mod delta;
mod directories;
mod elections;
mod error;
mod features;
mod formations;
mod image;
mod partitions;
mod placement;
mod producer_ids;
mod random;
mod reassignments;
mod record;
mod sessions;
mod settings;
#[cfg(test)]
mod testing;
mod text;
mod topic_deletion;
pub mod topic_name;
mod topics;
mod validate;
mod voters;

pub use apply::ApplyError;
pub use brokers::{BrokerState, ChangeBrokerState, FormCluster, RegisterBroker, UnregisterBroker};
pub use config_rules::EffectiveConfig;
pub use configs::{
    AlterConfigs, AlterConfigsReply, AlterTarget, ConfigChange, IncrementalAlterConfigs,
    ResourceAlterations, ResourceValues,
};
pub use decide::{Command, DecideContext, Decision, RECORDS_PER_COMMAND_MAX, Validation};
pub use delta::MetadataDelta;
pub use directories::{
    AssignDirectories, DirectoryAssignment, LOST_DIRECTORY, TakeDirectoriesOffline,
    UNASSIGNED_DIRECTORY,
};
pub use elections::{ElectLeaders, ElectLeadersReply, ElectionType, TopicElections};
pub use error::ControllerError;
pub use features::{
    FeatureUpdate, METADATA_VERSION, SUPPORTED_FEATURES, SupportedFeature, UpdateFeatures,
    UpdateFeaturesReply, UpgradeType,
};
pub use formations::FormAnew;
pub use image::{
    BrokerImage, ConfigMap, ConfigResource, MetadataImage, NO_LEADER, PartitionImage, TopicImage,
};
pub use partitions::{CreatePartitions, CreatePartitionsReply, GrownTopic};
pub use placement::{PlacementError, UsableBroker, place};
pub use producer_ids::{AllocateProducerIds, PRODUCER_ID_BLOCK_SIZE, ProducerIdBlock};
pub use random::{Random, is_reserved};
pub use reassignments::{
    AlterPartitionReassignments, AlterPartitionReassignmentsReply, CompleteReassignment,
    FactorChange, OngoingReassignment, TopicReassignments,
};
pub use record::{
    BrokerRecord, Endpoint, Formation, MetadataRecord, PartitionChange, RECORD_BYTES_MAX,
    RECORD_VERSION, RecordError, ResourceType,
};
pub use sessions::{BrokerSessions, Heartbeat, Intent};
pub use settings::ControllerSettings;
pub use topic_deletion::{DeleteTopics, DeleteTopicsReply, DeletedTopic, DoomedTopic};
pub use topics::{CreateTopics, CreateTopicsReply, CreatedTopic, NewTopic};
pub use validate::Broken;
pub use voters::{KRAFT_VERSION, Quorum, VoterError, VoterKey};

#[cfg(test)]
mod tests;
