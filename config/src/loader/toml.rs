//! TOML files: dotted keys are Kafka's names, tables are prefixes.
//!
//! Owns: flattening with the line of every value. Never: knows which keys there are.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::{LoadProblem, Setting, SourceFile, file_origin};

/// Tables deeper than any key are refused before they are walked.
const DEPTH_MAX: usize = 24;

pub(super) fn read(file: &SourceFile) -> Result<Vec<Setting>, LoadProblem> {
    let problem =
        |line, sentence: String| LoadProblem { origin: file_origin(&file.path, line), sentence };
    let text = std::str::from_utf8(&file.bytes).map_err(|error| {
        problem(line_of(&file.bytes, error.valid_up_to()), "not UTF-8".to_owned())
    })?;
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        problem(line_of(&file.bytes, offset), syntax(error.message()))
    })?;
    let mut flat = Flat { file, settings: Vec::new() };
    flat.table("", table.get_ref(), 0)?;
    Ok(flat.settings)
}

/// `a = 1` and `a.b = 2` are both Kafka names but no TOML; say how to write them.
fn syntax(message: &str) -> String {
    let hint = if message.contains("duplicate") || message.contains("extend") {
        "; a key that is also the beginning of another one must be quoted, as in \
         \"max.connections\" = 10"
    } else {
        ""
    };
    format!("{}{hint}", message.trim().replace('\n', " "))
}

struct Flat<'a> {
    file: &'a SourceFile,
    settings: Vec<Setting>,
}

impl Flat<'_> {
    fn table(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        depth: usize,
    ) -> Result<(), LoadProblem> {
        for (key, value) in table {
            let name = if prefix.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{prefix}.{}", key.get_ref())
            };
            match value.get_ref() {
                DeValue::Table(_) if depth >= DEPTH_MAX => {
                    return Err(self.problem(value, &name, "is nested too deeply"));
                }
                DeValue::Table(inner) => self.table(&name, inner, depth + 1)?,
                _ => {
                    let text = self.text(&name, value)?;
                    let origin = file_origin(&self.file.path, self.line(value));
                    self.settings.push(Setting { name, text, origin });
                }
            }
        }
        Ok(())
    }

    fn text(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, LoadProblem> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|n| n.to_string())
                .map_err(|_| self.problem(value, name, "is too large a number")),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Array(items) => {
                let mut texts = Vec::new();
                for item in items.iter() {
                    if matches!(item.get_ref(), DeValue::Array(_) | DeValue::Table(_)) {
                        return Err(self.problem(item, name, "may only hold strings and numbers"));
                    }
                    texts.push(self.text(name, item)?);
                }
                Ok(texts.join(","))
            }
            DeValue::Datetime(_) => {
                Err(self.problem(value, name, "is a date, which no key takes; quote it"))
            }
            DeValue::Table(_) => Err(self.problem(value, name, "is a table")),
        }
    }

    fn line(&self, value: &Spanned<DeValue<'_>>) -> usize {
        line_of(&self.file.bytes, value.span().start)
    }

    fn problem(&self, value: &Spanned<DeValue<'_>>, name: &str, what: &str) -> LoadProblem {
        LoadProblem {
            origin: file_origin(&self.file.path, self.line(value)),
            sentence: format!("{name} {what}"),
        }
    }
}

/// The line of a byte, counted from one.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    let before = bytes.get(..offset).unwrap_or(bytes);
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
