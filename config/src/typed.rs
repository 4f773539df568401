//! Texts to typed fields.
//!
//! Owns: reading one key of a map of texts with its default, as the type that a struct wants.
//! Never: knows which keys there are. Invariant: what is returned passed the key's own check.

use std::time::Duration;

use crate::catalog;
use crate::error::ConfigError;
use crate::key::{ConfigKey, Scope};
use crate::layers::Values;
use crate::units::ByteSize;
use crate::value::Value;

/// One scope's texts, where an absent name means the key's default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Typed<'a> {
    scope: Scope,
    values: &'a Values,
}

impl<'a> Typed<'a> {
    pub(crate) fn new(scope: Scope, values: &'a Values) -> Self {
        Self { scope, values }
    }

    /// The text in force; `None` is Kafka's null.
    pub(crate) fn text_of(self, key: &'static ConfigKey) -> Option<&'a str> {
        self.values.get(key.name).map(String::as_str).or(key.default)
    }

    /// Whether somebody set it.
    pub(crate) fn is_set(self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn value(self, name: &str) -> Result<Option<Value>, ConfigError> {
        let key = catalog::lookup(self.scope, name)
            .ok_or_else(|| ConfigError::Refused(format!("{name} is not declared")))?;
        self.text_of(key).map(|text| key.parse(text)).transpose()
    }

    fn required(self, name: &str) -> Result<Value, ConfigError> {
        self.value(name)?
            .ok_or_else(|| ConfigError::invalid(name, "null", "Value must be non-null"))
    }

    /// A whole number, or `None` when it is null.
    pub(crate) fn optional_long(self, name: &str) -> Result<Option<i64>, ConfigError> {
        Ok(match self.value(name)? {
            Some(Value::Short(v)) => Some(i64::from(v)),
            Some(Value::Int(v)) => Some(i64::from(v)),
            Some(Value::Long(v)) => Some(v),
            _ => None,
        })
    }

    pub(crate) fn long(self, name: &str) -> Result<i64, ConfigError> {
        self.optional_long(name)?
            .ok_or_else(|| ConfigError::invalid(name, "null", "Value must be non-null"))
    }

    pub(crate) fn int(self, name: &str) -> Result<i32, ConfigError> {
        let value = self.long(name)?;
        i32::try_from(value)
            .map_err(|_| ConfigError::invalid(name, value.to_string(), "Not a number of type INT"))
    }

    pub(crate) fn short(self, name: &str) -> Result<i16, ConfigError> {
        let value = self.long(name)?;
        let refuse =
            |_| ConfigError::invalid(name, value.to_string(), "Not a number of type SHORT");
        i16::try_from(value).map_err(refuse)
    }

    /// A number that is not negative; what is negative counts as none.
    pub(crate) fn count(self, name: &str) -> Result<u32, ConfigError> {
        Ok(u32::try_from(self.long(name)?.max(0)).unwrap_or(u32::MAX))
    }

    pub(crate) fn bytes(self, name: &str) -> Result<ByteSize, ConfigError> {
        Ok(ByteSize(self.long(name)?.max(0).unsigned_abs()))
    }

    /// Bytes where a negative number means that there is no limit.
    pub(crate) fn bytes_limit(self, name: &str) -> Result<Option<ByteSize>, ConfigError> {
        let value = self.long(name)?;
        Ok((value >= 0).then(|| ByteSize(value.unsigned_abs())))
    }

    pub(crate) fn millis(self, name: &str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_millis(self.long(name)?.max(0).unsigned_abs()))
    }

    /// A time where negative numbers and the largest one mean that there is no limit.
    pub(crate) fn millis_limit(self, name: &str) -> Result<Option<Duration>, ConfigError> {
        Ok(millis_limit(self.long(name)?))
    }

    pub(crate) fn boolean(self, name: &str) -> Result<bool, ConfigError> {
        Ok(matches!(self.required(name)?, Value::Boolean(true)))
    }

    pub(crate) fn double(self, name: &str) -> Result<f64, ConfigError> {
        Ok(self.required(name)?.number().unwrap_or_default())
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.value(name)?.map(|value| value.text()))
    }

    pub(crate) fn text(self, name: &str) -> Result<String, ConfigError> {
        Ok(self.required(name)?.text())
    }

    pub(crate) fn list(self, name: &str) -> Result<Vec<String>, ConfigError> {
        Ok(match self.value(name)? {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        })
    }
}

/// Milliseconds where negative numbers and the largest one mean that there is no limit.
pub(crate) fn millis_limit(value: i64) -> Option<Duration> {
    (value >= 0 && value != i64::MAX).then(|| Duration::from_millis(value.unsigned_abs()))
}
