//! Where values come from and which one wins.
//!
//! Owns: the layers of a broker (static, dynamic default, dynamic for this broker) and their
//! overlay (Kafka's `DynamicBrokerConfig`, KIP-226). Never: parses values; says which layer a
//! describe shows (see [`crate::describe`]).
//! Invariant: a dynamic value wins over a static one under any of its synonyms: setting
//! `log.retention.ms` while running beats `log.retention.hours` in the file.

use std::collections::BTreeMap;

use crate::catalog::{self, synonyms};
use crate::error::ConfigError;
use crate::key::{Scope, UpdateMode};

/// What a new cluster records as dynamic defaults of all brokers: with eligible leader replicas
/// (KIP-966) the minimum of replicas in sync is the cluster's, not a broker's.
pub const INITIAL_DYNAMIC_DEFAULTS: &[(&str, &str)] = &[("min.insync.replicas", "1")];

/// Names to texts.
pub type Values = BTreeMap<String, String>;

/// The values of one broker, by layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigLayers {
    /// From file, environment and command line; see [`crate::loader`].
    pub static_values: Values,
    /// Dynamic defaults of all brokers (resource BROKER with an empty name).
    pub dynamic_default: Values,
    /// Dynamic values of this broker alone.
    pub dynamic_broker: Values,
}

impl ConfigLayers {
    /// Layers with static values only, as at start.
    ///
    /// `node.id` and `broker.id` are one thing under two names: either fills the other, as in
    /// Kafka.
    pub fn from_static(mut values: Values) -> Self {
        for (present, missing) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let (Some(id), false) = (values.get(present).cloned(), values.contains_key(missing))
            {
                values.insert(missing.to_owned(), id);
            }
        }
        Self { static_values: values, ..Self::default() }
    }

    /// The values in force, without defaults.
    pub fn effective(&self) -> Values {
        let mut effective = self.static_values.clone();
        for layer in [&self.dynamic_default, &self.dynamic_broker] {
            for name in layer.keys() {
                for synonym in synonyms(name) {
                    effective.remove(synonym);
                }
            }
            effective.extend(layer.iter().map(|(name, text)| (name.clone(), text.clone())));
        }
        effective
    }

    /// Checks names and values of a dynamic layer before it is accepted (AlterConfigs and
    /// IncrementalAlterConfigs of resource BROKER).
    ///
    /// # Errors
    /// A key cannot change while the broker runs, is only for one broker, or its value is refused.
    pub fn check_dynamic(values: &Values, target: DynamicTarget) -> Result<(), ConfigError> {
        let mode = |name: &str| catalog::lookup(Scope::Broker, name).map(|key| key.update);
        let fixed: Vec<String> =
            values.keys().filter(|n| mode(n) == Some(UpdateMode::ReadOnly)).cloned().collect();
        if !fixed.is_empty() {
            return Err(ConfigError::NotDynamic(fixed));
        }
        if target == DynamicTarget::AllBrokers {
            let single: Vec<&str> = values
                .keys()
                .filter(|n| mode(n) == Some(UpdateMode::PerBroker))
                .map(String::as_str)
                .collect();
            if !single.is_empty() {
                return Err(ConfigError::Refused(format!(
                    "Cannot update these configs at default cluster level, broker id must be \
                     specified: [{}]",
                    single.join(", ")
                )));
            }
        }
        for (name, text) in values {
            if let Some(key) = catalog::lookup(Scope::Broker, name) {
                key.parse(text)?;
            }
        }
        Ok(())
    }
}

/// Whom a dynamic broker value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicTarget {
    OneBroker,
    AllBrokers,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_dynamic_value_beats_static_synonyms() {
        let mut layers = ConfigLayers::from_static(values(&[
            ("log.retention.hours", "1"),
            ("log.retention.ms", "5"),
            ("num.partitions", "4"),
        ]));
        layers.dynamic_default = values(&[("log.retention.ms", "7")]);
        layers.dynamic_broker = values(&[("log.cleaner.threads", "2")]);
        let expected = values(&[
            ("log.cleaner.threads", "2"),
            ("log.retention.ms", "7"),
            ("num.partitions", "4"),
        ]);
        assert_eq!(layers.effective(), expected);
    }

    #[test]
    fn node_id_and_broker_id_fill_each_other() {
        for name in ["node.id", "broker.id"] {
            let layers = ConfigLayers::from_static(values(&[(name, "7")]));
            assert_eq!(layers.static_values, values(&[("broker.id", "7"), ("node.id", "7")]));
        }
    }

    #[test]
    fn read_only_and_per_broker_keys_are_refused_where_they_do_not_belong() {
        let refused = |pairs, target| {
            ConfigLayers::check_dynamic(&values(pairs), target).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[("num.partitions", "1")], DynamicTarget::OneBroker),
            "Cannot update these configs dynamically: [num.partitions]"
        );
        assert_eq!(
            refused(&[("listeners", "A://:1")], DynamicTarget::AllBrokers),
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [listeners]"
        );
        assert_eq!(
            refused(&[("log.cleaner.threads", "-1")], DynamicTarget::AllBrokers),
            "Invalid value -1 for configuration log.cleaner.threads: Value must be at least 0"
        );
    }
}
