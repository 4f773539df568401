//! The reference table of all keys, as Markdown.
//!
//! Owns: rendering the catalog. Never: writes a file (`cargo xtask config-reference` does).

use std::fmt::Write as _;

use crate::catalog;
use crate::key::{ConfigKey, Effect, Scope, Visibility};

const HEAD: &str = "# Configuration reference

<!-- Written by `cargo xtask config-reference` from the declarations in config/src/catalog. -->

Names, types, defaults and bounds are Apache Kafka 4.3's; keys of Ottla's own begin with `ottla.`.
Keys in the last list of an area are accepted, kept and described, and have no effect, each for the
reason that stands there.
";

/// The whole document.
pub fn render() -> String {
    let mut text = HEAD.to_owned();
    for (title, keys) in catalog::areas() {
        let _ = write!(text, "\n## {title}\n");
        let used: Vec<&ConfigKey> = keys.iter().filter(|k| k.effect == Effect::Used).collect();
        if !used.is_empty() {
            text.push_str("\n| key | type | default | values | changes | meaning |\n");
            text.push_str("|---|---|---|---|---|---|\n");
            used.iter().for_each(|key| row(&mut text, key));
        }
        without_effect(&mut text, keys);
    }
    text
}

fn row(text: &mut String, key: &ConfigKey) {
    let changes = match key.scope {
        Scope::Broker => key.update.name(),
        Scope::Topic | Scope::Group | Scope::ClientMetrics => "any time",
    };
    let default = match key.default {
        None => String::new(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let _ = writeln!(
        text,
        "| `{}`{} | {} | {default} | {} | {changes} | {} |",
        key.name,
        if key.scope == Scope::Topic && key.name.starts_with("ottla.") { " (topic)" } else { "" },
        key.kind.name().to_lowercase(),
        key.check.summary(),
        key.documentation()
    );
}

/// One paragraph for each reason.
fn without_effect(text: &mut String, keys: &[ConfigKey]) {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for key in keys.iter().filter(|key| key.visibility == Visibility::Public) {
        let Effect::Accepted { reason } = key.effect else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(key.name),
            None => reasons.push((reason, vec![key.name])),
        }
    }
    if !reasons.is_empty() {
        text.push_str("\nWithout effect:\n\n");
    }
    for (reason, names) in reasons {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "- {reason} {}", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_key_is_in_the_document() {
        let text = render();
        for key in catalog::areas().flat_map(|(_, keys)| keys) {
            if key.visibility == Visibility::Public {
                assert!(text.contains(&format!("`{}`", key.name)), "{}", key.name);
            }
        }
    }
}
