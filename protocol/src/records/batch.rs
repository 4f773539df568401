//! Batches in a buffer, one after another.
//!
//! Owns: finding batches, checking their CRC, giving their records. Never: repairs anything.
//! Invariant: a batch that the iterator yields lies wholly within the buffer.

use std::borrow::Cow;

use super::HEADER;
use super::codec::Codec;
use super::decompress::{DecompressError, decompress};
use super::header::{BatchError, BatchHeader};
use super::record::RecordIter;

/// One whole batch within a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

/// The records of a batch, expanded if need be.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    payload: Cow<'a, [u8]>,
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`; what follows it is left alone.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and `Truncated` when the records are not all there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size();
        match bytes.get(..needed) {
            Some(bytes) => Ok(Self { header, bytes }),
            None => Err(BatchError::Truncated { needed, available: bytes.len() }),
        }
    }

    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Header and payload, as they lie in the buffer.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: records, or their compressed form.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// Compares the CRC with the bytes.
    ///
    /// # Errors
    /// `Crc`, with both values.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(super::CRC_START..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Crc { stored: self.header.crc, computed })
    }

    /// The records. Those of an uncompressed batch stay where they are; others are expanded into
    /// at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Unknown codec, damaged data, or more than `bytes_max` bytes of records.
    pub fn records(&self, bytes_max: usize) -> Result<Records<'a>, DecompressError> {
        let codec = self.header.attributes.codec().ok_or(DecompressError::UnknownCodec)?;
        let payload = match codec {
            Codec::None => Cow::Borrowed(self.payload()),
            codec => Cow::Owned(decompress(codec, self.payload(), bytes_max)?),
        };
        Ok(Records { header: self.header, payload })
    }
}

impl Records<'_> {
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(&self.header, &self.payload)
    }

    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = <RecordIter<'a> as Iterator>::Item;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The whole batches of a buffer, in order. A batch cut off by the buffer's end ends the
/// iteration; see [`BatchIter::rest`]. Any other error is yielded once, then it ends as well.
#[derive(Clone, Debug)]
pub struct BatchIter<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> BatchIter<'a> {
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, failed: false }
    }

    /// How many bytes the batches yielded so far take: where the next one begins.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The bytes that no yielded batch covers.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest().is_empty() {
            return None;
        }
        match Batch::parse(self.rest()) {
            Ok(batch) => {
                self.position += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Offset, Timestamp};
    use crate::records::{BatchBuilder, NewRecord};

    fn batch(value: &[u8], codec: Codec) -> bytes::Bytes {
        let mut builder = BatchBuilder::new(codec.into());
        builder
            .push(NewRecord { value: Some(value), ..NewRecord::at(Timestamp(5)) })
            .expect("it fits");
        builder.build().expect("it builds")
    }

    #[test]
    fn iteration_stops_at_a_partial_tail() {
        let mut bytes = batch(b"one", Codec::None).to_vec();
        let first = bytes.len();
        bytes.extend_from_slice(&batch(b"two", Codec::Gzip));
        let whole = bytes.len();
        for cut in [whole, whole - 1, first + HEADER, first + 13, first + 1, first] {
            let mut iter = BatchIter::new(&bytes[..cut]);
            let batches: Result<Vec<_>, _> = iter.by_ref().collect();
            let count = batches.expect("undamaged").len();
            assert_eq!(count, if cut == whole { 2 } else { 1 }, "cut at {cut}");
            assert_eq!(iter.position(), if cut == whole { whole } else { first });
        }
    }

    #[test]
    fn records_of_every_codec_come_back() {
        for codec in Codec::ALL {
            let bytes = batch(&[7; 5_000], codec);
            let batch = Batch::parse(&bytes).expect("a batch");
            batch.check_crc().expect("the CRC is right");
            let records = batch.records(10_000).expect("expandable");
            let record = records.iter().next().expect("one record").expect("well formed");
            assert_eq!(record.value, Some(&[7; 5_000][..]));
            assert_eq!((record.offset, record.timestamp), (Offset(0), Timestamp(5)));
            let error = batch.records(100).map(|_| ());
            assert_eq!(error.is_err(), codec != Codec::None, "{codec}");
        }
    }

    #[test]
    fn damage_is_found() {
        let mut bytes = batch(b"one", Codec::None).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Batch::parse(&bytes).expect("a batch").check_crc();
        assert!(matches!(error, Err(BatchError::Crc { .. })));
        bytes[16] = 9;
        let mut iter = BatchIter::new(&bytes);
        assert!(matches!(iter.next(), Some(Err(BatchError::Magic(9)))));
        assert!(iter.next().is_none());
    }
}
