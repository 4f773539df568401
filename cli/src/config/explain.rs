//! `ottla config explain KEY`.
//!
//! Owns: the page: meaning, value, why (the chain of synonyms with the winner), how it changes.
//! Never: changes anything.

use clap::Args;
use serde_json::Value;

use crate::client::configs::{self, ConfigEntry, Resource};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::{rows, suggest};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("KEY", "name"),
    Column::text("VALUE", "value"),
    Column::text("SOURCE", "source"),
    Column::text("TYPE", "type"),
    Column::text("READ-ONLY", "read_only"),
];

const WIDTH: usize = 80;

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    key: String,
    /// As it is for this topic
    #[arg(long, conflicts_with_all = ["broker", "group"])]
    topic: Option<String>,
    /// As it is at this broker; any broker when nothing is named
    #[arg(long, conflicts_with = "group")]
    broker: Option<i32>,
    /// As it is for this group
    #[arg(long)]
    group: Option<String>,
}

pub(super) async fn run(context: &Context, args: &ExplainArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let resource = match (&args.topic, args.broker, &args.group) {
        (Some(topic), ..) => Resource::Topic(topic.clone()),
        (_, Some(id), _) => Resource::Broker(Some(id)),
        (_, _, Some(group)) => Resource::Group(group.clone()),
        _ => {
            let view = client.metadata(Some(&[])).await?;
            Resource::Broker(view.brokers.first().map(|broker| broker.id))
        }
    };
    let entries = configs::describe(&client, &resource).await?;
    let Some(entry) = entries.iter().find(|entry| entry.name == args.key) else {
        let failure = Failure::item(
            &args.key,
            "UNKNOWN_CONFIG",
            format!("{} has no such setting", resource.title()),
        );
        let names = entries.iter().map(|entry| entry.name.as_str());
        return Err(match suggest::sentence(&args.key, names) {
            Some(hint) => failure.fix(hint),
            None if args.topic.is_none() => failure.fix("is it a topic's setting? add --topic"),
            None => failure,
        });
    };
    let mut report = Report::table("config explain", COLUMNS, vec![rows::one(entry)]);
    report.text = Some(page(entry, &resource));
    if let Some(item) = report.items.first_mut().and_then(Value::as_object_mut) {
        item.insert("resource".to_owned(), Value::String(resource.title()));
    }
    Ok(report)
}

fn page(entry: &ConfigEntry, resource: &Resource) -> String {
    let shown = |value: &Option<String>| match value {
        Some(value) if value.is_empty() => "\"\"".to_owned(),
        Some(value) => value.clone(),
        None if entry.sensitive => "(secret)".to_owned(),
        None => "(not set)".to_owned(),
    };
    let mut out = format!(
        "{} = {}\n  for {}, from {}; type {}{}\n",
        entry.name,
        shown(&entry.value),
        resource.title(),
        source_text(entry.source),
        entry.kind.to_lowercase(),
        if entry.read_only { "; takes effect on restart" } else { "; can be changed at any time" },
    );
    if let Some(text) = &entry.documentation {
        out.push('\n');
        for line in wrap(&without_markup(text), WIDTH - 2) {
            out.push_str(&format!("  {line}\n"));
        }
    }
    if !entry.synonyms.is_empty() {
        out.push_str("\nWhere it could come from, the first one wins:\n");
        for (index, synonym) in entry.synonyms.iter().enumerate() {
            out.push_str(&format!(
                "  {} {} = {} ({})\n",
                if index == 0 { "*" } else { " " },
                synonym.name,
                shown(&synonym.value),
                source_text(synonym.source),
            ));
        }
    }
    out
}

fn source_text(source: &str) -> &str {
    match source {
        "DYNAMIC_TOPIC_CONFIG" => "this topic",
        "DYNAMIC_GROUP_CONFIG" => "this group",
        "DYNAMIC_BROKER_CONFIG" => "this broker, set at run time",
        "DYNAMIC_DEFAULT_BROKER_CONFIG" => "all brokers, set at run time",
        "STATIC_BROKER_CONFIG" => "the broker's configuration file",
        "DEFAULT_CONFIG" => "the default",
        other => other,
    }
}

/// Kafka's documentation carries HTML.
fn without_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        let tag = &rest[start..];
        let is_tag = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        match tag.find('>') {
            Some(end) if is_tag => {
                if tag.starts_with("<p") || tag.starts_with("<br") || tag.starts_with("<li") {
                    out.push('\n');
                }
                rest = &tag[end + 1..];
            }
            _ => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::configs::Synonym;

    #[test]
    fn the_page_shows_the_chain() {
        let synonym = |name: &str, value: &str, source| Synonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let entry = ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
            source: "DYNAMIC_TOPIC_CONFIG",
            read_only: false,
            sensitive: false,
            kind: "LONG",
            synonyms: vec![
                synonym("retention.ms", "5", "DYNAMIC_TOPIC_CONFIG"),
                synonym("log.retention.hours", "168", "DEFAULT_CONFIG"),
            ],
            documentation: Some("How <code>long</code>; 1 &lt; 2.<p>More.".to_owned()),
        };
        let page = page(&entry, &Resource::Topic("t".to_owned()));
        assert!(page.contains("How long; 1 < 2.\n  More."), "{page}");
        assert!(page.contains("  * retention.ms = 5 (this topic)"), "{page}");
        assert!(page.contains("    log.retention.hours = 168 (the default)"), "{page}");
    }

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(wrap("aa bb cc\nd", 5), ["aa bb", "cc", "d"]);
        assert_eq!(without_markup("a < b <b>c</b>"), "a < b c");
    }
}
