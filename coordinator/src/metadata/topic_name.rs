//! Names of topics: what is allowed, what is internal, what collides.
//!
//! Owns: Kafka's rules for topic names (`common.internals.Topic`). Never: knows which topics exist.

use ottla_protocol::model::TopicName;

/// Kafka's limit, so that directory names with a partition number fit into 255 bytes.
pub const NAME_LENGTH_MAX: usize = 249;

/// Committed offsets and classic groups.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Share groups (KIP-932).
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The metadata log itself, which is no topic of the image.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a text can't name a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    #[error(
        "Topic name is invalid: the length of '{0}' is longer than the max allowed length {NAME_LENGTH_MAX}"
    )]
    TooLong(String),
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Character(String),
}

/// Checks a name.
///
/// # Errors
/// The first rule that the name breaks, in Kafka's order.
pub fn check(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots(name.to_owned()));
    }
    // Kafka counts UTF-16 units; only names that are refused anyway count differently.
    if name.encode_utf16().count() > NAME_LENGTH_MAX {
        return Err(InvalidTopicName::TooLong(name.to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return Err(InvalidTopicName::Character(name.to_owned()));
    }
    Ok(())
}

/// Whether clients are told that the topic is internal, and may not write to it as they like.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// The other spelling of a name, where there is one: metrics can't tell `.` from `_`.
#[must_use]
pub fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// The name among `existing` that metrics would take for `name`.
pub fn collision<'a>(
    name: &str,
    existing: impl IntoIterator<Item = &'a TopicName>,
) -> Option<&'a TopicName> {
    let wanted = unified(name)?;
    existing.into_iter().find(|other| unified(other).as_deref() == Some(wanted.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        let long = "a".repeat(NAME_LENGTH_MAX + 1);
        for (name, refused) in [
            ("a", false),
            ("A-b_c.9", false),
            ("__consumer_offsets", false),
            ("...", false),
            ("", true),
            (".", true),
            ("..", true),
            ("a b", true),
            ("a/b", true),
            ("é", true),
            (long.as_str(), true),
            (&long[1..], false),
        ] {
            assert_eq!(check(name).is_err(), refused, "{name}");
        }
        assert!(check("a b").unwrap_err().to_string().starts_with("Topic name is invalid: 'a b'"));
    }

    #[test]
    fn dots_and_underscores_collide() {
        let existing: Vec<TopicName> = vec!["a.b".into(), "ab".into()];
        assert_eq!(collision("a_b", &existing).map(AsRef::as_ref), Some("a.b"));
        assert_eq!(collision("a.b", &existing).map(AsRef::as_ref), Some("a.b"));
        assert_eq!(collision("ab", &existing), None);
        assert_eq!(collision("a-b", &existing), None);
    }
}
