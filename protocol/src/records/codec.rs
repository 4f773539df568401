//! The compression codecs by name, number and level.
//!
//! Owns: `Codec` and `Compression`. Never: compresses (`compress`) or expands (`decompress`).
//! Invariant: a level lies within its codec's bounds.

use std::fmt;

/// A compression codec, by its number in the attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    /// Since Produce v7 and Fetch v10 (KIP-110).
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Kafka's name, as `compression.type` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The inverse of [`Codec::name`]; `uncompressed`, the topics' word for none, is taken too.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "uncompressed" {
            return Some(Self::None);
        }
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec with the level to compress at (KIP-780).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    codec: Codec,
    level: i32,
}

impl Compression {
    pub const NONE: Self = Self { codec: Codec::None, level: 0 };

    /// `level` is clamped to what the codec has; `None` takes the codec's default. lz4 accepts
    /// Kafka's levels and compresses all of them alike: its encoder has one.
    #[must_use]
    pub fn new(codec: Codec, level: Option<i32>) -> Self {
        let level = match codec {
            Codec::None | Codec::Snappy => 0,
            // Kafka's -1 is zlib's own default, 6.
            Codec::Gzip => match level {
                None | Some(-1) => 6,
                Some(level) => level.clamp(1, 9),
            },
            Codec::Lz4 => level.unwrap_or(9).clamp(1, 17),
            Codec::Zstd => level.unwrap_or(3).clamp(-131_072, 22),
        };
        Self { codec, level }
    }

    #[must_use]
    pub const fn codec(self) -> Codec {
        self.codec
    }

    #[must_use]
    pub const fn level(self) -> i32 {
        self.level
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(codec, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_inverses() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_id(codec as u8), Some(codec));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Codec::from_id(5), None);
        assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
        assert_eq!(Codec::from_name("producer"), None);
    }

    #[test]
    fn levels_stay_in_bounds() {
        assert_eq!(Compression::new(Codec::Gzip, Some(-1)).level(), 6);
        assert_eq!(Compression::new(Codec::Gzip, Some(99)).level(), 9);
        assert_eq!(Compression::new(Codec::Zstd, None).level(), 3);
    }
}
