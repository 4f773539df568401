//! The names of the files in a partition's folder, as Kafka's `LogFileUtils` gives them.
//!
//! Owns: turning a name into what it is and back. Never: I/O, or the decision what to do with an
//! orphan. A name that is not recognised is not ours to touch.

use ottla_protocol::model::Offset;

/// What a file of a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl FileKind {
    pub const ALL: [Self; 5] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
        Self::ProducerSnapshot,
    ];

    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Where in its life a file is; Kafka writes it as a second suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileStage {
    Live,
    /// Waiting for `file.delete.delay.ms`.
    Deleted,
    /// Being written by the cleaner; worthless after a crash.
    Cleaned,
    /// Complete, replacing older segments; after a crash the swap is finished.
    Swap,
}

impl FileStage {
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }
}

/// One file of a segment, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentFileName {
    pub base: Offset,
    pub kind: FileKind,
    pub stage: FileStage,
}

/// `leader-epoch-checkpoint`.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// `partition.metadata`.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Our own file beside Kafka's: checksums of the sealed segments' indexes. Kafka ignores it.
pub const SEGMENT_SEALS: &str = "segment-seals";

impl SegmentFileName {
    #[must_use]
    pub const fn live(base: Offset, kind: FileKind) -> Self {
        Self { base, kind, stage: FileStage::Live }
    }

    #[must_use]
    pub const fn at(self, stage: FileStage) -> Self {
        Self { stage, ..self }
    }

    /// `00000000000000000042.index`, with the stage's suffix after it.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:020}{}{}", self.base.get(), self.kind.suffix(), self.stage.suffix())
    }

    /// Reads what [`text`](Self::text) writes; `None` for every other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, rest) = name.split_at_checked(20)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let base = Offset(digits.parse().ok()?);
        let kind = FileKind::ALL.into_iter().find(|kind| {
            rest.strip_prefix(kind.suffix())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })?;
        let stage = match &rest[kind.suffix().len()..] {
            "" => FileStage::Live,
            ".deleted" => FileStage::Deleted,
            ".cleaned" => FileStage::Cleaned,
            ".swap" => FileStage::Swap,
            _ => return None,
        };
        Some(Self { base, kind, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in FileKind::ALL {
            for stage in [FileStage::Live, FileStage::Deleted, FileStage::Cleaned, FileStage::Swap]
            {
                for base in [0, 7, i64::MAX] {
                    let name = SegmentFileName { base: Offset(base), kind, stage };
                    assert_eq!(SegmentFileName::parse(&name.text()), Some(name));
                }
            }
        }
        let name = SegmentFileName::live(Offset(42), FileKind::TimeIndex);
        assert_eq!(name.text(), "00000000000000000042.timeindex");
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "leader-epoch-checkpoint",
            "partition.metadata",
            "42.log",
            "0000000000000000000x.log",
            "00000000000000000000-0000000000.checkpoint",
            "00000000000000000000.log.bak",
            "00000000000000000000.logs",
            "99999999999999999999.log",
            "",
            "ääääääääääää",
        ] {
            assert_eq!(SegmentFileName::parse(name), None, "{name}");
        }
    }
}
