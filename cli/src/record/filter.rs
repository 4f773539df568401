//! Which records a consumer shows: globs over key, value and headers.
//!
//! Owns: the conjunction of filters. Never: changes positions. Invariant: a null never matches.

use crate::client::records::RecordView;
use crate::glob::Glob;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordFilter {
    pub(crate) key: Option<Glob>,
    pub(crate) value: Option<Glob>,
    /// Name and pattern; every one must be met by some header.
    pub(crate) headers: Vec<(String, Glob)>,
}

impl RecordFilter {
    /// Reads `NAME=GLOB`.
    pub(crate) fn header(text: &str) -> Result<(String, Glob), String> {
        match text.split_once('=') {
            Some((name, glob)) if !name.is_empty() => Ok((name.to_owned(), Glob::new(glob))),
            _ => Err(format!("\"{text}\" is no header filter: write NAME=GLOB")),
        }
    }

    pub(crate) fn accepts(&self, record: &RecordView<'_>) -> bool {
        let meets = |glob: &Option<Glob>, value: Option<&[u8]>| match glob {
            None => true,
            Some(glob) => value.is_some_and(|value| glob.matches(value)),
        };
        meets(&self.key, record.key)
            && meets(&self.value, record.value)
            && self.headers.iter().all(|(name, glob)| {
                record.headers.iter().any(|(key, value)| {
                    *key == name.as_bytes() && value.is_some_and(|value| glob.matches(value))
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_must_accept() {
        let record = RecordView {
            key: Some(b"user-1"),
            value: None,
            headers: vec![(b"kind", Some(b"click"))],
            ..RecordView::default()
        };
        let with_header = |text: &str| RecordFilter {
            headers: vec![RecordFilter::header(text).expect("a filter")],
            ..RecordFilter::default()
        };
        let key = RecordFilter { key: Some(Glob::new("user-*")), ..RecordFilter::default() };
        assert!(RecordFilter::default().accepts(&record));
        assert!(key.accepts(&record));
        assert!(with_header("kind=cl*").accepts(&record));
        assert!(!with_header("kind=view").accepts(&record));
        let both = RecordFilter { value: Some(Glob::new("*")), ..key };
        assert!(!both.accepts(&record), "a null value has nothing to match");
        assert!(RecordFilter::header("kind").is_err());
    }
}
