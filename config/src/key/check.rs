//! Bounds of single values, with Kafka's sentences (`ConfigDef.Range`, `ValidString`, `ValidList`,
//! …).
//!
//! Owns: rules about one value alone. Never: rules between keys (see `validate.rs`).

use crate::error::ConfigError;
use crate::value::Value;

/// The rule for one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// A fraction from 0 to 0.5.
    UpToHalf,
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    OneOf(&'static [&'static str]),
    OneOfIgnoreCase(&'static [&'static str]),
    /// Every item of the list is one of these.
    EachOf(&'static [&'static str]),
    /// Items of the list are neither empty nor repeated.
    Distinct,
    NonEmpty,
    /// Kafka's validator only refuses null, which no text is.
    NonNull,
    /// Kafka's validator of the quorum's addresses; despite its name it takes an empty list.
    NonEmptyList,
    /// `*`, or a list of `partition:broker` (KIP-73).
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` with an ISO 8601 duration (KIP-932, KIP-1106).
    OffsetReset,
}

impl Check {
    /// # Errors
    /// The value breaks the rule.
    pub fn ensure(self, name: &str, value: &Value) -> Result<(), ConfigError> {
        let refuse = |reason: String| Err(ConfigError::invalid(name, value.text(), reason));
        match (self, value) {
            (Self::AtLeast(minimum), v) => within(name, v, minimum as f64, f64::INFINITY),
            (Self::Between(minimum, maximum), v) => within(name, v, minimum as f64, maximum as f64),
            (Self::UpToHalf, v) => within(name, v, 0.0, 0.5),
            (Self::GzipLevel, Value::Int(level)) if *level != -1 && !(1..=9).contains(level) => {
                refuse("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            (Self::OneOf(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
                refuse(format!("String must be one of: {}", words.join(", ")))
            }
            (Self::OneOfIgnoreCase(words), Value::Text(text))
                if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
            {
                refuse(format!("String must be one of (case insensitive): {}", words.join(", ")))
            }
            (Self::EachOf(words), Value::List(items)) => each_of(name, words, items),
            (Self::Distinct, Value::List(items)) => distinct(name, items),
            (Self::NonEmpty, Value::Text(text)) if text.is_empty() => {
                refuse("String must be non-empty".to_owned())
            }
            (Self::ThrottledReplicas, Value::List(items)) if !throttled_replicas(items) => {
                let reason = format!(
                    "{name} must be the literal '*' or a list of replicas in the following \
                     format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                );
                // This validator of Kafka's shows the list itself.
                Err(ConfigError::invalid(name, format!("[{}]", items.join(", ")), reason))
            }
            (Self::OffsetReset, Value::Text(text)) if !offset_reset(text) => refuse(format!(
                "Invalid value `{text}` for configuration {name}. The value must be either \
                 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            )),
            _ => Ok(()),
        }
    }

    /// The range as the reference table shows it; empty when anything goes.
    pub fn summary(self) -> String {
        match self {
            Self::Any | Self::NonNull | Self::NonEmptyList => String::new(),
            Self::AtLeast(minimum) => format!("at least {minimum}"),
            Self::Between(minimum, maximum) => format!("{minimum} to {maximum}"),
            Self::UpToHalf => "0 to 0.5".to_owned(),
            Self::GzipLevel => "1 to 9, or -1".to_owned(),
            Self::OneOf(words) | Self::OneOfIgnoreCase(words) => words.join(", "),
            Self::EachOf(words) => format!("any of {}", words.join(", ")),
            Self::Distinct => "no item twice".to_owned(),
            Self::NonEmpty => "not empty".to_owned(),
            Self::ThrottledReplicas => "`*` or `partition:broker,…`".to_owned(),
            Self::OffsetReset => "earliest, latest, by_duration:PnDTnHnMn.nS".to_owned(),
        }
    }
}

fn within(name: &str, value: &Value, minimum: f64, maximum: f64) -> Result<(), ConfigError> {
    let Some(number) = value.number() else { return Ok(()) };
    if number < minimum {
        return Err(ConfigError::invalid(
            name,
            value.text(),
            format!("Value must be at least {minimum}"),
        ));
    }
    if number > maximum {
        return Err(ConfigError::invalid(
            name,
            value.text(),
            format!("Value must be no more than {maximum}"),
        ));
    }
    Ok(())
}

fn each_of(name: &str, words: &[&str], items: &[String]) -> Result<(), ConfigError> {
    refuse_empty_items(name, items)?;
    for item in items {
        if !words.contains(&item.as_str()) {
            let reason = format!("String must be one of: {}", words.join(", "));
            return Err(ConfigError::invalid(name, item, reason));
        }
    }
    Ok(())
}

fn distinct(name: &str, items: &[String]) -> Result<(), ConfigError> {
    refuse_empty_items(name, items)?;
    let mut seen = std::collections::BTreeSet::new();
    if !items.iter().all(|item| seen.insert(item)) {
        return Err(ConfigError::Refused(format!(
            "Configuration '{name}' values must not be duplicated."
        )));
    }
    Ok(())
}

fn refuse_empty_items(name: &str, items: &[String]) -> Result<(), ConfigError> {
    if items.iter().any(String::is_empty) {
        return Err(ConfigError::Refused(format!(
            "Configuration '{name}' values must not be empty."
        )));
    }
    Ok(())
}

fn throttled_replicas(items: &[String]) -> bool {
    let pair = |item: &String| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        item.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
    };
    matches!(items, [only] if only == "*") || items.iter().all(pair)
}

fn offset_reset(text: &str) -> bool {
    matches!(text, "earliest" | "latest")
        || text.strip_prefix("by_duration:").is_some_and(is_iso_duration)
}

/// `PnDTnHnMn.nS`, not negative: what Java's `Duration.parse` takes and Kafka lets through.
fn is_iso_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['P', 'p']) else { return false };
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return false,
        None => (rest, ""),
    };
    let fields = |mut text: &str, units: &[char]| {
        let mut allowed = units.iter();
        while !text.is_empty() {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let Some(unit) = text[end..].chars().next().map(|c| c.to_ascii_uppercase()) else {
                return false;
            };
            let number = &text[..end];
            let fraction_allowed = unit == 'S';
            if number.is_empty()
                || (!fraction_allowed && number.contains('.'))
                || number.parse::<f64>().is_err()
                || !allowed.any(|candidate| *candidate == unit)
            {
                return false;
            }
            text = &text[end + 1..];
        }
        true
    };
    !(days.is_empty() && time.is_empty()) && fields(days, &['D']) && fields(time, &['H', 'M', 'S'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Check, value: Value) -> String {
        rule.ensure("k", &value).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    fn list(items: &[&str]) -> Value {
        Value::List(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn bounds_have_kafkas_sentences() {
        let at_least = "Invalid value 0 for configuration k: Value must be at least 1";
        assert_eq!(check(Check::AtLeast(1), Value::Int(0)), at_least);
        let no_more = "Invalid value 23 for configuration k: Value must be no more than 22";
        assert_eq!(check(Check::Between(1, 22), Value::Int(23)), no_more);
        let half = "Invalid value 0.7 for configuration k: Value must be no more than 0.5";
        assert_eq!(check(Check::UpToHalf, Value::Double(0.7)), half);
        assert_eq!(check(Check::AtLeast(-1), Value::Long(i64::MAX)), "ok");
    }

    #[test]
    fn words_and_lists() {
        let one_of = "Invalid value c for configuration k: String must be one of: a, b";
        assert_eq!(check(Check::OneOf(&["a", "b"]), Value::Text("c".to_owned())), one_of);
        assert_eq!(check(Check::EachOf(&["a", "b"]), list(&["a", "c"])), one_of);
        assert_eq!(check(Check::EachOf(&["a"]), list(&[])), "ok");
        let empty = "Configuration 'k' values must not be empty.";
        assert_eq!(check(Check::EachOf(&["a"]), list(&["a", ""])), empty);
        assert_eq!(check(Check::OneOfIgnoreCase(&["A"]), Value::Text("a".to_owned())), "ok");
        assert!(check(Check::Distinct, list(&["a", "a"])).contains("must not be duplicated"));
        assert!(check(Check::Distinct, list(&["a", ""])).contains("must not be empty"));
    }

    #[test]
    fn throttled_replicas_are_pairs_or_a_star() {
        for good in [&["*"][..], &["0:1", "1:2"], &[]] {
            assert_eq!(check(Check::ThrottledReplicas, list(good)), "ok", "{good:?}");
        }
        for bad in [&["*", "0:1"][..], &["1"], &["a:b"], &["1:"]] {
            assert_ne!(check(Check::ThrottledReplicas, list(bad)), "ok", "{bad:?}");
        }
        let shown = check(Check::ThrottledReplicas, list(&["1:1", "*"]));
        assert!(shown.starts_with("Invalid value [1:1, *] for configuration k: k must be"));
    }

    #[test]
    fn offset_reset_takes_iso_durations() {
        for good in ["earliest", "latest", "by_duration:P1D", "by_duration:PT1H2M3.5S"] {
            assert_eq!(check(Check::OffsetReset, Value::Text(good.to_owned())), "ok", "{good}");
        }
        for bad in [
            "",
            "none",
            "by_duration:",
            "by_duration:P",
            "by_duration:P1DT",
            "by_duration:-P1D",
            "by_duration:PT1.5H",
        ] {
            assert_ne!(check(Check::OffsetReset, Value::Text(bad.to_owned())), "ok", "{bad}");
        }
    }
}
