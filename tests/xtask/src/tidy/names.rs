//! Headers and names of files and modules.

use super::Problem;
use crate::source::Source;

/// Names that say nothing about what is inside.
const BANNED: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "types", "manager", "mod"];

pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !source.text.first().is_some_and(|line| line.starts_with("//!")) {
        let sentence = "has no header: begin with `//!` and say what the file owns, what it never \
                        does, and its invariants";
        problems.push(Problem::at(source, 0, sentence));
    }
    for part in source.path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if BANNED.contains(&stem) {
            problems.push(Problem::at(source, 0, banned(stem)));
        }
    }
    for (line, code) in source.code.iter().enumerate() {
        let words: Vec<&str> = code.split_whitespace().collect();
        let named = words.iter().position(|word| *word == "mod").and_then(|at| words.get(at + 1));
        let name = named.map(|name| name.trim_end_matches([';', '{']));
        // Files are checked by their path; this is for modules inside a file.
        if let Some(name) = name.filter(|n| BANNED.contains(n) && code.contains('{')) {
            problems.push(Problem::at(source, line, banned(name)));
        }
    }
    problems
}

fn banned(name: &str) -> String {
    if name == "mod" {
        return "mod.rs is not used here: name the file after its module, beside the folder".into();
    }
    format!("`{name}` says nothing about what is inside: name it after what it knows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::parse(path, text)).len()
    }

    #[test]
    fn headers_are_wanted() {
        assert_eq!(count("a/src/x.rs", "//! Owns.\n"), 0);
        assert_eq!(count("a/src/x.rs", "use a;\n//! Late.\n"), 1);
        assert_eq!(count("a/src/x.rs", ""), 1);
    }

    #[test]
    fn empty_names_are_found() {
        for path in ["a/src/utils.rs", "a/src/common/x.rs", "a/src/x/types.rs", "a/src/x/mod.rs"] {
            assert_eq!(count(path, "//! Owns.\n"), 1, "{path}");
        }
        assert_eq!(count("a/src/x.rs", "//! Owns.\nmod helpers {\n}\n"), 1);
        assert_eq!(count("a/src/x.rs", "//! Owns.\nmod commonly {\n}\n// mod helpers {\n"), 0);
    }
}
