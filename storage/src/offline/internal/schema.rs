//! The table of internal records, read from its text.
//!
//! Owns: the text's grammar. Never: input from outside: the text is part of this crate, and a line
//! that does not fit is left out (a test counts them).

/// Inclusive; empty when `first` is above `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Versions {
    first: i16,
    last: i16,
}

impl Versions {
    pub(super) const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self { first: 1, last: 0 });
        }
        if let Some(first) = text.strip_suffix('+') {
            return Some(Self { first: first.parse().ok()?, last: i16::MAX });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()? })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Key,
    Value,
}

#[derive(Clone, Debug)]
pub(super) struct RecordShape {
    pub(super) topic: char,
    /// What a key begins with.
    pub(super) kind: i16,
    pub(super) part: Part,
    pub(super) name: String,
    pub(super) versions: Versions,
    pub(super) shape: Shape,
}

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) flexible: Versions,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: FieldType,
    /// How many arrays it is in.
    pub(super) lists: u8,
    pub(super) versions: Versions,
    pub(super) tag: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum FieldType {
    Bool,
    /// Of so many bytes.
    Int(u8),
    /// Two bytes without a sign.
    Port,
    Text,
    Bytes,
    Id,
    Struct {
        shape: Shape,
        nullable: bool,
    },
}

struct Line<'a> {
    depth: usize,
    words: Vec<&'a str>,
}

pub(super) fn parse(text: &str) -> Vec<RecordShape> {
    let lines: Vec<Line<'_>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| Line {
            depth: line.bytes().take_while(|byte| *byte == b' ').count() / 2,
            words: line.split_whitespace().collect(),
        })
        .collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.depth == 0);
    starts.filter_map(|(index, _)| record(&lines[index..])).collect()
}

fn record(lines: &[Line<'_>]) -> Option<RecordShape> {
    let (head, below) = lines.split_first()?;
    let &[topic, kind, part, name, versions, flexible] = &head.words[..] else { return None };
    let flexible = Versions::parse(flexible)?;
    Some(RecordShape {
        topic: topic.chars().next()?,
        kind: kind.parse().ok()?,
        part: if part == "key" { Part::Key } else { Part::Value },
        name: name.to_owned(),
        versions: Versions::parse(versions)?,
        shape: shape(below, 1, flexible)?,
    })
}

/// The fields at this depth, up to the first line above it.
fn shape(lines: &[Line<'_>], depth: usize, flexible: Versions) -> Option<Shape> {
    let end = lines.iter().position(|line| line.depth < depth).unwrap_or(lines.len());
    let within = &lines[..end];
    let mut fields = Vec::new();
    for (index, line) in within.iter().enumerate().filter(|(_, line)| line.depth == depth) {
        fields.push(field(line, &within[index + 1..], flexible)?);
    }
    Some(Shape { flexible, fields })
}

fn field(line: &Line<'_>, below: &[Line<'_>], flexible: Versions) -> Option<Field> {
    let (name, kind, versions) = match line.words[..] {
        [name, kind, versions] | [name, kind, versions, _] => (name, kind, versions),
        _ => return None,
    };
    let tag = match line.words.get(3) {
        Some(tag) => Some(tag.strip_prefix('#')?.parse().ok()?),
        None => None,
    };
    let bare = kind.trim_start_matches('[');
    let lists = u8::try_from(kind.len() - bare.len()).ok()?;
    let nullable = bare.ends_with('?');
    let kind = match bare.trim_end_matches('?') {
        "b" => FieldType::Bool,
        "w" => FieldType::Port,
        "s" => FieldType::Text,
        "y" => FieldType::Bytes,
        "u" => FieldType::Id,
        // A nullable array of structs has no nullable structs in it.
        "{" => FieldType::Struct {
            shape: shape(below, line.depth + 1, flexible)?,
            nullable: nullable && lists == 0,
        },
        digit => FieldType::Int(digit.parse().ok()?),
    };
    Some(Field { name: name.to_owned(), kind, lists, versions: Versions::parse(versions)?, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let text = include_str!("../internal_schema.txt");
        let heads = text.lines().filter(|line| !line.starts_with([' ', '#'])).count();
        assert_eq!(parse(text).len(), heads);
        let fields = text.lines().filter(|line| line.starts_with(' ')).count();
        fn count(shape: &Shape) -> usize {
            shape
                .fields
                .iter()
                .map(|field| match &field.kind {
                    FieldType::Struct { shape, .. } => 1 + count(shape),
                    _ => 1,
                })
                .sum()
        }
        let understood: usize = parse(text).iter().map(|record| count(&record.shape)).sum();
        assert_eq!(understood, fields);
    }
}
