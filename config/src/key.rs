//! The declaration of one key.
//!
//! Owns: what a key is made of and the words in which the catalog declares it.
//! Never: lists keys (see [`crate::catalog`]) or stores values.
//! Invariant: a declaration is a constant; a default passes the key's own check (a test says so).

use crate::error::ConfigError;
use crate::value::{Kind, Value};

pub use check::Check;

mod check;

/// What a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Broker,
    Topic,
    Group,
    ClientMetrics,
}

/// How a broker key may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// At start only.
    ReadOnly,
    /// While running, for one broker.
    PerBroker,
    /// While running, for one broker or for all.
    ClusterWide,
}

impl UpdateMode {
    /// Kafka's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// How much a key matters to most people, in Kafka's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether a key is shown to those who did not set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Public,
    /// Described only when it is set.
    Internal,
}

/// What a key does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes what Ottla does.
    Used,
    /// It is taken, kept and described as Kafka does, and changes nothing, for this reason.
    Accepted { reason: &'static str },
}

/// One key: the only place where its facts stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: Kind,
    /// The text of the default; `None` is Kafka's null.
    pub default: Option<&'static str>,
    pub check: Check,
    pub importance: Importance,
    pub visibility: Visibility,
    pub scope: Scope,
    pub update: UpdateMode,
    pub effect: Effect,
    doc: &'static str,
}

/// Starts the declaration of a broker key.
pub(crate) const fn broker(name: &'static str, kind: Kind) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default: None,
        check: Check::Any,
        importance: Importance::Medium,
        visibility: Visibility::Public,
        scope: Scope::Broker,
        update: UpdateMode::ReadOnly,
        effect: Effect::Used,
        doc: "",
    }
}

/// Starts the declaration of a topic key.
pub(crate) const fn topic(name: &'static str, kind: Kind) -> ConfigKey {
    ConfigKey { scope: Scope::Topic, update: UpdateMode::ClusterWide, ..broker(name, kind) }
}

/// Starts the declaration of a group key.
pub(crate) const fn group(name: &'static str, kind: Kind) -> ConfigKey {
    ConfigKey { scope: Scope::Group, ..topic(name, kind) }
}

/// Starts the declaration of a key of client metrics subscriptions.
pub(crate) const fn client_metrics(name: &'static str, kind: Kind) -> ConfigKey {
    ConfigKey { scope: Scope::ClientMetrics, ..topic(name, kind) }
}

/// The words of a declaration.
impl ConfigKey {
    pub(crate) const fn default(self, text: &'static str) -> Self {
        Self { default: Some(text), ..self }
    }

    pub(crate) const fn at_least(self, minimum: i64) -> Self {
        Self { check: Check::AtLeast(minimum), ..self }
    }

    pub(crate) const fn between(self, minimum: i64, maximum: i64) -> Self {
        Self { check: Check::Between(minimum, maximum), ..self }
    }

    pub(crate) const fn fraction_up_to_half(self) -> Self {
        Self { check: Check::UpToHalf, ..self }
    }

    pub(crate) const fn gzip_level(self) -> Self {
        Self { check: Check::GzipLevel, ..self }
    }

    pub(crate) const fn one_of(self, words: &'static [&'static str]) -> Self {
        Self { check: Check::OneOf(words), ..self }
    }

    pub(crate) const fn one_of_ignore_case(self, words: &'static [&'static str]) -> Self {
        Self { check: Check::OneOfIgnoreCase(words), ..self }
    }

    pub(crate) const fn each_of(self, words: &'static [&'static str]) -> Self {
        Self { check: Check::EachOf(words), ..self }
    }

    pub(crate) const fn distinct(self) -> Self {
        Self { check: Check::Distinct, ..self }
    }

    pub(crate) const fn non_empty(self) -> Self {
        Self { check: Check::NonEmpty, ..self }
    }

    pub(crate) const fn non_null(self) -> Self {
        Self { check: Check::NonNull, ..self }
    }

    pub(crate) const fn non_empty_list(self) -> Self {
        Self { check: Check::NonEmptyList, ..self }
    }

    pub(crate) const fn throttled_replicas(self) -> Self {
        Self { check: Check::ThrottledReplicas, ..self }
    }

    pub(crate) const fn offset_reset(self) -> Self {
        Self { check: Check::OffsetReset, ..self }
    }

    pub(crate) const fn high(self) -> Self {
        Self { importance: Importance::High, ..self }
    }

    pub(crate) const fn low(self) -> Self {
        Self { importance: Importance::Low, ..self }
    }

    pub(crate) const fn internal(self) -> Self {
        Self { visibility: Visibility::Internal, ..self }
    }

    pub(crate) const fn per_broker(self) -> Self {
        Self { update: UpdateMode::PerBroker, ..self }
    }

    pub(crate) const fn cluster_wide(self) -> Self {
        Self { update: UpdateMode::ClusterWide, ..self }
    }

    pub(crate) const fn used(self, doc: &'static str) -> Self {
        Self { effect: Effect::Used, doc, ..self }
    }

    pub(crate) const fn accepted(self, reason: &'static str) -> Self {
        Self { effect: Effect::Accepted { reason }, ..self }
    }
}

impl ConfigKey {
    /// One sentence on what it does, or why it does nothing here.
    pub fn documentation(&self) -> String {
        match self.effect {
            Effect::Used => self.doc.to_owned(),
            Effect::Accepted { reason } => format!("No effect in Ottla: {reason}"),
        }
    }

    /// Parses and checks one text.
    ///
    /// # Errors
    /// With Kafka's sentence, for INVALID_CONFIG (40).
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = Value::parse(self.name, self.kind, text)?;
        self.check.ensure(self.name, &value)?;
        Ok(value)
    }
}
