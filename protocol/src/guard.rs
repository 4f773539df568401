//! Walks the body of a request before anything decodes it.
//!
//! Owns: the proof that every count and length of a body fits the bytes that are there, and an
//! estimate of what the body takes once decoded. Never: allocates, or knows what a field means.
//! Invariant: a body that passes can be given to kafka-protocol, which sizes vectors from counts
//! on the wire and would let four bytes abort the process.
//!
//! Kafka reads some bodies that are refused here, because kafka-protocol does not read them:
//! lengths below -1, presence bytes of nullable structures other than 1 and below 0. Strings that
//! are not UTF-8 pass here and fail in decoding. Bytes after the body, and tags that repeat or are
//! out of order, are normal in both.

pub mod sample;
mod shape;
#[rustfmt::skip]
mod shapes;
mod walk;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::shape::Request as RequestShape;
use self::walk::Walk;

/// What a body holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BodyCost {
    /// About how many bytes of memory the decoded request takes, beyond the frame that its
    /// strings and records stay in.
    pub decoded_bytes: usize,
    /// How many bytes the body takes.
    pub body_bytes: usize,
    /// How many bytes follow it. Kafka ignores them.
    pub trailing_bytes: usize,
}

/// Why a body is refused. Kafka closes the connection for each of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GuardError {
    #[error("API key {0} does not exist")]
    UnknownApi(i16),
    #[error("API key {key} has no version {version}")]
    UnknownVersion { key: i16, version: i16 },
    #[error("the body ends at byte {at}, within a field")]
    Truncated { at: usize },
    #[error("at byte {at}, a length or count of {len} does not fit the {left} bytes left")]
    TooLong { at: usize, len: u32, left: usize },
    #[error("at byte {at}, {len} is no length")]
    Negative { at: usize, len: i32 },
    #[error("at byte {at}, null stands where it is not allowed")]
    Null { at: usize },
    #[error("at byte {at}, an integer has too many bytes")]
    Overlong { at: usize },
    #[error("at byte {at}, tag {tag} is not of this version")]
    Tag { at: usize, tag: u32 },
    #[error("the body has more than {max} unknown tagged fields")]
    Tags { max: usize },
}

/// The shape of a request, `None` for a key that no request has.
#[must_use]
pub fn shape(api_key: i16) -> Option<&'static RequestShape> {
    let index = shapes::REQUESTS.binary_search_by_key(&api_key, |request| request.key).ok()?;
    shapes::REQUESTS.get(index)
}

/// Every request there is, in the order of the keys.
#[must_use]
pub fn requests() -> &'static [RequestShape] {
    shapes::REQUESTS
}

/// Walks a body.
///
/// # Errors
/// The first thing that does not fit; nothing may decode the body then.
pub fn check(api_key: i16, version: i16, body: &[u8]) -> Result<BodyCost, GuardError> {
    let request = shape(api_key).ok_or(GuardError::UnknownApi(api_key))?;
    if version < request.from || version > request.to {
        return Err(GuardError::UnknownVersion { key: api_key, version });
    }
    let mut walk = Walk::new(body, version, request.is_flexible(version));
    walk.structure(request.body)?;
    Ok(BodyCost {
        decoded_bytes: walk.decoded_bytes() + request.body.memory,
        body_bytes: walk.position(),
        trailing_bytes: body.len() - walk.position(),
    })
}

/// Walks the tagged fields of a header; gives how many bytes they take.
pub(crate) fn check_tags(bytes: &[u8]) -> Result<usize, GuardError> {
    const NONE: shape::Struct = shape::s(0, &[]);
    let mut walk = Walk::new(bytes, 0, true);
    walk.tags(&NONE)?;
    Ok(walk.position())
}

/// A body that the guard let pass.
#[derive(Clone, Debug)]
pub struct Admitted {
    api_key: i16,
    version: i16,
    cost: BodyCost,
    body: Bytes,
}

impl Admitted {
    /// Checks `body` and keeps it with the proof.
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(api_key: i16, version: i16, body: Bytes) -> Result<Self, GuardError> {
        let cost = check(api_key, version, &body)?;
        Ok(Self { api_key, version, cost, body })
    }

    #[must_use]
    pub const fn api_key(&self) -> i16 {
        self.api_key
    }

    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    #[must_use]
    pub const fn cost(&self) -> BodyCost {
        self.cost
    }

    /// The body, with whatever follows it.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}
