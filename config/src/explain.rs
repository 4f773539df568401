//! What there is to say about configured values: for `ottla config show --origin`, `config explain` and
//! `config check`, without a broker.
//!
//! Owns: joining facts of the catalog with origins of the loader. Never: prints or asks a broker; the
//! command line does both. Invariant: a sensitive value is never in an answer.

use crate::catalog;
use crate::key::{ConfigKey, Effect, Importance, Scope};
use crate::loader::{Loaded, Origin};
use crate::value::Kind;

/// One value that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetValue<'a> {
    pub name: &'a str,
    /// `None` when it is sensitive.
    pub value: Option<&'a str>,
    pub origin: &'a Origin,
    /// Why it does nothing here, if so.
    pub without_effect: Option<&'static str>,
}

/// Every value that is not a default, by name, with the source that set it.
pub fn set_values(loaded: &Loaded) -> impl Iterator<Item = SetValue<'_>> {
    loaded.values.iter().filter_map(|(name, text)| {
        let key = catalog::lookup(Scope::Broker, name).or_else(|| catalog::listener_override(name));
        let kind = key.map_or(Kind::Unknown, |key| key.kind);
        let without_effect = match key.map(|key| key.effect) {
            Some(Effect::Accepted { reason }) => Some(reason),
            Some(Effect::Used) => None,
            None => Some(catalog::reason::JAVA_CLASSES),
        };
        Some(SetValue {
            name,
            value: (!kind.is_sensitive()).then_some(text),
            origin: loaded.origins.get(name)?,
            without_effect,
        })
    })
}

/// The facts of one key, as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub name: &'static str,
    pub kind: &'static str,
    /// `None` is null.
    pub default: Option<&'static str>,
    /// Empty when anything goes.
    pub values: String,
    pub importance: &'static str,
    /// When a change takes effect.
    pub changes: &'static str,
    pub documentation: String,
    pub has_effect: bool,
    /// Other names for the same value, the one that wins first; without the key itself.
    pub synonyms: Vec<&'static str>,
    /// The broker key that gives a topic or group key its default.
    pub default_from: Option<String>,
}

/// Explains a key, or `Err` with the name that was probably meant.
///
/// # Errors
/// No key of the scope has this name.
pub fn explain(scope: Scope, name: &str) -> Result<Explanation, Option<&'static str>> {
    match catalog::lookup(scope, name) {
        Some(key) => Ok(explain_key(key)),
        None => Err(catalog::nearest_name(scope, name)),
    }
}

fn explain_key(key: &'static ConfigKey) -> Explanation {
    let synonyms = match key.scope {
        Scope::Broker => catalog::synonyms(key.name),
        Scope::Topic | Scope::Group | Scope::ClientMetrics => Vec::new(),
    };
    Explanation {
        name: key.name,
        kind: key.kind.name(),
        default: key.default,
        values: key.check.summary(),
        importance: match key.importance {
            Importance::High => "high",
            Importance::Medium => "medium",
            Importance::Low => "low",
        },
        changes: match key.scope {
            Scope::Broker => key.update.name(),
            Scope::Topic | Scope::Group | Scope::ClientMetrics => "any time",
        },
        documentation: key.documentation(),
        has_effect: key.effect == Effect::Used,
        synonyms: synonyms.into_iter().filter(|synonym| *synonym != key.name).collect(),
        default_from: match key.scope {
            Scope::Topic => catalog::broker_default_of_topic_key(key.name).map(str::to_owned),
            Scope::Group => catalog::broker_default_of_group_key(key.name),
            Scope::Broker | Scope::ClientMetrics => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::{Sources, load};

    #[test]
    fn set_values_name_their_origin_and_keep_secrets() {
        let settings = ["num.partitions=3", "ssl.key.password=x", "num.io.threads=2"];
        let settings = settings.map(str::to_owned).to_vec();
        let loaded = load(&Sources { settings, ..Sources::default() }).unwrap();
        let found: Vec<(&str, Option<&str>, bool)> = set_values(&loaded)
            .map(|set| (set.name, set.value, set.without_effect.is_some()))
            .collect();
        let expected = [
            ("num.io.threads", Some("2"), true),
            ("num.partitions", Some("3"), false),
            ("ssl.key.password", None, true),
        ];
        assert_eq!(found, expected);
        assert!(set_values(&loaded).all(|set| *set.origin == Origin::CommandLine));
    }

    #[test]
    fn a_key_is_explained_and_a_typo_is_pointed_out() {
        let explained = explain(Scope::Broker, "log.retention.ms").unwrap();
        assert_eq!(explained.synonyms, ["log.retention.minutes", "log.retention.hours"]);
        assert_eq!(explained.default, None);
        assert_eq!(explained.changes, "cluster-wide");
        assert!(explained.has_effect);
        let topic = explain(Scope::Topic, "segment.bytes").unwrap();
        assert_eq!(topic.default_from.as_deref(), Some("log.segment.bytes"));
        assert_eq!(topic.values, "at least 1048576");
        assert_eq!(explain(Scope::Topic, "segment.byte"), Err(Some("segment.bytes")));
        assert_eq!(explain(Scope::Topic, "qqqqqqqqqqqq"), Err(None));
    }
}
