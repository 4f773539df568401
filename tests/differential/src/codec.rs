//! JSON to bytes and back, for any message at any version.
//!
//! Owns the wire's primitive encodings. Never guesses: an unknown name in a request is an error of
//! the test.
//! Invariants: `decode(encode(x))` is x with defaults filled in; decoding never reads beyond the
//! frame and never allocates by a count that the remaining bytes can't hold. Bytes and uuids are
//! hexadecimal text.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::schema::{Field, Kind, Message};

/// The body of `message` at `version`.
///
/// # Errors
/// When `value` names a field that the message does not have, or a value does not fit its type.
pub fn encode(message: &Message, version: i16, value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let style = Style { version, flexible: message.is_flexible(version) };
    encode_struct(&mut out, &message.fields, style, value)
        .with_context(|| format!("{} v{version}", message.name))?;
    Ok(out)
}

/// The whole of `bytes` as a body of `message` at `version`.
///
/// # Errors
/// When the bytes end early, something is left over, or a value breaks the encoding.
pub fn decode(message: &Message, version: i16, bytes: &[u8]) -> Result<Value> {
    let mut input = bytes;
    let style = Style { version, flexible: message.is_flexible(version) };
    let value = decode_struct(&mut input, &message.fields, style)
        .with_context(|| format!("{} v{version}", message.name))?;
    ensure!(input.is_empty(), "{} v{version}: {} bytes left over", message.name, input.len());
    Ok(value)
}

#[derive(Clone, Copy)]
struct Style {
    version: i16,
    flexible: bool,
}

fn encode_struct(out: &mut Vec<u8>, fields: &[Field], style: Style, value: &Value) -> Result<()> {
    let object = value.as_object().context("not an object")?;
    if let Some(odd) =
        object.keys().find(|k| *k != "_tags" && !fields.iter().any(|f| f.name == **k))
    {
        bail!("no field {odd}");
    }
    let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
    for field in fields.iter().filter(|f| f.versions.contains(style.version)) {
        let given = object.get(&field.name);
        let tag = field.tag.filter(|(_, versions)| versions.contains(style.version));
        let fallback = default_of(field);
        let shown = given.unwrap_or(&fallback);
        let mut body = Vec::new();
        let target = if tag.is_some() { &mut body } else { &mut *out };
        if tag.is_none() || given.is_some() {
            encode_field(target, field, style, shown).with_context(|| field.name.clone())?;
        }
        if let (Some((number, _)), true) = (tag, given.is_some()) {
            tagged.push((number, body));
        }
    }
    if style.flexible {
        if let Some(extra) = object.get("_tags").and_then(Value::as_object) {
            for (number, bytes) in extra {
                tagged.push((number.parse()?, from_hex(bytes.as_str().context("hex")?)?));
            }
        }
        put_uvarint(out, tagged.len() as u64);
        for (number, body) in tagged {
            put_uvarint(out, u64::from(number));
            put_uvarint(out, body.len() as u64);
            out.extend(body);
        }
    }
    Ok(())
}

/// What a field holds when nobody says so, as Kafka's definitions have it.
fn default_of(field: &Field) -> Value {
    if field.array {
        return if field.default.as_deref() == Some("null") {
            Value::Null
        } else {
            Value::Array(Vec::new())
        };
    }
    let text = field.default.as_deref();
    match field.kind {
        _ if text == Some("null") => Value::Null,
        Kind::Bool => Value::Bool(text == Some("true")),
        Kind::String | Kind::Bytes => Value::String(text.unwrap_or_default().to_owned()),
        Kind::Uuid => Value::String("0".repeat(32)),
        Kind::Struct => Value::Object(Map::new()),
        Kind::Float64 => serde_json::json!(0.0),
        _ => {
            let text = text.unwrap_or("0");
            let number = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            number.expect("a number in schemas.txt").into()
        }
    }
}

fn encode_field(out: &mut Vec<u8>, field: &Field, style: Style, value: &Value) -> Result<()> {
    let compact = style.flexible && !field.plain;
    if !field.array {
        return encode_value(out, field, style, value);
    }
    match value {
        Value::Null => put_length(out, None, compact, Width::Four),
        Value::Array(items) => {
            put_length(out, Some(items.len()), compact, Width::Four);
            for item in items {
                encode_value(out, field, style, item)?;
            }
        }
        other => bail!("not an array: {other}"),
    }
    Ok(())
}

fn encode_value(out: &mut Vec<u8>, field: &Field, style: Style, value: &Value) -> Result<()> {
    let compact = style.flexible && !field.plain;
    let number = || value.as_i64().with_context(|| format!("not a number: {value}"));
    match field.kind {
        Kind::Bool => out.push(u8::from(value.as_bool().context("not a boolean")?)),
        Kind::Int8 => out.extend(i8::try_from(number()?)?.to_be_bytes()),
        Kind::Int16 => out.extend(i16::try_from(number()?)?.to_be_bytes()),
        Kind::Uint16 => out.extend(u16::try_from(number()?)?.to_be_bytes()),
        Kind::Int32 => out.extend(i32::try_from(number()?)?.to_be_bytes()),
        Kind::Int64 => out.extend(number()?.to_be_bytes()),
        Kind::Float64 => out.extend(value.as_f64().context("not a number")?.to_be_bytes()),
        Kind::Uuid => {
            let bytes = from_hex(value.as_str().context("not a uuid")?)?;
            ensure!(bytes.len() == 16, "a uuid has 16 bytes");
            out.extend(bytes);
        }
        Kind::String => {
            let text = value.as_str();
            ensure!(text.is_some() || value.is_null(), "not a string: {value}");
            put_length(out, text.map(str::len), compact, Width::Two);
            out.extend(text.unwrap_or_default().as_bytes());
        }
        Kind::Bytes => {
            let bytes = value.as_str().map(from_hex).transpose()?;
            put_length(out, bytes.as_ref().map(Vec::len), compact, Width::Four);
            out.extend(bytes.unwrap_or_default());
        }
        Kind::Struct => {
            let nullable = !field.array && field.nullable.contains(style.version);
            if nullable {
                out.push(if value.is_null() { 0xff } else { 1 });
            }
            if !(nullable && value.is_null()) {
                encode_struct(out, &field.fields, style, value)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Width {
    Two,
    Four,
}

fn put_length(out: &mut Vec<u8>, length: Option<usize>, compact: bool, width: Width) {
    match (compact, width, length) {
        (true, _, length) => put_uvarint(out, length.map_or(0, |n| n as u64 + 1)),
        (false, Width::Two, length) => out.extend(length.map_or(-1, |n| n as i16).to_be_bytes()),
        (false, Width::Four, length) => out.extend(length.map_or(-1, |n| n as i32).to_be_bytes()),
    }
}

/// An unsigned varint, seven bits a byte, the lowest first.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn decode_struct(input: &mut &[u8], fields: &[Field], style: Style) -> Result<Value> {
    let mut object = Map::new();
    let tagged = |f: &&Field| f.tag.is_some_and(|(_, v)| v.contains(style.version));
    for field in fields.iter().filter(|f| f.versions.contains(style.version)) {
        if tagged(&field) {
            object.insert(field.name.clone(), Value::String("default".to_owned()));
        } else {
            let value = decode_field(input, field, style).with_context(|| field.name.clone())?;
            object.insert(field.name.clone(), value);
        }
    }
    if style.flexible {
        let mut unknown = Map::new();
        for _ in 0..take_uvarint(input)? {
            let number = take_uvarint(input)?;
            let length = usize::try_from(take_uvarint(input)?)?;
            let mut body = take(input, length)?;
            match fields
                .iter()
                .filter(tagged)
                .find(|f| f.tag.is_some_and(|(n, _)| u64::from(n) == number))
            {
                Some(field) => {
                    let value = decode_field(&mut body, field, style)?;
                    ensure!(body.is_empty(), "tag {number}: bytes left over");
                    object.insert(field.name.clone(), value);
                }
                None => {
                    unknown.insert(number.to_string(), hex(body).into());
                }
            }
        }
        if !unknown.is_empty() {
            object.insert("_tags".to_owned(), unknown.into());
        }
    }
    Ok(Value::Object(object))
}

fn decode_field(input: &mut &[u8], field: &Field, style: Style) -> Result<Value> {
    if !field.array {
        return decode_value(input, field, style);
    }
    let compact = style.flexible && !field.plain;
    let Some(count) = take_length(input, compact, Width::Four)? else {
        ensure!(field.nullable.contains(style.version), "null in v{}", style.version);
        return Ok(Value::Null);
    };
    ensure!(count <= input.len(), "{count} elements in {} bytes", input.len());
    let mut items = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        items.push(decode_value(input, field, style)?);
    }
    Ok(Value::Array(items))
}

fn decode_value(input: &mut &[u8], field: &Field, style: Style) -> Result<Value> {
    let compact = style.flexible && !field.plain;
    Ok(match field.kind {
        Kind::Bool => Value::Bool(take(input, 1)?[0] != 0),
        Kind::Int8 => i64::from(take(input, 1)?[0] as i8).into(),
        Kind::Int16 => i16::from_be_bytes(take(input, 2)?.try_into()?).into(),
        Kind::Uint16 => u16::from_be_bytes(take(input, 2)?.try_into()?).into(),
        Kind::Int32 => i32::from_be_bytes(take(input, 4)?.try_into()?).into(),
        Kind::Int64 => i64::from_be_bytes(take(input, 8)?.try_into()?).into(),
        Kind::Float64 => f64::from_be_bytes(take(input, 8)?.try_into()?).into(),
        Kind::Uuid => hex(take(input, 16)?).into(),
        Kind::String | Kind::Bytes => {
            let width = if field.kind == Kind::String { Width::Two } else { Width::Four };
            let Some(length) = take_length(input, compact, width)? else {
                ensure!(
                    field.array || field.nullable.contains(style.version),
                    "null in v{}",
                    style.version
                );
                return Ok(Value::Null);
            };
            let bytes = take(input, length)?;
            match field.kind {
                Kind::String => std::str::from_utf8(bytes)?.into(),
                _ => hex(bytes).into(),
            }
        }
        Kind::Struct => {
            if !field.array
                && field.nullable.contains(style.version)
                && take(input, 1)?[0] as i8 == -1
            {
                return Ok(Value::Null);
            }
            decode_struct(input, &field.fields, style)?
        }
    })
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    ensure!(length <= input.len(), "{length} bytes wanted, {} left", input.len());
    let (head, tail) = input.split_at(length);
    *input = tail;
    Ok(head)
}

fn take_uvarint(input: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(input, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a varint of more than nine bytes")
}

fn take_length(input: &mut &[u8], compact: bool, width: Width) -> Result<Option<usize>> {
    let length = match (compact, width) {
        (true, _) => i64::try_from(take_uvarint(input)?)? - 1,
        (false, Width::Two) => i64::from(i16::from_be_bytes(take(input, 2)?.try_into()?)),
        (false, Width::Four) => i64::from(i32::from_be_bytes(take(input, 4)?.try_into()?)),
    };
    ensure!(length >= -1, "length {length}");
    Ok(usize::try_from(length).ok())
}

#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// # Errors
/// When `text` is not pairs of hexadecimal digits.
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "not hexadecimal: {text}");
    (0..text.len()).step_by(2).map(|i| Ok(u8::from_str_radix(&text[i..i + 2], 16)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Random, sample};
    use crate::schema::Schemas;

    #[test]
    fn every_request_and_version_survives_a_round_trip() {
        let mut random = Random::new(7);
        for message in Schemas::get().requests() {
            for version in message.versions.iter() {
                let value = sample(message, version, &mut random);
                let bytes = encode(message, version, &value).expect("encodes");
                let back = decode(message, version, &bytes).expect("decodes");
                assert_eq!(encode(message, version, &strip_defaults(back)).expect("again"), bytes);
            }
        }
    }

    /// Tagged fields that were not on the wire come back as the word "default": leave them out
    /// again.
    fn strip_defaults(value: Value) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .filter(|(_, v)| v.as_str() != Some("default"))
                .map(|(k, v)| (k, strip_defaults(v)))
                .collect(),
            Value::Array(items) => items.into_iter().map(strip_defaults).collect(),
            other => other,
        }
    }

    #[test]
    fn a_metadata_request_has_the_bytes_that_kafka_defines() {
        let metadata = Schemas::get().named("Metadata");
        let value =
            serde_json::json!({"Topics": [{"Name": "ab"}], "AllowAutoTopicCreation": false});
        assert_eq!(
            hex(&encode(metadata, 4, &value).expect("v4")),
            "00000001000261620".to_owned() + "0"
        );
        assert_eq!(hex(&encode(metadata, 9, &value).expect("v9")), "020361620000000000");
    }

    #[test]
    fn an_absurd_count_is_an_error() {
        let metadata = Schemas::get().named("Metadata");
        assert!(decode(metadata, 1, &[0x7f, 0xff, 0xff, 0xff]).is_err());
    }
}
