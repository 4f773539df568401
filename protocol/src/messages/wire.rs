//! The pieces of which flexible messages are made, for the messages that kafka-protocol lacks.
//!
//! Owns: compact lengths and tagged fields. Never: allocates by a count before it has read what
//! the count promises. Invariant: what `put_*` writes, `get_*` reads.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::model::Uuid;

pub(super) type Tags = BTreeMap<i32, Bytes>;

pub(super) fn put_varint(out: &mut impl ByteBufMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(super) fn get_varint(buf: &mut impl ByteBuf) -> Result<u32> {
    let mut value = 0;
    for index in 0..5 {
        let byte = buf.try_get_u8()?;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    anyhow::bail!("an integer has too many bytes")
}

/// The length of a compact string or array: one more than it is, so that 0 can be null.
pub(super) fn put_len(out: &mut impl ByteBufMut, len: usize) -> Result<()> {
    let len = u32::try_from(len).ok().and_then(|len| len.checked_add(1));
    put_varint(out, len.context("too long for the protocol")?);
    Ok(())
}

pub(super) fn get_len(buf: &mut impl ByteBuf) -> Result<usize> {
    let len = get_varint(buf)?.checked_sub(1).context("null where it is not allowed")?;
    Ok(usize::try_from(len)?)
}

pub(super) fn put_string(out: &mut impl ByteBufMut, text: &str) -> Result<()> {
    put_len(out, text.len())?;
    out.put_slice(text.as_bytes());
    Ok(())
}

pub(super) fn get_string(buf: &mut impl ByteBuf) -> Result<StrBytes> {
    let len = get_len(buf)?;
    Ok(StrBytes::from_utf8(buf.try_get_bytes(len)?)?)
}

pub(super) fn put_nullable_string(out: &mut impl ByteBufMut, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) => put_string(out, text),
        None => {
            put_varint(out, 0);
            Ok(())
        }
    }
}

pub(super) fn get_nullable_string(buf: &mut impl ByteBuf) -> Result<Option<StrBytes>> {
    match get_varint(buf)?.checked_sub(1) {
        Some(len) => Ok(Some(StrBytes::from_utf8(buf.try_get_bytes(usize::try_from(len)?)?)?)),
        None => Ok(None),
    }
}

/// The length of an array of structures, each of which takes a byte at least.
pub(super) fn get_nullable_array_len(buf: &mut impl ByteBuf) -> Result<Option<usize>> {
    let Some(len) = get_varint(buf)?.checked_sub(1) else { return Ok(None) };
    let len = usize::try_from(len)?;
    ensure!(len <= buf.remaining(), "an array of {len} does not fit the bytes left");
    Ok(Some(len))
}

pub(super) fn get_array_len(buf: &mut impl ByteBuf) -> Result<usize> {
    get_nullable_array_len(buf)?.context("null where it is not allowed")
}

/// Reads `len` items, of which [`get_array_len`] has said that they can be there. Room is made for
/// them at once, as the guard foresees it.
pub(super) fn get_items<B: ByteBuf, T>(
    buf: &mut B,
    len: usize,
    mut item: impl FnMut(&mut B) -> Result<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::with_capacity(len.min(buf.remaining()));
    for _ in 0..len {
        items.push(item(buf)?);
    }
    Ok(items)
}

pub(super) fn get_uuid(buf: &mut impl ByteBuf) -> Result<Uuid> {
    let mut bytes = [0; 16];
    buf.try_copy_to_slice(&mut bytes)?;
    Ok(Uuid::from_bytes(bytes))
}

pub(super) fn put_array<T: Encodable>(
    out: &mut impl ByteBufMut,
    items: &[T],
    version: i16,
) -> Result<()> {
    put_len(out, items.len())?;
    items.iter().try_for_each(|item| item.encode(out, version))
}

pub(super) fn get_array<T: Decodable>(buf: &mut impl ByteBuf, version: i16) -> Result<Vec<T>> {
    let len = get_array_len(buf)?;
    get_items(buf, len, |buf| T::decode(buf, version))
}

pub(super) fn put_tags(out: &mut impl ByteBufMut, tags: &Tags) -> Result<()> {
    put_varint(out, u32::try_from(tags.len())?);
    for (tag, value) in tags {
        put_varint(out, u32::try_from(*tag)?);
        put_varint(out, u32::try_from(value.len())?);
        out.put_slice(value);
    }
    Ok(())
}

pub(super) fn get_tags(buf: &mut impl ByteBuf) -> Result<Tags> {
    let mut tags = Tags::new();
    for _ in 0..get_varint(buf)? {
        let tag = i32::try_from(get_varint(buf)?)?;
        let len = usize::try_from(get_varint(buf)?)?;
        tags.insert(tag, buf.try_get_bytes(len)?);
    }
    Ok(tags)
}
