//! The names of partitions' folders (Kafka's `UnifiedLog.logDirName` and its relatives).
//!
//! Owns: turning a name into a partition and a stage and back. Never: I/O.

use std::fmt::Write as _;

use ottla_protocol::model::{TopicPartition, Uuid};

/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// The longest topic name (Kafka's `Topic.MAX_NAME_LENGTH`).
const TOPIC_BYTES_MAX: usize = 249;

/// Where in its life a partition's folder is; every other than `Live` is a suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FolderStage {
    /// `topic-0`
    Live,
    /// `topic-0.<uuid>-delete`: the partition was deleted, its files wait to be removed. The topic
    /// may be cut short to make room for the suffix.
    Deleting,
    /// `topic-0.<uuid>-future`: it is being moved here from another log directory (KIP-113).
    Future,
    /// `topic-0.<uuid>-stray`: the cluster does not know this replica.
    Stray,
}

impl FolderStage {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleting => "-delete",
            Self::Future => "-future",
            Self::Stray => "-stray",
        }
    }
}

/// The name of a partition's folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FolderName {
    pub partition: TopicPartition,
    pub stage: FolderStage,
    /// What keeps two folders of one partition apart; none where the stage is `Live`.
    pub unique: Option<Uuid>,
}

impl FolderName {
    #[must_use]
    pub fn live(partition: TopicPartition) -> Self {
        Self { partition, stage: FolderStage::Live, unique: None }
    }

    /// The name in another stage; `unique` is a fresh random value.
    #[must_use]
    pub fn in_stage(partition: TopicPartition, stage: FolderStage, unique: Uuid) -> Self {
        let unique = (stage != FolderStage::Live).then_some(unique);
        Self { partition, stage, unique }
    }

    #[must_use]
    pub fn text(&self) -> String {
        let mut suffix = format!("-{}", self.partition.partition);
        if let Some(unique) = self.unique {
            let _ = write!(suffix, ".{}{}", unique.simple(), self.stage.suffix());
        }
        let room = NAME_BYTES_MAX.saturating_sub(suffix.len());
        // Topic names are ASCII; a live name never needs the cut.
        let topic = self.partition.topic.get(..room).unwrap_or(&self.partition.topic);
        format!("{topic}{suffix}")
    }

    /// Reads what [`Self::text`] writes; `None` for every other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        for stage in [FolderStage::Deleting, FolderStage::Future, FolderStage::Stray] {
            let Some(rest) = name.strip_suffix(stage.suffix()) else { continue };
            let Some((partition, unique)) = rest.rsplit_once('.') else { continue };
            // A topic may be called `x.y-delete` as well: then there is no uuid here.
            if unique.len() == 32
                && let Ok(unique) = Uuid::try_parse(unique)
            {
                let partition = parse_partition(partition)?;
                return Some(Self { partition, stage, unique: Some(unique) });
            }
        }
        Some(Self::live(parse_partition(name)?))
    }
}

fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    // `topic-007` is not a name that we or Kafka write.
    if !digits || (partition.len() > 1 && partition.starts_with('0')) || !is_topic(topic) {
        return None;
    }
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

fn is_topic(topic: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !topic.is_empty()
        && topic.len() <= TOPIC_BYTES_MAX
        && topic != "."
        && topic != ".."
        && topic.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let unique = Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        for topic in ["t", "a.b_c-d", "orders-12", "x.y-delete", "__consumer_offsets"] {
            for stage in
                [FolderStage::Live, FolderStage::Deleting, FolderStage::Future, FolderStage::Stray]
            {
                let name = FolderName::in_stage(TopicPartition::new(topic, 42), stage, unique);
                assert_eq!(FolderName::parse(&name.text()), Some(name));
            }
        }
        let name =
            FolderName::in_stage(TopicPartition::new("orders", 3), FolderStage::Deleting, unique);
        assert_eq!(name.text(), "orders-3.0123456789abcdef0011223344556677-delete");
    }

    #[test]
    fn the_longest_topic_is_cut_to_fit() {
        let partition = TopicPartition::new("t".repeat(249), 12);
        let name = FolderName::in_stage(partition, FolderStage::Deleting, Uuid::from_u128(5));
        assert_eq!(name.text().len(), NAME_BYTES_MAX);
        let parsed = FolderName::parse(&name.text()).unwrap();
        assert_eq!((parsed.stage, parsed.unique), (name.stage, name.unique));
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in
            ["", "topic", "topic-", "-1", "topic-x", "topic-01", "topic--1x", "a b-1", "lost+found"]
        {
            assert_eq!(FolderName::parse(name), None, "{name:?}");
        }
        let long = format!("{}-0", "t".repeat(250));
        assert_eq!(FolderName::parse(&long), None);
        assert_eq!(FolderName::parse("topic-99999999999"), None);
    }
}
