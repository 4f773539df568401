//! What went wrong, why, and what to do about it: the one shape of every error a user sees.
//!
//! Owns: [`Failure`], its text and its JSON. Never: prints. Invariant: a failure names the thing
//! it is about; `fix` is a sentence the user can act on.

use ottla_protocol::error_code::ErrorCode;
use serde::Serialize;

use crate::client::offsets::Partition;
use crate::exit::Exit;

/// One thing that failed. Its JSON is an entry of `errors` in every command's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// What it is about: a topic, `topic-partition`, group, address or option. Empty: the command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) target: String,
    /// Kafka's name of the error, or one of our own in the same style.
    pub(crate) code: String,
    /// What happened and why, one sentence each.
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
    #[serde(skip)]
    pub(crate) exit: Exit,
}

impl Failure {
    /// A mistake on the command line or in a setting.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("USAGE", message, Exit::Usage)
    }

    /// One item of several that failed.
    pub(crate) fn item(target: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::new(code, message, Exit::ItemFailed) }
    }

    /// An item that the broker refused: Kafka's name and the broker's own words.
    pub(crate) fn refused(target: impl Into<String>, code: ErrorCode, words: Option<&str>) -> Self {
        let message = words.filter(|words| !words.is_empty()).unwrap_or_else(|| code.message());
        Self::item(target, code.name(), message)
    }

    /// A partition that its leader refused something for.
    pub(crate) fn partition((topic, index): &Partition, code: ErrorCode) -> Self {
        Self::refused(format!("{topic}-{index}"), code, None)
    }

    pub(crate) fn new(code: &str, message: impl Into<String>, exit: Exit) -> Self {
        Self {
            target: String::new(),
            code: code.to_owned(),
            message: message.into(),
            fix: None,
            exit,
        }
    }

    #[must_use]
    pub(crate) fn about(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The lines a person reads on stderr.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("error: ");
        if !self.target.is_empty() {
            text.push_str(&self.target);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if self.code != "USAGE" {
            text.push_str(" [");
            text.push_str(&self.code);
            text.push(']');
        }
        if let Some(fix) = &self.fix {
            text.push_str("\n  ");
            text.push_str(fix);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_target_code_and_cure() {
        let failure = Failure::refused("orders", ErrorCode::TopicAlreadyExists, Some("Exists."))
            .fix("choose another name");
        assert_eq!(
            failure.text(),
            "error: orders: Exists. [TOPIC_ALREADY_EXISTS]\n  choose another name"
        );
        assert_eq!(failure.exit, Exit::ItemFailed);
        assert_eq!(Failure::usage("no such option").text(), "error: no such option");
    }
}
