//! A small client of Kafka's protocol over the simulated network.
//!
//! Owns: connections, frames, the few requests that workloads send, values in records. Never: retries,
//! or what a workload makes of an answer.

use std::io::{self, Error, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest, FetchResponse,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use ottla_protocol::ErrorCode;
use ottla_protocol::model::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{Batch, BatchBuilder, Compression, NewRecord};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

use crate::history::key_of;
use crate::network::Said;

const RESPONSE_BYTES_MAX: usize = 64 << 20;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// ListOffsets' questions for the log's start and end.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// Where brokers listen.
pub const PORT: u16 = 9092;

/// One connection; requests may be pipelined.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    /// What was sent, where it is to come again.
    said: Option<Said>,
}

/// What a fetch of one partition came to.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub error: ErrorCode,
    pub records: Vec<(i64, u64)>,
    /// Behind the last record.
    pub next: i64,
    pub high_watermark: i64,
    pub log_start: i64,
}

/// An idempotent producer's identity.
#[derive(Clone, Copy, Debug)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// Which partition, of which topic.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, error.to_string())
}

/// Gives `work` this long: on this network a lost message is never sent again.
///
/// # Errors
/// `TimedOut`, or those of the work.
pub async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

impl Connection {
    /// # Errors
    /// Those of the network, and a timeout.
    pub async fn open(host: &str, deadline: Duration) -> io::Result<Self> {
        let stream = within(deadline, TcpStream::connect((host, PORT))).await?;
        Ok(Self { stream, correlation: 0, said: None })
    }

    /// All that is sent until `after` comes again then, to `host`, on a connection of its own.
    pub fn repeat_after(&mut self, host: String, after: Duration) {
        let said = Said::default();
        self.said = Some(said.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Err(error) = said.repeat(&format!("{host}:{PORT}")).await {
                tracing::debug!(%error, host, "nothing is repeated");
            }
        });
    }

    /// # Errors
    /// Those of the network.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("simulation")));
        self.correlation += 1;
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&[0; 4]);
        header.encode(&mut frame, R::header_version(version)).map_err(broken)?;
        request.encode(&mut frame, version).map_err(broken)?;
        let length = u32::try_from(frame.len() - 4).map_err(broken)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        if let Some(said) = &self.said {
            said.note(&frame);
        }
        self.stream.write_all(&frame).await
    }

    /// The next response, of a request of this type.
    ///
    /// # Errors
    /// Those of the network, and bytes that are no such response.
    pub async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let length = self.stream.read_u32().await? as usize;
        if length > RESPONSE_BYTES_MAX {
            return Err(broken(format!("a response of {length} bytes")));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(broken)?;
        R::Response::decode(&mut answer, version).map_err(broken)
    }

    /// # Errors
    /// Those of the network, and a timeout.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        deadline: Duration,
    ) -> io::Result<R::Response> {
        within(deadline, async {
            self.send(version, request).await?;
            self.receive::<R>(version).await
        })
        .await
    }

    /// # Errors
    /// Those of the network; an error code is `Ok`.
    pub async fn create_topic(
        &mut self,
        name: &str,
        (partitions, replicas): (i32, i16),
        configs: &[(&str, String)],
    ) -> io::Result<ErrorCode> {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let response = self.call(5, &request, Duration::from_secs(12)).await?;
        let answer = response.topics.first().ok_or(ErrorKind::UnexpectedEof)?;
        Ok(ErrorCode::from_code(answer.error_code))
    }

    /// # Errors
    /// Those of the network.
    pub async fn metadata(&mut self, topic: &str) -> io::Result<MetadataResponse> {
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(false);
        self.call(9, &request, Duration::from_secs(2)).await
    }

    /// # Errors
    /// Those of the network, and an error code.
    pub async fn init_producer(&mut self) -> io::Result<Producer> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        let response = self.call(3, &request, Duration::from_secs(3)).await?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => Ok(Producer {
                id: ProducerId(response.producer_id.0),
                epoch: ProducerEpoch(response.producer_epoch),
            }),
            code => Err(Error::other(format!("InitProducerId: {code:?}"))),
        }
    }

    /// Sends a batch with acks=all.
    ///
    /// # Errors
    /// Those of the network.
    pub async fn send_batch(&mut self, to: Target<'_>, batch: Bytes) -> io::Result<()> {
        let data =
            PartitionProduceData::default().with_index(to.partition).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(to.topic)))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(5_000)
            .with_topic_data(vec![topic]);
        self.send(PRODUCE_VERSION, &request).await
    }

    /// The answer to [`Self::send_batch`]: error and base offset.
    ///
    /// # Errors
    /// Those of the network, and a timeout.
    pub async fn receive_ack(&mut self, deadline: Duration) -> io::Result<(ErrorCode, i64)> {
        let response: ProduceResponse =
            within(deadline, self.receive::<ProduceRequest>(PRODUCE_VERSION)).await?;
        let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answer = answers.next().ok_or(ErrorKind::UnexpectedEof)?;
        Ok((ErrorCode::from_code(answer.error_code), answer.base_offset))
    }

    /// # Errors
    /// Those of the network, and records that are damaged.
    pub async fn fetch(&mut self, of: Target<'_>, from: i64, bytes: i32) -> io::Result<Fetched> {
        let asked = FetchPartition::default()
            .with_partition(of.partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(bytes);
        let topic = FetchTopic::default()
            .with_topic(TopicName(text(of.topic)))
            .with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(200)
            .with_min_bytes(1)
            .with_max_bytes(bytes)
            .with_topics(vec![topic]);
        let response: FetchResponse =
            self.call(FETCH_VERSION, &request, Duration::from_secs(3)).await?;
        let mut answers = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let answer = answers.next().ok_or(ErrorKind::UnexpectedEof)?;
        let error = ErrorCode::from_code(answer.error_code);
        let records = answer.records.unwrap_or_default();
        let (records, next) = records_of(&records, from)?;
        let (high_watermark, log_start) = (answer.high_watermark, answer.log_start_offset);
        Ok(Fetched { error, records, next, high_watermark, log_start })
    }

    /// Where the log begins.
    ///
    /// # Errors
    /// Those of the network, and an error code.
    pub async fn earliest(&mut self, of: Target<'_>) -> io::Result<i64> {
        self.offset_at(of, EARLIEST).await
    }

    /// Where the log ends: its high watermark, which no leader says to be lower than another did.
    ///
    /// # Errors
    /// As [`Self::earliest`].
    pub async fn latest(&mut self, of: Target<'_>) -> io::Result<i64> {
        self.offset_at(of, LATEST).await
    }

    async fn offset_at(&mut self, of: Target<'_>, timestamp: i64) -> io::Result<i64> {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(of.partition)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(text(of.topic)))
            .with_partitions(vec![partition]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let response = self.call(5, &request, Duration::from_secs(3)).await?;
        let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let answer = answers.next().ok_or(ErrorKind::UnexpectedEof)?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => Ok(answer.offset),
            code => Err(Error::other(format!("ListOffsets: {code:?}"))),
        }
    }

    /// # Errors
    /// Those of the network; an error code is `Ok`.
    pub async fn delete_records(&mut self, of: Target<'_>, before: i64) -> io::Result<ErrorCode> {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(of.partition)
            .with_offset(before);
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(text(of.topic)))
            .with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(2_000);
        let response = self.call(2, &request, Duration::from_secs(3)).await?;
        let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let answer = answers.next().ok_or(ErrorKind::UnexpectedEof)?;
        Ok(ErrorCode::from_code(answer.error_code))
    }
}

/// Whether records have keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    Without,
    /// Each has that of its value: [`key_of`].
    With,
}

/// A batch of these values, which an idempotent producer sends from `sequence` on.
///
/// # Errors
/// Values that do not make a batch.
pub fn batch_of(
    values: &[u64],
    keys: Keys,
    producer: Producer,
    sequence: i32,
) -> io::Result<Bytes> {
    let mut batch = BatchBuilder::new(Compression::default()).with_producer(
        producer.id,
        producer.epoch,
        sequence,
    );
    for value in values {
        let (bytes, key) = (value_bytes(*value), key_of(*value).to_be_bytes());
        // Not of the host's clock: a batch that is sent again must be the same.
        let record = NewRecord::at(Timestamp(1_700_000_000_000));
        let key = (keys == Keys::With).then_some(&key[..]);
        batch.push(NewRecord { key, value: Some(&bytes), ..record }).map_err(broken)?;
    }
    batch.build().map_err(broken)
}

/// A value with padding that follows from it, so that damage shows.
fn value_bytes(value: u64) -> Vec<u8> {
    let mut bytes = value.to_be_bytes().to_vec();
    let padding = usize::try_from(value.wrapping_mul(0x9e37_79b9) % 300).unwrap_or_default();
    let fill = u8::try_from(value % 251).unwrap_or_default();
    bytes.resize(8 + padding, fill);
    bytes
}

/// The value in a record; `None` when the bytes are not what was sent.
pub(crate) fn value_of(bytes: &[u8]) -> Option<u64> {
    let value = u64::from_be_bytes(*bytes.first_chunk()?);
    (value_bytes(value) == bytes).then_some(value)
}

/// Records from `from` on, and the offset behind the last.
fn records_of(mut bytes: &[u8], from: i64) -> io::Result<(Vec<(i64, u64)>, i64)> {
    let mut records = Vec::new();
    let mut next = from;
    while let Ok(batch) = Batch::parse(bytes) {
        let header = batch.header();
        bytes = bytes.get(batch.bytes().len()..).unwrap_or_default();
        next = header.base_offset.0 + i64::from(header.last_offset_delta) + 1;
        if header.attributes.is_control() {
            continue;
        }
        // As every client does: a broker may hand out what rotted, nobody may take it.
        batch.check_crc().map_err(broken)?;
        let read = batch.records(RESPONSE_BYTES_MAX).map_err(broken)?;
        for record in &read {
            let record = record.map_err(broken)?;
            if record.offset.0 >= from {
                let value = value_of(record.value.unwrap_or_default());
                records.push((record.offset.0, value.unwrap_or(u64::MAX)));
            }
        }
    }
    Ok((records, next))
}
