//! What is left for later: notes without an owner, tests that never run, `allow` without a reason.

use super::Problem;
use crate::source::Source;

pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, comment) in source.comments.iter().enumerate() {
        let words = comment.split(|c: char| !c.is_ascii_alphabetic());
        for word in words.filter(|word| ["TODO", "FIXME", "XXX", "HACK"].contains(word)) {
            // The rule's own text names the words in quotes.
            let quoted = comment.contains(&format!("`{word}"));
            let owned = word == "TODO" && has_owner(comment);
            if !quoted && !owned {
                let sentence = format!("{word} without owner and reason: `TODO(name): reason`");
                problems.push(Problem::at(source, line, sentence));
            }
        }
    }
    for (line, code) in source.code.iter().enumerate() {
        if code.trim_start().starts_with("#[ignore") {
            problems.push(Problem::at(source, line, "a test that never runs proves nothing"));
        }
        let allows = code.contains("#[allow(") || code.contains("#![allow(");
        if allows && !has_reason(source, line) {
            let sentence = "allow without a reason: add `reason = \"…\"` or a comment above";
            problems.push(Problem::at(source, line, sentence));
        }
    }
    problems
}

/// `TODO(name): reason`.
fn has_owner(comment: &str) -> bool {
    comment
        .split_once("TODO(")
        .and_then(|(_, rest)| rest.split_once("): "))
        .is_some_and(|(owner, reason)| !owner.trim().is_empty() && !reason.trim().is_empty())
}

fn has_reason(source: &Source, line: usize) -> bool {
    let inside = source.code[line..].iter().take(4).any(|code| code.contains("reason = "));
    let beside = !source.comments[line].trim().is_empty();
    let above = line > 0 && !source.comments[line - 1].trim().is_empty();
    inside || beside || above
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Source::parse("a/src/x.rs", text)).len()
    }

    #[test]
    fn notes_need_an_owner() {
        assert_eq!(count(&format!("// {}: later\n", "TODO")), 1);
        assert_eq!(count(&format!("// {}(ada): the format changes\n", "TODO")), 0);
        assert_eq!(count(&format!("// {}\n", "FIXME")), 1);
        assert_eq!(count("let a = \"TODO\"; // METHODOLOGY\n"), 0);
    }

    #[test]
    fn ignored_tests_and_silent_allows_are_found() {
        assert_eq!(count("#[ignore = \"slow\"]\nfn a() {}\n"), 1);
        assert_eq!(count("#[allow(dead_code)]\nfn a() {}\n"), 1);
        assert_eq!(count("#[allow(dead_code, reason = \"x\")]\nfn a() {}\n"), 0);
        assert_eq!(count("// Because.\n#[allow(dead_code)]\nfn a() {}\n"), 0);
    }
}
