//! Changes of overrides: AlterConfigs and IncrementalAlterConfigs on maps of texts.
//!
//! Owns: set, delete, append and subtract (KIP-339), and the checks of a whole resource afterwards.
//! Never: writes anything; the controller turns the answer into records.

use crate::catalog;
use crate::error::ConfigError;
use crate::key::Scope;
use crate::layers::Values;
use crate::value::{Kind, split_list};

/// One step of IncrementalAlterConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOperation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOperation {
    /// The operation of the protocol's number; others have no meaning.
    pub fn of_code(code: i8) -> Option<Self> {
        [Self::Set, Self::Delete, Self::Append, Self::Subtract]
            .get(usize::try_from(code).ok()?)
            .copied()
    }
}

/// Appends and subtracts start from the default when the key is not set.
///
/// `inherited` is the value in force without the override: for a topic its broker's.
///
/// # Errors
/// The operation is for lists and the key is none.
pub fn apply(
    overrides: &mut Values,
    scope: Scope,
    (name, text): (&str, &str),
    operation: AlterOperation,
    inherited: Option<&str>,
) -> Result<(), ConfigError> {
    let items = |overrides: &Values| {
        let current = overrides.get(name).map(String::as_str).or(inherited);
        split_list(current.unwrap_or_default())
    };
    match operation {
        AlterOperation::Set => {
            overrides.insert(name.to_owned(), text.to_owned());
        }
        AlterOperation::Delete => {
            overrides.remove(name);
        }
        AlterOperation::Append => {
            refuse_unless_list(scope, name, ("APPEND", "append"))?;
            let mut list = items(overrides);
            for item in split_list(text) {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
            overrides.insert(name.to_owned(), list.join(","));
        }
        AlterOperation::Subtract => {
            refuse_unless_list(scope, name, ("SUBTRACT", "subtract"))?;
            let mut list = items(overrides);
            let gone = split_list(text);
            list.retain(|item| !gone.contains(item));
            overrides.insert(name.to_owned(), list.join(","));
        }
    }
    Ok(())
}

/// Lists grow for topics and brokers only; Kafka's controller knows no type of other resources.
fn refuse_unless_list(
    scope: Scope,
    name: &str,
    (operation, word): (&'static str, &'static str),
) -> Result<(), ConfigError> {
    let is_list = catalog::lookup(scope, name).is_some_and(|key| key.kind == Kind::List);
    let name = name.to_owned();
    match scope {
        Scope::Topic | Scope::Broker if is_list => Ok(()),
        Scope::Broker => Err(ConfigError::NotABrokerList { name, operation: word }),
        Scope::Topic | Scope::Group | Scope::ClientMetrics => {
            Err(ConfigError::NotAList { name, operation })
        }
    }
}

/// Checks names and values of a group's overrides.
///
/// # Errors
/// A name is unknown or a value refused.
pub fn check_group(overrides: &Values) -> Result<(), ConfigError> {
    check_each(overrides, Scope::Group, ConfigError::UnknownGroupKey)
}

/// Checks names and values of a client metrics subscription.
///
/// # Errors
/// A name is unknown or a value refused.
pub fn check_client_metrics(values: &Values) -> Result<(), ConfigError> {
    check_each(values, Scope::ClientMetrics, ConfigError::UnknownClientMetricsKey)
}

fn check_each(
    values: &Values,
    scope: Scope,
    unknown: impl Fn(String) -> ConfigError,
) -> Result<(), ConfigError> {
    for (name, text) in values {
        let key = catalog::lookup(scope, name).ok_or_else(|| unknown(name.clone()))?;
        key.parse(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: AlterOperation, text: &str, before: Option<&str>) -> Option<String> {
        let mut overrides = Values::new();
        if let Some(before) = before {
            overrides.insert("cleanup.policy".to_owned(), before.to_owned());
        }
        apply(&mut overrides, Scope::Topic, ("cleanup.policy", text), operation, Some("delete"))
            .unwrap();
        overrides.remove("cleanup.policy")
    }

    #[test]
    fn lists_grow_and_shrink_from_what_is_in_force() {
        use AlterOperation::{Append, Delete, Set, Subtract};
        for (operation, text, before, after) in [
            (Set, "compact", None, Some("compact")),
            (Delete, "", Some("compact"), None),
            (Append, "compact", None, Some("delete,compact")),
            (Append, "compact", Some("compact"), Some("compact")),
            (Subtract, "delete", None, Some("")),
            (Subtract, "delete", Some("compact,delete"), Some("compact")),
        ] {
            assert_eq!(check(operation, text, before).as_deref(), after, "{operation:?} {text}");
        }
    }

    #[test]
    fn append_is_for_lists_of_topics_and_brokers() {
        for (scope, name, sentence) in [
            (
                Scope::Topic,
                "retention.ms",
                "Can't APPEND to key retention.ms because its type is not LIST.",
            ),
            (
                Scope::ClientMetrics,
                "metrics",
                "Can't APPEND to key metrics because its type is not LIST.",
            ),
            (
                Scope::Broker,
                "num.partitions",
                "Config value append is not allowed for config key: num.partitions",
            ),
        ] {
            let step = (name, "1");
            let refused = apply(&mut Values::new(), scope, step, AlterOperation::Append, None);
            assert_eq!(refused.unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn operations_have_the_protocols_numbers() {
        assert_eq!(AlterOperation::of_code(0), Some(AlterOperation::Set));
        assert_eq!(AlterOperation::of_code(3), Some(AlterOperation::Subtract));
        assert_eq!(AlterOperation::of_code(4), None);
        assert_eq!(AlterOperation::of_code(-1), None);
    }
}
