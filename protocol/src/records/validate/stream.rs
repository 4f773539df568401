//! Checking the records of a compressed batch while it expands.
//!
//! Owns: reading records off a decoder through one small buffer. Never: keeps keys, values or
//! headers. Invariant: memory does not depend on what the batch expands to.

use super::outline::{Outline, outline};
use super::{Checked, Checker, ValidationRules};
use crate::model::Timestamp;
use crate::records::codec::Codec;
use crate::records::cursor::Cursor;
use crate::records::decompress::Decompressor;
use crate::records::header::BatchHeader;
use crate::varint::{unzigzag32, unzigzag64};

use super::{DecompressError, MalformedRecord, ValidationError};

const BUFFER: usize = 16 * 1024;

pub(super) fn walk_compressed(
    codec: Codec,
    header: &BatchHeader,
    payload: &[u8],
    rules: &ValidationRules,
    now: Timestamp,
) -> Result<Checked, ValidationError> {
    let mut checker = Checker::new(header, rules, now);
    let mut stream = Stream {
        decompressor: Decompressor::new(codec, payload, rules.expanded_bytes_max)?,
        buffer: [0; BUFFER],
        position: 0,
        filled: 0,
        taken: 0,
    };
    for _ in 0..header.records_count {
        checker.on_record(&stream.record()?);
    }
    if stream.fill()? {
        return Err(MalformedRecord::Trailing.into());
    }
    checker.finish()
}

struct Stream<'a> {
    decompressor: Decompressor<'a>,
    buffer: [u8; BUFFER],
    position: usize,
    filled: usize,
    /// Bytes taken since the start of the payload.
    taken: u64,
}

impl Stream<'_> {
    /// The next record: at once if it lies in the buffer, else byte by byte.
    fn record(&mut self) -> Result<Outline, ValidationError> {
        let buffered = self.buffer.get(self.position..self.filled).unwrap_or_default();
        let mut cursor = Cursor::new(buffered);
        match outline(&mut cursor) {
            Ok(record) => {
                let taken = buffered.len() - cursor.rest().len();
                self.position += taken;
                self.taken += taken as u64;
                Ok(record)
            }
            Err(MalformedRecord::Truncated) => self.long_record(),
            Err(error) => Err(error.into()),
        }
    }

    fn long_record(&mut self) -> Result<Outline, ValidationError> {
        let declared = self.varint()?;
        let start = self.taken;
        self.byte()?;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let has_key = self.skip_nullable()?;
        self.skip_nullable()?;
        let headers = self.varint()?;
        if headers < 0 {
            return Err(MalformedRecord::HeaderCount(headers).into());
        }
        for _ in 0..headers {
            let len = self.varint()?;
            if len < 0 {
                return Err(MalformedRecord::HeaderKey(len).into());
            }
            self.skip(len)?;
            self.skip_nullable()?;
        }
        let actual = self.taken - start;
        if u64::try_from(declared) != Ok(actual) {
            let actual = usize::try_from(actual).unwrap_or(usize::MAX);
            return Err(MalformedRecord::Size { declared, actual }.into());
        }
        Ok(Outline { timestamp_delta, offset_delta, has_key })
    }

    /// Makes at least one byte available; `false` at the end.
    fn fill(&mut self) -> Result<bool, DecompressError> {
        if self.position < self.filled {
            return Ok(true);
        }
        self.position = 0;
        self.filled = self.decompressor.step(&mut self.buffer)?;
        Ok(self.filled > 0)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, ValidationError> {
        if self.position == self.filled && !self.fill()? {
            return Err(MalformedRecord::Truncated.into());
        }
        let byte = self.buffer.get(self.position).copied().unwrap_or_default();
        self.position += 1;
        self.taken += 1;
        Ok(byte)
    }

    fn skip(&mut self, len: i32) -> Result<(), ValidationError> {
        let mut left = usize::try_from(len).unwrap_or(0);
        while left > 0 {
            if !self.fill()? {
                return Err(MalformedRecord::Truncated.into());
            }
            let step = left.min(self.filled - self.position);
            self.position += step;
            self.taken += step as u64;
            left -= step;
        }
        Ok(())
    }

    /// Whether there was a value, and not null.
    fn skip_nullable(&mut self) -> Result<bool, ValidationError> {
        let len = self.varint()?;
        self.skip(len)?;
        Ok(len >= 0)
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, ValidationError> {
        let mut value = 0u32;
        for index in 0..5 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(unzigzag32(value));
            }
        }
        Err(MalformedRecord::Overlong.into())
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, ValidationError> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(unzigzag64(value));
            }
        }
        Err(MalformedRecord::Overlong.into())
    }
}
