//! Frames: the headers of requests and responses.
//!
//! Owns: taking a request's header off its frame, and writing a response's. Never: looks into a
//! body, or decides which versions are served. Invariant: header versions follow from the shapes
//! of the guard, with the one exception that KIP-511 makes: ApiVersions answers under header v0.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Request;

use crate::guard::{self, GuardError};
use crate::rope::EncodeError;

/// The key of ApiVersions, whose rules are its own.
pub const API_VERSIONS: i16 = 18;

/// Bytes of the size that stands before every frame.
pub const SIZE_PREFIX: usize = 4;

/// The header of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHead {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    /// As sent: Kafka takes bytes that are not UTF-8, and reads any negative length as null.
    pub client_id: Option<Bytes>,
}

/// A request, split into its header and the rest.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    pub head: RequestHead,
    pub body: Bytes,
}

/// Why a frame is not a request. Kafka closes the connection for each of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is too short for a request header")]
    TooShort(usize),
    #[error("API key {0} does not exist")]
    UnknownApi(i16),
    #[error("the client id of {len} bytes does not fit the {left} bytes left")]
    ClientId { len: i16, left: usize },
    #[error("the header's tagged fields are malformed: {0}")]
    Tags(#[from] GuardError),
}

impl RequestHead {
    /// The client id for people and metrics; empty when there is none.
    #[must_use]
    pub fn client_id_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.client_id.as_deref().unwrap_or_default())
    }

    /// What the answer begins with.
    #[must_use]
    pub fn response(&self) -> ResponseHead {
        ResponseHead {
            correlation_id: self.correlation_id,
            flexible: is_response_header_flexible(self.api_key, self.api_version),
        }
    }
}

/// Splits a frame (without its size) into header and body.
///
/// An API version that does not exist is not an error here: the broker refuses it, and answers
/// ApiVersions nevertheless. Above the known versions of an API the header is the newest one.
///
/// # Errors
/// Where the header cannot be read.
pub fn parse_request(frame: &Bytes) -> Result<RequestFrame, FrameError> {
    let Some(&[k0, k1, v0, v1, c0, c1, c2, c3, n0, n1]) = frame.first_chunk::<10>() else {
        return Err(FrameError::TooShort(frame.len()));
    };
    let api_key = i16::from_be_bytes([k0, k1]);
    let api_version = i16::from_be_bytes([v0, v1]);
    let shape = guard::shape(api_key).ok_or(FrameError::UnknownApi(api_key))?;
    let client_id_len = i16::from_be_bytes([n0, n1]);
    let mut body = frame.slice(10..);
    let client_id = match usize::try_from(client_id_len) {
        Err(_) => None,
        Ok(len) if len > body.len() => {
            return Err(FrameError::ClientId { len: client_id_len, left: body.len() });
        }
        Ok(len) => Some(body.split_to(len)),
    };
    if shape.is_flexible(api_version) {
        let tags = guard::check_tags(&body)?;
        body = body.slice(tags..);
    }
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    Ok(RequestFrame { head: RequestHead { api_key, api_version, correlation_id, client_id }, body })
}

/// Whether a request of this version has header v2 (with tagged fields) rather than v1.
#[must_use]
pub fn is_request_header_flexible(api_key: i16, version: i16) -> bool {
    guard::shape(api_key).is_some_and(|shape| shape.is_flexible(version))
}

/// Whether its response has header v1 (with tagged fields) rather than v0.
#[must_use]
pub fn is_response_header_flexible(api_key: i16, version: i16) -> bool {
    api_key != API_VERSIONS && is_request_header_flexible(api_key, version)
}

/// The header of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    pub correlation_id: i32,
    pub flexible: bool,
}

impl ResponseHead {
    /// Bytes that [`ResponseHead::put`] writes.
    #[must_use]
    pub const fn size(&self) -> usize {
        if self.flexible { 5 } else { 4 }
    }

    pub fn put(&self, out: &mut impl BufMut) {
        out.put_i32(self.correlation_id);
        if self.flexible {
            out.put_u8(0);
        }
    }
}

/// A request as clients send it: size, header, body.
///
/// # Errors
/// Where the message has a value that its version cannot carry, the client id or the frame is
/// too long for the protocol.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    out.put_i16(R::KEY);
    out.put_i16(version);
    out.put_i32(correlation_id);
    match client_id {
        None => out.put_i16(-1),
        Some(id) => {
            let len = i16::try_from(id.len()).map_err(|_| EncodeError::TooLarge(id.len()))?;
            out.put_i16(len);
            out.put_slice(id.as_bytes());
        }
    }
    if is_request_header_flexible(R::KEY, version) {
        out.put_u8(0);
    }
    request
        .encode(&mut out, version)
        .map_err(|error| EncodeError::Message { version, reason: error.to_string() })?;
    let size = out.len() - SIZE_PREFIX;
    let size = i32::try_from(size).map_err(|_| EncodeError::TooLarge(size))?;
    out[..SIZE_PREFIX].copy_from_slice(&size.to_be_bytes());
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(api_key: i16, version: i16, rest: &[u8]) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(api_key);
        out.put_i16(version);
        out.put_i32(77);
        out.extend_from_slice(rest);
        Bytes::from(out)
    }

    #[test]
    fn headers_of_both_kinds_are_read() {
        let plain = parse_request(&frame(3, 1, &[0, 2, b'm', b'e', 9, 9])).expect("sound");
        assert_eq!(plain.head.client_id_text(), "me");
        assert_eq!((plain.head.correlation_id, &plain.body[..]), (77, &[9, 9][..]));
        // v2: one tagged field after the client id.
        let flexible = parse_request(&frame(3, 9, &[0xff, 0xff, 1, 5, 1, 0, 8])).expect("sound");
        assert_eq!((flexible.head.client_id, &flexible.body[..]), (None, &[8][..]));
    }

    #[test]
    fn oddities_that_kafka_takes_are_taken() {
        let odd = parse_request(&frame(3, 1, &[0xff, 0xfe, 1])).expect("length -2 is null");
        assert_eq!((odd.head.client_id, odd.body.len()), (None, 1));
        let odd = parse_request(&frame(3, 1, &[0, 1, 0xff])).expect("no UTF-8");
        assert_eq!(odd.head.client_id_text(), "\u{fffd}");
        let odd = parse_request(&frame(API_VERSIONS, -7, &[0, 0])).expect("negative version");
        assert_eq!(odd.head.response(), ResponseHead { correlation_id: 77, flexible: false });
        let odd = parse_request(&frame(API_VERSIONS, 99, &[0, 0, 0, 1])).expect("far version");
        assert_eq!((odd.body.len(), odd.head.response().flexible), (1, false));
    }

    #[test]
    fn requests_are_written_as_they_are_read() {
        for version in [1, 9] {
            let request = crate::messages::MetadataRequest::default();
            let frame = encode_request(version, 5, Some("me"), &request).expect("encodable");
            assert_eq!(
                frame.len() - SIZE_PREFIX,
                u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize
            );
            let read = parse_request(&frame.slice(SIZE_PREFIX..)).expect("sound");
            assert_eq!((read.head.api_key, read.head.api_version), (3, version));
            assert_eq!(read.head.client_id_text(), "me");
            let decoded: crate::messages::MetadataRequest =
                crate::messages::decode_request(version, read.body).expect("sound");
            assert_eq!(decoded, request);
        }
    }

    #[test]
    fn bad_headers_are_refused() {
        assert_eq!(parse_request(&frame(3, 1, &[0])).map(|_| ()), Err(FrameError::TooShort(9)));
        assert_eq!(
            parse_request(&frame(999, 0, &[0, 0])).map(|_| ()),
            Err(FrameError::UnknownApi(999))
        );
        assert_eq!(
            parse_request(&frame(3, 1, &[0, 3, 1])).map(|_| ()),
            Err(FrameError::ClientId { len: 3, left: 1 })
        );
        assert!(matches!(
            parse_request(&frame(3, 9, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f])).map(|_| ()),
            Err(FrameError::Tags(_))
        ));
    }

    #[test]
    fn response_headers_follow_the_request() {
        for (key, version, flexible) in [
            (3, 8, false),
            (3, 9, true),
            (18, 4, false),
            (0, 8, false),
            (0, 9, true),
            (17, 1, false),
        ] {
            assert_eq!(is_response_header_flexible(key, version), flexible, "{key} v{version}");
            let head = ResponseHead { correlation_id: 5, flexible };
            let mut out = Vec::new();
            head.put(&mut out);
            assert_eq!(out.len(), head.size());
        }
    }
}
