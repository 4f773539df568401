//! Budgets: lines of a file, of a function, of a crate, and the width of a line.
//!
//! Owns: the numbers. They may only shrink.

use std::collections::BTreeMap;

use super::Problem;
use crate::source::Source;

/// Product lines of a file.
const FILE_LINES_MAX: usize = 800;
/// Product lines of a handler; the big ones are folders whose parts have names.
const API_FILE_LINES_MAX: usize = 300;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_WIDTH_MAX: usize = 100;
/// Prose may run over a little; rustfmt does not break it.
const COMMENT_WIDTH_MAX: usize = 110;
/// Product lines of a crate, so that crates stay apart.
const CRATE_LINES_MAX: usize = 16_000;
const BROKER_LINES_MAX: usize = 20_000;

pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = source.product_lines();
    let limit = if is_api_file(&source.path) { API_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > limit {
        let sentence =
            format!("{lines} product lines, at most {limit}: split it by what its parts know");
        problems.push(Problem::at(source, 0, sentence));
    }
    for function in source.functions() {
        let lines = function.lines.len();
        if lines > FUNCTION_LINES_MAX && !source.is_test(function.lines.start) {
            let sentence = format!(
                "fn {} has {lines} lines, at most {FUNCTION_LINES_MAX}: give its steps names",
                function.name
            );
            problems.push(Problem::at(source, function.lines.start, sentence));
        }
    }
    if is_generated(source) {
        return problems;
    }
    for (line, text) in source.text.iter().enumerate() {
        let width = text.chars().count();
        // A long literal, address or path of a name cannot be broken, and rustfmt leaves it.
        let unbreakable =
            text.contains('"') || text.contains("://") || text.trim_start().starts_with("use ");
        let is_prose = source.code[line].trim().is_empty();
        let limit = if is_prose { COMMENT_WIDTH_MAX } else { LINE_WIDTH_MAX };
        if width > limit && !unbreakable && !source.is_test(line) {
            let sentence = format!("{width} characters wide, at most {limit}");
            problems.push(Problem::at(source, line, sentence));
        }
    }
    problems
}

/// Generated files say in their header which task writes them.
fn is_generated(source: &Source) -> bool {
    source.text.iter().take(8).any(|line| line.starts_with("//!") && line.contains("`cargo xtask"))
        && source.text.iter().take(8).any(|line| line.contains("edited by hand"))
}

fn is_api_file(path: &str) -> bool {
    path.strip_prefix("broker/src/api/").is_some_and(|rest| !rest.contains('/'))
}

pub(super) fn check_crates(sources: &[Source]) -> Vec<Problem> {
    let mut crates: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources {
        if let Some((name, _)) = source.path.split_once("/src/").filter(|(n, _)| !n.contains('/')) {
            *crates.entry(name).or_default() += source.product_lines();
        }
    }
    crates
        .into_iter()
        .filter_map(|(name, lines)| {
            let limit = if name == "broker" { BROKER_LINES_MAX } else { CRATE_LINES_MAX };
            let sentence =
                format!("{lines} product lines in the crate, at most {limit}: it is two crates");
            (lines > limit).then(|| Problem { path: name.to_owned(), line: 1, sentence })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::sentences;

    fn found(path: &str, text: &str) -> Vec<String> {
        sentences(&check(&Source::parse(path, text)))
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = "a;\n".repeat(801);
        assert!(found("a/src/x.rs", &long)[0].contains("801 product lines, at most 800"));
        let tested = format!("a;\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(found("a/src/x.rs", &tested).is_empty());
        assert!(found("a/src/x/tests.rs", &long).is_empty());
        assert!(found("broker/src/api/fetch.rs", &"a;\n".repeat(301))[0].contains("at most 300"));
        assert!(found("broker/src/api/fetch/plan.rs", &"a;\n".repeat(301)).is_empty());
    }

    #[test]
    fn long_functions_are_found() {
        let long = format!("fn f() {{\n{}}}\n", "a;\n".repeat(69));
        assert_eq!(found("a/src/x.rs", &long).len(), 1);
        let fits = format!("fn f() {{\n{}}}\n", "a;\n".repeat(68));
        assert!(found("a/src/x.rs", &fits).is_empty());
    }

    #[test]
    fn wide_lines_are_found() {
        assert_eq!(found("a/src/x.rs", &format!("// {}\n", "x".repeat(108))).len(), 1);
        assert!(found("a/src/x.rs", &format!("// {}\n", "x".repeat(98))).is_empty());
        assert_eq!(found("a/src/x.rs", &format!("let a = {};\n", "x".repeat(98))).len(), 1);
        assert!(found("a/src/x.rs", &format!("f(\"{}\")\n", "x".repeat(98))).is_empty());
    }

    #[test]
    fn generated_files_may_be_wide() {
        let header = "//! Never: edited by hand; written by `cargo xtask shapes`.\n";
        assert!(found("a/src/x.rs", &format!("{header}let a = {};\n", "x".repeat(98))).is_empty());
    }

    #[test]
    fn large_crates_are_found() {
        let source = |path| Source::parse(path, &"a;\n".repeat(9_000));
        let sources = [source("log/src/a.rs"), source("log/src/b.rs"), source("x/src/b.rs")];
        let found = check_crates(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "log");
    }
}
