//! Consumer groups on this broker.
//!
//! Owns: nothing yet but its seams; the coordinator of classic groups is joined here.

use ottla_protocol::model::{Now, Offset, TopicName, TopicPartition};

/// A group's committed offset, for metrics.
#[derive(Clone, Debug)]
pub(crate) struct GroupOffset {
    pub group: TopicName,
    pub partition: TopicPartition,
    pub offset: Offset,
}

/// The group coordinator's driver.
#[derive(Debug, Default)]
pub(crate) struct GroupService {}

impl GroupService {
    /// Every committed offset of the groups that this broker coordinates.
    #[must_use]
    pub(crate) fn committed_offsets(&self) -> Vec<GroupOffset> {
        Vec::new()
    }

    /// Offsets of a topic that is gone are forgotten.
    pub(crate) fn topic_deleted(&self, _topic: &str, _now: Now) {}
}
