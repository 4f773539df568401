//! Items as JSON rows.
//!
//! Owns: the conversion. Never: fails: an item that cannot be JSON is null, which our types never
//! are.

use serde::Serialize;
use serde_json::Value;

pub(crate) fn one(item: &impl Serialize) -> Value {
    serde_json::to_value(item).unwrap_or(Value::Null)
}

pub(crate) fn all(items: &[impl Serialize]) -> Vec<Value> {
    items.iter().map(one).collect()
}
