//! The few requests that tests want without a client library: make topics, produce, read all.
//!
//! Owns: one exchange on one connection at a time. Never: retries, batches, or a back door into the
//! broker; what it sees is what any client sees.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use ottla_protocol::ErrorCode;
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::{Batch, BatchBuilder, Compression, NewRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::HarnessError;

const RESPONSE_BYTES_MAX: usize = 128 << 20;
const FETCH_BYTES_MAX: i32 = 8 << 20;
const TIMEOUT_MS: i32 = 30_000;

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRecord {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Sends one request on a connection of its own and reads the answer.
pub(crate) async fn exchange<R: Request>(
    bootstrap: &str,
    version: i16,
    request: &R,
) -> Result<R::Response, Error> {
    let broken = |error| Error::new(ErrorKind::InvalidData, format!("{error}"));
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("ottla-harness")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).map_err(broken)?;
    request.encode(&mut frame, version).map_err(broken)?;

    let mut stream = TcpStream::connect(bootstrap).await?;
    let length = u32::try_from(frame.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&frame).await?;
    let length = stream.read_u32().await? as usize;
    if length > RESPONSE_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidData, format!("a response of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(broken)?;
    R::Response::decode(&mut answer, version).map_err(broken)
}

/// Appends records to one partition with acks=all and returns the first one's offset.
pub(crate) async fn produce(
    bootstrap: &str,
    (topic, partition): (&str, i32),
    records: &[(&[u8], &[u8])],
) -> Result<i64, HarnessError> {
    let mut batch = BatchBuilder::new(Compression::default());
    for (key, value) in records {
        let record = NewRecord::at(Timestamp(now_ms()));
        let record = NewRecord { key: Some(key), value: Some(value), ..record };
        batch.push(record).map_err(|e| Error::new(ErrorKind::InvalidInput, e))?;
    }
    let batch = batch.build().map_err(|e| Error::new(ErrorKind::InvalidInput, e))?;
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(TIMEOUT_MS).with_topic_data(vec![
            TopicProduceData::default()
                .with_name(TopicName(text(topic)))
                .with_partition_data(vec![data]),
        ]);
    let response = exchange(bootstrap, 9, &request).await?;
    let mut answers = response.responses.iter().flat_map(|r| &r.partition_responses);
    let answer = answers.next().ok_or(ErrorKind::UnexpectedEof).map_err(Error::from)?;
    refused("Produce", topic, answer.error_code)?;
    Ok(answer.base_offset)
}

/// How long a partition without a leader, or a cluster without a controller, is waited for.
const LEADERLESS_MAX: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(20);

async fn metadata(
    bootstrap: &str,
    topic: Option<&str>,
) -> Result<kafka_protocol::messages::MetadataResponse, Error> {
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
    let request = MetadataRequest::default()
        .with_topics(Some(topic.map(named).into_iter().collect()))
        .with_allow_auto_topic_creation(false);
    exchange(bootstrap, 9, &request).await
}

/// A partition's leader and its address, once there is one.
pub(crate) async fn leader(
    bootstrap: &str,
    topic: &str,
    partition: i32,
) -> Result<(i32, String), HarnessError> {
    let began = Instant::now();
    loop {
        let metadata = metadata(bootstrap, Some(topic)).await?;
        let found = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let led = found
            .filter(|of| of.partition_index == partition && of.leader_id.0 >= 0)
            .find_map(|of| metadata.brokers.iter().find(|broker| broker.node_id == of.leader_id));
        if let Some(broker) = led {
            return Ok((broker.node_id.0, format!("{}:{}", &*broker.host, broker.port)));
        }
        if began.elapsed() > LEADERLESS_MAX {
            let (request, topic) = ("Metadata", topic.to_owned());
            return Err(HarnessError::Refused {
                request,
                topic,
                code: ErrorCode::LeaderNotAvailable,
            });
        }
        // Paces a poll of the brokers.
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The active controller, once there is one.
pub(crate) async fn controller(bootstrap: &str) -> Result<i32, HarnessError> {
    let began = Instant::now();
    loop {
        let id = metadata(bootstrap, None).await?.controller_id.0;
        if id >= 0 {
            return Ok(id);
        }
        if began.elapsed() > LEADERLESS_MAX {
            let (request, topic) = ("Metadata", String::new());
            return Err(HarnessError::Refused { request, topic, code: ErrorCode::NotController });
        }
        // Paces a poll of the brokers.
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// As [`produce`], to whoever leads, as often as it takes.
pub(crate) async fn produce_to_leader(
    bootstrap: &str,
    (topic, partition): (&str, i32),
    records: &[(&[u8], &[u8])],
) -> Result<i64, HarnessError> {
    let began = Instant::now();
    loop {
        let (_, address) = leader(bootstrap, topic, partition).await?;
        let error = match produce(&address, (topic, partition), records).await {
            Ok(offset) => return Ok(offset),
            Err(error) => error,
        };
        let passing = match &error {
            HarnessError::Refused { code, .. } => code.retriable(),
            HarnessError::Connection(_) => true,
            _ => false,
        };
        if !passing || began.elapsed() > LEADERLESS_MAX {
            return Err(error);
        }
        // Paces a poll of the brokers.
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Everything in a topic, partition by partition, up to what is committed when it is asked for.
pub(crate) async fn records(bootstrap: &str, topic: &str) -> Result<Vec<TestRecord>, HarnessError> {
    let metadata = metadata(bootstrap, Some(topic)).await?;
    let mut all = Vec::new();
    for found in &metadata.topics {
        refused("Metadata", topic, found.error_code)?;
        let mut partitions: Vec<i32> = found.partitions.iter().map(|p| p.partition_index).collect();
        partitions.sort_unstable();
        for partition in partitions {
            let (_, address) = leader(bootstrap, topic, partition).await?;
            read_partition(&address, topic, partition, &mut all).await?;
        }
    }
    Ok(all)
}

async fn read_partition(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    all: &mut Vec<TestRecord>,
) -> Result<(), HarnessError> {
    let mut offset = 0;
    loop {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES_MAX);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(FETCH_BYTES_MAX)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(TopicName(text(topic)))
                    .with_partitions(vec![asked]),
            ]);
        let response = exchange(bootstrap, 11, &request).await?;
        let mut answers = response.responses.into_iter().flat_map(|r| r.partitions);
        let answer = answers.next().ok_or(ErrorKind::UnexpectedEof).map_err(Error::from)?;
        if ErrorCode::from_code(answer.error_code) == ErrorCode::OffsetOutOfRange
            && answer.log_start_offset > offset
        {
            offset = answer.log_start_offset;
            continue;
        }
        refused("Fetch", topic, answer.error_code)?;
        let before = offset;
        let bytes = answer.records.unwrap_or_default();
        offset = read_batches(&bytes, partition, offset, all)?;
        if offset >= answer.high_watermark || offset == before {
            return Ok(());
        }
    }
}

/// Adds the records from `offset` on and returns the offset behind them.
fn read_batches(
    mut bytes: &[u8],
    partition: i32,
    offset: i64,
    all: &mut Vec<TestRecord>,
) -> Result<i64, Error> {
    let broken = |e: &dyn std::error::Error| Error::new(ErrorKind::InvalidData, e.to_string());
    let mut next = offset;
    while let Ok(batch) = Batch::parse(bytes) {
        let header = batch.header();
        bytes = bytes.get(batch.bytes().len()..).unwrap_or_default();
        next = header.base_offset.0 + i64::from(header.last_offset_delta) + 1;
        if header.attributes.is_control() {
            continue;
        }
        let records = batch.records(RESPONSE_BYTES_MAX).map_err(|e| broken(&e))?;
        for record in &records {
            let record = record.map_err(|e| broken(&e))?;
            if record.offset.0 >= offset {
                all.push(TestRecord {
                    partition,
                    offset: record.offset.0,
                    timestamp: record.timestamp.0,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
            }
        }
    }
    Ok(next)
}

fn refused(request: &'static str, topic: &str, code: i16) -> Result<(), HarnessError> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(HarnessError::Refused { request, topic: topic.to_owned(), code }),
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
