//! The records of `__consumer_offsets`, `__transaction_state` and `__share_group_state`, field by
//! field.
//!
//! Owns: the table of their shapes (from Kafka's message definitions) and a decoder that follows it.
//! Never: knows what a field is for, which is the coordinators' matter.
//!
//! Invariant: a decoder that meets anything unexpected answers `None` or stops: an internal topic
//! that someone else wrote to is shown as bytes.

mod schema;

use std::io::{self, Write};

use ottla_protocol::model::{Uuid, kafka_uuid_text};

use schema::{FieldType, RecordShape, Shape};

/// Knows the internal topics. Make it once.
#[derive(Debug)]
pub struct InternalDecoder {
    records: Vec<RecordShape>,
}

/// A decoded record.
#[derive(Clone, PartialEq, Debug)]
pub struct InternalRecord {
    /// As Kafka's definition is called, without `Key`: `OffsetCommit`, `TransactionLog`.
    pub name: String,
    pub key: Value,
    /// `None` for a tombstone.
    pub value: Option<Value>,
}

/// A field's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Id(Uuid),
    List(Vec<Value>),
    Struct(Vec<(String, Value)>),
}

impl Value {
    /// The field of a struct.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Struct(fields) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Writes the value as JSON: ids as Kafka writes them, bytes in hexadecimal.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Null => write!(out, "null"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Text(text) => write_json_text(text, out),
            Self::Bytes(bytes) => {
                write!(out, "\"")?;
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
                write!(out, "\"")
            }
            Self::Id(id) => write!(out, "\"{}\"", kafka_uuid_text(*id)),
            Self::List(items) => {
                write!(out, "[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(out, "{}", if index == 0 { "" } else { "," })?;
                    item.write_json(out)?;
                }
                write!(out, "]")
            }
            Self::Struct(fields) => {
                write!(out, "{{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(out, "{}", if index == 0 { "" } else { "," })?;
                    write_json_text(name, out)?;
                    write!(out, ":")?;
                    value.write_json(out)?;
                }
                write!(out, "}}")
            }
        }
    }
}

fn write_json_text(text: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "{c}")?,
        }
    }
    write!(out, "\"")
}

impl Default for InternalDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl InternalDecoder {
    #[must_use]
    pub fn new() -> Self {
        Self { records: schema::parse(include_str!("internal_schema.txt")) }
    }

    /// Whether this topic's records can be decoded.
    #[must_use]
    pub fn knows(topic: &str) -> bool {
        topic_letter(topic).is_some()
    }

    /// Decodes a record of an internal topic; `None` for any other, and for what does not fit.
    #[must_use]
    pub fn decode(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<InternalRecord> {
        let letter = topic_letter(topic)?;
        let (kind, key_body) = key?.split_first_chunk::<2>()?;
        let mut kind = i16::from_be_bytes(*kind);
        // Before KIP-848 gave each type an id, the key of an offset was version 0 or 1 of one type.
        let find = |kind: i16, part| {
            self.records.iter().find(|r| r.topic == letter && r.kind == kind && r.part == part)
        };
        let key_shape = find(kind, schema::Part::Key)?;
        let key = Input { bytes: key_body }.whole(&key_shape.shape, 0)?;
        let value = match value {
            None => None,
            Some(bytes) => {
                let (version, body) = bytes.split_first_chunk::<2>()?;
                let version = i16::from_be_bytes(*version);
                if letter == 'C' && kind == 0 && version > 0 {
                    kind = 1;
                }
                let shape = find(kind, schema::Part::Value)?;
                if !shape.versions.contains(version) {
                    return None;
                }
                Some(Input { bytes: body }.whole(&shape.shape, version)?)
            }
        };
        let name = key_shape.name.strip_suffix("Key").unwrap_or(&key_shape.name).to_owned();
        Some(InternalRecord { name, key, value })
    }
}

fn topic_letter(topic: &str) -> Option<char> {
    match topic {
        "__consumer_offsets" => Some('C'),
        "__transaction_state" => Some('T'),
        "__share_group_state" => Some('S'),
        _ => None,
    }
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn unsigned_varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    /// A length or count before strings, bytes and arrays; `None` inside is null.
    fn length(&mut self, flexible: bool, wide: bool) -> Option<Option<usize>> {
        let length = if flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if wide {
            i64::from(i32::from_be_bytes(self.array()?))
        } else {
            i64::from(i16::from_be_bytes(self.array()?))
        };
        if length < 0 {
            return Some(None);
        }
        let length = usize::try_from(length).ok()?;
        // Every element takes a byte at least, so a count beyond the bytes is a lie.
        (length <= self.bytes.len()).then_some(Some(length))
    }

    /// The whole input as one struct.
    fn whole(mut self, shape: &Shape, version: i16) -> Option<Value> {
        let value = self.fields(shape, version)?;
        self.bytes.is_empty().then_some(value)
    }

    fn fields(&mut self, shape: &Shape, version: i16) -> Option<Value> {
        let flexible = shape.flexible.contains(version);
        let mut fields = Vec::new();
        for field in shape.fields.iter().filter(|f| f.versions.contains(version)) {
            if field.tag.is_none() {
                let value = self.value(&field.kind, field.lists, flexible, version)?;
                fields.push((field.name.clone(), value));
            }
        }
        if flexible {
            for _ in 0..self.unsigned_varint()? {
                let tag = self.unsigned_varint()?;
                let len = usize::try_from(self.unsigned_varint()?).ok()?;
                let mut body = Input { bytes: self.take(len)? };
                let known = shape.fields.iter().find(|f| f.tag == Some(tag));
                // A tag of a newer version is skipped, as its readers promise to be content.
                if let Some(field) = known {
                    let value = body.value(&field.kind, field.lists, flexible, version)?;
                    fields.push((field.name.clone(), value));
                }
            }
        }
        Some(Value::Struct(fields))
    }

    fn value(
        &mut self,
        kind: &FieldType,
        lists: u8,
        flexible: bool,
        version: i16,
    ) -> Option<Value> {
        if lists > 0 {
            let Some(count) = self.length(flexible, true)? else { return Some(Value::Null) };
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(self.value(kind, lists - 1, flexible, version)?);
            }
            return Some(Value::List(items));
        }
        Some(match kind {
            FieldType::Bool => Value::Bool(self.array::<1>()? != [0]),
            FieldType::Int(1) => Value::Int(i8::from_be_bytes(self.array()?).into()),
            FieldType::Int(2) => Value::Int(i16::from_be_bytes(self.array()?).into()),
            FieldType::Port => Value::Int(u16::from_be_bytes(self.array()?).into()),
            FieldType::Int(4) => Value::Int(i32::from_be_bytes(self.array()?).into()),
            FieldType::Int(_) => Value::Int(i64::from_be_bytes(self.array()?)),
            FieldType::Id => Value::Id(Uuid::from_bytes(self.array()?)),
            FieldType::Text => match self.length(flexible, false)? {
                None => Value::Null,
                Some(len) => Value::Text(String::from_utf8_lossy(self.take(len)?).into_owned()),
            },
            FieldType::Bytes => match self.length(flexible, true)? {
                None => Value::Null,
                Some(len) => Value::Bytes(self.take(len)?.to_vec()),
            },
            FieldType::Struct { shape, nullable } => {
                if *nullable && self.array::<1>()? != [1] {
                    return Some(Value::Null);
                }
                self.fields(shape, version)?
            }
        })
    }
}
