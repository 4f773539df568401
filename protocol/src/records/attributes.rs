//! The attributes field of a batch.
//!
//! Owns: the meaning of its bits. Never: decides whether a combination is allowed.
//! Invariant: bits without a meaning survive reading and writing.

use super::codec::Codec;

/// Who set the records' timestamps (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    /// The producer; each record has its own.
    #[default]
    CreateTime,
    /// The broker; every record has the batch's `max_timestamp`.
    LogAppendTime,
}

/// The 16 bits. Six have a meaning: codec (0-2), timestamp type (3), transactional (4),
/// control (5), delete horizon (6, KIP-534).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec; `None` for the numbers 5 to 7, which no codec has.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        Codec::from_id((self.0 & Self::CODEC) as u8)
    }

    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `base_timestamp` is the time from which compaction may drop tombstones.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | codec as i16)
    }

    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    #[must_use]
    pub const fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    #[must_use]
    pub const fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    #[must_use]
    pub const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// Only the bits that have a meaning: what Kafka keeps when it rewrites a header.
    #[must_use]
    pub const fn meaningful(self) -> Self {
        Self(self.0 & 0x7f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_kafkas() {
        let all = Attributes::default()
            .with_codec(Codec::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .with_transactional()
            .with_control()
            .with_delete_horizon();
        assert_eq!(all.0, 0x7c);
        assert_eq!(all.codec(), Some(Codec::Zstd));
        assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).0, 0x74);
        assert_eq!(Attributes(5).codec(), None);
        assert_eq!(Attributes(0x7f80).meaningful(), Attributes(0));
        assert_eq!(Attributes(0x780f).with_codec(Codec::Gzip), Attributes(0x7809));
    }
}
