//! Encoding responses without copying the records in them.
//!
//! Owns: the buffer that messages are encoded into: small fields are written to a head, large
//! slices that were announced beforehand are kept by reference, and what comes out is a list of
//! segments for one vectored write. Never: writes to a socket or reads a file.
//! Invariant: the segments, one after another, are byte for byte what a flat encoding gives.
//!
//! kafka-protocol encodes a message by `put_slice`, which shows the rope a slice and not the
//! `Bytes` behind it. A slice is therefore found by its address and length among those announced
//! with [`Rope::keep`]. Ranges of files are announced with [`Rope::keep_file`], which gives a
//! stand-in of the right length to put into the message; its memory is never read.

// SAFETY of the module: `BufMut` is an unsafe trait. Its two unsafe promises (`chunk_mut` gives
// memory that may be written, `advance_mut` counts what was written) are passed on unchanged to
// the `BytesMut` that keeps them.
#![allow(unsafe_code, reason = "BufMut cannot be implemented without; both halves delegate")]

use std::convert::Infallible;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;
use kafka_protocol::protocol::buf::ByteBufMut;

use crate::frame::{ResponseHead, SIZE_PREFIX};

/// Slices below this are cheaper to copy than to write by reference.
const COPIED_BELOW: usize = 1_024;

/// What stand-ins for file ranges point into: zeroed pages that take addresses but no memory, as
/// nothing touches them. Not a constant, which would lie in the binary with all its zeros.
static STAND_IN: OnceLock<Bytes> = OnceLock::new();
const STAND_IN_LEN: usize = 64 << 20;

/// A piece of an encoded response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment<F = Infallible> {
    Bytes(Bytes),
    /// A range of a file, `len` bytes long.
    File {
        range: F,
        len: usize,
    },
}

/// An encoded response: size, header, body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded<F = Infallible> {
    /// In the order of writing. The first begins with the size.
    pub segments: Vec<Segment<F>>,
    /// Bytes of all segments.
    pub len: usize,
}

/// Why a response cannot be encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// Most often a field with a value that the version has no room for.
    #[error("the message cannot be encoded in version {version}: {reason}")]
    Message { version: i16, reason: String },
    #[error("a frame of {0} bytes is larger than the protocol allows")]
    TooLarge(usize),
}

/// The buffer. `F` says where a file range is; without any, it cannot be made.
#[derive(Debug)]
pub struct Rope<F = Infallible> {
    head: BytesMut,
    announced: Vec<Announced<F>>,
    /// The first of `announced` that has not been met; messages meet them in order.
    next: usize,
    splices: Vec<Splice<F>>,
    spliced: usize,
}

#[derive(Debug)]
struct Announced<F> {
    address: usize,
    len: usize,
    segment: Option<Segment<F>>,
}

#[derive(Debug)]
struct Splice<F> {
    /// How much of the head stands before it.
    at: usize,
    segment: Segment<F>,
}

impl<F> Default for Rope<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> Rope<F> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: BytesMut::with_capacity(512),
            announced: Vec::new(),
            next: 0,
            splices: Vec::new(),
            spliced: 0,
        }
    }

    /// Announces bytes that a field of the message holds. To be called in the order in which the
    /// message has them; out of order they are found more slowly.
    pub fn keep(&mut self, bytes: &Bytes) {
        if bytes.len() >= COPIED_BELOW {
            self.announced.push(Announced {
                address: bytes.as_ptr().addr(),
                len: bytes.len(),
                segment: Some(Segment::Bytes(bytes.clone())),
            });
        }
    }

    /// Announces a range of a file and gives the stand-in for the message's field. The stand-ins
    /// of one rope must be met in the order in which they were made.
    #[must_use]
    pub fn keep_file(&mut self, range: F, len: usize) -> Bytes {
        let stand_in = if len <= STAND_IN_LEN {
            STAND_IN.get_or_init(|| Bytes::from(vec![0; STAND_IN_LEN])).slice(..len)
        } else {
            // Beyond any sensible fetch; these are untouched pages as well.
            Bytes::from(vec![0; len])
        };
        if len > 0 {
            self.announced.push(Announced {
                address: stand_in.as_ptr().addr(),
                len,
                segment: Some(Segment::File { range, len }),
            });
        }
        stand_in
    }

    /// Encodes a response with its header and its size.
    ///
    /// # Errors
    /// Where the message has a value that its version cannot carry, or the frame passes 2 GiB.
    pub fn encode(
        mut self,
        head: ResponseHead,
        message: &impl Encodable,
        version: i16,
    ) -> Result<Encoded<F>, EncodeError> {
        self.head.put_bytes(0, SIZE_PREFIX);
        head.put(&mut self.head);
        message
            .encode(&mut self, version)
            .map_err(|error| EncodeError::Message { version, reason: error.to_string() })?;
        self.finish()
    }

    fn finish(mut self) -> Result<Encoded<F>, EncodeError> {
        let len = self.len();
        let size = i32::try_from(len - SIZE_PREFIX).map_err(|_| EncodeError::TooLarge(len))?;
        self.head[..SIZE_PREFIX].copy_from_slice(&size.to_be_bytes());
        let mut head = self.head.freeze();
        let mut segments = Vec::with_capacity(self.splices.len() * 2 + 1);
        let mut taken = 0;
        for splice in self.splices {
            if splice.at > taken {
                segments.push(Segment::Bytes(head.split_to(splice.at - taken)));
                taken = splice.at;
            }
            segments.push(splice.segment);
        }
        if !head.is_empty() {
            segments.push(Segment::Bytes(head));
        }
        Ok(Encoded { segments, len })
    }

    fn len(&self) -> usize {
        self.head.len() + self.spliced
    }

    /// Takes the announced segment that `slice` is, if it is one.
    #[inline]
    fn claim(&mut self, slice: &[u8]) -> Option<Segment<F>> {
        let expected = self.announced.get_mut(self.next)?;
        if expected.is(slice) {
            self.next += 1;
            return expected.segment.take();
        }
        // Most slices are small fields, which need no search.
        if slice.len() < COPIED_BELOW && !is_stand_in(slice) {
            return None;
        }
        self.search(slice)
    }

    /// Finds what is met out of order.
    #[cold]
    fn search(&mut self, slice: &[u8]) -> Option<Segment<F>> {
        let later = self.announced.get_mut(self.next..)?;
        let segment = later.iter_mut().find(|announced| announced.is(slice))?.segment.take();
        while self.announced.get(self.next).is_some_and(|a| a.segment.is_none()) {
            self.next += 1;
        }
        segment
    }
}

impl<F> Announced<F> {
    fn is(&self, slice: &[u8]) -> bool {
        self.address == slice.as_ptr().addr() && self.len == slice.len() && self.segment.is_some()
    }
}

fn is_stand_in(slice: &[u8]) -> bool {
    STAND_IN.get().is_some_and(|zeros| zeros.as_ptr_range().contains(&slice.as_ptr()))
}

impl<F> Encoded<F> {
    /// The bytes in order, where there is no file among them.
    #[must_use]
    pub fn into_bytes(self) -> Option<Vec<Bytes>> {
        self.segments
            .into_iter()
            .map(|segment| match segment {
                Segment::Bytes(bytes) => Some(bytes),
                Segment::File { .. } => None,
            })
            .collect()
    }
}

impl Encoded<Infallible> {
    /// One contiguous buffer; a copy unless there is only one segment.
    #[must_use]
    pub fn flat(self) -> Bytes {
        let len = self.len;
        let mut pieces = self.segments.into_iter().map(|segment| match segment {
            Segment::Bytes(bytes) => bytes,
            Segment::File { range, .. } => match range {},
        });
        let first = pieces.next().unwrap_or_default();
        if first.len() == len {
            return first;
        }
        let mut out = BytesMut::with_capacity(len);
        out.put_slice(&first);
        pieces.for_each(|piece| out.put_slice(&piece));
        out.freeze()
    }
}

// SAFETY: `chunk_mut` and `advance_mut` are those of the head, unchanged. The head only grows
// otherwise, by its own safe methods.
unsafe impl<F> BufMut for Rope<F> {
    fn remaining_mut(&self) -> usize {
        usize::MAX - self.len()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller promises what `BytesMut` asks for, about the chunk that it was given
        // by `chunk_mut`, which is the head's.
        unsafe { self.head.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.head.chunk_mut()
    }

    fn put_slice(&mut self, slice: &[u8]) {
        if let Some(segment) = self.claim(slice) {
            self.spliced += slice.len();
            self.splices.push(Splice { at: self.head.len(), segment });
            return;
        }
        self.head.extend_from_slice(slice);
    }
}

/// kafka-protocol seeks only in record batches, which are never encoded into a rope. Positions
/// count the head alone, so that even then nothing is written outside of it.
impl<F> ByteBufMut for Rope<F> {
    fn offset(&self) -> usize {
        self.head.len()
    }

    fn seek(&mut self, offset: usize) {
        self.head.resize(offset, 0);
    }

    fn range(&mut self, range: Range<usize>) -> &mut [u8] {
        self.head.get_mut(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use crate::messages::{FetchResponse, TopicName};
    use proptest::prelude::*;

    const HEAD: ResponseHead = ResponseHead { correlation_id: 9, flexible: true };

    fn response(records: &[Bytes]) -> FetchResponse {
        let partitions = records
            .iter()
            .enumerate()
            .map(|(index, records)| {
                PartitionData::default()
                    .with_partition_index(index as i32)
                    .with_records(Some(records.clone()))
            })
            .collect();
        FetchResponse::default().with_responses(vec![
            FetchableTopicResponse::default()
                .with_topic(TopicName("t".into()))
                .with_partitions(partitions),
        ])
    }

    fn flat(message: &FetchResponse, version: i16) -> Vec<u8> {
        let mut body = BytesMut::new();
        message.encode(&mut body, version).expect("encodable");
        let mut out = Vec::new();
        out.put_i32((HEAD.size() + body.len()) as i32);
        HEAD.put(&mut out);
        out.extend_from_slice(&body);
        out
    }

    proptest! {
        #[test]
        fn a_rope_is_what_a_flat_encoding_is(
            sizes in prop::collection::vec(0usize..5_000, 0..8),
            version in 4i16..=12,
            shuffle in any::<bool>(),
        ) {
            let block = Bytes::from((0..10_000u32).map(|n| n as u8).collect::<Vec<_>>());
            let records: Vec<Bytes> =
                sizes.iter().enumerate().map(|(n, size)| block.slice(n..n + size)).collect();
            let message = response(&records);
            let mut rope = Rope::<Infallible>::new();
            if shuffle {
                records.iter().rev().for_each(|bytes| rope.keep(bytes));
            } else {
                records.iter().for_each(|bytes| rope.keep(bytes));
            }
            let encoded = rope.encode(HEAD, &message, version).expect("encodable");
            let kept = sizes.iter().filter(|size| **size >= COPIED_BELOW).count();
            prop_assert!(encoded.segments.len() <= 2 * kept + 1);
            let by_reference = encoded
                .segments
                .iter()
                .filter(|segment| matches!(segment, Segment::Bytes(bytes)
                    if block.as_ptr_range().contains(&bytes.as_ptr())))
                .count();
            prop_assert_eq!(by_reference, kept);
            prop_assert_eq!(&encoded.flat()[..], &flat(&message, version)[..]);
        }
    }

    #[test]
    fn file_ranges_stand_where_their_bytes_would() {
        let sizes = [3_000, 0, 3_000, 10];
        let mut rope = Rope::new();
        let records: Vec<Bytes> =
            sizes.iter().enumerate().map(|(file, len)| rope.keep_file(file, *len)).collect();
        let message = response(&records);
        let encoded = rope.encode(HEAD, &message, 12).expect("encodable");
        assert_eq!(encoded.len, flat(&message, 12).len());
        let files: Vec<(usize, usize)> = encoded
            .segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::File { range, len } => Some((*range, *len)),
                Segment::Bytes(_) => None,
            })
            .collect();
        assert_eq!(files, [(0, 3_000), (2, 3_000), (3, 10)]);
        let mut out = Vec::new();
        for segment in &encoded.segments {
            match segment {
                Segment::Bytes(bytes) => out.extend_from_slice(bytes),
                Segment::File { len, .. } => out.resize(out.len() + len, 0),
            }
        }
        assert_eq!(out, flat(&message, 12));
        assert!(encoded.into_bytes().is_none());
    }

    #[test]
    fn an_unknown_version_is_an_error() {
        let message = FetchResponse::default().with_error_code(7);
        let encoded = Rope::<Infallible>::new().encode(HEAD, &message, 99);
        assert!(matches!(encoded, Err(EncodeError::Message { version: 99, .. })));
    }

    #[test]
    fn writing_piecewise_reaches_the_head() {
        let mut rope = Rope::<Infallible>::new();
        rope.put_bytes(0, 4);
        rope.put(&b"abc"[..]);
        rope.put_i32(7);
        assert_eq!(&rope.finish().expect("small").flat()[..], b"\0\0\0\x07abc\0\0\0\x07");
    }
}
