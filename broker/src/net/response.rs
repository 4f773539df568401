//! A response as it goes to the socket: segments of memory and of files.
//!
//! Owns: frames made of encoded fields and of stored bytes that are sent where they lie. Never: writes
//! to a socket.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use ottla_protocol::frame::ResponseHead;
use ottla_protocol::rope::{self, EncodeError, Rope};
use ottla_replication::home::Home;
use ottla_storage::LogSlice;
use ottla_storage::fs::File;

/// Slices up to this length are copied between the encoded fields: cheaper than a segment each.
const COPIED_MAX: usize = 1024;

/// A part of a response.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    Bytes(Bytes),
    /// `home` is told when the file cannot be read.
    File {
        file: Arc<dyn File>,
        position: u64,
        len: u32,
        home: Option<Home>,
    },
}

/// What is stored of one partition and goes into a response.
#[derive(Debug)]
struct Stored {
    slices: Vec<LogSlice>,
    home: Option<Home>,
}

/// The stored bytes of one response, in the order in which its fields carry them.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    rope: Rope<Stored>,
}

impl Bulk {
    /// Takes slices over and gives the value that stands for them in the message. `home` is where
    /// those lie that are ranges of files.
    pub(crate) fn keep(&mut self, slices: Vec<LogSlice>, home: Option<Home>) -> Bytes {
        let len: usize = slices.iter().map(LogSlice::len).sum();
        match slices.as_slice() {
            [LogSlice::Memory(bytes)] if len <= COPIED_MAX => bytes.clone(),
            _ => self.rope.keep_file(Stored { slices, home }, len),
        }
    }
}

/// A whole response frame.
#[derive(Debug)]
pub(crate) struct ResponseFrame {
    segments: Vec<Segment>,
    len: usize,
}

impl ResponseFrame {
    pub(crate) fn encode<R: Encodable + HeaderVersion>(
        response: &R,
        version: i16,
        correlation_id: i32,
        bulk: Bulk,
    ) -> Result<Self, EncodeError> {
        let head = ResponseHead { correlation_id, flexible: R::header_version(version) >= 1 };
        let encoded = bulk.rope.encode(head, response, version)?;
        let mut segments = Vec::with_capacity(encoded.segments.len());
        for segment in encoded.segments {
            match segment {
                rope::Segment::Bytes(bytes) => segments.push(Segment::Bytes(bytes)),
                rope::Segment::File { range, .. } => {
                    let Stored { slices, home } = range;
                    segments.extend(slices.into_iter().map(|slice| of_slice(slice, home.as_ref())));
                }
            }
        }
        Ok(Self { segments, len: encoded.len })
    }

    /// A frame that another broker encoded.
    pub(crate) fn of_bytes(frame: Bytes) -> Self {
        Self { len: frame.len(), segments: vec![Segment::Bytes(frame)] }
    }

    /// The frame's bytes; answers that are passed on refer to no files.
    pub(crate) fn copy_to(&self, to: &mut BytesMut) {
        for segment in &self.segments {
            match segment {
                Segment::Bytes(bytes) => to.extend_from_slice(bytes),
                Segment::File { file, position, len, .. } => {
                    match file.read_bytes_at(*position, *len as usize) {
                        Ok(bytes) => to.extend_from_slice(&bytes),
                        Err(error) => tracing::error!(%error, "an answer is cut short"),
                    }
                }
            }
        }
    }

    /// Bytes of all segments.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }
}

fn of_slice(slice: LogSlice, home: Option<&Home>) -> Segment {
    match slice {
        LogSlice::Memory(bytes) => Segment::Bytes(bytes),
        LogSlice::File { file, position, len } => {
            Segment::File { file, position, len, home: home.cloned() }
        }
    }
}
