//! Java `.properties` files.
//!
//! Owns: comments, continuations and escapes as `java.util.Properties.load` has them. Never: knows
//! keys. Text that is no UTF-8 is read as Latin-1, as Java does.

use std::iter::Peekable;
use std::str::Chars;

use super::{LoadProblem, Setting, SourceFile, file_origin};

pub(super) fn read(file: &SourceFile) -> Result<Vec<Setting>, LoadProblem> {
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => file.bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut settings = Vec::new();
    for (line, logical) in logical_lines(&text) {
        let origin = file_origin(&file.path, line);
        match split(&logical) {
            Ok((name, text)) => settings.push(Setting { name, text, origin }),
            Err(sentence) => return Err(LoadProblem { origin, sentence }),
        }
    }
    Ok(settings)
}

/// Lines without comments, with continuations joined, and the number of the first of each.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let normalised = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, natural) in normalised.split('\n').enumerate() {
        let body = natural.trim_start_matches([' ', '\t', '\x0c']);
        let (number, mut logical) = match open.take() {
            Some(open) => open,
            None if body.is_empty() || body.starts_with(['#', '!']) => continue,
            None => (index + 1, String::new()),
        };
        let backslashes = body.len() - body.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            logical.push_str(&body[..body.len() - 1]);
            open = Some((number, logical));
        } else {
            logical.push_str(body);
            lines.push((number, logical));
        }
    }
    lines.extend(open);
    lines
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> Result<(String, String), String> {
    let mut chars = line.chars().peekable();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| !matches!(c, '=' | ':' | ' ' | '\t' | '\x0c')) {
        push_unescaped(c, &mut chars, &mut name)?;
    }
    skip_blanks(&mut chars);
    if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
        skip_blanks(&mut chars);
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        push_unescaped(c, &mut chars, &mut value)?;
    }
    Ok((name, value))
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| matches!(c, ' ' | '\t' | '\x0c')).is_some() {}
}

fn push_unescaped(
    c: char,
    chars: &mut Peekable<Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    if c != '\\' {
        out.push(c);
        return Ok(());
    }
    match chars.next() {
        Some('t') => out.push('\t'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('f') => out.push('\x0c'),
        Some('u') => out.push(unicode(chars)?),
        Some(other) => out.push(other),
        None => {}
    }
    Ok(())
}

/// `\uXXXX`; two of them make one character beyond the first 65,536.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let first = hex4(chars)?;
    if let Some(c) = char::from_u32(first) {
        return Ok(c);
    }
    let mut ahead = chars.clone();
    if ahead.next() == Some('\\') && ahead.next() == Some('u') {
        let second = hex4(&mut ahead)?;
        if let Some(Ok(c)) = char::decode_utf16([first as u16, second as u16]).next() {
            *chars = ahead;
            return Ok(c);
        }
    }
    Ok(char::REPLACEMENT_CHARACTER)
}

fn hex4(chars: &mut Peekable<Chars<'_>>) -> Result<u32, String> {
    let mut number = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16));
        number = number * 16 + digit.ok_or("\\u must be followed by four hexadecimal digits")?;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<(usize, String, String)> {
        logical_lines(text)
            .into_iter()
            .map(|(line, logical)| {
                let (name, value) = split(&logical).unwrap();
                (line, name, value)
            })
            .collect()
    }

    #[test]
    fn lines_are_read_as_java_does() {
        let text =
            "# c\n! c\n\na=1\n  b : 2\nc 3\nd\ne=x\\\n   y\nf=\\u0041\\t\\\\\ng\\=h=i\\:j\nk=a \n";
        let expected = [
            (4, "a", "1"),
            (5, "b", "2"),
            (6, "c", "3"),
            (7, "d", ""),
            (8, "e", "xy"),
            (10, "f", "A\t\\"),
            (11, "g=h", "i:j"),
            (12, "k", "a "),
        ];
        let expected: Vec<_> =
            expected.map(|(l, n, v)| (l, n.to_owned(), v.to_owned())).into_iter().collect();
        assert_eq!(check(text), expected);
    }

    #[test]
    fn surrogates_and_bad_escapes() {
        assert_eq!(split("a=\\uD83D\\uDE00").unwrap().1, "😀");
        assert_eq!(split("a=\\uD83D").unwrap().1, "\u{fffd}");
        assert!(split("a=\\u00").is_err());
        assert_eq!(check("a=b\\"), vec![(1, "a".to_owned(), "b".to_owned())]);
    }
}
