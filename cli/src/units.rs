//! Numbers as people write and read them: bytes, spans of time, moments.
//!
//! Owns: both directions. Never: asks for the time (moments are arguments). Invariant: what is
//! printed here can be read here.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

const BYTE_UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `1.2 GiB`; whole bytes below a KiB.
pub(crate) fn bytes(count: i64) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit < BYTE_UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{count} B");
    }
    format!("{value:.1} {}", BYTE_UNITS[unit])
}

/// `1 topic`, `2 topics`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `3m20s`, `1.5s`, `250ms`: the two largest units.
pub(crate) fn duration(span: Duration) -> String {
    let millis = span.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    if millis < 60_000 {
        let tenths = millis / 100;
        return if tenths.is_multiple_of(10) {
            format!("{}s", tenths / 10)
        } else {
            format!("{}.{}s", tenths / 10, tenths % 10)
        };
    }
    let seconds = millis / 1000;
    let (large, large_unit, small, small_unit) = match seconds {
        0..3600 => (seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => (seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    };
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// Reads `250ms`, `30s`, `3m20s`, `1h`, `7d`, `2w`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match rest[..end].trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[end..];
    }
    Some(Duration::from_millis(total))
}

/// Reads `1048576`, `1MiB`, `1M`, `64k`: units are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse().ok()?;
    let power = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    number.checked_mul(1 << (10 * power))
}

/// A moment as RFC 3339 in UTC; `-` when there is none.
pub(crate) fn time(epoch_ms: i64) -> String {
    if epoch_ms < 0 {
        return "-".to_owned();
    }
    match Timestamp::from_millisecond(epoch_ms) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => epoch_ms.to_string(),
    }
}

/// Reads a moment: RFC 3339, a date or a date and time (in `zone`), epoch seconds or milliseconds,
/// or a span before `now_ms` (`-1h`).
pub(crate) fn parse_time(text: &str, now_ms: i64, zone: &TimeZone) -> Option<i64> {
    if let Some(span) = text.strip_prefix('-') {
        let span = parse_duration(span)?;
        return now_ms.checked_sub(i64::try_from(span.as_millis()).ok()?);
    }
    if let Ok(number) = text.parse::<i64>() {
        // Seconds until the year 5138; smaller milliseconds would lie in 1973.
        return if number < 100_000_000_000 { number.checked_mul(1000) } else { Some(number) };
    }
    if text == "now" {
        return Some(now_ms);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_millisecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let zoned = zone.to_zoned(civil).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_what_they_print() {
        for (millis, expected) in [
            (0, "0ms"),
            (250, "250ms"),
            (1500, "1.5s"),
            (30_000, "30s"),
            (200_000, "3m20s"),
            (3_600_000, "1h"),
            (90_000_000, "1d1h"),
        ] {
            let span = Duration::from_millis(millis);
            assert_eq!(duration(span), expected);
            if !expected.contains('.') {
                assert_eq!(parse_duration(expected), Some(span));
            }
        }
        for wrong in ["", "5", "h", "1x", "-1s", "99999999999999999999h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_have_binary_units() {
        assert_eq!(count(1, "topic"), "1 topic");
        assert_eq!(count(0, "topic"), "0 topics");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_288_490_189), "1.2 GiB");
        assert_eq!(parse_bytes("1MiB"), Some(1 << 20));
        assert_eq!(parse_bytes("64 k"), Some(64 << 10));
        assert_eq!(parse_bytes("9223372036854775807k"), None);
        assert_eq!(parse_bytes("many"), None);
    }

    #[test]
    fn moments_have_many_forms() {
        let now = 1_700_000_000_000;
        let read = |text: &str| parse_time(text, now, &TimeZone::UTC);
        assert_eq!(read("2023-11-14T22:13:20Z"), Some(now));
        assert_eq!(read("2023-11-14T23:13:20+01:00"), Some(now));
        assert_eq!(read("2023-11-14"), Some(1_699_920_000_000));
        assert_eq!(read("1700000000"), Some(now));
        assert_eq!(read("1700000000000"), Some(now));
        assert_eq!(read("-1h"), Some(now - 3_600_000));
        assert_eq!(read("yesterday"), None);
        assert_eq!(time(now), "2023-11-14T22:13:20.000Z");
        assert_eq!(time(-1), "-");
    }
}
