//! Every typed configuration value is read by somebody.
//!
//! A key that is declared as used, and whose value nobody reads, is a lie to its user: this finds it.
//! The cure is to read the value, or to drop the field and declare the key as accepted, with the reason.

use std::collections::BTreeSet;

use super::Problem;
use crate::source::Source;

/// The files whose structs hold the values.
const HOLDERS: &[&str] = &["config/src/broker.rs", "config/src/topic.rs"];

pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let read = fields_read(sources);
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| HOLDERS.contains(&source.path.as_str())) {
        for (line, code) in source.code.iter().enumerate() {
            if source.is_test(line) {
                continue;
            }
            if let Some(field) = declared_field(code).filter(|field| !read.contains(*field)) {
                let sentence = format!(
                    "nobody reads {field}: read it, or drop it and declare its key as accepted"
                );
                problems.push(Problem::at(source, line, sentence));
            }
        }
    }
    problems
}

/// `    pub name: Type,`.
fn declared_field(code: &str) -> Option<&str> {
    let (name, _) = code.strip_prefix("    pub ")?.split_once(':')?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
}

/// Every `.name` in what is shipped outside of the config crate.
fn fields_read(sources: &[Source]) -> BTreeSet<&str> {
    let mut read = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("config/")) {
        for (line, code) in source.code.iter().enumerate() {
            if !source.is_test(line) {
                read.extend(code.split('.').skip(1).map(leading_name));
            }
        }
    }
    read
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_nobody_reads_is_found() {
        let config = "pub struct A {\n    pub used: u8,\n    pub unused: u8,\n}\n";
        let sources = [
            Source::parse("config/src/broker.rs", config),
            Source::parse("config/src/validate.rs", "a.unused;\n"),
            Source::parse("broker/src/a.rs", "config.a.used;\n#[cfg(test)]\nmod t { a.unused; }\n"),
        ];
        let problems = check(&sources);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].sentence.starts_with("nobody reads unused"));
        assert_eq!(problems[0].line, 3);
    }
}
