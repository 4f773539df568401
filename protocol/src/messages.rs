//! The messages of the protocol: kafka-protocol's, and ours where it has none.
//!
//! Owns: decoding an admitted body, and the names under which the other crates reach messages.
//! Never: decodes what the guard has not seen. Invariant: `decode` neither panics nor aborts.

mod add_raft_voter;
mod describe_log_dirs;
mod list_offsets;
mod offset_commit;
mod offset_fetch;
mod wire;

use bytes::Bytes;
pub use kafka_protocol::messages::*;
pub use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange,
};

// These stand before the names of the same messages that kafka-protocol has.
pub use self::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};
pub use self::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
};
pub use self::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use self::offset_commit::OffsetCommitRequest;
pub use self::offset_fetch::OffsetFetchRequest;
use crate::guard::{Admitted, GuardError};

/// Why a body is not the request it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Most often a string that is not UTF-8.
    #[error("the request cannot be decoded: {0}")]
    Message(String),
    #[error("a request of key {admitted} was to be decoded as one of key {wanted}")]
    Key { admitted: i16, wanted: i16 },
}

impl Admitted {
    /// Decodes the body. Strings and records stay slices of it.
    ///
    /// # Errors
    /// A string that is not UTF-8, a version that kafka-protocol lacks, or another message's key.
    pub fn decode<R: Request>(&self) -> Result<R, DecodeError> {
        if self.api_key() != R::KEY {
            return Err(DecodeError::Key { admitted: self.api_key(), wanted: R::KEY });
        }
        R::decode(&mut self.body().clone(), self.version())
            .map_err(|error| DecodeError::Message(error.to_string()))
    }
}

/// Walks a body with the guard, then decodes it. Where memory is reserved in between, use
/// [`Admitted`] in two steps.
///
/// # Errors
/// What the guard or the decoder refuses.
pub fn decode_request<R: Request>(version: i16, body: Bytes) -> Result<R, DecodeError> {
    Admitted::new(R::KEY, version, body)?.decode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_guarded_and_decoded() {
        let request: MetadataRequest =
            decode_request(1, Bytes::from_static(&[0, 0, 0, 1, 0, 2, b'h', b'i'])).expect("sound");
        let topics = request.topics.expect("one topic");
        assert_eq!(topics[0].name.as_ref().map(|name| name.0.as_str()), Some("hi"));
        let bomb = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(matches!(
            decode_request::<MetadataRequest>(1, bomb),
            Err(DecodeError::Guard(GuardError::TooLong { .. }))
        ));
        let not_utf8 = Bytes::from_static(&[0, 0, 0, 1, 0, 1, 0xff]);
        assert!(matches!(
            decode_request::<MetadataRequest>(1, not_utf8),
            Err(DecodeError::Message(_))
        ));
        let other = Admitted::new(3, 1, Bytes::from_static(&[0xff; 4])).expect("sound");
        assert!(matches!(other.decode::<FetchRequest>(), Err(DecodeError::Key { .. })));
    }
}
