//! Single records of a batch, borrowed from its payload.
//!
//! Owns: reading a record and its headers. Never: copies a key or a value, or expands anything.
//! Invariant: an iterator ends after its first error.

use super::attributes::TimestampType;
use super::cursor::Cursor;
use super::header::BatchHeader;
use crate::model::{Offset, Timestamp};

/// One record. Key and value are slices of the payload it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// No bit has a meaning yet.
    pub attributes: i8,
    pub offset: Offset,
    /// The record's own time, or the batch's where the broker set it.
    pub timestamp: Timestamp,
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    headers_count: i32,
    tail: &'a [u8],
}

/// Why the payload of a batch is not the records that its header promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedRecord {
    #[error("the records end before the batch's count is reached")]
    Truncated,
    #[error("an integer in a record has too many bytes")]
    Overlong,
    #[error("a record says it has {declared} bytes and has {actual}")]
    Size { declared: i32, actual: usize },
    #[error("a record cannot have {0} headers")]
    HeaderCount(i32),
    #[error("a header's key cannot have {0} bytes")]
    HeaderKey(i32),
    #[error("bytes are left after the last record")]
    Trailing,
    #[error("a batch cannot have {0} records")]
    RecordCount(i32),
}

impl<'a> Record<'a> {
    /// The headers, read as they are asked for.
    #[must_use]
    pub const fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { cursor: Cursor::new(self.headers), left: self.headers_count }
    }

    #[must_use]
    pub const fn headers_count(&self) -> i32 {
        self.headers_count
    }

    /// Everything from the key's length on, for a builder to take over unread.
    pub(super) const fn tail(&self) -> &'a [u8] {
        self.tail
    }

    /// Reads all headers and throws them away.
    ///
    /// # Errors
    /// Where they do not fill the record exactly.
    pub(super) fn check_headers(&self) -> Result<(), MalformedRecord> {
        if self.headers_count == 0 && self.headers.is_empty() {
            return Ok(());
        }
        let mut headers = self.headers();
        for header in headers.by_ref() {
            header?;
        }
        let left = headers.cursor.rest().len();
        if left == 0 {
            return Ok(());
        }
        let declared = i32::try_from(self.tail.len()).unwrap_or(i32::MAX);
        Err(MalformedRecord::Size { declared, actual: self.tail.len() - left })
    }
}

/// The headers of a record: key and nullable value, as bytes. Keys are meant to be UTF-8, which
/// neither Kafka's broker nor this one checks.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    cursor: Cursor<'a>,
    left: i32,
}

impl<'a> HeaderIter<'a> {
    fn read(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), MalformedRecord> {
        let len = self.cursor.varint()?;
        let len = usize::try_from(len).map_err(|_| MalformedRecord::HeaderKey(len))?;
        let key = self.cursor.take(len)?;
        Ok((key, self.cursor.nullable()?))
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), MalformedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let header = self.read();
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

/// The records of one batch, from its expanded payload.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    base_offset: Offset,
    base_timestamp: Timestamp,
    append_time: Option<Timestamp>,
    left: i32,
    /// Set while the end of the payload is still to be checked.
    end_unchecked: bool,
    refused_count: Option<i32>,
}

impl<'a> RecordIter<'a> {
    /// `payload` is what follows the header, expanded when the batch is compressed.
    #[must_use]
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        let count = header.records_count;
        Self {
            cursor: Cursor::new(payload),
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: match header.attributes.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(header.max_timestamp),
            },
            left: count.max(0),
            // As Kafka, a batch without records is not looked into.
            end_unchecked: count > 0,
            refused_count: (count < 0).then_some(count),
        }
    }

    #[inline]
    fn read(&mut self) -> Result<Record<'a>, MalformedRecord> {
        let declared = self.cursor.varint()?;
        let Ok(len) = usize::try_from(declared) else {
            return Err(MalformedRecord::Size { declared, actual: 0 });
        };
        let mut body = Cursor::new(self.cursor.take(len)?);
        let attributes = body.byte()? as i8;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let tail = body.rest();
        let key = body.nullable()?;
        let value = body.nullable()?;
        let headers_count = body.varint()?;
        let headers = body.rest();
        // A header takes at least two bytes; Kafka's own bound is one.
        if headers_count < 0 || usize::try_from(headers_count).is_ok_and(|n| n > headers.len()) {
            return Err(MalformedRecord::HeaderCount(headers_count));
        }
        if headers_count == 0 && !headers.is_empty() {
            return Err(MalformedRecord::Size { declared, actual: len - headers.len() });
        }
        let created = Timestamp(self.base_timestamp.0.wrapping_add(timestamp_delta));
        Ok(Record {
            attributes,
            offset: Offset(self.base_offset.0.wrapping_add(i64::from(offset_delta))),
            timestamp: self.append_time.unwrap_or(created),
            offset_delta,
            timestamp_delta,
            key,
            value,
            headers,
            headers_count,
            tail,
        })
    }

    fn fail(&mut self, error: MalformedRecord) -> Option<Result<Record<'a>, MalformedRecord>> {
        self.left = 0;
        self.end_unchecked = false;
        Some(Err(error))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, MalformedRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if let Some(count) = self.refused_count.take() {
                return self.fail(MalformedRecord::RecordCount(count));
            }
            if self.end_unchecked && !self.cursor.rest().is_empty() {
                return self.fail(MalformedRecord::Trailing);
            }
            return None;
        }
        self.left -= 1;
        match self.read() {
            Ok(record) => Some(Ok(record)),
            Err(error) => self.fail(error),
        }
    }
}
