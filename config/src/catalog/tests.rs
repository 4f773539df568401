//! The catalog against an extract of what a real Kafka 4.3 answers (`kafka-4.3.tsv`).

use std::collections::BTreeSet;

use super::*;
use crate::key::{Check, Effect, Importance, Visibility};
use crate::value::Kind;

/// Keys whose default is ours on purpose.
const OWN_DEFAULTS: &[&str] = &["log.dir", "node.id", "process.roles"];

/// One line of the extract; `None` is null.
struct Fact {
    scope: Scope,
    name: String,
    kind: Option<String>,
    default: Option<String>,
    valid: Option<String>,
    importance: Option<String>,
    visibility: Visibility,
    update: Option<String>,
}

fn facts() -> Vec<Fact> {
    include_str!("kafka-4.3.tsv").lines().map(fact).collect()
}

fn fact(line: &str) -> Fact {
    let mut columns = line.split('\t').map(|text| (text != "\\N").then(|| text.to_owned()));
    let mut next = || columns.next().unwrap();
    let scope = match next().unwrap().as_str() {
        "broker" => Scope::Broker,
        "topic" => Scope::Topic,
        "group" => Scope::Group,
        _ => Scope::ClientMetrics,
    };
    Fact {
        scope,
        name: next().unwrap(),
        kind: next(),
        default: next(),
        valid: next(),
        importance: next(),
        visibility: match next().unwrap().as_str() {
            "internal" => Visibility::Internal,
            _ => Visibility::Public,
        },
        update: next(),
    }
}

#[test]
fn names_are_kafkas_and_ours() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        let kafka: BTreeSet<String> =
            facts().into_iter().filter(|f| f.scope == scope).map(|f| f.name).collect();
        let here: BTreeSet<String> = keys(scope)
            .map(|key| key.name.to_owned())
            .filter(|name| !name.starts_with(OTTLA_PREFIX))
            .collect();
        assert_eq!(here, kafka, "{scope:?}");
    }
    assert_eq!(keys(Scope::Broker).count(), 362 + 3);
    assert_eq!(keys(Scope::Topic).count(), 34 + 1);
}

#[test]
fn each_key_is_declared_once_and_sorted() {
    for (title, keys) in areas() {
        let names: Vec<(Scope, &str)> = keys.iter().map(|key| (key.scope, key.name)).collect();
        assert!(names.is_sorted(), "{title}");
    }
    let total: usize = areas().map(|(_, keys)| keys.len()).sum();
    let scopes = [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics];
    let distinct: usize = scopes.into_iter().map(|scope| keys(scope).count()).sum();
    assert_eq!(total, distinct);
}

#[test]
fn facts_are_kafkas() {
    for fact in facts() {
        let key = lookup(fact.scope, &fact.name).unwrap();
        let kind = fact.kind.as_deref().unwrap_or("UNKNOWN");
        assert_eq!(key.kind.name(), kind, "{}", fact.name);
        if !OWN_DEFAULTS.contains(&key.name) {
            assert_eq!(key.default, fact.default.as_deref(), "{}", fact.name);
        }
        assert_eq!(key.visibility, fact.visibility, "{}", fact.name);
        if let Some(update) = fact.update {
            assert_eq!(key.update.name(), update, "{}", fact.name);
        }
        if let Some(importance) = fact.importance {
            let here = match key.importance {
                Importance::High => "HIGH",
                Importance::Medium => "MEDIUM",
                Importance::Low => "LOW",
            };
            assert_eq!(here, importance, "{}", fact.name);
        }
        assert_eq!(valid_text(key.check), fact.valid.unwrap_or_default(), "{}", fact.name);
    }
}

/// Kafka's text of the same rule, where it has one.
fn valid_text(check: Check) -> String {
    match check {
        Check::Any | Check::Distinct => String::new(),
        Check::AtLeast(minimum) => format!("[{minimum},...]"),
        Check::Between(minimum, maximum) => format!("[{minimum},...,{maximum}]"),
        Check::UpToHalf => "[0,...,0.5]".to_owned(),
        Check::GzipLevel => "[1,...,9] or -1".to_owned(),
        Check::OneOf(words) | Check::EachOf(words) => format!("[{}]", words.join(", ")),
        Check::OneOfIgnoreCase(words) => format!("(case insensitive) [{}]", words.join(", ")),
        Check::NonEmpty => "non-empty string".to_owned(),
        Check::NonNull => "non-null string".to_owned(),
        Check::NonEmptyList => "non-empty list".to_owned(),
        Check::ThrottledReplicas => {
            "[partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned()
        }
        Check::OffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".to_owned(),
    }
}

#[test]
fn defaults_pass_their_own_checks() {
    for key in areas().flat_map(|(_, keys)| keys) {
        if let Some(default) = key.default {
            assert_eq!(
                key.parse(default).map(|v| v.text()),
                Ok(default.to_owned()),
                "{}",
                key.name
            );
        }
    }
}

#[test]
fn every_key_has_a_sentence() {
    for key in areas().flat_map(|(_, keys)| keys) {
        let doc = key.documentation();
        assert!(doc.ends_with('.') && doc.len() > 10 && !doc.contains("  "), "{}: {doc}", key.name);
        if let Effect::Accepted { reason } = key.effect {
            assert!(doc.ends_with(reason));
        }
    }
}

#[test]
fn topic_and_group_keys_stand_on_broker_keys_of_the_same_type() {
    let pairs = keys(Scope::Topic)
        .filter_map(|key| Some((key, broker_default_of_topic_key(key.name)?.to_owned())))
        .chain(
            keys(Scope::Group)
                .filter_map(|key| Some((key, broker_default_of_group_key(key.name)?))),
        );
    for (key, broker_name) in pairs {
        let broker = lookup(Scope::Broker, &broker_name).unwrap();
        assert_eq!(broker.kind, key.kind, "{} and {broker_name}", key.name);
    }
}

#[test]
fn overrides_of_listeners_find_their_base_key() {
    let base = |name| listener_override(name).map(|key| key.name);
    assert_eq!(base("listener.name.internal.ssl.keystore.location"), Some("ssl.keystore.location"));
    assert_eq!(base("listener.name.a.plain.sasl.jaas.config"), Some("sasl.jaas.config"));
    assert_eq!(base("listener.name.a.nothing"), None);
    assert_eq!(base("listener.name."), None);
    assert_eq!(lookup(Scope::Broker, "sasl.jaas.config").unwrap().kind, Kind::Password);
}
