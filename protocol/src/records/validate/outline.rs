//! The part of a record that the rules ask about.
//!
//! Owns: reading it off a slice, and checking the rest of the record on the way. Never: builds a
//! [`super::super::Record`]: this runs for every record that is produced. Invariant: it refuses
//! exactly what `RecordIter` and `Record::headers` together refuse.

use crate::records::cursor::Cursor;
use crate::records::record::MalformedRecord;

/// What the rules ask of a record.
pub(super) struct Outline {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

/// Reads the next record, whole.
#[inline]
pub(super) fn outline(cursor: &mut Cursor<'_>) -> Result<Outline, MalformedRecord> {
    let declared = cursor.varint()?;
    let Ok(len) = usize::try_from(declared) else {
        return Err(MalformedRecord::Size { declared, actual: 0 });
    };
    let mut body = Cursor::new(cursor.take(len)?);
    body.byte()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let has_key = body.nullable()?.is_some();
    body.nullable()?;
    let headers = body.varint()?;
    if headers != 0 {
        skip_headers(&mut body, headers)?;
    }
    if !body.rest().is_empty() {
        return Err(MalformedRecord::Size { declared, actual: len - body.rest().len() });
    }
    Ok(Outline { timestamp_delta, offset_delta, has_key })
}

fn skip_headers(body: &mut Cursor<'_>, count: i32) -> Result<(), MalformedRecord> {
    if usize::try_from(count).map_or(true, |count| count > body.rest().len()) {
        return Err(MalformedRecord::HeaderCount(count));
    }
    for _ in 0..count {
        let len = body.varint()?;
        body.take(usize::try_from(len).map_err(|_| MalformedRecord::HeaderKey(len))?)?;
        body.nullable()?;
    }
    Ok(())
}
