//! Patterns with `*` and `?`, for record filters and topic selections.
//!
//! Owns: matching bytes. Never: regular expressions. Invariant: time is bounded by the product of
//! both lengths.

/// A pattern: `*` is any run, `?` one byte, everything else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<u8>);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.as_bytes().to_vec())
    }

    /// Whether `text` has a `*` or `?` and is a pattern, not a name.
    pub(crate) fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let pattern = &self.0;
        let (mut p, mut t) = (0, 0);
        // Where the last star stood, and up to where it has eaten.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(byte) if *byte == b'?' || *byte == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((at, eaten)) = star else { return false };
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    t = eaten + 1;
                }
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("order*", "orders", true),
            ("*er*s", "orders", true),
            ("?rders", "orders", true),
            ("?rders", "rders", false),
            ("*", "", true),
            ("", "", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
