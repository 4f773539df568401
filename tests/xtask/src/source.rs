//! A Rust file as the checks see it: code without strings and comments, and which lines are tests.
//!
//! Owns: masking (comments, strings, characters and raw strings become blanks, places stay), the
//! spans of test modules and of functions. Never: knows a rule.
//! Invariant: `code` has exactly as many lines as `text`, and no text makes the scanner panic.

use std::ops::Range;

/// One file, scanned.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: Vec<String>,
    /// The same lines with comments and literals blanked out.
    pub(crate) code: Vec<String>,
    /// The same lines with everything but the text of comments blanked out.
    pub(crate) comments: Vec<String>,
    /// Lines that only exist in tests, from zero.
    test_lines: Vec<bool>,
}

/// A function and where its lines are, from zero.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: Range<usize>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let masked = Masked::of(text);
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        let (text, code, comments) = (lines(text), lines(&masked.code), lines(&masked.comments));
        let test_lines =
            if is_test_path(path) { vec![true; text.len()] } else { test_lines(&code) };
        Self { path: path.to_owned(), text, code, comments, test_lines }
    }

    /// Paths, without `.rs`, of the modules that this file declares for tests only.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder,
            _ => self.path.strip_suffix(".rs").unwrap_or(&self.path),
        };
        let declared = self.code.iter().enumerate().filter(|(line, _)| self.is_test(*line));
        declared
            .filter_map(|(_, code)| code.trim().strip_suffix(';')?.rsplit_once("mod "))
            .map(|(_, name)| format!("{folder}/{name}"))
            .collect()
    }

    /// Takes the file for one that only exists in tests.
    pub(crate) fn mark_as_test(&mut self) {
        self.test_lines.fill(true);
    }

    /// Whether the line (from zero) only exists in tests.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line).copied().unwrap_or(false)
    }

    /// Lines of the product: all but tests and the empty end.
    pub(crate) fn product_lines(&self) -> usize {
        let last = self.text.last().is_some_and(String::is_empty);
        let lines = self.text.len() - usize::from(last);
        (0..lines).filter(|line| !self.is_test(*line)).count()
    }

    /// Functions with a body, in order; nested ones as well.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = self.code.join("\n");
        let mut functions = Vec::new();
        for (start, _) in code.match_indices("fn ") {
            let before = code[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[start + 3..];
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(end) = body_end(rest).filter(|_| !name.is_empty()) else { continue };
            let line = |offset: usize| code[..offset].matches('\n').count();
            functions.push(Function { name, lines: line(start)..line(start + 3 + end) + 1 });
        }
        functions
    }
}

/// Files that hold nothing but tests.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
}

/// The offset after the closing brace of the first body; `None` when a `;` comes first.
fn body_end(code: &str) -> Option<usize> {
    let mut round = 0_i32;
    for (offset, c) in code.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 => return None,
            '{' if round == 0 => return block_end(&code[offset..]).map(|end| offset + end),
            _ => {}
        }
    }
    None
}

/// The offset after the brace that closes the one at the start.
fn block_end(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(offset + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Marks what follows `#[cfg(test)]` (or `#[cfg(any(test, …))]` before a module) up to its end.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marked = vec![false; code.len()];
    for start in 0..code.len() {
        if marked[start] || !code[start].trim_start().starts_with("#[cfg(test)]") {
            continue;
        }
        let rest = code[start..].join("\n");
        let after = rest.find("#[cfg(test)]").map_or(0, |at| at + "#[cfg(test)]".len());
        let end = body_end(&rest[after..])
            .or_else(|| rest[after..].find(';'))
            .map_or(0, |end| rest[..after + end].matches('\n').count());
        marked[start..=start + end].fill(true);
    }
    marked
}

/// Text taken apart into code and comments.
struct Masked {
    code: String,
    comments: String,
}

impl Masked {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut masked = Self { code: String::with_capacity(text.len()), comments: String::new() };
        let mut at = 0;
        while at < chars.len() {
            at = masked.token(&chars, at);
        }
        masked
    }

    /// Takes one token and returns where the next one begins.
    fn token(&mut self, chars: &[char], at: usize) -> usize {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => {
                let length = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                self.comment(&rest[..length])
            }
            ['/', '*', ..] => self.comment(&rest[..block_comment_length(rest)]),
            ['"', ..] => self.literal(&rest[..string_length(rest)]),
            ['b', '"', ..] | ['c', '"', ..] if !after_word(chars, at) => {
                self.literal(&rest[..1 + string_length(&rest[1..])])
            }
            ['r' | 'b' | 'c', ..] if !after_word(chars, at) && raw_length(rest).is_some() => {
                self.literal(&rest[..raw_length(rest).unwrap_or(1)])
            }
            ['\'', ..] => match character_length(rest) {
                Some(length) => self.literal(&rest[..length]),
                None => self.plain(rest[0]),
            },
            [c, ..] => self.plain(*c),
            [] => 0,
        }
        .saturating_add(at)
    }

    fn plain(&mut self, c: char) -> usize {
        self.code.push(c);
        self.comments.push(if c == '\n' { '\n' } else { ' ' });
        1
    }

    fn comment(&mut self, chars: &[char]) -> usize {
        for c in chars {
            self.code.push(if *c == '\n' { '\n' } else { ' ' });
            self.comments.push(*c);
        }
        chars.len()
    }

    fn literal(&mut self, chars: &[char]) -> usize {
        for (index, c) in chars.iter().enumerate() {
            let edge = index == 0 || index + 1 == chars.len();
            self.code.push(match c {
                '\n' => '\n',
                '"' if edge => '"',
                _ => ' ',
            });
            self.comments.push(if *c == '\n' { '\n' } else { ' ' });
        }
        chars.len()
    }
}

/// Whether a letter stands before: then `r`, `b` or `c` ends a word and begins no literal.
fn after_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment_length(chars: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => {
                depth = depth.saturating_sub(1);
                at += 2;
            }
            _ => at += 1,
        }
    }
    chars.len()
}

/// The length of a string with its quotes; it may lack its end.
fn string_length(chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The length of `r"…"`, `r#"…"#`, `br…`, `cr…`; `None` when it is none.
fn raw_length(chars: &[char]) -> Option<usize> {
    let prefix = match chars {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = chars[prefix..].iter().take_while(|c| **c == '#').count();
    if chars.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let body = prefix + hashes + 1;
    let closes = |at: &usize| {
        chars[*at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some((body..chars.len()).find(closes).map_or(chars.len(), |end| end + 1 + hashes))
}

/// The length of a character literal; `None` for a lifetime.
fn character_length(chars: &[char]) -> Option<usize> {
    match chars {
        ['\'', '\\', ..] => {
            let end = chars.iter().skip(3).position(|c| *c == '\'')?;
            Some(end + 4)
        }
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::parse("a/src/x.rs", text).code.join("\n")
    }

    #[test]
    fn comments_and_literals_are_blank() {
        assert_eq!(code("a // fn b"), "a        ");
        assert_eq!(code("a /* x /* y */ \n */ b"), format!("a{}\n    b", " ".repeat(14)));
        assert_eq!(code(r#"f("{ \" }")"#), r#"f("      ")"#);
        assert_eq!(code(r##"f(r#"{"}"#, '{', b'\'')"##).matches('{').count(), 0);
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("var\"x\""), "var\" \"");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a\n\"b\nc\"\n/* d\n*/ e\n";
        let source = Source::parse("a/src/x.rs", text);
        assert_eq!(source.code.len(), source.text.len());
        assert_eq!(source.code[4].trim(), "e");
    }

    #[test]
    fn test_modules_are_no_product() {
        let text =
            "a;\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nb;\n#[cfg(test)]\nmod tests;\n";
        let source = Source::parse("a/src/x.rs", text);
        let product: Vec<usize> = (0..8).filter(|line| !source.is_test(*line)).collect();
        assert_eq!(product, [0, 5]);
        assert_eq!(source.product_lines(), 2);
        assert_eq!(Source::parse("a/src/x/tests.rs", "a;\n").product_lines(), 0);
    }

    #[test]
    fn modules_of_tests_are_known_by_path() {
        let text = "mod a;\n#[cfg(test)]\npub(crate) mod fixture;\n#[cfg(test)]\nmod tests;\n";
        let modules = |path| Source::parse(path, text).test_modules();
        assert_eq!(modules("x/src/lib.rs"), ["x/src/fixture", "x/src/tests"]);
        assert_eq!(modules("x/src/log.rs"), ["x/src/log/fixture", "x/src/log/tests"]);
    }

    #[test]
    fn functions_have_a_name_and_lines() {
        let text = "trait T {\n    fn a(&self);\n    fn b(&self) {\n        c();\n    }\n}\n\
                    fn d(x: [u8; 4]) -> u8 { 1 }\nconst F: fn (u8) = e;\n";
        let functions = Source::parse("a/src/x.rs", text).functions();
        let found: Vec<(&str, Range<usize>)> =
            functions.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        assert_eq!(found, [("b", 2..5), ("d", 6..7)]);
    }

    #[test]
    fn unfinished_text_does_not_panic() {
        for text in
            ["\"", "'", "'\\", "r#\"", "/*", "fn f(", "#[cfg(test)]", "\\", "b'", "fn f() {"]
        {
            let _ = Source::parse("a/src/x.rs", text).functions();
        }
    }
}
