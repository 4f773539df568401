//! One connection to a broker: frames out, frames in, with a limit on every wait.
//!
//! Owns the socket and the correlation ids. Never retries.
//! Invariant: a reply is told apart as answered, closed or silent; silence is never taken for an
//! answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::codec;
use crate::schema::{Message, Schemas};

/// The largest response that a test expects.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The body behind the response header.
    Answer(Vec<u8>),
    Closed,
    Silent,
}

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_correlation: i32,
}

impl Connection {
    /// # Errors
    /// When nobody listens at `address`.
    pub fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, next_correlation: 1 })
    }

    /// Sends one request and returns its correlation id.
    ///
    /// # Errors
    /// When the body does not encode. A connection that the broker has closed shows when the reply
    /// is awaited.
    pub fn send(&mut self, key: i16, version: i16, body: &Value) -> Result<i32> {
        let message = Schemas::get().request(key);
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        self.send_raw(&frame(
            message,
            version,
            correlation,
            &codec::encode(message, version, body)?,
        ));
        Ok(correlation)
    }

    /// Sends bytes as they are; a closed connection is noticed by `receive`.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _closed_already = self.stream.write_all(bytes);
    }

    /// The next frame behind its length, at the latest after `limit`.
    ///
    /// # Errors
    /// When the length is absurd or the socket fails otherwise.
    pub fn receive(&mut self, limit: Duration) -> Result<Reply> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Reply::Silent);
            }
            Err(_) => return Ok(Reply::Closed),
        }
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!(length <= RESPONSE_BYTES_MAX, "a response of {length} bytes");
        let mut frame = vec![0; length];
        match self.stream.read_exact(&mut frame) {
            Ok(()) => Ok(Reply::Answer(frame)),
            Err(_) => Ok(Reply::Closed),
        }
    }
}

/// A whole request frame, with its length in front.
#[must_use]
pub fn frame(message: &Message, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let client = b"differential";
    let mut out = vec![0; 4];
    out.extend(message.key.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(correlation.to_be_bytes());
    out.extend((client.len() as i16).to_be_bytes());
    out.extend(client);
    if message.is_flexible(version) {
        out.push(0);
    }
    out.extend(body);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// The body of a response frame, decoded; ApiVersions answers with a header of v0 at every version.
///
/// # Errors
/// When the correlation id is another one or the body does not decode.
pub fn open_response(key: i16, version: i16, correlation: i32, frame: &[u8]) -> Result<Value> {
    let message = Schemas::get().response(key);
    ensure!(frame.len() >= 4, "a response of {} bytes", frame.len());
    let got = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    ensure!(got == correlation, "correlation id {got} instead of {correlation}");
    let mut body = &frame[4..];
    if message.is_flexible(version) && message.name != "ApiVersions" {
        ensure!(body.first() == Some(&0), "tags in the response header");
        body = &body[1..];
    }
    match codec::decode(message, version, body) {
        // An unsupported version of ApiVersions is answered in the shape of v0, whatever was asked.
        Err(_) if message.name == "ApiVersions" => codec::decode(message, 0, body),
        other => other,
    }
}
