//! Environment variables to keys.
//!
//! Owns: `KAFKA_…` as Apache's image spells it, `KAFKA_CFG_…` as Bitnami's did, `OTTLA_…` of ours;
//! which variables are only for a Java process. Never: reads the environment itself.
//!
//! The environment is shared with strangers (Kubernetes puts `KAFKA_PORT` into every pod beside a
//! service called kafka): an unknown `KAFKA_` name is an error only when it looks like a misspelt
//! key.

use super::{LoadProblem, OTTLA_PREFIX, Origin, Setting, catalog, unknown_key};
use crate::key::Scope;

/// Variables that tune the Java process of Apache Kafka's images.
const JAVA_ONLY: &[&str] =
    &["KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS"];
const JAVA_ONLY_PREFIXES: &[&str] = &["KAFKA_JMX_", "KAFKA_LOG4J_"];

/// Weakest first: our own names win over Kafka's.
const PREFIXES: &[&str] = &["KAFKA_", "KAFKA_CFG_", "OTTLA_"];

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<String>,
    pub(super) problems: Vec<LoadProblem>,
}

pub(super) fn read(variables: &[(String, String)]) -> Environment {
    let mut environment = Environment::default();
    let mut sorted: Vec<&(String, String)> = variables.iter().collect();
    sorted.sort_by_key(|(name, _)| (prefix_of(name), name.clone()));
    for (variable, text) in sorted {
        let Some(rank) = prefix_of(variable) else { continue };
        environment.add(variable, &variable[PREFIXES[rank].len()..], text);
    }
    environment
}

/// The index of the longest prefix that the variable has.
fn prefix_of(variable: &str) -> Option<usize> {
    PREFIXES
        .iter()
        .enumerate()
        .filter(|(_, prefix)| variable.starts_with(**prefix))
        .max_by_key(|(_, prefix)| prefix.len())
        .map(|(rank, _)| rank)
}

impl Environment {
    fn add(&mut self, variable: &str, rest: &str, text: &str) {
        let java_only = JAVA_ONLY.contains(&variable)
            || JAVA_ONLY_PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
        if java_only {
            self.notes.push(format!("environment {variable} is for a Java process: ignored"));
            return;
        }
        let name = key_name(rest);
        let own = format!("{OTTLA_PREFIX}{name}");
        let origin = Origin::Environment { variable: variable.to_owned() };
        let is_ours = variable.starts_with("OTTLA_");
        if is_ours && catalog::lookup(Scope::Broker, &own).is_some() {
            self.settings.push(Setting { name: own, text: text.to_owned(), origin });
        } else if is_known(&name) {
            self.settings.push(Setting { name, text: text.to_owned(), origin });
        } else if catalog::nearest_name(Scope::Broker, &name).is_some() {
            self.problems.push(LoadProblem { origin, sentence: unknown_key(&name) });
        } else if is_ours && catalog::nearest_name(Scope::Broker, &own).is_some() {
            self.problems.push(LoadProblem { origin, sentence: unknown_key(&own) });
        } else if !is_ours {
            self.notes.push(format!("environment {variable} names no key ({name}): ignored"));
        }
        // Other OTTLA_ variables belong to the command line, which checks them itself.
    }
}

fn is_known(name: &str) -> bool {
    catalog::lookup(Scope::Broker, name).is_some()
        || catalog::listener_override(name).is_some()
        || catalog::is_plugin_key(name)
}

/// `_` is a dot, `__` an underscore, `___` a dash.
fn key_name(rest: &str) -> String {
    rest.to_ascii_lowercase()
        .replace("___", "-")
        .replace("__", "\0")
        .replace('_', ".")
        .replace('\0', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Environment {
        let variables: Vec<(String, String)> =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        read(&variables)
    }

    #[test]
    fn names_are_spelt_as_in_apaches_image() {
        assert_eq!(key_name("LOG_RETENTION_MS"), "log.retention.ms");
        assert_eq!(key_name("A__B___C"), "a_b-c");
    }

    #[test]
    fn ours_win_over_kafkas() {
        let settings = check(&[
            ("OTTLA_NUM_PARTITIONS", "3"),
            ("KAFKA_CFG_NUM_PARTITIONS", "2"),
            ("KAFKA_NUM_PARTITIONS", "1"),
            ("OTTLA_HTTP_LISTENER", ""),
            ("PATH", "/bin"),
        ])
        .settings;
        let names: Vec<(&str, &str)> =
            settings.iter().map(|s| (s.name.as_str(), s.text.as_str())).collect();
        let expected = [
            ("num.partitions", "1"),
            ("num.partitions", "2"),
            ("ottla.http.listener", ""),
            ("num.partitions", "3"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn strangers_are_noted_and_typos_refused() {
        let read = check(&[
            ("KAFKA_HEAP_OPTS", "-Xmx1g"),
            ("KAFKA_JMX_PORT", "1"),
            ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
            ("OTTLA_BOOTSTRAP_SERVER", "x"),
            ("KAFKA_NUM_PARTITION", "1"),
            ("OTTLA_HTTP_LISTENR", ""),
            ("OTTLA_NUM_PARTITION", "1"),
            ("OTTLA_LOG", "debug"),
            ("OTTLA_FORMAT", "json"),
            ("OTTLA_COMMAND_CONFIG", "f"),
            ("OTTLA_BOOTSTRAP_SERVERS", "x"),
            ("OTTLA_BROKERS", "x"),
            ("OTTLA_CLIENT_ID", "x"),
        ]);
        assert!(read.settings.is_empty());
        assert_eq!(read.notes.len(), 3, "{:?}", read.notes);
        assert_eq!(
            read.problems[0].to_string(),
            "environment KAFKA_NUM_PARTITION: no key is named num.partition; did you mean \
             num.partitions?"
        );
        let ours: Vec<String> = read.problems[1..].iter().map(ToString::to_string).collect();
        let expected = [
            "environment OTTLA_HTTP_LISTENR: no key is named ottla.http.listenr; did you mean \
             ottla.http.listener?",
            "environment OTTLA_NUM_PARTITION: no key is named num.partition; did you mean \
             num.partitions?",
        ];
        assert_eq!(ours, expected);
    }
}
