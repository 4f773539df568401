//! Kinds of values, and text to value and back.
//!
//! Owns: parsing as Kafka's `ConfigDef.parseType` does it and printing as
//! `ConfigDef.convertToString` does it. Never: checks bounds (see [`crate::key::Check`]) or
//! understands units (see [`crate::units`]).
//! Invariant: printing a parsed value gives the text that DescribeConfigs of Apache Kafka answers.

use crate::error::ConfigError;

/// The type of a key, as DescribeConfigs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
    /// Kafka keeps the key for a plugin and does not know its type; it is never shown.
    Unknown,
}

impl Kind {
    /// Kafka's word, as in "Not a number of type INT".
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// `config_type` of DescribeConfigs v3 and later (KIP-569).
    pub fn code(self) -> i8 {
        match self {
            Self::Unknown => 0,
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Whether values are withheld from everyone who asks.
    pub fn is_sensitive(self) -> bool {
        matches!(self, Self::Password | Self::Unknown)
    }
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Boolean(bool),
    Text(String),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    List(Vec<String>),
}

impl Value {
    /// Reads `text` as a value of `kind`; `name` only serves the error.
    ///
    /// # Errors
    /// The text is no value of that kind; the sentence is Kafka's.
    pub fn parse(name: &str, kind: Kind, text: &str) -> Result<Self, ConfigError> {
        let trimmed = text.trim_matches(|c: char| c <= ' ');
        let number = |_| ConfigError::invalid(name, text, not_a_number(kind));
        match kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Self::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Self::Boolean(false)),
            Kind::Boolean => {
                Err(ConfigError::invalid(name, text, "Expected value to be either true or false"))
            }
            Kind::Short => trimmed.parse().map(Self::Short).map_err(number),
            Kind::Int => trimmed.parse().map(Self::Int).map_err(number),
            Kind::Long => trimmed.parse().map(Self::Long).map_err(number),
            Kind::Double => parse_double(trimmed)
                .map(Self::Double)
                .ok_or_else(|| ConfigError::invalid(name, text, not_a_number(kind))),
            Kind::List => Ok(Self::List(split_list(trimmed))),
            Kind::String | Kind::Class | Kind::Password | Kind::Unknown => {
                Ok(Self::Text(trimmed.to_owned()))
            }
        }
    }

    /// The text that DescribeConfigs answers.
    pub fn text(&self) -> String {
        match self {
            Self::Boolean(v) => v.to_string(),
            Self::Text(v) => v.clone(),
            Self::Short(v) => v.to_string(),
            Self::Int(v) => v.to_string(),
            Self::Long(v) => v.to_string(),
            Self::Double(v) => print_double(*v),
            Self::List(v) => v.join(","),
        }
    }

    /// The number for bounds; `None` for what is no number.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Short(v) => Some(f64::from(*v)),
            Self::Int(v) => Some(f64::from(*v)),
            // Kafka compares as doubles too, so that bounds agree at the edges of a long.
            Self::Long(v) => Some(*v as f64),
            Self::Double(v) => Some(*v),
            Self::Boolean(_) | Self::Text(_) | Self::List(_) => None,
        }
    }
}

fn not_a_number(kind: Kind) -> String {
    format!("Not a number of type {}", kind.name())
}

/// Splits at commas, with blanks around them; an empty text is an empty list.
pub fn split_list(text: &str) -> Vec<String> {
    let text = text.trim_matches(|c: char| c <= ' ');
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// Java's `Double.parseDouble`, without hexadecimal.
fn parse_double(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    match unsigned {
        "NaN" | "Infinity" => return text.replace("Infinity", "inf").parse().ok(),
        _ if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => return None,
        _ => {}
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// Java's `Double.toString`.
fn print_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_parsed_and_printed_as_kafka_does() {
        for (kind, text, printed) in [
            (Kind::Int, " 7 ", "7"),
            (Kind::Int, "+7", "7"),
            (Kind::Boolean, "TRUE", "true"),
            (Kind::Long, "9223372036854775807", "9223372036854775807"),
            (Kind::Double, "1.7976931348623157E308", "1.7976931348623157E308"),
            (Kind::Double, ".5", "0.5"),
            (Kind::Double, "1e7", "1.0E7"),
            (Kind::Double, "0.0001", "1.0E-4"),
            (Kind::Double, "1234567", "1234567.0"),
            (Kind::Double, "-Infinity", "-Infinity"),
            (Kind::List, " a , b,c ", "a,b,c"),
            (Kind::List, "", ""),
            (Kind::String, " x ", "x"),
        ] {
            assert_eq!(Value::parse("k", kind, text).unwrap().text(), printed, "{kind:?} {text:?}");
        }
    }

    #[test]
    fn what_does_not_parse_is_refused_in_kafkas_words() {
        for (kind, text, message) in [
            (Kind::Int, "x", "Invalid value x for configuration k: Not a number of type INT"),
            (
                Kind::Short,
                "40000",
                "Invalid value 40000 for configuration k: Not a number of type SHORT",
            ),
            (
                Kind::Double,
                "inf",
                "Invalid value inf for configuration k: Not a number of type DOUBLE",
            ),
            (
                Kind::Boolean,
                "yes",
                "Invalid value yes for configuration k: Expected value to be either true or false",
            ),
        ] {
            assert_eq!(Value::parse("k", kind, text).unwrap_err().to_string(), message);
        }
    }
}
