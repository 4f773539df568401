//! Amounts with units, for files, environment and command line.
//!
//! Owns: [`ByteSize`], and turning `7d` or `1GiB` into the number that Kafka's key wants. The wire
//! and the typed structs never see a unit: after loading, texts are plain numbers again.
//! Never: applies to text that comes over the protocol, where Kafka refuses units.

use std::fmt;

use crate::key::ConfigKey;
use crate::value::Kind;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; as much as there can be when it is more.
    pub fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the number of a key counts, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Bytes,
    /// A plain number, or no number.
    Plain,
}

impl Unit {
    /// Kafka's names end in their unit; byte counts say `bytes` or are the size of a buffer.
    pub fn of(key: &ConfigKey) -> Self {
        if !matches!(key.kind, Kind::Short | Kind::Int | Kind::Long | Kind::Double) {
            return Self::Plain;
        }
        let last = key.name.rsplit('.').next().unwrap_or_default();
        match last {
            "ms" | "millis" => Self::Milliseconds,
            _ if key.name.contains("bytes") => Self::Bytes,
            "seconds" | "secs" => Self::Seconds,
            "minutes" => Self::Minutes,
            "hours" => Self::Hours,
            "size" if key.name.contains("buffer") || key.name.contains("receive") => Self::Bytes,
            _ => Self::Plain,
        }
    }

    /// How many of the smallest unit (milliseconds, bytes) one is.
    const fn scale(self) -> i128 {
        match self {
            Self::Milliseconds | Self::Bytes | Self::Plain => 1,
            Self::Seconds => 1_000,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        }
    }
}

/// Rewrites an amount with a unit as the plain number that the key wants; other texts stay as they
/// are.
///
/// # Errors
/// The unit does not fit the key, or the amount is no whole number of the key's unit.
pub fn without_unit(key: &ConfigKey, text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, suffix) = trimmed.split_at(digits);
    let suffix = suffix.trim();
    let unit = Unit::of(key);
    let starts_as_word = suffix.starts_with(|c: char| c.is_ascii_alphabetic());
    if number.is_empty() || !starts_as_word || unit == Unit::Plain || is_exponent(key, suffix) {
        return Ok(text.to_owned());
    }
    let factor = match unit {
        Unit::Bytes => byte_factor(suffix),
        _ => time_factor(suffix),
    };
    let Some(factor) = factor else {
        return Err(format!("`{suffix}` is not a unit of {}; {}", key.name, known_units(unit)));
    };
    let amount = number.parse::<i64>().ok().and_then(|n| i128::from(n).checked_mul(factor));
    let Some(amount) = amount else { return Err(format!("{trimmed} is too large a number")) };
    if amount % unit.scale() != 0 {
        return Err(format!("{trimmed} is not a whole number of {unit:?}").to_lowercase());
    }
    Ok((amount / unit.scale()).to_string())
}

/// `1E308` is a number of Java, not an amount.
fn is_exponent(key: &ConfigKey, suffix: &str) -> bool {
    key.kind == Kind::Double
        && suffix.strip_prefix(['e', 'E']).is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        })
}

fn known_units(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "use B, KiB, MiB, GiB, TiB or kB, MB, GB, TB",
        _ => "use ms, s, m, h, d or w",
    }
}

fn time_factor(suffix: &str) -> Option<i128> {
    Some(match suffix {
        "ms" => 1,
        "s" | "sec" | "secs" => 1_000,
        "m" | "min" | "mins" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 604_800_000,
        _ => return None,
    })
}

fn byte_factor(suffix: &str) -> Option<i128> {
    Some(match suffix {
        "B" | "b" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::key::Scope;

    fn check(name: &str, text: &str) -> Result<String, String> {
        without_unit(catalog::lookup(Scope::Broker, name).unwrap(), text)
    }

    #[test]
    fn amounts_become_the_number_of_the_keys_unit() {
        for (name, text, expected) in [
            ("log.retention.ms", "7d", "604800000"),
            ("log.retention.hours", "7d", "168"),
            ("log.retention.minutes", "1h", "60"),
            ("log.segment.bytes", "1GiB", "1073741824"),
            ("log.segment.bytes", "1 MB", "1000000"),
            ("log.cleaner.dedupe.buffer.size", "128MiB", "134217728"),
            ("log.cleaner.io.max.bytes.per.second", "1E6", "1E6"),
            ("log.cleaner.io.max.bytes.per.second", "1MiB", "1048576"),
            ("log.retention.ms", "-1", "-1"),
            ("log.retention.ms", "x", "x"),
            ("num.partitions", "3x", "3x"),
            ("broker.rack", "7d", "7d"),
        ] {
            assert_eq!(check(name, text).as_deref(), Ok(expected), "{name} {text}");
        }
    }

    #[test]
    fn wrong_units_say_which_ones_there_are() {
        for (name, text, expected) in [
            ("log.retention.hours", "90m", "90m is not a whole number of hours"),
            (
                "log.segment.bytes",
                "7d",
                "`d` is not a unit of log.segment.bytes; use B, KiB, MiB, GiB, TiB or kB, MB, GB, TB",
            ),
            ("log.roll.ms", "1y", "`y` is not a unit of log.roll.ms; use ms, s, m, h, d or w"),
            ("log.roll.ms", "99999999999999999999d", "99999999999999999999d is too large a number"),
        ] {
            assert_eq!(check(name, text), Err(expected.to_owned()));
        }
    }
}
