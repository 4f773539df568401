//! What a command says: one report, rendered as a table, TSV, JSON or YAML.
//!
//! Owns: [`Report`], [`View`], [`Column`] and the choice of format. Never: talks to a cluster,
//! writes to a stream. Invariant: JSON is one document per command, with the same fields on
//! success, on failure and in a dry run.

mod table;
mod yaml;

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::units;

pub(crate) use table::TableStyle;

/// The version of the JSON documents' shape.
const SCHEMA: i32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    #[default]
    Table,
    /// The same with every column
    Wide,
    /// One document; streams are JSON Lines
    Json,
    Yaml,
    /// Tab-separated, no header, `-` for nothing
    Tsv,
}

/// How a cell's value reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Text,
    Number,
    Bytes,
    /// A span in milliseconds.
    Millis,
    /// A moment in epoch milliseconds.
    Time,
}

/// One column of a view. `field` is a path into the row's JSON, with dots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) header: &'static str,
    pub(crate) field: &'static str,
    pub(crate) kind: Kind,
    pub(crate) wide: bool,
}

impl Column {
    pub(crate) const fn text(header: &'static str, field: &'static str) -> Self {
        Self { header, field, kind: Kind::Text, wide: false }
    }

    pub(crate) const fn number(header: &'static str, field: &'static str) -> Self {
        Self { header, field, kind: Kind::Number, wide: false }
    }

    pub(crate) const fn of(header: &'static str, field: &'static str, kind: Kind) -> Self {
        Self { header, field, kind, wide: false }
    }

    /// Shown in `wide` and `tsv` only.
    #[must_use]
    pub(crate) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// A table of a report.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) title: Option<String>,
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Value>,
}

/// Everything a command has to say when it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) command: &'static str,
    pub(crate) items: Vec<Value>,
    /// Tables for people; TSV is the first one.
    pub(crate) views: Vec<View>,
    pub(crate) errors: Vec<Failure>,
    pub(crate) dry_run: bool,
    /// Sentences for stderr.
    pub(crate) notes: Vec<String>,
    /// A check that said no.
    pub(crate) condition_failed: bool,
    /// Text that replaces the tables for people.
    pub(crate) text: Option<String>,
}

impl Report {
    /// A report whose items are the rows of its one table.
    pub(crate) fn table(
        command: &'static str,
        columns: &'static [Column],
        items: Vec<Value>,
    ) -> Self {
        let view = View { title: None, columns, rows: items.clone() };
        Self { command, items, views: vec![view], ..Self::default() }
    }

    pub(crate) fn failed(command: &'static str, failure: Failure) -> Self {
        Self { command, errors: vec![failure], ..Self::default() }
    }

    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub(crate) fn with_errors(mut self, errors: Vec<Failure>) -> Self {
        self.errors.extend(errors);
        self
    }

    #[must_use]
    pub(crate) fn with_view(
        mut self,
        title: impl Into<String>,
        columns: &'static [Column],
        rows: Vec<Value>,
    ) -> Self {
        self.views.push(View { title: Some(title.into()), columns, rows });
        self
    }

    /// The exit code: the worst of what happened.
    pub(crate) fn exit(&self) -> Exit {
        let of = |wanted: Exit| self.errors.iter().any(|failure| failure.exit == wanted);
        let ranked = [Exit::Interrupted, Exit::Usage, Exit::Unreachable, Exit::ItemFailed];
        if let Some(exit) = ranked.into_iter().find(|exit| of(*exit)) {
            return exit;
        }
        if self.condition_failed || of(Exit::ConditionNotMet) {
            return Exit::ConditionNotMet;
        }
        Exit::Ok
    }

    /// The one JSON document.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "schema": SCHEMA,
            "command": self.command,
            "items": self.items,
            "errors": self.errors,
        });
        if self.dry_run
            && let Some(fields) = document.as_object_mut()
        {
            fields.insert("dry_run".to_owned(), Value::Bool(true));
        }
        document
    }

    /// What goes to stdout.
    pub(crate) fn render(&self, format: Format, style: TableStyle) -> String {
        match format {
            Format::Json => {
                let mut text = serde_json::to_string_pretty(&self.document())
                    .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
                text.push('\n');
                text
            }
            Format::Yaml => yaml::render(&self.document()),
            Format::Tsv => self.views.first().map(tsv).unwrap_or_default(),
            Format::Table | Format::Wide => self.tables(format, style),
        }
    }

    fn tables(&self, format: Format, style: TableStyle) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let mut out = String::new();
        for view in &self.views {
            // Headers over nothing say nothing where an error or another table does.
            let needless = view.title.is_some() || !self.errors.is_empty();
            if view.rows.is_empty() && needless {
                continue;
            }
            if !out.is_empty() {
                out.push('\n');
            }
            if let Some(title) = &view.title {
                out.push_str(title);
                out.push('\n');
            }
            let columns: Vec<&Column> = view
                .columns
                .iter()
                .filter(|column| format == Format::Wide || !column.wide)
                .collect();
            out.push_str(&table::render(&columns, &view.rows, style));
        }
        out
    }
}

fn tsv(view: &View) -> String {
    let mut out = String::new();
    for row in &view.rows {
        let cells: Vec<String> = view
            .columns
            .iter()
            .map(|column| plain(field(row, column.field)).replace('\t', "\\t").replace('\n', "\\n"))
            .collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out
}

fn field<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// A cell without units: `-` for nothing, lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A cell for people.
fn human(value: &Value, kind: Kind, style: TableStyle) -> String {
    let number = value.as_i64();
    match (kind, number) {
        (Kind::Bytes, Some(count)) if !style.raw => units::bytes(count),
        (Kind::Millis, Some(millis)) if !style.raw => {
            let span = std::time::Duration::from_millis(millis.unsigned_abs());
            units::duration(span)
        }
        (Kind::Time, Some(moment)) if !style.raw => units::time(moment),
        _ => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::text("NAME", "name"),
        Column::of("SIZE", "size", Kind::Bytes),
        Column::text("ID", "deep.id").wide(),
    ];

    fn report() -> Report {
        let items = vec![
            json!({"name": "a", "size": 2048, "deep": {"id": "x"}}),
            json!({"name": "longer", "size": 5, "deep": {"id": null}}),
        ];
        Report::table("test list", COLUMNS, items)
    }

    #[test]
    fn one_report_in_every_format() {
        let style = TableStyle::default();
        let report = report();
        assert_eq!(
            report.render(Format::Table, style),
            "NAME       SIZE\na       2.0 KiB\nlonger      5 B\n"
        );
        assert_eq!(report.render(Format::Tsv, style), "a\t2048\tx\nlonger\t5\t-\n");
        assert!(report.render(Format::Wide, style).starts_with("NAME       SIZE  ID\n"));
        let document = report.document();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["items"][1]["name"], "longer");
        assert_eq!(document["errors"], json!([]));
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let mut report = report();
        assert_eq!(report.exit(), Exit::Ok);
        report.condition_failed = true;
        assert_eq!(report.exit(), Exit::ConditionNotMet);
        report.errors.push(Failure::item("a", "X", "y"));
        assert_eq!(report.exit(), Exit::ItemFailed);
        report.errors.push(Failure::new("X", "y", Exit::Unreachable));
        assert_eq!(report.exit(), Exit::Unreachable);
    }
}
