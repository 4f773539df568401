//! The house rules that no compiler knows: sizes, headers, names, calls, leftovers.
//!
//! Owns: the list of rules and running them over every Rust file. Never: changes a file.
//! Invariant: a problem names its file, its line, what is wrong and what to do instead.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::source::Source;
use crate::workspace;

mod api_table;
mod calls;
mod config_fields;
mod leftovers;
mod names;
mod sizes;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: String,
    /// From one.
    pub(crate) line: usize,
    pub(crate) sentence: String,
}

impl Problem {
    /// A problem at a line that is counted from zero.
    fn at(source: &Source, line: usize, sentence: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line: line + 1, sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

/// Every problem of the repository.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for path in workspace::rust_files(root)? {
        let text = std::fs::read_to_string(root.join(&path))?;
        sources.push(Source::parse(&path, &text));
    }
    mark_test_files(&mut sources);
    Ok(check_sources(&sources).iter().map(ToString::to_string).collect())
}

/// A file is for tests only when its parent declares it so.
fn mark_test_files(sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let below = |module: &String| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if modules.iter().any(below) {
            source.mark_as_test();
        }
    }
}

fn check_sources(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources {
        problems.extend(sizes::check(source));
        problems.extend(names::check(source));
        problems.extend(calls::check(source));
        problems.extend(leftovers::check(source));
    }
    problems.extend(sizes::check_crates(sources));
    problems.extend(api_table::check(sources));
    problems.extend(config_fields::check(sources));
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems
}

#[cfg(test)]
fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
