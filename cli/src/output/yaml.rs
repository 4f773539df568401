//! A JSON document as YAML.
//!
//! Owns: the writing. Never: reads YAML. Invariant: strings that YAML could take for something else
//! are quoted as JSON, which YAML reads alike.

use serde_json::Value;

pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => array(list, 0, &mut out),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn object(value: &Value, depth: usize, out: &mut String) {
    let Some(fields) = value.as_object() else { return };
    for (index, (name, value)) in fields.iter().enumerate() {
        // The first field stands behind the dash of a list.
        if index > 0 || !out.ends_with("- ") {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(&text(name));
        out.push(':');
        nested(value, depth, out);
    }
}

fn array(list: &[Value], depth: usize, out: &mut String) {
    for value in list {
        out.push_str(&"  ".repeat(depth));
        out.push_str("- ");
        match value {
            Value::Object(fields) if !fields.is_empty() => object(value, depth + 1, out),
            other => {
                out.push_str(&scalar(other));
                out.push('\n');
            }
        }
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            object(value, depth + 1, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            array(list, depth, out);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        // Empty lists and objects, numbers, booleans, null, and lists within lists.
        other => other.to_string(),
    }
}

fn text(string: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic())
        && string.chars().all(word)
        && !string.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&string.to_ascii_lowercase().as_str());
    if plain { string.to_owned() } else { Value::String(string.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_keeps_structure_and_types() {
        let value = json!({
            "schema": 1,
            "items": [{"name": "a", "list": [1, 2], "deep": {"x": null}}, "no"],
            "errors": [],
            "text": "a: b",
        });
        let expected = "schema: 1\nitems:\n- name: a\n  list:\n  - 1\n  - 2\n  deep:\n    x: null\n\
                        - \"no\"\nerrors: []\ntext: \"a: b\"\n";
        assert_eq!(render(&value), expected);
    }
}
