//! The `-f` language: `%t %p %o %k %v %h %d`, sizes, modifiers and escapes.
//!
//! Owns: parsing a format once and writing records by it. Never: allocates per record for plain
//! pieces. Invariant: everything that is not a token is written as it stands.

use std::io::{self, Write};

use super::{base64, json};
use crate::client::records::RecordView;
use crate::units;

/// The tokens, for help and error texts.
pub(crate) const TOKENS: &str = "%t topic, %p partition, %o offset, %k key, %v value, %h headers, \
    %d time, %s value size, %K key size, %H number of headers, %% a percent sign; {hex}, {base64} \
    or {json} after %k %v %h, {iso} after %d; \\n \\t \\r \\0 \\\\ \\xNN";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    Plain,
    Hex,
    Base64,
    Json,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key(Encoding),
    Value(Encoding),
    Headers(Encoding),
    EpochMillis,
    IsoTime,
    ValueSize,
    KeySize,
    HeaderCount,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RecordFormat(Vec<Piece>);

impl RecordFormat {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            rest = &rest[next.len_utf8()..];
            match next {
                '%' if rest.starts_with('%') => {
                    literal.push(b'%');
                    rest = &rest[1..];
                }
                '%' => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(token(&mut rest)?);
                }
                '\\' => escape(&mut rest, &mut literal)?,
                _ => literal.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    pub(crate) fn write(&self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes)?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Key(encoding) => bytes(record.key, *encoding, out)?,
                Piece::Value(encoding) => bytes(record.value, *encoding, out)?,
                Piece::Headers(encoding) => headers(record, *encoding, out)?,
                Piece::EpochMillis => write!(out, "{}", record.timestamp)?,
                Piece::IsoTime => out.write_all(units::time(record.timestamp).as_bytes())?,
                Piece::ValueSize => size(record.value, out)?,
                Piece::KeySize => size(record.key, out)?,
                Piece::HeaderCount => write!(out, "{}", record.headers.len())?,
            }
        }
        Ok(())
    }
}

fn token(rest: &mut &str) -> Result<Piece, String> {
    let letter = rest.chars().next();
    let unknown = || match letter {
        Some(letter) => format!("%{letter} is no token of -f: {TOKENS}"),
        None => "the format ends in %; write %% for a percent sign".to_owned(),
    };
    let letter = letter.ok_or_else(unknown)?;
    *rest = &rest[letter.len_utf8()..];
    let modifier = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        Some((modifier, after)) if "kvhd".contains(letter) => {
            *rest = after;
            Some(modifier)
        }
        _ => None,
    };
    let encoding = || match modifier {
        None => Ok(Encoding::Plain),
        Some("hex") => Ok(Encoding::Hex),
        Some("base64") => Ok(Encoding::Base64),
        Some("json") => Ok(Encoding::Json),
        Some(other) => Err(format!("{{{other}}} is no modifier of %{letter}: {TOKENS}")),
    };
    Ok(match letter {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'k' => Piece::Key(encoding()?),
        'v' => Piece::Value(encoding()?),
        'h' => Piece::Headers(encoding()?),
        'd' => match modifier {
            None => Piece::EpochMillis,
            Some("iso") => Piece::IsoTime,
            Some(other) => return Err(format!("{{{other}}} is no modifier of %d: {TOKENS}")),
        },
        's' | 'V' => Piece::ValueSize,
        'K' => Piece::KeySize,
        'H' => Piece::HeaderCount,
        _ => return Err(unknown()),
    })
}

fn escape(rest: &mut &str, literal: &mut Vec<u8>) -> Result<(), String> {
    let letter = rest.chars().next().unwrap_or('\\');
    *rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    match letter {
        'n' => literal.push(b'\n'),
        't' => literal.push(b'\t'),
        'r' => literal.push(b'\r'),
        '0' => literal.push(0),
        '\\' => literal.push(b'\\'),
        'x' => {
            let digits = rest.get(..2).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16)
                .map_err(|_| "\\x needs two hexadecimal digits".to_owned())?;
            literal.push(byte);
            *rest = &rest[2..];
        }
        other => return Err(format!("\\{other} is no escape of -f: {TOKENS}")),
    }
    Ok(())
}

fn bytes(value: Option<&[u8]>, encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    match (encoding, value) {
        (Encoding::Json, value) => write!(out, "{}", json::bytes(value)),
        (_, None) => Ok(()),
        (Encoding::Plain, Some(value)) => out.write_all(value),
        (Encoding::Hex, Some(value)) => out.write_all(base64::hex(value).as_bytes()),
        (Encoding::Base64, Some(value)) => out.write_all(base64::encode(value).as_bytes()),
    }
}

fn headers(record: &RecordView<'_>, encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    if encoding == Encoding::Json {
        return write!(out, "{}", json::headers(record));
    }
    for (index, (key, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(key)?;
        out.write_all(b"=")?;
        bytes(*value, encoding, out)?;
    }
    Ok(())
}

/// -1 for null, as kcat has it.
fn size(value: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    match value {
        Some(value) => write!(out, "{}", value.len()),
        None => out.write_all(b"-1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str) -> String {
        let record = RecordView {
            topic: "t",
            partition: 3,
            offset: 42,
            timestamp: 1_700_000_000_000,
            key: Some(b"k\xff"),
            value: None,
            headers: vec![(b"a", Some(b"1")), (b"b", None)],
        };
        let mut out = Vec::new();
        let format = RecordFormat::parse(format).expect("a format");
        format.write(&record, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn tokens_modifiers_and_escapes() {
        assert_eq!(written("%t/%p/%o 100%%\\n"), "t/3/42 100%\n");
        assert_eq!(written("%k{hex} %k{base64}"), "6bff a/8=");
        assert_eq!(written("%k{json} %v{json}"), "{\"base64\":\"a/8=\"} null");
        assert_eq!(written("[%v] %s %K %H"), "[] -1 2 2");
        assert_eq!(written("%h"), "a=1,b=");
        assert_eq!(written("%d %d{iso}"), "1700000000000 2023-11-14T22:13:20.000Z");
        assert_eq!(written("\\x41\\t\\\\ %o{x}"), "A\t\\ 42{x}");
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, part) in [
            ("%z", "%z"),
            ("%", "ends in %"),
            ("%k{utf}", "{utf}"),
            ("\\q", "\\q"),
            ("\\xg1", "two"),
        ] {
            let error = RecordFormat::parse(wrong).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
    }
}
