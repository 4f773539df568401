//! The integers of the log, each with a type of its own, so that mixing them does not compile.
//!
//! Owns: Offset, LeaderEpoch, Position, ProducerId, ProducerEpoch, Timestamp, MonoTime, NodeId,
//! PartitionId, TopicPartition. Never: I/O, or rules about what values mean to one API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use uuid::Uuid;

macro_rules! integer {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

integer! {
    /// The number of a record in its partition, dense from 0. Negative values are the protocol's
    /// sentinels and never stand in a log.
    Offset(i64)
}
integer! {
    /// How often the leadership of a partition has changed; -1 is "unknown" on the wire.
    LeaderEpoch(i32)
}
integer! {
    /// A byte position in one segment file.
    Position(u64)
}
integer! {
    /// Identity of an idempotent or transactional producer; -1 is "none" on the wire.
    ProducerId(i64)
}
integer! {
    /// Fences older instances of one producer id; -1 is "none" on the wire.
    ProducerEpoch(i16)
}
integer! {
    /// Wall-clock milliseconds since 1970, as records carry them; -1 is "none".
    Timestamp(i64)
}
integer! {
    /// `node.id` of a broker.
    NodeId(i32)
}
integer! {
    /// The index of a partition in its topic, from 0.
    PartitionId(i32)
}

impl Offset {
    pub const ZERO: Self = Self(0);
    pub const NONE: Self = Self(-1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        Self(self.0.saturating_add(records))
    }

    /// How many records lie from `other` up to, and without, `self`.
    #[must_use]
    pub const fn since(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl LeaderEpoch {
    pub const ZERO: Self = Self(0);
    pub const NONE: Self = Self(-1);
}

impl Position {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl ProducerId {
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    pub const NONE: Self = Self(-1);
}

impl Timestamp {
    pub const NONE: Self = Self(-1);

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to `self`; negative where the clock was set back.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A moment of the monotonic clock, for deadlines. It has no relation to [`Timestamp`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// The moment `since_start` after the clock's own zero.
    #[must_use]
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read once at the edge and handed down as an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    pub mono: MonoTime,
    pub wall: Timestamp,
}

/// A topic's name, shared. Cloning is a reference count.
pub type TopicName = Arc<str>;

/// A partition by topic name and index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
}

impl TopicPartition {
    pub fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: PartitionId(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a topic id or cluster id as Kafka does: 22 characters of URL-safe base64, no padding.
#[must_use]
pub fn kafka_uuid_text(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = id.as_u128();
    // 128 bits are 21 groups of six and a last group of two, padded on the right with zeros.
    (0..22)
        .map(|group| {
            let six = if group < 21 { value >> (122 - 6 * group) } else { value << 4 };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

/// Reads what [`kafka_uuid_text`] writes; `None` for anything else.
#[must_use]
pub fn parse_kafka_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 22 {
        return None;
    }
    let mut value: u128 = 0;
    for (group, byte) in text.bytes().enumerate() {
        let six = u128::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        });
        if group < 21 {
            value = (value << 6) | six;
        } else if six & 15 != 0 {
            return None;
        } else {
            value = (value << 2) | (six >> 4);
        }
    }
    Some(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        // Kafka's Uuid.METADATA_TOPIC_ID (0, 1) and a sample topic id.
        assert_eq!(kafka_uuid_text(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        for value in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            let id = Uuid::from_u128(value);
            assert_eq!(parse_kafka_uuid(&kafka_uuid_text(id)), Some(id));
        }
        assert_eq!(parse_kafka_uuid("AAAAAAAAAAAAAAAAAAAAAB"), None, "spare bits must be zero");
        assert_eq!(parse_kafka_uuid("short"), None);
    }

    #[test]
    fn neighbours_saturate() {
        assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
        assert_eq!(Offset(7).since(Offset(3)), 4);
        assert_eq!(
            MonoTime::default().since(MonoTime::from_start(Duration::from_secs(1))),
            Duration::ZERO
        );
    }
}
