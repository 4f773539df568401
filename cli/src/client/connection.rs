//! One TCP connection to one broker, one request at a time.
//!
//! Owns: dialling, framing, correlation ids, ApiVersions and the choice of versions. Never: retries
//! or knows the cluster. Invariant: a connection whose request was cut off (error, timeout or a
//! dropped future) is broken and never used again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
use ottla_protocol::error_code::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::{Attempt, ClientError};

/// The largest answer that is read. Fetch answers are bounded by what we ask for.
pub(crate) const MAX_ANSWER_BYTES: usize = 512 << 20;

/// A broker's versions of one API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// An open connection with known API versions.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    address: String,
    client_id: StrBytes,
    next_correlation: i32,
    api_versions: ApiVersionsResponse,
    versions: BTreeMap<i16, Versions>,
    broken: bool,
}

impl Connection {
    /// Dials `address` (`host:port`), trying each address its name resolves to, and asks for the
    /// API versions.
    pub(crate) async fn open(
        address: &str,
        client_id: &str,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let stream = timeout(patience, dial(address)).await.unwrap_or_else(|_| {
            Err(unreachable(
                address,
                format!("no answer within {}", crate::units::duration(patience)),
            ))
        })?;
        // A failure to switch Nagle's algorithm off costs latency only.
        stream.set_nodelay(true).ok();
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            next_correlation: 0,
            api_versions: ApiVersionsResponse::default(),
            versions: BTreeMap::new(),
            broken: false,
        };
        connection.ask_versions(patience).await?;
        Ok(connection)
    }

    pub(crate) fn broken(&self) -> bool {
        self.broken
    }

    /// The broker's answer to ApiVersions.
    pub(crate) fn api_versions(&self) -> &ApiVersionsResponse {
        &self.api_versions
    }

    /// The highest version of `R` that both sides know.
    pub(crate) fn version_of<R: Request>(&self) -> Result<i16, ClientError> {
        let ours = Versions { min: R::VERSIONS.min, max: our_maximum::<R>() };
        let unsupported = |offered: String| ClientError::Unsupported {
            address: self.address.clone(),
            api: api_name(R::KEY),
            offered,
        };
        let theirs = self.versions.get(&R::KEY).ok_or_else(|| unsupported(String::new()))?;
        let version = ours.max.min(theirs.max);
        if version < ours.min.max(theirs.min) {
            return Err(unsupported(format!(
                " in a version known here: versions {} to {}, not {} to {}",
                theirs.min, theirs.max, ours.min, ours.max
            )));
        }
        Ok(version)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response, ClientError> {
        let frame = self.frame(version, request)?;
        self.broken = true;
        let mut answer = match timeout(patience, self.exchange(&frame)).await {
            Ok(answer) => answer.map_err(|error| self.lost::<R>(error))?,
            Err(_) => {
                return Err(ClientError::TimedOut { what: self.what::<R>(), after: patience });
            }
        };
        let malformed = |cause: String| ClientError::Malformed {
            address: self.address.clone(),
            api: api_name(R::KEY),
            cause,
        };
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|error| malformed(error.to_string()))?;
        if header.correlation_id != self.next_correlation {
            return Err(malformed("it belongs to another request".to_owned()));
        }
        let response = R::Response::decode(&mut answer, version)
            .map_err(|error| malformed(error.to_string()))?;
        self.broken = false;
        Ok(response)
    }

    /// Sends a request that has no answer (produce with `acks=0`).
    pub(crate) async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(), ClientError> {
        let frame = self.frame(version, request)?;
        self.broken = true;
        self.stream.write_all(&frame).await.map_err(|error| self.lost::<R>(error))?;
        self.broken = false;
        Ok(())
    }

    fn frame<R: Request>(&mut self, version: i16, request: &R) -> Result<Bytes, ClientError> {
        self.next_correlation = self.next_correlation.wrapping_add(1);
        encode_frame(&self.client_id, self.next_correlation, version, request).map_err(|cause| {
            ClientError::Malformed {
                address: self.address.clone(),
                api: format!("{} (the request)", api_name(R::KEY)),
                cause,
            }
        })
    }

    /// The socket alone, for a caller that blocks and keeps many requests under way.
    pub(crate) fn into_std(self) -> std::io::Result<std::net::TcpStream> {
        let stream = self.stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    async fn exchange(&mut self, frame: &[u8]) -> std::io::Result<Bytes> {
        self.stream.write_all(frame).await?;
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await?;
        let length = u32::from_be_bytes(prefix) as usize;
        if !(4..=MAX_ANSWER_BYTES).contains(&length) {
            let text = String::from_utf8_lossy(&prefix).into_owned();
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        let mut answer = BytesMut::with_capacity(length.min(1 << 20));
        let mut rest = (&mut self.stream).take(length as u64);
        while answer.len() < length {
            if rest.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(answer.freeze())
    }

    async fn ask_versions(&mut self, patience: Duration) -> Result<(), ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("ottla-cli"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let newest = ApiVersionsRequest::VERSIONS.max;
        let frame = self.frame(newest, &request)?;
        let mut answer = match timeout(patience, self.exchange(&frame)).await {
            Ok(answer) => answer.map_err(|error| self.lost::<ApiVersionsRequest>(error))?,
            Err(_) => {
                return Err(ClientError::TimedOut {
                    what: self.what::<ApiVersionsRequest>(),
                    after: patience,
                });
            }
        };
        let not_kafka = |cause: &str| ClientError::NotKafka {
            address: self.address.clone(),
            cause: cause.to_owned(),
        };
        if answer.get_i32() != self.next_correlation {
            return Err(not_kafka("its first answer carries another request's number"));
        }
        // An older broker answers version 0 with UNSUPPORTED_VERSION (KIP-511).
        let old = answer.len() >= 2
            && i16::from_be_bytes([answer[0], answer[1]]) == ErrorCode::UnsupportedVersion.code();
        let version = if old { 0 } else { newest };
        let response = ApiVersionsResponse::decode(&mut answer, version)
            .map_err(|error| not_kafka(&format!("ApiVersions cannot be read, {error}")))?;
        if response.api_keys.is_empty() {
            return Err(not_kafka("it lists no API"));
        }
        for api in &response.api_keys {
            let versions = Versions { min: api.min_version, max: api.max_version };
            self.versions.insert(api.api_key, versions);
        }
        self.api_versions = response;
        Ok(())
    }

    fn what<R: Request>(&self) -> String {
        format!("{} of {}", api_name(R::KEY), self.address)
    }

    fn lost<R: Request>(&self, error: std::io::Error) -> ClientError {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return ClientError::NotKafka {
                address: self.address.clone(),
                cause: format!("its answer begins with {:?}", error.to_string()),
            };
        }
        ClientError::Closed {
            address: self.address.clone(),
            api: api_name(R::KEY),
            cause: cause_text(&error),
        }
    }
}

/// A whole request as it goes over the wire.
pub(crate) fn encode_frame<R: Request>(
    client_id: &str,
    correlation: i32,
    version: i16,
    request: &R,
) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut frame = BytesMut::with_capacity(4096);
    frame.put_i32(0);
    header
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| request.encode(&mut frame, version))
        .map_err(|error| error.to_string())?;
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

async fn dial(address: &str) -> Result<TcpStream, ClientError> {
    let resolved = tokio::net::lookup_host(address)
        .await
        .map_err(|error| unreachable(address, format!("cannot be resolved ({error})")))?;
    let mut last = "resolves to no address".to_owned();
    for target in resolved {
        match TcpStream::connect(target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = cause_text(&error),
        }
    }
    Err(unreachable(address, last))
}

/// What the system says about a failed connection, without numbers.
pub(crate) fn cause_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => "refuses connections".to_owned(),
        K::ConnectionReset => "reset the connection".to_owned(),
        K::UnexpectedEof => "the connection ended".to_owned(),
        K::TimedOut => "did not answer".to_owned(),
        K::HostUnreachable | K::NetworkUnreachable => "has no route to it".to_owned(),
        _ => error.to_string(),
    }
}

fn unreachable(address: &str, cause: String) -> ClientError {
    ClientError::Unreachable(vec![Attempt { address: address.to_owned(), cause }])
}

/// The API's name, or its number when it is newer than this program.
pub(crate) fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |key| format!("{key:?}"))
}

/// The newest version this client speaks. Fetch and Produce stop where topics are named by id:
/// the commands are about names, and a topic that was replaced in between is found again.
fn our_maximum<R: Request>() -> i16 {
    match ApiKey::try_from(R::KEY) {
        Ok(ApiKey::Fetch | ApiKey::Produce) => R::VERSIONS.max.min(12),
        _ => R::VERSIONS.max,
    }
}
