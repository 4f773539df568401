//! A place in a slice of records.
//!
//! Owns: taking integers and lengths off the front of a slice. Never: copies or allocates.
//! Invariant: it never moves past the end of the slice.

use super::record::MalformedRecord;
use crate::varint::{unzigzag32, unzigzag64};

#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, MalformedRecord> {
        let (&byte, rest) = self.rest.split_first().ok_or(MalformedRecord::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], MalformedRecord> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(MalformedRecord::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<i32, MalformedRecord> {
        // Most integers of a record take one byte.
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(unzigzag32(u32::from(first)));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag32(value));
            }
        }
        Err(MalformedRecord::Overlong)
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Result<i64, MalformedRecord> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(unzigzag64(u64::from(first)));
        }
        let mut value = u64::from(first & 0x7f);
        for index in 1..10 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(unzigzag64(value));
            }
        }
        Err(MalformedRecord::Overlong)
    }

    /// Bytes with their length before them; any negative length is null, as Kafka reads it.
    #[inline]
    pub(super) fn nullable(&mut self) -> Result<Option<&'a [u8]>, MalformedRecord> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }
}
