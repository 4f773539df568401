//! The language of places in a log: `start`, `end`, `N`, `+N`, `-N`, `@TIME`, and spans of them.
//!
//! Owns: parsing and the resolution to offsets. Never: asks a broker (the bounds are arguments).
//! Invariant: a resolved offset lies between the log's start and end.

use jiff::tz::TimeZone;

use crate::units::parse_time;

/// A place in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    Start,
    End,
    Offset(i64),
    /// `+N`: so many after the start.
    AfterStart(i64),
    /// `-N`: so many before the end.
    BeforeEnd(i64),
    /// `@TIME`: the first record at or after this moment, in epoch milliseconds.
    Time(i64),
}

/// From one place up to, and without, another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) from: Option<Position>,
    pub(crate) to: Option<Position>,
}

/// The moment and zone that relative and civil times are read with.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) now_ms: i64,
    pub(crate) zone: TimeZone,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self { now_ms: jiff::Timestamp::now().as_millisecond(), zone: TimeZone::system() }
    }
}

/// The bounds of a partition, and what its time index says for [`Position::Time`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Offset at the asked time; `None`: no record is that new.
    pub(crate) at_time: Option<i64>,
}

impl Position {
    pub(crate) fn parse(text: &str, clock: &Clock) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no place in a log: use start, end, an offset, +N (after the start), \
                 -N (before the end) or @TIME"
            )
        };
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|n| *n >= 0);
        match text {
            "start" | "earliest" | "oldest" | "beginning" => return Ok(Self::Start),
            "end" | "latest" | "newest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return parse_time(time, clock.now_ms, &clock.zone).map(Self::Time).ok_or_else(|| {
                format!(
                    "\"{time}\" is no time: use RFC 3339, a date, epoch seconds or milliseconds, \
                     or a span such as -1h"
                )
            });
        }
        let position = if let Some(digits) = text.strip_prefix('+') {
            number(digits).map(Self::AfterStart)
        } else if let Some(digits) = text.strip_prefix('-') {
            number(digits).map(Self::BeforeEnd)
        } else {
            number(text).map(Self::Offset)
        };
        position.ok_or_else(wrong)
    }

    /// The offset in a partition with these bounds.
    pub(crate) fn resolve(self, bounds: Bounds) -> i64 {
        let offset = match self {
            Self::Start => bounds.start,
            Self::End => bounds.end,
            Self::Offset(offset) => offset,
            Self::AfterStart(count) => bounds.start.saturating_add(count),
            Self::BeforeEnd(count) => bounds.end.saturating_sub(count),
            Self::Time(_) => bounds.at_time.unwrap_or(bounds.end),
        };
        offset.clamp(bounds.start, bounds.end.max(bounds.start))
    }

    /// The time that must be asked for before this can be resolved.
    pub(crate) const fn time(self) -> Option<i64> {
        match self {
            Self::Time(moment) => Some(moment),
            _ => None,
        }
    }
}

impl Span {
    /// `A`, `A..`, `..B`, `A..B`, and rpk's `A:B`.
    pub(crate) fn parse(text: &str, clock: &Clock) -> Result<Self, String> {
        let side = |part: &str| match part {
            "" => Ok(None),
            part => Position::parse(part, clock).map(Some),
        };
        if let Some((from, to)) = text.split_once("..") {
            return Ok(Self { from: side(from)?, to: side(to)? });
        }
        let whole = match Position::parse(text, clock) {
            Ok(from) => return Ok(Self { from: Some(from), to: None }),
            Err(whole) => whole,
        };
        // Times have colons of their own: the first split that makes two places wins.
        let splits = text.match_indices(':').filter_map(|(at, _)| {
            let (from, to) = (side(&text[..at]).ok()?, side(&text[at + 1..]).ok()?);
            (from.is_some() || to.is_some()).then_some(Self { from, to })
        });
        splits.into_iter().next().ok_or(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn clock() -> Clock {
        Clock { now_ms: NOW, zone: TimeZone::UTC }
    }

    #[test]
    fn places_parse() {
        for (text, expected) in [
            ("start", Position::Start),
            ("latest", Position::End),
            ("12", Position::Offset(12)),
            ("+5", Position::AfterStart(5)),
            ("-5", Position::BeforeEnd(5)),
            ("@-1h", Position::Time(NOW - 3_600_000)),
            ("@2023-11-14T22:13:20Z", Position::Time(NOW)),
        ] {
            assert_eq!(Position::parse(text, &clock()), Ok(expected));
        }
        for wrong in ["", "x", "--1", "+-1", "@tomorrow", "1.5"] {
            assert!(Position::parse(wrong, &clock()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_parse() {
        let span = |from, to| Ok(Span { from, to });
        let parse = |text: &str| Span::parse(text, &clock());
        assert_eq!(parse("5"), span(Some(Position::Offset(5)), None));
        assert_eq!(parse("5..9"), span(Some(Position::Offset(5)), Some(Position::Offset(9))));
        assert_eq!(parse("..9"), span(None, Some(Position::Offset(9))));
        assert_eq!(parse("start:end"), span(Some(Position::Start), Some(Position::End)));
        assert_eq!(
            parse("@2023-11-14T22:13:20Z:end"),
            span(Some(Position::Time(NOW)), Some(Position::End))
        );
        assert!(parse("a..b").is_err());
        assert!(parse(":").is_err());
    }

    #[test]
    fn resolution_stays_within_the_log() {
        let bounds = Bounds { start: 10, end: 20, at_time: None };
        for (position, expected) in [
            (Position::Start, 10),
            (Position::End, 20),
            (Position::Offset(5), 10),
            (Position::AfterStart(3), 13),
            (Position::BeforeEnd(4), 16),
            (Position::BeforeEnd(400), 10),
            (Position::Time(1), 20),
        ] {
            assert_eq!(position.resolve(bounds), expected, "{position:?}");
        }
        let found = Bounds { at_time: Some(12), ..bounds };
        assert_eq!(Position::Time(1).resolve(found), 12);
    }
}
